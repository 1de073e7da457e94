//! Why a command has no answer.

use crate::store::StoreError;
use walkpay::WalkpayError;
use walkpay::protocol::message::Problem;
use walkpay::protocol::problem::ProblemCode;

/// Either a refusal, which is an answer and keeps its records, or a fault, which keeps nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Refused for a stated reason; what was recorded about it stays.
    #[error("refused ({}): {detail}", code.code())]
    Refused {
        /// The stable problem type.
        code: ProblemCode,
        /// What was expected and what to do; no personal data.
        detail: String,
    },
    /// The store failed or a defect showed.
    #[error(transparent)]
    Fault(#[from] StoreError),
}

impl Failure {
    /// The problem document for the one who asked. The detail of a fault stays in the logs.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused { code, detail } => code.document(detail.clone()),
            Self::Fault(e) if e.is_full() => ProblemCode::Unavailable
                .document("The merchant's disk is full: its operator has to make room. Try again later."),
            Self::Fault(e) if e.is_passing() => ProblemCode::Unavailable.document("Try again."),
            Self::Fault(_) => ProblemCode::Internal.document("The defect is in the server's log."),
        }
    }

    /// The problem type.
    pub fn code(&self) -> ProblemCode {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Fault(e) if e.is_passing() => ProblemCode::Unavailable,
            Self::Fault(_) => ProblemCode::Internal,
        }
    }
}

/// A refusal.
pub fn refuse(code: ProblemCode, detail: impl Into<String>) -> Failure {
    Failure::Refused { code, detail: detail.into() }
}

/// A fault: something that this program itself wrote or made cannot be used.
pub fn defect(what: &str, why: impl std::fmt::Display) -> Failure {
    Failure::Fault(StoreError::Defect(format!("{what}: {why}")))
}

/// For values that come from this program's own store: an error there is a defect.
pub trait OrDefect<T> {
    /// The value, or a fault that names `what`.
    ///
    /// # Errors
    /// [`Failure::Fault`].
    fn or_defect(self, what: &str) -> Result<T, Failure>;
}

impl<T> OrDefect<T> for Result<T, WalkpayError> {
    fn or_defect(self, what: &str) -> Result<T, Failure> {
        self.map_err(|e| defect(what, e))
    }
}

impl<T> OrDefect<T> for Option<T> {
    fn or_defect(self, what: &str) -> Result<T, Failure> {
        self.ok_or_else(|| defect(what, "not there"))
    }
}
