//! Exporting: the log of an organisation as lines of JSON, byte for byte as it is stored (see `docs/events.md`).

use std::io::Write;

use muster_domain::{event::StoredEvent, replay::log::write_event};
use muster_store::{RawEvent, StoreError};

use crate::{Engine, Error, Organisation, Result, roster::in_parallel};

/// Events read from the store at a time.
pub(crate) const SLICE: u32 = 64;

impl Engine {
    /// Writes every event of an organisation in order, and says how many there were.
    ///
    /// # Errors
    /// If the log cannot be read or the output not be written.
    pub async fn export(&self, org: &Organisation, out: &mut dyn Write) -> Result<u64> {
        Ok(self.export_after(org, 0, out).await?.0)
    }

    /// The same from behind an event on; says how many there were, and the number of the last.
    ///
    /// # Errors
    /// As [`Engine::export`].
    pub async fn export_after(&self, org: &Organisation, after: u64, out: &mut dyn Write) -> Result<(u64, u64)> {
        let mut slices = self.store.event_slices(org.row.id, after, SLICE);
        let (mut count, mut last) = (0, after);
        while let Some(slice) = slices.next().await? {
            last = slice.last().map_or(last, |event| event.seq);
            let lines = tokio::task::block_in_place(|| in_parallel(&slice, line))?;
            for line in &lines {
                out.write_all(line)?;
            }
            count += lines.len() as u64;
        }
        Ok((count, last))
    }

    /// One event by its number.
    ///
    /// # Errors
    /// If the organisation's log has none of that number.
    pub async fn show_event(&self, org: &Organisation, seq: u64) -> Result<StoredEvent> {
        self.store.event(org.row.id, seq).await.map_err(|e| match e {
            StoreError::NotFound => {
                Error::Unknown(format!("There is no event {seq}; `muster events export` shows all."))
            }
            e => e.into(),
        })
    }
}

fn line(event: &RawEvent) -> Result<Vec<u8>> {
    let event = event.clone().open()?;
    let mut line = Vec::with_capacity(512 + event.body.as_ref().map_or(0, |b| b.lines.len() + b.len() * 24));
    write_event(&event, &mut line)?;
    Ok(line)
}
