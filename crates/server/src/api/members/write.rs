//! Members brought up to date one by one: each request is a small payload, and goes the way of every payload.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::{
    Json,
    extract::Request,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use muster_domain::{
    access::{Action, Resource},
    change::{Change, Kind},
    fact::State,
    field::FieldId,
    ids::FeedNo,
    member::Member,
    normalise,
    settings::{Channel, Mode},
};
use muster_engine::{
    members::By,
    pipeline::Request as Arriving,
    report::{Issue, Report},
    review::Standing,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Caller, MemberDocument, Path, seen_by_id};
use crate::{
    api::body::{self, Several, escaped, place, read, small},
    openapi::said::{MemberChange, MemberRows},
    problem::{FIELD_NOT_ALLOWED, INVALID, Problem, ProblemDocument, Result, STALE, TOO_LARGE},
};

/// The most members that are sent at once.
const MOST: usize = 1000;

/// What became of one member of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Something of them is another now.
    Updated,
    /// They are new.
    Created,
    /// They had left, and are back.
    Reinstated,
    /// They left the roster.
    Removed,
    /// All of it was so already.
    NoChanges,
    /// It waits for a reviewer.
    Held,
    /// Nothing was taken of them: `reason` says why.
    Invalid,
}

impl Outcome {
    /// What became of somebody by a change of that kind, as far as it is decided.
    pub fn of(kind: Kind, standing: Standing) -> Outcome {
        match (kind, standing) {
            (Kind::Say | Kind::Release, _) => Outcome::NoChanges,
            (_, Standing::Waiting) => Outcome::Held,
            (Kind::Add, _) => Outcome::Created,
            (Kind::Reinstate, _) => Outcome::Reinstated,
            (Kind::Remove, _) => Outcome::Removed,
            (Kind::Update | Kind::Rekey, _) => Outcome::Updated,
        }
    }
}

/// One member of the answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Item {
    /// The match key, as it was sent.
    pub unique_id: String,
    /// What became of it.
    pub status: Outcome,
    /// Why nothing was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of a request.
#[derive(Debug, Serialize, ToSchema)]
pub struct Written {
    /// How many were sent.
    pub total: usize,
    /// Of how many something is another now.
    pub updated: usize,
    /// How many are new.
    pub created: usize,
    /// How many had left, and are back.
    pub reinstated: usize,
    /// How many left.
    pub removed: usize,
    /// Of how many all was so already.
    pub no_changes: usize,
    /// How many wait for a reviewer.
    pub held: usize,
    /// Of how many nothing was taken.
    pub invalid: usize,
    /// Each, in the order in which they were sent.
    pub results: Vec<Item>,
    /// The upload that this is in the log.
    pub upload_id: Option<Uuid>,
    /// The change set, if anything changes.
    pub change_set_id: Option<Uuid>,
    /// The roster version now.
    pub roster_version: u64,
    /// The organisation's last event: what reads can wait for.
    pub seq: u64,
}

/// Bring members up to date
///
/// One object or a list of at most 1,000. Only the fields given change, and `null` clears. Somebody unknown is added, somebody
/// who left comes back. It is a partial payload for the key's feed, or `main`: policy and guards look at it like at any other,
/// and what they hold is answered with 202 and `held`.
#[utoipa::path(put, path = "/api/v1/members", tag = "members", request_body = MemberRows,
    responses(
        (status = 200, body = Written), (status = 202, description = "Some of it waits for a reviewer", body = Written),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    ))]
pub async fn put(caller: Caller, request: Request) -> Result<Response> {
    caller.needs(Resource::Members, Action::Update)?;
    let Several { items, is_list } = rows(request).await?;
    Ok(answer(bring(&caller, items, Mode::Partial, place(is_list)).await?))
}

/// The rows of a request: one object, or a list of at most so many.
///
/// # Errors
/// If it is neither.
pub async fn rows(request: Request) -> Result<Several<Map<String, Value>>> {
    let rows = Several::read(&small(request, &["application/json"]).await?)?;
    if rows.items.len() > MOST {
        let why = format!("At most {MOST} members are sent at once; send more as an upload.");
        return Err(Problem::new(&TOO_LARGE, why));
    }
    Ok(rows)
}

fn answer(written: Written) -> Response {
    let status = if written.held > 0 { StatusCode::ACCEPTED } else { StatusCode::OK };
    (status, Json(written)).into_response()
}

/// Change a member
///
/// Only the fields given change, and `null` clears (RFC 7396). With `If-Match` nothing changes unless the member is as it was
/// read.
#[utoipa::path(patch, path = "/api/v1/members/{id}", tag = "members", params(("id" = Uuid, Path)),
    request_body(content((MemberChange = "application/json"), (MemberChange = "application/merge-patch+json"))),
    responses((status = 200, body = Written), (status = 202, body = Written),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn patch(caller: Caller, Path(id): Path<String>, headers: HeaderMap, request: Request) -> Result<Response> {
    caller.needs(Resource::Members, Action::Update)?;
    let member = seen_by_id(&caller, &id).await?;
    check_tag(&caller, &member, &headers)?;
    let bytes = small(request, &["application/json", "application/merge-patch+json"]).await?;
    let mut row: Map<String, Value> = read(&bytes)?;
    if let Some(other) = row.get("unique_id") {
        let is_own = other.as_str().is_some_and(|key| normalise::key(key) == normalise::key(&member.key));
        if !is_own {
            let why = "A match key is not changed here: an upload that names the new key beside the same e-mail or employee id does.";
            return Err(Problem::new(&INVALID, why).at("/unique_id", why));
        }
    }
    row.insert("unique_id".to_owned(), member.key.clone().into());
    Ok(answer(bring(&caller, vec![row], Mode::Partial, |_| String::new()).await?))
}

/// Take a member off the roster
///
/// It ends the claim of the key's feed, or of `main`. Somebody whom another feed names stays: `no_changes`. Removals one by one
/// add up for the guard.
#[utoipa::path(delete, path = "/api/v1/members/{id}", tag = "members", params(("id" = Uuid, Path)),
    responses((status = 200, body = Written), (status = 202, body = Written),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn delete(caller: Caller, Path(id): Path<String>, headers: HeaderMap) -> Result<Response> {
    caller.needs(Resource::Members, Action::Delete)?;
    let member = seen_by_id(&caller, &id).await?;
    check_tag(&caller, &member, &headers)?;
    let row = Map::from_iter([("unique_id".to_owned(), Value::from(member.key.clone()))]);
    Ok(answer(bring(&caller, vec![row], Mode::Leavers, |_| String::new()).await?))
}

fn check_tag(caller: &Caller, member: &Member, headers: &HeaderMap) -> Result<()> {
    let Some(tags) = body::if_match(headers) else { return Ok(()) };
    let readable = caller.readable(Resource::Members);
    let tag = MemberDocument::of(member, caller, readable.as_ref()).tag();
    if tags.iter().any(|t| *t == tag || t == "*") {
        return Ok(());
    }
    Err(Problem::new(&STALE, "The member is another than the one that If-Match names; read it again."))
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
    let keys = check(caller, &rows, mode, place)?;
    let feed = caller.feed(None)?;
    let refused = not_seen(caller, feed.no, &rows, &keys, mode).await?;
    let taken: Vec<usize> = (0..rows.len()).filter(|no| !refused.contains_key(no)).collect();
    if taken.is_empty() {
        let head = caller.engine.store.head(caller.organisation.row.id).await?;
        let results = keys.into_iter().enumerate().map(|(no, key)| Item {
            unique_id: key,
            status: Outcome::Invalid,
            reason: refused.get(&no).cloned(),
        });
        return Ok(counted(results.collect(), None, head.roster_version, head.last_seq));
    }
    let fields: BTreeMap<String, String> = rows
        .iter()
        .flat_map(|row| row.keys())
        .filter_map(|name| {
            Some((caller.organisation.settings.fields.name(caller.field(name)?).to_owned(), name.clone()))
        })
        .collect();
    let mut payload = Vec::new();
    for no in &taken {
        serde_json::to_writer(&mut payload, &rows[*no]).map_err(|e| Problem::internal(&e))?;
        payload.push(b'\n');
    }
    let request = Arriving {
        feed: Some(feed.settings.name.clone()),
        mode: Some(mode),
        channel: Some(Channel::Api),
        format: Some("ndjson".to_owned()),
        mapping: fields,
        ..Arriving::default()
    };
    let (engine, slug) = (caller.engine.clone(), caller.slug().to_owned());
    // A task of its own: whoever hangs up does not leave the work half done.
    let working = tokio::spawn(async move { engine.sync(&slug, request, &mut payload.as_slice()).await });
    let report = working.await.map_err(|e| Problem::internal(&e))??;
    results(caller, &report, keys, &taken, &refused).await
}

/// Whether rows can be meant as they stand; gives their match keys.
fn check(
    caller: &Caller,
    rows: &[Map<String, Value>],
    mode: Mode,
    place: impl Fn(usize) -> String,
) -> Result<Vec<String>> {
    let writable = caller.writable(Resource::Members);
    let key_field = caller.organisation.settings.match_key.field();
    let mut problem = Problem::new(&INVALID, "Something in the body cannot be taken; nothing was changed.");
    let (mut keys, mut met, mut is_bad) = (Vec::with_capacity(rows.len()), HashSet::new(), false);
    for (no, row) in rows.iter().enumerate() {
        let here = place(no);
        let mut bad = |problem: Problem, name: &str, why: String| {
            is_bad = true;
            let pointer = if name.is_empty() { here.clone() } else { format!("{here}/{}", escaped(name)) };
            problem.at(pointer, why)
        };
        let key = match row.get("unique_id") {
            Some(Value::String(key)) if !key.trim().is_empty() => key.trim().to_owned(),
            Some(Value::Number(key)) => key.to_string(),
            _ => {
                problem = bad(problem, "unique_id", "Give the match key, as text that is not blank.".to_owned());
                String::new()
            }
        };
        if !key.is_empty() && !met.insert(normalise::key(&key).into_owned()) {
            problem = bad(problem, "unique_id", "The same match key stands in this request before.".to_owned());
        }
        for (name, value) in row {
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
        keys.push(key);
    }
    if is_bad { Err(problem) } else { Ok(keys) }
}

/// Rows that a key may not write which sees only some people, and why.
async fn not_seen(
    caller: &Caller,
    feed: FeedNo,
    rows: &[Map<String, Value>],
    keys: &[String],
    mode: Mode,
) -> Result<HashMap<usize, String>> {
    let limits = &caller.grant.key.rows;
    let mut refused = HashMap::new();
    if limits.is_empty() {
        return Ok(refused);
    }
    for (no, (row, key)) in rows.iter().zip(keys).enumerate() {
        let member = caller.engine.look_up(&caller.organisation, By::Key(key)).await?;
        let member = member.filter(|m| !m.spells.is_empty());
        let stranger = member.as_ref().is_some_and(|m| m.is_listed() && !caller.sees(m));
        let claimed = |f: FeedNo| f == feed || member.as_ref().is_some_and(|m| m.is_claimed_by(f));
        let value = |field: FieldId| {
            let said = row.iter().find(|(name, _)| caller.field(name) == Some(field));
            match said {
                Some((_, value)) => value.as_str().unwrap_or(""),
                None => member.as_ref().and_then(|m| m.values.get(field)).unwrap_or(""),
            }
        };
        let stays = mode == Mode::Leavers || limits.take(claimed, value);
        if stranger || !stays {
            refused.insert(
                no,
                "The key may write only some people, and this one is not or would not be among them.".to_owned(),
            );
        }
    }
    Ok(refused)
}

/// What became of each row.
async fn results(
    caller: &Caller,
    report: &Report,
    keys: Vec<String>,
    taken: &[usize],
    refused: &HashMap<usize, String>,
) -> Result<Written> {
    let mut by_key: HashMap<String, Outcome> = HashMap::new();
    if let Some(id) = report.change_set_id {
        let set = caller.engine.change_set(&caller.organisation, id).await?;
        let visit = |_, change: Option<&Change>, standing| {
            let Some(change) = change else { return };
            let outcome = Outcome::of(change.kind, standing);
            let all = change.old_key.iter().map(|k| k.as_ref()).chain([change.key.as_ref()]);
            all.for_each(|key: &str| {
                by_key.insert(normalise::key(key).into_owned(), outcome);
            });
        };
        caller.engine.each_change(&caller.organisation, &set, visit).await?;
    }
    let invalid = invalid(&report.issues, taken);
    let whole = (report.state == State::Refused).then(|| {
        report.issues.first().map_or_else(|| "The request was refused.".to_owned(), |issue| issue.reason.clone())
    });
    let results = keys.into_iter().enumerate().map(|(no, key)| {
        let known = by_key.get(normalise::key(&key).as_ref()).copied();
        let reason = refused.get(&no).or(whole.as_ref()).or(invalid.get(&no)).cloned();
        let status = match (known, &reason) {
            (Some(known), _) => known,
            (None, Some(_)) => Outcome::Invalid,
            (None, None) => Outcome::NoChanges,
        };
        Item { unique_id: key, status, reason }
    });
    let written = counted(results.collect(), Some(report), report.roster_version, report.seq);
    Ok(written)
}

/// Why rows were not taken, or not all of them, by their place in the request.
fn invalid(issues: &[Issue], taken: &[usize]) -> HashMap<usize, String> {
    let of = |issue: &Issue| {
        let no = *taken.get((issue.line as usize).checked_sub(1)?)?;
        let name = if issue.column.is_empty() { String::new() } else { format!("{}: ", issue.column) };
        Some((no, format!("{name}{}", issue.reason)))
    };
    issues.iter().filter_map(of).collect()
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
