//! Cursors: how far somebody has read the events of an organisation, in which life of the database.

use muster_domain::replay::log::hex;

use crate::{Engine, Error, Organisation, Result};

/// Stands for the beginning of the log.
pub const START: &str = "start";

impl Engine {
    /// The cursor behind an event: `EPOCH:SEQ`. The epoch is another one for every organisation and after every restore.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn cursor(&self, org: &Organisation, seq: u64) -> Result<String> {
        Ok(format!("{}:{seq}", self.epoch_of(org).await?))
    }

    /// The number of the event behind which a cursor stands.
    ///
    /// # Errors
    /// If it is no cursor, is of another epoch or organisation, or stands past the end of the log.
    pub async fn after(&self, org: &Organisation, cursor: &str) -> Result<u64> {
        if cursor == START {
            return Ok(0);
        }
        let parts = cursor.split_once(':').and_then(|(epoch, seq)| Some((epoch, seq.parse::<u64>().ok()?)));
        let Some((epoch, seq)) = parts else {
            return Err(Error::Wrong(format!("`{cursor}` is no cursor: write EPOCH:SEQ as it was given, or {START}.")));
        };
        if epoch != self.epoch_of(org).await? {
            return Err(Error::Wrong(format!(
                "The cursor is of another epoch, or of another organisation: since it was given, this database was restored \
                 from a backup, and the events behind it may be others by now. Read {} again from the beginning: \
                 --after {START}.",
                org.row.slug
            )));
        }
        let last = self.store.head(org.row.id).await?.last_seq;
        if seq > last {
            return Err(Error::Wrong(format!(
                "The cursor stands behind event {seq}, and the last of {} is {last}.",
                org.row.slug
            )));
        }
        Ok(seq)
    }

    async fn epoch_of(&self, org: &Organisation) -> Result<String> {
        let mut hash = blake3::Hasher::new();
        hash.update(b"muster.epoch\0").update(self.store.epoch().await?.as_bytes()).update(org.row.id.0.as_bytes());
        Ok(hex(&hash.finalize().as_bytes()[..8]))
    }
}
