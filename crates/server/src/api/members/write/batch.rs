//! Rows taken through the pipeline as a payload, and what became of each: of whom the caller may write, and in words that quote
//! nobody whom they do not see.

use std::collections::{BTreeMap, HashMap, HashSet};

use muster_domain::{
    access::Resource,
    change::Change,
    documents::Feed,
    fact::State,
    field::FieldId,
    ids::FeedNo,
    member::Member,
    normalise,
    settings::{Channel, Mode},
};
use muster_engine::{
    pipeline::Request as Arriving,
    report::{Issue, Report},
};
use serde_json::{Map, Value};

use super::{Item, Outcome, Written, sees_keys};
use crate::{
    api::{body::escaped, caller::Caller},
    problem::{FIELD_NOT_ALLOWED, INVALID, Problem, Result},
};

/// In place of a reason that may quote somebody whom the caller does not see: a key that lost its zeros is told with the whole one.
const LIKE_ANOTHER: &str =
    "The match key may be another spelling of somebody else's; somebody who sees the whole roster can tell.";

/// In place of a reason for all of a request, which may quote that of one row.
const NOT_TAKEN: &str = "Nothing can be taken from this row, or from the request.";

/// A row of a request.
struct Row {
    /// As it was sent.
    said: Map<String, Value>,
    /// Its match key, as it was sent.
    unique_id: String,
    /// The match key that it has as a row of the feed; none if none can be read from what was sent.
    key: Option<String>,
    /// Whom it is about.
    whom: Whom,
}

/// Whom a row is about, as far as the caller's limits ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    /// Whoever it may be: the caller sees everybody.
    Anybody,
    /// Somebody whom the caller sees.
    Seen,
    /// Nobody who is known. Whom the row is like all the same may be somebody whom the caller does not see.
    New,
    /// Somebody whom the caller does not see, or would not see any more.
    Stranger,
}

/// Takes rows through the pipeline as a payload, and says of each what became of it.
///
/// # Errors
/// If a row cannot be meant as it stands; nothing is taken of any then.
pub async fn bring(
    caller: &Caller,
    rows: Vec<Map<String, Value>>,
    mode: Mode,
    place: impl Fn(usize) -> String,
) -> Result<Written> {
    bring_if(caller, rows, mode, place, None).await
}

/// The same, unless a member is not as they were seen any more.
pub async fn bring_if(
    caller: &Caller,
    rows: Vec<Map<String, Value>>,
    mode: Mode,
    place: impl Fn(usize) -> String,
    seen: Option<Box<Member>>,
) -> Result<Written> {
    let feed = caller.feed(None)?;
    let mut rows = check(caller, feed, rows, mode, place)?;
    for row in &mut rows {
        row.whom = whom(caller, feed.no, row, mode).await?;
    }
    let taken: Vec<usize> = (0..rows.len()).filter(|no| rows[*no].whom != Whom::Stranger).collect();
    if taken.is_empty() {
        let head = caller.engine.store.head(caller.organisation.row.id).await?;
        let results = rows.into_iter().map(|row| item(row, None, None)).collect();
        return Ok(counted(results, None, head.roster_version, head.last_seq));
    }
    let said: Vec<_> = taken.iter().map(|no| &rows[*no].said).collect();
    let report = send(caller, feed, &said, mode, seen).await?;
    results(caller, &report, rows, &taken).await
}

/// Takes a payload of these rows through the pipeline.
async fn send(
    caller: &Caller,
    feed: &Feed,
    rows: &[&Map<String, Value>],
    mode: Mode,
    seen: Option<Box<Member>>,
) -> Result<Report> {
    let names = &caller.organisation.settings.fields;
    let (mut mapping, mut payload) = (BTreeMap::new(), Vec::new());
    for row in rows {
        let fields = row.keys().filter_map(|name| Some((names.name(caller.field(name)?).to_owned(), name.clone())));
        mapping.extend(fields);
        serde_json::to_writer(&mut payload, row).map_err(|e| Problem::internal(&e))?;
        payload.push(b'\n');
    }
    let request = Arriving {
        feed: Some(feed.settings.name.clone()),
        seen,
        mode: Some(mode),
        channel: Some(Channel::Api),
        format: Some("ndjson".to_owned()),
        mapping,
        ..Arriving::default()
    };
    Ok(caller.engine.sync(caller.slug(), request, &mut payload.as_slice()).await?)
}

/// Whether rows can be meant as they stand.
fn check(
    caller: &Caller,
    feed: &Feed,
    rows: Vec<Map<String, Value>>,
    mode: Mode,
    place: impl Fn(usize) -> String,
) -> Result<Vec<Row>> {
    let writable = caller.writable(Resource::Members);
    let key_field = caller.organisation.settings.match_key.field();
    let mut problem = Problem::new(&INVALID, "Something in the body cannot be taken; nothing was changed.");
    let (mut checked, mut met, mut is_bad) = (Vec::with_capacity(rows.len()), HashSet::new(), false);
    for (no, row) in rows.into_iter().enumerate() {
        let here = place(no);
        let mut bad = |problem: Problem, name: &str, why: String| {
            is_bad = true;
            let pointer = if name.is_empty() { here.clone() } else { format!("{here}/{}", escaped(name)) };
            problem.at(pointer, why)
        };
        let unique_id = match row.get("unique_id") {
            Some(Value::String(key)) if !key.trim().is_empty() => key.trim().to_owned(),
            Some(Value::Number(key)) => key.to_string(),
            _ => {
                problem = bad(problem, "unique_id", "Give the match key, as text that is not blank.".to_owned());
                String::new()
            }
        };
        let key = caller.organisation.key_of_row(feed, &unique_id);
        if key.as_ref().is_some_and(|key| !met.insert(normalise::key(key).into_owned())) {
            problem = bad(problem, "unique_id", "The same match key stands in this request before.".to_owned());
        }
        for (name, value) in &row {
            match caller.field(name) {
                None => problem = bad(problem, name, "There is no such field.".to_owned()),
                Some(field) if field == key_field && name != "unique_id" => {
                    problem = bad(problem, name, "That is the match key: give it as unique_id.".to_owned());
                }
                Some(field) => {
                    let is_key = field == key_field;
                    if !is_key && mode == Mode::Partial && writable.as_ref().is_some_and(|w| !w.contains(field)) {
                        let why = format!("The key may not write {name}.");
                        return Err(Problem::new(&FIELD_NOT_ALLOWED, &why).at(format!("{here}/{}", escaped(name)), why));
                    }
                    if matches!(value, Value::Array(_) | Value::Object(_)) {
                        problem = bad(problem, name, "This must be a text, a number, true, false or null.".to_owned());
                    }
                }
            }
        }
        checked.push(Row { said: row, unique_id, key, whom: Whom::Anybody });
    }
    if is_bad { Err(problem) } else { Ok(checked) }
}

/// Whom a row is about, for a caller who does not see everybody or no match keys.
async fn whom(caller: &Caller, feed: FeedNo, row: &Row, mode: Mode) -> Result<Whom> {
    let limits = &caller.grant.key.rows;
    if limits.is_empty() && sees_keys(caller) {
        return Ok(Whom::Anybody);
    }
    let mut members = match &row.key {
        Some(key) => caller.engine.named_by(&caller.organisation, key).await?,
        None => Vec::new(),
    };
    // Former members too: they would come back with all that was known of them. So would those whose addition was undone.
    let key_field = caller.organisation.settings.match_key.field();
    members.retain(|m| !m.spells.is_empty() || m.values.iter().any(|(field, _)| field != key_field));
    if members.iter().any(|m| !caller.sees(m)) {
        return Ok(Whom::Stranger);
    }
    let member = members.first();
    let claimed = |f: FeedNo| f == feed || member.is_some_and(|m| m.is_claimed_by(f));
    let value = |field: FieldId| match row.said.iter().find(|(name, _)| caller.field(name) == Some(field)) {
        Some((_, value)) => value.as_str().unwrap_or(""),
        None => member.and_then(|m| m.values.get(field)).unwrap_or(""),
    };
    let stays = mode == Mode::Leavers || limits.take(claimed, value);
    Ok(match member {
        _ if !stays => Whom::Stranger,
        Some(_) => Whom::Seen,
        None => Whom::New,
    })
}

/// What became of each row.
async fn results(caller: &Caller, report: &Report, rows: Vec<Row>, taken: &[usize]) -> Result<Written> {
    let outcomes = outcomes(caller, report, taken).await?;
    let mut reasons = reasons(report, &rows, taken, &outcomes);
    let items = rows.into_iter().enumerate();
    let items = items.map(|(no, row)| item(row, outcomes.get(&no).copied(), reasons.remove(&no)));
    Ok(counted(items.collect(), Some(report), report.roster_version, report.seq))
}

/// What became of a row of which that is known.
fn item(row: Row, outcome: Option<Outcome>, reason: Option<String>) -> Item {
    let reason = match row.whom {
        Whom::Stranger => {
            Some("The key may write only some people, and this one is not or would not be among them.".to_owned())
        }
        _ => reason,
    };
    let status = match (outcome, &reason) {
        (Some(outcome), _) => outcome,
        (None, Some(_)) => Outcome::Invalid,
        (None, None) => Outcome::NoChanges,
    };
    Item { unique_id: row.unique_id, status, reason }
}

/// The place in the request of the row on a line of the payload.
fn place_of(line: u64, taken: &[usize]) -> Option<usize> {
    taken.get((line as usize).checked_sub(1)?).copied()
}

/// What the rows changed, by their place in the request.
async fn outcomes(caller: &Caller, report: &Report, taken: &[usize]) -> Result<HashMap<usize, Outcome>> {
    let mut outcomes = HashMap::new();
    let Some(id) = report.change_set_id else { return Ok(outcomes) };
    let set = caller.engine.change_set(&caller.organisation, id).await?;
    let visit = |_, change: Option<&Change>, standing| {
        let Some(change) = change else { return };
        if let Some(no) = change.line.and_then(|line| place_of(line, taken)) {
            outcomes.insert(no, Outcome::of(change.kind, standing));
        }
    };
    caller.engine.each_change(&caller.organisation, &set, visit).await?;
    Ok(outcomes)
}

/// Why rows were not taken, or not all of them, by their place in the request. What may quote somebody whom the caller does not
/// see gives way to a sentence that quotes nobody: only a row that names nobody known can be like somebody else.
fn reasons(
    report: &Report,
    rows: &[Row],
    taken: &[usize],
    outcomes: &HashMap<usize, Outcome>,
) -> HashMap<usize, String> {
    if report.state == State::Refused {
        let may_quote = taken.iter().any(|no| rows[*no].whom == Whom::New);
        let whole = match report.issues.first() {
            Some(issue) if !may_quote => issue.reason.as_str(),
            Some(_) => NOT_TAKEN,
            None => "The request was refused.",
        };
        return taken.iter().map(|no| (*no, whole.to_owned())).collect();
    }
    let of = |issue: &Issue| {
        let no = place_of(issue.line, taken)?;
        // Of a row that was taken, and of a match key that cannot be read, nothing is told but what was sent.
        let is_like = !outcomes.contains_key(&no) && rows[no].key.is_some() && issue.column == "unique_id";
        let may_quote = is_like && rows[no].whom == Whom::New;
        let reason = if may_quote { LIKE_ANOTHER } else { issue.reason.as_str() };
        let name = if issue.column.is_empty() { String::new() } else { format!("{}: ", issue.column) };
        Some((no, format!("{name}{reason}")))
    };
    report.issues.iter().filter_map(of).collect()
}

fn counted(results: Vec<Item>, report: Option<&Report>, roster_version: u64, seq: u64) -> Written {
    let count = |outcome| results.iter().filter(|item| item.status == outcome).count();
    Written {
        total: results.len(),
        updated: count(Outcome::Updated),
        created: count(Outcome::Created),
        reinstated: count(Outcome::Reinstated),
        removed: count(Outcome::Removed),
        no_changes: count(Outcome::NoChanges),
        held: count(Outcome::Held),
        invalid: count(Outcome::Invalid),
        upload_id: report.and_then(|r| r.upload_id).map(|u| u.0),
        change_set_id: report.and_then(|r| r.change_set_id).map(|c| c.0),
        roster_version,
        seq,
        results,
    }
}
