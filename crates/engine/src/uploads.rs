//! Uploads whose payload cannot be had any more: how one is given up, so that others come after it.

use std::fs::File;

use muster_domain::{
    documents::Upload,
    fact::{Counts, Received, Refusal, State},
};
use muster_store::Lease;

use crate::{Engine, Error, Organisation, Result};

impl Engine {
    /// Gives up an upload that waits to be worked on: nothing is taken from it, and those behind it have their turn. Its
    /// payload, if it lies somewhere, stays there.
    ///
    /// # Errors
    /// If there is no such upload, or it does not wait to be worked on.
    pub async fn give_up(&self, slug: &str, id: &str) -> Result<Upload> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        let outcome = self.give_up_leased(&lease, &org, id).await;
        self.give_back(&lease, outcome).await
    }

    async fn give_up_leased(&self, lease: &Lease, org: &Organisation, id: &str) -> Result<Upload> {
        let given = self.find_upload(org, id).await?;
        let (upload, state) = (given.received.upload, given.state);
        if state != State::Received {
            let word = state.word().replace('_', " ");
            return Err(Error::Wrong(format!(
                "The upload {upload} is {word}; only one that waits to be worked on can be given up."
            )));
        }
        let (state, counts) = (State::Refused, Counts::default());
        self.decide_without_changes(lease, org, upload, state, counts, Some(Refusal::GivenUp)).await?;
        Ok(Upload { state, ..given })
    }

    /// Opens the payload of an upload that is to be worked on. All uploads behind it wait for that, so the error says what
    /// can be done.
    pub(crate) fn open_payload(&self, org: &Organisation, received: &Received) -> Result<File> {
        let path = self.payloads.path(org.row.id, received.upload);
        File::open(&path).map_err(|e| {
            let (upload, slug) = (received.upload, &org.row.slug);
            let path = std::path::absolute(&path).unwrap_or(path);
            Error::File(format!(
                "The payload of upload {upload}, which waits to be worked on before anything else of {slug}, cannot be \
                 opened at {} ({e}); run this with the data directory in which it lies (--data-dir) or, if it is lost, give it \
                 up with `muster uploads give-up {upload} --org {slug}` and send it again.",
                path.display()
            ))
        })
    }
}
