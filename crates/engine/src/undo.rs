//! Undo: what a change set did is taken back, member by member and field by field; what changed since is kept and listed.

use std::{collections::HashMap, ops::Deref};

use chrono::{DateTime, Utc};
use muster_domain::{
    change::Change,
    documents::ChangeSet,
    eligibility,
    fact::{Baseline, State},
    fold,
    guard::Asked,
    ids::{ChangeSetId, FeedNo, MemberNo},
    member::Member,
    undo::Step,
};
use muster_store::Lease;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Engine, Error, Organisation, Result,
    members::Whom,
    propose::{Before, Proposal},
    report::Report,
    review::displaced,
};

mod meant;

pub use meant::{Meant, Seen};

/// What is to be undone.
#[derive(Clone, Debug, Default)]
pub struct UndoRequest {
    /// Change sets, by id or its beginning.
    pub ids: Vec<String>,
    /// Everything applied since then.
    pub since: Option<DateTime<Utc>>,
    /// Only what was done to this person.
    pub whom: Option<Whom>,
    /// Only change sets of this feed.
    pub feed: Option<FeedNo>,
    /// Show it, change nothing.
    pub dry_run: bool,
    /// `apply` or `hold`, if it was asked for.
    pub asked: Option<Asked>,
    /// What whoever asks has seen: if something else is meant, nothing is undone.
    pub seen: Seen,
}

/// What an undo came to.
#[derive(Debug)]
pub struct Undone {
    /// A report for each change set that was undone, newest first.
    pub reports: Vec<UndoneOne>,
    /// What changed since and was kept.
    pub kept: Vec<Kept>,
    /// Change sets that were meant and are not undone, newest first: the undo of a newer one waits for review, or in a trial would,
    /// or the first of these failed.
    pub not_undone: Vec<ChangeSetId>,
    /// Why the first of these could not be undone, where newer ones were before: what is told of those stands.
    pub stopped: Option<Error>,
    /// Digest of what was meant: see [`Seen::Together`].
    pub digest: String,
}

impl Undone {
    /// What all of them came to: one that waits makes the whole wait, and one that failed behind others makes it a part.
    pub fn state(&self) -> State {
        if self.stopped.is_some() {
            return State::PartlyApplied;
        }
        let waits = |s: &State| matches!(s, State::Held | State::PartlyApplied);
        let mut states = self.reports.iter().map(|r| r.report.state);
        let last = self.reports.last().map_or(State::NoChanges, |r| r.report.state);
        states.find(waits).unwrap_or(last)
    }
}

/// What the undo of one change set came to.
#[derive(Clone, Debug, Serialize)]
pub struct UndoneOne {
    /// The change set that was undone.
    pub undoes: ChangeSetId,
    /// What that came to: it is a change set itself.
    #[serde(flatten)]
    pub report: Report,
    /// Whether it waits for review, or in a trial would.
    pub would_hold: bool,
}

impl Deref for UndoneOne {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.report
    }
}

/// Something that changed since and was kept.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// Whose.
    pub key: String,
    /// What: a field, `key` or `claims`.
    pub what: String,
    /// Which change set did what was not taken back.
    pub change_set: ChangeSetId,
}

/// An undo of several on its way: what was kept, what was taken back before, and in a trial the members as they would be by now.
#[derive(Default)]
struct Going {
    kept: Vec<Kept>,
    before: Before,
    ahead: HashMap<MemberNo, Member>,
}

impl Engine {
    /// Undoes one or several change sets, newest first; guards and the second approver go by all of them together. It stops behind
    /// the first that waits for review, or in a trial would, since the older ones are measured by what it would leave.
    ///
    /// # Errors
    /// If there is nothing to undo, or nothing could be undone; what fails behind others is told in [`Undone::stopped`]; [`Error::Stale`] if something else is meant than was seen.
    pub async fn undo(&self, slug: &str, request: UndoRequest) -> Result<Undone> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        // On the heap: whoever waits for this holds all that it works with on their stack.
        let outcome = Box::pin(self.undo_leased(&lease, slug, &request)).await;
        self.give_back(&lease, outcome).await
    }

    async fn undo_leased(&self, lease: &Lease, slug: &str, request: &UndoRequest) -> Result<Undone> {
        let org = self.organisation(slug).await?;
        let Meant { sets, only, digest } = self.meant_by_undo(&org, request).await?;
        if !request.seen.is_of(&sets, &digest) {
            let what = if request.ids.len() == 1 { "the change set is" } else { "what would be undone is" };
            return Err(Error::Stale(format!("Nothing was undone: {what} not what was seen any more; look again.")));
        }
        let (mut reports, mut going, mut stopped) = (Vec::<UndoneOne>::new(), Going::default(), None);
        let mut left = sets.iter().map(|set| set.id);
        for set in &sets {
            let kept = going.kept.len();
            match self.undo_one(lease, slug, set, only, request, &mut going).await {
                Ok(report) => {
                    left.next();
                    let would_hold = going.before.would_hold;
                    reports.push(UndoneOne { undoes: set.id, report, would_hold });
                    if would_hold {
                        break;
                    }
                }
                // What was undone before stays so, and whoever asked must hear of it.
                Err(e) if reports.iter().any(|one| one.state == State::Applied) => {
                    going.kept.truncate(kept);
                    stopped = Some(e);
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(Undone { reports, kept: going.kept, not_undone: left.collect(), stopped, digest })
    }

    async fn undo_one(
        &self,
        lease: &Lease,
        slug: &str,
        set: &ChangeSet,
        only: Option<MemberNo>,
        request: &UndoRequest,
        going: &mut Going,
    ) -> Result<Report> {
        let org = &self.organisation(slug).await?;
        let history = self.before_and_after(org, set).await?;
        let mut numbers: Vec<MemberNo> =
            history.members.keys().copied().filter(|no| only.is_none_or(|o| o == *no)).collect();
        numbers.sort_unstable();
        let mut members = self.members(org.row.id, &numbers).await?;
        members.iter_mut().for_each(|(no, now)| going.ahead.get(no).into_iter().for_each(|m| now.clone_from(m)));
        let mut changes = Vec::new();
        for no in &numbers {
            let (Some(now), Some((before, after))) = (members.get(no), history.members.get(no)) else { continue };
            let step = Step { feed: set.feed, before: before.as_ref(), after, now, fields: &org.settings.fields };
            let (change, stays) = step.change();
            changes.extend(change.map(Change::into_owned));
            let stays = stays.into_iter();
            let stays = stays.map(|what| Kept { key: now.key.clone(), what: what.to_owned(), change_set: set.id });
            going.kept.extend(stays);
        }
        if request.dry_run {
            going.ahead.extend(as_they_would_be(org, &changes, &members, self.now()));
        }
        let proposal = Proposal {
            changes,
            members: &members,
            undoes: vec![set.id],
            baseline: match only {
                // One person taken back does not make the payload another one.
                Some(_) => org.feeds.iter().find(|f| f.no == set.feed).and_then(|f| f.baseline.clone()),
                None => history.baseline,
            },
            asked: request.asked,
            dry_run: request.dry_run,
        };
        self.propose_behind(lease, org, proposal, &mut going.before).await
    }
}

/// Members as they would be if these changes were applied: in a trial, older change sets are undone of these.
fn as_they_would_be(
    org: &Organisation,
    changes: &[Change],
    members: &HashMap<MemberNo, Member>,
    now: DateTime<Utc>,
) -> Vec<(MemberNo, Member)> {
    let ctx = fold::Context {
        change_set: ChangeSetId(Uuid::nil()),
        feed: FeedNo::HAND,
        day: eligibility::today(&org.settings, now),
        displaced: displaced(FeedNo::HAND, true),
        fields: &org.settings.fields,
    };
    let before = |change: &Change| members.get(&change.no?).cloned();
    let after = changes.iter().filter_map(|c| before(c).map(|m| (m.no, fold::apply(Some(m.clone()), m.no, c, &ctx))));
    after.collect()
}

/// Members before and after a change set, and what its feed was measured by before.
#[derive(Default)]
pub struct BeforeAndAfter {
    /// Members whom the change set touched.
    pub members: HashMap<MemberNo, (Option<Member>, Member)>,
    /// The feed's baseline before.
    pub baseline: Option<Baseline>,
}
