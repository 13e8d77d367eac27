//! What refuses a whole payload; a bad row never does.

use std::io;

use crate::headers::MappingError;

/// Nothing was taken from the payload: each variant says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// No byte, or nothing but blank lines.
    #[error("The file is empty; a header row is needed even if there are no people in it. Export it again.")]
    Empty,
    /// Of no format that can be read.
    #[error("The file is {what}, not a list of people; {advice}")]
    NotText {
        /// What its first bytes say that it is.
        what: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
    /// Text, but in an encoding that cannot be read.
    #[error(
        "The file is written in {encoding} ({evidence}), which cannot be read; save it as \"CSV UTF-8\" and send it again."
    )]
    Unreadable {
        /// The encoding that it looks like.
        encoding: &'static str,
        /// What gave it away.
        evidence: String,
    },
    /// The header row has bytes that are not text, or a quotation mark that is never closed.
    #[error(
        "The header row on line {line} cannot be read: it is not UTF-8 or a quotation mark in it is never closed; correct it and send the file again."
    )]
    HeaderNotReadable {
        /// Its physical line.
        line: u64,
    },
    /// A record longer than [`MAX_RECORD`](crate::csv::MAX_RECORD).
    #[error("The row that begins on line {line} is longer than 1 MiB{}; correct it and send the file again.",
        if *in_quotes { ": a quotation mark in it is never closed" } else { ", so this is no list of people" })]
    RecordTooLong {
        /// The physical line on which it begins.
        line: u64,
        /// Whether it was inside quotation marks that it grew.
        in_quotes: bool,
    },
    /// A format name that is not known.
    #[error("The format \"{name}\" is not known; use one of {known}.")]
    UnknownFormat {
        /// What was asked for.
        name: String,
        /// What could have been.
        known: String,
    },
    /// Larger than a limit allows.
    #[error(
        "The file {what}: the limit {key} is {most}. Check that it is the right file; a limit is raised with `muster org set ORG {key}=N`."
    )]
    Limit {
        /// In what it is too large.
        what: String,
        /// The setting.
        key: &'static str,
        /// Its value.
        most: u64,
    },
    /// Broken off, damaged, or not as its format has it.
    #[error("{what}")]
    Damaged {
        /// A sentence that says what is wrong, where, and what to do.
        what: String,
    },
    /// The header row does not lead to the fields.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The payload could not be read from where it is.
    #[error("The file could not be read to its end; send it again.")]
    Read(#[source] io::Error),
}

impl IntakeError {
    /// A damaged payload, in a sentence.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        IntakeError::Damaged { what: what.into() }
    }
}

impl From<io::Error> for IntakeError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<IntakeError>() {
            Ok(own) => own,
            Err(error) => IntakeError::Read(error),
        }
    }
}
