//! Replay: a log folded from nothing, event by event, into the roster and the documents that it tells of.
//!
//! Nothing here reads a database: whoever has the events has everything. `muster replay` folds an exported log
//! ([`log`]), `verify` folds the stored one and compares.

use std::collections::{HashMap, hash_map::Entry};

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    codec,
    event::{self, Body, GENESIS, Hash, Meta, StoredEvent},
    fact::{Applied, Fact, Rejected, Unreadable},
    forgotten::Forgotten,
    ids::{ChangeSetId, FeedNo, MemberNo, OrganisationId},
    member::Member,
};

pub mod decided;
pub mod documents;
pub mod log;
pub mod roster;
pub mod trial;

use decided::Decided;
pub use documents::Documents;
pub use log::read_log;
use roster::{Chunk, Roster};

/// Why a log cannot be folded: what is wrong, and at which event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// An event is missing, or stands twice.
    #[error("event {expected} should follow here, and event {found} does")]
    Sequence {
        /// The number that comes next.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// Metadata, root or an earlier event is not what was hashed.
    #[error("event {seq} does not carry on the chain of hashes: it, or an event before it, was changed")]
    Chain {
        /// Position.
        seq: u64,
    },
    /// The lines are not those that were hashed.
    #[error("event {seq} has other lines than those that were recorded")]
    Lines {
        /// Position.
        seq: u64,
    },
    /// The fact is unknown to this program.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A line is not the JSON of a change.
    #[error("event {seq} needs change {ordinal} of a change set, and that cannot be read")]
    Change {
        /// Position of the event that applies or rejects it.
        seq: u64,
        /// Which change.
        ordinal: u32,
        /// What the reader of JSON said.
        #[source]
        source: serde_json::Error,
    },
    /// A packed member cannot be unpacked: memory is damaged.
    #[error(transparent)]
    Damaged(#[from] crate::codec::Damaged),
    /// The event contradicts what came before it.
    #[error("event {seq} {what}")]
    Contradiction {
        /// Position.
        seq: u64,
        /// What is wrong, as the rest of the sentence.
        what: String,
    },
    /// A line of an exported log is not an event.
    #[error("line {line} of the log is not an exported event: {why}")]
    Line {
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

impl ReplayError {
    /// The line of an exported log at which folding ends, where it is known: event 1 stands on line 1.
    pub fn line(&self) -> Option<u64> {
        Some(match self {
            ReplayError::Sequence { expected, .. } => *expected,
            ReplayError::Chain { seq }
            | ReplayError::Lines { seq }
            | ReplayError::Change { seq, .. }
            | ReplayError::Contradiction { seq, .. }
            | ReplayError::Unreadable(Unreadable::Form { seq, .. }) => *seq,
            ReplayError::Line { line, .. } => *line,
            ReplayError::Damaged(_) | ReplayError::Io(_) => return None,
        })
    }
}

/// An event whose lines are those that were hashed. Checking takes most of the time and needs no order: do it on
/// whichever thread is free.
#[derive(Debug)]
pub struct Checked(StoredEvent);

impl Checked {
    /// Hashes the lines and compares.
    ///
    /// # Errors
    /// [`ReplayError::Lines`] if they are not those of the recorded root.
    pub fn new(event: StoredEvent) -> Result<Checked, ReplayError> {
        let root = event.body.as_ref().map_or([0; 32], Body::root);
        if root == event.root { Ok(Checked(event)) } else { Err(ReplayError::Lines { seq: event.meta.seq }) }
    }

    /// The event.
    pub fn event(&self) -> &StoredEvent {
        &self.0
    }
}

/// What a log folds to, in few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// Events folded.
    pub events: u64,
    /// Changes applied, or rejected and remembered.
    pub changes: u64,
    /// The number of the last event.
    pub last_seq: u64,
    /// The roster version.
    pub roster_version: u64,
    /// Members listed.
    pub members: u64,
    /// Former members.
    pub former: u64,
    /// BLAKE3 over the number (32 bits, little endian) and the packed form of everybody who is or was listed, in order
    /// of numbers; hexadecimal.
    pub digest: String,
}

/// A log folded so far.
#[derive(Default)]
pub struct Replay {
    organisation: Option<OrganisationId>,
    events: u64,
    changes: u64,
    last_seq: u64,
    last_hash: Hash,
    last_recorded_at: DateTime<Utc>,
    roster_version: u64,
    streams: HashMap<String, u64>,
    documents: Documents,
    roster: Roster,
    pending: HashMap<ChangeSetId, Pending>,
}

/// The changes of a change set, as long as any of them may still be applied.
struct Pending {
    chunks: Vec<Chunk>,
    changes: u32,
    sealed: bool,
    correlation: Uuid,
}

impl Replay {
    /// Nothing folded yet.
    pub fn new() -> Self {
        Replay { last_hash: GENESIS, ..Replay::default() }
    }

    /// Folds the next event.
    ///
    /// # Errors
    /// If it is not the next one, does not carry on the chain, or contradicts what came before.
    pub fn take(&mut self, event: Checked) -> Result<(), ReplayError> {
        let StoredEvent { meta_bytes, meta, body, root, hash } = event.0;
        self.follow(&meta, &meta_bytes, &root, &hash)?;
        let fact = Fact::read(&meta)?;
        self.documents.take(&fact, &meta)?;
        match fact {
            Fact::Chunk { change_set, first, count } => self.keep_chunk(change_set, first, count, body, &meta)?,
            Fact::Computed(c) => self.seal(c.change_set, c.changes, &meta)?,
            Fact::Applied(a) => self.apply(&a, &meta)?,
            Fact::Rejected(r) => self.reject(&r, &meta)?,
            Fact::Forgotten(f) => self.forget(&f, &meta)?,
            Fact::Superseded { change_set, .. } | Fact::Rebased { change_set, .. } => self.forget_decided(change_set),
            _ => {}
        }
        self.events += 1;
        self.last_recorded_at = meta.recorded_at;
        (self.last_seq, self.last_hash) = (meta.seq, hash);
        Ok(())
    }

    /// Whether the event is the next one of the organisation, its stream and its chain.
    fn follow(&mut self, meta: &Meta, bytes: &[u8], root: &Hash, hash: &Hash) -> Result<(), ReplayError> {
        let seq = meta.seq;
        if seq != self.last_seq + 1 {
            return Err(ReplayError::Sequence { expected: self.last_seq + 1, found: seq });
        }
        if event::chain(&self.last_hash, bytes, root) != *hash {
            return Err(ReplayError::Chain { seq });
        }
        if *self.organisation.get_or_insert(meta.organisation) != meta.organisation {
            return contradiction(seq, "is of another organisation than those before it");
        }
        if meta.recorded_at < self.last_recorded_at {
            return contradiction(seq, "was recorded before the one in front of it");
        }
        let version = self.streams.entry(meta.stream.clone()).or_default();
        *version += 1;
        if *version != meta.version {
            let what = format!("has version {} of its stream where {} should follow", meta.version, *version);
            return contradiction(seq, what);
        }
        Ok(())
    }

    fn keep_chunk(
        &mut self,
        id: ChangeSetId,
        first: u32,
        count: u32,
        body: Option<Body>,
        meta: &Meta,
    ) -> Result<(), ReplayError> {
        let pending = match self.pending.entry(id) {
            Entry::Occupied(at) => at.into_mut(),
            Entry::Vacant(at) => {
                at.insert(Pending { chunks: Vec::new(), changes: 0, sealed: false, correlation: meta.correlation })
            }
        };
        let lines = body.as_ref().map_or(0, Body::len);
        // A change set that is complete grows by what is put in the place of changes that no longer hold.
        if first != pending.changes || lines != count as usize {
            return contradiction(
                meta.seq,
                format!("is no chunk of {count} changes from change {} on", pending.changes),
            );
        }
        pending.changes += count;
        pending.chunks.extend(body.map(|body| Chunk::new(first, body)));
        Ok(())
    }

    /// A change set is complete. Chunks of an earlier attempt at the same upload stay inert for ever.
    fn seal(&mut self, id: ChangeSetId, changes: u32, meta: &Meta) -> Result<(), ReplayError> {
        let found = self.pending.get_mut(&id).map_or(0, |pending| {
            pending.sealed = true;
            pending.changes
        });
        if found != changes {
            return contradiction(
                meta.seq,
                format!("completes a change set of {changes} changes, of which {found} are there"),
            );
        }
        self.pending.retain(|other, p| *other == id || p.sealed || p.correlation != meta.correlation);
        Ok(())
    }

    fn apply(&mut self, applied: &Applied, meta: &Meta) -> Result<(), ReplayError> {
        if applied.roster_version != self.roster_version + 1 {
            let what = format!("makes roster version {} of {}", applied.roster_version, self.roster_version);
            return contradiction(meta.seq, what);
        }
        self.fold(&Decided::applying(applied), meta)?;
        self.roster_version = applied.roster_version;
        self.forget_decided(applied.change_set);
        Ok(())
    }

    fn reject(&mut self, rejected: &Rejected, meta: &Meta) -> Result<(), ReplayError> {
        if let Some(decided) = Decided::rejecting(rejected) {
            self.fold(&decided, meta)?;
        }
        self.forget_decided(rejected.change_set);
        Ok(())
    }

    /// The lines that told of these members are erased, so nothing of them was folded; what was, goes.
    fn forget(&mut self, forgotten: &Forgotten, meta: &Meta) -> Result<(), ReplayError> {
        let after = forgotten.roster_version;
        if after != self.roster_version + u64::from(!forgotten.members.is_empty()) {
            return contradiction(meta.seq, format!("makes roster version {after} of {}", self.roster_version));
        }
        for no in &forgotten.members {
            self.roster.forget(*no, meta.seq)?;
        }
        self.roster_version = after;
        Ok(())
    }

    fn fold(&mut self, decided: &Decided<'_>, meta: &Meta) -> Result<(), ReplayError> {
        let Decided { change_set, numbered, first_no, new_members, .. } = *decided;
        if numbered.len() != new_members || first_no != self.roster.next_no() && new_members > 0 {
            let what =
                format!("numbers {new_members} new members from {first_no} on, which does not fit what came before");
            return contradiction(meta.seq, what);
        }
        let last = self.is_decided(change_set);
        let Some(pending) = self.pending.get_mut(&change_set).filter(|p| p.sealed) else {
            return contradiction(meta.seq, format!("decides on change set {change_set}, whose changes are not there"));
        };
        let folding = decided.folding(meta.seq, &self.documents.settings().fields);
        self.changes += self.roster.fold(&mut pending.chunks, last, &folding)?;
        Ok(())
    }

    /// Lets go of the changes of a change set of which nothing can be applied any more.
    fn forget_decided(&mut self, id: ChangeSetId) {
        if self.is_decided(id) {
            self.pending.remove(&id);
        }
    }

    fn is_decided(&self, id: ChangeSetId) -> bool {
        self.documents.change_sets().get(&id).is_none_or(documents::is_closed)
    }

    /// Settings, feeds, uploads and change sets.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// Running claims of a feed, or of the administrator's hand.
    pub fn claims(&self, feed: FeedNo) -> u64 {
        self.roster.claims(feed)
    }

    /// The number of the last event; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The hash of the last event in the chain.
    pub fn last_hash(&self) -> &Hash {
        &self.last_hash
    }

    /// When the last event was recorded.
    pub fn last_recorded_at(&self) -> DateTime<Utc> {
        self.last_recorded_at
    }

    /// Counts applied change sets.
    pub fn roster_version(&self) -> u64 {
        self.roster_version
    }

    /// The number that the next new member gets.
    pub fn next_member(&self) -> MemberNo {
        self.roster.next_no()
    }

    /// A member in packed form; `None` for a number that nobody has.
    pub fn packed(&self, no: MemberNo) -> Option<&[u8]> {
        self.roster.packed(no)
    }

    /// A member.
    ///
    /// # Errors
    /// If memory is damaged.
    pub fn member(&self, no: MemberNo) -> Result<Option<Member>, ReplayError> {
        Ok(self.roster.member(no)?)
    }

    /// From now on, keeps how members were before they change: [`Replay::watched`] tells.
    pub fn watch(&mut self) {
        self.roster.watch();
    }

    /// Everybody whose row was written since [`Replay::watch`], as they were then and are now, in order of numbers.
    pub fn watched(&self) -> impl Iterator<Item = Result<(Option<Member>, Option<Member>), ReplayError>> + '_ {
        self.roster.watched().map(|(no, packed)| {
            let before = packed.map(|packed| codec::decode(no, packed)).transpose()?;
            Ok((before, self.member(no)?))
        })
    }

    /// How many members are listed.
    pub fn listed(&self) -> u64 {
        self.roster.counts().0
    }

    /// Everybody whom the log knows, in order of numbers: listed, former, and declined.
    pub fn members(&self) -> impl Iterator<Item = Result<Member, ReplayError>> + '_ {
        (0..self.next_member()).filter_map(|no| self.member(no).transpose())
    }

    /// What it all comes to.
    pub fn report(&self) -> ReplayReport {
        let (members, former) = self.roster.counts();
        ReplayReport {
            events: self.events,
            changes: self.changes,
            last_seq: self.last_seq,
            roster_version: self.roster_version,
            members,
            former,
            digest: self.roster.digest(),
        }
    }
}

fn contradiction<T>(seq: u64, what: impl Into<String>) -> Result<T, ReplayError> {
    Err(ReplayError::Contradiction { seq, what: what.into() })
}

#[cfg(test)]
mod tests;
