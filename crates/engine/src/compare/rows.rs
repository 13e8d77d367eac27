//! The unknown rows, read a second time, in batches, with the members whom they may name.

use std::collections::HashMap;

use muster_domain::{codec, field::FieldSet, ids::MemberNo, member::Member, normalise};
use muster_intake::{Row, csv::CellBuffer};

use super::{Comparison, Named};
use crate::{
    Result,
    census::{self, Miss},
    misses::MissRows,
    resolve::{Bits, SEVERAL, Verdict},
};

/// A row on its way through the comparison.
#[derive(Default)]
pub(super) struct Pending {
    pub row: Row,
    pub miss: Miss,
    pub index: usize,
    pub fingerprint: u128,
    /// Members whom the key may name, then, if there are none, members whom other identifiers may name.
    pub candidates: Vec<MemberNo>,
    pub by_key: bool,
    /// Members whose key is the same but for leading zeros, if nobody has the key itself.
    pub but_for_zeros: Vec<MemberNo>,
}

/// Rows compared at a time: enough that pages of the roster are read but once for a usual night's changes.
const BATCH_BYTES: usize = 24 << 20;
pub(super) const BATCH_ROWS: usize = 65_536;
/// With more rows than this to compare, the roster is read through once beforehand.
pub(super) const SKIM_FROM: usize = 20_000;

/// Rows looked at together.
const TOGETHER: usize = 256;

thread_local! {
    static SKIMMED: std::cell::RefCell<Row> = std::cell::RefCell::default();
}

impl Comparison<'_> {
    pub(super) async fn rows(&mut self) -> Result<()> {
        let payload = self.job.engine.payloads.path(self.job.org, self.job.received.upload);
        let delimiter = self.input.delimiter;
        let mut rows = MissRows::new(self.census, payload, self.input.plain.as_ref(), delimiter);
        let mut cells = CellBuffer::default();
        let mut batch: Vec<Pending> = Vec::new();
        let (mut used, mut bytes) = (0, 0);
        while let Some((index, raw)) = rows.advance()? {
            let miss = self.census.misses[index];
            if self.resolved.verdicts[index] != Verdict::Counts {
                self.skip(index, &miss);
                continue;
            }
            if self.is_nothing_new(index, &miss, raw) {
                continue;
            }
            if batch.len() == used {
                batch.push(Pending::default());
            }
            let pending = &mut batch[used];
            let read = cells
                .split(raw, delimiter)
                .and_then(|c| self.input.reader.read(&c, miss.line.into(), &mut pending.row));
            if let Err(problem) = read {
                // The census read it, so this is the payload changing under our hands.
                self.found.issues.push(problem.issue(miss.line.into(), self.input.reader.columns()));
                self.found.counts.invalid += 1;
                continue;
            }
            pending.fingerprint = self.job.keys.fingerprint(self.input.layout, raw);
            (pending.miss, pending.index) = (miss, index);
            bytes += raw.len();
            used += 1;
            if used == BATCH_ROWS || bytes > BATCH_BYTES || !self.job.has_members && used == 4096 {
                self.flush(&mut batch[..used]).await?;
                (used, bytes) = (0, 0);
            }
        }
        self.flush(&mut batch[..used]).await
    }

    /// Rows that repeat or contradict others have their issue already.
    pub(super) fn skip(&mut self, index: usize, miss: &Miss) {
        match self.resolved.verdicts[index] {
            Verdict::Repeats => self.found.counts.unchanged += 1,
            _ => self.found.counts.invalid += 1,
        }
        if self.resolved.named[index] < SEVERAL {
            self.found.order.push((miss.line, Named::Member(self.resolved.named[index])));
        }
    }

    /// Whether the roster, read through beforehand, holds all that the row says.
    pub(super) fn is_nothing_new(&mut self, index: usize, miss: &Miss, raw: &[u8]) -> bool {
        if !self.nothing_new.contains(index as u32) {
            return false;
        }
        let no = self.resolved.named[index];
        self.found.counts.unchanged += 1;
        self.found.order.push((miss.line, Named::Member(no)));
        let fingerprint = self.job.keys.fingerprint(self.input.layout, raw);
        self.found.fingerprints.push((fingerprint, Named::Member(no), None));
        true
    }

    /// Holds the rows against what each member's row would have to say.
    pub(super) fn nothing_new(&self, contents: &[u64]) -> Bits {
        let mut same = Bits::default();
        let said = |no: MemberNo| contents.get(no as usize).copied();
        let rows = self.resolved.named.chunks(TOGETHER).zip(self.census.misses.chunks(TOGETHER));
        for (first, (named, misses)) in (0u32..).step_by(TOGETHER).zip(rows) {
            // Looked at first for all of them: answers that are on their way together are not waited for one by one.
            std::hint::black_box(named.iter().filter_map(|no| said(*no)).fold(0, |sum, said| sum ^ said));
            for (i, (no, miss)) in (first..).zip(named.iter().zip(misses)) {
                if !miss.flawed && said(*no) == Some(miss.content) {
                    same.set(i, true);
                }
            }
        }
        same
    }

    /// Reads the whole roster once and notes for each member what a row would have to say to be nothing new.
    pub(super) async fn skim(&self) -> Result<Vec<u64>> {
        let mut contents = Vec::new();
        let columns: FieldSet = self.input.reader.columns().by_index.iter().flatten().copied().collect();
        let (feed, keys) = (self.job.feed.no, self.job.keys);
        let content = |no, packed: &[u8]| {
            SKIMMED.with_borrow_mut(|row| {
                row.clear();
                let values = &mut row.values;
                let scanned = codec::scan(no, packed, feed, |f, v| {
                    if columns.contains(f) {
                        values.set(f, Some(v));
                    }
                })?;
                normalise::key_into(scanned.key, &mut row.key_norm);
                Ok((scanned.is_claimed && !scanned.has_words).then(|| (no, census::content(row, keys))))
            })
        };
        let take = |(no, content): (MemberNo, u64)| {
            let at = no as usize;
            if contents.len() <= at {
                contents.resize(at + 1, 0);
            }
            contents[at] = content;
        };
        self.job.engine.scan_members(self.job.org, content, take).await?;
        Ok(contents)
    }

    pub(super) async fn flush(&mut self, batch: &mut [Pending]) -> Result<()> {
        let members = if self.job.has_members { self.members_of(batch).await? } else { HashMap::new() };
        for pending in batch.iter() {
            self.compare(pending, &members);
            self.job.engine.spill(self.job, self.recorder).await?;
        }
        Ok(())
    }

    /// Finds the candidates of each row and reads them from the roster.
    pub(super) async fn members_of(&self, batch: &mut [Pending]) -> Result<HashMap<MemberNo, Member>> {
        let mut hashes = Vec::new();
        for pending in batch.iter_mut() {
            pending.candidates.clear();
            pending.candidates.extend(self.resolved.candidates(pending.miss.key).iter().map(|k| k.1));
            pending.by_key = !pending.candidates.is_empty();
            if !pending.by_key {
                hashes.extend(self.evidence(pending));
            }
        }
        hashes.sort_unstable();
        hashes.dedup();
        let found = match self.resolved.knows_all {
            true => Vec::new(),
            false => self.job.engine.store.idents(self.job.org, &hashes).await?,
        };
        let found = if self.resolved.knows_all { &self.resolved.keys } else { &found };
        for pending in batch.iter_mut().filter(|p| !p.by_key) {
            for hash in self.evidence(pending) {
                let from = found.partition_point(|f| f.0 < hash);
                pending.candidates.extend(found[from..].iter().take_while(|f| f.0 == hash).map(|f| f.1));
            }
            pending.candidates.sort_unstable();
            pending.candidates.dedup();
        }
        self.find_without_zeros(batch).await?;
        let may_be = |p: &Pending| p.candidates.iter().chain(&p.but_for_zeros).copied().collect::<Vec<_>>();
        let mut numbers: Vec<MemberNo> = batch.iter().flat_map(may_be).collect();
        numbers.sort_unstable();
        numbers.dedup();
        self.job.engine.members(self.job.org, &numbers).await
    }

    /// Hashes of identifiers other than the match key.
    pub(super) fn evidence(&self, pending: &Pending) -> impl Iterator<Item = u64> + use<> {
        let person = census::person(&pending.row.values, self.job.keys);
        Some(pending.miss.other).filter(|o| *o != 0).into_iter().chain(person)
    }
}
