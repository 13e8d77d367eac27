//! Whom single deletes and partial payloads removed lately: they add up for the guard.

use muster_domain::{
    documents::ChangeSet,
    fact::State,
    ids::{FeedNo, OrganisationId},
    settings::Mode,
};
use muster_store::Filter;

use crate::{Engine, Result};

impl Engine {
    /// How many the hand and these feeds made ineligible within 24 hours, full payloads and undos aside.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn removals_of_a_day(&self, org: OrganisationId, feeds: &[FeedNo]) -> Result<u64> {
        let since = self.now() - chrono::Duration::hours(24);
        let mut sum = 0;
        for feed in feeds.iter().copied().filter(|f| *f != FeedNo::HAND).chain([FeedNo::HAND]) {
            let filter = Filter { feed: Some(feed), limit: 10_000, ..Default::default() };
            for row in self.store.change_sets(org, &filter).await? {
                let set: ChangeSet = serde_json::from_slice(&row.doc)?;
                if set.computed_at < since {
                    break;
                }
                let adds_up = feed == FeedNo::HAND || set.mode != Mode::Full;
                let applied = matches!(set.state, State::Applied | State::PartlyApplied);
                if adds_up && applied && set.undoes.is_empty() {
                    sum += set.figures.removals;
                }
            }
        }
        Ok(sum)
    }
}
