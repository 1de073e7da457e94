//! Notices as durable jobs, in pure steps: [`take_due`] in a transaction, the message sent outside of any, [`settle`] in another
//! one. A crash between any two of these loses nothing; what was on its way then has an unknown outcome, and is sent again.

use crate::domain::notices::{self as rules, PageLink, Sent, Site};
use crate::domain::{Ctx, Mutation};
use crate::failure::Failure;
use crate::notify::text::{Message, render};
use crate::store::contacts::{self, Address, Medium};
use crate::store::notices::{self, Notice, NoticeDelivery, NoticeState};
use crate::store::orders::{self, OrderState};
use crate::store::users::UserState;
use crate::store::{Tx, users};
use std::time::Duration;
use walkpay::Timestamp;

/// How long an order that is being paid keeps a request to pay it waiting.
const LATER: Duration = Duration::from_secs(15 * 60);
/// How many deliveries one step looks at.
const STEP: usize = 64;

/// A message to be sent, outside of any transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideNotice {
    /// To be given to [`settle`] with the outcome.
    pub job: NoticeJob,
    /// Mailbox, number or SIP URI.
    pub to: String,
    /// The same for each try.
    pub message_id: String,
    /// When this try begins.
    pub at: Timestamp,
    /// What it says.
    pub message: Message,
    /// Where the carrier of a text message reports what became of it, with `%d` for the type of the report.
    pub report: Option<String>,
}

/// Which job a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticeJob {
    delivery: i64,
    lease: u64,
}

/// How long a try by a medium may take before it counts as lost: a call is as long as its message, and rings before.
pub fn lease_of(medium: Medium) -> Duration {
    match medium {
        Medium::Email | Medium::Sms => Duration::from_secs(120),
        Medium::Voice => Duration::from_secs(300),
    }
}

/// Takes the message of a medium that is due longest, under a lease that ends by itself. What has been overtaken by events is
/// ended, what would disturb somebody's quiet hours is put off.
///
/// # Errors
/// [`Failure::Fault`].
pub fn take_due(tx: &Tx<'_>, ctx: &Ctx, site: &Site, medium: Medium) -> Result<Option<OutsideNotice>, Failure> {
    for _ in 0..STEP {
        let Some(due) = notices::due(tx, medium, ctx.now)? else { return Ok(None) };
        let notice = notices::notice(tx, due.notice)?;
        match fate(tx, ctx, &due, &notice)? {
            Fate::Send(address) => return send(tx, ctx, site, due, &notice, &address).map(Some),
            Fate::Later(at) => notices::put_off(tx, due.delivery, at)?,
            Fate::Never(state, word) => {
                notices::set_state(tx, due.delivery, state, None, ctx.now, (due.last_code, word))?;
            }
        }
    }
    Ok(None)
}

enum Fate {
    Send(Address),
    Later(Timestamp),
    Never(NoticeState, &'static str),
}

fn fate(tx: &Tx<'_>, ctx: &Ctx, due: &NoticeDelivery, notice: &Notice) -> Result<Fate, Failure> {
    if matches!(due.state, NoticeState::Sending | NoticeState::Unknown) && !rules::may_repeat(due) {
        return Ok(Fate::Never(NoticeState::Unknown, "no_answer"));
    }
    if due.state == NoticeState::Sending && ctx.config.mutation == Some(Mutation::NoticeLost) {
        return Ok(Fate::Never(NoticeState::GivenUp, "lost"));
    }
    let address = contacts::address(tx, due.address)?;
    let Some(address) = address.filter(|_| users::get(tx, notice.user).is_ok_and(|u| u.state != UserState::Erased))
    else {
        return Ok(Fate::Never(NoticeState::GivenUp, "no_address"));
    };
    let security = notice.kind.is_security();
    if address.unsubscribed_at.is_some() && !security {
        return Ok(Fate::Never(NoticeState::GivenUp, "unsubscribed"));
    }
    let order = notice.number.map(|number| orders::get(tx, number)).transpose()?;
    if let Some(order) = order.as_ref().filter(|_| notice.kind.asks()) {
        match order.state {
            OrderState::Payable if order.slip.is_none() => {}
            OrderState::Payable | OrderState::InPayment => return Ok(Fate::Later(ctx.now.plus(LATER))),
            _ => return Ok(Fate::Never(NoticeState::GivenUp, "overtaken")),
        }
    }
    if rules::keeps_quiet(due.medium) && !security {
        let contact = contacts::contact(tx, notice.user)?;
        let zone = rules::zone_of(tx, &contact, order.as_ref())?;
        let hours = contact.quiet.or(ctx.config.quiet_hours);
        if let Some(end) = hours.and_then(|hours| rules::quiet_until(ctx.now, &zone, hours)) {
            return Ok(Fate::Later(end));
        }
    }
    Ok(Fate::Send(address))
}

fn send(
    tx: &Tx<'_>,
    ctx: &Ctx,
    site: &Site,
    due: NoticeDelivery,
    notice: &Notice,
    address: &Address,
) -> Result<OutsideNotice, Failure> {
    let mut facts = rules::facts_of(tx, notice)?;
    if !notice.kind.is_security() && due.medium != Medium::Voice {
        let link = PageLink {
            user: notice.user,
            number: notice.number,
            address: Some(address.address),
            delivery: Some(due.delivery),
        };
        let (token, _) = rules::new_page(tx, ctx, link)?;
        (facts.link, facts.unsubscribe) = (site.page(&token), site.unsubscribe(&token));
    }
    let message = render(due.medium, &facts);
    let message = message.ok_or_else(|| crate::failure::defect("template of a notice", notice.kind.word()))?;
    let until = ctx.now.plus(lease_of(due.medium));
    let taken = notices::lease(tx, due, until)?;
    Ok(OutsideNotice {
        job: NoticeJob { delivery: taken.delivery, lease: taken.lease },
        to: address.place.clone(),
        message_id: taken.message_id,
        at: ctx.now,
        message,
        report: taken.report_token.map(|token| site.report(&token)),
    })
}

/// Takes the outcome of a try in.
///
/// # Errors
/// [`Failure::Fault`].
pub fn settle(tx: &Tx<'_>, ctx: &Ctx, job: &NoticeJob, sent: &Sent) -> Result<(), Failure> {
    rules::settle(tx, ctx, job.delivery, job.lease, sent)
}

/// When a message of a medium is next due.
///
/// # Errors
/// [`Failure::Fault`].
pub fn next_due(tx: &Tx<'_>, medium: Medium) -> Result<Option<Timestamp>, Failure> {
    Ok(notices::next_due(tx, medium)?)
}
