//! Handing over: one feed's claims, and what it last said, pass to another, as a change set by hand.

use muster_domain::{
    change::Kind,
    diff,
    documents::Feed,
    eligibility,
    fact::{HandsOver, State},
    handover::handed_over,
    ids::{ChangeSetId, MemberNo},
    member::Reason,
};
use muster_store::Lease;
use serde::Serialize;

use crate::{
    Engine, Error, Organisation, Result,
    wholesale::{Saying, Wholesale},
};

/// Members read at a time.
const BATCH: usize = 4096;

/// What a handover came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HandedOver {
    /// The change set; none if there was nothing to hand over, or it was only tried.
    pub change_set_id: Option<ChangeSetId>,
    /// Claims that passed from the one feed to the other.
    pub claims: u64,
    /// Of these, those of people whom the other feed claimed already.
    pub claimed_by_both: u64,
    /// People of whom only words passed: the feed names them, and they are not on the roster.
    pub named_only: u64,
    /// People of whom values change, because another feed is followed now.
    pub updated: u64,
    /// The roster version from now on.
    pub roster_version: u64,
    /// The organisation's last event when this was done: who reads what projections make waits for it to see this.
    pub seq: u64,
}

impl Engine {
    /// Moves all claims of one feed to another, with what it last said of people of whom the other has said nothing.
    ///
    /// # Errors
    /// If a feed is not known, both are the same, or an upload of either waits.
    pub async fn hand_over(&self, slug: &str, from: &str, to: &str) -> Result<HandedOver> {
        self.hand_over_or_try(slug, from, to, false).await
    }

    /// Works out what [`Engine::hand_over`] would come to, and changes nothing.
    ///
    /// # Errors
    /// As that.
    pub async fn try_hand_over(&self, slug: &str, from: &str, to: &str) -> Result<HandedOver> {
        self.hand_over_or_try(slug, from, to, true).await
    }

    async fn hand_over_or_try(&self, slug: &str, from: &str, to: &str, is_trial: bool) -> Result<HandedOver> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        let outcome = self.hand_over_leased(&lease, slug, (from, to), is_trial).await;
        let mut report = self.give_back(&lease, outcome).await?;
        report.seq = self.store.head(org.row.id).await?.last_seq;
        Ok(report)
    }

    async fn hand_over_leased(
        &self,
        lease: &Lease,
        slug: &str,
        (from, to): (&str, &str),
        is_trial: bool,
    ) -> Result<HandedOver> {
        let org = self.organisation(slug).await?;
        let (from, to) = (org.feed(from)?, org.feed(to)?);
        if from.no == to.no {
            return Err(Error::Wrong(format!(
                "The feed {} cannot hand its claims over to itself; name two feeds.",
                from.settings.name
            )));
        }
        for feed in [from, to] {
            self.expect_nothing_waits(&org, feed).await?;
        }
        let (priorities, speaks) = (org.priorities(), org.speaks());
        let ctx = diff::Context {
            feed: to.no,
            priorities: &priorities,
            speaks: &speaks,
            empty_clears: false,
            match_field: org.settings.match_key.field(),
            fields: &org.settings.fields,
            today: eligibility::today(&org.settings, self.now()),
            ask_again_days: org.settings.ask_again_days,
        };
        let head = self.store.head(org.row.id).await?;
        let mut report = HandedOver {
            change_set_id: None,
            claims: 0,
            claimed_by_both: 0,
            named_only: 0,
            updated: 0,
            roster_version: head.roster_version,
            seq: head.last_seq,
        };
        let numbers: Vec<MemberNo> = self.named(org.row.id, from.no).await?.iter().collect();
        let mut moved = Wholesale::new(self, lease, &org);
        for batch in numbers.chunks(BATCH) {
            let members = self.members(org.row.id, batch).await?;
            for member in batch.iter().filter_map(|no| members.get(no)) {
                let Some(change) = handed_over(member, from.no, &ctx) else { continue };
                let claimed = member.is_claimed_by(from.no);
                report.claims += u64::from(claimed);
                report.named_only += u64::from(!claimed);
                report.claimed_by_both += u64::from(claimed && member.is_claimed_by(to.no));
                report.updated += u64::from(change.kind == Kind::Update);
                if !is_trial {
                    moved.push(&change).await?;
                }
            }
        }
        if moved.changes() == 0 {
            return Ok(report);
        }
        let hands_over = Some(HandsOver { from: from.no, to: to.no });
        let saying = Saying { feed: to.no, displaced: Reason::AnotherFeed, hands_over, settings: None };
        let done = moved.apply(saying).await?;
        (report.change_set_id, report.roster_version) = (Some(done.change_set), done.roster_version);
        Ok(report)
    }

    /// What waits was compared with the claims as they are.
    async fn expect_nothing_waits(&self, org: &Organisation, feed: &Feed) -> Result<()> {
        for state in [State::Received, State::Held, State::PartlyApplied] {
            let waiting = self.store.uploads_in_state(org.row.id, state.word()).await?;
            if waiting.iter().any(|u| u.feed == feed.no) {
                return Err(Error::Wrong(format!(
                    "An upload of the feed {} waits; approve or reject it first (`muster changes list` shows it).",
                    feed.settings.name
                )));
            }
        }
        Ok(())
    }
}

/// What either feed sent last is news again: it was decided while the claims were another's.
pub(crate) fn claims_passed(feeds: &mut [Feed], between: HandsOver) {
    for feed in feeds.iter_mut().filter(|f| f.no == between.from || f.no == between.to) {
        feed.decided = None;
    }
}
