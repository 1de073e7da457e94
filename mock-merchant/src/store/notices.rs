//! What payers are told (B10–B13), and its deliveries as durable jobs: intent, lease, outcome.

use super::contacts::Medium;
use super::orders::number_in;
use super::read::{count, counted, optional_time, time, words};
use super::{StoreError, Tx};
use rusqlite::Row;
use rusqlite::types::ValueRef;
use walkpay::{ServiceNumber, Timestamp};

words! {
    /// What a notice says.
    NoticeKind {
        /// An order can be paid from now on.
        Payable = "payable",
        /// Its source changed it.
        Changed = "changed",
        /// Its deadline comes near.
        Reminder = "reminder",
        /// Its deadline is over.
        Overdue = "overdue",
        /// Its source took it back.
        Withdrawn = "withdrawn",
        /// It can no longer be paid.
        Expired = "expired",
        /// It is paid.
        Paid = "paid",
        /// Money was given back.
        Refunded = "refunded",
        /// A device was enrolled for the user: a security notice.
        NewDevice = "new_device",
    }
}

words! {
    /// What became of a delivery.
    NoticeState {
        /// It is to be sent, again perhaps.
        Waiting = "waiting",
        /// It is on its way under a lease.
        Sending = "sending",
        /// The next in line has taken it (mail server, text message centre, file).
        Accepted = "accepted",
        /// The carrier says that it has arrived.
        Delivered = "delivered",
        /// It was refused for good.
        Failed = "failed",
        /// The connection was lost after the message was handed over. It is sent again a few times, then left.
        Unknown = "unknown",
        /// It is not tried any more: too often in vain, overtaken by events, or nowhere to go.
        GivenUp = "given_up",
    }
}

impl NoticeKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Payable,
        Self::Changed,
        Self::Reminder,
        Self::Overdue,
        Self::Withdrawn,
        Self::Expired,
        Self::Paid,
        Self::Refunded,
        Self::NewDevice,
    ];

    /// Whether it is about somebody's safety: quiet hours and unsubscription do not count then.
    pub fn is_security(self) -> bool {
        self == Self::NewDevice
    }

    /// Whether it asks for a payment, and is pointless once the order cannot be paid any more.
    pub fn asks(self) -> bool {
        matches!(self, Self::Payable | Self::Changed | Self::Reminder | Self::Overdue)
    }
}

/// Something that a payer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Row.
    pub notice: i64,
    /// The payer's row.
    pub user: i64,
    /// What it says.
    pub kind: NoticeKind,
    /// The order, unless it is about a device.
    pub number: Option<ServiceNumber>,
    /// The device's row, unless it is about an order.
    pub device: Option<i64>,
    /// When it was written.
    pub made_at: Timestamp,
}

/// A notice on its way to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeDelivery {
    /// Row.
    pub delivery: i64,
    /// The notice's row.
    pub notice: i64,
    /// The address's row.
    pub address: i64,
    /// By which medium.
    pub medium: Medium,
    /// The same for each try.
    pub message_id: String,
    /// What became of it.
    pub state: NoticeState,
    /// When something is next due.
    pub due: Option<Timestamp>,
    /// How often it was tried.
    pub tries: u32,
    /// How often it was sent again since an outcome is unknown.
    pub repeats: u32,
    /// Rises with each lease.
    pub lease: u64,
    /// When it was written.
    pub made_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The last answer's code: of SMTP, HTTP or SIP, or the type of a delivery report.
    pub last_code: Option<u16>,
    /// What the last try came to: a stable word.
    pub last_word: Option<String>,
    /// What a report of the carrier names it by.
    pub report_token: Option<String>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT delivery, notice, address, medium, message_id, state, due, tries, repeats, lease, made_at, ended_at, \
             last_code, last_word, report_token FROM notice_deliveries ",
            $rest
        )
    };
}

fn read(r: &Row<'_>) -> rusqlite::Result<NoticeDelivery> {
    Ok(NoticeDelivery {
        delivery: r.get(0)?,
        notice: r.get(1)?,
        address: r.get(2)?,
        medium: r.get(3)?,
        message_id: r.get(4)?,
        state: r.get(5)?,
        due: optional_time(r, 6)?,
        tries: r.get(7)?,
        repeats: r.get(8)?,
        lease: count(r, 9)?,
        made_at: time(r, 10)?,
        ended_at: optional_time(r, 11)?,
        last_code: r.get(12)?,
        last_word: r.get(13)?,
        report_token: r.get(14)?,
    })
}

fn read_notice(r: &Row<'_>) -> rusqlite::Result<Notice> {
    let numbered = r.get_ref(3)? != ValueRef::Null;
    Ok(Notice {
        notice: r.get(0)?,
        user: r.get(1)?,
        kind: r.get(2)?,
        number: numbered.then(|| number_in(r, 3)).transpose()?,
        device: r.get(4)?,
        made_at: time(r, 5)?,
    })
}

/// Writes down what a payer is told of an order or a device; its row.
pub fn add(
    tx: &Tx<'_>,
    user: i64,
    kind: NoticeKind,
    number: Option<ServiceNumber>,
    device: Option<i64>,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let sql = "INSERT INTO notices (merchant, user, kind, number, device, made_at) VALUES (1, ?1, ?2, ?3, ?4, ?5)";
    let number = number.map(|n| counted(n.number()));
    tx.insert(sql, (user, kind, number, device, now.as_millis()))
}

/// Writes a delivery down, due at once, under its identifier and what a carrier's report will name it by.
pub fn add_delivery(
    tx: &Tx<'_>,
    notice: i64,
    address: i64,
    medium: Medium,
    (message_id, report_token): (&str, Option<&str>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO notice_deliveries (notice, address, medium, message_id, report_token, state, due, made_at)
               VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', ?6, ?6)";
    tx.execute(sql, (notice, address, medium, message_id, report_token, now.as_millis()))?;
    Ok(())
}

/// A notice by its row.
pub fn notice(tx: &Tx<'_>, notice: i64) -> Result<Notice, StoreError> {
    let sql = "SELECT notice, user, kind, number, device, made_at FROM notices WHERE notice = ?1";
    let found = tx.first(sql, [notice], read_notice)?;
    found.ok_or_else(|| StoreError::Defect(format!("no notice {notice}")))
}

/// The notices of a user in rows above `after`, at most `limit`.
pub fn of_user(tx: &Tx<'_>, user: i64, after: i64, limit: u32) -> Result<Vec<Notice>, StoreError> {
    let sql = "SELECT notice, user, kind, number, device, made_at FROM notices WHERE user = ?1 AND notice > ?2
               ORDER BY notice LIMIT ?3";
    tx.all(sql, (user, after, limit), read_notice)
}

/// The row of a user's last notice; 0 if there is none.
pub fn last_of_user(tx: &Tx<'_>, user: i64) -> Result<i64, StoreError> {
    let sql = "SELECT notice FROM notices WHERE user = ?1 ORDER BY notice DESC LIMIT 1";
    Ok(tx.first(sql, [user], |r| r.get(0))?.unwrap_or(0))
}

/// A delivery by its row.
pub fn get(tx: &Tx<'_>, delivery: i64) -> Result<NoticeDelivery, StoreError> {
    let found = tx.first(select!("WHERE delivery = ?1"), [delivery], read)?;
    found.ok_or_else(|| StoreError::Defect(format!("no delivery {delivery}")))
}

/// A delivery by its identifier.
pub fn find(tx: &Tx<'_>, message_id: &str) -> Result<Option<NoticeDelivery>, StoreError> {
    tx.first(select!("WHERE message_id = ?1"), [message_id], read)
}

/// The delivery that a carrier's report names.
pub fn reported(tx: &Tx<'_>, report_token: &str) -> Result<Option<NoticeDelivery>, StoreError> {
    tx.first(select!("WHERE report_token = ?1"), [report_token], read)
}

/// The last deliveries, the newest first, at most `limit`.
pub fn last(tx: &Tx<'_>, limit: u32) -> Result<Vec<NoticeDelivery>, StoreError> {
    tx.all(select!("ORDER BY delivery DESC LIMIT ?1"), [limit], read)
}

/// Deliveries in rows below `after`, the newest first, at most `limit`; of one order or of all.
pub fn below(
    tx: &Tx<'_>,
    number: Option<ServiceNumber>,
    after: u64,
    limit: u32,
) -> Result<Vec<NoticeDelivery>, StoreError> {
    let after = counted(after);
    match number {
        None => tx.all(select!("WHERE delivery < ?1 ORDER BY delivery DESC LIMIT ?2"), (after, limit), read),
        Some(number) => tx.all(
            select!(
                "WHERE delivery < ?1 AND notice IN (SELECT notice FROM notices WHERE number = ?3)
                 ORDER BY delivery DESC LIMIT ?2"
            ),
            (after, limit, counted(number.number())),
            read,
        ),
    }
}

/// The deliveries of a notice.
pub fn of_notice(tx: &Tx<'_>, notice: i64) -> Result<Vec<NoticeDelivery>, StoreError> {
    tx.all(select!("WHERE notice = ?1 ORDER BY delivery"), [notice], read)
}

/// The notices of an order, in order; at most 200.
pub fn of_order(tx: &Tx<'_>, number: ServiceNumber) -> Result<Vec<Notice>, StoreError> {
    let sql =
        "SELECT notice, user, kind, number, device, made_at FROM notices WHERE number = ?1 ORDER BY notice LIMIT 200";
    tx.all(sql, [counted(number.number())], read_notice)
}

/// The delivery of a medium that is due longest.
pub fn due(tx: &Tx<'_>, medium: Medium, now: Timestamp) -> Result<Option<NoticeDelivery>, StoreError> {
    tx.first(select!("WHERE medium = ?1 AND due <= ?2 ORDER BY due LIMIT 1"), (medium, now.as_millis()), read)
}

/// Takes a delivery under a new lease until `until`. From the commit of this on it may have left.
pub fn lease(tx: &Tx<'_>, delivery: NoticeDelivery, until: Timestamp) -> Result<NoticeDelivery, StoreError> {
    let again = matches!(delivery.state, NoticeState::Sending | NoticeState::Unknown);
    let taken = NoticeDelivery {
        state: NoticeState::Sending,
        due: Some(until),
        tries: delivery.tries.saturating_add(1),
        repeats: delivery.repeats.saturating_add(u32::from(again)),
        lease: delivery.lease + 1,
        ..delivery
    };
    let sql = "UPDATE notice_deliveries SET state = 'sending', due = ?2, tries = ?3, repeats = ?4, lease = ?5
               WHERE delivery = ?1";
    tx.execute(sql, (taken.delivery, until.as_millis(), taken.tries, taken.repeats, counted(taken.lease)))?;
    Ok(taken)
}

/// When the next delivery of a medium is due.
pub fn next_due(tx: &Tx<'_>, medium: Medium) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT due FROM notice_deliveries WHERE medium = ?1 AND due IS NOT NULL ORDER BY due LIMIT 1";
    tx.first(sql, [medium], |r| time(r, 0))
}

/// Notes what a try came to: `state`, and when the next one is due (`None`: it has ended).
pub fn set_state(
    tx: &Tx<'_>,
    delivery: i64,
    state: NoticeState,
    due: Option<Timestamp>,
    now: Timestamp,
    tried: (Option<u16>, &str),
) -> Result<(), StoreError> {
    let sql = "UPDATE notice_deliveries SET state = ?2, due = ?3, ended_at = ?4, last_code = ?5, last_word = ?6
               WHERE delivery = ?1";
    let ended = due.is_none().then_some(now);
    let (code, word) = tried;
    let (due, ended) = (due.map(Timestamp::as_millis), ended.map(Timestamp::as_millis));
    tx.execute(sql, (delivery, state, due, ended, code, word))?;
    Ok(())
}

/// Puts a delivery off without a try.
pub fn put_off(tx: &Tx<'_>, delivery: i64, due: Timestamp) -> Result<(), StoreError> {
    tx.execute("UPDATE notice_deliveries SET due = ?2 WHERE delivery = ?1", (delivery, due.as_millis()))?;
    Ok(())
}

/// Tries a delivery again from now on, with all tries.
pub fn again(tx: &Tx<'_>, delivery: i64, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE notice_deliveries SET state = 'waiting', due = ?2, tries = 0, repeats = 0, ended_at = NULL,
               lease = lease + 1 WHERE delivery = ?1";
    tx.execute(sql, (delivery, now.as_millis()))?;
    Ok(())
}

/// The identifiers of all messages to a user: files are named after them.
pub fn message_ids(tx: &Tx<'_>, user: i64) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT d.message_id FROM notices n JOIN notice_deliveries d USING (notice) WHERE n.user = ?1";
    tx.all(sql, [user], |r| r.get(0))
}

/// Ends what is still to be sent to a user.
pub fn end_all(tx: &Tx<'_>, user: i64, now: Timestamp, word: &str) -> Result<(), StoreError> {
    let sql = "UPDATE notice_deliveries SET state = 'given_up', due = NULL, ended_at = ?2, last_word = ?3
               WHERE due IS NOT NULL AND notice IN (SELECT notice FROM notices WHERE user = ?1)";
    tx.execute(sql, (user, now.as_millis(), word))?;
    Ok(())
}
