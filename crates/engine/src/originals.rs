//! Originals: the payloads as they came, which of them are still there, and how they are destroyed: first the log says
//! so, then the file goes; whoever finds one that should be gone destroys it again.

use std::{collections::BTreeSet, fs, io};

use muster_domain::{
    documents::Upload,
    fact::{Fact, State},
    forgotten::{Destroyed, PayloadsDestroyed, Why},
    ids::{FeedNo, OrganisationId, UploadId},
};
use muster_store::{Filter, Tx, Who};
use uuid::Uuid;

use crate::{Engine, Organisation, Result, event};

/// Uploads named in one event.
const TOGETHER: usize = 1000;

/// What there is of a payload as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Original {
    /// It never was one: an edit by hand, an undo, a handover.
    None,
    /// It is kept.
    Kept,
    /// It was destroyed.
    Destroyed(Destroyed),
}

impl Engine {
    /// What there is of an upload's payload as it came.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn original(&self, org: &Organisation, upload: UploadId) -> Result<Original> {
        let upload: Upload = serde_json::from_slice(&self.store.upload(org.row.id, upload).await?.doc)?;
        Ok(match upload.destroyed {
            Some(gone) => Original::Destroyed(gone),
            None if upload.received.feed == FeedNo::HAND => Original::None,
            None => Original::Kept,
        })
    }

    /// Uploads that came with a payload, oldest first.
    pub(crate) async fn uploads_with_payload(&self, org: &Organisation) -> Result<Vec<Upload>> {
        let mut uploads = Vec::new();
        for row in self.store.uploads(org.row.id, &Filter::default()).await?.iter().rev() {
            let upload: Upload = serde_json::from_slice(&row.doc)?;
            if upload.received.feed != FeedNo::HAND {
                uploads.push(upload);
            }
        }
        Ok(uploads)
    }

    /// Those of them of which the original is there.
    pub(crate) async fn originals(&self, org: &Organisation) -> Result<Vec<Upload>> {
        let mut uploads = self.uploads_with_payload(org).await?;
        uploads.retain(|u| u.destroyed.is_none() && self.payloads.path(org.row.id, u.received.upload).exists());
        Ok(uploads)
    }

    /// Says in the log and in the documents that originals are destroyed. Their files go once that is committed.
    pub(crate) async fn note_destroyed(&self, tx: &mut Tx, uploads: &[UploadId], why: Why, who: &Who) -> Result<()> {
        for uploads in uploads.chunks(TOGETHER) {
            let fact = Fact::PayloadsDestroyed(PayloadsDestroyed { uploads: uploads.to_vec(), why });
            tx.append(vec![event(&fact, None)], who).await?;
            // As the log has it: where the clock went back, that is later than now.
            let at = tx.head().await?.last_recorded_at;
            for upload in uploads {
                let mut row = tx.upload(*upload).await?;
                let mut doc: Upload = serde_json::from_slice(&row.doc)?;
                doc.destroyed = Some(Destroyed { at, why });
                row.doc = serde_json::to_vec(&doc)?;
                tx.put_upload(&row).await?;
            }
        }
        Ok(())
    }

    /// Removes the files of originals that the log says are destroyed, and files that no upload speaks of (of one that
    /// was broken off before it was accepted). Under the lease nobody is just writing one. Says how many of each there were.
    pub(crate) async fn remove_destroyed(&self, org: &Organisation) -> Result<(u64, u64)> {
        let (mut destroyed, mut strays) = (0, 0);
        let mut known = BTreeSet::new();
        for upload in self.uploads_with_payload(org).await? {
            known.insert(upload.received.upload);
            if upload.destroyed.is_some() {
                destroyed += u64::from(self.payloads.remove(org.row.id, upload.received.upload)?);
            }
        }
        for stray in self.payloads.all(org.row.id)? {
            if !known.contains(&stray) {
                strays += u64::from(self.payloads.remove(org.row.id, stray)?);
            }
        }
        if destroyed + strays > 0 {
            self.payloads.settle(org.row.id)?;
        }
        Ok((destroyed, strays))
    }
}

/// Whether an upload is done with: nobody will read its original again.
pub(crate) fn is_done(upload: &Upload) -> bool {
    !matches!(upload.state, State::Received | State::Held | State::PartlyApplied)
}

impl crate::payload::Payloads {
    /// Removes a payload for good, and says whether it was there.
    ///
    /// # Errors
    /// If it is there and cannot be removed.
    pub fn remove(&self, organisation: OrganisationId, upload: UploadId) -> io::Result<bool> {
        match fs::remove_file(self.path(organisation, upload)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Every payload of an organisation that lies there, whether an upload speaks of it or not.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn all(&self, organisation: OrganisationId) -> io::Result<Vec<UploadId>> {
        let entries = match fs::read_dir(self.dir(organisation)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            all.extend(name.to_str().and_then(|n| Uuid::parse_str(n).ok()).map(UploadId));
        }
        Ok(all)
    }
}
