//! The terminal's state machine against the words of a merchant, without network, files or clock.

mod enrolment;
mod journal;
mod outbox;
mod results;
mod slip;
mod trip;
mod world;
