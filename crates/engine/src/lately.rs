//! Who lost eligibility lately: by single deletes and partial payloads, which add up for the guard, and by approvals of one person
//! alone, which add up for the second approver.

use chrono::{DateTime, Utc};
use muster_domain::{
    documents::ChangeSet,
    guard::Asked,
    ids::{ChangeSetId, FeedNo, OrganisationId},
};

use crate::{Engine, Result};

impl Engine {
    /// How many the hand and this feed, or all of them, made ineligible within 24 hours, full payloads and undos aside.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn removals_of_a_day(&self, org: OrganisationId, feed: Option<FeedNo>) -> Result<u64> {
        Ok(self.store.added_up(org, self.a_day_ago(), feed.map(|feed| [feed, FeedNo::HAND])).await?)
    }

    /// How many people one person alone made ineligible within 24 hours, approving or with `apply`, whoever that was, but for those of
    /// this change set.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn approved_alone_lately(&self, org: OrganisationId, but: ChangeSetId) -> Result<u64> {
        let since = self.a_day_ago();
        let mut sum = 0;
        for row in self.store.change_sets_approved_alone(org, since).await?.iter().filter(|row| row.id != but) {
            sum += serde_json::from_slice::<ChangeSet>(&row.doc)?.approved_alone_since(since);
        }
        Ok(sum)
    }

    /// The same for a change set that is new, and makes so many people ineligible: only `apply` asks for it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn alone_before(
        &self,
        org: OrganisationId,
        new: ChangeSetId,
        asked: Option<Asked>,
        removals: u64,
    ) -> Result<u64> {
        if asked != Some(Asked::Apply) || removals == 0 {
            return Ok(0);
        }
        self.approved_alone_lately(org, new).await
    }

    fn a_day_ago(&self) -> DateTime<Utc> {
        self.now() - chrono::Duration::hours(24)
    }
}
