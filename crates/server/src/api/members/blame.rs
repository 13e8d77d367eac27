//! For every value of a member, what set it.

use axum::Json;
use muster_domain::access::{Action, Resource};
use muster_engine::history::HistoryEntry;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{About, Caller, Noted, Path, Query, When, history, seen_by_id, wait_for};
use crate::problem::{NOT_FOUND, Problem, ProblemDocument, Result};

/// What is known of a member, and where each part of it came from.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlameDocument {
    /// Identity.
    pub id: Uuid,
    /// The match key; none if the key does not see it.
    pub unique_id: Option<String>,
    /// Whether they are on the roster.
    pub listed: bool,
    /// The last coming or going.
    #[schema(value_type = Option<Object>)]
    pub since: Option<HistoryEntry>,
    /// The match key, as `unique_id`, and every field that ever had a value, each with what set it last.
    #[schema(value_type = Vec<Object>)]
    pub fields: Vec<HistoryEntry>,
    /// The event up to which this reflects the log.
    pub seq: u64,
}

/// Tell for every value of a member what set it
///
/// The last entry of the history for each field: the event, its upload, the line of the file, and who applied it. A field that
/// was cleared is told too.
#[utoipa::path(get, path = "/api/v1/members/{id}/blame", tag = "members", params(("id" = Uuid, Path), When),
    responses((status = 200, body = BlameDocument), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn show(
    caller: Caller,
    noted: Noted,
    Path(id): Path<String>,
    Query(when): Query<When>,
) -> Result<Json<BlameDocument>> {
    caller.needs(Resource::Members, Action::Read)?;
    let member = seen_by_id(&caller, &id).await?;
    noted.keep(About { member: Some(member.uuid), ..About::default() });
    let wait = wait_for(&caller, when.wait_for).await?;
    let told = caller.engine.history_of(&caller.organisation, &member, when.at(), wait).await?;
    // Of another time, whoever sees only some people sees those who are among them both then and now.
    let then = told.blame(&caller.organisation).filter(|(then, _)| caller.sees(then));
    let (_, blame) = then.ok_or_else(|| Problem::new(&NOT_FOUND, "That member was not known then."))?;
    let fields = history::shown(blame.fields, &caller);
    Ok(Json(BlameDocument {
        id: blame.member,
        unique_id: super::write::sees_keys(&caller).then_some(blame.key),
        listed: blame.listed,
        since: history::shown(blame.since.into_iter().collect(), &caller).pop(),
        fields,
        seq: blame.seq,
    }))
}
