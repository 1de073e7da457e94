//! What payers are told on all ways that they have (B10–B13): a notice is written in the transaction of its fact, with one
//! delivery per address; worker and transports do the rest.

mod address;
mod contact;
mod facts;
mod messages;
mod outcome;
mod page;
mod quiet;
mod witness;

pub use address::parse_address;
pub use contact::{ContactChange, PageLink};
pub(super) use contact::{add_addresses, carry_out};
pub use facts::{Site, facts_of, sample};
pub use messages::{MAX_PAGE, MessagePage, MessageView, messages};
pub use outcome::{Report, Sent, SentAs, report};
pub(crate) use outcome::{may_repeat, settle, unsubscribe};
pub(crate) use page::{news, page, page_of};
pub(crate) use quiet::{quiet_until, zone_of};
pub use witness::Witness;

use crate::domain::Ctx;
use crate::failure::Failure;
use crate::notify::text;
use crate::store::contacts::{self, Medium};
use crate::store::notices::{self, NoticeKind};
use crate::store::orders::Order;
use crate::store::pay_pages::{self, NewPayPage, PayPage};
use crate::store::{Tx, devices};
use walkpay::protocol::crypto::{base64url, digest};
use walkpay::protocol::order::OrderNews;
use walkpay::{ServiceNumber, Timestamp};

/// Writes down what the payer of an order is told of it.
///
/// # Errors
/// [`Failure::Fault`].
pub(crate) fn of_order(tx: &Tx<'_>, ctx: &Ctx, order: &Order, news: OrderNews) -> Result<(), Failure> {
    let kind = match news {
        OrderNews::Payable => NoticeKind::Payable,
        OrderNews::Changed => NoticeKind::Changed,
        OrderNews::Reminder if ctx.now > order.deadline => NoticeKind::Overdue,
        OrderNews::Reminder => NoticeKind::Reminder,
        OrderNews::Withdrawn => NoticeKind::Withdrawn,
        OrderNews::Expired => NoticeKind::Expired,
        OrderNews::Paid => NoticeKind::Paid,
        OrderNews::Refunded => NoticeKind::Refunded,
    };
    write(tx, ctx, order.payer, kind, Some(order.number), None)
}

/// Writes down that a device was enrolled for a user: all addresses are told, whatever the user has unsubscribed from.
///
/// # Errors
/// [`Failure::Fault`].
pub(crate) fn of_device(tx: &Tx<'_>, ctx: &Ctx, device: i64) -> Result<(), Failure> {
    let user = devices::get(tx, device)?.user;
    write(tx, ctx, user, NoticeKind::NewDevice, None, Some(device))
}

fn write(
    tx: &Tx<'_>,
    ctx: &Ctx,
    user: i64,
    kind: NoticeKind,
    number: Option<ServiceNumber>,
    device: Option<i64>,
) -> Result<(), Failure> {
    let notice = notices::add(tx, user, kind, number, device, ctx.now)?;
    for address in contacts::addresses(tx, user)? {
        let wanted = address.unsubscribed_at.is_none() || kind.is_security();
        if !wanted || !text::tells(address.medium, kind) {
            continue;
        }
        let message_id = format!("ntc_{}", base64url(&ctx.random.bytes::<15>()));
        let report_token = (address.medium == Medium::Sms).then(|| base64url(&ctx.random.bytes::<16>()));
        let names = (message_id.as_str(), report_token.as_deref());
        notices::add_delivery(tx, notice, address.address, address.medium, names, ctx.now)?;
    }
    Ok(())
}

/// Makes a link to a payer's page; its token, which is kept as a hash only.
///
/// # Errors
/// [`Failure::Fault`].
pub(crate) fn new_page(tx: &Tx<'_>, ctx: &Ctx, page: PageLink) -> Result<(String, Timestamp), Failure> {
    let token = base64url(&ctx.random.bytes::<16>());
    let expires_at = ctx.now.plus(ctx.config.pay_page);
    let PageLink { user, number, address, delivery } = page;
    let page = PayPage { user, number, address, expires_at };
    pay_pages::add(tx, &NewPayPage { token_sha256: &digest(token.as_bytes()), page: &page, delivery }, ctx.now)?;
    Ok((token, expires_at))
}

/// Whether a medium keeps quiet hours: an e-mail wakes nobody.
pub(crate) fn keeps_quiet(medium: Medium) -> bool {
    medium != Medium::Email
}
