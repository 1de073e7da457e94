//! The one public error.

use serde::{Deserialize, Serialize};

/// What kept a folder's files from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, uniffi::Enum)]
#[serde(rename_all = "snake_case")]
pub enum StorageProblem {
    /// Another process has the folder open.
    InUse,
    /// The folder or a file in it cannot be written.
    ReadOnly,
    /// No room left.
    Full,
    /// A file is damaged.
    Corrupt,
    /// A file is an SQLite database of something else, or no database at all.
    Foreign,
    /// A file was written by a newer version.
    TooNew,
    /// The folder does not exist and cannot be made, or reading failed.
    Unreadable,
}

/// Everything that can go wrong, in Rust, Kotlin, Swift and Python alike.
///
/// [`WalkpayError::code`] is stable and meant for programs, [`WalkpayError::explain`] for the people who read logs;
/// neither contains personal data: of texts about people they tell the length.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, uniffi::Error)]
#[serde(rename_all = "snake_case")]
pub enum WalkpayError {
    /// An argument is not what it must be.
    #[error("{field}: expected {expected}, got {got:?}")]
    InvalidInput {
        /// Which argument.
        field: String,
        /// What it must look like.
        expected: String,
        /// What came (shortened).
        got: String,
    },
    /// A number or size is above its limit.
    #[error("{what} is above the limit of {limit}")]
    Limit {
        /// What is limited.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// Two amounts of different currencies met.
    #[error("expected an amount in {expected}, got one in {got}")]
    MixedCurrencies {
        /// The currency in use.
        expected: String,
        /// The other one.
        got: String,
    },
    /// The scanner's output says nothing that can be sold.
    #[error("unusable barcode ({reason})")]
    Barcode {
        /// A stable word for what is wrong, such as `check_digit`.
        reason: String,
        /// What was expected and what came.
        detail: String,
    },
    /// The catalogue has no such article.
    #[error("no article {gtin} in the catalogue")]
    UnknownArticle {
        /// Its GTIN-14.
        gtin: String,
    },
    /// The basket does not allow this for an article or a line.
    #[error("{rule}: {detail}")]
    BasketRule {
        /// A stable word for the rule, such as `sale_stopped`, `weight_needed`, `unknown_line`.
        rule: String,
        /// The line concerned, if there is one already.
        line: Option<u32>,
        /// What to do.
        detail: String,
    },
    /// The call is out of order.
    #[error("{called} cannot be called now: {due} is due")]
    WrongOrder {
        /// The call that was made.
        called: String,
        /// The call or fact that is due.
        due: String,
    },
    /// Nobody is signed in on this terminal.
    #[error("no user is signed in")]
    NotSignedIn,
    /// The named thing does not exist here.
    #[error("no {what} {id} here")]
    Unknown {
        /// What kind of thing.
        what: String,
        /// Its identifier.
        id: String,
    },
    /// The folder's files cannot be used.
    #[error("storage: {detail}")]
    Storage {
        /// What is wrong with them.
        problem: StorageProblem,
        /// Where, and what to do.
        detail: String,
    },
    /// The merchant could not be reached or did not answer in time; this says nothing about what it decided.
    #[error("network: {detail}")]
    Network {
        /// What was tried and what happened.
        detail: String,
    },
    /// The merchant answered with a problem document (RFC 9457).
    #[error("refused by the merchant ({problem}): {detail}")]
    Refused {
        /// The stable problem code.
        problem: String,
        /// The HTTP status.
        status: u16,
        /// Its detail.
        detail: String,
    },
    /// Something signed does not verify, or is not what it must be bound to.
    #[error("{document} cannot be trusted ({check}): {detail}")]
    Untrusted {
        /// Which document.
        document: String,
        /// The check that failed, a stable word.
        check: String,
        /// What was expected.
        detail: String,
    },
    /// The host's key vault or signer failed or refused.
    #[error("key: {detail}")]
    Key {
        /// What happened.
        detail: String,
    },
    /// The terminal has been shut down.
    #[error("the terminal is shut down")]
    ShutDown,
    /// A defect of this library or of a foreign implementation.
    #[error("internal: {detail}")]
    Internal {
        /// What happened.
        detail: String,
    },
}

impl WalkpayError {
    /// An [`WalkpayError::InvalidInput`]; `got` is cut to 80 characters.
    pub(crate) fn invalid(field: &str, expected: &str, got: &str) -> Self {
        Self::InvalidInput {
            field: field.to_owned(),
            expected: expected.to_owned(),
            got: got.chars().take(80).collect(),
        }
    }

    /// An [`WalkpayError::InvalidInput`] about a text of or about a person: only its length is told.
    #[cfg(feature = "terminal")]
    pub(crate) fn invalid_private(field: &str, expected: &str, got: &str) -> Self {
        let chars = got.chars().count();
        Self::invalid(field, expected, &format!("{chars} characters, not shown here"))
    }

    pub(crate) fn barcode(reason: &str, detail: impl Into<String>) -> Self {
        Self::Barcode { reason: reason.to_owned(), detail: detail.into() }
    }

    pub(crate) fn basket_rule(rule: &str, line: Option<u32>, detail: impl Into<String>) -> Self {
        Self::BasketRule { rule: rule.to_owned(), line, detail: detail.into() }
    }

    pub(crate) fn limit(what: &str, limit: u64) -> Self {
        Self::Limit { what: what.to_owned(), limit }
    }

    /// Whether a signature could not be checked with the keys that are known: newer ones may help.
    #[cfg(feature = "terminal")]
    pub(crate) fn is_key_trouble(&self) -> bool {
        let keys = ["kid", "key_use", "key_retired", "key_not_yet_valid"];
        matches!(self, Self::Untrusted { check, .. } if keys.contains(&check.as_str()))
    }

    pub(crate) fn untrusted(document: &str, check: &str, detail: impl Into<String>) -> Self {
        Self::Untrusted { document: document.to_owned(), check: check.to_owned(), detail: detail.into() }
    }
}

#[uniffi::export]
impl WalkpayError {
    /// A stable code for programs, such as `invalid_input` or `storage.in_use`.
    pub fn code(&self) -> String {
        match self {
            Self::InvalidInput { .. } => "invalid_input".into(),
            Self::Limit { .. } => "limit".into(),
            Self::MixedCurrencies { .. } => "mixed_currencies".into(),
            Self::Barcode { reason, .. } => format!("barcode.{reason}"),
            Self::UnknownArticle { .. } => "unknown_article".into(),
            Self::BasketRule { rule, .. } => format!("basket.{rule}"),
            Self::WrongOrder { .. } => "wrong_order".into(),
            Self::NotSignedIn => "not_signed_in".into(),
            Self::Unknown { .. } => "unknown".into(),
            Self::Storage { problem, .. } => format!(
                "storage.{}",
                match problem {
                    StorageProblem::InUse => "in_use",
                    StorageProblem::ReadOnly => "read_only",
                    StorageProblem::Full => "full",
                    StorageProblem::Corrupt => "corrupt",
                    StorageProblem::Foreign => "foreign",
                    StorageProblem::TooNew => "too_new",
                    StorageProblem::Unreadable => "unreadable",
                }
            ),
            Self::Network { .. } => "network".into(),
            Self::Refused { problem, .. } => format!("refused.{problem}"),
            Self::Untrusted { check, .. } => format!("untrusted.{check}"),
            Self::Key { .. } => "key".into(),
            Self::ShutDown => "shut_down".into(),
            Self::Internal { .. } => "internal".into(),
        }
    }

    /// What happened and what to do about it, in a sentence or two for a developer or a log.
    pub fn explain(&self) -> String {
        let advice = match self {
            Self::InvalidInput { .. } | Self::MixedCurrencies { .. } => {
                "Correct the argument and call again; nothing was changed."
            }
            Self::Limit { .. } => "Stay below the limit; nothing was changed.",
            Self::Barcode { detail, .. } => {
                return format!("{self}: {detail}. Scan again, or enter the digits by hand.");
            }
            Self::UnknownArticle { .. } => "Sync the catalogue, or take the article to the staff.",
            Self::BasketRule { .. } => "The basket is unchanged.",
            Self::WrongOrder { .. } => "Make the call that is due first; nothing was changed.",
            Self::NotSignedIn => "Call sign_in first.",
            Self::Unknown { .. } => "Check the identifier, and that the right user is signed in.",
            Self::Storage { problem, .. } => match problem {
                StorageProblem::InUse => "Close the other process, or open another folder.",
                StorageProblem::ReadOnly => "Give this process the right to write there.",
                StorageProblem::Full => "Free some space and call again; what was answered before is safe.",
                StorageProblem::Corrupt => "Keep the file for support, and enrol again in an empty folder.",
                StorageProblem::Foreign => "Open a folder that belongs to this library, or an empty one.",
                StorageProblem::TooNew => "Update the app; the files are untouched.",
                StorageProblem::Unreadable => "Check the path and its permissions.",
            },
            Self::Network { .. } => "What must be sent stays in the outbox and is tried again by itself.",
            Self::Refused { .. } => "The detail says what the merchant expects.",
            Self::Untrusted { .. } => {
                "Do not act on it. If it persists, this is not the merchant that the device was enrolled at."
            }
            Self::Key { .. } => "Check the key store of the platform; nothing was signed.",
            Self::ShutDown => "Open the terminal again.",
            Self::Internal { .. } => "This is a defect: please report it with this text.",
        };
        format!("{self}. {advice}")
    }

    /// Whether the same call can succeed later without anything being corrected.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Storage { problem, .. } => matches!(problem, StorageProblem::InUse | StorageProblem::Full),
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for WalkpayError {
    fn from(e: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Internal { detail: format!("a foreign implementation failed unexpectedly: {}", e.reason) }
    }
}
