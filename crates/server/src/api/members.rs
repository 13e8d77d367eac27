//! Members: looked at, found, and brought up to date one by one.

use axum::{
    Json, Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, NaiveDate, Utc};
use muster_domain::{
    access::{Action, Resource},
    directory::{self, Sort, Who},
    field::FieldSet,
    ids::{date_of, day_of},
    member::Member,
};
use muster_engine::{
    members::{At, By},
    projections::{directory::SearchRequest, reading::Wait},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema, openapi::Object};
use uuid::Uuid;

use super::{
    Api,
    body::{self, Path, Query},
    caller::{About, Caller, Noted},
    page,
};
use crate::{
    openapi::said::{words, words_or_null},
    problem::{FIELD_NOT_ALLOWED, INVALID, NOT_FOUND, Problem, ProblemDocument, Result, UNREADABLE},
};

pub(crate) mod blame;
pub(crate) mod by_hand;
pub(crate) mod compared;
pub(crate) mod export;
pub(crate) mod forget;
pub(crate) mod history;
pub(crate) mod write;

pub use write::{Outcome, Written, bring, rows};

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/members", get(list).put(write::put).post(by_hand::add))
        .route("/members/export", get(export::export))
        .route("/members/forget", post(forget::anybody))
        .route("/members/forget/lift", post(forget::lift))
        .route("/members/search", post(search))
        .route("/members/lookup", post(lookup))
        .route("/members/{id}", get(show).patch(write::patch).delete(write::delete))
        .route("/members/{id}/history", get(history::show))
        .route("/members/{id}/blame", get(blame::show))
        .route("/members/{id}/set", post(by_hand::set))
        .route("/members/{id}/remove", post(by_hand::remove))
        .route("/members/{id}/rekey", post(by_hand::rekey))
        .route("/members/{id}/link", post(by_hand::link))
        .route("/members/{id}/forget", post(forget::one))
        .route("/roster/diff", get(compared::show))
}

/// A stretch of time in which a feed claimed the member.
#[derive(Debug, Serialize, ToSchema)]
pub struct Claim {
    /// The feed; `hand` for somebody added by hand.
    pub feed: String,
    /// From this day on.
    pub from: NaiveDate,
    /// Before this day; none while it runs.
    pub to: Option<NaiveDate>,
}

/// Whether a member is eligible, on the day that was asked about.
#[derive(Debug, Serialize, ToSchema)]
pub struct Standing {
    /// Yes or no.
    pub eligible: bool,
    /// Why.
    pub reason: String,
}

/// A member.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberDocument {
    /// Identity, which never changes.
    pub id: Uuid,
    /// The match key; none if the key does not see it.
    pub unique_id: Option<String>,
    /// Whether they are on the roster.
    pub listed: bool,
    /// Match keys of before.
    pub aliases: Vec<String>,
    /// Values by field; blank ones are left out.
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
    /// Which feeds claimed them, and when.
    pub claims: Vec<Claim>,
    /// In lists: whether they are eligible on the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eligibility: Option<Standing>,
}

impl MemberDocument {
    /// A member as the caller sees them.
    pub fn of(member: &Member, caller: &Caller, readable: Option<&FieldSet>) -> MemberDocument {
        let settings = &caller.organisation.settings;
        let sees = |field| readable.is_none_or(|fields| fields.contains(field));
        let key = sees(settings.match_key.field());
        let value = |(field, value): (_, &str)| (settings.fields.name(field).to_owned(), Value::from(value));
        MemberDocument {
            id: member.uuid,
            unique_id: key.then(|| member.key.clone()),
            listed: member.is_listed(),
            aliases: if key { member.aliases.clone() } else { Vec::new() },
            fields: member.values.iter().filter(|(field, _)| sees(*field)).map(value).collect(),
            claims: (member.spells.iter())
                .map(|s| Claim {
                    feed: caller.organisation.feed_name(s.feed).to_owned(),
                    from: date_of(s.from),
                    to: s.to.map(date_of),
                })
                .collect(),
            eligibility: None,
        }
    }

    /// What tells this state of the member from others, as far as the caller sees it.
    pub fn tag(&self) -> String {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        blake3::hash(&bytes).to_hex()[..32].to_owned()
    }
}

/// Whom to list, or to look for.
#[derive(Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[schema(as = SearchFilters)]
pub struct Filters {
    /// Words; each must stand somewhere in a name, an e-mail, a match key of now or before, an employee id or a department.
    #[param(ignore)]
    pub text: Option<String>,
    /// How they stand: `present` (by default), `eligible`, `not_eligible`, `former` or `all`.
    #[param(inline, schema_with = whos)]
    #[schema(schema_with = whos_or_null)]
    pub who: Option<String>,
    /// Of this department.
    pub department: Option<String>,
    /// At this location.
    pub location: Option<String>,
    /// With this employment status.
    pub status: Option<String>,
    /// Claimed by this feed.
    pub feed: Option<String>,
    /// `name` (by default), `key`, `email`, `department`, `location`, `employment_status`, `start_date` or
    /// `end_date`.
    #[param(inline, schema_with = sorts)]
    #[schema(schema_with = sorts_or_null)]
    pub sort: Option<String>,
    /// From the last to the first.
    pub descending: Option<bool>,
    /// The day that is asked about.
    pub on: Option<NaiveDate>,
    /// At most so many, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Answer only once this event is reflected, for at most ten seconds.
    pub wait_for: Option<u64>,
}

fn whos() -> Object {
    words("How they stand; `present`, if it is not given.", Who::ALL.iter().map(|w| w.word()))
}

fn sorts() -> Object {
    words("In which order; by `name`, if it is not given.", Sort::ALL.iter().map(|s| s.word()))
}

fn whos_or_null() -> Object {
    words_or_null("How they stand; `present`, if it is not given.", Who::ALL.iter().map(|w| w.word()))
}

fn sorts_or_null() -> Object {
    words_or_null("In which order; by `name`, if it is not given.", Sort::ALL.iter().map(|s| s.word()))
}

/// A page of members.
#[derive(Debug, Serialize, ToSchema)]
pub struct MemberPage {
    /// The members.
    pub members: Vec<MemberDocument>,
    /// How many there are on all pages.
    pub total: u64,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
    /// The day that was asked about.
    pub on: NaiveDate,
    /// The event up to which this reflects the log.
    pub seq: u64,
}

/// List members
#[utoipa::path(get, path = "/api/v1/members", tag = "members", params(Filters), responses((status = 200, body = MemberPage)))]
pub async fn list(caller: Caller, noted: Noted, Query(filters): Query<Filters>) -> Result<Json<MemberPage>> {
    caller.needs(Resource::Members, Action::Read)?;
    if filters.text.is_some() {
        let why = "What people are looked for by stands in no address, since addresses end in logs: POST it to /members/search.";
        return Err(Problem::new(&UNREADABLE, why));
    }
    find(&caller, &noted, filters).await.map(Json)
}

/// Search members by words
///
/// What people are looked for by stands in the body, since addresses end in logs.
#[utoipa::path(post, path = "/api/v1/members/search", tag = "members", request_body = Filters,
    responses((status = 200, body = MemberPage)))]
pub async fn search(
    caller: Caller,
    noted: Noted,
    body::Json(filters): body::Json<Filters>,
) -> Result<Json<MemberPage>> {
    caller.needs(Resource::Members, Action::Read)?;
    find(&caller, &noted, filters).await.map(Json)
}

async fn find(caller: &Caller, noted: &Noted, filters: Filters) -> Result<MemberPage> {
    let readable = caller.readable(Resource::Members);
    check_seen(caller, &filters, readable.as_ref())?;
    let word =
        |what: &str| Problem::new(&UNREADABLE, format!("`{what}` has a word that is none of those that it takes."));
    let feed = match filters.feed.as_deref() {
        Some(name) => Some(caller.organisation.feed(name).map_err(|_| word("feed"))?.no),
        None => None,
    };
    let query = directory::Query {
        text: filters.text.unwrap_or_default(),
        who: filters.who.as_deref().map_or(Some(Who::default()), Who::from_word).ok_or_else(|| word("who"))?,
        department: filters.department,
        location: filters.location,
        status: filters.status,
        feed,
        only: caller.grant.key.rows.clone(),
        sort: filters.sort.as_deref().map_or(Some(Sort::default()), Sort::from_word).ok_or_else(|| word("sort"))?,
        descending: filters.descending.unwrap_or(false),
    };
    let request = SearchRequest {
        query,
        on: filters.on.map(day_of),
        limit: page::limit(filters.limit)?,
        after: filters.cursor,
        wait: wait_for(caller, filters.wait_for).await?,
    };
    let had_cursor = request.after.is_some();
    let found = caller.engine.search(&caller.organisation, &request).await.map_err(|e| match e {
        muster_engine::Error::Wrong(_) if had_cursor => page::bad_cursor(),
        e => e.into(),
    })?;
    let members = found.members.iter().map(|one| {
        noted.keep(About { member: Some(one.member.uuid), ..About::default() });
        let standing = Standing { eligible: one.answer.eligible, reason: one.answer.reason.word().to_owned() };
        MemberDocument { eligibility: Some(standing), ..MemberDocument::of(&one.member, caller, readable.as_ref()) }
    });
    Ok(MemberPage {
        members: members.collect(),
        total: found.total,
        next: found.next,
        on: date_of(found.on),
        seq: found.seq,
    })
}

/// What a read waits for: another process makes what is read, or this one does.
///
/// # Errors
/// If there is no such event, so that waiting for it would be in vain.
pub async fn wait_for(caller: &Caller, seq: Option<u64>) -> Result<Wait> {
    if let Some(seq) = seq {
        let last = caller.engine.store.head(caller.organisation.row.id).await?.last_seq;
        if seq > last {
            let why = format!("`wait_for` names an event that there is not; the last is {last}.");
            return Err(Problem::new(&UNREADABLE, why));
        }
    }
    Ok(Wait { until: seq, at_most: Duration::from_secs(10), work: true })
}

/// Whoever does not see a field can neither look for it, nor filter or sort by it: that would tell what stands there.
fn check_seen(caller: &Caller, filters: &Filters, readable: Option<&FieldSet>) -> Result<()> {
    let Some(readable) = readable else { return Ok(()) };
    let sees = |name: &str| caller.field(name).is_some_and(|f| readable.contains(f));
    let hidden = |name: &str| {
        Problem::new(
            &FIELD_NOT_ALLOWED,
            format!("The key does not see {name}, so it cannot look for it or sort by it."),
        )
    };
    let searched = ["first_name", "last_name", "preferred_name", "email", "employee_id", "department", "unique_id"];
    let has_text = filters.text.as_deref().is_some_and(|text| !text.trim().is_empty());
    let by_text = searched.into_iter().filter(|_| has_text);
    let by_filter =
        [("department", &filters.department), ("location", &filters.location), ("employment_status", &filters.status)];
    let by_filter = by_filter.into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name);
    let by_sort: &[&str] = match filters.sort.as_deref().and_then(Sort::from_word).unwrap_or_default() {
        Sort::Name => &["last_name", "first_name"],
        Sort::Key => &["unique_id"],
        Sort::Email => &["email"],
        Sort::Department => &["department", "last_name", "first_name"],
        Sort::Location => &["location", "last_name", "first_name"],
        Sort::Status => &["employment_status", "last_name", "first_name"],
        Sort::StartDate => &["start_date"],
        Sort::EndDate => &["end_date"],
    };
    // The usual order shows names by their order alone; whoever asks for nothing in particular is not refused for it.
    let by_sort = by_sort.iter().copied().filter(|_| filters.sort.is_some());
    match by_text.chain(by_filter).chain(by_sort).find(|name| !sees(name)) {
        Some(name) => Err(hidden(name)),
        None => Ok(()),
    }
}

/// By what somebody is looked up: exactly one of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// The match key, of now or before.
    pub unique_id: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
}

/// Look somebody up by match key or e-mail
#[utoipa::path(post, path = "/api/v1/members/lookup", tag = "members", request_body = Lookup,
    responses((status = 200, body = MemberDocument), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn lookup(
    caller: Caller,
    noted: Noted,
    headers: HeaderMap,
    body::Json(by): body::Json<Lookup>,
) -> Result<Response> {
    caller.needs(Resource::Members, Action::Read)?;
    let (by, name) = match (&by.unique_id, &by.email) {
        (Some(key), None) => (By::Key(key), "unique_id"),
        (None, Some(email)) => (By::Email(email), "email"),
        _ => {
            let why = "Give exactly one of unique_id and email.";
            return Err(Problem::new(&INVALID, why).at("", why));
        }
    };
    check_looked_for(&caller, Resource::Members, name)?;
    let readable = caller.readable(Resource::Members);
    let member = seen(&caller, by).await?;
    noted.keep(About { member: Some(member.uuid), ..About::default() });
    Ok(tagged(&MemberDocument::of(&member, &caller, readable.as_ref()), &headers))
}

/// Refuses to look somebody up by a field that the caller does not see: whether there is somebody would tell what stands there.
///
/// # Errors
/// If the caller does not see it in what is shown of the resource.
pub fn check_looked_for(caller: &Caller, resource: Resource, name: &str) -> Result<()> {
    let Some(readable) = caller.readable(resource) else { return Ok(()) };
    if caller.field(name).is_some_and(|field| readable.contains(field)) {
        return Ok(());
    }
    Err(Problem::new(&FIELD_NOT_ALLOWED, format!("The key does not see {name}, so it cannot look for it.")))
}

/// The member who is meant, if the caller sees them.
pub async fn seen(caller: &Caller, by: By<'_>) -> Result<Member> {
    let found = caller.engine.look_up(&caller.organisation, by).await?;
    let found = found.filter(|m| !m.spells.is_empty() && caller.sees(m));
    found.ok_or_else(|| Problem::new(&NOT_FOUND, "There is no such member in your organisation."))
}

/// The member of an identity, if the caller sees them.
pub async fn seen_by_id(caller: &Caller, id: &str) -> Result<Member> {
    match id.parse::<Uuid>() {
        Ok(id) => seen(caller, By::Id(id)).await,
        Err(_) => Err(Problem::new(&NOT_FOUND, "There is no such member in your organisation.")),
    }
}

fn tagged(document: &MemberDocument, headers: &HeaderMap) -> Response {
    let tag = document.tag();
    let fresh = body::if_none_match(headers).is_some_and(|tags| tags.iter().any(|t| *t == tag || t == "*"));
    let mut response = match fresh {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Json(document).into_response(),
    };
    if let Ok(value) = HeaderValue::try_from(format!("\"{tag}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// Of which time.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct When {
    /// As it was known at that time.
    pub at: Option<DateTime<Utc>>,
    /// Answer only once this event is reflected, for at most ten seconds.
    pub wait_for: Option<u64>,
}

impl When {
    /// As the engine takes it.
    pub fn at(&self) -> At {
        self.at.map_or(At::Now, At::Time)
    }
}

/// Show a member
#[utoipa::path(get, path = "/api/v1/members/{id}", tag = "members", params(("id" = Uuid, Path), When),
    responses((status = 200, body = MemberDocument), (status = 304), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn show(
    caller: Caller,
    noted: Noted,
    Path(id): Path<String>,
    Query(when): Query<When>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.needs(Resource::Members, Action::Read)?;
    let mut member = seen_by_id(&caller, &id).await?;
    // The roster itself is always that far; only that there is such an event is looked at.
    wait_for(&caller, when.wait_for).await?;
    if when.at.is_some() {
        let then = caller.engine.member_at(&caller.organisation, when.at(), member.uuid).await?;
        member = then
            .filter(|m| caller.sees(m))
            .ok_or_else(|| Problem::new(&NOT_FOUND, "That member was not known then."))?;
    }
    noted.keep(About { member: Some(member.uuid), ..About::default() });
    let readable = caller.readable(Resource::Members);
    Ok(tagged(&MemberDocument::of(&member, &caller, readable.as_ref()), &headers))
}
