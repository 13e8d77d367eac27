//! The queue: uploads that were taken in and wait for whoever works, in order of arrival.

use std::time::{Duration, Instant};

use muster_domain::{documents::Upload, fact::State, ids::UploadId};
use muster_store::{Lease, OrganisationRow, UploadRow};
use tracing::Instrument;

use crate::{Engine, Error, Result, crash};

/// What working an organisation's queue off came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Nothing waits any more; so many uploads were worked on here.
    Empty(u64),
    /// Somebody else is working on the organisation, and so on what waits.
    Busy,
    /// Whoever watched said that it is enough; something may wait.
    Stopped,
}

/// An upload that was worked on.
#[derive(Clone, Copy, Debug)]
pub struct Worked {
    /// Which.
    pub upload: UploadId,
    /// What it came to.
    pub state: State,
    /// How long the work took.
    pub took: Duration,
}

impl Engine {
    /// Works on all uploads of an organisation that wait, in order of arrival, unless somebody else does.
    ///
    /// # Errors
    /// If the store refuses; what was not worked on waits.
    pub async fn work_off(&self, organisation: &OrganisationRow) -> Result<Queue> {
        self.work_off_watched(organisation, &mut |_| true).await
    }

    /// The same, and `watch` is told of every upload that was worked on, and says whether to go on with the next.
    ///
    /// # Errors
    /// As [`work_off`](Self::work_off).
    pub async fn work_off_watched(
        &self,
        organisation: &OrganisationRow,
        watch: &mut (dyn FnMut(Worked) -> bool + Send),
    ) -> Result<Queue> {
        let mut worked = 0;
        while self.has_waiting(organisation).await? {
            let Some(lease) = self.lease_if_free(organisation.id).await? else { return Ok(Queue::Busy) };
            let outcome = self.work_in_order(&lease, organisation, watch).await;
            if outcome.is_ok() {
                self.tidy(&lease, organisation.id).await;
            }
            let (here, go_on) = self.give_back(&lease, outcome).await?;
            worked += here;
            if !go_on {
                return Ok(Queue::Stopped);
            }
        }
        Ok(Queue::Empty(worked))
    }

    async fn has_waiting(&self, organisation: &OrganisationRow) -> Result<bool> {
        Ok(!self.store.uploads_in_state(organisation.id, State::Received.word()).await?.is_empty())
    }

    async fn work_in_order(
        &self,
        lease: &Lease,
        organisation: &OrganisationRow,
        watch: &mut (dyn FnMut(Worked) -> bool + Send),
    ) -> Result<(u64, bool)> {
        let mut here = 0;
        for upload in self.store.uploads_in_state(organisation.id, State::Received.word()).await? {
            let worked = self.work_on(lease, organisation, upload).await?;
            here += 1;
            if !watch(worked) {
                return Ok((here, false));
            }
        }
        Ok((here, true))
    }

    /// Works on uploads that were accepted and are not finished, in order of arrival, up to one that is not worked on here.
    /// Says how many there were.
    pub(crate) async fn finish_pending(
        &self,
        lease: &Lease,
        row: &OrganisationRow,
        before: Option<u64>,
    ) -> Result<u64> {
        let mut worked = 0;
        for upload in self.store.uploads_in_state(row.id, State::Received.word()).await? {
            if before.is_some_and(|before| upload.arrival >= before) {
                break;
            }
            self.work_on(lease, row, upload).await?;
            worked += 1;
        }
        Ok(worked)
    }

    async fn work_on(&self, lease: &Lease, row: &OrganisationRow, upload: UploadRow) -> Result<Worked> {
        let began = Instant::now();
        let id = upload.id;
        // The upload's identity is also the correlation of all its events.
        let span = tracing::info_span!("upload", organisation = %row.slug, correlation = %id.0);
        crash::point("leased");
        let state = async {
            let upload: Upload = serde_json::from_slice(&upload.doc)?;
            let org = self.load(row.clone()).await?;
            // What policy lets pass is applied by whoever sent it, not by whoever happens to work on it.
            let sender = self.acting_as(upload.actor.clone());
            match Box::pin(sender.work(lease, &org, &upload.received, None, false, None)).await {
                Ok(report) => Ok(report.state),
                Err(Error::Refused(_)) => Ok(State::Refused),
                Err(e) => Err(e),
            }
        };
        let state = state.instrument(span.clone()).await?;
        let worked = Worked { upload: id, state, took: began.elapsed() };
        // Up to this number of the log doorbells ring for it, and projections take it.
        let seq = self.store.head(row.id).await?.last_seq;
        tracing::info!(parent: &span, seq, state = state.word(), ms = worked.took.as_millis() as u64, "an upload was worked on");
        Ok(worked)
    }
}
