//! Access: who is let in with which key, who may make keys, and users with their roles and passwords.
//!
//! What is written by and by (last uses, the log of reads) is collected in memory: see [`Engine::flush_access`].

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use muster_domain::{
    access::{Fact, Grant, Role},
    event::Body,
    ids::OrganisationId,
};
use muster_store::{
    Prepared, Who,
    access::{Access, AccessTx},
    encode,
};
use rand::Rng;
use serde::Serialize;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{Engine, Organisation, Result};

mod answers;
mod authenticate;
mod keys;
mod names;
mod notes;
mod passwords;
mod users;

pub use answers::{ANSWERS_KEPT, CLAIMED};
pub use authenticate::{Caller, Refusal};
pub use keys::{ENDS_SOON, LastUse, ListedKey, MadeKey, Terms, check_fields, check_overlap};
pub use names::Names;
pub use notes::{AccessEntry, AccessFigures, AccessLogFilter, AccessLogPage, AccessLogPlace, LOG_KEPT, Tidied};
pub use users::{ListedUser, NewUser};

/// How many passwords a process hashes at a time: each takes a core for tens of milliseconds, and 19 MiB.
const HASHING: usize = 2;

/// What a process keeps in memory about access.
pub(crate) struct Memory {
    organisations: Mutex<HashMap<OrganisationId, Kept>>,
    pending: Mutex<notes::Pending>,
    unknown: AtomicU64,
    lost: AtomicU64,
    hashing: Semaphore,
}

/// An organisation as it was when its log ended with that event.
#[derive(Clone)]
struct Kept {
    last_seq: u64,
    organisation: Arc<Organisation>,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            organisations: Mutex::default(),
            pending: Mutex::default(),
            unknown: AtomicU64::default(),
            lost: AtomicU64::default(),
            hashing: Semaphore::new(HASHING),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who makes and changes keys.
#[derive(Clone, Debug)]
pub enum Maker {
    /// Whoever has the command line of the installation.
    Operator,
    /// A caller, who may do only so much.
    Caller(Box<Grant>),
}

impl Maker {
    fn grant(&self) -> Option<&Grant> {
        match self {
            Maker::Operator => None,
            Maker::Caller(grant) => Some(grant),
        }
    }

    /// Whether they see keys that are mapped to others too.
    fn sees_all_keys(&self) -> bool {
        self.grant().is_none_or(|grant| grant.role == Role::Administrator)
    }
}

impl Engine {
    /// Users and keys in the store.
    async fn users_and_keys(&self) -> Result<Access> {
        Ok(self.store.access().await?)
    }

    /// Who acts, for the log of access.
    fn who_by(&self, by: &Maker) -> Who {
        let who = self.who(Uuid::now_v7());
        match by.grant() {
            Some(grant) => Who { actor: grant.actor(), ..who },
            None => who,
        }
    }

    /// Counts a key that is none.
    fn count_unknown(&self) {
        self.access.unknown.fetch_add(1, Ordering::Relaxed);
    }
}

/// Appends a fact, with what is to be said of people and keys in lines of its body.
async fn tell(tx: &mut AccessTx, fact: &Fact, lines: &[&dyn ErasedLine], who: &Who) -> Result<()> {
    const FORM: u32 = 1;
    let (stream, kind, data) = fact.parts()?;
    let mut body = Body::default();
    for line in lines {
        let mut salt = [0; 16];
        rand::rng().fill_bytes(&mut salt);
        body.push(salt, &line.bytes()?);
    }
    let body = if body.is_empty() { None } else { Some(encode(&body)?) };
    let event = Prepared { id: Uuid::now_v7(), stream, expected_version: None, kind, schema: FORM, data, body };
    tx.append(vec![event], who).await?;
    Ok(())
}

/// Whatever can be a line of a body.
trait ErasedLine: Sync {
    fn bytes(&self) -> Result<Vec<u8>>;
}

impl<T: Serialize + Sync> ErasedLine for T {
    fn bytes(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }
}
