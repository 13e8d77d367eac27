//! Turns at what costs much: of each kind only a few are at it at once in a process, and the others wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_domain::ids::OrganisationId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Engine, Error, Result};

/// So many logs are folded, and the rosters that come of it held, at once: of a million people one takes some 500 MiB.
const FOLDINGS: usize = 4;

/// So many workbooks are written at once: each takes a core.
const WORKBOOKS: usize = 4;

/// So many workbooks of an organisation lie on the disk until they are read, at once: of a million people one takes some GiB.
const UNREAD: usize = 2;

/// So many change sets are read through for who loses eligibility, at once: of 300,000 changes it takes a core for a second.
const COUNTS: usize = 2;

/// So many look for the change sets to undo, where none is named, at once: it may take reading all of them.
const LOOKS: usize = 2;

/// The places that a process has.
pub(crate) struct Turns {
    folding: Arc<Semaphore>,
    writing: Arc<Semaphore>,
    counting: Arc<Semaphore>,
    undoing: Arc<Semaphore>,
    unread: Arc<Mutex<HashMap<OrganisationId, usize>>>,
}

impl Default for Turns {
    fn default() -> Self {
        let places = |n| Arc::new(Semaphore::new(n));
        Turns {
            folding: places(FOLDINGS),
            writing: places(WORKBOOKS),
            counting: places(COUNTS),
            undoing: places(LOOKS),
            unread: Arc::default(),
        }
    }
}

/// One of a few places, held for as long as this is.
pub struct Turn(#[allow(dead_code)] OwnedSemaphorePermit);

/// A workbook that is written or not read to its end yet: it counts for its organisation for as long as this is held.
pub struct Unread {
    all: Arc<Mutex<HashMap<OrganisationId, usize>>>,
    org: OrganisationId,
}

impl Drop for Unread {
    fn drop(&mut self) {
        let mut all = locked(&self.all);
        if let Some(many) = all.get_mut(&self.org) {
            *many -= 1;
            if *many == 0 {
                all.remove(&self.org);
            }
        }
    }
}

impl Engine {
    /// Waits until the log may be folded: each folding holds a whole roster, so only a few are held at once.
    ///
    /// # Errors
    /// [`Error::Busy`] if others are at it for longer than was to be waited.
    pub(crate) async fn turn_to_fold(&self) -> Result<Turn> {
        self.turn(&self.turns.folding, "Others look at rosters of the past; try it again in a while.").await
    }

    /// Waits until a workbook may be written: each takes a core, so only a few are written at once.
    ///
    /// # Errors
    /// [`Error::Busy`] if others are at it for longer than was to be waited.
    pub async fn turn_to_write(&self) -> Result<Turn> {
        self.turn(&self.turns.writing, "Others write workbooks; try it again in a while.").await
    }

    /// Waits until a change set may be read through for who loses eligibility.
    ///
    /// # Errors
    /// [`Error::Busy`] if others are at it for longer than was to be waited.
    pub async fn turn_to_count(&self) -> Result<Turn> {
        let busy = "Others count who loses eligibility by change sets; try it again in a while.";
        self.turn(&self.turns.counting, busy).await
    }

    /// Waits until may be looked for the change sets to undo.
    ///
    /// # Errors
    /// [`Error::Busy`] if others are at it for longer than was to be waited.
    pub async fn turn_to_look_for_undo(&self) -> Result<Turn> {
        self.turn(&self.turns.undoing, "Others look for change sets to undo; try it again in a while.").await
    }

    /// Counts one more workbook of an organisation that is written and then read: each lies on the disk until then.
    ///
    /// # Errors
    /// [`Error::Busy`] if as many as it may have are not read to their end yet. They may take as long as they like, so nobody
    /// waits for that.
    pub fn one_more_unread(&self, org: OrganisationId) -> Result<Unread> {
        let mut all = locked(&self.turns.unread);
        let many = all.entry(org).or_default();
        if *many >= UNREAD {
            return Err(Error::Busy(format!(
                "{UNREAD} workbooks of the organisation are being written or not read to their end yet, and more are not held: \
                 read one to its end, or ask for CSV."
            )));
        }
        *many += 1;
        Ok(Unread { all: self.turns.unread.clone(), org })
    }

    /// Waits for one of a few places.
    async fn turn(&self, places: &Arc<Semaphore>, busy: &str) -> Result<Turn> {
        let turn = tokio::time::timeout(self.patience, places.clone().acquire_owned()).await;
        turn.ok().and_then(Result::ok).map(Turn).ok_or_else(|| Error::Busy(busy.to_owned()))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
