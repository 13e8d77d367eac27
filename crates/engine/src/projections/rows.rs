//! The rows of a lane as a projection sees them while it takes events: what is stored, and what it has written since.

use std::collections::{BTreeMap, BTreeSet};

use muster_store::{
    StoreError,
    read_model::{Claim, Keeper, Key, Part, Range, Step, Writes},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::Result;

/// Rows under keys, in parts that the projection numbers. What an event wrote counts once the whole event was taken.
pub struct Rows {
    claim: Claim,
    taken: Writes,
    taking: Writes,
    bytes: usize,
}

/// A number as a key, in order of numbers.
pub fn number(n: u64) -> Key {
    n.to_be_bytes().to_vec()
}

/// The number that such a key stands for.
pub fn number_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// A row that is JSON.
///
/// # Errors
/// If it is none.
pub fn document<T: DeserializeOwned>(row: &[u8]) -> Result<T> {
    let damaged = |_| StoreError::Corrupt("a row of a read model cannot be read");
    Ok(serde_json::from_slice(row).map_err(damaged)?)
}

impl Rows {
    pub(super) fn new(claim: Claim) -> Rows {
        Rows { claim, taken: Writes::default(), taking: Writes::default(), bytes: 0 }
    }

    /// One row.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn get(&mut self, part: Part, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let place = (part, key.to_vec());
        for writes in [&self.taking, &self.taken] {
            if let Some(row) = writes.rows.get(&place) {
                return Ok(row.clone());
            }
            if writes.cleared.contains(&part) {
                return Ok(None);
            }
        }
        Ok(self.claim.get(part, key).await?)
    }

    /// One row that is JSON.
    ///
    /// # Errors
    /// If the store cannot be read, or it is none.
    pub async fn document<T: DeserializeOwned>(&mut self, part: Part, key: &[u8]) -> Result<Option<T>> {
        self.get(part, key).await?.map(|row| document(&row)).transpose()
    }

    /// Rows from a key on up to and without another, in order of keys; all to the end of the part without it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn range(&mut self, part: Part, from: &[u8], to: Option<&[u8]>) -> Result<Vec<(Key, Vec<u8>)>> {
        let mut found: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
        if !self.taken.cleared.contains(&part) && !self.taking.cleared.contains(&part) {
            let which = Range { from: from.to_vec(), to: to.map(<[u8]>::to_vec), ..Range::default() };
            found.extend(self.claim.range(part, &which).await?);
        }
        let mut newer = vec![&self.taking];
        if !self.taking.cleared.contains(&part) {
            newer.insert(0, &self.taken);
        }
        for writes in newer {
            let rows = writes
                .rows
                .range((part, from.to_vec())..)
                .take_while(|((p, key), _)| *p == part && to.is_none_or(|to| key.as_slice() < to));
            for ((_, key), row) in rows {
                match row {
                    Some(row) => found.insert(key.clone(), row.clone()),
                    None => found.remove(key),
                };
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Writes a row, in place of one that is there.
    pub fn put(&mut self, part: Part, key: Key, row: Vec<u8>) {
        self.bytes += row.len() + key.len();
        self.taking.rows.insert((part, key), Some(row));
    }

    /// Writes a row that is JSON.
    ///
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn put_document(&mut self, part: Part, key: Key, value: &impl Serialize) -> Result<()> {
        let row = serde_json::to_vec(value)?;
        self.put(part, key, row);
        Ok(())
    }

    /// Deletes a row, if it is there.
    pub fn delete(&mut self, part: Part, key: Key) {
        self.bytes += key.len();
        self.taking.rows.insert((part, key), None);
    }

    /// Deletes all rows of a part.
    pub fn clear(&mut self, part: Part) {
        self.taking.rows.retain(|(p, _), _| *p != part);
        self.taking.cleared.insert(part);
    }

    /// Keeps the lane while an event is taken.
    pub(super) fn keeper(&self) -> Keeper {
        self.claim.keeper()
    }

    /// How many bytes wait to be written.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The event was taken whole.
    pub(super) fn keep(&mut self) {
        let Writes { cleared, rows } = std::mem::take(&mut self.taking);
        if !cleared.is_empty() {
            self.taken.rows.retain(|(part, _), _| !cleared.contains(part));
            self.taken.cleared.extend(cleared);
        }
        self.taken.rows.extend(rows);
    }

    /// The event could not be taken: what it wrote counts for nothing.
    pub(super) fn undo(&mut self) {
        self.taking = Writes { cleared: BTreeSet::new(), rows: BTreeMap::new() };
    }

    /// Writes everything, with the checkpoint. `false` if somebody else was faster.
    pub(super) async fn commit(self, step: &Step) -> Result<bool> {
        Ok(self.claim.commit(self.taken, step).await?)
    }
}
