//! Known rows: a feed's fingerprints in memory. A row whose bytes are known says nothing new and is not split into fields.
//!
//! A cache and nothing else: deleted, every row is compared, and the change set is the same.

use std::collections::HashMap;

use muster_domain::ids::MemberNo;

/// One known row: the fingerprint of its bytes and the member whom it names.
pub type Entry = (u128, MemberNo);

/// How many entries a stored page holds.
const PAGE: usize = 4096;
const ENTRY_BYTES: usize = 20;

/// Fingerprints packed in an array, found through an index of positions.
#[derive(Default)]
pub struct Known {
    fingerprints: Vec<u128>,
    members: Vec<MemberNo>,
    /// Row ordinal plus one in the payload now read; 0: not seen.
    seen: Vec<u32>,
    /// Positions plus one, by hash; 0 is free.
    index: Vec<u32>,
    deltas: usize,
    newer: usize,
}

impl Known {
    /// Unpacks what the store keeps: pages, then deltas in the order in which they were written.
    pub fn unpack(pages: &[Vec<u8>], deltas: &[Vec<u8>]) -> Self {
        let mut touched: HashMap<MemberNo, Option<u128>> = HashMap::new();
        for delta in deltas {
            let (dead, entries) = split_delta(delta);
            touched.extend(dead.map(|no| (no, None)));
            touched.extend(entries.map(|(fingerprint, no)| (no, Some(fingerprint))));
        }
        let mut known = Known { deltas: deltas.len(), newer: touched.len(), ..Known::default() };
        let count = pages.iter().map(|p| p.len() / ENTRY_BYTES).sum::<usize>() + touched.len();
        known.fingerprints.reserve_exact(count);
        known.members.reserve_exact(count);
        for page in pages {
            for (fingerprint, no) in entries(page) {
                if touched.is_empty() || !touched.contains_key(&no) {
                    known.push(fingerprint, no);
                }
            }
        }
        for (no, fingerprint) in touched {
            if let Some(fingerprint) = fingerprint {
                known.push(fingerprint, no);
            }
        }
        known.build_index();
        known
    }

    /// The position of a known row.
    pub fn find(&self, fingerprint: u128) -> Option<usize> {
        let mask = self.index.len().checked_sub(1)?;
        let mut slot = fingerprint as usize & mask;
        loop {
            match self.index[slot] {
                0 => return None,
                at if self.fingerprints[at as usize - 1] == fingerprint => return Some(at as usize - 1),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// The positions of many rows, in the order of the fingerprints. Step by step for all of them, so that the memory's
    /// answers need not be waited for one by one.
    pub fn find_all(&self, fingerprints: &[u128], found: &mut Vec<Option<usize>>) {
        found.clear();
        let Some(mask) = self.index.len().checked_sub(1) else {
            found.resize(fingerprints.len(), None);
            return;
        };
        found.extend(fingerprints.iter().map(|f| (self.index[*f as usize & mask] as usize).checked_sub(1)));
        for (fingerprint, at) in fingerprints.iter().zip(found) {
            if at.is_some_and(|at| self.fingerprints[at] != *fingerprint) {
                *at = self.find(*fingerprint);
            }
        }
    }

    /// Notes that the row stands in the payload; gives the ordinal of its first appearance if it stood there before.
    pub fn see(&mut self, position: usize, ordinal: u32) -> Option<u32> {
        let before = self.seen[position];
        if before == 0 {
            self.seen[position] = ordinal + 1;
            return None;
        }
        Some(before - 1)
    }

    /// The members whose rows were seen, with the ordinals of the rows.
    pub fn seen(&self) -> impl Iterator<Item = (MemberNo, u32)> + '_ {
        self.members.iter().zip(&self.seen).filter(|(_, s)| **s > 0).map(|(no, s)| (*no, s - 1))
    }

    /// Every known row.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.fingerprints.iter().copied().zip(self.members.iter().copied())
    }

    /// Whether no row is known.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many rows are known.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// How many deltas they were read from.
    pub fn deltas(&self) -> usize {
        self.deltas
    }

    /// Of how many members the deltas speak.
    pub fn newer(&self) -> usize {
        self.newer
    }

    fn push(&mut self, fingerprint: u128, no: MemberNo) {
        self.fingerprints.push(fingerprint);
        self.members.push(no);
    }

    fn build_index(&mut self) {
        let count = self.fingerprints.len();
        self.seen = vec![0; count];
        if count == 0 {
            return;
        }
        // At most three quarters full.
        self.index = vec![0; (count * 4 / 3 + 1).next_power_of_two()];
        let mask = self.index.len() - 1;
        for (at, fingerprint) in self.fingerprints.iter().enumerate() {
            let mut slot = *fingerprint as usize & mask;
            while self.index[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.index[slot] = at as u32 + 1;
        }
    }
}

/// Packs entries into pages.
pub fn pack_pages(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.chunks(PAGE).map(|chunk| pack(chunk, Vec::with_capacity(chunk.len() * ENTRY_BYTES))).collect()
}

/// Packs a delta: members whose rows are known no more, then rows known from now on.
pub fn pack_delta(dead: &[MemberNo], entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + dead.len() * 4 + entries.len() * ENTRY_BYTES);
    bytes.extend_from_slice(&(dead.len() as u32).to_le_bytes());
    dead.iter().for_each(|no| bytes.extend_from_slice(&no.to_le_bytes()));
    pack(entries, bytes)
}

fn pack(entries: &[Entry], mut bytes: Vec<u8>) -> Vec<u8> {
    for (fingerprint, no) in entries {
        bytes.extend_from_slice(&fingerprint.to_le_bytes());
        bytes.extend_from_slice(&no.to_le_bytes());
    }
    bytes
}

/// The entries of a stored page.
pub fn entries(page: &[u8]) -> impl Iterator<Item = Entry> + '_ {
    page.chunks_exact(ENTRY_BYTES).map(|e| {
        let (fingerprint, no) = e.split_at(16);
        (u128::from_le_bytes(fingerprint.try_into().unwrap_or_default()), number(no))
    })
}

/// A delta's dead members and new entries.
pub fn split_delta(delta: &[u8]) -> (impl Iterator<Item = MemberNo> + '_, impl Iterator<Item = Entry> + '_) {
    let (count, rest) = delta.split_at(delta.len().min(4));
    let dead = (number(count) as usize * 4).min(rest.len());
    let (dead, live) = rest.split_at(dead);
    (dead.chunks_exact(4).map(number), entries(live))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_delta_counts() {
        let pages = pack_pages(&[(1, 10), (2, 20), (3, 30)]);
        let deltas = [pack_delta(&[10, 20], &[(4, 20)]), pack_delta(&[30], &[])];
        let mut known = Known::unpack(&pages, &deltas);
        assert_eq!([1, 2, 3].map(|f| known.find(f)), [None; 3]);
        let at = known.find(4).unwrap();
        assert_eq!((known.see(at, 7), known.see(at, 9)), (None, Some(7)));
        assert_eq!(known.seen().collect::<Vec<_>>(), [(20, 7)]);
    }

    #[test]
    fn an_empty_cache_knows_nothing() {
        assert_eq!(Known::unpack(&[], &[]).find(5), None);
    }

    #[test]
    fn damaged_blobs_are_fewer_entries_and_no_panic() {
        let whole = pack_delta(&[1, 2], &[(3, 4)]);
        for cut in 0..whole.len() {
            Known::unpack(&[whole[..cut].to_vec()], &[whole[..cut].to_vec()]);
        }
    }
}
