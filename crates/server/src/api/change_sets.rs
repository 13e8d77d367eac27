//! Change sets: what waits, what each change is, and what is decided. The rules are the engine's, the same as on the command line.

use axum::{
    Json, Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use muster_domain::{
    access::{Action, Resource},
    change::{Change, Kind},
    documents::ChangeSet,
    fact::{Counts, State},
    field::{FieldId, FieldSet},
    guard::{Asked, Figures, Hold},
    ids::{ChangeSetId, MemberNo},
    member::Member,
};
use muster_engine::{
    Error,
    report::Report,
    review::{Approval, Choice, Standing},
    undo::{Kept, UndoRequest},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    body::{self, Query, if_match},
    caller::Caller,
    page,
};
use crate::problem::{
    CONFLICT, INVALID, MISSING_RIGHT, NOT_FOUND, PRECONDITION, Problem, ProblemDocument, Result, STALE,
};

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/change-sets", get(list))
        .route("/change-sets/{id}", get(show))
        .route("/change-sets/{id}/changes", get(changes))
        .route("/change-sets/{id}/approve", post(approve))
        .route("/change-sets/{id}/reject", post(reject))
        .route("/change-sets/{id}/undo", post(undo))
}

/// A change set, without its changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeSetDocument {
    /// Identity.
    pub change_set_id: Uuid,
    /// The upload that it came from.
    pub upload_id: Uuid,
    /// What it has come to.
    pub state: String,
    /// Digest of what waits: what a decision must name as `If-Match`.
    pub digest: String,
    /// The feed that it speaks for.
    pub feed: String,
    /// How its upload came.
    pub channel: String,
    /// What absence meant.
    pub mode: String,
    /// When it was worked out.
    pub computed_at: DateTime<Utc>,
    /// How many changes it has.
    pub changes: u32,
    /// How many of them wait.
    pub waiting: u64,
    /// How many are on the roster.
    pub applied: u64,
    /// How many were rejected.
    pub rejected: u64,
    /// How many no longer held.
    pub dropped: u64,
    /// Counts of rows.
    #[schema(value_type = Object)]
    pub counts: Counts,
    /// Guards that tripped.
    #[schema(value_type = Vec<Object>)]
    pub holds: Vec<Hold>,
    /// What every guard measured.
    #[schema(value_type = Object)]
    pub figures: Figures,
    /// The roster version that it was compared with.
    pub roster_version: u64,
    /// The version of the settings that it was judged by.
    pub settings_version: u32,
    /// Change sets that it undoes.
    pub undoes: Vec<Uuid>,
    /// Who decided on it.
    #[schema(value_type = Value)]
    pub decided_by: Value,
}

fn document(set: &ChangeSet, caller: &Caller) -> ChangeSetDocument {
    ChangeSetDocument {
        change_set_id: set.id.0,
        upload_id: set.upload.0,
        state: set.state.word().to_owned(),
        digest: set.digest.clone(),
        feed: caller.organisation.feed_name(set.feed).to_owned(),
        channel: set.channel.to_string(),
        mode: set.mode.word().to_owned(),
        computed_at: set.computed_at,
        changes: set.changes,
        waiting: set.waiting().len().into(),
        applied: set.applied.len().into(),
        rejected: set.rejected.len().into(),
        dropped: set.dropped.len().into(),
        counts: set.counts,
        holds: set.holds.clone(),
        figures: set.figures.clone(),
        roster_version: set.roster_version,
        settings_version: set.policy_version,
        undoes: set.undoes.iter().map(|id| id.0).collect(),
        decided_by: json!(set.decided_by),
    }
}

/// Which change sets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParameters {
    /// Only those in this state.
    pub state: Option<String>,
    /// At most so many, 1 to 200.
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A page of change sets, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeSetPage {
    /// The change sets.
    pub change_sets: Vec<ChangeSetDocument>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// List change sets, newest first
#[utoipa::path(get, path = "/api/v1/change-sets", tag = "change sets", params(ListParameters),
    responses((status = 200, body = ChangeSetPage)))]
pub async fn list(caller: Caller, Query(parameters): Query<ListParameters>) -> Result<Json<ChangeSetPage>> {
    caller.needs(Resource::ChangeSets, Action::Read)?;
    let state = page::state(parameters.state.as_deref())?;
    let limit = page::limit(parameters.limit)?;
    let before = page::number(parameters.cursor.as_deref())?.unwrap_or(u64::MAX);
    let mut sets = caller.engine.change_sets(&caller.organisation, state).await?;
    sets.retain(|set| set.created_seq < before && sees(&caller, set));
    sets.sort_by_key(|set| std::cmp::Reverse(set.created_seq));
    let more = sets.len() > limit;
    sets.truncate(limit);
    let next = sets.last().filter(|_| more).map(|set| set.created_seq.to_string());
    Ok(Json(ChangeSetPage { change_sets: sets.iter().map(|set| document(set, &caller)).collect(), next }))
}

/// A key that is bound to a feed sees that feed's change sets alone.
fn sees(caller: &Caller, set: &ChangeSet) -> bool {
    caller.grant.key.feed.is_none_or(|feed| feed == set.feed)
}

/// The change set of an identity, as it stands on the roster of now.
async fn find(caller: &Caller, id: &str) -> Result<ChangeSet> {
    let nothing = || Problem::new(&NOT_FOUND, "There is no such change set in your organisation.");
    let id = ChangeSetId(id.parse::<Uuid>().map_err(|_| nothing())?);
    let row = caller.engine.store.change_set(caller.organisation.row.id, id).await.map_err(|_| nothing())?;
    let set: ChangeSet = serde_json::from_slice(&row.doc).map_err(|e| Problem::internal(&e))?;
    if !sees(caller, &set) {
        return Err(nothing());
    }
    if !waits(&set) {
        return Ok(set);
    }
    Ok(caller.engine.look(&caller.organisation, Some(&id.to_string())).await?)
}

fn waits(set: &ChangeSet) -> bool {
    matches!(set.state, State::Held | State::PartlyApplied)
}

/// Show a change set
///
/// Its `ETag` is its digest, which a decision must name.
#[utoipa::path(get, path = "/api/v1/change-sets/{id}", tag = "change sets", params(("id" = Uuid, Path)),
    responses((status = 200, body = ChangeSetDocument), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn show(caller: Caller, Path(id): Path<String>) -> Result<Response> {
    caller.needs(Resource::ChangeSets, Action::Read)?;
    let set = find(&caller, &id).await?;
    let mut response = Json(document(&set, &caller)).into_response();
    if let Ok(value) = HeaderValue::try_from(format!("\"{}\"", set.digest)) {
        response.headers_mut().insert(header::ETAG, value);
    }
    Ok(response)
}

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangesParameters {
    /// Only changes of this kind: `add`, `update`, `remove`, `reinstate`, `rekey`, `say` or `release`.
    pub kind: Option<String>,
    /// At most so many, 1 to 200. A stream of lines has all.
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A field before and after.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// Its value before; none is blank.
    pub before: Option<String>,
    /// Its value after; none is blank.
    pub after: Option<String>,
}

/// One member's part of a change set. Of somebody who was forgotten there is nothing but the place.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeDocument {
    /// Its place in the change set.
    pub ordinal: u32,
    /// How far it is decided: `waiting`, `applied`, `rejected`, `dropped` or `erased`.
    #[schema(value_type = String)]
    pub standing: Standing,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The member's identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<Uuid>,
    /// The match key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_id: Option<String>,
    /// The match key before, if it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_unique_id: Option<String>,
    /// The fields that change.
    pub fields: Vec<FieldChange>,
    /// The line of the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The day from which on it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_on: Option<String>,
    /// Whether the payload does not prove it.
    pub unproven: bool,
}

/// A page of changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangePage {
    /// The changes, in order.
    pub changes: Vec<ChangeDocument>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// What the caller sees of changes.
struct Sight<'a> {
    caller: &'a Caller,
    readable: Option<FieldSet>,
    members: HashMap<MemberNo, Member>,
}

impl Sight<'_> {
    /// Whether a change is about somebody whom the caller sees: as they are, or, where they are new, as they will be.
    fn has(&self, change: &Change, feed: muster_domain::ids::FeedNo) -> bool {
        let limits = &self.caller.grant.key.rows;
        if limits.is_empty() {
            return true;
        }
        match change.no.and_then(|no| self.members.get(&no)) {
            Some(member) => limits.has(member),
            None => limits.take(
                |f| f == feed,
                |field| {
                    let said = change.to.iter().find(|(name, _)| self.caller.field(name) == Some(field));
                    said.and_then(|(_, value)| value.as_deref()).unwrap_or("")
                },
            ),
        }
    }

    fn reads(&self, field: FieldId) -> bool {
        self.readable.as_ref().is_none_or(|fields| fields.contains(field))
    }

    fn show(&self, ordinal: u32, change: Option<&Change>, standing: Standing) -> ChangeDocument {
        let empty = ChangeDocument {
            ordinal,
            standing,
            kind: None,
            member: None,
            unique_id: None,
            old_unique_id: None,
            fields: Vec::new(),
            line: None,
            effective_on: None,
            unproven: false,
        };
        let Some(change) = change else { return empty };
        let key = self.reads(self.caller.organisation.settings.match_key.field());
        let before = |name: &str| change.from.iter().find(|(f, _)| f == name).and_then(|(_, v)| v.as_deref());
        let fields = change.to.iter().filter(|(name, _)| self.caller.field(name).is_some_and(|f| self.reads(f)));
        ChangeDocument {
            kind: Some(change.kind.word().to_owned()),
            member: Some(change.member),
            unique_id: key.then(|| change.key.to_string()),
            old_unique_id: change.old_key.as_ref().filter(|_| key).map(ToString::to_string),
            fields: fields
                .map(|(name, after)| FieldChange {
                    field: name.to_string(),
                    before: before(name).map(str::to_owned),
                    after: after.as_deref().map(str::to_owned),
                })
                .collect(),
            line: change.line,
            effective_on: change.effective_on.as_ref().map(ToString::to_string),
            unproven: change.unproven,
            ..empty
        }
    }
}

/// List the changes of a change set
///
/// In pages, or with `Accept: application/x-ndjson` all of them, one a line.
#[utoipa::path(get, path = "/api/v1/change-sets/{id}/changes", tag = "change sets", params(("id" = Uuid, Path), ChangesParameters),
    responses(
        (status = 200, content((ChangePage = "application/json"), (ChangeDocument = "application/x-ndjson"))),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
    ))]
pub async fn changes(
    caller: Caller,
    Path(id): Path<String>,
    Query(parameters): Query<ChangesParameters>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.needs(Resource::ChangeSets, Action::Read)?;
    let set = find(&caller, &id).await?;
    let kind = match parameters.kind.as_deref() {
        Some(word) => Some(kind_of(word)?),
        None => None,
    };
    let lines = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|a| a.contains("x-ndjson"));
    let limit = if lines { usize::MAX } else { page::limit(parameters.limit)? };
    let from = page::number(parameters.cursor.as_deref())?.unwrap_or(0);
    let members = if caller.grant.key.rows.is_empty() { HashMap::new() } else { members_of(&caller, &set).await? };
    let sight = Sight { caller: &caller, readable: caller.readable(Resource::ChangeSets), members };
    let (mut shown, mut next) = (Vec::new(), None);
    let mut text = Vec::new();
    caller
        .engine
        .each_change(&caller.organisation, &set, |ordinal, change, standing| {
            let is_kind = kind.is_none_or(|kind| change.is_some_and(|c| c.kind == kind));
            let is_seen = change.map_or(sight.caller.grant.key.rows.is_empty(), |c| sight.has(c, set.feed));
            if u64::from(ordinal) < from || next.is_some() || !is_kind || !is_seen {
                return;
            }
            if shown.len() == limit {
                next = Some(ordinal.to_string());
                return;
            }
            let document = sight.show(ordinal, change, standing);
            if lines {
                // Writing into memory does not fail.
                let _ = serde_json::to_writer(&mut text, &document);
                text.push(b'\n');
            } else {
                shown.push(document);
            }
        })
        .await?;
    if lines {
        return Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], text).into_response());
    }
    Ok(Json(ChangePage { changes: shown, next }).into_response())
}

fn kind_of(word: &str) -> Result<Kind> {
    serde_json::from_value(json!(word)).map_err(|_| {
        Problem::new(
            &crate::problem::UNREADABLE,
            "There is no such kind; there are: add, update, remove, reinstate, rekey, say and release.",
        )
    })
}

async fn members_of(caller: &Caller, set: &ChangeSet) -> Result<HashMap<MemberNo, Member>> {
    let mut numbers = Vec::new();
    let visit = |_, change: Option<&Change>, _| numbers.extend(change.and_then(|c| c.no));
    caller.engine.each_change(&caller.organisation, set, visit).await?;
    Ok(caller.engine.members(caller.organisation.row.id, &numbers).await?)
}

/// What is decided.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Decision {
    /// Only people with these match keys.
    pub only: Vec<String>,
    /// Not people with these match keys.
    pub except: Vec<String>,
    /// Only changes of these kinds.
    pub kinds: Vec<String>,
    /// Not these fields.
    pub except_fields: Vec<String>,
    /// Reject in the same breath whatever is not approved. Of `approve` alone.
    pub reject_rest: bool,
    /// How many people lose eligibility, where the guard on removals tripped. Of `approve` alone.
    pub confirm_removals: Option<u64>,
    /// Why.
    pub comment: Option<String>,
}

impl Decision {
    fn choice(&self) -> Result<Choice> {
        Ok(Choice {
            only: self.only.clone(),
            except: self.except.clone(),
            kinds: self.kinds.iter().map(|word| kind_of(word)).collect::<Result<_>>()?,
            except_fields: self.except_fields.clone(),
        })
    }
}

/// What was decided, and what the change set is now: the same words as on the command line.
#[derive(Debug, Serialize, ToSchema)]
pub struct Decided {
    /// The change set.
    pub change_set_id: Option<Uuid>,
    /// What it has come to.
    pub state: String,
    /// Digest of what still waits, or of what was decided.
    pub digest: Option<String>,
    /// Counts of rows.
    #[schema(value_type = Object)]
    pub counts: Counts,
    /// The roster version now.
    pub roster_version: u64,
    /// The organisation's last event: what reads can wait for.
    pub seq: u64,
}

fn decided(report: Report) -> Decided {
    Decided {
        change_set_id: report.change_set_id.map(|id| id.0),
        state: report.state.word().to_owned(),
        digest: report.digest,
        counts: report.counts,
        roster_version: report.roster_version,
        seq: report.seq,
    }
}

/// The digest that was seen, and the right to decide.
async fn deciding(caller: &Caller, id: &str, headers: &HeaderMap) -> Result<(ChangeSet, String)> {
    caller.needs(Resource::ChangeSets, Action::Approve)?;
    if !caller.grant.key.rows.is_empty() || caller.readable(Resource::ChangeSets).is_some() {
        let why = "The key sees some people or some fields only, so it cannot decide on what it does not see.";
        return Err(Problem::new(&MISSING_RIGHT, why));
    }
    let set = find(caller, id).await?;
    let seen = if_match(headers).ok_or_else(|| {
        Problem::new(&PRECONDITION, "Send the digest of what was seen as If-Match; it is the ETag of the change set.")
    })?;
    match &seen[..] {
        [one] if *one == set.digest => Ok((set, one.clone())),
        _ => {
            let waiting = u64::from(set.waiting().len());
            let why = format!(
                "Nothing was decided: If-Match is not the digest of what waits now. {waiting} of {} changes wait, with the digest {}.",
                set.changes, set.digest
            );
            Err(Problem::new(&STALE, why).with("digest", set.digest.clone()).with("waiting", waiting))
        }
    }
}

/// What the engine says of a decision that makes no sense as things stand.
fn not_now(error: Error, set: &ChangeSet) -> Problem {
    match error {
        Error::Wrong(why) if !waits(set) => Problem::new(&CONFLICT, why),
        e => e.into(),
    }
}

async fn decision(request: axum::extract::Request) -> Result<Decision> {
    if body::media_type(request.headers()).is_empty() {
        return Ok(Decision::default());
    }
    let bytes = body::small(request, &["application/json"]).await?;
    if bytes.is_empty() { Ok(Decision::default()) } else { body::read(&bytes) }
}

/// Approve a change set, or part of it
///
/// `If-Match` names the digest of what was seen. What is not meant goes on waiting. If the guard on removals tripped, the number
/// of people who lose eligibility must be confirmed.
#[utoipa::path(post, path = "/api/v1/change-sets/{id}/approve", tag = "change sets",
    params(("id" = Uuid, Path), ("If-Match" = String, Header)), request_body = Decision,
    responses((status = 200, body = Decided),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 428, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn approve(
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: axum::extract::Request,
) -> Result<Json<Decided>> {
    let (set, digest) = deciding(&caller, &id, &headers).await?;
    let decision = decision(request).await?;
    let approval = Approval {
        choice: decision.choice()?,
        reject_rest: decision.reject_rest,
        digest: Some(digest),
        confirm_removals: decision.confirm_removals,
        comment: decision.comment.clone(),
    };
    let report = caller.engine.approve(caller.slug(), Some(&set.id.to_string()), approval).await;
    report.map(|r| Json(decided(r))).map_err(|e| not_now(e, &set))
}

/// Reject a change set, or part of it
///
/// Rejected as a whole, the payload counts as wrong and nothing is remembered; rejected in part, the same change is not proposed
/// again until its value changes.
#[utoipa::path(post, path = "/api/v1/change-sets/{id}/reject", tag = "change sets",
    params(("id" = Uuid, Path), ("If-Match" = String, Header)), request_body = Decision,
    responses((status = 200, body = Decided),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 428, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn reject(
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: axum::extract::Request,
) -> Result<Json<Decided>> {
    let (set, digest) = deciding(&caller, &id, &headers).await?;
    let decision = decision(request).await?;
    if decision.reject_rest || decision.confirm_removals.is_some() {
        return Err(Problem::new(&INVALID, "`reject_rest` and `confirm_removals` are of approvals."));
    }
    let id = set.id.to_string();
    let choice = decision.choice()?;
    let report = caller.engine.reject_seen(caller.slug(), Some(&id), choice, decision.comment, Some(&digest)).await;
    report.map(|r| Json(decided(r))).map_err(|e| not_now(e, &set))
}

/// How something is undone.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UndoDecision {
    /// Show it, change nothing.
    pub dry_run: bool,
    /// Apply it whatever the organisation's policy.
    pub apply: bool,
    /// Hold it for review whatever the organisation's policy.
    pub hold: bool,
}

/// Something that changed since and was kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeptDocument {
    /// The match key.
    pub unique_id: String,
    /// What: a field, `key` or `claims`.
    pub what: String,
}

/// What an undo came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct UndoneDocument {
    /// A report for each change set that was undone.
    pub reports: Vec<Decided>,
    /// What changed since and was kept.
    pub kept: Vec<KeptDocument>,
}

/// Take back what a change set did
///
/// An undo is a change set itself: policy and guards look at it like at any other. What changed since is kept and listed.
#[utoipa::path(post, path = "/api/v1/change-sets/{id}/undo", tag = "change sets",
    params(("id" = Uuid, Path), ("If-Match" = String, Header)), request_body = UndoDecision,
    responses((status = 200, body = UndoneDocument),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 428, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn undo(
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: axum::extract::Request,
) -> Result<Json<UndoneDocument>> {
    let (set, _) = deciding(&caller, &id, &headers).await?;
    let decision: UndoDecision = match body::media_type(request.headers()).is_empty() {
        true => UndoDecision::default(),
        false => {
            let bytes = body::small(request, &["application/json"]).await?;
            if bytes.is_empty() { UndoDecision::default() } else { body::read(&bytes)? }
        }
    };
    let asked = match (decision.apply, decision.hold) {
        (true, true) => return Err(Problem::new(&INVALID, "`apply` and `hold` cannot both be true.")),
        (true, _) => Some(Asked::Apply),
        (_, true) => Some(Asked::Hold),
        _ => None,
    };
    let request =
        UndoRequest { ids: vec![set.id.to_string()], dry_run: decision.dry_run, asked, ..UndoRequest::default() };
    let undone = caller.engine.undo(caller.slug(), request).await.map_err(|e| match e {
        Error::Wrong(why) => Problem::new(&CONFLICT, why),
        e => e.into(),
    })?;
    let kept = |k: Kept| KeptDocument { unique_id: k.key, what: k.what };
    Ok(Json(UndoneDocument {
        reports: undone.reports.into_iter().map(decided).collect(),
        kept: undone.kept.into_iter().map(kept).collect(),
    }))
}
