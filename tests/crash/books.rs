//! What the files on disk say once everything has come to rest.

use mock_merchant::bank::invariants as bank;
use mock_merchant::store::{Tx, invariants as merchant};
use rusqlite::{Connection, OpenFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use walkpay::TripId;
use walkpay::protocol::document::BasketSummary;
use walkpay::protocol::jws;

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
        Ok(())
    }

    /// Enough must have happened for the rest to mean anything.
    pub fn busy(&self) -> Result<(), String> {
        let (baskets, debits, cancelled) = (self.submitted.len(), self.debits.len(), self.cancelled.len());
        if baskets < 5 || debits < 3 || cancelled < 1 {
            return Err(format!("too little happened: {baskets} baskets, {debits} debits, {cancelled} cancellations"));
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

/// What must hold when all is settled, in both files and between them and `facts`.
pub fn at_rest(merchant_db: &Path, bank_db: &Path, facts: &Facts) -> Result<(), String> {
    let mut violations = bank::violations_in_file(bank_db).map_err(|e| e.to_string())?;
    violations.extend(merchants(merchant_db, true)?);
    none(&violations)?;

    let db = read_only(merchant_db)?;
    let sql = |e: rusqlite::Error| format!("merchant.db: {e}");
    let mut book = BTreeMap::new();
    let theirs = Tx::read(&db, |tx| Ok(merchant::bank_book(tx)?)).map_err(|e| format!("{e:?}"))?;
    for (reference, minor) in theirs {
        *book.entry(reference).or_insert(0) += minor;
    }
    let mut banks = BTreeMap::new();
    let mut taken: BTreeMap<TripId, i64> = BTreeMap::new();
    for entry in bank::statement_in_file(bank_db).map_err(|e| e.to_string())? {
        *banks.entry(entry.reference).or_insert(0) += entry.amount.minor;
        *taken.entry(entry.subject.trip().map_err(|e| e.to_string())?).or_insert(0) += entry.amount.minor;
    }
    if book != banks {
        return Err(format!("the merchant's and the bank's book differ:\n{book:#?}\n{banks:#?}"));
    }

    let mut accepted: BTreeMap<String, i64> = BTreeMap::new();
    let mut attempts: BTreeMap<String, (i64, String)> = BTreeMap::new();
    let mut query = db.prepare("SELECT state, jws FROM attempts").map_err(sql)?;
    let rows = query.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?))).map_err(sql)?;
    for row in rows {
        let (state, jws) = row.map_err(sql)?;
        let (_, basket) = jws::peek::<BasketSummary>(&jws).map_err(|e| e.to_string())?;
        if state == "accepted" && accepted.insert(basket.trip_id.to_string(), basket.total.minor).is_some() {
            return Err(format!("{} was accepted twice", basket.trip_id));
        }
        attempts.insert(format!("{}/{}", basket.trip_id, basket.attempt), (basket.total.minor, state));
    }
    for (trip, minor) in &taken {
        let total = accepted.get(&trip.to_string()).copied().unwrap_or(0);
        if *minor > total {
            return Err(format!("the bank took {minor} for {trip}, of which {total} was signed and accepted"));
        }
    }
    agree(facts, &attempts, &accepted)
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
