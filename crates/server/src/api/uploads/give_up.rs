//! Giving up an upload that waits to be worked on and cannot be: those behind it have their turn.

use axum::Json;
use muster_domain::access::{Action, Resource};
use muster_engine::Error;

use super::{UploadDocument, find, whole};
use crate::{
    api::{body::Path, caller::Caller},
    problem::{CONFLICT, MISSING_RIGHT, Problem, ProblemDocument, Result},
};

/// Take nothing from an upload that waits to be worked on
///
/// Uploads are worked on in order of arrival, so one whose payload is lost keeps all others waiting. It is `refused` from then on.
/// Only for keys that are for all people and fields: a payload may name anybody.
#[utoipa::path(post, path = "/api/v1/uploads/{id}/give-up", tag = "uploads", params(("id" = Uuid, Path)),
    responses((status = 200, body = UploadDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn give_up(caller: Caller, Path(id): Path<String>) -> Result<Json<UploadDocument>> {
    caller.needs(Resource::Uploads, Action::Delete)?;
    let id = find(&caller, &id).await?.received.upload;
    let limited = caller.readable(Resource::Uploads).or(caller.writable(Resource::Uploads));
    if !caller.grant.key.rows.is_empty() || limited.is_some() {
        let why = "The key is for some people or some fields only, and a payload may name anybody.";
        return Err(Problem::new(&MISSING_RIGHT, why));
    }
    let given_up = caller.engine.give_up(caller.slug(), &id.to_string()).await.map_err(|e| match e {
        Error::Wrong(why) => Problem::new(&CONFLICT, why),
        e => e.into(),
    })?;
    whole(&caller, &given_up).await.map(Json)
}
