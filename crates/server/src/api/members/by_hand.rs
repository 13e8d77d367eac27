//! One person edited by hand, as an administrator does: added, set, removed, given another match key, or joined with somebody
//! who is the same person. What is set by hand stays until a feed changes its mind, where a push speaks for a feed itself.

use axum::{
    Json,
    extract::{FromRequest as _, Request},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use muster_domain::{
    access::{Action, Resource},
    fact::State,
    guard::Asked,
};
use muster_engine::{hand::Edit, members::Whom};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Caller, Path, seen_by_id, write::check_tag};
use crate::{
    api::{
        body::{self, escaped},
        uploads::UploadDocument,
    },
    openapi::said::MemberChange,
    problem::{INVALID, Problem, ProblemDocument, Result},
};

/// Why a key with limits does nothing by hand.
const FOR_ALL: &str = "The key is for some people, some fields or one feed only, and what is done by hand counts for all of a \
    member, whatever feeds say: send it as PUT or PATCH.";

/// The fields of somebody who is added or changed by hand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldsByHand {
    /// The fields, by name; `unique_id` is the match key, and `null` clears.
    #[schema(value_type = MemberChange)]
    pub fields: Map<String, Value>,
    /// Apply it whatever the organisation's policy; guards hold all the same.
    #[serde(default)]
    pub apply: bool,
    /// Hold it for review whatever the organisation's policy.
    #[serde(default)]
    pub hold: bool,
}

/// A new match key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The match key from now on.
    pub unique_id: String,
    /// Apply it whatever the organisation's policy; guards hold all the same.
    #[serde(default)]
    pub apply: bool,
    /// Hold it for review whatever the organisation's policy.
    #[serde(default)]
    pub hold: bool,
}

/// Who is the same person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SamePerson {
    /// The identity of the member who is joined to this one, and is no member of their own any more.
    pub with: Uuid,
    /// Apply it whatever the organisation's policy; guards hold all the same.
    #[serde(default)]
    pub apply: bool,
    /// Hold it for review whatever the organisation's policy.
    #[serde(default)]
    pub hold: bool,
}

/// What is to become of something that is done by hand.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AskedByHand {
    /// Apply it whatever the organisation's policy; guards hold all the same.
    pub apply: bool,
    /// Hold it for review whatever the organisation's policy.
    pub hold: bool,
}

/// Add a person by hand
///
/// The match key must be among the fields. Somebody who left comes back. The claim passes to the first feed that names the
/// person. A key with limits adds people with `PUT /members`.
#[utoipa::path(post, path = "/api/v1/members", tag = "members", request_body = FieldsByHand,
    responses((status = 200, body = UploadDocument), (status = 202, description = "It waits for a reviewer", body = UploadDocument),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn add(caller: Caller, request: Request) -> Result<Response> {
    caller.needs(Resource::Members, Action::Create)?;
    caller.is_for_everything(FOR_ALL)?;
    let body::Json(new) = body::Json::<FieldsByHand>::from_request(request, &()).await?;
    let fields = texts(&new.fields)?;
    edit(&caller, Edit::Add { fields }, body::asked(new.apply, new.hold)?).await
}

/// Set fields of a member by hand
///
/// They stay until the feed changes its mind: what it goes on saying changes nothing. `PATCH` speaks for a feed instead. With
/// `If-Match` nothing changes unless the member is as it was read.
#[utoipa::path(post, path = "/api/v1/members/{id}/set", tag = "members", params(("id" = Uuid, Path)),
    request_body = FieldsByHand,
    responses((status = 200, body = UploadDocument), (status = 202, description = "It waits for a reviewer", body = UploadDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn set(caller: Caller, Path(id): Path<String>, headers: HeaderMap, request: Request) -> Result<Response> {
    let member = meant(&caller, Action::Update, &id, &headers).await?;
    let body::Json(new) = body::Json::<FieldsByHand>::from_request(request, &()).await?;
    let fields = texts(&new.fields)?;
    edit(&caller, Edit::Set { key: member, fields }, body::asked(new.apply, new.hold)?).await
}

/// Take a member off the roster by hand
///
/// Whatever feeds say: `DELETE` ends the claim of one feed instead. The body may be left out.
#[utoipa::path(post, path = "/api/v1/members/{id}/remove", tag = "members", params(("id" = Uuid, Path)),
    request_body = AskedByHand,
    responses((status = 200, body = UploadDocument), (status = 202, description = "It waits for a reviewer", body = UploadDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn remove(caller: Caller, Path(id): Path<String>, headers: HeaderMap, request: Request) -> Result<Response> {
    let member = meant(&caller, Action::Delete, &id, &headers).await?;
    let asked: AskedByHand = body::optional(request).await?;
    edit(&caller, Edit::Remove { key: member }, body::asked(asked.apply, asked.hold)?).await
}

/// Give a member another match key
///
/// The old one stays as an alias.
#[utoipa::path(post, path = "/api/v1/members/{id}/rekey", tag = "members", params(("id" = Uuid, Path)),
    request_body = NewKey,
    responses((status = 200, body = UploadDocument), (status = 202, description = "It waits for a reviewer", body = UploadDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn rekey(caller: Caller, Path(id): Path<String>, headers: HeaderMap, request: Request) -> Result<Response> {
    let member = meant(&caller, Action::Update, &id, &headers).await?;
    let body::Json(new) = body::Json::<NewKey>::from_request(request, &()).await?;
    let rekeyed = Edit::Rekey { key: member, new_key: new.unique_id };
    edit(&caller, rekeyed, body::asked(new.apply, new.hold)?).await
}

/// Say that two members are one person
///
/// The claims, words and match keys of the other pass to this one.
#[utoipa::path(post, path = "/api/v1/members/{id}/link", tag = "members", params(("id" = Uuid, Path)),
    request_body = SamePerson,
    responses((status = 200, body = UploadDocument), (status = 202, description = "It waits for a reviewer", body = UploadDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn link(caller: Caller, Path(id): Path<String>, headers: HeaderMap, request: Request) -> Result<Response> {
    let member = meant(&caller, Action::Update, &id, &headers).await?;
    let body::Json(same) = body::Json::<SamePerson>::from_request(request, &()).await?;
    let other = seen_by_id(&caller, &same.with.to_string()).await?;
    let linked = Edit::Link { key: member, other: Whom::Id(other.uuid) };
    edit(&caller, linked, body::asked(same.apply, same.hold)?).await
}

/// The member who is edited, if the caller may do that, and the member is as they saw it.
async fn meant(caller: &Caller, action: Action, id: &str, headers: &HeaderMap) -> Result<Whom> {
    caller.needs(Resource::Members, action)?;
    caller.is_for_everything(FOR_ALL)?;
    let member = seen_by_id(caller, id).await?;
    Ok(check_tag(caller, &member, headers)?.map_or(Whom::Id(member.uuid), Whom::Seen))
}

/// Fields as they are typed by hand.
fn texts(fields: &Map<String, Value>) -> Result<Vec<(String, String)>> {
    let text = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null => String::new(),
            Value::Array(_) | Value::Object(_) => {
                let why = "This must be a text, a number, true, false or null.";
                let problem = Problem::new(&INVALID, "Something in the body cannot be taken; nothing was changed.");
                return Err(problem.at(format!("/fields/{}", escaped(name)), why));
            }
        };
        Ok((name.clone(), text))
    };
    fields.iter().map(text).collect()
}

/// Does it, and says what it came to.
async fn edit(caller: &Caller, edit: Edit, asked: Option<Asked>) -> Result<Response> {
    let report = caller.engine.by_hand(caller.slug(), edit, asked).await?;
    let waits = matches!(report.state, State::Held | State::PartlyApplied);
    let status = if waits { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(UploadDocument::of_report(report, caller))).into_response())
}
