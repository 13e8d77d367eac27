//! Working on a lane: one at a time, rows and checkpoint in one transaction, compared and set.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use muster_domain::event::Hash;
use tokio::sync::{Mutex, MutexGuard};

use super::{Key, Lane, Org, Parked, Part, Range, ReadModels, Taken, entry, lane};
use crate::connect::{Conn, Reading, Writing, on};
use crate::error::{Result, StoreError};
use crate::organisation::micros;

/// What is written in one step.
#[derive(Default)]
pub struct Writes {
    /// Parts of which nothing is left but what is written in the same step.
    pub cleared: BTreeSet<Part>,
    /// Rows by part and key; `None` deletes one.
    pub rows: BTreeMap<(Part, Key), Option<Vec<u8>>>,
}

/// How far a step leads.
pub struct Step {
    /// The event up to which the rows reflect the log from then on.
    pub seq: u64,
    /// Its hash in the chain.
    pub hash: Hash,
    /// The next event, if it cannot be taken.
    pub parked: Option<Parked>,
}

/// The right to work on a lane. Dropped without [`Claim::commit`], it leaves everything as it was.
pub struct Claim {
    /// The lane as it is.
    pub lane: Lane,
    models: ReadModels,
    held: Held,
    /// Given back when the work is over.
    _taken: Option<Taken>,
}

/// On PostgreSQL the lane's row is held while the work is done. On SQLite that would keep all other lanes waiting: there
/// a mark in the process holds the lane, and the checkpoint shows whether another process was faster.
enum Held {
    Row(Row),
    Mark,
}

/// The transaction that holds a lane's row; none once it has ended.
type Row = Arc<Mutex<Option<Writing>>>;

/// Keeps a claim while its holder is busy with something else, for as long as it takes. One who is frozen keeps nothing.
pub struct Keeper {
    row: Option<Row>,
    every: Duration,
}

/// Where the rows of a claimed lane are read.
enum Place<'a> {
    Held(MutexGuard<'a, Option<Writing>>),
    Reading(Reading),
}

impl ReadModels {
    /// Claims a lane; `None` if somebody works on it, or it is there no longer.
    pub async fn claim(&self, org: Org, id: i64) -> Result<Option<Claim>> {
        let Some(taken) = self.take(id) else { return Ok(None) };
        let (found, held) = if self.pools.is_file() {
            (lane::take(&mut self.reading().await?.conn(), org, id).await?, Held::Mark)
        } else {
            let mut writing = self.writing().await?;
            (lane::take(&mut writing.conn(), org, id).await?, Held::Row(Arc::new(Mutex::new(Some(writing)))))
        };
        Ok(found.map(|lane| Claim { lane, models: self.clone(), held, _taken: Some(taken) }))
    }
}

impl Claim {
    /// Keeps the claim during work that may go on for long without asking for rows.
    pub fn keeper(&self) -> Keeper {
        let row = match &self.held {
            Held::Row(row) => Some(row.clone()),
            Held::Mark => None,
        };
        Keeper { row, every: self.models.kept_every }
    }

    /// One row as it is stored.
    pub async fn get(&self, part: Part, key: &[u8]) -> Result<Option<Vec<u8>>> {
        entry::get(&mut self.place().await?.conn()?, &self.lane, part, key).await
    }

    /// Rows as they are stored, in order of keys.
    pub async fn range(&self, part: Part, which: &Range) -> Result<Vec<(Key, Vec<u8>)>> {
        entry::range(&mut self.place().await?.conn()?, &self.lane, part, which).await
    }

    async fn place(&self) -> Result<Place<'_>> {
        Ok(match &self.held {
            Held::Row(row) => Place::Held(row.lock().await),
            Held::Mark => Place::Reading(self.models.reading().await?),
        })
    }

    /// Writes rows and checkpoint in one transaction. `false` if somebody else has moved the lane meanwhile: then nothing
    /// is written, and there is nothing to make good.
    ///
    /// # Errors
    /// If the store refuses; then everything is as before.
    pub async fn commit(self, writes: Writes, step: &Step) -> Result<bool> {
        let mut writing = match self.held {
            Held::Row(row) => row.lock().await.take().ok_or(StoreError::RolledBack)?,
            Held::Mark => self.models.writing().await?,
        };
        if !move_on(&mut writing.conn(), &self.lane, step).await? {
            writing.rollback().await?;
            return Ok(false);
        }
        for part in &writes.cleared {
            entry::clear(&mut writing.conn(), &self.lane, *part).await?;
        }
        let mut rows = Vec::with_capacity(writes.rows.len());
        for ((part, key), body) in writes.rows {
            match body {
                Some(body) => rows.push((part, key, body)),
                None if writes.cleared.contains(&part) => {}
                None => entry::delete(&mut writing.conn(), &self.lane, part, &key).await?,
            }
        }
        entry::put(&mut writing.conn(), &self.lane, rows).await?;
        writing.commit().await?;
        self.models.moved.notify_waiters();
        Ok(true)
    }
}

impl Place<'_> {
    fn conn(&mut self) -> Result<Conn<'_>> {
        Ok(match self {
            Place::Held(held) => held.as_mut().ok_or(StoreError::RolledBack)?.conn(),
            Place::Reading(reading) => reading.conn(),
        })
    }
}

impl Keeper {
    /// Waits for some work, and keeps the claim meanwhile: the server hears something now and then. The work must let go
    /// of its thread now and then.
    ///
    /// # Errors
    /// If the claim is lost; then the work is broken off.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let Some(row) = &self.row else { return Ok(work.await) };
        let mut work = pin!(work);
        loop {
            if let Ok(outcome) = tokio::time::timeout(self.every, &mut work).await {
                return Ok(outcome);
            }
            // Waited for, the work would never let go of it: it stands still here. And whoever has it is asking something.
            let Ok(mut held) = row.try_lock() else { continue };
            let mut conn = held.as_mut().ok_or(StoreError::RolledBack)?.conn();
            let _: i32 = on!(&mut conn, c => sqlx::query_scalar("SELECT 1").fetch_one(&mut **c).await?);
        }
    }
}

/// Moves the checkpoint, if it is where it was.
async fn move_on(conn: &mut Conn<'_>, lane: &Lane, step: &Step) -> Result<bool> {
    const SQL: &str = "UPDATE lane SET seq = $5, hash = $6, moved_at = CASE WHEN seq = $5 THEN moved_at ELSE $7 END, \
        parked_seq = $8, parked_kind = $9, parked_error = $10, parked_at = $11 \
        WHERE org = $1 AND id = $2 AND seq = $3 AND hash = $4 AND state <> 'dropped'";
    let parked = step.parked.as_ref();
    let rows = on!(conn, c => {
        let query = sqlx::query(SQL).bind(lane.organisation.0).bind(lane.id).bind(lane.seq as i64);
        let query = query.bind(&lane.hash[..]).bind(step.seq as i64).bind(&step.hash[..]).bind(micros(Utc::now()));
        let query = query.bind(parked.map(|p| p.seq as i64)).bind(parked.map(|p| &*p.kind));
        let query = query.bind(parked.map(|p| &*p.error)).bind(parked.map(|p| micros(p.at)));
        query.execute(&mut **c).await?.rows_affected()
    });
    Ok(rows == 1)
}
