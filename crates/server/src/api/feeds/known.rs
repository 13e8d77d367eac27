//! What a feed was last known to send, how its columns were read, and which of its claims were not renewed for long.

use std::collections::BTreeMap;

use axum::Json;
use chrono::{DateTime, Duration, NaiveDate, Utc};
use muster_domain::{
    access::{Action, Resource},
    documents::Feed,
    field::FieldSet,
    ids::date_of,
    member::{ABSENT, Member},
    schedule::DEFAULT_GRACE,
};
use muster_engine::{mapping::MappingVersion, watch::FeedWatch};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::find;
use crate::{
    api::{
        body::{Path, Query},
        caller::{About, Caller, Noted},
        page,
    },
    problem::{Problem, ProblemDocument, Result, UNREADABLE},
};

/// After so many days without being renewed a claim is listed, where nothing else is said.
const USUAL_DAYS: u32 = 30;
const MOST_DAYS: u32 = 36_500;

/// Which claims are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KnownParameters {
    /// List claims that were not renewed for so many days, 0 to 36,500; 30, if it is not given.
    #[param(maximum = 36500)]
    pub stale_after: Option<u32>,
    /// At most so many claims, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// When a payload is expected, and whether the last one came.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExpectedDocument {
    /// A Unix cron expression.
    pub schedule: Option<String>,
    /// The time zone in which that is meant.
    pub timezone: String,
    /// How late a payload may be.
    pub grace_minutes: u32,
    /// The last time at which one was expected.
    pub last_run: Option<DateTime<Utc>>,
    /// Whether one came for that.
    pub came: bool,
    /// The next time at which one is expected.
    pub next_run: Option<DateTime<Utc>>,
    /// Since when one is overdue, if one is.
    pub overdue_since: Option<DateTime<Utc>>,
}

/// A claim that no accepted payload has renewed for long.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotRenewedClaim {
    /// The member's identity.
    pub member: Uuid,
    /// The match key; none if the key does not see it.
    pub unique_id: Option<String>,
    /// The first day of the claim.
    pub claimed_since: NaiveDate,
    /// Since when payloads lack the person, where that is noted.
    pub missing_since: Option<NaiveDate>,
}

impl NotRenewedClaim {
    fn of(member: &Member, feed: &Feed, sees_key: bool) -> NotRenewedClaim {
        let claim = member.spells.iter().find(|s| s.feed == feed.no && s.to.is_none());
        NotRenewedClaim {
            member: member.uuid,
            unique_id: sees_key.then(|| member.key.clone()),
            claimed_since: claim.map(|c| date_of(c.from)).unwrap_or_default(),
            missing_since: member.word(feed.no, ABSENT).map(|w| date_of(w.since)),
        }
    }
}

/// Claims that no accepted payload has renewed for long, counted.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotRenewedDocument {
    /// For how many days.
    pub days: u32,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How many there are on all pages.
    pub count: u64,
    /// Payloads since then that cannot be read any more: people whom only these named are counted too.
    pub unreadable_payloads: u64,
}

/// What is known of a feed beside its settings.
#[derive(Debug, Serialize, ToSchema)]
pub struct KnownDocument {
    /// The feed.
    pub feed: String,
    /// When a payload is expected; none if never.
    pub expected: Option<ExpectedDocument>,
    /// The columns of its last accepted full payload.
    pub columns: Vec<String>,
    /// How many of its rows had a value, by field; only of fields that the key sees, and of no people if it sees only some.
    pub filled: BTreeMap<String, u64>,
    /// The versions of its mapping, oldest first: `version`, `at`, `actor`, `actor_name` and the `mapping`.
    #[schema(value_type = Vec<Object>)]
    pub mapping_versions: Vec<MappingVersion>,
    /// Claims that were not renewed for long, counted.
    pub not_renewed: NotRenewedDocument,
    /// A page of these claims, in the order in which the people came.
    pub not_renewed_claims: Vec<NotRenewedClaim>,
    /// Where the next page of them begins; none after the last.
    pub next: Option<String>,
    /// The organisation's last event when this was begun.
    pub seq: u64,
}

/// Tell what a feed was last known to send
///
/// With the versions of its mapping, and the people whom it has claimed for longer than so many days although no accepted
/// payload of it has named them in that time. For that the whole roster is gone through.
#[utoipa::path(get, path = "/api/v1/feeds/{name}/known", tag = "feeds", params(("name" = String, Path), KnownParameters),
    responses((status = 200, body = KnownDocument), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn show(
    caller: Caller,
    noted: Noted,
    Path(name): Path<String>,
    Query(parameters): Query<KnownParameters>,
) -> Result<Json<KnownDocument>> {
    caller.needs(Resource::Feeds, Action::Read)?;
    let feed = find(&caller, &name)?;
    let seq = caller.engine.store.head(caller.organisation.row.id).await?.last_seq;
    let (engine, org) = (&caller.engine, &caller.organisation);
    let watch = engine.watch_of(org, feed, engine.now()).await?;
    let readable = caller.readable(Resource::Feeds);
    let Stale { not_renewed, claims, next } = stale(&caller, feed, &parameters, readable.as_ref()).await?;
    noted.keep(About::feed(&feed.settings.name));
    for claim in &claims {
        noted.keep(About { member: Some(claim.member), ..About::feed(&feed.settings.name) });
    }
    Ok(Json(KnownDocument {
        feed: feed.settings.name.clone(),
        expected: expected(feed, &caller, watch.as_ref()),
        columns: feed.baseline.as_ref().map(|b| b.columns.clone()).unwrap_or_default(),
        filled: filled(feed, &caller, readable.as_ref()),
        mapping_versions: engine.mapping_versions(org, feed).await?,
        not_renewed,
        not_renewed_claims: claims,
        next,
        seq,
    }))
}

fn expected(feed: &Feed, caller: &Caller, watch: Option<&FeedWatch>) -> Option<ExpectedDocument> {
    let settings = &feed.settings;
    (settings.expected.is_some() || watch.is_some()).then(|| ExpectedDocument {
        schedule: settings.expected.clone(),
        timezone: settings.expected_timezone.clone().unwrap_or_else(|| caller.organisation.settings.timezone.clone()),
        grace_minutes: settings.expected_grace_minutes.unwrap_or(DEFAULT_GRACE),
        last_run: watch.and_then(|w| w.last_run),
        came: watch.is_some_and(|w| w.came),
        next_run: watch.and_then(|w| w.next_run),
        overdue_since: watch.and_then(|w| w.overdue).map(|overdue| overdue.since),
    })
}

/// How many rows have a value is told of everybody or of nobody.
fn filled(feed: &Feed, caller: &Caller, readable: Option<&FieldSet>) -> BTreeMap<String, u64> {
    let baseline = feed.baseline.as_ref().filter(|_| caller.grant.key.rows.is_empty());
    let all = baseline.into_iter().flat_map(|b| &b.filled);
    all.filter(|(name, _)| caller.is_among(readable, name)).map(|(name, n)| (name.clone(), *n)).collect()
}

/// Claims not renewed for long, as the caller sees them.
struct Stale {
    not_renewed: NotRenewedDocument,
    claims: Vec<NotRenewedClaim>,
    next: Option<String>,
}

async fn stale(
    caller: &Caller,
    feed: &Feed,
    parameters: &KnownParameters,
    readable: Option<&FieldSet>,
) -> Result<Stale> {
    let days = parameters.stale_after.unwrap_or(USUAL_DAYS);
    if days > MOST_DAYS {
        return Err(Problem::new(&UNREADABLE, format!("`stale_after` is at most {MOST_DAYS} days.")));
    }
    let limit = page::limit(parameters.limit)?;
    let after = page::number(parameters.cursor.as_deref())?;
    let since = caller.engine.now() - Duration::days(days.into());
    let sees_key = readable.is_none_or(|fields| fields.contains(caller.organisation.settings.match_key.field()));
    let (mut count, mut found) = (0, Vec::new());
    let visit = |member: &Member| {
        if !caller.sees(member) {
            return;
        }
        count += 1;
        let no = u64::from(member.no);
        // One more than the page has: it tells whether there is another page.
        if after.is_none_or(|after| no > after) && found.len() <= limit {
            found.push((no, NotRenewedClaim::of(member, feed, sees_key)));
        }
    };
    let unreadable_payloads = caller.engine.not_renewed(&caller.organisation, feed, since, visit).await?.unreadable;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|(no, _)| no.to_string());
    let not_renewed = NotRenewedDocument { days, since, count, unreadable_payloads };
    Ok(Stale { not_renewed, claims: found.into_iter().map(|(_, claim)| claim).collect(), next })
}
