//! Originals: the payloads as they came, which of them are still there, and how they are destroyed: first the log says
//! so, then the file goes; whoever finds one that should be gone destroys it again.

use std::{collections::BTreeSet, time::Duration};

use muster_domain::{
    documents::Upload,
    fact::{Fact, State},
    forgotten::{Destroyed, PayloadsDestroyed, Why},
    ids::{FeedNo, UploadId},
};
use muster_store::{Filter, Tx, Who};

use crate::{Engine, Organisation, Result, event};

/// A payload to which nobody has written for so long does not come any more.
const ABANDONED: Duration = Duration::from_hours(24);
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
        let upload = self.upload(org, upload).await?;
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
    /// was broken off before it was accepted). Says how many of each there were.
    pub(crate) async fn remove_destroyed(&self, org: &Organisation) -> Result<(u64, u64)> {
        let mut destroyed = 0;
        for upload in self.uploads_with_payload(org).await? {
            if upload.destroyed.is_some() {
                destroyed += u64::from(self.payloads.remove(org.row.id, upload.received.upload)?);
            }
        }
        let strays = self.remove_strays(org).await?;
        if destroyed + strays > 0 {
            self.payloads.settle(org.row.id)?;
        }
        Ok((destroyed, strays))
    }

    /// Under the lease nobody is working on a payload, but one may just be taken in: it gets its name and its upload in one
    /// transaction, which is waited for.
    async fn remove_strays(&self, org: &Organisation) -> Result<u64> {
        let mut strays = self.payloads.remove_abandoned(org.row.id, ABANDONED)?;
        let mut tx = self.store.begin(org.row.id, None).await?;
        tx.take_head().await?;
        let known: BTreeSet<UploadId> =
            self.uploads_with_payload(org).await?.iter().map(|u| u.received.upload).collect();
        for stray in self.payloads.all(org.row.id)?.into_iter().filter(|id| !known.contains(id)) {
            strays += u64::from(self.payloads.remove(org.row.id, stray)?);
        }
        tx.rollback().await?;
        Ok(strays)
    }
}

/// Whether an upload is done with: nobody will read its original again.
pub(crate) fn is_done(upload: &Upload) -> bool {
    !matches!(upload.state, State::Received | State::Held | State::PartlyApplied)
}
