//! What the merchant and a payment channel say to each other. Plain data: a channel's own code carries it over the channel's own
//! protocol, the simulation passes it by hand.
//!
//! A trade is known by the merchant's number, which is used once: asking for it again is asking for the same trade. A channel may
//! not know a trade that it has promised (a code that nobody has scanned yet); it never takes one after the end that it was told.

use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use walkpay::protocol::document::PaymentMethod;
use walkpay::protocol::order::Launch;
use walkpay::{Money, Timestamp};

/// What can be done over a method of payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// A payment is asked for and made elsewhere, by the payer.
    pub create: bool,
    /// It can be asked how a payment stands.
    pub query: bool,
    /// A payment that was asked for can be called off.
    pub close: bool,
    /// Money can be given back.
    pub refund: bool,
    /// The other side tells of payments by itself.
    pub notify: bool,
}

/// What can be done over a method.
pub fn capabilities(method: PaymentMethod) -> Capabilities {
    match method {
        PaymentMethod::StoredValue => {
            Capabilities { create: false, query: false, close: false, refund: true, notify: false }
        }
        PaymentMethod::Bank => Capabilities { create: false, query: true, close: false, refund: true, notify: false },
        PaymentMethod::Alipay | PaymentMethod::Tenpay | PaymentMethod::Test => {
            Capabilities { create: true, query: true, close: true, refund: true, notify: true }
        }
    }
}

/// Who the merchant is at a channel: what belongs to others is not its money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The channel.
    pub method: PaymentMethod,
    /// The merchant's application there.
    pub application: String,
    /// The merchant's account there.
    pub seller: String,
    /// Whether a payment there needs what the channel calls its payer by.
    #[serde(default)]
    pub names_payer: bool,
}

/// What a channel is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum ChannelAsk {
    /// To let the payer pay.
    Create(NewTrade),
    /// How a trade stands.
    Query {
        /// The merchant's number of it.
        number: String,
    },
    /// To end a trade that is not paid.
    Close {
        /// The merchant's number of it.
        number: String,
    },
    /// To give money back.
    Refund(NewRefund),
    /// What became of a refund.
    QueryRefund {
        /// The merchant's number of the trade.
        number: String,
        /// The merchant's number of the refund.
        refund_number: String,
    },
}

impl ChannelAsk {
    /// The word for it, in logs, metrics and faults.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Query { .. } => "query",
            Self::Close { .. } => "close",
            Self::Refund(_) => "refund",
            Self::QueryRefund { .. } => "query_refund",
        }
    }
}

/// A trade that a channel is to open.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTrade {
    /// The merchant's number of it: 20 digits.
    pub number: String,
    /// What is paid for, in a few words.
    pub title: String,
    /// How much.
    pub amount: Money,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// What the channel calls the payer by, if that is known.
    pub payer: Option<String>,
}

/// A refund that a channel is to make.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRefund {
    /// The merchant's number of the trade.
    pub number: String,
    /// The merchant's number of the refund: the same one again is the same refund.
    pub refund_number: String,
    /// What the trade came to.
    pub total: Money,
    /// How much is given back.
    pub amount: Money,
}

/// What a channel says.
#[derive(Clone, Debug, PartialEq)]
pub enum ChannelAnswer {
    /// The trade is open.
    Created {
        /// What the host needs for letting the payer pay.
        launch: Launch,
    },
    /// There is no such trade and there will be none under this number.
    Refused {
        /// A stable word.
        reason: String,
    },
    /// How a trade stands.
    Trade(TradeStatus),
    /// How a refund stands.
    Refund(RefundStatus),
}

/// How a trade stands.
#[derive(Clone, Debug, PartialEq)]
pub enum TradeStatus {
    /// The channel does not know it, or not yet.
    Unknown,
    /// Not paid yet, or still being closed.
    Waiting,
    /// Paid.
    Paid(Receipt),
    /// It ended without a payment and can never be paid.
    Closed,
}

/// How a refund stands.
#[derive(Clone, Debug, PartialEq)]
pub enum RefundStatus {
    /// The channel has never seen it.
    Unknown,
    /// It is being made.
    Pending,
    /// Made.
    Done,
    /// It was not made and will not be under this number.
    Refused {
        /// A stable word.
        reason: String,
    },
}

/// What a channel says that it has collected. It counts only if all of it is as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The application that it was collected for.
    pub application: String,
    /// The account that it was collected for.
    pub seller: String,
    /// The merchant's number of the trade.
    pub number: String,
    /// The channel's own number.
    pub trade: String,
    /// How much.
    pub amount: Money,
}

/// A notification as it came over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
}

/// What a notification says that its channel has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A payment was collected.
    Paid(Receipt),
    /// Something else that changes nothing here: what becomes of refunds and closed trades is asked for.
    Other,
}

/// Why there is no answer. This says nothing about what the channel did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer from the channel: {0}")]
pub struct NoAnswer(pub String);

/// A notification that the channel has not signed as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the notification is not signed by the channel: {0}")]
pub struct Forged(pub String);
