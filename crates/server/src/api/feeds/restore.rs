//! Bringing back what an earlier version of a feed's mapping said.

use axum::Json;
use muster_domain::access::{Action, Resource};
use muster_engine::Error;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{FeedDocument, document, find};
use crate::{
    api::{
        body::{self, Path},
        caller::Caller,
    },
    problem::{INVALID, Problem, ProblemDocument, Result},
};

/// Which version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// The version whose mapping is saved again; 0 goes back to names alone. `GET /feeds/{name}/known` lists those there are.
    pub version: u32,
}

/// Save an earlier version of a feed's mapping again
///
/// What it said becomes the next version; if the feed's mapping says that already, nothing is changed.
#[utoipa::path(post, path = "/api/v1/feeds/{name}/mapping/restore", tag = "feeds", params(("name" = String, Path)),
    request_body = Restored,
    responses((status = 200, body = FeedDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn restore(
    caller: Caller,
    Path(name): Path<String>,
    body::Json(wanted): body::Json<Restored>,
) -> Result<Json<FeedDocument>> {
    caller.needs(Resource::Feeds, Action::Update)?;
    let name = &find(&caller, &name)?.settings.name;
    let restored = caller.engine.restore_mapping(caller.slug(), name, wanted.version).await;
    let feed = restored.map_err(|e| match e {
        Error::Unknown(why) => Problem::new(&INVALID, "There is no such version.").at("/version", why),
        e => e.into(),
    })?;
    document(&feed, &caller).await.map(Json)
}
