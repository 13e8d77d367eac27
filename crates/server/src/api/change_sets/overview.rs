//! Change sets with counts of their changes by kind and by field, and when they were decided.

use std::collections::BTreeMap;

use axum::Json;
use chrono::{DateTime, Utc};
use muster_domain::{
    access::{Action, Resource},
    change::Kind,
    documents::ChangeSet,
    field::FieldSet,
    tally::FieldTally,
};
use muster_engine::{access::Names, lists::Which, projections::change_sets::Overview};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ChangeSetDocument, document};
use crate::{
    api::{body::Query, caller::Caller, members::wait_for, page},
    problem::{MISSING_RIGHT, Problem, Result},
};

/// Which change sets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OverviewParameters {
    /// Only those in this state.
    #[param(inline, schema_with = page::states)]
    pub state: Option<String>,
    /// At most so many, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Answer only once this event is reflected, for at most ten seconds.
    pub wait_for: Option<u64>,
}

/// How many changes touch the values of a field.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldCounts {
    /// One value for another.
    pub changed: u64,
    /// A value where there was none.
    pub filled: u64,
    /// No value where there was one.
    pub blanked: u64,
}

impl From<FieldTally> for FieldCounts {
    fn from(FieldTally { changed, filled, blanked }: FieldTally) -> FieldCounts {
        FieldCounts { changed, filled, blanked }
    }
}

/// A change set with counts of all its changes, decided or not.
#[derive(Debug, Serialize, ToSchema)]
pub struct OverviewDocument {
    /// The change set.
    #[serde(flatten)]
    pub change_set: ChangeSetDocument,
    /// How many changes are of each kind.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub kinds: BTreeMap<Kind, u64>,
    /// By field, of people already known; only of fields that the key sees.
    pub fields: BTreeMap<String, FieldCounts>,
    /// Changes of people who were forgotten: they are in no other count.
    pub erased: u64,
    /// When nothing of it was left to decide.
    pub decided_at: Option<DateTime<Utc>>,
    /// Whether a person had a part in that, and not just policy.
    pub reviewed: bool,
}

impl OverviewDocument {
    fn of(of: Overview, caller: &Caller, names: &Names, readable: Option<&FieldSet>) -> OverviewDocument {
        let fields = of.tally.fields.into_iter().filter(|(name, _)| caller.is_among(readable, name));
        OverviewDocument {
            change_set: document(&of.set, caller, names),
            kinds: of.tally.kinds,
            fields: fields.map(|(name, tally)| (name, tally.into())).collect(),
            erased: of.erased,
            decided_at: of.decided_at,
            reviewed: of.reviewed,
        }
    }
}

/// A page of change sets with counts, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct OverviewPage {
    /// The change sets.
    pub change_sets: Vec<OverviewDocument>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
    /// The event up to which this reflects the log.
    pub seq: u64,
}

/// List change sets with counts by kind and by field, newest first
///
/// What is listed may be a moment behind what was just decided: `wait_for` has it wait. A key that is bound to a feed sees that
/// feed's alone. Not for keys that see only some people, since the changes of everybody are counted.
#[utoipa::path(get, path = "/api/v1/change-sets/overview", tag = "change sets", params(OverviewParameters),
    responses((status = 200, body = OverviewPage)))]
pub async fn list(caller: Caller, Query(parameters): Query<OverviewParameters>) -> Result<Json<OverviewPage>> {
    caller.needs(Resource::ChangeSets, Action::Read)?;
    if !caller.grant.key.rows.is_empty() {
        let why = "The key sees some people only, and the changes of everybody are counted.";
        return Err(Problem::new(&MISSING_RIGHT, why));
    }
    let which = Which {
        state: page::state(parameters.state.as_deref())?,
        feed: caller.grant.key.feed,
        before: page::number(parameters.cursor.as_deref())?,
        limit: page::limit(parameters.limit)? as u32,
    };
    let wait = wait_for(&caller, parameters.wait_for).await?;
    let org = caller.organisation.row.id;
    let found = caller.engine.change_set_overviews(org, which, wait).await?;
    let deciders: Vec<&str> = found.sets.iter().map(|of| &of.set).flat_map(ChangeSet::deciders).collect();
    let names = caller.engine.names(org, &deciders).await?;
    let readable = caller.readable(Resource::ChangeSets);
    let shown = |of| OverviewDocument::of(of, &caller, &names, readable.as_ref());
    Ok(Json(OverviewPage {
        change_sets: found.sets.into_iter().map(shown).collect(),
        next: found.before.map(|before| before.to_string()),
        seq: found.seq,
    }))
}
