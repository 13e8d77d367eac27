//! Handing over: one feed's claims, and what it last said, pass to another.

use axum::Json;
use muster_domain::access::{Action, Resource};
use muster_engine::Error;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::find;
use crate::{
    api::{
        body::{self, Path},
        caller::Caller,
    },
    problem::{CONFLICT, INVALID, Problem, ProblemDocument, Result},
};

/// To which feed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// The feed whose claims they are to be.
    pub to: String,
    /// Say what it would come to, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a handover came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct HandedOverDocument {
    /// The change set, which can be undone; none if there was nothing to hand over, or it was a dry run.
    pub change_set_id: Option<Uuid>,
    /// Claims that passed from the one feed to the other.
    pub claims: u64,
    /// Of these, those of people whom the other feed claimed already.
    pub claimed_by_both: u64,
    /// People of whom only what was last said passed: the feed names them, and they are not on the roster.
    pub named_only: u64,
    /// People of whom values change, because another feed is followed now.
    pub updated: u64,
    /// The roster version from now on.
    pub roster_version: u64,
    /// The organisation's last event when this was done: what reads can wait for.
    pub seq: u64,
}

/// Move all claims of a feed to another
///
/// What the first feed last said becomes what the second one last said, unless that has spoken of the person itself. Nobody comes
/// or goes by it; from then on it is the second feed's payloads that end these claims. It is done at once, as a change set by
/// hand. Only for keys without limits on people, fields or feeds.
#[utoipa::path(post, path = "/api/v1/feeds/{name}/handover", tag = "feeds", params(("name" = String, Path)), request_body = Handover,
    responses((status = 200, body = HandedOverDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn hand_over(
    caller: Caller,
    Path(name): Path<String>,
    body::Json(wanted): body::Json<Handover>,
) -> Result<Json<HandedOverDocument>> {
    caller.needs(Resource::Feeds, Action::Update)?;
    let from = find(&caller, &name)?;
    caller.is_for_everything(
        "The key is for some people, some fields or one feed only, and a handover is about all of two feeds.",
    )?;
    let invalid = |why: &str| Problem::new(&INVALID, why).at("/to", why);
    let to = caller.organisation.feeds.iter().find(|feed| feed.settings.name == wanted.to);
    let to = to.ok_or_else(|| invalid("There is no such feed in your organisation."))?;
    if to.no == from.no {
        return Err(invalid("A feed cannot hand its claims over to itself; name another one."));
    }
    let (from, to) = (&from.settings.name, &to.settings.name);
    let moved = match wanted.dry_run {
        true => caller.engine.try_hand_over(caller.slug(), from, to).await,
        false => caller.engine.hand_over(caller.slug(), from, to).await,
    };
    let moved = moved.map_err(|e| match e {
        Error::Wrong(why) => Problem::new(&CONFLICT, why),
        e => e.into(),
    })?;
    Ok(Json(HandedOverDocument {
        change_set_id: moved.change_set_id.map(|id| id.0),
        claims: moved.claims,
        claimed_by_both: moved.claimed_by_both,
        named_only: moved.named_only,
        updated: moved.updated,
        roster_version: moved.roster_version,
        seq: moved.seq,
    }))
}
