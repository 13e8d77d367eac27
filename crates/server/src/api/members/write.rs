//! Members brought up to date one by one: each request is a small payload, and goes the way of every payload.

use axum::{
    Json,
    extract::Request,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use muster_domain::{
    access::{Action, Resource},
    change::Kind,
    member::Member,
    normalise,
    settings::Mode,
};
use muster_engine::review::Standing;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Caller, MemberDocument, Path, seen_by_id};
use crate::{
    api::body::{self, Several, place, read, small},
    openapi::said::{MemberChange, MemberRows},
    problem::{CONFLICT, INVALID, Problem, ProblemDocument, Result, STALE, TOO_LARGE},
};

mod batch;

pub use batch::bring;
use batch::bring_if;

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
    /// The match key, as it was sent. Of a member who was named by their identity, as they have it; empty if the key does not
    /// see it.
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
/// who left comes back. It is a partial payload for the key's feed, or `main`, so a feed's key prefix is put in front of every
/// `unique_id`; policy and guards look at it like at any other, and what they hold is answered with 202 and `held`.
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
/// read. A feed whose key prefix the member's match key lacks cannot speak of them: 409.
#[utoipa::path(patch, path = "/api/v1/members/{id}", tag = "members", params(("id" = Uuid, Path)),
    request_body(content((MemberChange = "application/json"), (MemberChange = "application/merge-patch+json"))),
    responses((status = 200, body = Written), (status = 202, body = Written),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn patch(caller: Caller, Path(id): Path<String>, headers: HeaderMap, request: Request) -> Result<Response> {
    caller.needs(Resource::Members, Action::Update)?;
    let member = seen_by_id(&caller, &id).await?;
    let seen = check_tag(&caller, &member, &headers)?;
    let bytes = small(request, &["application/json", "application/merge-patch+json"]).await?;
    let row: Map<String, Value> = read(&bytes)?;
    if let Some(other) = row.get("unique_id") {
        let feed = caller.feed(None)?;
        let is_key = |key: &str| normalise::key(key) == normalise::key(&member.key);
        // With the feed's prefix, as it is shown, or without, as the feed has it.
        let is_own =
            |said: &str| is_key(said) || caller.organisation.key_of_row(feed, said).is_some_and(|k| is_key(&k));
        if !other.as_str().is_some_and(is_own) {
            let why = "A match key is not changed here: an upload that names the new key beside the same e-mail or employee id does.";
            return Err(Problem::new(&INVALID, why).at("/unique_id", why));
        }
    }
    Ok(answer(bring_one(&caller, &member, row, Mode::Partial, seen).await?))
}

/// Take a member off the roster
///
/// It ends the claim of the key's feed, or of `main`. Somebody whom another feed names stays: `no_changes`. Removals one by one
/// add up for the guard. A feed whose key prefix the member's match key lacks cannot speak of them: 409.
#[utoipa::path(delete, path = "/api/v1/members/{id}", tag = "members", params(("id" = Uuid, Path)),
    responses((status = 200, body = Written), (status = 202, body = Written),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn delete(caller: Caller, Path(id): Path<String>, headers: HeaderMap) -> Result<Response> {
    caller.needs(Resource::Members, Action::Delete)?;
    let member = seen_by_id(&caller, &id).await?;
    let seen = check_tag(&caller, &member, &headers)?;
    Ok(answer(bring_one(&caller, &member, Map::new(), Mode::Leavers, seen).await?))
}

/// Takes what is said of a known member through the pipeline, by what names exactly them in a payload of the caller's feed.
async fn bring_one(
    caller: &Caller,
    member: &Member,
    mut row: Map<String, Value>,
    mode: Mode,
    seen: Option<Box<Member>>,
) -> Result<Written> {
    let feed = caller.feed(None)?;
    let Some(said) = caller.engine.said_for(&caller.organisation, feed, member).await? else {
        let why = "The feed that the key speaks for cannot name this member: its key prefix does not stand in front of their \
            match key. Use a key of a feed that names them.";
        return Err(Problem::new(&CONFLICT, why));
    };
    row.insert("unique_id".to_owned(), said.into());
    let mut written = bring_if(caller, vec![row], mode, |_| String::new(), seen).await?;
    let shown = if sees_keys(caller) { member.key.as_str() } else { "" };
    written.results.iter_mut().for_each(|item| item.unique_id = shown.to_owned());
    Ok(written)
}

/// Whether the caller sees the match keys of members.
pub fn sees_keys(caller: &Caller) -> bool {
    let key = caller.organisation.settings.match_key.field();
    caller.readable(Resource::Members).is_none_or(|fields| fields.contains(key))
}

/// The member as they must still be when they are changed, if `If-Match` says how they were seen, and they are so.
///
/// # Errors
/// If it was given, and is not the tag of the member as the caller sees them now.
pub fn check_tag(caller: &Caller, member: &Member, headers: &HeaderMap) -> Result<Option<Box<Member>>> {
    let Some(tags) = body::if_match(headers) else { return Ok(None) };
    let readable = caller.readable(Resource::Members);
    let tag = MemberDocument::of(member, caller, readable.as_ref()).tag();
    if tags.contains(&tag) {
        return Ok(Some(Box::new(member.clone())));
    }
    if tags.iter().any(|t| t == "*") {
        return Ok(None);
    }
    Err(Problem::new(&STALE, "The member is another than the one that If-Match names; read it again."))
}
