//! Forgetting: one person's data erased from roster, log and originals, as `muster forget` does.

use axum::{
    Json,
    extract::{FromRequest as _, Request},
};
use muster_domain::access::{Action, Resource};
use muster_engine::{
    forget::{ForgetReport, ForgetRequest, Outcome, Standing},
    members::Whom,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Caller, Path, seen_by_id};
use crate::{
    api::body,
    problem::{INVALID, NOT_FOUND, Problem, ProblemDocument, Result},
};

/// Why a key with limits forgets nobody.
const ALL_OF_IT: &str = "The key is for some people, some fields or one feed only, and forgetting reaches into every feed, change \
    set and original.";

/// What is asked for of a member.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Forgetting {
    /// Why, for the log; it must not say who.
    pub reason: Option<String>,
    /// The member's match key, so that nobody is forgotten by accident. A dry run needs none.
    pub confirm: Option<String>,
    /// Show what would go, and change nothing.
    pub dry_run: bool,
}

/// What is asked for of somebody who need not be a member.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgettingAnybody {
    /// By what the person is known: match key, an old one, e-mail or employee id.
    pub person: String,
    /// Why, for the log; it must not say who.
    pub reason: Option<String>,
    /// The same as `person` again, so that nobody is forgotten by accident. A dry run needs none.
    pub confirm: Option<String>,
    /// Show what would go, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Who may come back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lifting {
    /// By what the person was known: match key, an old one, e-mail or employee id.
    pub person: String,
    /// Why, for the log; it must not say who.
    pub reason: Option<String>,
}

/// What forgetting came to. It does not say who.
#[derive(Debug, Serialize, ToSchema)]
pub struct ForgottenDocument {
    /// What became of it: `forgotten`, `already_forgotten` or `dry_run`.
    #[schema(value_type = String)]
    pub state: Outcome,
    /// What the person was: `listed`, `former`, `declined` or `never_listed`.
    #[schema(value_type = String)]
    pub was: Standing,
    /// Rows of members erased: more than one where members had been linked.
    pub members: u64,
    /// Events that lost lines.
    pub events: u64,
    /// How many lines those were.
    pub lines: u64,
    /// Change sets that waited and proposed something for the person.
    pub change_sets: u64,
    /// Originals destroyed.
    pub originals: u64,
    /// How many of them because they could not be looked into.
    pub unreadable: u64,
    /// Identifiers by which nobody new is taken from a payload any more.
    pub blocked: u64,
    /// Whether the database has been swept of traces. If not, somebody else was in it all the while: forget the person again.
    pub swept: bool,
    /// The roster version now.
    pub roster_version: u64,
    /// The organisation's last event: what reads can wait for.
    pub seq: u64,
}

impl From<ForgetReport> for ForgottenDocument {
    fn from(report: ForgetReport) -> Self {
        ForgottenDocument {
            state: report.state,
            was: report.was,
            members: report.members,
            events: report.events,
            lines: report.lines,
            change_sets: report.change_sets,
            originals: report.originals,
            unreadable: report.unreadable,
            blocked: report.blocked,
            swept: report.swept,
            roster_version: report.roster_version,
            seq: report.seq,
        }
    }
}

/// What lifting a block came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiftedDocument {
    /// `lifted`.
    #[schema(value_type = String)]
    pub state: Outcome,
    /// How many identifiers are blocked no more.
    pub lifted: u64,
    /// The roster version now.
    pub roster_version: u64,
    /// The organisation's last event: what reads can wait for.
    pub seq: u64,
}

/// Forget a member
///
/// Erases the person's data from roster, log and payload originals; it cannot be undone, so `confirm` must be the member's match
/// key. With `dry_run` it shows what would go. The next payload that names the person does not bring them back.
#[utoipa::path(post, path = "/api/v1/members/{id}/forget", tag = "members", params(("id" = Uuid, Path)),
    request_body = Forgetting,
    responses((status = 200, body = ForgottenDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn one(caller: Caller, Path(id): Path<String>, request: Request) -> Result<Json<ForgottenDocument>> {
    may_forget(&caller)?;
    let member = seen_by_id(&caller, &id).await?;
    let body::Json(asked) = body::Json::<Forgetting>::from_request(request, &()).await?;
    if !asked.dry_run {
        confirmed(
            asked.confirm.as_deref(),
            &member.key,
            "Say the member's match key, as it is, to forget the person.",
        )?;
    }
    forget(&caller, Whom::Id(member.uuid), asked.reason, asked.dry_run).await
}

/// Forget a person by what they are known by
///
/// Somebody who was never taken on, but is named in change sets or originals; or a member again, to have erased what came since,
/// or where the database could not be swept. Otherwise as of a member.
#[utoipa::path(post, path = "/api/v1/members/forget", tag = "members", request_body = ForgettingAnybody,
    responses((status = 200, body = ForgottenDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn anybody(caller: Caller, request: Request) -> Result<Json<ForgottenDocument>> {
    may_forget(&caller)?;
    let body::Json(asked) = body::Json::<ForgettingAnybody>::from_request(request, &()).await?;
    not_blank(&asked.person)?;
    if !asked.dry_run {
        confirmed(asked.confirm.as_deref(), &asked.person, "Say the same as `person` again, to forget the person.")?;
    }
    forget(&caller, Whom::Known(asked.person), asked.reason, asked.dry_run).await
}

/// Let somebody who was forgotten come back
///
/// With the next payload that names the person, or by hand, as somebody new.
#[utoipa::path(post, path = "/api/v1/members/forget/lift", tag = "members", request_body = Lifting,
    responses((status = 200, body = LiftedDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn lift(caller: Caller, request: Request) -> Result<Json<LiftedDocument>> {
    may_forget(&caller)?;
    let body::Json(asked) = body::Json::<Lifting>::from_request(request, &()).await?;
    not_blank(&asked.person)?;
    let lifted = caller.engine.lift_forgetting(caller.slug(), &asked.person, asked.reason.as_deref()).await;
    let lifted = lifted.map_err(named)?;
    let head = caller.engine.store.head(caller.organisation.row.id).await?;
    let (roster_version, seq) = (head.roster_version, head.last_seq);
    Ok(Json(LiftedDocument { state: Outcome::Lifted, lifted, roster_version, seq }))
}

/// The right to delete members is an administrator's alone, so this is done on behalf of one.
fn may_forget(caller: &Caller) -> Result<()> {
    caller.needs(Resource::Members, Action::Delete)?;
    caller.is_for_everything(ALL_OF_IT)
}

fn confirmed(said: Option<&str>, wanted: &str, why: &str) -> Result<()> {
    match said {
        Some(said) if said.trim() == wanted.trim() => Ok(()),
        _ => {
            let what = "Nothing was forgotten: it cannot be undone, and nobody confirmed who is meant.";
            Err(Problem::new(&INVALID, what).at("/confirm", why))
        }
    }
}

fn not_blank(person: &str) -> Result<()> {
    if !person.trim().is_empty() {
        return Ok(());
    }
    let why = "Say by what the person is known.";
    Err(Problem::new(&INVALID, why).at("/person", why))
}

async fn forget(caller: &Caller, whom: Whom, reason: Option<String>, dry_run: bool) -> Result<Json<ForgottenDocument>> {
    let request = ForgetRequest { key: whom, reason, dry_run };
    let report = caller.engine.forget(caller.slug(), &request).await.map_err(named)?;
    Ok(Json(report.into()))
}

/// What the engine says of a person whom it does not know quotes by what they were named.
fn named(error: muster_engine::Error) -> Problem {
    match error {
        muster_engine::Error::Unknown(_) => {
            Problem::new(&NOT_FOUND, "Nobody is known by that, now or formerly, or nobody of that name was forgotten.")
        }
        e => e.into(),
    }
}
