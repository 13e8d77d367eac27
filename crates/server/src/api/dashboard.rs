//! The dashboard: who is eligible, who came and went, how fresh the feeds are and what waits, of the organisation at a glance.

use axum::{Json, Router, routing::get};
use chrono::{DateTime, NaiveDate, Utc};
use muster_domain::{
    access::{Action, Resource},
    ids::day_of,
    liveness::Overdue,
};
use muster_engine::projections::dashboard::{Dashboard, Freshness, Waiting, Week, awaiting_second};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Api, body::Query, caller::Caller, members::wait_for};
use crate::problem::{MISSING_RIGHT, Problem, Result, UNREADABLE};

/// So many weeks, where nothing else is said.
const USUAL_WEEKS: u32 = 8;
const MOST_WEEKS: u32 = 520;

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new().route("/dashboard", get(show))
}

/// Of which time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DashboardParameters {
    /// The day that is asked about. Today in the organisation's time zone, if it is not given.
    pub on: Option<NaiveDate>,
    /// So many weeks, 1 to 520; 8, if it is not given.
    #[param(minimum = 1, maximum = 520)]
    pub weeks: Option<u32>,
    /// Answer only once this event is reflected, for at most ten seconds.
    pub wait_for: Option<u64>,
}

/// A week, from Monday on.
#[derive(Debug, Serialize, ToSchema)]
pub struct WeekDocument {
    /// Its Monday.
    pub from: NaiveDate,
    /// How many came onto the roster.
    pub joined: u64,
    /// How many left it.
    pub left: u64,
    /// How many became eligible.
    pub became_eligible: u64,
    /// How many were eligible no longer.
    pub ceased: u64,
}

impl From<Week> for WeekDocument {
    fn from(Week { from, joined, left, became_eligible, ceased }: Week) -> WeekDocument {
        WeekDocument { from, joined, left, became_eligible, ceased }
    }
}

/// A feed's last payload.
#[derive(Debug, Serialize, ToSchema)]
pub struct LastPayloadDocument {
    /// The upload.
    pub upload_id: Uuid,
    /// Its place in the order of arrival.
    pub arrival: u64,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// What it has come to.
    pub state: String,
}

/// A feed and its last payload.
#[derive(Debug, Serialize, ToSchema)]
pub struct FreshnessDocument {
    /// The feed.
    pub feed: String,
    /// Its last payload.
    pub last: Option<LastPayloadDocument>,
    /// When its last payload arrived that was not refused.
    pub last_read_at: Option<DateTime<Utc>>,
    /// The payload that is overdue, if one is: the run that was `missed`, and `since` when its grace is over.
    #[schema(value_type = Option<Object>)]
    pub overdue: Option<Overdue>,
}

impl From<Freshness> for FreshnessDocument {
    fn from(of: Freshness) -> FreshnessDocument {
        let last = of.last.map(|last| LastPayloadDocument {
            upload_id: last.upload.0,
            arrival: last.arrival,
            at: last.at,
            state: last.outcome.word().to_owned(),
        });
        FreshnessDocument { feed: of.feed, last, last_read_at: of.last_read_at, overdue: of.overdue }
    }
}

/// A change set that waits for a reviewer.
#[derive(Debug, Serialize, ToSchema)]
pub struct WaitingDocument {
    /// The change set.
    pub change_set_id: Uuid,
    /// The upload that it came from.
    pub upload_id: Uuid,
    /// The feed; `hand` for an administrator's edit.
    pub feed: String,
    /// Since when it waits.
    pub since: DateTime<Utc>,
    /// How many changes it has.
    pub changes: u32,
    /// Whether all of it waits (`held`), or what is left of it (`partly_applied`).
    pub state: String,
    /// The guards that tripped.
    pub guards: Vec<String>,
    /// Whether one person approved it, and somebody else must approve the same before it is applied.
    pub awaits_second_approver: bool,
}

impl From<Waiting> for WaitingDocument {
    fn from(Waiting { feed, waits }: Waiting) -> WaitingDocument {
        WaitingDocument {
            change_set_id: waits.change_set.0,
            upload_id: waits.upload.0,
            feed,
            since: waits.since,
            changes: waits.changes,
            state: waits.state.word().to_owned(),
            guards: waits.guards,
            awaits_second_approver: waits.awaits_second_approver,
        }
    }
}

/// The organisation at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub struct DashboardDocument {
    /// The day, in the organisation's time zone.
    pub day: NaiveDate,
    /// How many people are eligible on it, by what is known now.
    pub eligible: u64,
    /// The last weeks, and this one at the end.
    pub weeks: Vec<WeekDocument>,
    /// The feeds; null for a key that may not read feeds.
    pub feeds: Option<Vec<FreshnessDocument>>,
    /// Change sets that wait for a reviewer, longest first; null for a key that may not read change sets.
    pub waiting: Option<Vec<WaitingDocument>>,
    /// How many of these one person approved, so that they wait for a second approver.
    pub awaiting_second_approver: Option<usize>,
    /// The event up to which this reflects the log.
    pub seq: u64,
}

/// Show the organisation at a glance
///
/// Who is eligible is computed from dates when it is asked for. A key that is bound to a feed sees of feeds and of what waits what
/// is that feed's; of either there is nothing for a key that may not read it elsewhere. Not for keys that see only some people,
/// since everybody is counted.
#[utoipa::path(get, path = "/api/v1/dashboard", tag = "organisation", params(DashboardParameters),
    responses((status = 200, body = DashboardDocument)))]
pub async fn show(caller: Caller, Query(parameters): Query<DashboardParameters>) -> Result<Json<DashboardDocument>> {
    caller.needs(Resource::Settings, Action::Read)?;
    if !caller.grant.key.rows.is_empty() {
        let why = "The key sees some people only, and the dashboard counts everybody.";
        return Err(Problem::new(&MISSING_RIGHT, why));
    }
    let weeks = parameters.weeks.unwrap_or(USUAL_WEEKS);
    if !(1..=MOST_WEEKS).contains(&weeks) {
        return Err(Problem::new(&UNREADABLE, format!("`weeks` is between 1 and {MOST_WEEKS}.")));
    }
    let wait = wait_for(&caller, parameters.wait_for).await?;
    let on = parameters.on.map(day_of);
    let found = caller.engine.dashboard(caller.organisation.row.id, on, weeks, wait).await?;
    Ok(Json(shown(found, &caller)))
}

/// A dashboard as the caller sees it.
fn shown(mut found: Dashboard, caller: &Caller) -> DashboardDocument {
    if let Some(own) = caller.grant.key.feed {
        let name = caller.organisation.feed_name(own);
        found.feeds.retain(|of| of.feed == name);
        found.waiting.retain(|waiting| waiting.waits.feed_no == own);
    }
    let may_read = |resource| caller.grant.may(resource, Action::Read);
    let feeds = may_read(Resource::Feeds).then(|| found.feeds.into_iter().map(Into::into).collect());
    let decides = may_read(Resource::ChangeSets);
    let awaiting_second_approver = decides.then(|| awaiting_second(&found.waiting));
    let waiting = decides.then(|| found.waiting.into_iter().map(Into::into).collect());
    DashboardDocument {
        day: found.day,
        eligible: found.eligible,
        weeks: found.weeks.into_iter().map(Into::into).collect(),
        feeds,
        awaiting_second_approver,
        waiting,
        seq: found.seq,
    }
}
