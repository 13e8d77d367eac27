//! Approving: all of a change set that waits, or part of it, bound to what the reviewer saw.

use std::collections::HashMap;

use muster_domain::{
    change::Change,
    documents::ChangeSet,
    event::Body,
    fact::{Applied, Fact, State},
    fold,
};
use muster_store::{Lease, Tx};

use super::{
    Choice, Losing, Unconfirmed, Waiting, comment_body, expect_waiting,
    reject::{Rejection, Uncommitted},
    second::Next,
};
use crate::{
    Engine, Error, Organisation, Result,
    apply::{Application, Chunks, Deed},
    effects::Effects,
    event,
    recorder::Recorder,
    report::Report,
    spill::prepare,
};

/// What a reviewer approves.
#[derive(Clone, Debug, Default)]
pub struct Approval {
    /// Which changes.
    pub choice: Choice,
    /// Whether the rest is rejected in the same breath.
    pub reject_rest: bool,
    /// The digest of what the reviewer saw.
    pub digest: Option<String>,
    /// How many people it makes ineligible, as the reviewer knows.
    pub confirm_removals: Option<u64>,
    /// Why.
    pub comment: Option<String>,
}

impl Engine {
    /// Approves all or part of a change set. Where two people must, the first approval is recorded and applies nothing.
    ///
    /// # Errors
    /// [`Error::Stale`] if the digest is no longer the change set's; [`Error::Forbidden`] if whoever approves gave the first of two
    /// approvals already; [`Error::Unconfirmed`] if the guard on removals tripped and the number of people who lose eligibility is not
    /// confirmed; if nothing of it waits or is meant.
    pub async fn approve(&self, slug: &str, id: Option<&str>, approval: Approval) -> Result<Report> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        // On the heap: it is large, and a thread's stack is not.
        let outcome = Box::pin(self.approve_leased(&lease, slug, id, approval)).await;
        self.give_back(&lease, outcome).await
    }

    async fn approve_leased(&self, lease: &Lease, slug: &str, id: Option<&str>, approval: Approval) -> Result<Report> {
        let org = self.organisation(slug).await?;
        let set = self.find_change_set(&org, id).await?;
        expect_waiting(&set)?;
        let set = self.rebase(lease, &org, set).await?;
        if let Some(digest) = approval.digest.as_ref().filter(|d| **d != set.digest) {
            return Err(self.stale(&org, &set, digest, "approved").await);
        }
        if set.waiting().is_empty() {
            // All of it is so already, or something else happened since: there was nothing left to approve.
            return self.review_report(&org, &set).await;
        }
        let ctx = self.deciding_on(&org, &set);
        let waiting = self.look_through(&org, &set, &approval.choice, Some(&ctx)).await?;
        if waiting.chosen.is_empty() {
            return Err(Error::Wrong(
                "No waiting change is meant by this choice; `muster changes show` lists them.".to_owned(),
            ));
        }
        check_removals(&set, &approval, waiting.losing)?;
        match self.next_step(&org, &set, &approval, &waiting).await? {
            Next::Apply { first_approver } => {
                self.apply_reviewed(lease, &org, (set, ctx), &approval, waiting, first_approver).await
            }
            Next::Record(approved) => self.record_first(lease, &org, set, approved, approval.comment.as_deref()).await,
        }
    }

    async fn apply_reviewed(
        &self,
        lease: &Lease,
        org: &Organisation,
        (mut set, ctx): (ChangeSet, fold::Context<'_>),
        approval: &Approval,
        waiting: Waiting,
        first_approver: Option<String>,
    ) -> Result<Report> {
        let first_no = self.store.head(org.row.id).await?.next_member;
        let application = Application {
            engine: self,
            org: org.row.id,
            keys: &org.keys,
            ctx,
            selection: &waiting.chosen,
            deed: Deed::Apply,
            except_fields: &approval.choice.except_fields,
        };
        let mut worked_out = application.work_out(first_no, &Chunks::Stored(set.id), &HashMap::new()).await?;
        crate::crash::point("worked_out");
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        worked_out.write(&mut tx).await?;
        let mut feeds = org.feeds.clone();
        self.settle_feeds(&mut tx, &mut feeds, &worked_out.effects, None).await?;
        crate::crash::point("written");
        worked_out.reserve(&mut tx).await?;
        let mut effects = worked_out.effects;
        let chunks = self.put_off(&mut tx, org, &mut set, waiting.later, &effects).await?;
        let rest = set.waiting().minus(&waiting.chosen.minus(&waiting.unfinished));
        let applied = Applied {
            change_set: set.id,
            selection: waiting.chosen,
            feed: set.feed,
            day: ctx.day,
            displaced: ctx.displaced,
            first_no,
            new_members: effects.numbers.count(),
            numbered: effects.numbers.ordinals().collect(),
            roster_version: tx.bump_roster_version().await?,
            state: if rest.is_empty() { State::Applied } else { State::PartlyApplied },
            digest: set.digest.clone(),
            reviewed: true,
            except_fields: approval.choice.except_fields.clone(),
            unfinished: waiting.unfinished,
            rest: self.digest_behind(org, &set, &rest, &chunks).await?,
            first_approver,
            removals: waiting.losing.removals,
        };
        let comment = approval.comment.as_deref();
        let fact = Fact::Applied(Box::new(applied.clone()));
        tx.append(vec![event(&fact, comment_body(comment))], &self.who(set.upload.0)).await?;
        // As the log has it: where the clock went back, that is later than now.
        set.take_applied(&applied, &self.actor, tx.head().await?.last_recorded_at);
        self.note_undone(org, &mut feeds, &set).await?;
        if approval.reject_rest && !rest.is_empty() {
            let before = Uncommitted { members: std::mem::take(&mut effects.members), chunks };
            let rejection = Rejection { chosen: rest, remembered: true, comment, before };
            set = self.reject_in(&mut tx, org, &mut feeds, set, rejection).await?;
        }
        crate::crash::point("approve_before_commit");
        self.finish_review(&mut tx, org, &mut feeds, &set).await?;
        tx.commit().await?;
        crate::crash::point("approve_after_commit");
        self.review_report(org, &set).await
    }

    /// Fields left out of people who are new, or come back, wait as changes of their own at the end of the change set.
    async fn put_off(
        &self,
        tx: &mut Tx,
        org: &Organisation,
        set: &mut ChangeSet,
        later: Vec<(u32, Change<'static>)>,
        effects: &Effects,
    ) -> Result<Vec<(u32, Body)>> {
        let mut recorder = Recorder::new(&org.keys);
        for (ordinal, mut change) in later {
            change.no = change.no.or_else(|| effects.numbers.of(ordinal));
            recorder.push(&change);
        }
        let added = recorder.changes;
        if added == 0 {
            return Ok(Vec::new());
        }
        let chunks: Vec<_> = recorder.take_rest().into_iter().map(|(at, body)| (set.changes + at, body)).collect();
        tx.append_prepared(prepare(set.id, &chunks)?, &self.who(set.upload.0)).await?;
        let waiting = set.waiting().union(&(set.changes..set.changes + added).collect());
        let fact = Fact::Rebased {
            change_set: set.id,
            already_so: Default::default(),
            conflicts: Default::default(),
            revised: Default::default(),
            added,
            digest: self.digest_of(org, set, &waiting, &chunks).await?.unwrap_or_default(),
            roster_version: set.roster_version,
            state: None,
        };
        tx.append(vec![event(&fact, None)], &self.who(set.upload.0)).await?;
        // The approval was bound to what was seen, and so to the digest without these.
        let seen = set.digest.clone();
        set.take_rebased(&fact);
        set.digest = seen;
        Ok(chunks)
    }
}

/// Where the guard on removals tripped, the reviewer must know how many people lose eligibility; a number that is given is right anyway.
fn check_removals(set: &ChangeSet, approval: &Approval, losing: Losing) -> Result<()> {
    let confirmed = approval.confirm_removals;
    let right = match confirmed {
        Some(n) => n == losing.removals,
        None => losing.removals == 0 || !set.asks_for_removals(),
    };
    if right { Ok(()) } else { Err(Unconfirmed { losing, confirmed }.into()) }
}
