//! Deciding on a change set: approving and rejecting. Whoever decides names the digest of what they saw.

use axum::{
    Json,
    extract::Request,
    http::{HeaderMap, StatusCode},
};
use muster_domain::{
    access::{Action, Resource},
    documents::ChangeSet,
    fact::Counts,
};
use muster_engine::{
    Error,
    report::Report,
    review::{Approval, Choice, Since},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    ApprovalDocument,
    changes::{kind_of, many_kinds},
    find, waits,
};
use crate::{
    api::{
        body::{self, Path, if_match},
        caller::Caller,
    },
    problem::{
        CONFLICT, INVALID, MISSING_RIGHT, PRECONDITION, Problem, ProblemDocument, Result, SECOND_APPROVER, STALE,
    },
};

/// What is decided.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Decision {
    /// Only people with these match keys.
    pub only: Vec<String>,
    /// Not people with these match keys.
    pub except: Vec<String>,
    /// Only changes of these kinds.
    #[schema(schema_with = many_kinds)]
    pub kinds: Vec<String>,
    /// Not these fields.
    pub except_fields: Vec<String>,
    /// Reject in the same breath whatever is not approved. Of `approve` alone.
    pub reject_rest: bool,
    /// How many people it makes ineligible (removed, an excluded status, a date), where the guard on removals tripped: `removals` of the
    /// change set, if all that waits is approved. Of `approve` alone.
    pub confirm_removals: Option<u64>,
    /// Why.
    pub comment: Option<String>,
}

impl Decision {
    fn choice(&self) -> Result<Choice> {
        Ok(Choice {
            only: self.only.clone(),
            except: self.except.clone(),
            kinds: self.kinds.iter().map(|word| kind_of(word)).collect::<Result<_>>()?,
            except_fields: self.except_fields.clone(),
        })
    }
}

/// What was decided, and what the change set is now: the same words as on the command line.
#[derive(Debug, Serialize, ToSchema)]
pub struct Decided {
    /// The change set.
    pub change_set_id: Option<Uuid>,
    /// What it has come to.
    pub state: String,
    /// Digest of what still waits, or of what was decided.
    pub digest: Option<String>,
    /// Counts of rows.
    #[schema(value_type = Object)]
    pub counts: Counts,
    /// Whether the approval was the first of two, and somebody else must approve the same before it is applied.
    pub awaits_second_approver: bool,
    /// The first of two approvals: of what waits, or of what was applied last.
    pub approvals: Vec<ApprovalDocument>,
    /// The roster version now.
    pub roster_version: u64,
    /// The organisation's last event: what reads can wait for.
    pub seq: u64,
}

pub(super) fn decided(report: Report) -> Decided {
    Decided {
        change_set_id: report.change_set_id.map(|id| id.0),
        state: report.state.word().to_owned(),
        digest: report.digest,
        counts: report.counts,
        awaits_second_approver: report.approvals.awaits_second_approver,
        approvals: report.approvals.approvals.into_iter().map(Into::into).collect(),
        roster_version: report.roster_version,
        seq: report.seq,
    }
}

/// Refuses whoever may not decide on all that a change set may hold.
pub(super) fn may_decide(caller: &Caller) -> Result<()> {
    caller.needs(Resource::ChangeSets, Action::Approve)?;
    let limited = caller.readable(Resource::ChangeSets).or(caller.writable(Resource::ChangeSets));
    if !caller.grant.key.rows.is_empty() || limited.is_some() {
        let why =
            "The key is for some people or some fields only, so it cannot decide on all that a change set may hold.";
        return Err(Problem::new(&MISSING_RIGHT, why));
    }
    Ok(())
}

/// The digest that was seen, and the right to decide.
pub(super) async fn deciding(caller: &Caller, id: &str, headers: &HeaderMap) -> Result<(ChangeSet, String)> {
    may_decide(caller)?;
    let set = find(caller, id).await?;
    let seen = if_match(headers).ok_or_else(|| {
        Problem::new(&PRECONDITION, "Send the digest of what was seen as If-Match; it is the ETag of the change set.")
    })?;
    match &seen[..] {
        [one] if *one == set.digest => Ok((set, one.clone())),
        tags => Err(stale(caller, &set, tags.first().map_or("", String::as_str)).await?),
    }
}

/// What has become of a change set since it had the digest that was seen.
async fn stale(caller: &Caller, set: &ChangeSet, seen: &str) -> Result<Problem> {
    let since = caller.engine.since(&caller.organisation, set, seen).await?;
    let waiting = u64::from(set.waiting().len());
    let why = format!(
        "Nothing was decided: If-Match is not the digest that the change set has now. {} {waiting} of {} changes wait, with the \
         digest {}.",
        Since::sentence(&since),
        set.changes,
        set.digest
    );
    let problem = Problem::new(&STALE, why).with("digest", set.digest.clone()).with("waiting", waiting);
    Ok(problem.with("since", json!(since)))
}

/// What the engine says of a decision that makes no sense as things stand.
async fn not_now(caller: &Caller, error: Error, set: &ChangeSet, seen: &str) -> Problem {
    match error {
        // Somebody was quicker.
        Error::Stale(_) => {
            let told = async { stale(caller, &find(caller, &set.id.to_string()).await?, seen).await };
            told.await.unwrap_or_else(|problem| problem)
        }
        Error::Wrong(why) => match find(caller, &set.id.to_string()).await {
            Ok(now) if !waits(&now) => Problem::new(&CONFLICT, why),
            _ => Error::Wrong(why).into(),
        },
        Error::Forbidden(why) => Problem::new(&SECOND_APPROVER, why),
        e => e.into(),
    }
}

/// Approve a change set, or part of it
///
/// `If-Match` names the digest of what was seen. What is not meant goes on waiting. If the guard on removals tripped, the number
/// of people whom it makes ineligible must be confirmed. Where the organisation asks for a second approver, the first approval is
/// recorded (202) and applies nothing; somebody else's of the same digest and the same choice applies it.
#[utoipa::path(post, path = "/api/v1/change-sets/{id}/approve", tag = "change sets",
    params(("id" = Uuid, Path), ("If-Match" = String, Header)), request_body = Decision,
    responses((status = 200, body = Decided), (status = 202, body = Decided),
        (status = 403, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 428, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn approve(
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<(StatusCode, Json<Decided>)> {
    let (set, digest) = deciding(&caller, &id, &headers).await?;
    let decision: Decision = body::optional(request).await?;
    let approval = Approval {
        choice: decision.choice()?,
        reject_rest: decision.reject_rest,
        digest: Some(digest.clone()),
        confirm_removals: decision.confirm_removals,
        comment: decision.comment.clone(),
    };
    let report = caller.engine.approve(caller.slug(), Some(&set.id.to_string()), approval).await;
    let decided = match report {
        Ok(report) => decided(report),
        Err(e) => return Err(not_now(&caller, e, &set, &digest).await),
    };
    let status = if decided.awaits_second_approver { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(decided)))
}

/// Reject a change set, or part of it
///
/// Rejected as a whole, the payload counts as wrong and nothing is remembered; rejected in part, the same change is not proposed
/// again until its value changes.
#[utoipa::path(post, path = "/api/v1/change-sets/{id}/reject", tag = "change sets",
    params(("id" = Uuid, Path), ("If-Match" = String, Header)), request_body = Decision,
    responses((status = 200, body = Decided),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 428, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn reject(
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Decided>> {
    let (set, digest) = deciding(&caller, &id, &headers).await?;
    let decision: Decision = body::optional(request).await?;
    if decision.reject_rest || decision.confirm_removals.is_some() {
        return Err(Problem::new(&INVALID, "`reject_rest` and `confirm_removals` are of approvals."));
    }
    let id = set.id.to_string();
    let choice = decision.choice()?;
    let report = caller.engine.reject_seen(caller.slug(), Some(&id), choice, decision.comment, Some(&digest)).await;
    match report {
        Ok(report) => Ok(Json(decided(report))),
        Err(e) => Err(not_now(&caller, e, &set, &digest).await),
    }
}
