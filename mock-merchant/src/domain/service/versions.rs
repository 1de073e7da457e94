//! The versions of an order: who changed it, to what (B05).

use super::message::{OrderVersion, OrderVersions};
use crate::domain::Ctx;
use crate::failure::{Failure, defect};
use crate::store::Tx;
use crate::store::order_parts::{self, Version};
use crate::store::orders::Order;
use crate::store::users::{self, UserState};
use serde_json::{Value, json};
use walkpay::ServiceNumber;

/// Keeps an order as it now is as the version that it now has.
pub(super) fn keep(
    tx: &Tx<'_>,
    ctx: &Ctx,
    order: &Order,
    actor: &str,
    action: &str,
    reason: &str,
) -> Result<(), Failure> {
    let fees = order_parts::fees(tx, order.number)?;
    let texts = order_parts::texts(tx, order.number)?;
    let facts = json!({
        "status": order.state.status(),
        "service_name": order.service_name,
        "payee": order.payee,
        "total": order.total,
        "due": order.total.currency.minor(order.due),
        "case_number": order.case_number,
        "arose_at": order.arose_at,
        "deadline": order.deadline,
        "fees": fees,
    });
    let texts = json!({
        "case_name": texts.case_name,
        "paying_unit": texts.paying_unit,
        "remarks": texts.remarks,
        "reason": reason,
    });
    let version = Version {
        version: order.version,
        at: ctx.now,
        actor: actor.to_owned(),
        action: action.to_owned(),
        facts: facts.to_string(),
        texts: (users::get(tx, order.payer)?.state != UserState::Erased).then(|| texts.to_string()),
    };
    Ok(order_parts::keep_version(tx, order.number, &version)?)
}

/// The versions above `after`, at most `limit`.
pub(super) fn page(tx: &Tx<'_>, number: ServiceNumber, after: u64, limit: u32) -> Result<OrderVersions, Failure> {
    let mut found = order_parts::versions(tx, number, after, limit.saturating_add(1))?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().map(|v| v.version).filter(|_| more);
    let read = |text: &str| serde_json::from_str::<Value>(text).map_err(|e| defect("version of an order", e));
    let versions = found.into_iter().map(|v| {
        Ok(OrderVersion {
            version: v.version,
            at: v.at,
            actor: v.actor,
            action: v.action,
            facts: read(&v.facts)?,
            texts: v.texts.as_deref().map(read).transpose()?,
        })
    });
    Ok(OrderVersions { versions: versions.collect::<Result<_, Failure>>()?, next })
}
