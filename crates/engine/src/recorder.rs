//! Recording a change set: lines into chunks of up to 1,000, their digest, and a count of what they do.

use std::{collections::BTreeMap, sync::Arc};

use muster_domain::{
    change::{Change, Kind},
    digest::{Digest, Keys},
    event::{Body, Salt},
    selection::Selection,
};
use rand::Rng;
use tokio::{sync::Mutex, task::JoinHandle};

use crate::{Error, Result};

/// The most changes in one event.
pub const CHUNK: usize = 1_000;

/// Chunks on their way into the store while comparing goes on: one group at a time.
#[derive(Clone, Default)]
pub struct Spills(Arc<Mutex<Option<JoinHandle<Result<()>>>>>);

impl Spills {
    /// Waits for the group that is on its way.
    ///
    /// # Errors
    /// If it could not be stored.
    pub async fn settle(&self) -> Result<()> {
        match self.0.lock().await.take() {
            Some(task) => {
                task.await.unwrap_or_else(|_| Err(Error::Damaged("storing chunks was broken off".to_owned())))
            }
            None => Ok(()),
        }
    }

    /// Sends the next group on its way, once the one before has arrived.
    ///
    /// # Errors
    /// If that could not be stored.
    pub async fn send(&self, group: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
        self.settle().await?;
        *self.0.lock().await = Some(tokio::spawn(group));
        Ok(())
    }
}

/// A change set in the making.
pub struct Recorder {
    body: Body,
    full: Vec<Body>,
    line: Vec<u8>,
    salts: Vec<Salt>,
    digest: Digest,
    taken: u32,
    /// Nothing is stored: chunks are forgotten once they are counted.
    pub stays_in_memory: bool,
    /// Chunks were stored ahead of the rest.
    pub spilled: bool,
    /// Chunks on their way into the store.
    pub spills: Spills,
    /// Changes so far.
    pub changes: u32,
    /// Changes by kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// Changes that the payload does not prove.
    pub unproven: Selection,
}

impl Recorder {
    /// An empty change set.
    pub fn new(keys: &Keys) -> Self {
        Recorder {
            body: Body::default(),
            full: Vec::new(),
            line: Vec::new(),
            salts: Vec::new(),
            digest: keys.digest(),
            taken: 0,
            stays_in_memory: false,
            spilled: false,
            spills: Spills::default(),
            changes: 0,
            kinds: BTreeMap::new(),
            unproven: Selection::default(),
        }
    }

    /// Records a change and gives its ordinal.
    pub fn push(&mut self, change: &Change) -> u32 {
        let ordinal = self.changes;
        self.line.clear();
        change.write(&mut self.line);
        let salt = self.salt();
        self.body.push(salt, &self.line);
        self.changes += 1;
        *self.kinds.entry(change.kind).or_default() += 1;
        if change.unproven {
            self.unproven.insert(ordinal);
        }
        if self.body.len() == CHUNK {
            self.digest.add_lines(&self.body.lines);
            let next = Body {
                salts: Vec::with_capacity(CHUNK),
                lines: Vec::with_capacity(self.body.lines.len() * 9 / 8),
                erased: Vec::new(),
            };
            self.full.push(std::mem::replace(&mut self.body, next));
        }
        ordinal
    }

    /// How many full chunks wait to be stored.
    pub fn full_chunks(&self) -> usize {
        self.full.len()
    }

    /// Takes the full chunks, each with the ordinal of its first change.
    pub fn take_full(&mut self) -> Vec<(u32, Body)> {
        let first = self.taken;
        let full: Vec<_> = std::mem::take(&mut self.full).into_iter().enumerate().collect();
        self.taken += (full.len() * CHUNK) as u32;
        full.into_iter().map(|(i, body)| (first + (i * CHUNK) as u32, body)).collect()
    }

    /// Takes every chunk that is left, the last one perhaps not full.
    pub fn take_rest(&mut self) -> Vec<(u32, Body)> {
        let mut rest = self.take_full();
        if !self.body.is_empty() {
            self.digest.add_lines(&self.body.lines);
            rest.push((self.taken, std::mem::take(&mut self.body)));
        }
        rest
    }

    /// How many changes of a kind there are.
    pub fn count(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind).copied().unwrap_or(0)
    }

    /// Whether a claim ends without anything visible: another feed still claims the person.
    pub fn has_releases(&self) -> bool {
        self.kinds.contains_key(&Kind::Release)
    }

    /// Whether anything that people see would change.
    pub fn is_silent(&self) -> bool {
        self.kinds.keys().all(|k| k.is_silent())
    }

    /// The digest, once everything is recorded and taken.
    pub fn finish(self) -> (String, Selection) {
        (self.digest.finish(), self.unproven)
    }

    /// Salts come from the operating system's generator a chunk at a time.
    fn salt(&mut self) -> Salt {
        if self.salts.is_empty() {
            let mut bytes = vec![0; CHUNK * 16];
            rand::rng().fill_bytes(&mut bytes);
            self.salts.extend(bytes.chunks_exact(16).map(|c| Salt::try_from(c).unwrap_or_default()));
        }
        self.salts.pop().unwrap_or_default()
    }
}
