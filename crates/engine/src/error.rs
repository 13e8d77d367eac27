//! What can go wrong, told so that a caller can act on it.

use muster_intake::{IntakeError, MappingError};
use muster_store::StoreError;

use crate::review::Unconfirmed;

/// The engine's errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The payload was not taken; the sentence says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// The request makes no sense as it stands.
    #[error("{0}")]
    Wrong(String),
    /// The idempotency key came with another payload before.
    #[error("{0}")]
    Reused(String),
    /// Somebody else is working on the organisation, for longer than was to be waited.
    #[error("{0}")]
    Busy(String),
    /// Something that was named does not exist.
    #[error("{0}")]
    Unknown(String),
    /// Whoever asks may not do that.
    #[error("{0}")]
    Forbidden(String),
    /// The approval names a digest that is no longer the change set's.
    #[error("{0}")]
    Stale(String),
    /// A guard tripped, and nobody confirmed what it measured.
    #[error("{0}")]
    Guarded(String),
    /// An approval must say how many people it makes ineligible, and does not say that number.
    #[error("{0}")]
    Unconfirmed(Unconfirmed),
    /// What is read does not reflect the log as far as was asked for.
    #[error("{0}")]
    Behind(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The payload directory, or the file that was to be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A file that was named cannot be read or written.
    #[error("{0}")]
    File(String),
    /// The log or the stored roster is not what it should be.
    #[error("{0}")]
    Damaged(String),
}

/// The engine's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Unconfirmed> for Error {
    fn from(unconfirmed: Unconfirmed) -> Self {
        Error::Unconfirmed(unconfirmed)
    }
}

impl From<IntakeError> for Error {
    fn from(e: IntakeError) -> Self {
        Error::Refused(e.to_string())
    }
}

impl From<MappingError> for Error {
    fn from(e: MappingError) -> Self {
        Error::Refused(e.to_string())
    }
}

impl From<muster_domain::codec::Damaged> for Error {
    fn from(e: muster_domain::codec::Damaged) -> Self {
        Error::Damaged(e.to_string())
    }
}

impl From<muster_domain::fact::Unreadable> for Error {
    fn from(e: muster_domain::fact::Unreadable) -> Self {
        Error::Damaged(e.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(e: serde_json::Error) -> Self {
        Error::Damaged(format!("a stored document cannot be read, {}", place_of(&e)))
    }
}

/// Where a reader of JSON gave up, without its own sentence: that may quote a value, and errors go into logs.
pub(crate) fn place_of(e: &serde_json::Error) -> String {
    let what = match e.classify() {
        serde_json::error::Category::Eof => "it ends too soon",
        serde_json::error::Category::Data => "it says something else than it must",
        _ => "it is no JSON",
    };
    format!("line {}, column {}: {what}", e.line(), e.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_of_json_found_is_not_quoted() {
        let read = |text: &str| Error::from(serde_json::from_str::<u32>(text).unwrap_err()).to_string();
        for text in [r#""Planted Person""#, r#"{"planted":1}"#, "Planted", "12 Planted", ""] {
            let said = read(text);
            assert!(!said.to_lowercase().contains("planted"), "{said}");
            assert!(said.contains("line") && said.contains("column"), "{said}");
        }
    }
}
