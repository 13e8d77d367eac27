//! Taking back what change sets did: one, or several, newest first. Whoever asks names what they saw; of what is not named one by
//! one, a trial tells what would be undone, and its digest is named.

use axum::{
    Json,
    extract::{FromRequest, Request},
    http::HeaderMap,
};
use chrono::{DateTime, Utc};
use muster_domain::{
    access::{Action, Resource},
    documents::ChangeSet,
    guard::Hold,
    ids::ChangeSetId,
    member::Member,
};
use muster_engine::{
    Error,
    members::{By, Whom},
    undo::{Kept, Meant, Seen, UndoRequest, Undone, UndoneOne},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    decide::{Decided, decided, deciding, may_decide},
    find,
};
use crate::{
    api::{
        body::{self, Path, if_match},
        caller::{About, Caller, Noted},
        members::seen,
    },
    problem::{CONFLICT, INVALID, PRECONDITION, Problem, ProblemDocument, Result, STALE},
};

/// So many change sets are undone by one request: all of it is one piece of work, and for each the log is read.
const MOST: usize = 100;

/// How something is undone.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UndoDecision {
    /// Show it, change nothing.
    pub dry_run: bool,
    /// Apply it whatever the organisation's policy.
    pub apply: bool,
    /// Hold it for review whatever the organisation's policy.
    pub hold: bool,
}

/// Something that changed since and was kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeptDocument {
    /// The match key.
    pub unique_id: String,
    /// What: a field, `key` or `claims`.
    pub what: String,
    /// Which change set did what was not taken back.
    pub change_set_id: Uuid,
}

/// What the undo of one change set came to: it is a change set itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct UndoReport {
    /// The change set that was undone.
    pub undoes: Uuid,
    /// What that came to.
    #[serde(flatten)]
    pub decided: Decided,
    /// Guards that tripped, or in a trial would.
    #[schema(value_type = Vec<Object>)]
    pub holds: Vec<Hold>,
    /// Whether it waits for review, or in a trial would.
    pub would_hold: bool,
}

/// What an undo came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct UndoneDocument {
    /// What all of it came to: where one waits for review, that; where it stopped behind others, `partly_applied`.
    pub state: String,
    /// A report for each change set that was undone, newest first.
    pub reports: Vec<UndoReport>,
    /// What changed since and was kept.
    pub kept: Vec<KeptDocument>,
    /// Change sets that were meant and are not undone, newest first: the undo of a newer one waits for review, or in a trial would, or
    /// the first of these failed.
    pub not_undone: Vec<Uuid>,
    /// Why the first of these failed, in a sentence, where newer ones were undone before: those stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Digest of which change sets were meant, as they are: what an undo that does not name each must send as `If-Match`.
    pub digest: String,
    /// The roster version now.
    pub roster_version: u64,
    /// The organisation's last event: what reads can wait for.
    pub seq: u64,
}

fn document(undone: Undone) -> UndoneDocument {
    let state = undone.state().word().to_owned();
    let last = undone.reports.last().map(|one| (one.roster_version, one.seq));
    let (roster_version, seq) = last.unwrap_or_default();
    let report = |UndoneOne { undoes, mut report, would_hold }: UndoneOne| {
        let holds = std::mem::take(&mut report.holds);
        UndoReport { undoes: undoes.0, decided: decided(report), holds, would_hold }
    };
    let kept = |k: Kept| KeptDocument { unique_id: k.key, what: k.what, change_set_id: k.change_set.0 };
    UndoneDocument {
        state,
        reports: undone.reports.into_iter().map(report).collect(),
        kept: undone.kept.into_iter().map(kept).collect(),
        not_undone: undone.not_undone.into_iter().map(|id| id.0).collect(),
        stopped: undone.stopped.map(|why| not_now(why).why_it_stopped()),
        digest: undone.digest,
        roster_version,
        seq,
    }
}

/// What the engine says where there is nothing to undo as things stand.
fn not_now(error: Error) -> Problem {
    match error {
        Error::Wrong(why) => Problem::new(&CONFLICT, why),
        e => e.into(),
    }
}

async fn run(caller: &Caller, request: UndoRequest) -> Result<Json<UndoneDocument>> {
    caller.engine.undo(caller.slug(), request).await.map(|undone| Json(document(undone))).map_err(not_now)
}

/// Take back what a change set did
///
/// An undo is a change set itself: policy and guards look at it like at any other. What changed since is kept and listed.
#[utoipa::path(post, path = "/api/v1/change-sets/{id}/undo", tag = "change sets",
    params(("id" = Uuid, Path), ("If-Match" = String, Header)), request_body = UndoDecision,
    responses((status = 200, body = UndoneDocument),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 428, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn undo(
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<UndoneDocument>> {
    let (set, digest) = deciding(&caller, &id, &headers).await?;
    let decision: UndoDecision = body::optional(request).await?;
    let request = UndoRequest {
        ids: vec![set.id.to_string()],
        dry_run: decision.dry_run,
        asked: body::asked(decision.apply, decision.hold)?,
        seen: Seen::Each(vec![(set.id, digest)]),
        ..UndoRequest::default()
    };
    run(&caller, request).await
}

/// A change set as it was seen.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeenChangeSet {
    /// Which.
    pub change_set_id: Uuid,
    /// Its digest: its `ETag`, without the quotation marks.
    pub digest: String,
}

/// Which change sets are undone, and how: those that are named, or all since a time; of everybody, or of one person. At least one of
/// these is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoSeveral {
    /// These, each as it was seen.
    #[schema(min_items = 1, max_items = 100)]
    pub change_sets: Option<Vec<SeenChangeSet>>,
    /// All of which something was applied since then, but for undos. Not with `change_sets`.
    pub since: Option<DateTime<Utc>>,
    /// Only what was done to the person with this match key, of now or before.
    pub unique_id: Option<String>,
    /// Only what was done to the person of this identity. Not with `unique_id`.
    pub member: Option<Uuid>,
    /// Show it, change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Apply it whatever the organisation's policy.
    #[serde(default)]
    pub apply: bool,
    /// Hold it for review whatever the organisation's policy.
    #[serde(default)]
    pub hold: bool,
}

impl UndoSeveral {
    /// What makes no sense whatever there is.
    fn check(&self) -> Result<()> {
        let invalid = |pointer: &str, why: String| Err(Problem::new(&INVALID, why.as_str()).at(pointer, why));
        let named = self.change_sets.as_ref().map(Vec::len);
        match (named, self.since) {
            (Some(_), Some(_)) => return invalid("/since", "Give `change_sets` or `since`, and not both.".to_owned()),
            (Some(n), None) if n == 0 || n > MOST => {
                return invalid("/change_sets", format!("Name from 1 to {MOST} change sets."));
            }
            _ => {}
        }
        match (&self.unique_id, self.member) {
            (Some(_), Some(_)) => invalid("/member", "Give `unique_id` or `member`, and not both.".to_owned()),
            (None, None) if named.is_none() && self.since.is_none() => {
                invalid("", "Say what is undone: give `change_sets`, `since`, `unique_id` or `member`.".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The only person of whom something is undone, if it is only one.
    async fn person(&self, caller: &Caller) -> Result<Option<Member>> {
        let by = match (&self.unique_id, self.member) {
            (Some(key), _) => By::Key(key),
            (None, Some(id)) => By::Id(id),
            (None, None) => return Ok(None),
        };
        caller.needs(Resource::Members, Action::Read)?;
        caller.shows_everybody("The key sees some people or fields only, so it cannot look for the person to undo.")?;
        seen(caller, by).await.map(Some)
    }

    /// The change sets that are named, each of which must be as it was seen.
    async fn named(&self, caller: &Caller) -> Result<Vec<(ChangeSetId, String)>> {
        let (mut seen, mut others) = (Vec::new(), Vec::new());
        for named in self.change_sets.iter().flatten() {
            let set = find(caller, &named.change_set_id.to_string()).await?;
            if set.digest != named.digest {
                others.push(as_it_is(&set));
            }
            seen.push((set.id, set.digest));
        }
        if others.is_empty() {
            return Ok(seen);
        }
        let why = "Nothing was undone: `change_sets` has those that are not what was seen any more, as they are now.";
        Err(Problem::new(&STALE, why).with("change_sets", others))
    }
}

fn as_it_is(set: &ChangeSet) -> Value {
    json!({ "change_set_id": set.id, "digest": set.digest })
}

/// Take back what several change sets did
///
/// Newest first, each by a change set of its own, at which policy and guards look like at any other; what changed since is kept and
/// listed. Guards and the second approver go by all of them together. Behind the first that waits for review nothing more is undone:
/// `not_undone` has the others, and a trial says so beforehand (`would_hold`). If one fails behind others, `stopped` says why, and
/// what was undone before stands. Change sets that are named are named with their digests. Of all others a trial (`dry_run`) tells
/// which they are: its `digest` must come back as `If-Match`, so that nothing is undone that nobody saw. It needs `change_set:read`
/// too and, to name a person, `member:read`. At most 100 are undone at a time.
#[utoipa::path(post, path = "/api/v1/change-sets/undo", tag = "change sets",
    params(("If-Match" = Option<String>, Header)), request_body = UndoSeveral,
    responses((status = 200, body = UndoneDocument),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 428, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn several(
    caller: Caller,
    noted: Noted,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<UndoneDocument>> {
    may_decide(&caller)?;
    // It is told which change sets there are.
    caller.needs(Resource::ChangeSets, Action::Read)?;
    let body::Json(several) = body::Json::<UndoSeveral>::from_request(request, &()).await?;
    several.check()?;
    let asked = body::asked(several.apply, several.hold)?;
    let person = several.person(&caller).await?;
    if let Some(person) = person.as_ref().filter(|_| several.dry_run) {
        noted.keep(About::member(person.uuid));
    }
    let named = several.named(&caller).await?;
    let mut request = UndoRequest {
        ids: named.iter().map(|(id, _)| id.to_string()).collect(),
        since: several.since,
        whom: person.map(|person| Whom::Id(person.uuid)),
        feed: caller.grant.key.feed,
        dry_run: several.dry_run,
        asked,
        seen: Seen::Unsaid,
    };
    let tags = if_match(&headers);
    if named.is_empty() && !several.dry_run && tags.is_none() {
        let why = "Ask with `dry_run` what would be undone, and send the `digest` of that answer as If-Match.";
        return Err(Problem::new(&PRECONDITION, why));
    }
    let meant = caller.engine.meant_by_undo(&caller.organisation, &request).await.map_err(not_now)?;
    check_meant(&meant, tags.as_deref())?;
    request.seen = match (named.is_empty(), several.dry_run) {
        (false, _) => Seen::Each(named),
        (true, false) => Seen::Together(meant.digest),
        (true, true) => Seen::Unsaid,
    };
    run(&caller, request).await
}

/// Refuses what is too much, or something else than was seen.
fn check_meant(meant: &Meant, tags: Option<&[String]>) -> Result<()> {
    let many = meant.sets.len();
    if many > MOST {
        return Err(Problem::new(
            &INVALID,
            format!(
                "{many} change sets are meant, and at most {MOST} are undone at a time: give a later `since`, or name them."
            ),
        ));
    }
    let Some(tags) = tags else { return Ok(()) };
    if matches!(tags, [one] if *one == meant.digest) {
        return Ok(());
    }
    let why =
        "Nothing was undone: If-Match is not the digest of what would be undone now; `change_sets` has what that is.";
    let now: Vec<Value> = meant.sets.iter().map(as_it_is).collect();
    Err(Problem::new(&STALE, why).with("digest", meant.digest.clone()).with("change_sets", now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_an_undo_stopped_is_a_sentence_without_internals() {
        let stopped = |error| {
            let undone = Undone {
                reports: Vec::new(),
                kept: Vec::new(),
                not_undone: vec![ChangeSetId(Uuid::nil())],
                stopped: Some(error),
                digest: String::new(),
            };
            let document = serde_json::to_value(document(undone)).unwrap();
            assert_eq!(
                (&document["state"], &document["not_undone"][0]),
                (&json!("partly_applied"), &json!(Uuid::nil()))
            );
            document["stopped"].as_str().unwrap().to_owned()
        };
        assert_eq!(stopped(Error::Busy("Others are at it.".into())), "Others are at it.");
        let damaged = stopped(Error::Damaged("zqpath".into()));
        assert_eq!(damaged, "Something failed within the server; asked again, the rest may succeed.");
        assert_eq!(stopped(Error::Wrong("It is gone.".into())), "It is gone.");
    }
}
