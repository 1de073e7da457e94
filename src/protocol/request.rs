//! The calls that a terminal makes: one variant per call, and its HTTP form (docs/protocol.md, "Terminal API" and "Payer API").
//!
//! The same call always has the same bytes: a repeat under an identifier that was made on the device is recognised by them.

use super::message::{AttemptPut, CancellationPut, EnrolmentRequest, HoldPut, KeyRotationRequest, MAX_WAIT_SECONDS};
use super::order::{PaymentPut, SlipRequest};
use super::question::{OrderFilter, TotalsFilter};
use crate::error::WalkpayError;
use crate::id::*;
use serde::Serialize;

/// A call of the terminal, payer or query API.
#[derive(Clone, Debug, PartialEq)]
pub enum TerminalRequest {
    /// Asks for nonce, root key and key set. Carries no signature.
    StartEnrolment,
    /// Hands in code and proofs. Carries no HTTP signature: the merchant does not know the keys yet.
    Enrol {
        /// Made on the device.
        device_id: DeviceId,
        /// The body.
        body: EnrolmentRequest,
    },
    /// Replaces both keys of the device.
    RotateKeys {
        /// The device.
        device_id: DeviceId,
        /// The body.
        body: KeyRotationRequest,
    },
    /// A09.
    PutHold {
        /// The hold request.
        hold_id: HoldId,
        /// The body.
        body: HoldPut,
    },
    /// A05.
    PutAttempt {
        /// The visit.
        trip_id: TripId,
        /// 1, 2, …
        attempt: u32,
        /// The body.
        body: AttemptPut,
    },
    /// Gives a trip up.
    PutCancellation {
        /// The visit.
        trip_id: TripId,
        /// The body.
        body: CancellationPut,
    },
    /// Asks for events after a cursor and waits for the first one (A06, A07, A10).
    Events {
        /// The last `seq` that is known here.
        after: u64,
        /// How long to wait, in seconds, at most [`MAX_WAIT_SECONDS`].
        wait: u64,
    },
    /// Asks for the newest key set.
    Keys,
    /// Asks what catalogue data there is.
    Catalogue {
        /// The store.
        store_id: StoreId,
        /// The revision that is here already.
        base: Option<u64>,
    },
    /// Asks for the data that a manifest describes.
    CatalogueData {
        /// The store.
        store_id: StoreId,
        /// The manifest's revision.
        revision: u64,
        /// The manifest's base.
        base: Option<u64>,
    },
    /// B20: asks for orders of the payer.
    Orders {
        /// Which.
        filter: OrderFilter,
    },
    /// B21: asks for one order.
    Order {
        /// It.
        service_number: ServiceNumber,
    },
    /// B22: asks for a slip.
    MakeSlip {
        /// Made on the device; goes as the idempotency key.
        slip_id: SlipId,
        /// The body.
        body: SlipRequest,
    },
    /// Asks how a slip stands.
    Slip {
        /// It.
        slip_number: SlipNumber,
    },
    /// Gives a slip up.
    CloseSlip {
        /// It.
        slip_number: SlipNumber,
    },
    /// B23: pays a slip.
    PutPayment {
        /// The slip.
        slip_number: SlipNumber,
        /// Made on the device.
        payment_id: PaymentId,
        /// The body.
        body: PaymentPut,
    },
    /// Gives a payment up.
    ClosePayment {
        /// The slip.
        slip_number: SlipNumber,
        /// The payment.
        payment_id: PaymentId,
    },
    /// Asks for the payer's stored value.
    Balance,
    /// B31, B32: asks for sums of the payer's own payments.
    Totals {
        /// Of which, and by what.
        filter: TotalsFilter,
    },
}

/// What a call looks like in HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpParts {
    /// `GET`, `POST` or `PUT`.
    pub method: &'static str,
    /// From the first slash on; to be appended to the merchant's URL.
    pub path: String,
    /// Without the question mark; empty if there is none.
    pub query: String,
    /// JSON, or empty.
    pub body: Vec<u8>,
    /// Where a POST makes something: under which key it does so once.
    pub idempotency_key: Option<String>,
}

impl TerminalRequest {
    /// Whether the call carries an HTTP message signature by the device's request key.
    pub fn is_signed(&self) -> bool {
        !matches!(self, Self::StartEnrolment | Self::Enrol { .. })
    }

    /// The HTTP form.
    ///
    /// # Errors
    /// [`WalkpayError::Internal`] if the body cannot be written as JSON.
    pub fn to_http(&self) -> Result<HttpParts, WalkpayError> {
        let parts =
            |method, path: String, query: String, body| HttpParts { method, path, query, body, idempotency_key: None };
        let get = |path: String, query: String| Ok(parts("GET", path, query, Vec::new()));
        let put = |path: String, body: Vec<u8>| Ok(parts("PUT", path, String::new(), body));
        let (root, payer) = ("/terminal/v1", "/payer/v1");
        let based = |base: &Option<u64>| base.map(|b| format!("base={b}")).unwrap_or_default();
        match self {
            Self::StartEnrolment => Ok(parts("POST", format!("{root}/enrolments"), String::new(), Vec::new())),
            Self::Enrol { device_id, body } => put(format!("{root}/enrolments/{device_id}"), json(body)?),
            Self::RotateKeys { device_id, body } => put(format!("{root}/devices/{device_id}/keys"), json(body)?),
            Self::PutHold { hold_id, body } => put(format!("{root}/holds/{hold_id}"), json(body)?),
            Self::PutAttempt { trip_id, attempt, body } => {
                put(format!("{root}/trips/{trip_id}/attempts/{attempt}"), json(body)?)
            }
            Self::PutCancellation { trip_id, body } => put(format!("{root}/trips/{trip_id}/cancellation"), json(body)?),
            Self::Events { after, wait } => {
                get(format!("{root}/events"), format!("after={after}&wait={}", wait.min(&MAX_WAIT_SECONDS)))
            }
            Self::Keys => get(format!("{root}/keys"), String::new()),
            Self::Catalogue { store_id, base } => get(format!("{root}/stores/{store_id}/catalogue"), based(base)),
            Self::CatalogueData { store_id, revision, base } => {
                get(format!("{root}/stores/{store_id}/catalogue/{revision}"), based(base))
            }
            Self::Orders { filter } => get(format!("{payer}/orders"), filter.to_query()),
            Self::Order { service_number } => get(format!("{payer}/orders/{service_number}"), String::new()),
            Self::MakeSlip { slip_id, body } => {
                let made = parts("POST", format!("{payer}/slips"), String::new(), json(body)?);
                Ok(HttpParts { idempotency_key: Some(slip_id.to_string()), ..made })
            }
            Self::Slip { slip_number } => get(format!("{payer}/slips/{slip_number}"), String::new()),
            Self::CloseSlip { slip_number } => put(format!("{payer}/slips/{slip_number}/closure"), Vec::new()),
            Self::PutPayment { slip_number, payment_id, body } => {
                put(format!("{payer}/slips/{slip_number}/payments/{payment_id}"), json(body)?)
            }
            Self::ClosePayment { slip_number, payment_id } => {
                put(format!("{payer}/slips/{slip_number}/payments/{payment_id}/closure"), Vec::new())
            }
            Self::Balance => get(format!("{payer}/balance"), String::new()),
            Self::Totals { filter } => get("/query/v1/totals".to_owned(), filter.to_query()),
        }
    }
}

fn json(body: &impl Serialize) -> Result<Vec<u8>, WalkpayError> {
    serde_json::to_vec(body).map_err(|e| WalkpayError::Internal { detail: format!("request body: {e}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn line(request: &TerminalRequest) -> String {
        let parts = request.to_http().unwrap();
        let body = String::from_utf8(parts.body).unwrap();
        format!("{} {}?{} {body}", parts.method, parts.path, parts.query)
    }

    #[test]
    fn http_forms() {
        let trip_id = TripId::new(Timestamp::from_millis(1_700_000_000_000), [7; 10]);
        let store_id = StoreId::parse("demo-1").unwrap();
        let id = "018bcfe5-6800-7707-8707-070707070707";
        let attempt = TerminalRequest::PutAttempt {
            trip_id,
            attempt: 2,
            body: AttemptPut { basket: "a.b.c".into(), lines: "W10".into() },
        };
        let rows = [
            (TerminalRequest::StartEnrolment, "POST /terminal/v1/enrolments? ".to_owned()),
            (attempt, format!("PUT /terminal/v1/trips/{id}/attempts/2? {{\"basket\":\"a.b.c\",\"lines\":\"W10\"}}")),
            (TerminalRequest::Events { after: 9, wait: 99 }, "GET /terminal/v1/events?after=9&wait=50 ".into()),
            (
                TerminalRequest::CatalogueData { store_id, revision: 4, base: Some(3) },
                "GET /terminal/v1/stores/demo-1/catalogue/4?base=3 ".into(),
            ),
        ];
        for (request, expected) in rows {
            assert_eq!(line(&request), expected);
        }
        let (slip_number, payment_id) = (SlipNumber::new(7).unwrap(), PaymentId::parse(id).unwrap());
        let slip_id = SlipId::parse(id).unwrap();
        let body = SlipRequest { orders: vec![ServiceNumber::new(1).unwrap()], remarks: String::new(), invoice: None };
        let make = TerminalRequest::MakeSlip { slip_id, body };
        assert_eq!(make.to_http().unwrap().idempotency_key.as_deref(), Some(id));
        let payer = [
            (make, "POST /payer/v1/slips? {\"orders\":[\"000000000000001\"],\"remarks\":\"\"}".to_owned()),
            (
                TerminalRequest::PutPayment { slip_number, payment_id, body: PaymentPut { payment: "a.b.c".into() } },
                format!("PUT /payer/v1/slips/000000000000000007/payments/{id}? {{\"payment\":\"a.b.c\"}}"),
            ),
            (
                TerminalRequest::ClosePayment { slip_number, payment_id },
                format!("PUT /payer/v1/slips/000000000000000007/payments/{id}/closure? "),
            ),
            (TerminalRequest::Balance, "GET /payer/v1/balance? ".into()),
            (TerminalRequest::CloseSlip { slip_number }, "PUT /payer/v1/slips/000000000000000007/closure? ".into()),
            (
                TerminalRequest::Order { service_number: ServiceNumber::new(1).unwrap() },
                "GET /payer/v1/orders/000000000000001? ".into(),
            ),
        ];
        for (request, expected) in payer {
            assert_eq!(line(&request), expected);
            assert!(request.is_signed());
        }
        assert!(!TerminalRequest::StartEnrolment.is_signed());
        assert!(TerminalRequest::Keys.is_signed());
    }
}
