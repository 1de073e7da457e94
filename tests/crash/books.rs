//! What the files on disk say once everything has come to rest.

use crate::desk::{self, Books as Told};
use mock_merchant::bank::invariants as bank;
use mock_merchant::store::{Tx, invariants as merchant};
use rusqlite::{Connection, OpenFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use walkpay::protocol::document::BasketSummary;
use walkpay::protocol::jws;
use walkpay::protocol::order::SlipPayment;

/// What the shopper's process said before it was killed, over all its lives: facts that must not be lost.
#[derive(Debug, Default)]
pub struct Facts {
    started: BTreeSet<String>,
    cancelled: BTreeSet<String>,
    /// Trip and attempt → signed total in minor units.
    submitted: BTreeMap<String, i64>,
    /// Trip and attempt → verdict.
    verdicts: BTreeMap<String, String>,
    /// Trip → status and what remains due.
    debits: BTreeMap<String, String>,
    slips: BTreeSet<String>,
    /// Slip → its number and amount.
    made: BTreeMap<String, String>,
    /// Payment → amount in minor units.
    payments: BTreeMap<String, String>,
    /// Payment → how it ended.
    ended: BTreeMap<String, String>,
}

impl Facts {
    /// Takes in the lines of one life.
    pub fn take(&mut self, lines: &[String]) -> Result<(), String> {
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["started", trip] => drop(self.started.insert((*trip).to_owned())),
                ["cancelled", trip] => drop(self.cancelled.insert((*trip).to_owned())),
                ["submitted", attempt, minor] => {
                    let minor = minor.parse().map_err(|e| format!("{line}: {e}"))?;
                    once(&mut self.submitted, attempt, minor, line)?;
                }
                ["verdict", attempt, verdict] => once(&mut self.verdicts, attempt, (*verdict).to_owned(), line)?,
                ["debit", trip, status] => once(&mut self.debits, trip, (*status).to_owned(), line)?,
                ["slip", slip] => drop(self.slips.insert((*slip).to_owned())),
                ["made", slip, made] => once(&mut self.made, slip, (*made).to_owned(), line)?,
                ["payment", payment, minor] => once(&mut self.payments, payment, (*minor).to_owned(), line)?,
                ["ended", payment, how] => once(&mut self.ended, payment, (*how).to_owned(), line)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// What the terminal says at the end must be everything that it had said before.
    pub fn still_known(&self, last: &Facts) -> Result<(), String> {
        let lost = |what: &str, which: &String| Err(format!("{what} {which} was answered and is not known any more"));
        if let Some(trip) = self.started.difference(&last.started).next() {
            return lost("the visit", trip);
        }
        if let Some(trip) = self.cancelled.difference(&last.cancelled).next() {
            return lost("the end of", trip);
        }
        for (attempt, total) in &self.submitted {
            if last.submitted.get(attempt) != Some(total) {
                return lost("the basket", attempt);
            }
        }
        for (attempt, verdict) in &self.verdicts {
            if last.verdicts.get(attempt) != Some(verdict) {
                return lost("the verdict on", attempt);
            }
        }
        for (trip, status) in &self.debits {
            if last.debits.get(trip) != Some(status) {
                return lost("the debit of", trip);
            }
        }
        if let Some(slip) = self.slips.difference(&last.slips).next() {
            return lost("the slip", slip);
        }
        let of_slips = [(&self.made, &last.made), (&self.payments, &last.payments), (&self.ended, &last.ended)];
        for (before, after) in of_slips {
            if let Some((which, _)) = before.iter().find(|(which, fact)| after.get(*which) != Some(fact)) {
                return lost("what was said of", which);
            }
        }
        Ok(())
    }

    /// Enough must have happened for the rest to mean anything.
    pub fn busy(&self) -> Result<(), String> {
        let (baskets, debits, cancelled) = (self.submitted.len(), self.debits.len(), self.cancelled.len());
        if baskets < 5 || debits < 3 || cancelled < 1 {
            return Err(format!("too little happened: {baskets} baskets, {debits} debits, {cancelled} cancellations"));
        }
        if self.made.len() < 5 || self.payments.len() < self.made.len() {
            return Err(format!("too few slips were paid: {:?} by {:?}", self.made, self.payments));
        }
        Ok(())
    }
}

fn once<T: PartialEq + std::fmt::Debug>(
    facts: &mut BTreeMap<String, T>,
    which: &str,
    fact: T,
    line: &str,
) -> Result<(), String> {
    match facts.get(which) {
        Some(before) if *before != fact => Err(format!("{line:?}, but before it was {before:?}")),
        _ => {
            facts.insert(which.to_owned(), fact);
            Ok(())
        }
    }
}

/// What must hold in a merchant's and a bank's file at any moment.
pub fn always(merchant_db: &Path, bank_db: &Path) -> Result<(), String> {
    let mut violations = bank::violations_in_file(bank_db).map_err(|e| e.to_string())?;
    violations.extend(merchants(merchant_db, false)?);
    none(&violations)
}

/// What must hold when all is settled, in both files and between them, `facts`, and what the service system was `told`.
pub fn at_rest(merchant_db: &Path, bank_db: &Path, facts: &Facts, told: &Told) -> Result<(), String> {
    let mut violations = bank::violations_in_file(bank_db).map_err(|e| e.to_string())?;
    violations.extend(merchants(merchant_db, true)?);
    none(&violations)?;

    let db = read_only(merchant_db)?;
    let mut book = BTreeMap::new();
    let theirs = Tx::read(&db, |tx| Ok(merchant::bank_book(tx)?)).map_err(|e| format!("{e:?}"))?;
    for (reference, minor) in theirs {
        *book.entry(reference).or_insert(0) += minor;
    }
    let mut banks = BTreeMap::new();
    let mut taken: BTreeMap<String, i64> = BTreeMap::new();
    for entry in bank::statement_in_file(bank_db).map_err(|e| e.to_string())? {
        *banks.entry(entry.reference).or_insert(0) += entry.amount.minor;
        *taken.entry(entry.subject.to_string()).or_insert(0) += entry.amount.minor;
    }
    if book != banks {
        return Err(format!("the merchant's and the bank's book differ:\n{book:#?}\n{banks:#?}"));
    }

    let mut accepted: BTreeMap<String, i64> = BTreeMap::new();
    let mut attempts: BTreeMap<String, (i64, String)> = BTreeMap::new();
    for (state, jws) in pairs(&db, "SELECT state, jws FROM attempts")? {
        let (_, basket) = jws::peek::<BasketSummary>(&jws).map_err(|e| e.to_string())?;
        if state == "accepted" && accepted.insert(basket.trip_id.to_string(), basket.total.minor).is_some() {
            return Err(format!("{} was accepted twice", basket.trip_id));
        }
        attempts.insert(format!("{}/{}", basket.trip_id, basket.attempt), (basket.total.minor, state));
    }
    let by_bank = slips_agree(&db, facts, told)?;
    for (subject, minor) in &taken {
        let total = accepted.get(subject).or_else(|| by_bank.get(subject)).copied().unwrap_or(0);
        if *minor > total {
            return Err(format!("the bank took {minor} for {subject}, of which {total} was signed and accepted"));
        }
    }
    agree(facts, &attempts, &accepted)
}

/// Slips, payments and orders are those that terminal and service system know, each paid and told of once. What the bank was to pay
/// of each payment that succeeded.
fn slips_agree(db: &Connection, facts: &Facts, told: &Told) -> Result<BTreeMap<String, i64>, String> {
    let mut by_bank = BTreeMap::new();
    let mut ended = BTreeMap::new();
    for (state, jws) in pairs(db, "SELECT state, jws FROM payment_attempts")? {
        let (_, payment) = jws::peek::<SlipPayment>(&jws).map_err(|e| e.to_string())?;
        let id = payment.payment_id.to_string();
        if facts.payments.get(&id) != Some(&payment.amount.minor.to_string()) {
            return Err(format!("the merchant has payment {id}, which was never agreed to"));
        }
        if state == "succeeded" {
            by_bank.insert(id.clone(), payment.amount.minor - payment.stored_value.minor);
        }
        ended.insert(id, state);
    }
    for payment in facts.payments.keys() {
        let (here, there) = (facts.ended.get(payment).map(String::as_str), ended.get(payment).map(String::as_str));
        if !matches!(
            (here, there),
            (Some("Succeeded"), Some("succeeded")) | (Some("Closed"), Some("closed")) | (Some("Refused"), None)
        ) {
            return Err(format!("payment {payment} is {here:?} here and {there:?} at the merchant"));
        }
    }
    let made: BTreeSet<String> = facts.made.values().cloned().collect();
    let theirs = pairs(db, "SELECT printf('%018d/%d', slip, minor), state FROM slips")?;
    if let Some((slip, state)) = theirs.iter().find(|(slip, state)| !made.contains(slip) || state != "paid") {
        return Err(format!("slip {slip} is {state} at the merchant, and the terminal has {made:?}"));
    }
    if theirs.len() != facts.slips.len() || made.len() != facts.slips.len() {
        return Err(format!("the terminal has {:?}, the merchant {theirs:?}", facts.made));
    }
    let sql = format!("SELECT printf('%015d', number), state FROM orders WHERE source = '{}'", desk::NAME);
    let orders: BTreeMap<String, String> = pairs(db, &sql)?.into_iter().collect();
    if orders.keys().ne(told.numbers.values().collect::<BTreeSet<_>>()) {
        return Err(format!("the service system handed in {:?}, the merchant has {orders:?}", told.numbers));
    }
    for (number, state) in &orders {
        let messages = told.paid.get(number).map_or(0, BTreeSet::len);
        if state != "paid" || messages != 1 {
            return Err(format!("order {number} is {state}, and {messages} messages told that it is paid"));
        }
    }
    Ok(by_bank)
}

fn pairs(db: &Connection, sql: &str) -> Result<Vec<(String, String)>, String> {
    let failed = |e: rusqlite::Error| format!("merchant.db: {e}");
    let mut query = db.prepare(sql).map_err(failed)?;
    let rows = query.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}

/// What the terminal was told is what the merchant decided, and the merchant has nothing that the terminal never did.
fn agree(
    facts: &Facts,
    attempts: &BTreeMap<String, (i64, String)>,
    accepted: &BTreeMap<String, i64>,
) -> Result<(), String> {
    for (attempt, total) in &facts.submitted {
        let Some((signed, state)) = attempts.get(attempt) else {
            return Err(format!("basket {attempt} was handed in, and the merchant does not have it"));
        };
        let verdict = facts.verdicts.get(attempt).ok_or_else(|| format!("{attempt} never got a verdict"))?;
        if signed != total || (verdict == "Accepted") != (state == "accepted") {
            return Err(format!("{attempt}: {verdict} for {total} here, {state} for {signed} at the merchant"));
        }
    }
    if let Some(attempt) = attempts.keys().find(|attempt| !facts.submitted.contains_key(*attempt)) {
        return Err(format!("the merchant has basket {attempt}, which was never handed in"));
    }
    for trip in accepted.keys() {
        if !facts.debits.contains_key(trip) {
            return Err(format!("{trip} was accepted, and nothing was told of its debit"));
        }
        if facts.cancelled.contains(trip) {
            return Err(format!("{trip} was accepted and cancelled"));
        }
    }
    match facts.debits.keys().find(|trip| !accepted.contains_key(*trip)) {
        Some(trip) => Err(format!("{trip} was debited, but never accepted")),
        None => Ok(()),
    }
}

fn merchants(path: &Path, at_rest: bool) -> Result<Vec<String>, String> {
    let db = read_only(path)?;
    let found = Tx::read(&db, |tx| Ok(if at_rest { merchant::at_quiescence(tx)? } else { merchant::always(tx)? }));
    found.map_err(|e| format!("{e:?}"))
}

fn read_only(path: &Path) -> Result<Connection, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|e| format!("{}: {e}", path.display()))?;
    db.busy_timeout(crate::process::PATIENCE).map_err(|e| e.to_string())?;
    Ok(db)
}

fn none(violations: &[String]) -> Result<(), String> {
    if violations.is_empty() { Ok(()) } else { Err(format!("violated: {violations:#?}")) }
}
