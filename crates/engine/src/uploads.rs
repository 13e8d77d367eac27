//! Uploads: which there are, and how one whose payload cannot be had any more is given up, so that others come after it.

use std::fs::File;

use muster_domain::{
    documents::Upload,
    fact::{Counts, Received, Refusal, State},
    ids::UploadId,
};
use muster_store::{Filter, Lease, StoreError};
use uuid::Uuid;

use crate::{Engine, Error, Organisation, Result};

impl Engine {
    /// Uploads of an organisation, newest first; of one state, or of any.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn uploads(&self, org: &Organisation, state: Option<State>) -> Result<Vec<Upload>> {
        let filter = Filter { state: state.map(|s| s.word().to_owned()), ..Filter::default() };
        let rows = self.store.uploads(org.row.id, &filter).await?;
        rows.iter().map(|row| Ok(serde_json::from_slice(&row.doc)?)).collect()
    }

    /// The upload with this id, or the only one whose id begins so.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub async fn find_upload(&self, org: &Organisation, id: &str) -> Result<Upload> {
        let id = id.trim().to_lowercase();
        let unknown =
            || Error::Unknown(format!("There is no upload {id}; `muster uploads list` shows those there are."));
        if let Ok(whole) = Uuid::parse_str(&id) {
            return match self.store.upload(org.row.id, UploadId(whole)).await {
                Ok(row) => Ok(serde_json::from_slice(&row.doc)?),
                Err(StoreError::NotFound) => Err(unknown()),
                Err(e) => Err(e.into()),
            };
        }
        let all = self.uploads(org, None).await?;
        let mut matching = all.into_iter().filter(|u| u.received.upload.to_string().starts_with(&id));
        match (matching.next(), matching.next()) {
            (Some(upload), None) if !id.is_empty() => Ok(upload),
            (Some(_), _) => Err(Error::Wrong(format!("More than one upload begins with {id}; give more of the id."))),
            _ => Err(unknown()),
        }
    }

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
