//! A large change set is recorded ahead of its end, inert until it is sealed.

use muster_domain::{
    event::{Body, NewEvent},
    fact::Fact,
    ids::ChangeSetId,
};
use muster_store::Prepared;

use crate::{Engine, Result, compare::Job, crash, event, recorder::Recorder, roster::in_parallel};

/// From so many full chunks on, they are recorded ahead of the rest, inert until the change set is sealed.
pub(crate) const SPILL: usize = 50;

impl Engine {
    /// Stores full chunks ahead of the rest once there are many.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn spill(&self, job: &Job<'_>, recorder: &mut Recorder) -> Result<()> {
        if recorder.full_chunks() < SPILL || recorder.stays_in_memory {
            if recorder.stays_in_memory {
                drop(recorder.take_full());
            }
            return Ok(());
        }
        let chunks = recorder.take_full();
        recorder.spilled = true;
        let (store, org, change_set) = (self.store.clone(), job.org, job.change_set);
        let who = self.who(job.received.upload.0);
        let stored = async move {
            let events = tokio::task::block_in_place(|| prepare(change_set, &chunks))?;
            drop(chunks);
            let mut tx = store.begin(org, None).await?;
            tx.append_prepared(events, &who).await?;
            tx.commit().await?;
            crash::point("chunk");
            Ok(())
        };
        recorder.spills.send(stored).await
    }
}

/// Chunk events with their bodies hashed and packed, on both cores.
pub fn prepare(change_set: ChangeSetId, chunks: &[(u32, Body)]) -> Result<Vec<Prepared>> {
    in_parallel(chunks, |(first, body)| {
        let fact = Fact::Chunk { change_set, first: *first, count: body.len() as u32 };
        let NewEvent { id, stream, expected_version, kind, schema, data, .. } = event(&fact, None);
        Ok(Prepared { id, stream, expected_version, kind, schema, data, body: Some(muster_store::encode(body)?) })
    })
}
