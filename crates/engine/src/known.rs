//! Known rows: a feed's fingerprints in memory. A row whose bytes are known says nothing new and is not split into fields.
//!
//! A cache and nothing else: deleted, every row is compared, and the change set is the same.

use std::{iter::Peekable, vec::IntoIter};

use muster_domain::ids::{FeedNo, MemberNo, OrganisationId};
use muster_store::{Store, Tx};
use tokio::sync::mpsc;

use crate::{Result, bits::Bits};

mod stored;

pub(crate) use stored::{Stays, Stored, add_delta};

/// One known row: the fingerprint of its bytes and the member whom it names.
pub type Entry = (u128, MemberNo);

/// How many entries a stored page holds.
const PAGE: usize = 4096;
const ENTRY_BYTES: usize = 20;

/// How many buckets of pages may be ready before they are written.
const AHEAD: usize = 4;

/// Known rows in order of their fingerprints, found by their highest bits.
#[derive(Default)]
pub struct Known {
    /// What they were made with.
    layout: Vec<u8>,
    rows: Vec<Row>,
    /// Where the rows with the same highest bits begin, and the end.
    starts: Vec<u32>,
    deltas: usize,
    newer: usize,
    /// Those that are stored and were left unread, if they were.
    stays: Option<Stays>,
}

/// One known row. Everything that a hit looks at lies together.
#[derive(Clone, Copy)]
struct Row {
    high: u64,
    low: u64,
    no: MemberNo,
    /// Line plus one in the payload now read; 0: not seen.
    seen: u32,
}

impl Row {
    fn new((fingerprint, no): Entry) -> Self {
        Row { high: (fingerprint >> 64) as u64, low: fingerprint as u64, no, seen: 0 }
    }

    fn fingerprint(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

/// How many rows share their highest bits, on average, at most.
const SHARE: usize = 4;

/// Stored pages on their way into memory, newer words put in their places.
struct Unpacking {
    rows: Vec<Row>,
    /// Members of whom the deltas speak.
    touched: Bits,
    /// The rows of those, as far as they are known again.
    fresh: Peekable<IntoIter<Row>>,
    deltas: usize,
}

impl Unpacking {
    /// `size` is that of all pages together, in bytes.
    fn new(deltas: &[Vec<u8>], size: usize) -> Self {
        let (touched, fresh) = stored::together(deltas);
        let mut fresh: Vec<Row> = fresh.into_iter().map(Row::new).collect();
        fresh.sort_unstable_by_key(Row::fingerprint);
        let rows = Vec::with_capacity(size / ENTRY_BYTES + fresh.len());
        Unpacking { rows, touched, fresh: fresh.into_iter().peekable(), deltas: deltas.len() }
    }

    /// The next page.
    fn page(&mut self, page: &[u8]) {
        for entry in entries(page) {
            while let Some(row) = self.fresh.next_if(|f| f.fingerprint() < entry.0) {
                self.rows.push(row);
            }
            if !self.touched.contains(entry.1) {
                self.rows.push(Row::new(entry));
            }
        }
    }

    fn done(mut self, layout: Vec<u8>) -> Known {
        self.rows.extend(self.fresh);
        if !self.rows.is_sorted_by_key(Row::fingerprint) {
            self.rows.sort_unstable_by_key(Row::fingerprint);
        }
        let starts = starts(&self.rows);
        let newer = self.touched.len() as usize;
        Known { layout, rows: self.rows, starts, deltas: self.deltas, newer, stays: None }
    }
}

impl Known {
    /// Reads what the store keeps of a feed, if anything.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn load(store: &Store, org: OrganisationId, feed: FeedNo) -> Result<Option<Self>> {
        let Some(stored) = store.fingerprints(org, feed).await? else { return Ok(None) };
        let mut unpacking = Unpacking::new(&stored.deltas, stored.size as usize);
        let layout = stored.layout;
        drop(stored.deltas);
        store.each_fingerprint_page(org, feed, |page| unpacking.page(page)).await?;
        Ok(Some(unpacking.done(layout)))
    }

    /// What they were made with.
    pub fn layout(&self) -> &[u8] {
        &self.layout
    }

    /// The position of a known row.
    #[cfg(test)]
    fn find(&self, fingerprint: u128) -> Option<usize> {
        self.starts.len().checked_sub(1)?;
        let high = (fingerprint >> 64) as u64;
        self.look(self.starts[slot(high, self.starts.len())] as usize, high, fingerprint as u64)
    }

    /// From the first row with these highest bits on.
    fn look(&self, from: usize, high: u64, low: u64) -> Option<usize> {
        let here = self.rows[from..].iter().take_while(|row| row.high <= high);
        here.zip(from..).find(|(row, _)| row.high == high && row.low == low).map(|(_, at)| at)
    }

    /// The positions of many rows, in the order of the fingerprints. Step by step for all of them, so that the memory's
    /// answers need not be waited for one by one.
    pub fn find_all(&self, fingerprints: &[u128], found: &mut Vec<Option<usize>>) {
        found.clear();
        if self.rows.is_empty() {
            found.resize(fingerprints.len(), None);
            return;
        }
        let high = |f: &u128| (f >> 64) as u64;
        found.extend(fingerprints.iter().map(|f| Some(self.starts[slot(high(f), self.starts.len())] as usize)));
        // Nothing but looking at them: a branch on a row that is still on its way would hold up those behind it.
        let last = self.rows.len() - 1;
        let touch = |at: usize| self.rows[at.min(last)].low ^ self.rows[(at + SHARE / 2).min(last)].low;
        std::hint::black_box(found.iter().flatten().fold(0, |sum, at| sum ^ touch(*at)));
        for (fingerprint, at) in fingerprints.iter().zip(found) {
            *at = at.and_then(|from| self.look(from, high(fingerprint), *fingerprint as u64));
        }
    }

    /// Notes that the row stands in the payload; gives the ordinal of its first appearance if it stood there before.
    pub fn see(&mut self, position: usize, ordinal: u32) -> Option<u32> {
        let seen = &mut self.rows[position].seen;
        if *seen == 0 {
            *seen = ordinal.saturating_add(1);
            return None;
        }
        Some(*seen - 1)
    }

    /// The members whose rows were seen, with the ordinals of the rows.
    pub fn seen(&self) -> impl Iterator<Item = (MemberNo, u32)> + '_ {
        self.rows.iter().filter(|r| r.seen > 0).map(|r| (r.no, r.seen - 1))
    }

    /// Every known row, in order of the fingerprints.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.rows.iter().map(|r| (r.fingerprint(), r.no))
    }

    /// Those of which the highest bits are these.
    pub fn entries_in(&self, bucket: Bucket) -> impl Iterator<Item = Entry> + '_ {
        let from = self.rows.partition_point(|r| bucket.of(r.fingerprint()) < bucket.no);
        let here = self.rows[from..].iter().take_while(move |r| bucket.of(r.fingerprint()) == bucket.no);
        here.map(|r| (r.fingerprint(), r.no))
    }

    /// Whether no row is known.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows are known.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many deltas they were read from.
    pub fn deltas(&self) -> usize {
        self.deltas
    }

    /// What becomes of those that are stored and were left unread, if they were.
    pub(crate) fn stays(&self) -> Option<Stays> {
        self.stays
    }

    /// Of how many members the deltas speak.
    pub fn newer(&self) -> usize {
        self.newer
    }
}

/// Beginnings of the runs of rows with the same highest bits, and the end.
fn starts(rows: &[Row]) -> Vec<u32> {
    if rows.is_empty() {
        return Vec::new();
    }
    let slots = (rows.len() / SHARE).next_power_of_two();
    let mut starts = Vec::with_capacity(slots + 1);
    for (at, row) in rows.iter().enumerate() {
        let slot = slot(row.high, slots + 1);
        while starts.len() <= slot {
            starts.push(at as u32);
        }
    }
    starts.resize(slots + 1, rows.len() as u32);
    starts
}

/// The slot of a fingerprint's upper half among so many beginnings, one more than a power of two.
fn slot(high: u64, starts: usize) -> usize {
    let bits = (starts - 1).ilog2();
    high.checked_shr(64 - bits).unwrap_or(0) as usize
}

/// Fingerprints that have their highest bits in common: one of so many parts, in order.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    no: u64,
    bits: u32,
}

impl Bucket {
    /// Entries in a bucket, about.
    const SIZE: usize = 65_536;

    /// The buckets of so many fingerprints: small enough that sorting one stays close to the processor.
    pub fn all(entries: usize) -> impl Iterator<Item = Bucket> {
        let bits = (entries / Self::SIZE).next_power_of_two().ilog2();
        (0..1 << bits).map(move |no| Bucket { no, bits })
    }

    fn of(self, fingerprint: u128) -> u64 {
        fingerprint.checked_shr(128 - self.bits).unwrap_or(0) as u64
    }

    /// Whether a fingerprint belongs here.
    pub fn has(self, fingerprint: u128) -> bool {
        self.of(fingerprint) == self.no
    }
}

/// Packs entries into pages, in order of their fingerprints.
pub fn pack_pages(entries: &mut [Entry]) -> Vec<Vec<u8>> {
    entries.sort_unstable();
    entries.chunks(PAGE).map(|chunk| pack(chunk, Vec::with_capacity(chunk.len() * ENTRY_BYTES))).collect()
}

/// The pages of one bucket.
pub(crate) type Pages = Vec<Vec<u8>>;

/// Pages of known rows on their way from whoever makes them to the store.
pub(crate) fn pages() -> (mpsc::Sender<Pages>, mpsc::Receiver<Pages>) {
    mpsc::channel(AHEAD)
}

/// Makes a feed's known rows anew, bucket by bucket; `fill` adds those of a bucket, `count` is about how many there are.
pub(crate) fn make(count: usize, to: mpsc::Sender<Pages>, mut fill: impl FnMut(Bucket, &mut Vec<Entry>)) {
    let mut entries = Vec::new();
    for bucket in Bucket::all(count) {
        entries.clear();
        fill(bucket, &mut entries);
        if to.blocking_send(pack_pages(&mut entries)).is_err() {
            // The store refused, and whoever writes says why.
            return;
        }
    }
}

/// Writes them in place of those before, as they are made.
///
/// # Errors
/// If the store refuses.
pub(crate) async fn put(tx: &mut Tx, feed: FeedNo, layout: &[u8], mut made: mpsc::Receiver<Pages>) -> Result<()> {
    tx.put_fingerprints(feed, layout).await?;
    let mut next = 0;
    while let Some(pages) = made.recv().await {
        let first = next;
        next += pages.len() as u32;
        tx.add_fingerprint_pages(feed, first, pages).await?;
    }
    Ok(())
}

/// Packs a delta: members whose rows are known no more, then rows known from now on.
pub fn pack_delta(dead: &Bits, entries: &[Entry]) -> Vec<u8> {
    let count = dead.len() as usize;
    let mut bytes = Vec::with_capacity(4 + count * 4 + entries.len() * ENTRY_BYTES);
    bytes.extend_from_slice(&(count as u32).to_le_bytes());
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

    fn unpack(pages: &[Vec<u8>], deltas: &[Vec<u8>]) -> Known {
        let mut unpacking = Unpacking::new(deltas, 0);
        pages.iter().for_each(|page| unpacking.page(page));
        unpacking.done(Vec::new())
    }

    fn bits(numbers: &[MemberNo]) -> Bits {
        numbers.iter().copied().collect()
    }

    #[test]
    fn the_newest_delta_counts() {
        let pages = pack_pages(&mut [(1, 10), (2, 20), (3, 30)]);
        let deltas = [pack_delta(&bits(&[10, 20]), &[(4, 20)]), pack_delta(&bits(&[30]), &[])];
        let mut known = unpack(&pages, &deltas);
        assert_eq!([1, 2, 3].map(|f| known.find(f)), [None; 3]);
        let at = known.find(4).unwrap();
        assert_eq!((known.see(at, 7), known.see(at, 9)), (None, Some(7)));
        assert_eq!(known.seen().collect::<Vec<_>>(), [(20, 7)]);
    }

    #[test]
    fn each_is_found_among_many_and_nothing_else() {
        for n in [1u32, 2, 3, 4, 5, 63, 5000] {
            let print = |i: u32| u128::from(i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834);
            let pages = pack_pages(&mut (0..n).map(|i| (print(i), i)).collect::<Vec<_>>());
            let delta = pack_delta(&bits(&[0, n + 7]), &[(print(n + 7), n + 7), (3, 0)]);
            let known = unpack(&pages, &[delta]);
            let asked: Vec<u128> = (0..n + 9).map(print).chain([0, 3, u128::MAX]).collect();
            let mut found = Vec::new();
            known.find_all(&asked, &mut found);
            let members: Vec<_> = found.iter().map(|at| at.map(|at| known.rows[at].no)).collect();
            let mut expected: Vec<Option<u32>> = (0..n + 9).map(|i| (i < n || i == n + 7).then_some(i)).collect();
            expected[0] = None;
            expected.extend([None, Some(0), None]);
            assert_eq!(members, expected, "of {n}");
            assert_eq!(asked.iter().map(|f| known.find(*f)).collect::<Vec<_>>(), found);
            for many in [1, 1 << 17, 1 << 20] {
                let again: Vec<Entry> = Bucket::all(many).flat_map(|b| known.entries_in(b)).collect();
                assert!(again.iter().copied().eq(known.entries()), "{n} in buckets for {many}");
                assert!(Bucket::all(many).all(|b| known.entries_in(b).all(|(f, _)| b.has(f))));
            }
        }
    }

    #[test]
    fn an_empty_cache_knows_nothing() {
        assert_eq!(unpack(&[], &[]).find(5), None);
    }

    #[test]
    fn damaged_blobs_are_fewer_entries_and_no_panic() {
        let whole = pack_delta(&bits(&[1, 2]), &[(3, 4)]);
        for cut in 0..whole.len() {
            unpack(&[whole[..cut].to_vec()], &[whole[..cut].to_vec()]);
        }
    }
}
