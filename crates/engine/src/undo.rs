//! Undo: what a change set did is taken back, member by member and field by field; what changed since is kept and listed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use muster_domain::{
    change::Change,
    documents::ChangeSet,
    fact::{Baseline, State},
    guard::Asked,
    ids::MemberNo,
    member::Member,
    undo::Step,
};
use muster_store::Lease;
use serde::Serialize;

use crate::{Engine, Error, Organisation, Result, lists::Which, propose::Proposal, report::Report};

/// What is to be undone.
#[derive(Clone, Debug, Default)]
pub struct UndoRequest {
    /// Change sets, by id or its beginning.
    pub ids: Vec<String>,
    /// Everything applied since then.
    pub since: Option<DateTime<Utc>>,
    /// Everything that was applied to this person.
    pub by_key: Option<String>,
    /// Show it, change nothing.
    pub dry_run: bool,
    /// `apply` or `hold`, if it was asked for.
    pub asked: Option<Asked>,
    /// Digest of each change set that whoever asks has seen, if they said so.
    pub seen: Option<String>,
}

/// What an undo came to.
#[derive(Clone, Debug, Serialize)]
pub struct Undone {
    /// A report for each change set that was undone, newest first.
    pub reports: Vec<Report>,
    /// What changed since and was kept.
    pub kept: Vec<Kept>,
}

/// Something that changed since and was kept.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// Whose.
    pub key: String,
    /// What: a field, `key` or `claims`.
    pub what: String,
}

impl Engine {
    /// Undoes one or several change sets, newest first.
    ///
    /// # Errors
    /// If there is nothing to undo.
    pub async fn undo(&self, slug: &str, request: UndoRequest) -> Result<Undone> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        // On the heap: whoever waits for this holds all that it works with on their stack.
        let outcome = Box::pin(self.undo_leased(&lease, slug, &request)).await;
        self.give_back(&lease, outcome).await
    }

    async fn undo_leased(&self, lease: &Lease, slug: &str, request: &UndoRequest) -> Result<Undone> {
        let org = self.organisation(slug).await?;
        let only = match &request.by_key {
            Some(key) => Some(self.member(&org, key).await?.no),
            None => None,
        };
        let sets = self.sets_to_undo(&org, request, only).await?;
        if sets.is_empty() {
            return Err(Error::Wrong("There is nothing to undo: no applied change set is meant.".to_owned()));
        }
        if let Some(seen) = &request.seen
            && sets.iter().any(|set| set.digest != *seen)
        {
            let why = "Nothing was undone: the change set is not what was seen any more; look again.";
            return Err(Error::Stale(why.to_owned()));
        }
        let mut undone = Undone { reports: Vec::new(), kept: Vec::new() };
        for set in sets {
            let org = self.organisation(slug).await?;
            let report = self.undo_one(lease, &org, &set, only, request, &mut undone.kept).await?;
            let stop = matches!(report.state, State::Held);
            undone.reports.push(report);
            if stop {
                break;
            }
        }
        Ok(undone)
    }

    async fn sets_to_undo(
        &self,
        org: &Organisation,
        request: &UndoRequest,
        only: Option<MemberNo>,
    ) -> Result<Vec<ChangeSet>> {
        if !request.ids.is_empty() {
            let mut sets = Vec::new();
            for id in &request.ids {
                sets.push(self.find_change_set(org, Some(id)).await?);
            }
            sets.sort_by_key(|s| std::cmp::Reverse(s.created_seq));
            return Ok(sets);
        }
        let mut sets = self.change_sets(org, Which::default()).await?;
        // One that was undone before may have been undone in part; what is as it was before is left alone.
        sets.retain(|s| !s.applied.is_empty() && s.undoes.is_empty());
        if let Some(since) = request.since {
            sets.retain(|s| s.computed_at >= since);
        }
        let Some(only) = only else { return Ok(sets) };
        let mut touching = Vec::new();
        for set in sets {
            let mut touches = false;
            self.each_change(org, &set, |_, change, _| touches |= change.is_some_and(|c| c.no == Some(only))).await?;
            let added = !touches && self.added_by(org, &set, only).await?;
            if touches || added {
                touching.push(set);
            }
        }
        Ok(touching)
    }

    /// Whether the change set is the one that brought the member in.
    async fn added_by(&self, org: &Organisation, set: &ChangeSet, only: MemberNo) -> Result<bool> {
        let members = self.members(org.row.id, &[only]).await?;
        let Some(member) = members.get(&only) else { return Ok(false) };
        let mut added = false;
        self.each_change(org, set, |_, c, _| added |= c.is_some_and(|c| c.no.is_none() && c.member == member.uuid))
            .await?;
        Ok(added)
    }

    async fn undo_one(
        &self,
        lease: &Lease,
        org: &Organisation,
        set: &ChangeSet,
        only: Option<MemberNo>,
        request: &UndoRequest,
        kept: &mut Vec<Kept>,
    ) -> Result<Report> {
        if set.applied.is_empty() {
            return Err(Error::Wrong(format!(
                "Nothing of change set {} was applied: it is {}.",
                set.id,
                set.state.word()
            )));
        }
        let history = self.before_and_after(org, set).await?;
        let mut numbers: Vec<MemberNo> =
            history.members.keys().copied().filter(|no| only.is_none_or(|o| o == *no)).collect();
        numbers.sort_unstable();
        let members = self.members(org.row.id, &numbers).await?;
        let mut changes = Vec::new();
        for no in &numbers {
            let (Some(now), Some((before, after))) = (members.get(no), history.members.get(no)) else { continue };
            let step = Step { feed: set.feed, before: before.as_ref(), after, now, fields: &org.settings.fields };
            let (change, stays) = step.change();
            changes.extend(change.map(Change::into_owned));
            kept.extend(stays.into_iter().map(|what| Kept { key: now.key.clone(), what: what.to_owned() }));
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
        self.propose(lease, org, proposal).await
    }
}

/// Members before and after a change set, and what its feed was measured by before.
#[derive(Default)]
pub struct BeforeAndAfter {
    /// Members whom the change set touched.
    pub members: HashMap<MemberNo, (Option<Member>, Member)>,
    /// The feed's baseline before.
    pub baseline: Option<Baseline>,
}
