//! Requests with an idempotency key: the first is worked on, and whoever comes again gets its answer.

use chrono::Duration;
use muster_domain::{event::Hash, ids::OrganisationId};
use muster_store::access::{Answer, ClaimedAnswer};

use crate::{Engine, Result, forget::is_swept};

pub use muster_domain::documents::ANSWERS_KEPT;

/// For how long a request is one's own unless it is prolonged: after that its process is taken for dead.
pub const CLAIMED: Duration = Duration::seconds(60);

impl Engine {
    /// Claims a request of a key, unless it is known. `content` is a hash of what was asked.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn claim_answer(&self, org: OrganisationId, key: &str, request: &str, content: &Hash) -> Result<Answer> {
        let now = self.now();
        Ok(self.users_and_keys().await?.claim_answer(org, key, request, content, now, now + CLAIMED).await?)
    }

    /// Says that the request is still worked on. `false` if it is somebody else's by now.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn prolong_answer(&self, claimed: &ClaimedAnswer) -> Result<bool> {
        Ok(self.users_and_keys().await?.prolong_answer(claimed, self.now() + CLAIMED).await?)
    }

    /// Keeps the answer for whoever comes again. `false` if the request is somebody else's by now.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn keep_answer(&self, claimed: &ClaimedAnswer, status: u16, body: &[u8]) -> Result<bool> {
        let until = self.now() + ANSWERS_KEPT;
        Ok(self.users_and_keys().await?.keep_answer(claimed, status, body, until).await?)
    }

    /// Gives up every answer that is kept of an organisation: whoever is forgotten may stand in it. Whether the database has
    /// been swept of them.
    ///
    /// # Errors
    /// If the store refuses.
    pub(crate) async fn forget_in_answers(&self, org: OrganisationId) -> Result<bool> {
        if !self.store.has_access() {
            return Ok(true);
        }
        let access = self.users_and_keys().await?;
        access.give_up_answers(org).await?;
        is_swept(access.sweep().await)
    }

    /// Gives the request up without an answer, so that it may come again at once.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn drop_answer(&self, claimed: &ClaimedAnswer) -> Result<()> {
        Ok(self.users_and_keys().await?.drop_answer(claimed).await?)
    }
}
