//! Pages: how many, from where on, and in which state.

use muster_domain::fact::State;

use crate::problem::{Problem, Result, UNREADABLE};

const MOST: u32 = 200;
const USUAL: usize = 50;

/// How many items a page has.
///
/// # Errors
/// If it is none, or too many.
pub fn limit(asked: Option<u32>) -> Result<usize> {
    match asked {
        None => Ok(USUAL),
        Some(n) if (1..=MOST).contains(&n) => Ok(n as usize),
        Some(_) => Err(Problem::new(&UNREADABLE, format!("`limit` is between 1 and {MOST}."))),
    }
}

/// A cursor that is a number.
///
/// # Errors
/// If it is none.
pub fn number(cursor: Option<&str>) -> Result<Option<u64>> {
    cursor.map(|text| text.parse().map_err(|_| bad_cursor())).transpose()
}

/// That a cursor is none of ours.
pub fn bad_cursor() -> Problem {
    Problem::new(&UNREADABLE, "That cursor is none that a page of this list gave; begin without one.")
}

/// A state by its word.
///
/// # Errors
/// If there is none of that word.
pub fn state(word: Option<&str>) -> Result<Option<State>> {
    let all = [
        State::Received,
        State::Applied,
        State::PartlyApplied,
        State::Held,
        State::NoChanges,
        State::Refused,
        State::Rejected,
        State::Superseded,
    ];
    let Some(word) = word else { return Ok(None) };
    let found = all.into_iter().find(|s| s.word() == word);
    let names = || all.map(State::word).join(", ");
    found.map(Some).ok_or_else(|| Problem::new(&UNREADABLE, format!("There is no such state; there are: {}.", names())))
}
