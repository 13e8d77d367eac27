//! The roster of a replay: packed members by number, folded chunk by chunk on two threads.

use std::collections::BTreeMap;

use crate::{
    change::{Change, Kind},
    codec::{self, Damaged},
    event::Body,
    fold,
    ids::{FeedNo, MemberNo},
    member::Member,
    selection::Selection,
};

use super::ReplayError;

/// Chunks folded at a time.
const GROUP: usize = 32;
/// Bytes hashed at a time: many enough for all lanes of the processor.
const HASHED: usize = 1 << 18;

/// What is done with changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// They are applied.
    Apply,
    /// They are rejected and remembered, also what says so without anything that people would see.
    Reject {
        /// See [`fold::reject`].
        absences: bool,
    },
}

/// Lines of a change set from one ordinal on.
pub struct Chunk {
    first: u32,
    body: Body,
}

impl Chunk {
    /// The salts have done their work.
    pub fn new(first: u32, body: Body) -> Self {
        let salts = Vec::new();
        Chunk { first, body: Body { salts, ..body } }
    }
}

/// How a change set is folded.
pub struct Folding<'a> {
    /// The event that says so.
    pub seq: u64,
    /// What is done.
    pub deed: Deed,
    /// What folding needs to know.
    pub ctx: fold::Context<'a>,
    /// Which changes.
    pub selection: &'a Selection,
    /// Fields that are left out of every change.
    pub except_fields: &'a [String],
    /// Changes that give a number to somebody, by ordinal, in order.
    pub numbered: Vec<u32>,
    /// The first of these numbers.
    pub first_no: MemberNo,
}

impl Folding<'_> {
    /// The member after a change.
    pub fn fold(&self, before: Option<Member>, no: MemberNo, change: &Change) -> Member {
        match self.deed {
            Deed::Apply => fold::apply(before, no, change, &self.ctx),
            Deed::Reject { absences } => fold::reject(before, no, change, absences, &self.ctx),
        }
    }
}

/// Everybody whom the log knows.
#[derive(Default)]
pub struct Roster {
    slots: Vec<Option<Slot>>,
    tally: Tally,
    /// Everybody whose row is another since [`Roster::watch`], in packed form as they were then.
    before: Option<BTreeMap<MemberNo, Option<Box<[u8]>>>>,
}

/// A member in packed form.
pub struct Slot {
    /// The bytes of [`codec::encode`].
    pub packed: Box<[u8]>,
    /// Whether the member was ever listed.
    ever: bool,
}

/// What is counted of members.
#[derive(Default)]
pub struct Tally {
    listed: i64,
    ever: i64,
    claims: BTreeMap<FeedNo, i64>,
}

impl Tally {
    fn add(&mut self, member: &Member, by: i64) {
        self.listed += if member.is_listed() { by } else { 0 };
        self.ever += if member.spells.is_empty() { 0 } else { by };
        member.claimants().for_each(|feed| *self.claims.entry(feed).or_default() += by);
    }

    fn join(&mut self, other: Tally) {
        self.listed += other.listed;
        self.ever += other.ever;
        other.claims.into_iter().for_each(|(feed, n)| *self.claims.entry(feed).or_default() += n);
    }
}

/// One chunk's part: people who are new, and changes to others, which wait for their turn.
#[derive(Default)]
pub struct Part<'c> {
    /// Who is new, by number.
    pub fresh: Vec<(MemberNo, Slot)>,
    /// Changes to others, in order.
    pub others: Vec<Change<'c>>,
    /// Rejected changes of key, for those who keep theirs.
    pub kept_keys: Vec<Change<'c>>,
    tally: Tally,
}

impl Roster {
    /// Folds the selected changes, and says how many there were. If this is the last time, the chunks go one after the
    /// other: their memory becomes that of the members whom they make.
    pub fn fold(&mut self, chunks: &mut [Chunk], last: bool, folding: &Folding) -> Result<u64, ReplayError> {
        let mut folded = 0;
        self.slots.resize_with(self.slots.len() + folding.numbered.len(), || None);
        for group in chunks.chunks_mut(GROUP) {
            for part in in_parallel(group, |chunk| part(chunk, folding)) {
                let part = part?;
                folded += (part.fresh.len() + part.others.len()) as u64;
                self.tally.join(part.tally);
                for (no, slot) in part.fresh {
                    self.put(no, Some(slot), folding.seq)?;
                }
                for change in part.others {
                    self.change(&change, folding, |before, no| folding.fold(before, no, &change))?;
                }
                for change in part.kept_keys {
                    self.change(&change, folding, |before, no| fold::keep_key(before, no, &change, &folding.ctx))?;
                }
            }
            if last {
                group.iter_mut().for_each(|chunk| chunk.body = Body::default());
            }
        }
        Ok(folded)
    }

    fn change(
        &mut self,
        change: &Change,
        folding: &Folding,
        fold: impl FnOnce(Option<Member>, MemberNo) -> Member,
    ) -> Result<(), ReplayError> {
        let Some(no) = change.no else {
            let what = "adds somebody to whom it gives no number".to_owned();
            return Err(ReplayError::Contradiction { seq: folding.seq, what });
        };
        let before = self.member(no)?;
        if let Some(before) = &before {
            self.tally.add(before, -1);
        }
        let after = fold(before, no);
        self.tally.add(&after, 1);
        self.put(no, Some(slot(&after, &mut Vec::with_capacity(256))), folding.seq)
    }

    fn put(&mut self, no: MemberNo, slot: Option<Slot>, seq: u64) -> Result<(), ReplayError> {
        let what = || format!("is about member {no}, whom nobody knows");
        let place = self.slots.get_mut(no as usize);
        let place = place.ok_or_else(|| ReplayError::Contradiction { seq, what: what() })?;
        let old = std::mem::replace(place, slot);
        if let Some(before) = &mut self.before {
            before.entry(no).or_insert(old.map(|slot| slot.packed));
        }
        Ok(())
    }

    /// From now on, keeps how members were before they change.
    pub fn watch(&mut self) {
        self.before = Some(BTreeMap::new());
    }

    /// Everybody whose row was written since [`Roster::watch`], with their packed form then.
    pub fn watched(&self) -> impl Iterator<Item = (MemberNo, Option<&[u8]>)> {
        self.before.iter().flatten().map(|(no, packed)| (*no, packed.as_deref()))
    }

    /// Nobody has that number any more.
    pub fn forget(&mut self, no: MemberNo, seq: u64) -> Result<(), ReplayError> {
        if let Some(member) = self.member(no)? {
            self.tally.add(&member, -1);
        }
        self.put(no, None, seq)
    }

    /// The number that the next new member gets.
    pub fn next_no(&self) -> MemberNo {
        self.slots.len() as MemberNo
    }

    /// A member in packed form.
    pub fn packed(&self, no: MemberNo) -> Option<&[u8]> {
        self.slots.get(no as usize)?.as_ref().map(|s| &*s.packed)
    }

    /// A member.
    pub fn member(&self, no: MemberNo) -> Result<Option<Member>, Damaged> {
        self.packed(no).map(|packed| codec::decode(no, packed)).transpose()
    }

    /// How many are listed, and how many were.
    pub fn counts(&self) -> (u64, u64) {
        (self.tally.listed.max(0) as u64, (self.tally.ever - self.tally.listed).max(0) as u64)
    }

    /// Running claims of a feed.
    pub fn claims(&self, feed: FeedNo) -> u64 {
        self.tally.claims.get(&feed).map_or(0, |n| (*n).max(0) as u64)
    }

    /// The digest of everybody who is or was listed.
    pub fn digest(&self) -> String {
        let mut hash = blake3::Hasher::new();
        let mut bytes = Vec::with_capacity(HASHED + 4096);
        for (no, slot) in self.slots.iter().enumerate() {
            let Some(slot) = slot.as_ref().filter(|s| s.ever) else { continue };
            bytes.extend_from_slice(&(no as MemberNo).to_le_bytes());
            bytes.extend_from_slice(&slot.packed);
            if bytes.len() >= HASHED {
                hash.update(&bytes);
                bytes.clear();
            }
        }
        hash.update(&bytes);
        hash.finalize().to_hex().to_string()
    }
}

/// Reads a chunk's lines and folds those that give a number: nobody else's state is needed for them.
/// An erased line has nothing left to fold; its number stays used up.
pub fn part<'c>(chunk: &'c Chunk, folding: &Folding) -> Result<Part<'c>, ReplayError> {
    let mut part = Part::default();
    let mut packed = Vec::with_capacity(512);
    let mut rank = folding.numbered.partition_point(|o| *o < chunk.first);
    for (i, line) in chunk.body.iter().enumerate() {
        let ordinal = chunk.first + i as u32;
        let numbered = folding.numbered.get(rank) == Some(&ordinal);
        let no = folding.first_no + rank as MemberNo;
        rank += usize::from(numbered);
        let Some(line) = line.filter(|_| folding.selection.contains(ordinal)) else { continue };
        let mut change =
            Change::read(line).map_err(|source| ReplayError::Change { seq: folding.seq, ordinal, source })?;
        change.to.retain(|(field, _)| !folding.except_fields.iter().any(|f| f == field));
        if numbered {
            let member = folding.fold(None, no, &change);
            part.tally.add(&member, 1);
            part.fresh.push((no, slot(&member, &mut packed)));
            if folding.deed == (Deed::Reject { absences: true }) && change.kind == Kind::Rekey {
                part.kept_keys.push(change);
            }
        } else {
            part.others.push(change);
        }
    }
    Ok(part)
}

fn slot(member: &Member, scratch: &mut Vec<u8>) -> Slot {
    scratch.clear();
    codec::encode(member, scratch);
    Slot { packed: scratch.as_slice().into(), ever: !member.spells.is_empty() }
}

/// Does the same with every item, on two threads if there are several.
pub fn in_parallel<'t, T: Sync, U: Send>(items: &'t [T], work: impl Fn(&'t T) -> U + Sync) -> Vec<U> {
    if items.len() < 2 {
        return items.iter().map(work).collect();
    }
    let (left, right) = items.split_at(items.len() / 2);
    std::thread::scope(|s| {
        let other = s.spawn(|| right.iter().map(&work).collect::<Vec<U>>());
        let mut done: Vec<U> = left.iter().map(&work).collect();
        match other.join() {
            Ok(more) => done.extend(more),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        done
    })
}
