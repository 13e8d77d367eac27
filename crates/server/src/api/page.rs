//! Pages: how many, from where on, and in which state.

use muster_domain::fact::State;
use muster_engine::lists::Which;
use serde::Deserialize;
use utoipa::{IntoParams, openapi::Object};

use super::caller::Caller;
use crate::{
    openapi::said::words,
    problem::{Problem, Result, UNREADABLE},
};

const STATES: [State; 8] = [
    State::Received,
    State::Applied,
    State::PartlyApplied,
    State::Held,
    State::NoChanges,
    State::Refused,
    State::Rejected,
    State::Superseded,
];
const MOST: u32 = 200;
const USUAL: usize = 50;

/// Which uploads or change sets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParameters {
    /// Only those in this state.
    #[param(inline, schema_with = states)]
    pub state: Option<String>,
    /// At most so many, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl ListParameters {
    /// What is listed for a caller: a key that is bound to a feed sees what is of that feed alone. One item more is asked for than
    /// a page has: it tells whether there is another page.
    ///
    /// # Errors
    /// If one of them has no such value.
    pub fn which(&self, caller: &Caller) -> Result<Which> {
        Ok(Which {
            state: state(self.state.as_deref())?,
            feed: caller.grant.key.feed,
            before: number(self.cursor.as_deref())?,
            limit: limit(self.limit)? as u32 + 1,
        })
    }
}

/// Takes away what is beyond the page, and says where the next one begins.
pub fn cut<T>(items: &mut Vec<T>, which: Which, number: impl Fn(&T) -> u64) -> Option<String> {
    let whole = which.limit as usize - 1;
    let more = items.len() > whole;
    items.truncate(whole);
    items.last().filter(|_| more).map(|last| number(last).to_string())
}

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

/// The words of states, as the document has them.
pub fn states() -> Object {
    words("Only those in this state.", STATES.map(State::word))
}

/// A state by its word.
///
/// # Errors
/// If there is none of that word.
pub fn state(word: Option<&str>) -> Result<Option<State>> {
    let Some(word) = word else { return Ok(None) };
    let found = STATES.into_iter().find(|s| s.word() == word);
    let names = || STATES.map(State::word).join(", ");
    found.map(Some).ok_or_else(|| Problem::new(&UNREADABLE, format!("There is no such state; there are: {}.", names())))
}
