//! Change sets: which there are, and what waits. What each change is, is in `changes`; what is decided, in `decide`, and
//! taken back, in `undo`. The rules are the engine's, the same as on the command line.

use axum::{
    Json, Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use muster_domain::{
    access::{Action, Resource},
    documents::ChangeSet,
    fact::{Counts, State},
    guard::{Figures, Hold},
    ids::ChangeSetId,
    selection::Selection,
};
use muster_engine::{
    Error,
    access::Names,
    review::{Approvals, FirstOfTwo},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema, openapi::Object};
use uuid::Uuid;

use super::{
    Api,
    body::{Path, Query},
    caller::{About, Caller, Noted},
    page::{self, ListParameters},
};
use crate::{
    openapi::said::words,
    problem::{NOT_FOUND, Problem, ProblemDocument, Result},
};

pub(crate) mod changes;
pub(crate) mod decide;
pub(crate) mod overview;
pub(crate) mod rejected;
pub(crate) mod undo;

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/change-sets", get(list))
        .route("/change-sets/rejected", get(rejected::list))
        .route("/change-sets/overview", get(overview::list))
        .route("/change-sets/undo", post(undo::several))
        .route("/change-sets/{id}", get(show))
        .route("/change-sets/{id}/changes", get(changes::changes))
        .route("/change-sets/{id}/approve", post(decide::approve))
        .route("/change-sets/{id}/reject", post(decide::reject))
        .route("/change-sets/{id}/undo", post(undo::undo))
}

/// A change set, without its changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeSetDocument {
    /// Identity.
    pub change_set_id: Uuid,
    /// The upload that it came from.
    pub upload_id: Uuid,
    /// What it has come to.
    pub state: String,
    /// Digest of what waits: what a decision must name as `If-Match`.
    pub digest: String,
    /// The feed that it speaks for.
    pub feed: String,
    /// How its upload came.
    pub channel: String,
    /// What absence meant.
    pub mode: String,
    /// When it was worked out.
    pub computed_at: DateTime<Utc>,
    /// How many changes it has.
    pub changes: u32,
    /// How many of them wait.
    pub waiting: u64,
    /// How many are on the roster.
    pub applied: u64,
    /// How many were rejected.
    pub rejected: u64,
    /// How many no longer held.
    pub dropped: u64,
    /// Counts of rows.
    #[schema(value_type = Object)]
    pub counts: Counts,
    /// Guards that tripped. To a key that sees only some people or fields `blanked_field` does not say which field it is.
    #[schema(value_type = Vec<Object>)]
    pub holds: Vec<Hold>,
    /// Whether one person approved it, and somebody else must approve the same before it is applied.
    pub awaits_second_approver: bool,
    /// The first of two approvals: of what waits, or of what was applied last.
    pub approvals: Vec<ApprovalDocument>,
    /// How many people approving all that waits makes ineligible today, and what `confirm_removals` must be then. Null in lists, and for
    /// keys that see only some people.
    pub removals: Option<u64>,
    /// How many of these are taken off the roster; the others have an excluded status by it, or a date that cuts them short. Null where
    /// `removals` is.
    pub taken_off: Option<u64>,
    /// What every guard measured; of values that become blank only of fields that the key sees, and nothing if it sees only some people.
    #[schema(value_type = Object)]
    pub figures: Figures,
    /// The roster version that it was compared with.
    pub roster_version: u64,
    /// The version of the settings that it was judged by.
    pub settings_version: u32,
    /// Change sets that it undoes.
    pub undoes: Vec<Uuid>,
    /// Who decided on it last; none if policy did.
    pub decided_by: Option<String>,
    /// What they are called now, if they used a key.
    pub decided_by_name: Option<String>,
}

/// The first of two approvals.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApprovalDocument {
    /// Who gave it.
    pub by: String,
    /// What they are called now, if they used a key.
    pub by_name: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// The digest that was approved.
    pub digest: String,
    /// How many changes.
    pub changes: u32,
    /// Which, by ordinal, as ranges with both ends.
    #[schema(value_type = Vec<Vec<u32>>)]
    pub selection: Selection,
    /// How many people these make ineligible.
    pub removals: u64,
    /// Fields that are left out.
    pub except_fields: Vec<String>,
    /// Whether the rest is rejected in the same breath.
    pub reject_rest: bool,
    /// Who approved the same after that, so that it was applied; none as long as somebody else is awaited.
    pub seconded_by: Option<String>,
    /// What they are called now, if they used a key.
    pub seconded_by_name: Option<String>,
}

impl From<FirstOfTwo> for ApprovalDocument {
    fn from(first: FirstOfTwo) -> ApprovalDocument {
        ApprovalDocument {
            by: first.by,
            by_name: first.by_name,
            at: first.at,
            digest: first.digest,
            changes: first.changes,
            selection: first.selection,
            removals: first.removals,
            except_fields: first.except_fields,
            reject_rest: first.reject_rest,
            seconded_by: first.seconded_by,
            seconded_by_name: first.seconded_by_name,
        }
    }
}

fn document(set: &ChangeSet, caller: &Caller, names: &Names) -> ChangeSetDocument {
    let mut figures = set.figures.clone();
    let readable = caller.readable(Resource::ChangeSets);
    figures
        .blanked
        .retain(|blanked| caller.grant.key.rows.is_empty() && caller.is_among(readable.as_ref(), &blanked.field));
    let Approvals { awaits_second_approver, approvals } = Approvals::of(set, names);
    ChangeSetDocument {
        change_set_id: set.id.0,
        upload_id: set.upload.0,
        state: set.state.word().to_owned(),
        digest: set.digest.clone(),
        feed: caller.organisation.feed_name(set.feed).to_owned(),
        channel: set.channel.to_string(),
        mode: set.mode.word().to_owned(),
        computed_at: set.computed_at,
        changes: set.changes,
        waiting: set.waiting().len().into(),
        applied: set.applied.len().into(),
        rejected: set.rejected.len().into(),
        dropped: set.dropped.len().into(),
        counts: set.counts,
        holds: caller.holds(Resource::ChangeSets, set.holds.clone()),
        awaits_second_approver,
        approvals: approvals.into_iter().map(Into::into).collect(),
        removals: None,
        taken_off: None,
        figures,
        roster_version: set.roster_version,
        settings_version: set.policy_version,
        undoes: set.undoes.iter().map(|id| id.0).collect(),
        decided_by: set.decided_by.clone(),
        decided_by_name: set.decided_by.as_deref().and_then(|by| names.known(by)).map(str::to_owned),
    }
}

/// Which change sets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangeSetParameters {
    /// Only those in this state.
    #[param(inline, schema_with = page::states)]
    pub state: Option<String>,
    /// Only those that one person approved and somebody else must approve too: `second_approver`.
    #[param(inline, schema_with = awaits)]
    pub awaits: Option<Awaits>,
    /// At most so many, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// What a change set waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaits {
    /// That somebody else approves what one person approved.
    SecondApprover,
}

fn awaits() -> Object {
    words("Only those that one person approved and somebody else must approve too.", ["second_approver"])
}

/// A page of change sets, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeSetPage {
    /// The change sets.
    pub change_sets: Vec<ChangeSetDocument>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// List change sets, newest first
#[utoipa::path(get, path = "/api/v1/change-sets", tag = "change sets", params(ChangeSetParameters),
    responses((status = 200, body = ChangeSetPage)))]
pub async fn list(caller: Caller, Query(parameters): Query<ChangeSetParameters>) -> Result<Json<ChangeSetPage>> {
    caller.needs(Resource::ChangeSets, Action::Read)?;
    let ChangeSetParameters { state, awaits, limit, cursor } = parameters;
    let which = ListParameters { state, limit, cursor }.which(&caller)?;
    let mut sets = match awaits {
        Some(Awaits::SecondApprover) => caller.engine.awaiting_second(&caller.organisation, which).await?,
        None => caller.engine.change_sets(&caller.organisation, which).await?,
    };
    let next = page::cut(&mut sets, which, |set| set.created_seq);
    let deciders: Vec<&str> = sets.iter().flat_map(ChangeSet::deciders).collect();
    let names = caller.engine.names(caller.organisation.row.id, &deciders).await?;
    Ok(Json(ChangeSetPage { change_sets: sets.iter().map(|set| document(set, &caller, &names)).collect(), next }))
}

/// A key that is bound to a feed sees that feed's change sets alone.
fn sees(caller: &Caller, set: &ChangeSet) -> bool {
    caller.grant.key.feed.is_none_or(|feed| feed == set.feed)
}

/// The change set of an identity, as it stands on the roster of now.
async fn find(caller: &Caller, id: &str) -> Result<ChangeSet> {
    let nothing = || Problem::new(&NOT_FOUND, "There is no such change set in your organisation.");
    let id = ChangeSetId(id.parse::<Uuid>().map_err(|_| nothing())?);
    let found = caller.engine.change_set(&caller.organisation, id).await;
    let set = found.map_err(|e| if matches!(e, Error::Unknown(_)) { nothing() } else { e.into() })?;
    if !sees(caller, &set) {
        return Err(nothing());
    }
    if !waits(&set) {
        return Ok(set);
    }
    Ok(caller.engine.look(&caller.organisation, Some(&id.to_string())).await?)
}

fn waits(set: &ChangeSet) -> bool {
    matches!(set.state, State::Held | State::PartlyApplied)
}

/// Show a change set
///
/// Its `ETag` is its digest, which a decision must name.
#[utoipa::path(get, path = "/api/v1/change-sets/{id}", tag = "change sets", params(("id" = Uuid, Path)),
    responses((status = 200, body = ChangeSetDocument), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn show(caller: Caller, noted: Noted, Path(id): Path<String>) -> Result<Response> {
    caller.needs(Resource::ChangeSets, Action::Read)?;
    let set = find(&caller, &id).await?;
    noted.keep(About::change_set(set.id));
    let names = caller.engine.names(caller.organisation.row.id, &set.deciders()).await?;
    // It counts everybody, and whoever sees only some people decides on nothing.
    let losing = match caller.grant.key.rows.is_empty() {
        true => Some(caller.engine.would_lose(&caller.organisation, &set).await?),
        false => None,
    };
    let document = ChangeSetDocument {
        removals: losing.map(|losing| losing.removals),
        taken_off: losing.map(|losing| losing.taken_off),
        ..document(&set, &caller, &names)
    };
    let mut response = Json(document).into_response();
    if let Ok(value) = HeaderValue::try_from(format!("\"{}\"", set.digest)) {
        response.headers_mut().insert(header::ETAG, value);
    }
    Ok(response)
}
