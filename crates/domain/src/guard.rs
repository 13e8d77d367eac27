//! Guards: what is measured of every change set, which limits it passes, and whether it is applied or waits.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::settings::{Channel, Guards, InvalidRows, OnTrip, Policy, Settings};

/// Below this number of people no percentage trips a guard.
pub const LEAST_PEOPLE: u64 = 5;

/// What was measured of a change set, tripped or not. It is recorded, so that another policy can be tried on the past;
/// it names columns and fields, never people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// The feed's own running claims before; percentages are of these.
    pub claims_before: u64,
    /// People whom the change set makes ineligible, removed or not (see [`crate::eligibility::loses_eligibility`]).
    pub removals: u64,
    /// The same of single deletes and partial payloads of the 24 hours before, this change set not among them.
    pub removals_24h: u64,
    /// How many people one person alone made ineligible within the 24 hours before, approving or with `apply`, where `apply` was
    /// asked for; with what the same undo of several took back before this.
    #[serde(skip_serializing_if = "is_zero")]
    pub alone_24h: u64,
    /// People of whom fields change.
    pub updates: u64,
    /// Rows of the payload.
    pub rows: u64,
    /// Rows of the baseline, if this is a full payload and there was one before.
    pub rows_last: Option<u64>,
    /// People whose match key changes.
    pub key_changes: u64,
    /// Fields of which fewer values are filled than before, among the people whom the payload names.
    pub blanked: Vec<Blanked>,
    /// Whether nothing of this feed was accepted before.
    pub first_import: bool,
    /// Why absence from the payload proves nothing, a clause each; empty if it is whole. They follow "it", as in
    /// "ends inside a row".
    pub incomplete: Vec<String>,
    /// How many are missing, if they are exactly the tail of the last payload's order.
    pub tail_missing: Option<u64>,
    /// Columns of last time that are not there.
    pub missing_columns: Vec<String>,
    /// Rows with an error.
    pub invalid_rows: u64,
    /// Absences that the payload does not prove.
    pub unproven_removals: u64,
    /// Unknown keys that may be a person already known.
    pub possible_same_person: u64,
    /// Known keys that may have become another person.
    pub possible_other_person: u64,
    /// Removals that were suppressed and are proposed again.
    pub ask_again: u64,
}

/// How many values of a field are filled, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blanked {
    /// The field's name.
    pub field: String,
    /// Values before.
    pub before: u64,
    /// Values after.
    pub after: u64,
}

/// A guard that tripped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name: one of [`NAMES`].
    pub guard: String,
    /// The limit: a number (of people, rows or per cent), or `"on"`.
    pub threshold: Value,
    /// What was measured, in the same unit.
    pub figure: Value,
    /// A sentence for the person who has to decide.
    pub detail: String,
}

/// Every guard, in the order in which they are judged.
pub const NAMES: [&str; 14] = [
    "removals", "removals_count", "updates", "min_rows", "blanked_field", "key_changes", "first_import", "incomplete",
    "tail_missing", "missing_columns", "invalid_rows", "possible_same_person", "possible_other_person", "ask_again",
];

/// What the caller asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// `--apply`: do not hold by policy. It lifts no guard.
    Apply,
    /// `--hold`: hold whatever the policy.
    Hold,
}

/// What becomes of a change set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is applied.
    Apply,
    /// It waits for a reviewer.
    Hold,
    /// Whatever makes somebody ineligible waits (removals, excluded statuses, end dates: all that the figure
    /// `removals` counts, and unproven absences); the rest is applied.
    ApplyAllButRemovals,
}

/// Whether a change set is applied or waits. Guards are never lifted; `asked` only replaces the policy, and only
/// holding is always granted. `on_trip` lets the rest go on if every tripped guard is about people who would go:
/// where what is doubted is the rest itself (who a row is, values blanked, a first import), all of it waits.
pub fn decide(policy: Policy, asked: Option<Asked>, holds: &[Hold], on_trip: OnTrip) -> Decision {
    let policy = match asked {
        None => policy,
        Some(Asked::Apply) => Policy::Apply,
        Some(Asked::Hold) => Policy::Hold,
    };
    if policy == Policy::Hold {
        Decision::Hold
    } else if holds.is_empty() {
        Decision::Apply
    } else if on_trip == OnTrip::HoldRemovals && holds.iter().all(Hold::is_about_removals) {
        Decision::ApplyAllButRemovals
    } else {
        Decision::Hold
    }
}

/// How many people somebody alone made ineligible by asking that a change set be applied that makes so many ineligible and was
/// applied at once: policy would have held it. None, if policy applied it anyway.
pub fn let_through(policy: Policy, asked: Option<Asked>, removals: u64) -> u64 {
    if policy == Policy::Hold && asked == Some(Asked::Apply) { removals } else { 0 }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Hold {
    /// Whether what tripped is how many people would lose eligibility.
    pub fn counts_removals(&self) -> bool {
        matches!(self.guard.as_str(), "removals" | "removals_count")
    }

    /// Whether holding back those who would become ineligible answers the guard's doubt.
    pub fn is_about_removals(&self) -> bool {
        matches!(
            self.guard.as_str(),
            "removals"
                | "removals_count"
                | "min_rows"
                | "incomplete"
                | "tail_missing"
                | "missing_columns"
                | "invalid_rows"
                | "ask_again"
        )
    }
}

impl Guards {
    /// The guards that these figures trip, in the order of [`NAMES`]; `blanked_field` once for each field.
    /// Without claims to measure by, any number of people is 100 %.
    pub fn judge(settings: &Settings, figures: &Figures, channel: Channel) -> Vec<Hold> {
        let mut holds = Vec::new();
        share_of_people(&settings.guards, figures, &mut holds);
        size_and_values(&settings.guards, figures, &mut holds);
        first_import(&settings.guards, figures, &mut holds);
        wholeness(figures, &mut holds);
        if settings.invalid_rows(channel) == InvalidRows::Hold {
            any(&mut holds, "invalid_rows", figures.invalid_rows, |n| match n {
                1 => "1 row has an error and was left out.".to_owned(),
                n => format!("{} rows have errors and were left out.", grouped(n)),
            });
        }
        identity(figures, &mut holds);
        any(&mut holds, "ask_again", figures.ask_again, |n| {
            format!("{} whose removal was not accepted before still not in the payload.", people_are(n))
        });
        holds.sort_by_key(|h| NAMES.iter().position(|n| *n == h.guard));
        holds
    }
}

fn share_of_people(guards: &Guards, figures: &Figures, holds: &mut Vec<Hold>) {
    let base = figures.claims_before;
    let gone = figures.removals + figures.removals_24h;
    if figures.removals > 0 {
        let earlier = match figures.removals_24h {
            0 => String::new(),
            n => format!(", counting {} of the last 24 hours", grouped(n)),
        };
        if let Some(over) = over(gone, base, guards.removals.max_percent) {
            let detail = format!("{} would lose eligibility{earlier}; {}.", over.people, over.limit);
            holds.push(over.hold("removals", detail));
        }
        if let Some(most) = guards.removals.max_count.filter(|most| gone > u64::from(*most)) {
            let detail =
                format!("{} would lose eligibility{earlier}; the limit is {}.", people(gone), grouped(most.into()));
            holds.push(hold("removals_count", most, gone, detail));
        }
    }
    if let Some(over) = over(figures.updates, base, guards.updates.max_percent) {
        let detail = format!("{} would be updated; {}.", over.people, over.limit);
        holds.push(over.hold("updates", detail));
    }
    if let Some(over) = over(figures.key_changes, base, guards.key_changes.max_percent) {
        let detail = format!("The match key of {} would change; {}.", over.people, over.limit);
        holds.push(over.hold("key_changes", detail));
    }
}

fn size_and_values(guards: &Guards, figures: &Figures, holds: &mut Vec<Hold>) {
    if let (Some(least), Some(last)) = (guards.min_rows_percent, figures.rows_last.filter(|last| *last > 0)) {
        let share = percent(figures.rows, last);
        let few = share < least && last - figures.rows.min(last) >= LEAST_PEOPLE;
        // A payload with nobody in it is the commonest accident of all, however small the organisation.
        if few || (figures.rows == 0 && least > 0.0) {
            let share = rounded(share, least);
            let detail = format!(
                "The payload has {}, last time it had {}: {share} %; at least {least} % are expected.",
                rows(figures.rows),
                grouped(last)
            );
            holds.push(hold("min_rows", number(least), number(share), detail));
        }
    }
    for Blanked { field, before, after } in &figures.blanked {
        let blanked = before.saturating_sub(*after);
        let Some(over) = over(blanked, *before, guards.blanked_field_percent) else { continue };
        let detail = format!(
            "{} of {} values of {field} ({} %) would become blank; {}.",
            grouped(blanked),
            grouped(*before),
            over.figure,
            over.limit
        );
        holds.push(over.hold("blanked_field", detail));
    }
}

fn first_import(guards: &Guards, figures: &Figures, holds: &mut Vec<Hold>) {
    if guards.first_import && figures.first_import {
        let detail =
            format!("This is the first payload of the feed, with {}; somebody should look at it.", rows(figures.rows));
        holds.push(hold("first_import", "on", figures.rows, detail));
    }
}

fn wholeness(figures: &Figures, holds: &mut Vec<Hold>) {
    if !figures.incomplete.is_empty() {
        let absences = match figures.unproven_removals {
            0 => "nobody is missing from it so far".to_owned(),
            n => format!("{} missing from it, which proves nothing", people_are(n)),
        };
        let detail = format!("The payload is not whole: it {}; {absences}.", figures.incomplete.join(", and it "));
        holds.push(hold("incomplete", 0, figures.incomplete.len(), detail));
    }
    let tail = figures.tail_missing.filter(|n| *n >= 2);
    if let Some(n) = tail {
        let detail =
            format!("The {} who are missing are exactly the end of the last payload: it looks cut off.", people(n));
        holds.push(hold("tail_missing", 0, n, detail));
    }
    match figures.missing_columns.as_slice() {
        [] => {}
        [one] => {
            let detail = format!("The column {one} is missing, which was there last time.");
            holds.push(hold("missing_columns", 0, 1, detail));
        }
        all => {
            let detail = format!("The columns {} are missing, which were there last time.", all.join(", "));
            holds.push(hold("missing_columns", 0, all.len(), detail));
        }
    }
    // An absence is never unproven without a reason; if the reason was not told, it still waits.
    let told = !figures.incomplete.is_empty() || tail.is_some() || !figures.missing_columns.is_empty();
    if !told && figures.unproven_removals > 0 {
        let n = figures.unproven_removals;
        let detail = format!("{} missing from the payload, which does not prove that they left.", people_are(n));
        holds.push(hold("incomplete", 0, n, detail));
    }
}

fn identity(figures: &Figures, holds: &mut Vec<Hold>) {
    any(holds, "possible_same_person", figures.possible_same_person, |n| match n {
        1 => "1 unknown person may be somebody who is already known under another key.".to_owned(),
        n => format!("{} unknown people may be people who are already known under other keys.", grouped(n)),
    });
    any(holds, "possible_other_person", figures.possible_other_person, |n| {
        match n {
        1 => "1 person has another name and another birth date than before: the key may have been given to somebody else."
            .to_owned(),
        n => format!(
            "{} people have other names and other birth dates than before: their keys may have been given to others.",
            grouped(n)
        ),
    }
    });
}

/// A share that is over its limit.
struct Over {
    max: f64,
    figure: f64,
    people: String,
    limit: String,
}

impl Over {
    fn hold(&self, guard: &str, detail: String) -> Hold {
        hold(guard, number(self.max), number(self.figure), detail)
    }
}

/// Whether so many of so many are over the limit, and enough people to speak of a percentage.
fn over(count: u64, base: u64, max: Option<f64>) -> Option<Over> {
    let max = max?;
    let share = if base == 0 { 100.0 } else { percent(count, base) };
    if count < LEAST_PEOPLE || share <= max {
        return None;
    }
    let figure = rounded(share, max);
    let people = match base {
        0 => format!("{}, of a feed that claims nobody yet,", people(count)),
        base => format!("{} of {} ({figure} %)", grouped(count), people(base)),
    };
    Some(Over { max, figure, people, limit: format!("the limit is {max} %") })
}

fn percent(count: u64, base: u64) -> f64 {
    count as f64 * 100.0 / base as f64
}

/// A share to one decimal, or to as many as it takes to tell it from the limit.
fn rounded(share: f64, limit: f64) -> f64 {
    (1..=9).map(|d| (share * 10f64.powi(d)).round() / 10f64.powi(d)).find(|s| *s != limit).unwrap_or(share)
}

/// A whole number without a decimal point.
fn number(n: f64) -> Value {
    if n.fract() == 0.0 { Value::from(n as i64) } else { Value::from(n) }
}

fn hold(guard: &str, threshold: impl Into<Value>, figure: impl Into<Value>, detail: String) -> Hold {
    Hold { guard: guard.to_owned(), threshold: threshold.into(), figure: figure.into(), detail }
}

/// A guard that trips on a single case.
fn any(holds: &mut Vec<Hold>, guard: &str, count: u64, detail: impl Fn(u64) -> String) {
    if count > 0 {
        holds.push(hold(guard, 0, count, detail(count)));
    }
}

fn people(n: u64) -> String {
    if n == 1 { "1 person".to_owned() } else { format!("{} people", grouped(n)) }
}

fn people_are(n: u64) -> String {
    if n == 1 { "1 person is".to_owned() } else { format!("{} people are", grouped(n)) }
}

fn rows(n: u64) -> String {
    if n == 1 { "1 row".to_owned() } else { format!("{} rows", grouped(n)) }
}

/// A number with a comma before every three digits.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
