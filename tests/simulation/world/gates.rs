//! The gates of the store: each with a memory of its own, mostly without a network, started anew at any moment. Shoppers show
//! passes to them, and the adversary shows what is none.

use super::network::Message;
use super::{ADVERSARY, World, json, shop, text};
use crate::Mutation;
use ed25519_dalek::Signer;
use mock_merchant::domain::{self, AdminCommand, Answer, Caller, Query};
use mock_merchant::keys::Keyring;
use mock_merchant::store::Tx;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::json as object;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tempfile::TempDir;
use walkpay::adapter::sqlite::Durability;
use walkpay::gate::{Exchange, GateIdentity, GateKeeper, GateRequest, Passage};
use walkpay::protocol::crypto::Algorithm;
use walkpay::protocol::document::ExitPass;
use walkpay::protocol::exit_pass::{presentation_input, presentation_text};
use walkpay::protocol::jws;
use walkpay::protocol::message::{KeySetAnswer, SpentPasses};
use walkpay::{MerchantId, PassId, Timestamp, WalkpayError};

/// How wrong a gate's clock is at the most; the shopper's may be as wrong, and a step is 30 seconds.
const GATE_SKEW_MS: i64 = 12_000;
/// A picture of a pass that is older than this opens nothing, whatever the clocks say.
const STALE_MS: i64 = 2 * 30_000 + 2 * GATE_SKEW_MS;
/// A pass with at least this much time left lets its owner out.
const IN_TIME_MS: i64 = 60_000;

/// All gates, and what they have let out.
pub(super) struct Gates {
    all: Vec<Gate>,
    identity: GateIdentity,
    keys: Vec<u8>,
    /// Passes that opened a gate at least once.
    out: BTreeSet<PassId>,
    /// Passes that the merchant has on record as spent or revoked.
    recorded: BTreeSet<PassId>,
    revoked: BTreeSet<PassId>,
    /// What was shown, and for which moment.
    seen: Vec<(Timestamp, String)>,
    folder: TempDir,
}

struct Gate {
    keeper: GateKeeper,
    folder: PathBuf,
    /// The number of the request that it waits for; an answer to an earlier one has nobody to go to.
    asked: u64,
    skew_ms: i64,
    exchange: Option<(Exchange, GateRequest)>,
    /// What the merchant had on record when the exchange began, and when the last one that was finished began.
    on_record: BTreeSet<PassId>,
    knows: BTreeSet<PassId>,
    opened: BTreeSet<PassId>,
}

/// What is shown to a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    ByItsOwner,
    Picture,
    Forgery,
}

impl Gates {
    /// Two gates of one group that have the merchant's keys.
    pub fn new(merchant_id: &MerchantId, keyring: &Keyring, rng: &mut ChaCha8Rng) -> Result<Self, String> {
        let root_kid = keyring.root().key_id();
        let gate_group = shop::store().gate_group;
        let identity = GateIdentity { merchant_id: merchant_id.clone(), gate_group, root_kid };
        let folder = tempfile::tempdir().map_err(text)?;
        let keys = json(&object!({"root_key": keyring.root().to_jwk(), "key_set": keyring.key_set()}));
        let mut gates = Self {
            all: Vec::new(),
            identity,
            keys,
            out: BTreeSet::new(),
            recorded: BTreeSet::new(),
            revoked: BTreeSet::new(),
            seen: Vec::new(),
            folder,
        };
        for name in ["east", "west"] {
            let folder = gates.folder.path().join(name);
            let gate = Gate {
                keeper: gates.open(&folder)?,
                folder,
                asked: 0,
                skew_ms: rng.random_range(-GATE_SKEW_MS..GATE_SKEW_MS),
                exchange: None,
                on_record: BTreeSet::new(),
                knows: BTreeSet::new(),
                opened: BTreeSet::new(),
            };
            gate.keeper.load_keys(&gates.keys).map_err(text)?;
            gates.all.push(gate);
        }
        Ok(gates)
    }

    fn open(&self, folder: &std::path::Path) -> Result<GateKeeper, String> {
        GateKeeper::open(folder, self.identity.clone(), Durability::Off).map_err(text)
    }
}

impl World {
    pub(super) fn any_gate(&mut self) -> usize {
        self.rng.random_range(0..self.gates.all.len())
    }

    fn gate_now(&self, gate: usize) -> Timestamp {
        Timestamp::from_millis(self.now_ms + self.gates.all[gate].skew_ms)
    }

    pub(super) fn set_gate_clock(&mut self, gate: usize) {
        self.gates.all[gate].skew_ms = self.rng.random_range(-GATE_SKEW_MS..GATE_SKEW_MS);
    }

    /// The process dies and is started again on its folder; an exchange that was under way breaks off.
    pub(super) fn restart_gate(&mut self, gate: usize) -> Result<(), String> {
        let mut folder = self.gates.all[gate].folder.clone();
        if self.mutation == Some(Mutation::GateForgets) {
            folder.push(format!("again-{}", self.steps));
        }
        let keeper = self.gates.open(&folder)?;
        keeper.load_keys(&self.gates.keys).map_err(text)?;
        let restarted = &mut self.gates.all[gate];
        restarted.asked += 1;
        restarted.exchange = None;
        (restarted.keeper, restarted.folder) = (keeper, folder);
        Ok(())
    }

    // Passes at gates.

    /// One of a terminal's passes, as it would be shown now.
    fn pass_to_show(&mut self, n: usize, fresh: bool) -> Result<Option<(ExitPass, String)>, String> {
        let now = self.terminal_now(n);
        let Ok(device) = self.terminals[n].session.current() else { return Ok(None) };
        let trips = self.terminals[n].visits.iter().flat_map(|v| &v.trips);
        let passes = trips.filter_map(|t| device.trip(*t).ok()?.exit_pass());
        let mut found = Vec::new();
        for jws in passes {
            let (_, pass) = jws::peek::<ExitPass>(jws).map_err(text)?;
            if !(fresh && self.gates.out.contains(&pass.jti)) {
                found.push((jws.to_owned(), pass));
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        let (jws, pass) = found.swap_remove(self.rng.random_range(0..found.len()));
        let at = device.merchant_time(&now);
        let text = self.presentation(n, &jws, &pass, at)?;
        self.gates.seen.push((at, text.clone()));
        Ok(Some((pass, text)))
    }

    fn presentation(&self, n: usize, pass_jws: &str, pass: &ExitPass, at: Timestamp) -> Result<String, String> {
        let key = self.terminals[n].request_key();
        let input = presentation_input(pass, Algorithm::Ed25519, &key.key_id(), at).map_err(text)?;
        let signature = self.terminals[n].request().sign(input.as_bytes()).to_bytes();
        Ok(presentation_text(pass_jws, &input, &signature))
    }

    /// A shopper shows a pass at some gate; now and then twice, or at the other gate too.
    pub(super) fn leave(&mut self, n: usize) -> Result<(), String> {
        let fresh = n != ADVERSARY && self.rng.random_range(0..3) > 0;
        let Some((_, text)) = self.pass_to_show(n, fresh)? else { return Ok(()) };
        let gate = self.any_gate();
        self.show(gate, &text, Shown::ByItsOwner)?;
        if n == ADVERSARY || self.rng.random_range(0..4) == 0 {
            let again = self.any_gate();
            self.show(again, &text, Shown::ByItsOwner)?;
        }
        Ok(())
    }

    /// Old pictures of passes; passes of others with the adversary's own presentation; passes of the adversary's own making.
    pub(super) fn attack_a_gate(&mut self) -> Result<(), String> {
        if self.gates.seen.is_empty() {
            return Ok(());
        }
        let gate = self.any_gate();
        let at = self.rng.random_range(0..self.gates.seen.len());
        let (taken_at, picture) = self.gates.seen[at].clone();
        let now = self.gate_now(gate);
        let (Some((jws, _)), own) = (
            picture.strip_prefix("walkpay-pass:").and_then(|t| t.split_once('~')),
            self.terminals[ADVERSARY].consent(),
        ) else {
            return Err(format!("no pass was shown: {picture}"));
        };
        let (kid, mut pass) = jws::peek::<ExitPass>(jws).map_err(text)?;
        match self.rng.random_range(0..3) {
            0 if (now.as_millis() - taken_at.as_millis()).abs() > STALE_MS => self.show(gate, &picture, Shown::Picture),
            1 if pass.cnf.jwk != self.terminals[ADVERSARY].request_key().to_jwk() => {
                let jws = jws.to_owned();
                let stolen = self.presentation(ADVERSARY, &jws, &pass, now)?;
                self.show(gate, &stolen, Shown::Forgery)
            }
            2 => {
                pass.jti = PassId::new(now, [self.steps as u8; 10]);
                pass.cnf.jwk = self.terminals[ADVERSARY].request_key().to_jwk();
                let input = jws::signing_input(&pass, Algorithm::Ed25519, &kid).map_err(text)?;
                let made_up = jws::assemble(&input, &own.sign(input.as_bytes()).to_bytes());
                let forged = self.presentation(ADVERSARY, &made_up, &pass, now)?;
                self.show(gate, &forged, Shown::Forgery)
            }
            _ => Ok(()),
        }
    }

    /// What a gate does, and whether it may.
    fn show(&mut self, gate: usize, presentation: &str, shown: Shown) -> Result<(), String> {
        let now = self.gate_now(gate);
        let passage = match self.gates.all[gate].keeper.verify(presentation, now) {
            Ok(passage) => passage,
            Err(WalkpayError::Untrusted { .. }) => return Ok(()),
            Err(other) => return Err(format!("a gate failed: {other}")),
        };
        let pass = match passage {
            Passage::Open(pass) => pass,
            Passage::AlreadySpent(pass, _) if self.gates.out.contains(&pass.jti) => return Ok(()),
            Passage::Revoked(pass) if self.gates.revoked.contains(&pass.jti) => return Ok(()),
            other => return Err(format!("a gate stays closed for no reason: {other:?}")),
        };
        let jti = pass.jti;
        if shown != Shown::ByItsOwner {
            return Err(format!("{shown:?} of {jti} opened a gate"));
        }
        if !self.gates.all[gate].opened.insert(jti) {
            return Err(format!("{jti} opened the same gate twice"));
        }
        if self.gates.all[gate].knows.contains(&jti) {
            return Err(format!("{jti} opened a gate whose list it was on"));
        }
        if now >= pass.exp {
            return Err(format!("{jti} opened a gate when its time was over"));
        }
        self.gates.out.insert(jti);
        match self.report(pass.trip_id)? {
            Some(report) if report.accepted.is_some() => Ok(()),
            other => Err(format!("{jti} opened a gate and its trip was not accepted: {other:?}")),
        }
    }

    /// Nothing goes wrong any more: whoever has a pass in time gets out, once; and no pass does when the gates have talked.
    pub(super) fn everybody_leaves(&mut self, round: usize) -> Result<(), String> {
        if round >= 24 || round % 4 != 2 {
            return Ok(());
        }
        for n in 0..self.terminals.len() {
            while let Some((pass, text)) = self.pass_to_show(n, true)? {
                let gate = self.any_gate();
                let left = pass.exp.as_millis() - self.now_ms;
                if left < IN_TIME_MS || self.gates.revoked.contains(&pass.jti) {
                    self.gates.out.insert(pass.jti);
                    continue;
                }
                self.show(gate, &text, Shown::ByItsOwner)?;
                if !self.gates.out.contains(&pass.jti) {
                    return Err(format!("the owner of {} does not get out with {left} ms left", pass.jti));
                }
            }
        }
        for _ in 0..2 {
            for gate in 0..self.gates.all.len() {
                self.gates.all[gate].exchange = None;
                self.begin_exchange(gate)?;
                while !self.wire.is_empty() {
                    self.deliver_next()?;
                }
            }
        }
        // Also a gate that has just been started again knows what it knew.
        for gate in 0..self.gates.all.len() {
            self.restart_gate(gate)?;
        }
        for n in 0..self.terminals.len() {
            let gate = self.any_gate();
            if let Some((_, text)) = self.pass_to_show(n, false)? {
                self.show(gate, &text, Shown::ByItsOwner)?;
            }
        }
        Ok(())
    }

    // Gates and their merchant.

    /// A gate reaches its merchant and begins to exchange lists, unless it is about it already.
    pub(super) fn begin_exchange(&mut self, gate: usize) -> Result<(), String> {
        if self.gates.all[gate].exchange.is_some() {
            return Ok(());
        }
        self.gates.all[gate].on_record = self.gates.recorded.clone();
        self.go_on(gate, Exchange::default())
    }

    fn go_on(&mut self, gate: usize, mut exchange: Exchange) -> Result<(), String> {
        let asking = &mut self.gates.all[gate];
        match exchange.due(&asking.keeper).map_err(text)? {
            Some(request) => {
                asking.asked += 1;
                let number = asking.asked;
                asking.exchange = Some((exchange, request.clone()));
                self.post(Message::GateToMerchant { gate, number, request });
            }
            None => {
                asking.exchange = None;
                asking.knows.append(&mut asking.on_record);
            }
        }
        Ok(())
    }

    pub(super) fn gate_answered(&mut self, gate: usize, number: u64, answer: Option<Vec<u8>>) -> Result<(), String> {
        let now = self.gate_now(gate);
        let asking = &mut self.gates.all[gate];
        if number != asking.asked {
            return Ok(());
        }
        let (Some((mut exchange, request)), Some(body)) = (asking.exchange.take(), answer) else { return Ok(()) };
        exchange.answered(&asking.keeper, &request, &body, now).map_err(text)?;
        self.go_on(gate, exchange)
    }

    pub(super) fn answer_gate(&mut self, request: &GateRequest) -> Result<Vec<u8>, String> {
        let group = self.gates.identity.gate_group.clone();
        let caller = Caller::Gate(group.clone());
        let ctx = self.ctx();
        let query = match request {
            GateRequest::Root => return Err("a gate that has its root asks for it".into()),
            GateRequest::Upload(passes) => return self.record_spent(&caller, passes.clone()),
            GateRequest::Keys => Query::KeySet,
            GateRequest::Spent(after) => Query::SpentSince { group, after: *after },
            GateRequest::Revoked(after) => Query::Revocations { group, after: *after },
        };
        let answer = Tx::read(&self.conn, |tx| domain::read(tx, &ctx, &caller, query));
        Ok(match answer.map_err(|e| format!("{e:?}"))? {
            Answer::KeySet(KeySetAnswer { key_set }) => json(&object!({ "key_set": key_set })),
            Answer::SpentSince(list) => json(&list),
            Answer::Revocations(list) => json(&list),
            other => return Err(format!("no answer for a gate: {other:?}")),
        })
    }

    fn record_spent(&mut self, caller: &Caller, passes: SpentPasses) -> Result<Vec<u8>, String> {
        let ctx = self.ctx();
        let jtis: Vec<PassId> = passes.passes.iter().map(|p| p.jti).collect();
        let command = domain::Command::SpendPasses { group: self.gates.identity.gate_group.clone(), passes };
        let answer = Tx::run(&self.conn, |tx| domain::handle(tx, &ctx, caller, command));
        let Answer::Spent { new, repeated } = answer.map_err(|e| format!("{e:?}"))? else {
            return Err("no answer to an upload".into());
        };
        self.gates.recorded.extend(jtis);
        Ok(json(&object!({ "new": new, "repeated": repeated })))
    }

    /// The merchant takes a pass of the adversary's back.
    pub(super) fn revoke_a_pass(&mut self) -> Result<(), String> {
        let Some((pass, _)) = self.pass_to_show(ADVERSARY, false)? else { return Ok(()) };
        self.admin(AdminCommand::RevokePass(pass.jti))?;
        self.gates.revoked.insert(pass.jti);
        self.gates.recorded.insert(pass.jti);
        Ok(())
    }
}
