//! Feed runs: each payload of a feed, what became of it and how soon, and what is to be noted about it.

use axum::Json;
use chrono::{DateTime, Utc};
use muster_domain::{
    access::{Action, Resource},
    fact::Counts,
};
use muster_engine::{
    access::Names,
    projections::runs::{Note, OverdueFeed, Run},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::find;
use crate::{
    api::{
        body::Query,
        caller::{About, Caller, Noted},
        members::wait_for,
        page,
    },
    problem::{ProblemDocument, Result},
};

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunsParameters {
    /// Only those of this feed.
    pub feed: Option<String>,
    /// At most so many, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Answer only once this event is reflected, for at most ten seconds.
    pub wait_for: Option<u64>,
}

/// A payload of a feed, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunDocument {
    /// The upload.
    pub upload_id: Uuid,
    /// The feed.
    pub feed: String,
    /// Its place in the order of arrival.
    pub arrival: u64,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// Who sent it.
    pub sent_by: String,
    /// What they are called now, if they used a key.
    pub sent_by_name: Option<String>,
    /// How it came.
    pub channel: String,
    /// What absence meant.
    pub mode: String,
    /// Its size.
    pub bytes: u64,
    /// What it has come to: `received` until it is worked on.
    pub state: String,
    /// Counts of its rows.
    #[schema(value_type = Object)]
    pub counts: Counts,
    /// Its change set, if it has one.
    pub change_set_id: Option<Uuid>,
    /// When it had been worked out.
    pub worked_out_at: Option<DateTime<Utc>>,
    /// When nothing of it was left to decide.
    pub decided_at: Option<DateTime<Utc>>,
    /// How many seconds that was after its arrival.
    pub decided_after: Option<f64>,
    /// What is to be noted about it: `identical` to the payload before it, of an `odd_size`, or that the feed `recovered`.
    #[schema(value_type = Vec<Object>)]
    pub notes: Vec<Note>,
}

impl RunDocument {
    fn of(run: Run, names: &Names) -> RunDocument {
        RunDocument {
            upload_id: run.upload.0,
            feed: run.feed,
            arrival: run.arrival,
            received_at: run.received_at,
            sent_by_name: names.known(&run.sent_by).map(str::to_owned),
            sent_by: run.sent_by,
            channel: run.channel.to_string(),
            mode: run.mode.word().to_owned(),
            bytes: run.size,
            state: run.outcome.word().to_owned(),
            counts: run.counts,
            change_set_id: run.change_set.map(|id| id.0),
            worked_out_at: run.worked_out_at,
            decided_at: run.decided_at,
            decided_after: run.decided_after,
            notes: run.notes,
        }
    }
}

/// A feed of which a payload has not come.
#[derive(Debug, Serialize, ToSchema)]
pub struct OverdueDocument {
    /// The feed.
    pub feed: String,
    /// The run of which the payload did not come.
    pub missed: DateTime<Utc>,
    /// When its grace was over.
    pub since: DateTime<Utc>,
}

impl From<OverdueFeed> for OverdueDocument {
    fn from(late: OverdueFeed) -> OverdueDocument {
        OverdueDocument { feed: late.feed, missed: late.overdue.missed, since: late.overdue.since }
    }
}

/// A page of runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunDocument>,
    /// The feeds of which a payload has not come.
    pub overdue: Vec<OverdueDocument>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
    /// The event up to which this reflects the log.
    pub seq: u64,
}

/// List the payloads of the feeds, newest first
///
/// For each: what became of it, how soon, and what is to be noted about it. A key that is bound to a feed sees that feed's alone.
#[utoipa::path(get, path = "/api/v1/feeds/runs", tag = "feeds", params(RunsParameters),
    responses((status = 200, body = RunPage), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn list(caller: Caller, noted: Noted, Query(parameters): Query<RunsParameters>) -> Result<Json<RunPage>> {
    caller.needs(Resource::Feeds, Action::Read)?;
    let feed = match &parameters.feed {
        Some(name) => Some(find(&caller, name)?.no),
        None => caller.grant.key.feed,
    };
    let before = page::number(parameters.cursor.as_deref())?;
    let limit = page::limit(parameters.limit)? as u32;
    let wait = wait_for(&caller, parameters.wait_for).await?;
    let org = caller.organisation.row.id;
    let found = caller.engine.feed_runs(org, feed, before, limit, wait).await?;
    if let Some(no) = feed {
        noted.keep(About::feed(caller.organisation.feed_name(no)));
    }
    let senders: Vec<&str> = found.runs.iter().map(|run| run.sent_by.as_str()).collect();
    let names = caller.engine.names(org, &senders).await?;
    Ok(Json(RunPage {
        runs: found.runs.into_iter().map(|run| RunDocument::of(run, &names)).collect(),
        overdue: found.overdue.into_iter().map(Into::into).collect(),
        next: found.before.map(|before| before.to_string()),
        seq: found.seq,
    }))
}
