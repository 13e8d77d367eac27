//! Feeds: who speaks for whom, and when a payload is expected.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use muster_domain::{
    access::{Action, Resource},
    documents::Feed,
    settings::{FeedSettings, Mode, Policy},
};
use muster_engine::organisation::{check_feed_name, check_key_prefix};
use serde::{Deserialize, Serialize};
use utoipa::{ToSchema, openapi::Object};

use super::{
    Api,
    body::{self, Path},
    caller::{About, Caller, Noted},
    object,
};
use crate::{
    openapi::said::{modes, words_or_null},
    problem::{CONFLICT, INVALID, NOT_FOUND, Problem, ProblemDocument, Result},
};

pub(crate) mod handover;
pub(crate) mod known;
pub(crate) mod map;
pub(crate) mod restore;
pub(crate) mod runs;

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/feeds", get(list).post(create))
        .route("/feeds/runs", get(runs::list))
        .route("/feeds/{name}", get(show).patch(change))
        .route("/feeds/{name}/known", get(known::show))
        .route("/feeds/{name}/map", post(map::show))
        .route("/feeds/{name}/mapping/restore", post(restore::restore))
        .route("/feeds/{name}/handover", post(handover::hand_over))
}

/// A feed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeedDocument {
    /// Its name.
    pub name: String,
    /// Its mode; without one every upload must say.
    pub mode: Option<String>,
    /// A field of a person whom several feeds claim follows the highest.
    pub priority: i32,
    /// Put in front of each of its match keys.
    pub key_prefix: Option<String>,
    /// In place of the organisation's policy.
    pub policy: Option<String>,
    /// Column names by field.
    pub mapping: BTreeMap<String, String>,
    /// The version of that.
    pub mapping_version: u32,
    /// Settings in place of the organisation's.
    pub overrides: BTreeMap<String, String>,
    /// When a payload is expected, as a Unix cron expression.
    pub expected: Option<String>,
    /// The time zone in which that is meant; the organisation's, if there is none.
    pub expected_timezone: Option<String>,
    /// How late a payload may be; 120, if nothing is said.
    pub expected_grace_minutes: Option<u32>,
    /// The last time at which one was expected.
    pub last_run: Option<DateTime<Utc>>,
    /// The next time at which one is expected.
    pub next_run: Option<DateTime<Utc>>,
    /// How many members it claims.
    pub claims: u64,
    /// When its last payload came.
    pub last_payload_at: Option<DateTime<Utc>>,
    /// How many rows its last accepted full payload had.
    pub rows_last_time: Option<u64>,
}

async fn document(feed: &Feed, caller: &Caller) -> Result<FeedDocument> {
    let watch = caller.engine.watch_of(&caller.organisation, feed, caller.engine.now()).await?;
    let s = feed.settings.clone();
    Ok(FeedDocument {
        name: s.name,
        mode: s.mode.map(|m| m.word().to_owned()),
        priority: s.priority,
        key_prefix: s.key_prefix,
        policy: s.policy.map(|p| p.word().to_owned()),
        mapping: s.mapping,
        mapping_version: s.mapping_version,
        overrides: s.overrides,
        expected: s.expected,
        expected_timezone: s.expected_timezone,
        expected_grace_minutes: s.expected_grace_minutes,
        last_run: watch.as_ref().and_then(|w| w.last_run),
        next_run: watch.and_then(|w| w.next_run),
        claims: feed.claims,
        last_payload_at: feed.last_arrival.map(|(_, at)| at),
        rows_last_time: feed.baseline.as_ref().map(|b| b.rows),
    })
}

/// All feeds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Feeds {
    /// The feeds that the key sees.
    pub feeds: Vec<FeedDocument>,
}

/// List feeds
#[utoipa::path(get, path = "/api/v1/feeds", tag = "feeds", responses((status = 200, body = Feeds)))]
pub async fn list(caller: Caller) -> Result<Json<Feeds>> {
    caller.needs(Resource::Feeds, Action::Read)?;
    let mut feeds = Vec::new();
    for feed in caller.organisation.feeds.iter().filter(|f| sees(&caller, f)) {
        feeds.push(document(feed, &caller).await?);
    }
    Ok(Json(Feeds { feeds }))
}

fn sees(caller: &Caller, feed: &Feed) -> bool {
    caller.grant.key.feed.is_none_or(|no| no == feed.no)
}

fn find<'a>(caller: &'a Caller, name: &str) -> Result<&'a Feed> {
    let found = caller.organisation.feeds.iter().find(|f| f.settings.name == name && sees(caller, f));
    found.ok_or_else(|| Problem::new(&NOT_FOUND, "There is no such feed in your organisation."))
}

/// Show a feed
#[utoipa::path(get, path = "/api/v1/feeds/{name}", tag = "feeds", params(("name" = String, Path)),
    responses((status = 200, body = FeedDocument), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn show(caller: Caller, noted: Noted, Path(name): Path<String>) -> Result<Json<FeedDocument>> {
    caller.needs(Resource::Feeds, Action::Read)?;
    let feed = find(&caller, &name)?;
    noted.keep(About::feed(&feed.settings.name));
    document(feed, &caller).await.map(Json)
}

/// A feed as it is to be. What is not given stays as it is, or by default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeedChange {
    /// `full`, `partial` or `leavers`.
    #[schema(schema_with = modes)]
    pub mode: Option<String>,
    /// A field of a person whom several feeds claim follows the highest.
    pub priority: Option<i32>,
    /// Put in front of each of its match keys; empty for none.
    pub key_prefix: Option<String>,
    /// `apply` or `hold`.
    #[schema(schema_with = policies)]
    pub policy: Option<String>,
    /// Column names by field; an empty one takes it away.
    pub mapping: BTreeMap<String, String>,
    /// Settings in place of the organisation's; an empty one takes it away.
    pub overrides: BTreeMap<String, String>,
    /// When a payload is expected: minute, hour, day of month, month, day of week, or `@daily` and its like; empty for never.
    pub expected: Option<String>,
    /// The time zone in which that is meant; empty for the organisation's.
    pub expected_timezone: Option<String>,
    /// How late a payload may be, in minutes or such as `2h`; empty for the default of two hours.
    pub expected_grace: Option<String>,
}

fn policies() -> Object {
    words_or_null("What happens to what no guard stops.", Policy::ALL.iter().map(|p| p.word()))
}

/// A feed to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFeed {
    /// Its name: up to 63 of a-z, 0-9, -, _ and .
    pub name: String,
    /// How it is to be.
    #[serde(default, deserialize_with = "object::one")]
    pub settings: FeedChange,
}

impl FeedChange {
    fn put(self, feed: &mut FeedSettings, caller: &Caller, at: &str) -> Result<()> {
        let invalid =
            |name: &str, why: String| Problem::new(&INVALID, &why).at(format!("{at}/{}", body::escaped(name)), why);
        if let Some(word) = self.mode {
            let mode =
                Mode::from_word(&word).ok_or_else(|| invalid("mode", "It is full, partial or leavers.".to_owned()))?;
            feed.mode = Some(mode);
        }
        if let Some(word) = self.policy {
            let policy =
                Policy::from_word(&word).ok_or_else(|| invalid("policy", "It is apply or hold.".to_owned()))?;
            feed.policy = Some(policy);
        }
        feed.priority = self.priority.unwrap_or(feed.priority);
        if let Some(prefix) = self.key_prefix {
            check_key_prefix(&prefix).map_err(|e| invalid("key_prefix", e.to_string()))?;
            feed.key_prefix = Some(prefix.trim().to_owned()).filter(|p| !p.is_empty());
        }
        for (field, column) in &self.mapping {
            let mapped = feed.map(field, column, &caller.organisation.settings);
            mapped.map_err(|e| invalid("mapping", e.to_string()))?;
        }
        for (key, value) in &self.overrides {
            feed.set_override(key, value).map_err(|e| invalid("overrides", e.to_string()))?;
        }
        let [schedule, zone, grace] =
            [&self.expected, &self.expected_timezone, &self.expected_grace].map(Option::as_deref);
        if schedule.or(zone).or(grace).is_some() {
            feed.expect(schedule, zone, grace).map_err(|e| invalid("expected", e.to_string()))?;
        }
        Ok(())
    }
}

/// Make a feed
#[utoipa::path(post, path = "/api/v1/feeds", tag = "feeds", request_body = NewFeed,
    responses((status = 201, body = FeedDocument),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn create(caller: Caller, body::Json(new): body::Json<NewFeed>) -> Result<Response> {
    caller.needs(Resource::Feeds, Action::Create)?;
    if caller.grant.key.feed.is_some() {
        let why = "The key is bound to one feed, so it makes no others.";
        return Err(Problem::new(&crate::problem::WRONG_FEED, why));
    }
    check_feed_name(&new.name).map_err(|e| Problem::new(&INVALID, e.to_string()).at("/name", e.to_string()))?;
    let mut settings = FeedSettings { name: new.name, ..FeedSettings::default() };
    if caller.organisation.feeds.iter().any(|f| f.settings.name == settings.name) {
        return Err(Problem::new(&CONFLICT, "There is a feed of that name already."));
    }
    new.settings.put(&mut settings, &caller, "/settings")?;
    let feed = caller.engine.create_feed(&caller.organisation, settings).await?;
    Ok((StatusCode::CREATED, Json(document(&feed, &caller).await?)).into_response())
}

/// Change a feed
#[utoipa::path(patch, path = "/api/v1/feeds/{name}", tag = "feeds", params(("name" = String, Path)), request_body = FeedChange,
    responses((status = 200, body = FeedDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn change(
    caller: Caller,
    Path(name): Path<String>,
    body::Json(change): body::Json<FeedChange>,
) -> Result<Json<FeedDocument>> {
    caller.needs(Resource::Feeds, Action::Update)?;
    let feed = find(&caller, &name)?;
    let mut settings = feed.settings.clone();
    change.put(&mut settings, &caller, "")?;
    let same = settings == feed.settings;
    let feed = if same { feed.clone() } else { caller.engine.set_feed(&caller.organisation, feed, settings).await? };
    document(&feed, &caller).await.map(Json)
}
