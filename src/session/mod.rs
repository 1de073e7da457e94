//! The whole terminal as a state machine. Pure: the present and randomness are arguments.
//!
//! - [`decide`] takes the state and an [`Input`] (a command, or the answer to a request) and says which [`JournalEvent`]s follow.
//! - The caller makes them durable, then folds them: [`Session::apply`].
//! - [`due`] says what must be on the wire now, [`next_wakeup`] when to ask again. Both are functions of the folded state, so that a
//!   crash between any two instructions loses nothing.

mod answer;
mod clock;
mod decide;
mod draft;
mod due;
mod enrolment;
mod fold;
mod host;
mod input;
mod journal;
mod orders;
mod outbox;
mod paying;
mod prune;
mod results;
mod shopping;
mod signing;
mod slip;
mod state;
mod trip;

pub use clock::Clock;
pub use decide::decide;
pub use due::{Due, DueId, due, next_wakeup};
pub use enrolment::{Enrolled, Enrolment, EnrolmentStage, MAX_DEVICES, Offer};
pub use host::{HostEvent, HostEventKind, MAX_HOST_EVENTS};
pub use input::{Command, Decision, HttpAnswer, HttpOutcome, Input, KeyRole, Now, Reply, Review, ToSign};
pub use journal::{Fact, JournalEvent, VERSION};
pub use orders::{MAX_SEEN_ORDERS, MAX_SEEN_VIEWS, OrderDetail, OrderList, SeenOrders};
pub use outbox::{
    MAX_OUTBOX, OutboxBody, OutboxEntry, OutboxItem, OutboxKind, OutboxTotals, Prepared, PreparedWhat, Refusal, Retry,
};
pub use prune::{compaction, prunable, prunable_slips, prune};
pub use slip::{MAX_OPEN_SLIPS, MAX_PAYMENTS, PaymentFacts, Slip, SlipState};
pub use state::{Device, DeviceStatus, Rotation, Session};
pub use trip::{
    AttemptFacts, Cancelled, ForwardPolicy, Frozen, HoldFacts, MAX_ATTEMPTS, MAX_HOLDS, MAX_OPEN_TRIPS, Trip, TripState,
};
