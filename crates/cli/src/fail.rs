//! Failures: what kind, told in one sentence, with the exit code that scripts rely on.

use std::error::Error as _;

use muster_domain::{fact::State, settings::SettingError};
use muster_engine::Error;
use muster_store::StoreError;
use serde::Serialize;

/// The exit codes, which are a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Applied, no changes, a dry run, or an answer given.
    Done = 0,
    /// Anything that no other code stands for.
    Failed = 1,
    /// The command makes no sense as it stands.
    WrongUse = 2,
    /// Held, or partly applied: somebody must look.
    Waiting = 3,
    /// Nothing was taken from the payload.
    Refused = 4,
    /// The approval names a digest that is no longer the change set's.
    Stale = 5,
}

impl Exit {
    /// The exit code of what an upload or change set came to.
    pub fn of(state: State) -> Exit {
        match state {
            State::Held | State::PartlyApplied | State::Received => Exit::Waiting,
            State::Refused => Exit::Refused,
            State::Applied | State::NoChanges | State::DryRun | State::Rejected | State::Superseded => Exit::Done,
        }
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// A word for programs.
    pub kind: &'static str,
    /// A sentence for people.
    pub message: String,
    /// The exit code.
    #[serde(skip)]
    pub exit: Exit,
}

impl Failure {
    /// A failure, its message made a sentence on one line.
    pub fn new(kind: &'static str, exit: Exit, message: impl AsRef<str>) -> Failure {
        Failure { kind, message: sentence(message.as_ref()), exit }
    }

    /// The command makes no sense as it stands.
    pub fn wrong(message: impl AsRef<str>) -> Failure {
        Failure::new("wrong_use", Exit::WrongUse, message)
    }

    /// A panic was caught.
    pub fn bug() -> Failure {
        let message =
            "Muster has met a bug and stopped; nothing is half done, and the same command with -v says where it is.";
        Failure::new("bug", Exit::Failed, message)
    }

    /// What clap says, on one line.
    pub fn of_clap(error: &clap::Error) -> Failure {
        let text = plain(&error.render().to_string());
        let said: Vec<&str> = text
            .lines()
            .map(str::trim)
            .take_while(|l| !l.starts_with("Usage:") && !l.starts_with("For more information"))
            .filter(|l| !l.is_empty())
            .collect();
        let said = said.join(" ").replace(" tip: ", "; tip: ");
        Failure::wrong(said.strip_prefix("error: ").unwrap_or(&said))
    }
}

/// What clap says, in words for people who do not write programs.
pub fn plain(text: &str) -> String {
    text.replace("invalid digit found in string", "write a whole number")
        .replace("number too large to fit in target type", "the number is too large")
        .replace("cannot parse integer from empty string", "write a whole number")
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let (kind, exit) = match &error {
            Error::Refused(_) => ("refused", Exit::Refused),
            Error::Wrong(_) | Error::Reused(_) | Error::Unconfirmed(_) => ("wrong_use", Exit::WrongUse),
            Error::Busy(_) => ("busy", Exit::Failed),
            Error::Unknown(_) => ("not_found", Exit::WrongUse),
            Error::Forbidden(_) => ("forbidden", Exit::WrongUse),
            Error::Guarded(_) => ("guarded", Exit::Waiting),
            Error::Stale(_) => ("stale", Exit::Stale),
            Error::Behind(_) => ("behind", Exit::Failed),
            Error::Store(e) => return of_store(e),
            Error::Io(_) | Error::File(_) => ("io", Exit::Failed),
            Error::Damaged(_) => ("damaged", Exit::Failed),
            _ => ("failed", Exit::Failed),
        };
        let message = match &error {
            Error::Io(e) => format!("A payload below the data directory cannot be read or written: {e}"),
            error => error.to_string(),
        };
        Failure::new(kind, exit, message)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        of_store(&error)
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Failure {
        Failure::wrong(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new("io", Exit::Failed, error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::new("damaged", Exit::Failed, format!("What should be JSON cannot be read: {error}"))
    }
}

fn of_store(error: &StoreError) -> Failure {
    let (kind, exit) = match error {
        StoreError::SchemaMismatch { .. } | StoreError::AccessMismatch { .. } | StoreError::ReadModelsMissing => {
            ("schema", Exit::Failed)
        }
        StoreError::Busy => ("busy", Exit::Failed),
        StoreError::Full => ("disk_full", Exit::Failed),
        StoreError::Unavailable(_) => ("unavailable", Exit::Failed),
        StoreError::KeyConflict => ("conflict", Exit::WrongUse),
        StoreError::SlugTaken | StoreError::BadUrl(_) => ("wrong_use", Exit::WrongUse),
        StoreError::NotFound => ("not_found", Exit::WrongUse),
        StoreError::Corrupt(_) => ("damaged", Exit::Failed),
        _ => ("failed", Exit::Failed),
    };
    let cause = error.source().map(|c| format!(": {}", of_database(&c.to_string()))).unwrap_or_default();
    Failure::new(kind, exit, format!("{error}{cause}"))
}

/// What a database said, without what its driver put in front.
fn of_database(cause: &str) -> String {
    let cause = cause.strip_prefix("error returned from database: ").unwrap_or(cause);
    let rest = cause.strip_prefix("(code: ").and_then(|c| c.split_once(") ")).map_or(cause, |(_, rest)| rest);
    // The line of the server's own source.
    let line = |(_, n): &(&str, &str)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    rest.rsplit_once(" at line ").filter(line).map_or(rest, |(said, _)| said).to_owned()
}

/// The text as one sentence: on one line, with a capital and a full stop.
fn sentence(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = text.chars();
    let mut out: String = match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => "Something went wrong".to_owned(),
    };
    if !out.ends_with(['.', '!', '?', '…']) {
        out.push('.');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_said_stands_without_the_drivers_words() {
        let said = "error returned from database: (code: 1544) attempt to write a readonly database";
        assert_eq!(of_database(said), "attempt to write a readonly database");
        assert_eq!(of_database("Connection refused (os error 111)"), "Connection refused (os error 111)");
    }

    #[test]
    fn a_failure_is_one_sentence_on_one_line() {
        assert_eq!(sentence("the database\n is busy"), "The database is busy.");
        assert_eq!(sentence("Which one?"), "Which one?");
    }
}
