//! What a session is told, and what it answers.

use super::due::DueId;
use super::journal::JournalEvent;
use super::outbox::OutboxKind;
use super::trip::{ForwardPolicy, Frozen};
use crate::barcode::Meaning;
use crate::basket::{LineId, PricedBasket, Quantity};
use crate::catalogue::{Articles, PriceBook};
use crate::error::WalkpayError;
use crate::id::*;
use crate::money::Money;
use crate::protocol::crypto::{Algorithm, PublicKey};
use crate::protocol::document::PaymentMethod;
use crate::protocol::order::{OrderPage, OrderView, SlipRequest, SlipView};
use crate::protocol::question::OrderFilter;
use crate::time::Timestamp;

/// The present, as far as the device knows it.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The device's wall clock. It may be wrong.
    pub wall: Timestamp,
    /// Milliseconds of a clock that never jumps and counts while the device sleeps, from the moment that `boot` names.
    pub monotonic_ms: u64,
    /// Names what `monotonic_ms` counts from: another number after each start of the process.
    pub boot: u64,
    /// Fresh for every decision.
    pub random: [u8; 32],
}

/// Something that happened.
pub enum Input<'a> {
    /// The host calls.
    Command(Command<'a>),
    /// A request that was due has been answered, or has failed.
    Answer(HttpAnswer),
}

/// A call of the host. Except for enrolment and signing in, it is made for the user who is signed in.
pub enum Command<'a> {
    /// Starts an enrolment with the text of a code. The same text again goes on where the first call was.
    BeginEnrolment {
        /// See [`crate::protocol::enrolment_code`].
        text: &'a str,
        /// For people: how the device calls itself, at most 80 characters.
        label: &'a str,
    },
    /// Says which keys the device has made, once the enrolment is [`super::EnrolmentStage::Offered`].
    PrepareEnrolment {
        /// Signs HTTP requests.
        request_key: PublicKey,
        /// Signs baskets and holds.
        consent_key: PublicKey,
    },
    /// The signatures over the two inputs that [`Command::PrepareEnrolment`] gave.
    SubmitEnrolment {
        /// By the request key.
        request_signature: &'a [u8],
        /// By the consent key.
        consent_signature: &'a [u8],
    },
    /// Forgets an enrolment that has not been answered.
    AbandonEnrolment,
    /// Who is shopping.
    SignIn {
        /// The user's name.
        user_name: &'a UserName,
    },
    /// Hides the user's data; what must be sent is still sent.
    SignOut,
    /// Starts a visit.
    StartTrip {
        /// The store.
        store_id: &'a StoreId,
        /// Whether a basket may wait for the network.
        policy: ForwardPolicy,
    },
    /// A01: an article was scanned; the caller has read the code and looked the articles up.
    Scan {
        /// The visit.
        trip_id: TripId,
        /// What the code says.
        meaning: &'a Meaning,
        /// What the shopper says beside it.
        quantity: Option<Quantity>,
        /// The article and its deposit.
        articles: &'a dyn Articles,
    },
    /// Another quantity of a line.
    SetQuantity {
        /// The visit.
        trip_id: TripId,
        /// The line.
        line: LineId,
        /// How much from now on.
        quantity: Quantity,
    },
    /// A line goes.
    Remove {
        /// The visit.
        trip_id: TripId,
        /// The line.
        line: LineId,
    },
    /// A coupon; refused as long as none is read.
    ApplyCoupon {
        /// The visit.
        trip_id: TripId,
        /// Its code.
        code: &'a str,
    },
    /// A03: freezes exactly what will be signed.
    Review {
        /// The visit.
        trip_id: TripId,
        /// Every article of the basket.
        articles: &'a dyn Articles,
        /// Tax groups, promotions and templates.
        book: &'a PriceBook,
    },
    /// A08, A09: asks for, or raises, the hold of a visit to an absolute amount.
    PrepareHold {
        /// The visit.
        trip_id: TripId,
        /// The whole amount to be reserved.
        amount: Money,
        /// Whether the merchant was reached lately.
        online: bool,
    },
    /// A04: asks for what must be signed to hand in what was reviewed.
    PrepareSignature {
        /// The visit.
        trip_id: TripId,
        /// Whether the merchant was reached lately.
        online: bool,
    },
    /// Gives a visit up; if anything of it may have reached the merchant, asks for what must be signed for that.
    PrepareCancel {
        /// The visit.
        trip_id: TripId,
    },
    /// The signature over what a `Prepare…` call gave.
    Submit {
        /// The visit.
        trip_id: TripId,
        /// Which of its documents.
        kind: OutboxKind,
        /// 64 bytes.
        signature: &'a [u8],
    },
    /// Says which keys the device has made to take the place of its present ones.
    PrepareRotation {
        /// Signs HTTP requests from then on.
        request_key: PublicKey,
        /// Signs baskets and holds from then on.
        consent_key: PublicKey,
    },
    /// The signatures over the three inputs that [`Command::PrepareRotation`] gave, in their order.
    SubmitRotation {
        /// By the consent key in force, the new request key and the new consent key.
        signatures: [&'a [u8]; 3],
    },
    /// B20: the merchant has listed orders.
    OrdersListed {
        /// What was asked for.
        filter: &'a OrderFilter,
        /// What it answered.
        page: &'a OrderPage,
    },
    /// B21: the merchant has shown an order.
    OrderShown {
        /// What was asked for.
        service_number: ServiceNumber,
        /// What it answered.
        order: &'a OrderView,
    },
    /// B22: asks for a slip.
    MakeSlip {
        /// For which orders.
        request: &'a SlipRequest,
    },
    /// The merchant has said how a slip stands.
    SlipShown {
        /// The slip.
        slip_id: SlipId,
        /// What it answered.
        slip: &'a SlipView,
    },
    /// B23: asks for what must be signed to pay a slip.
    PreparePayment {
        /// The slip.
        slip_id: SlipId,
        /// How what stored value does not pay is paid.
        method: PaymentMethod,
        /// The part that stored value pays; if nothing is said: all if it is the method, else nothing.
        stored_value: Option<Money>,
    },
    /// The signature over what [`Command::PreparePayment`] gave.
    SubmitPayment {
        /// The slip.
        slip_id: SlipId,
        /// 64 bytes.
        signature: &'a [u8],
    },
    /// Gives a slip up.
    CloseSlip {
        /// The slip.
        slip_id: SlipId,
    },
    /// Gives a payment of a slip up.
    ClosePayment {
        /// The slip.
        slip_id: SlipId,
        /// The payment.
        payment_id: PaymentId,
    },
    /// The host has dealt with all events up to this number.
    AckEvents {
        /// The highest number that is done.
        up_to: u64,
    },
    /// Everything that waits is tried at once.
    ForwardNow,
}

/// The answer to a request that was due.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// Which.
    pub id: DueId,
    /// The nonce of the request's HTTP signature; empty if it had none.
    pub nonce: String,
    /// From sending until the answer was read, by the clock of [`Now::monotonic_ms`].
    pub elapsed_ms: u64,
    /// What came.
    pub outcome: HttpOutcome,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub enum HttpOutcome {
    /// The merchant, or something between, answered.
    Answer {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`, if it was there.
        retry_after_seconds: Option<u64>,
        /// `Date`, if it was there: a hint for the clock of a device whose own is too wrong to be understood.
        date: Option<Timestamp>,
        /// The body, at most [`crate::protocol::message::MAX_ANSWER_BODY`].
        body: Vec<u8>,
    },
    /// No answer; this says nothing about whether the request arrived.
    Failed {
        /// What happened.
        detail: String,
    },
}

/// What follows from an input. The events must be durable before they are folded and before anybody is answered.
#[must_use = "events that are not journalled have not happened"]
#[derive(Debug)]
pub struct Decision {
    /// In order; often none.
    pub events: Vec<JournalEvent>,
    /// For the caller.
    pub reply: Reply,
}

/// What the caller is told once the events are durable.
#[derive(Debug)]
pub enum Reply {
    /// Nothing more to say.
    Done,
    /// The visit that was started.
    Trip(TripId),
    /// The slip that was asked for.
    Slip(SlipId),
    /// The payment that is in the outbox.
    Payment(PaymentId),
    /// The line that a scan made or changed.
    Line(LineId),
    /// What was frozen, and the same with everything that the shopper wants to see.
    Review(Box<Review>),
    /// What must be signed; the bytes are those of the text.
    ToSign(Vec<ToSign>),
    /// A document is in the outbox under its `device_seq`.
    Submitted(u64),
    /// The device that is signed in, or was enrolled.
    Device(DeviceId),
    /// The enrolment has come to its end without a device.
    EnrolmentFailed(WalkpayError),
}

/// A reviewed basket.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Review {
    /// Exactly what will be signed.
    pub frozen: Frozen,
    /// For the shopper's eyes.
    pub priced: PricedBasket,
}

/// Which key of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyRole {
    /// The request key.
    Request,
    /// The consent key.
    Consent,
    /// The request key that is being enrolled or rotated to.
    NewRequest,
    /// The consent key that is being enrolled or rotated to.
    NewConsent,
}

/// Bytes that wait for a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToSign {
    /// By which key.
    pub role: KeyRole,
    /// Its thumbprint.
    pub kid: KeyId,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// The JWS signing input (RFC 7515 §5.1).
    pub input: String,
}
