//! Recording a change set: lines into chunks of up to 1,000, their digest, and a count of what they do.

use std::collections::BTreeMap;

use muster_domain::{
    change::{Change, Kind},
    digest::{Digest, Keys},
    event::{Body, Salt},
    selection::Selection,
};
use rand::Rng;

/// The most changes in one event.
pub const CHUNK: usize = 1_000;

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
        self.digest.add(&self.line);
        let salt = self.salt();
        self.body.push(salt, &self.line);
        self.changes += 1;
        *self.kinds.entry(change.kind).or_default() += 1;
        if change.unproven {
            self.unproven.insert(ordinal);
        }
        if self.body.len() == CHUNK {
            self.full.push(std::mem::take(&mut self.body));
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
            rest.push((self.taken, std::mem::take(&mut self.body)));
        }
        rest
    }

    /// How many changes of a kind there are.
    pub fn count(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind).copied().unwrap_or(0)
    }

    /// Whether anything that people see would change.
    pub fn is_silent(&self) -> bool {
        self.kinds.keys().all(|k| k.is_silent())
    }

    /// The digest, once everything is recorded.
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
