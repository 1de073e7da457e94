//! One exchange of a gate with its merchant as a state machine: what is asked next, and what an answer changes. Whoever drives it
//! does the sending; it may be given up at any point and begun anew.

use super::{GateKeeper, read_json};
use crate::adapter::gate_store::Cursor;
use crate::error::WalkpayError;
use crate::id::PassId;
use crate::protocol::message::{Revocations, SpentList, SpentPasses};
use crate::time::Timestamp;
use serde::Deserialize;

/// The most passes in one upload.
const PAGE: u32 = 1_000;
/// How many pages of one list are read in one exchange.
const MAX_PAGES: u32 = 1_000;

/// What a gate asks its merchant.
#[derive(Clone, Debug, PartialEq)]
pub enum GateRequest {
    /// `POST /terminal/v1/enrolments`: the root's key with the newest key set, while the root is not known.
    Root,
    /// `GET /terminal/v1/keys`.
    Keys,
    /// `POST /gate/v1/groups/{group}/passes`: what was taken in here.
    Upload(SpentPasses),
    /// `GET /gate/v1/groups/{group}/passes`: what was taken in after this cursor.
    Spent(u64),
    /// `GET /gate/v1/groups/{group}/revocations`: what was taken back after this cursor.
    Revoked(u64),
}

/// What an exchange did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// The number of the key set in force.
    pub key_set_seq: u64,
    /// Passes that the merchant was told of.
    pub sent: u64,
    /// Passes among them that another gate had taken in before: shown at two gates that could not talk to each other.
    pub spent_twice: u64,
    /// Passes taken in by other gates that are new here.
    pub learned: u64,
    /// Revocations that are new here.
    pub revoked: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Keys,
    Upload,
    Spent,
    Revoked,
    Done,
}

/// An exchange that is under way: keys, then what was taken in here, then what was taken in elsewhere, then what was taken back.
/// Each part that arrives is kept.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    stage: Stage,
    pages: u32,
    synced: Synced,
}

#[derive(Deserialize)]
struct SpentAnswer {
    #[serde(default)]
    repeated: Vec<PassId>,
}

impl Exchange {
    /// What to ask next; nothing when all is done.
    ///
    /// # Errors
    /// [`WalkpayError::Storage`].
    pub fn due(&mut self, gate: &GateKeeper) -> Result<Option<GateRequest>, WalkpayError> {
        let store = gate.store();
        if self.stage == Stage::Upload {
            let unsent = store.unsent(PAGE)?;
            if !unsent.is_empty() {
                return Ok(Some(GateRequest::Upload(SpentPasses { passes: unsent })));
            }
            self.stage = Stage::Spent;
        }
        Ok(match self.stage {
            Stage::Keys if gate.root(&store)?.is_some() => Some(GateRequest::Keys),
            Stage::Keys => Some(GateRequest::Root),
            Stage::Spent | Stage::Upload => Some(GateRequest::Spent(store.cursor(Cursor::Spent)?)),
            Stage::Revoked => Some(GateRequest::Revoked(store.cursor(Cursor::Revoked)?)),
            Stage::Done => None,
        })
    }

    /// Takes in the body of the answer to `request`, which was the last one that was due.
    ///
    /// # Errors
    /// [`WalkpayError::Untrusted`] for keys, [`WalkpayError::InvalidInput`] for other texts, [`WalkpayError::Storage`].
    pub fn answered(
        &mut self,
        gate: &GateKeeper,
        request: &GateRequest,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), WalkpayError> {
        match request {
            GateRequest::Root | GateRequest::Keys => {
                self.synced.key_set_seq = gate.load_keys(body)?;
                self.stage = Stage::Upload;
            }
            GateRequest::Upload(upload) => {
                let answer: SpentAnswer = read_json("answer", body)?;
                gate.store().mark_sent(&upload.passes)?;
                self.synced.sent += upload.passes.len() as u64;
                self.synced.spent_twice += answer.repeated.len() as u64;
            }
            GateRequest::Spent(after) => {
                let page: SpentList = read_json("answer", body)?;
                self.synced.learned += gate.store().learn_spent(&page.passes, page.cursor.max(*after), now)?;
                self.turn(page.passes.is_empty() || page.cursor <= *after, Stage::Revoked);
            }
            GateRequest::Revoked(after) => {
                let page: Revocations = read_json("answer", body)?;
                gate.store().learn_revoked(&page.passes, Some(page.cursor.max(*after)), now)?;
                self.synced.revoked += page.passes.len() as u64;
                self.turn(page.passes.is_empty() || page.cursor <= *after, Stage::Done);
            }
        }
        if self.stage == Stage::Done {
            gate.store().forget(now)?;
        }
        Ok(())
    }

    /// What was done so far.
    pub fn synced(&self) -> Synced {
        self.synced
    }

    fn turn(&mut self, last_page: bool, next: Stage) {
        self.pages += 1;
        if last_page || self.pages >= MAX_PAGES {
            (self.stage, self.pages) = (next, 0);
        }
    }
}
