//! The queue: uploads that were taken in and wait for whoever works, in order of arrival.

use muster_domain::fact::State;
use muster_store::OrganisationRow;

use crate::{Engine, Result};

/// What working an organisation's queue off came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Nothing waits any more; so many uploads were worked on here.
    Empty(u64),
    /// Somebody else is working on the organisation, and so on what waits.
    Busy,
}

impl Engine {
    /// Works on all uploads of an organisation that wait, in order of arrival, unless somebody else does.
    ///
    /// # Errors
    /// If the store refuses; what was not worked on waits.
    pub async fn work_off(&self, organisation: &OrganisationRow) -> Result<Queue> {
        let mut worked = 0;
        while self.has_waiting(organisation).await? {
            let Some(lease) = self.lease_if_free(organisation.id).await? else { return Ok(Queue::Busy) };
            let outcome = self.finish_pending(&lease, organisation, None).await;
            if outcome.is_ok() {
                self.tidy(&lease, organisation.id).await;
            }
            worked += self.give_back(&lease, outcome).await?;
        }
        Ok(Queue::Empty(worked))
    }

    async fn has_waiting(&self, organisation: &OrganisationRow) -> Result<bool> {
        Ok(!self.store.uploads_in_state(organisation.id, State::Received.word()).await?.is_empty())
    }
}
