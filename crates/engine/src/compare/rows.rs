//! The unknown rows, read a second time, in batches, with the members whom they may name.

use std::collections::HashMap;

use muster_domain::{codec, digest::Identifier, field::FieldSet, ids::MemberNo, member::Member, normalise};
use muster_intake::{Row, csv::CellBuffer};

use super::Comparison;
use crate::{
    Result,
    bits::Bits,
    census,
    misses::MissRows,
    resolve::{NOBODY, SEVERAL, Verdict},
};

/// A row on its way through the comparison.
#[derive(Default)]
pub(super) struct Pending {
    pub row: Row,
    pub line: u32,
    pub index: usize,
    /// Hash of the other identifier; 0 without one.
    pub other: u64,
    /// Members whom the key may name, then, if there are none, members whom other identifiers may name.
    pub candidates: Vec<MemberNo>,
    pub by_key: bool,
    /// Members whose key is the same but for leading zeros, if nobody has the key itself.
    pub but_for_zeros: Vec<MemberNo>,
}

/// Rows compared at a time: enough that pages of the roster are read but once for a usual night's changes.
const BATCH_BYTES: usize = 24 << 20;
pub(super) const BATCH_ROWS: usize = 65_536;

/// Up to so many bytes of packed members are kept from reading the roster through.
const MET_BYTES: usize = 8 << 20;

/// What reading the roster through tells of a member.
enum Skimmed {
    /// The roster holds all that this row says.
    Same(u32),
    /// The member is to be compared with their row, or has none.
    Differs(MemberNo, Box<[u8]>),
}

/// What reading the roster through gave.
#[derive(Default)]
pub(super) struct Met {
    /// Unknown rows, by index, of which the roster holds all that they say.
    pub nothing_new: Bits,
    /// The others, packed, so that their pages need not be looked for again; none of them if they are many.
    pub members: HashMap<MemberNo, Box<[u8]>>,
}

thread_local! {
    /// What a member's row would say, and their key in the form in which it is compared.
    static SKIMMED: std::cell::RefCell<(Vec<u8>, String)> = std::cell::RefCell::default();
}

impl Comparison<'_> {
    pub(super) async fn rows(&mut self) -> Result<()> {
        let payload = self.job.engine.payloads.path(self.job.org, self.job.received.upload);
        let delimiter = self.input.delimiter;
        let mut rows = MissRows::new(self.census, payload, self.input.plain.as_ref(), delimiter);
        let mut cells = CellBuffer::default();
        let mut batch: Vec<Pending> = Vec::new();
        let (mut used, mut bytes) = (0, 0);
        for index in 0..self.census.misses.len() {
            if self.is_settled(index) {
                continue;
            }
            let (line, raw) = (self.census.misses.lines[index], rows.bytes(index)?);
            if batch.len() == used {
                batch.push(Pending::default());
            }
            let pending = &mut batch[used];
            let read =
                cells.split(raw, delimiter).and_then(|c| self.input.reader.read(&c, line.into(), &mut pending.row));
            if let Err(problem) = read {
                // The census read it, so this is the payload changing under our hands.
                self.found.issues.push(problem.issue(line.into(), self.input.reader.columns()));
                self.found.counts.invalid += 1;
                continue;
            }
            (pending.line, pending.index) = (line, index);
            pending.other = census::other(&pending.row, self.job.keys, self.job.settings.match_key);
            bytes += raw.len();
            used += 1;
            if used == BATCH_ROWS || bytes > BATCH_BYTES || !self.job.has_members && used == 4096 {
                self.flush(&mut batch[..used]).await?;
                (used, bytes) = (0, 0);
            }
        }
        self.flush(&mut batch[..used]).await
    }

    /// Whether a row need not be compared: it repeats or contradicts others and has its issue already, or the roster, read
    /// through beforehand, holds all that it says.
    fn is_settled(&mut self, index: usize) -> bool {
        match self.resolved.verdict(index) {
            Verdict::Repeats => self.found.counts.unchanged += 1,
            Verdict::Invalid => self.found.counts.invalid += 1,
            Verdict::Counts if self.met.nothing_new.contains(index as u32) => {
                self.found.counts.unchanged += 1;
                self.found.rows.told.set(index as u32, true);
            }
            Verdict::Counts => return false,
        }
        true
    }

    /// Reads the whole roster once, and finds the rows of which it holds all that they say.
    pub(super) async fn skim(&self, contents: &[u64], claimed: &Bits) -> Result<Met> {
        let rows = self.rows_by_member();
        let columns: FieldSet = self.input.reader.columns().by_index.iter().flatten().copied().collect();
        let (feed, keys, flawed) = (self.job.feed.no, self.job.keys, &self.census.misses.flawed);
        let present = &self.resolved.present;
        let same = |no: MemberNo, packed: &[u8]| {
            let Some(row) = rows.get(no as usize).and_then(|row| row.checked_sub(1)) else {
                let is_absent = claimed.contains(no) && !present.contains(no);
                return Ok(is_absent.then(|| Skimmed::Differs(no, packed.into())));
            };
            SKIMMED.with_borrow_mut(|(said, key_norm)| {
                said.clear();
                key_norm.clear();
                let scanned = codec::scan(no, packed, feed, |field, value| {
                    if columns.contains(field) {
                        census::add_value(said, field, value);
                    }
                })?;
                normalise::key_into(scanned.key, key_norm);
                let is_plain = scanned.is_claimed && !scanned.has_words && !flawed.contains(row);
                let is_same = is_plain && census::content_of(said, key_norm, keys) == contents[row as usize];
                Ok(Some(if is_same { Skimmed::Same(row) } else { Skimmed::Differs(no, packed.into()) }))
            })
        };
        let (mut met, mut bytes) = (Met::default(), 0);
        let take = |skimmed| match skimmed {
            Skimmed::Same(row) => met.nothing_new.set(row, true),
            Skimmed::Differs(no, packed) => {
                bytes += packed.len();
                if bytes <= MET_BYTES {
                    met.members.insert(no, packed);
                } else {
                    met.members = HashMap::new();
                }
            }
        };
        self.job.engine.scan_members(self.job.org, same, take).await?;
        Ok(met)
    }

    /// Reads members, those met while reading the roster through without asking for them again.
    pub(super) async fn read_members(&self, numbers: &[MemberNo]) -> Result<HashMap<MemberNo, Member>> {
        let (met, others): (Vec<MemberNo>, Vec<MemberNo>) =
            numbers.iter().partition(|no| self.met.members.contains_key(no));
        let mut members = match others.is_empty() {
            true => HashMap::new(),
            false => self.job.engine.members(self.job.org, &others).await?,
        };
        for no in met {
            members.insert(no, codec::decode(no, &self.met.members[&no])?);
        }
        Ok(members)
    }

    /// By member, one more than the index of the row that counts for them; 0 for none.
    fn rows_by_member(&self) -> Vec<u32> {
        let members = self.resolved.named.iter().filter(|no| **no < SEVERAL).max().map_or(0, |no| *no as usize + 1);
        let mut rows = vec![0; members];
        for (i, no) in self.resolved.named.iter().enumerate() {
            if *no < SEVERAL && self.resolved.verdict(i) == Verdict::Counts {
                rows[*no as usize] = i as u32 + 1;
            }
        }
        rows
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
            match self.resolved.named[pending.index] {
                NOBODY => {}
                SEVERAL => {
                    let key = self.job.keys.identifier(Identifier::Key, &pending.row.key_norm);
                    pending.candidates.extend(self.resolved.several(key));
                }
                no => pending.candidates.push(no),
            }
            pending.by_key = !pending.candidates.is_empty();
            if !pending.by_key {
                hashes.extend(self.evidence(pending));
            }
        }
        hashes.sort_unstable();
        hashes.dedup();
        let read = match &self.resolved.found {
            Some(_) => Vec::new(),
            None => self.job.engine.store.idents(self.job.org, &hashes).await?,
        };
        let found = self.resolved.found.as_ref().unwrap_or(&read);
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
        self.read_members(&numbers).await
    }

    /// Hashes of identifiers other than the match key.
    pub(super) fn evidence(&self, pending: &Pending) -> impl Iterator<Item = u64> + use<> {
        let person = census::person(&pending.row.values, self.job.keys);
        Some(pending.other).filter(|o| *o != 0).into_iter().chain(person)
    }
}
