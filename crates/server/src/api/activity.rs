//! Activity: who did what in the organisation, in words, newest first.

use axum::{Json, Router, routing::get};
use chrono::{DateTime, Utc};
use muster_domain::{
    access::{Action, Resource},
    activity::Activity,
};
use muster_engine::access::Names;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Api, body::Query, caller::Caller, members::wait_for, page};
use crate::problem::Result;

/// So many events are read at a time for a caller who does not see all of them.
const TOGETHER: u32 = 200;
/// After so many events a page ends, whatever it has.
const PASSED_OVER: usize = 2_000;

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new().route("/activity", get(list))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ActivityParameters {
    /// At most so many, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Answer only once this event is reflected, for at most ten seconds.
    pub wait_for: Option<u64>,
}

/// What happened. Nothing in it is about a person, but for whoever acted.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActivityDocument {
    /// The event's number.
    pub seq: u64,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub actor: String,
    /// What they are called now, if they used a key.
    pub actor_name: Option<String>,
    /// The type of the event.
    pub kind: String,
    /// What happened, in one sentence.
    pub sentence: String,
    /// The feed that it is about.
    pub feed: Option<String>,
    /// The upload that it is about.
    pub upload_id: Option<Uuid>,
    /// The change set that it is about.
    pub change_set_id: Option<Uuid>,
}

impl ActivityDocument {
    fn of(told: Activity, caller: &Caller, names: &Names) -> ActivityDocument {
        ActivityDocument {
            seq: told.seq,
            at: told.at,
            actor_name: names.known(&told.actor).map(str::to_owned),
            actor: told.actor,
            kind: told.kind,
            sentence: told.sentence,
            feed: told.about.feed.map(|no| caller.organisation.feed_name(no).to_owned()),
            upload_id: told.about.upload.map(|id| id.0),
            change_set_id: told.about.change_set.map(|id| id.0),
        }
    }
}

/// A page of activity, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActivityPage {
    /// What happened.
    pub activity: Vec<ActivityDocument>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
    /// The event up to which this reflects the log.
    pub seq: u64,
}

/// Tell who did what, newest first
///
/// A key that is bound to a feed is told what is about that feed, or about none; a page of it may have fewer items than `limit`,
/// and yet another page behind it.
#[utoipa::path(get, path = "/api/v1/activity", tag = "events", params(ActivityParameters),
    responses((status = 200, body = ActivityPage)))]
pub async fn list(caller: Caller, Query(parameters): Query<ActivityParameters>) -> Result<Json<ActivityPage>> {
    caller.needs(Resource::Events, Action::Read)?;
    let limit = page::limit(parameters.limit)?;
    let mut before = page::number(parameters.cursor.as_deref())?;
    let wait = wait_for(&caller, parameters.wait_for).await?;
    let org = caller.organisation.row.id;
    // Whoever sees all of them reads no more than the page has.
    let together = if caller.grant.key.feed.is_some() { TOGETHER } else { limit as u32 };
    let (mut told, mut passed) = (Vec::new(), 0);
    let (next, seq) = loop {
        let found = caller.engine.activity(org, before, together, wait).await?;
        passed += found.activity.len();
        told.extend(found.activity.into_iter().filter(|one| sees(&caller, one)));
        before = found.before;
        if told.len() > limit {
            told.truncate(limit);
            break (told.last().map(|one| one.seq), found.seq);
        }
        if before.is_none() || told.len() == limit || passed >= PASSED_OVER {
            break (before, found.seq);
        }
    };
    let actors: Vec<&str> = told.iter().map(|one| one.actor.as_str()).collect();
    let names = caller.engine.names(org, &actors).await?;
    Ok(Json(ActivityPage {
        activity: told.into_iter().map(|one| ActivityDocument::of(one, &caller, &names)).collect(),
        next: next.map(|before| before.to_string()),
        seq,
    }))
}

/// A key that is bound to a feed is told nothing of others.
fn sees(caller: &Caller, told: &Activity) -> bool {
    caller.grant.key.feed.is_none_or(|own| told.about.feed.is_none_or(|feed| feed == own))
}
