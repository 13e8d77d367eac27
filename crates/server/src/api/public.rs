//! The widespread "eligibility upload" contract, in camelCase, for clients that were written against it.

use std::collections::HashMap;

use axum::{
    Json, Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{post, put},
};
use muster_domain::{
    access::{Action, Resource},
    change::Change,
    documents::ChangeSet,
    fact::State,
    field::FieldId,
    ids::MemberNo,
    member::Member,
    settings::Mode,
};
use muster_engine::{chunks::SomeChanges, report::Report};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Api, SMALL,
    body::{self, Several, media_type, place, read, small},
    caller::Caller,
    members::{Outcome, Written, bring, rows},
    object::Object,
    uploads::{Coming, SendParameters, take},
};
use crate::{
    openapi::said::{FieldValue, MatchKey, UploadForm, mode},
    problem::{INVALID, Problem, ProblemDocument, REFUSED, Result},
};

/// The names of the contract, and ours.
const NAMES: [(&str, &str); 9] = [
    ("uniqueId", "unique_id"),
    ("firstName", "first_name"),
    ("lastName", "last_name"),
    ("email", "email"),
    ("department", "department"),
    ("location", "location"),
    ("role", "job_title"),
    ("subcompany", "subcompany"),
    ("endDate", "end_date"),
];

/// How many results an upload's answer has at most.
const MOST_RESULTS: usize = 10_000;

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new().route("/members", put(members)).route("/upload", post(upload))
}

/// A member, in the words of the contract.
#[derive(Debug, ToSchema)]
#[allow(dead_code)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PublicMember {
    /// The match key.
    unique_id: MatchKey,
    /// First name.
    #[schema(required = false)]
    first_name: FieldValue,
    /// Last name.
    #[schema(required = false)]
    last_name: FieldValue,
    /// E-mail address.
    #[schema(required = false)]
    email: FieldValue,
    /// Department.
    #[schema(required = false)]
    department: FieldValue,
    /// Location.
    #[schema(required = false)]
    location: FieldValue,
    /// Job title.
    #[schema(required = false)]
    role: FieldValue,
    /// Subcompany.
    #[schema(required = false)]
    subcompany: FieldValue,
    /// The last day.
    #[schema(required = false)]
    end_date: FieldValue,
}

/// One member or several, in the words of the contract.
#[derive(Debug, ToSchema)]
#[allow(dead_code)]
#[serde(untagged)]
pub enum PublicMembers {
    /// One.
    One(PublicMember),
    /// Several, at most 1,000.
    Several(Vec<PublicMember>),
}

/// What became of one member.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicItem {
    /// The match key.
    pub unique_id: String,
    /// `updated`, `created`, `noChanges`, `removed`, `held` or `invalid`.
    pub status: &'static str,
    /// Why nothing was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of a request.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicAnswer {
    /// How many were sent.
    pub total: u64,
    /// Of how many something is another now.
    pub updated: u64,
    /// How many are new, or back.
    pub created: u64,
    /// Of how many all was so already.
    pub no_changes: u64,
    /// How many left, by a full list.
    pub removed: u64,
    /// How many wait for a reviewer.
    pub held: u64,
    /// Of how many nothing was taken.
    pub invalid: u64,
    /// Each; of an upload those of whom something changes and whom the key sees, at most 10,000, and nobody if the key does not
    /// see the match key.
    pub results: Vec<PublicItem>,
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Updated => "updated",
        Outcome::Created | Outcome::Reinstated => "created",
        Outcome::Removed => "removed",
        Outcome::NoChanges => "noChanges",
        Outcome::Held => "held",
        Outcome::Invalid => "invalid",
    }
}

impl From<Written> for PublicAnswer {
    fn from(written: Written) -> PublicAnswer {
        PublicAnswer {
            total: written.total as u64,
            updated: written.updated as u64,
            created: (written.created + written.reinstated) as u64,
            no_changes: written.no_changes as u64,
            removed: written.removed as u64,
            held: written.held as u64,
            invalid: written.invalid as u64,
            results: (written.results.into_iter())
                .map(|item| PublicItem { unique_id: item.unique_id, status: word(item.status), reason: item.reason })
                .collect(),
        }
    }
}

/// A row of the contract in our words.
fn ours(row: Map<String, Value>, pointer: &str) -> Result<Map<String, Value>> {
    let one = |(name, value): (String, Value)| match NAMES.iter().find(|(theirs, _)| *theirs == name) {
        Some((_, ours)) => Ok(((*ours).to_owned(), value)),
        None => {
            let names: Vec<&str> = NAMES.iter().map(|n| n.0).collect();
            let why = format!("There is no such field; there are: {}.", names.join(", "));
            Err(Problem::new(&INVALID, "Something in the body cannot be taken; nothing was changed.")
                .at(format!("{pointer}/{}", body::escaped(&name)), why))
        }
    };
    row.into_iter().map(one).collect()
}

/// Bring members up to date, in the words of the "eligibility upload" contract
#[utoipa::path(put, path = "/api/public/members", tag = "public contract", request_body = PublicMembers,
    responses((status = 200, body = PublicAnswer), (status = 202, body = PublicAnswer),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn members(caller: Caller, request: Request) -> Result<Response> {
    caller.needs(Resource::Members, Action::Update)?;
    let Several { items, is_list } = rows(request).await?;
    let place = place(is_list);
    let rows = items.into_iter().enumerate().map(|(no, row)| ours(row, &place(no))).collect::<Result<Vec<_>>>()?;
    Ok(answered(bring(&caller, rows, Mode::Partial, place).await?.into()))
}

fn answered(answer: PublicAnswer) -> Response {
    let status = if answer.held > 0 { StatusCode::ACCEPTED } else { StatusCode::OK };
    (status, Json(answer)).into_response()
}

/// A list of people, in the words of the contract.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicUpload {
    /// `full` or `partial`.
    #[schema(schema_with = mode)]
    pub mode: Mode,
    /// The rows.
    #[schema(value_type = Vec<PublicMember>)]
    pub rows: Vec<Map<String, Value>>,
}

/// Send a list, in the words of the "eligibility upload" contract
///
/// JSON with `mode` and `rows`, or a form with a CSV `file` and `mode`. It is worked on before the answer.
#[utoipa::path(post, path = "/api/public/upload", tag = "public contract",
    request_body(content((PublicUpload = "application/json"), (UploadForm = "multipart/form-data"))),
    responses((status = 200, body = PublicAnswer), (status = 202, body = PublicAnswer),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn upload(caller: Caller, request: Request) -> Result<Response> {
    caller.needs(Resource::Uploads, Action::Create)?;
    let headers = request.headers().clone();
    let coming = if media_type(&headers) == "multipart/form-data" {
        Coming::take(&caller, SendParameters::default(), request).await?
    } else {
        let bytes = small(request, &["application/json"]).await?;
        let Object::<PublicUpload>(given) = read(&bytes)?;
        let mut lines = Vec::with_capacity(bytes.len().min(SMALL));
        for (no, row) in given.rows.into_iter().enumerate() {
            let row = ours(row, &format!("/rows/{no}"))?;
            serde_json::to_writer(&mut lines, &row).map_err(|e| Problem::internal(&e))?;
            lines.push(b'\n');
        }
        Coming::whole(&caller, lines, given.mode)?
    };
    let report = take(&caller, Coming { now: true, ..coming }, &headers).await?;
    if report.state == State::Refused {
        return Err(Problem::new(&REFUSED, why_refused(&caller, &report)));
    }
    let Became { waiting, results } = became(&caller, &report).await?;
    let counts = report.counts;
    let if_applied = |n: u64| if report.state == State::Held { 0 } else { n };
    Ok(answered(PublicAnswer {
        total: counts.rows,
        updated: if_applied(counts.updated + counts.rekeyed),
        created: if_applied(counts.added + counts.reinstated),
        no_changes: counts.unchanged + counts.suppressed,
        removed: if_applied(counts.removed),
        held: waiting,
        invalid: counts.invalid,
        results,
    }))
}

/// Why nothing was taken. The reason may quote a row, or whomever the row is like, so it is for those who see everything.
fn why_refused<'r>(caller: &Caller, report: &'r Report) -> &'r str {
    match report.issues.first() {
        Some(issue) if caller.grant.sees_everything() => &issue.reason,
        _ => "Nothing can be taken from it.",
    }
}

/// What became of those whom an upload is about.
#[derive(Default)]
struct Became {
    /// How many wait for a reviewer, whether the caller sees them or not.
    waiting: u64,
    /// Those whom the caller sees.
    results: Vec<PublicItem>,
}

async fn became(caller: &Caller, report: &Report) -> Result<Became> {
    let mut became = Became::default();
    let Some(id) = report.change_set_id else { return Ok(became) };
    let set = caller.engine.change_set(&caller.organisation, id).await?;
    let shows = shows_keys(caller);
    let mut reading = caller.engine.changes_from(&caller.organisation, &set, 0);
    while let Some(some) = reading.next().await? {
        let members = members_of(caller, &set, &some).await?;
        for read in some.iter(&set) {
            let (_, Some(change), standing) = read? else { continue };
            let outcome = Outcome::of(change.kind, standing);
            became.waiting += u64::from(outcome == Outcome::Held);
            let is_told = shows && outcome != Outcome::NoChanges && became.results.len() < MOST_RESULTS;
            if is_told && has(caller, &set, &change, &members) {
                let unique_id = change.key.to_string();
                became.results.push(PublicItem { unique_id, status: word(outcome), reason: None });
            }
        }
    }
    Ok(became)
}

/// Whether the caller sees match keys in what is said of an upload and of its changes.
fn shows_keys(caller: &Caller) -> bool {
    let key = caller.organisation.settings.match_key.field();
    let shows = |resource| caller.readable(resource).is_none_or(|fields| fields.contains(key));
    [Resource::Uploads, Resource::ChangeSets].into_iter().all(shows)
}

/// Whom the changes are about, where that decides what is shown.
async fn members_of(caller: &Caller, set: &ChangeSet, some: &SomeChanges) -> Result<HashMap<MemberNo, Member>> {
    let mut numbers = Vec::new();
    if !caller.grant.key.rows.is_empty() {
        for read in some.iter(set) {
            numbers.extend(read?.1.and_then(|change| change.no));
        }
    }
    Ok(caller.engine.members(caller.organisation.row.id, &numbers).await?)
}

/// Whether a change is about somebody whom the caller sees, as in `GET /change-sets/{id}/changes`: as they are or, where they
/// are new, as they will be.
fn has(caller: &Caller, set: &ChangeSet, change: &Change, members: &HashMap<MemberNo, Member>) -> bool {
    if let Some(member) = change.no.and_then(|no| members.get(&no)) {
        return caller.sees(member);
    }
    let said = |field: FieldId| {
        let said = change.to.iter().find(|(name, _)| caller.field(name) == Some(field));
        said.and_then(|(_, value)| value.as_deref()).unwrap_or("")
    };
    caller.grant.key.rows.take(|feed| feed == set.feed, said)
}
