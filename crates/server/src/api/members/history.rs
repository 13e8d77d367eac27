//! What was ever said of a member, and by whom.

use axum::Json;
use muster_domain::access::{Action, Resource};
use muster_engine::history::HistoryEntry;
use serde::Serialize;
use utoipa::ToSchema;

use super::{About, Caller, Noted, Path, Query, When, seen_by_id, wait_for};
use crate::problem::{ProblemDocument, Result};

/// A member's history, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryDocument {
    /// Every value that was set, and every coming and going.
    #[schema(value_type = Vec<Object>)]
    pub entries: Vec<HistoryEntry>,
    /// The event up to which this reflects the log.
    pub seq: u64,
}

/// Tell what was ever said of a member
///
/// Each value with its upload, the line of the file, and who applied it.
#[utoipa::path(get, path = "/api/v1/members/{id}/history", tag = "members", params(("id" = Uuid, Path), When),
    responses((status = 200, body = HistoryDocument), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn show(
    caller: Caller,
    noted: Noted,
    Path(id): Path<String>,
    Query(when): Query<When>,
) -> Result<Json<HistoryDocument>> {
    caller.needs(Resource::Members, Action::Read)?;
    let member = seen_by_id(&caller, &id).await?;
    noted.keep(About { member: Some(member.uuid), ..About::default() });
    let wait = wait_for(&caller, when.wait_for).await?;
    let history = caller.engine.history_of(&caller.organisation, &member, when.at(), wait).await?;
    Ok(Json(HistoryDocument { entries: shown(history.entries, &caller), seq: history.seq }))
}

/// Entries as the caller sees them.
pub fn shown(mut entries: Vec<HistoryEntry>, caller: &Caller) -> Vec<HistoryEntry> {
    let readable = caller.readable(Resource::Members);
    entries.retain(|entry| match (&readable, &entry.field) {
        (Some(fields), Some(name)) => caller.field(name).is_some_and(|f| fields.contains(f)),
        _ => true,
    });
    if readable.is_some() || !caller.grant.key.rows.is_empty() {
        // The name of a file may name anybody.
        entries.iter_mut().for_each(|entry| entry.file = None);
    }
    entries
}
