//! What the payer's page shows, read from the book.

use super::facts::of_order;
use super::quiet::zone_of;
use crate::domain::Ctx;
use crate::failure::Failure;
use crate::notify::text::page::{ChosenOrder, PageFacts, PageOrder};
use crate::store::contacts::{self, Language};
use crate::store::notices::{self, Notice};
use crate::store::orders::{self, Order, OrderState, PayerFilter};
use crate::store::users::{self, UserState};
use crate::store::{Tx, order_parts, pay_pages, stores};
use walkpay::ServiceNumber;
use walkpay::protocol::crypto::digest;

/// The most orders of a page.
const MAX_ORDERS: usize = 200;
/// The most notices that are told at once.
const MAX_NOTICES: u32 = 100;

/// Whose page a token opens: the payer's row; `None` if it opens nothing (any more).
pub(crate) fn page_of(tx: &Tx<'_>, ctx: &Ctx, token: &str) -> Result<Option<i64>, Failure> {
    Ok(pay_pages::find(tx, &digest(token.as_bytes()), ctx.now)?.map(|page| page.user))
}

/// What the page of a token shows, with the order `chosen`, or else that of its notice, in full; `None` if the token opens
/// nothing, or the order is not of this payer.
pub(crate) fn page(
    tx: &Tx<'_>,
    ctx: &Ctx,
    token: &str,
    chosen: Option<ServiceNumber>,
    language: Option<Language>,
) -> Result<Option<PageFacts>, Failure> {
    let Some(page) = pay_pages::find(tx, &digest(token.as_bytes()), ctx.now)? else { return Ok(None) };
    if users::get(tx, page.user)?.state == UserState::Erased {
        return Ok(None);
    }
    let visible = |order: &Order| {
        order.payer == page.user && !matches!(order.state, OrderState::Draft | OrderState::AwaitingConfirmation)
    };
    let number = chosen.or(page.number);
    let shown = number.map(|number| orders::find(tx, number)).transpose()?.flatten().filter(visible);
    if chosen.is_some() && shown.is_none() {
        return Ok(None);
    }
    let contact = contacts::contact(tx, page.user)?;
    let filter = PayerFilter {
        payer: page.user,
        states: vec![OrderState::Payable, OrderState::InPayment],
        case_number: None,
        source: None,
        due_before: None,
        after: 0,
    };
    let open = orders::of_payer(tx, &filter, MAX_ORDERS)?;
    let zone = zone_of(tx, &contact, shown.as_ref().or(open.first()))?;
    let told = |order: &Order| PageOrder { facts: of_order(order), state: order.state };
    let fees = match &shown {
        Some(order) => order_parts::fees(tx, order.number)?,
        None => Vec::new(),
    };
    let address = page.address.map(|address| contacts::address(tx, address)).transpose()?.flatten();
    Ok(Some(PageFacts {
        language: language.unwrap_or(contact.language),
        zone,
        now: ctx.now,
        merchant: stores::merchant_name(tx)?,
        chosen: shown.as_ref().map(|order| ChosenOrder { order: told(order), fees }),
        orders: open.iter().map(told).collect(),
        subscribed: address.map(|address| address.unsubscribed_at.is_none()),
    }))
}

/// The notices of a payer after the one numbered `after`, for who follows a page; without `after`, none, and the number of
/// the last one.
pub(crate) fn news(tx: &Tx<'_>, user: i64, after: Option<i64>) -> Result<(Vec<Notice>, i64), Failure> {
    let Some(after) = after else { return Ok((Vec::new(), notices::last_of_user(tx, user)?)) };
    let found = notices::of_user(tx, user, after, MAX_NOTICES)?;
    let last = found.last().map_or(after, |notice| notice.notice);
    Ok((found, last))
}
