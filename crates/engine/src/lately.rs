//! Whom single deletes and partial payloads removed lately: they add up for the guard.

use muster_domain::ids::{FeedNo, OrganisationId};

use crate::{Engine, Result};

impl Engine {
    /// How many the hand and this feed, or all of them, made ineligible within 24 hours, full payloads and undos aside.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn removals_of_a_day(&self, org: OrganisationId, feed: Option<FeedNo>) -> Result<u64> {
        let since = self.now() - chrono::Duration::hours(24);
        Ok(self.store.added_up(org, since, feed.map(|feed| [feed, FeedNo::HAND])).await?)
    }
}
