//! Keys that make, change and take away keys: never a stronger one than themselves.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Duration, Utc};
use muster_domain::access::{
    Action, ApiKey, FieldLimits, Fields, KeyKind, Rates, Resource, Rights, RowLimits, network,
};
use muster_engine::{
    Error,
    access::{ListedKey, MadeKey, Maker, Terms, check_fields, check_overlap},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Api,
    body::{self, Path},
    caller::Caller,
    object,
};
use crate::problem::{INVALID, MISSING_RIGHT, NOT_FOUND, Problem, ProblemDocument, Result};

pub(crate) mod access_log;

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/keys", get(list).post(create))
        .route("/keys/revoke-all", post(revoke_all))
        .route("/keys/access-log", get(access_log::list))
        .route("/keys/{id}", get(show).patch(change).delete(delete))
        .route("/keys/{id}/rotate", post(rotate))
}

/// Fields that a key may read and write of a resource; what is not given is not limited.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldsDocument {
    /// Those that may be read.
    pub read: Option<Vec<String>>,
    /// Those that may be written.
    pub write: Option<Vec<String>>,
}

/// Whose rows a key sees; an empty list says nothing.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RowsDocument {
    /// Feeds of which one must claim the member.
    pub feeds: Vec<String>,
    /// Departments.
    pub departments: Vec<String>,
    /// Subcompanies.
    pub subcompanies: Vec<String>,
}

/// Requests a minute; what is not given is as the organisation has it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RatesDocument {
    /// Reads and small writes.
    pub requests: Option<u32>,
    /// Uploads.
    pub uploads: Option<u32>,
    /// Eligibility checks.
    pub eligibility: Option<u32>,
}

/// A key as it is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// The user on whose behalf it acts. The caller's own, if it is not given.
    pub user: Option<Uuid>,
    /// What it may do, such as `member:read`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// A key for bulk loading, which may do uploads and nothing else.
    #[serde(default)]
    pub bulk: bool,
    /// Until when it works; never ends, if it is not given.
    pub expires_at: Option<DateTime<Utc>>,
    /// On which fields, by resource.
    #[serde(default, deserialize_with = "object::named")]
    pub fields: BTreeMap<Resource_, FieldsDocument>,
    /// On whom.
    #[serde(default, deserialize_with = "object::one")]
    pub rows: RowsDocument,
    /// The only feed for which it speaks.
    pub feed: Option<String>,
    /// From where, such as `10.0.0.0/8`; everywhere, if the list is empty.
    #[serde(default)]
    pub networks: Vec<String>,
    /// How often.
    #[serde(default, deserialize_with = "object::one")]
    pub rates: RatesDocument,
}

/// The name of a resource.
pub type Resource_ = String;

/// What is to be another about a key. What is not given stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyChange {
    /// What people call it.
    pub name: Option<String>,
    /// The user on whose behalf it acts.
    pub user: Option<Uuid>,
    /// What it may do.
    pub scopes: Option<Vec<String>>,
    /// Until when it works.
    pub expires_at: Option<DateTime<Utc>>,
    /// On which fields, by resource.
    #[serde(deserialize_with = "object::named_or_null")]
    pub fields: Option<BTreeMap<Resource_, FieldsDocument>>,
    /// On whom.
    #[serde(deserialize_with = "object::one_or_null")]
    pub rows: Option<RowsDocument>,
    /// The only feed for which it speaks.
    pub feed: Option<String>,
    /// From where.
    pub networks: Option<Vec<String>>,
    /// How often.
    #[serde(deserialize_with = "object::one_or_null")]
    pub rates: Option<RatesDocument>,
}

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyDocument {
    /// Identity, which is no secret.
    pub id: String,
    /// As people tell it from others.
    #[schema(example = "mk_live_…abcd")]
    pub shown: String,
    /// What people call it.
    pub name: String,
    /// Whether it is for bulk loading alone.
    pub bulk: bool,
    /// The user on whose behalf it acts.
    pub user: Uuid,
    /// That user's name.
    pub user_name: Option<String>,
    /// Who made it.
    pub made_by: String,
    /// What they are called now, if they used a key.
    pub made_by_name: Option<String>,
    /// When.
    pub made_at: DateTime<Utc>,
    /// Until when it works.
    pub expires_at: Option<DateTime<Utc>>,
    /// How many days are left, where that is something to be warned of.
    pub ends_in_days: Option<i64>,
    /// Since when it does not work any more.
    pub revoked_at: Option<DateTime<Utc>>,
    /// What it may do, if its user may.
    pub scopes: Vec<String>,
    /// On which fields, by resource.
    pub fields: BTreeMap<String, FieldsDocument>,
    /// On whom.
    pub rows: RowsDocument,
    /// The only feed for which it speaks.
    pub feed: Option<String>,
    /// From where.
    pub networks: Vec<String>,
    /// How often.
    pub rates: RatesDocument,
    /// When it was last used.
    pub last_used_at: Option<DateTime<Utc>>,
    /// From where.
    pub last_used_from: Option<String>,
    /// Until when its former secret works too, after a rotation.
    pub former_until: Option<DateTime<Utc>>,
}

/// A key with its secret, which is shown this once and never again.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeDocument {
    /// What its holder sends: keep it safe.
    pub key: String,
    /// The key.
    #[serde(flatten)]
    pub document: KeyDocument,
}

fn document(caller: &Caller, key: &ApiKey, listed: Option<&ListedKey>) -> KeyDocument {
    let org = &caller.organisation;
    let names = |set: &Option<std::collections::BTreeSet<String>>| set.as_ref().map(|s| s.iter().cloned().collect());
    let used = listed.and_then(|l| l.last_used.as_ref());
    KeyDocument {
        id: key.id.clone(),
        shown: key.shown(),
        name: key.name.clone(),
        bulk: key.kind == KeyKind::Bulk,
        user: key.user,
        user_name: listed.and_then(|l| l.user.as_ref()).map(|u| u.name.clone()),
        made_by: key.made_by.clone(),
        made_by_name: listed.and_then(|l| l.made_by_name.clone()),
        made_at: key.made_at,
        expires_at: key.expires_at,
        ends_in_days: listed.and_then(|l| l.ends_in_days),
        revoked_at: key.revoked_at,
        scopes: key.rights.scopes(),
        fields: (key.fields.0.iter())
            .map(|(resource, f)| {
                (resource.word().to_owned(), FieldsDocument { read: names(&f.read), write: names(&f.write) })
            })
            .collect(),
        rows: RowsDocument {
            feeds: key.rows.feeds.iter().map(|no| org.feed_name(*no).to_owned()).collect(),
            departments: key.rows.departments.clone(),
            subcompanies: key.rows.subcompanies.clone(),
        },
        feed: key.feed.map(|no| org.feed_name(no).to_owned()),
        networks: key.networks.iter().map(ToString::to_string).collect(),
        rates: RatesDocument {
            requests: key.rates.requests,
            uploads: key.rates.uploads,
            eligibility: key.rates.eligibility,
        },
        last_used_at: used.map(|u| u.at),
        last_used_from: used.map(|u| u.from.clone()),
        former_until: listed.and_then(|l| l.former_until),
    }
}

fn invalid(pointer: &str, why: impl Into<String>) -> Problem {
    let why = why.into();
    Problem::new(&INVALID, &why).at(pointer, why)
}

fn rights(scopes: &[String]) -> Result<Rights> {
    Rights::read(scopes.iter().map(String::as_str)).map_err(|e| invalid("/scopes", format!("{e}.")))
}

fn fields(caller: &Caller, given: BTreeMap<String, FieldsDocument>) -> Result<FieldLimits> {
    let mut limits = FieldLimits::default();
    for (word, given) in given {
        let pointer = format!("/fields/{}", body::escaped(&word));
        let resource = Resource::from_word(&word).ok_or_else(|| invalid(&pointer, "There is no such resource."))?;
        let set = |names: Option<Vec<String>>| names.map(|n| n.into_iter().collect());
        let given = Fields { read: set(given.read), write: set(given.write) };
        check_fields(&caller.organisation.settings, &given).map_err(|e| invalid(&pointer, e.to_string()))?;
        limits.0.insert(resource, given);
    }
    Ok(limits)
}

fn rows(caller: &Caller, given: RowsDocument) -> Result<RowLimits> {
    let feed =
        |name: &String| caller.organisation.feed(name).map(|f| f.no).map_err(|e| invalid("/rows/feeds", e.to_string()));
    Ok(RowLimits {
        feeds: given.feeds.iter().map(feed).collect::<Result<_>>()?,
        departments: given.departments,
        subcompanies: given.subcompanies,
    })
}

fn networks(given: &[String]) -> Result<Vec<muster_domain::access::IpNet>> {
    given.iter().map(|text| network(text).map_err(|why| invalid("/networks", why))).collect()
}

fn feed(caller: &Caller, name: Option<&String>) -> Result<Option<muster_domain::ids::FeedNo>> {
    name.map(|name| caller.organisation.feed(name).map(|f| f.no).map_err(|e| invalid("/feed", e.to_string())))
        .transpose()
}

fn rates(given: RatesDocument) -> Rates {
    Rates { requests: given.requests, uploads: given.uploads, eligibility: given.eligibility }
}

/// Where nothing is said of how often, and the caller has a rate of its own, the new key gets the usual rate, or the caller's where
/// that is lower: left open, it could become faster than the caller.
fn no_faster(new: Rates, caller: &Caller) -> Rates {
    let (own, usual) = (caller.grant.key.rates, caller.organisation.settings.api.rate);
    Rates {
        requests: new.requests.or(own.requests.map(|own| own.min(usual.requests))),
        uploads: new.uploads.or(own.uploads.map(|own| own.min(usual.uploads))),
        eligibility: new.eligibility.or(own.eligibility.map(|own| own.min(usual.eligibility))),
    }
}

fn maker(caller: &Caller) -> Maker {
    Maker::Caller(Box::new(caller.grant.clone()))
}

/// What the engine says of keys that cannot be made or found.
fn of_key(error: Error) -> Problem {
    match error {
        Error::Unknown(_) => {
            Problem::new(&NOT_FOUND, "There is no such key in your organisation, or it is mapped to somebody else.")
        }
        Error::Forbidden(why) => Problem::new(&MISSING_RIGHT, why),
        e => e.into(),
    }
}

/// All keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct Keys {
    /// The keys that the caller sees: whoever is no administrator sees those that are mapped to them.
    pub keys: Vec<KeyDocument>,
}

/// List keys
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", responses((status = 200, body = Keys)))]
pub async fn list(caller: Caller) -> Result<Json<Keys>> {
    caller.needs(Resource::Keys, Action::Read)?;
    let listed = caller.engine.list_keys(&caller.organisation, &maker(&caller)).await.map_err(of_key)?;
    Ok(Json(Keys { keys: listed.iter().map(|l| document(&caller, &l.key, Some(l))).collect() }))
}

/// Show a key
#[utoipa::path(get, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 200, body = KeyDocument), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn show(caller: Caller, Path(id): Path<String>) -> Result<Json<KeyDocument>> {
    caller.needs(Resource::Keys, Action::Read)?;
    let listed = caller.engine.listed_key(&caller.organisation, &id, &maker(&caller)).await.map_err(of_key)?;
    Ok(Json(document(&caller, &listed.key, Some(&listed))))
}

fn made(caller: &Caller, made: &MadeKey, status: StatusCode) -> Response {
    let document = KeyDocument { former_until: made.former_until, ..document(caller, &made.key, None) };
    let mut response = (status, Json(MadeDocument { key: made.text.clone(), document })).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Make a key
///
/// It is never stronger than the key with which it is made. Its text is answered this once and never again.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", request_body = NewKey,
    responses((status = 201, body = MadeDocument),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn create(caller: Caller, body::Json(new): body::Json<NewKey>) -> Result<Response> {
    caller.needs(Resource::Keys, Action::Create)?;
    let kind = if new.bulk { KeyKind::Bulk } else { KeyKind::General };
    let bulk = || Rights::NONE.with(Resource::Uploads, Action::Create).with(Resource::Uploads, Action::Read);
    let terms = Terms {
        expires_at: new.expires_at,
        fields: fields(&caller, new.fields)?,
        rows: rows(&caller, new.rows)?,
        feed: feed(&caller, new.feed.as_ref())?,
        networks: networks(&new.networks)?,
        rates: no_faster(rates(new.rates), &caller),
        ..Terms::new(
            new.name,
            new.user.unwrap_or(caller.grant.user.id),
            if new.bulk && new.scopes.is_empty() { bulk() } else { rights(&new.scopes)? },
        )
    };
    let key = caller.engine.create_key(&caller.organisation, kind, terms, &maker(&caller)).await.map_err(of_key)?;
    Ok(made(&caller, &key, StatusCode::CREATED))
}

/// Change a key
#[utoipa::path(patch, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = String, Path)), request_body = KeyChange,
    responses((status = 200, body = KeyDocument),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn change(
    caller: Caller,
    Path(id): Path<String>,
    body::Json(new): body::Json<KeyChange>,
) -> Result<Json<KeyDocument>> {
    caller.needs(Resource::Keys, Action::Update)?;
    let (org, by) = (&caller.organisation, maker(&caller));
    let (name, user, expires_at, given) = (new.name, new.user, new.expires_at, new.rates);
    let rights = new.scopes.as_deref().map(rights).transpose()?;
    let fields = new.fields.map(|given| fields(&caller, given)).transpose()?;
    let rows = new.rows.map(|given| rows(&caller, given)).transpose()?;
    let feed = feed(&caller, new.feed.as_ref())?;
    let networks = new.networks.as_deref().map(networks).transpose()?;
    let put = |terms: &mut Terms| {
        if let Some(name) = name {
            terms.name = name;
        }
        terms.user = user.unwrap_or(terms.user);
        terms.expires_at = expires_at.or(terms.expires_at);
        terms.rights = rights.unwrap_or(terms.rights);
        terms.feed = feed.or(terms.feed);
        terms.rates = given.map_or(terms.rates, rates);
        if let Some(fields) = fields {
            terms.fields = fields;
        }
        if let Some(rows) = rows {
            terms.rows = rows;
        }
        if let Some(networks) = networks {
            terms.networks = networks;
        }
        Ok(())
    };
    caller.engine.edit_key(org, &id, put, &by).await.map_err(of_key)?;
    let listed = caller.engine.listed_key(org, &id, &by).await.map_err(of_key)?;
    Ok(Json(document(&caller, &listed.key, Some(&listed))))
}

/// Delete a key
///
/// It stops working at once, on every process.
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn delete(caller: Caller, Path(id): Path<String>) -> Result<StatusCode> {
    caller.needs(Resource::Keys, Action::Delete)?;
    caller.engine.delete_key(&caller.organisation, &id, &maker(&caller)).await.map_err(of_key)?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a key is rotated.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    /// For how many hours the former secret works on, 0 to 168 (7 days).
    #[schema(maximum = 168)]
    pub overlap_hours: u32,
}

/// Give a key a new secret
///
/// The former one works on for the overlap. The new text is answered this once and never again.
#[utoipa::path(post, path = "/api/v1/keys/{id}/rotate", tag = "keys", params(("id" = String, Path)), request_body = Rotation,
    responses((status = 200, body = MadeDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn rotate(caller: Caller, Path(id): Path<String>, request: Request) -> Result<Response> {
    caller.needs(Resource::Keys, Action::Update)?;
    let rotation: Rotation = body::optional(request).await?;
    let overlap = Duration::hours(rotation.overlap_hours.into());
    check_overlap(overlap).map_err(|e| invalid("/overlap_hours", e.to_string()))?;
    let key = caller.engine.rotate_key(&caller.organisation, &id, overlap, &maker(&caller)).await.map_err(of_key)?;
    Ok(made(&caller, &key, StatusCode::OK))
}

/// How many keys were revoked.
#[derive(Debug, Serialize, ToSchema)]
pub struct Revoked {
    /// How many worked until now, the caller's own among them.
    pub revoked: usize,
}

/// What must be said to revoke all keys.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeAll {
    /// The organisation's slug, so that nobody does this by mistake.
    pub organisation: String,
}

/// Revoke all keys of the organisation
///
/// At once, on every process, this one included. It cannot be undone.
#[utoipa::path(post, path = "/api/v1/keys/revoke-all", tag = "keys", request_body = RevokeAll,
    responses((status = 200, body = Revoked),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn revoke_all(caller: Caller, body::Json(said): body::Json<RevokeAll>) -> Result<Json<Revoked>> {
    caller.needs(Resource::Keys, Action::Delete)?;
    if said.organisation != caller.slug() {
        return Err(invalid("/organisation", "Say the slug of the key's own organisation."));
    }
    let revoked = caller.engine.revoke_all_keys(&caller.organisation, &maker(&caller)).await.map_err(of_key)?;
    Ok(Json(Revoked { revoked: revoked.len() }))
}
