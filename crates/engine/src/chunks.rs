//! Reading a change set's changes from the log, a few thousand at a time, the next ones while the present ones are worked on.

use muster_domain::{
    change::Change,
    documents::ChangeSet,
    event::Body,
    fact::Fact,
    ids::{ChangeSetId, OrganisationId},
};
use muster_store::{RawEvent, Store};
use tokio::task::JoinHandle;

use crate::{
    Engine, Error, Organisation, Result,
    recorder::CHUNK,
    review::{Standing, standing},
};

/// The most chunks whose changes are read at a time.
const MOST: usize = 8;

/// Chunks with the ordinals of their first changes.
type Group = Vec<(u32, Body)>;

impl Engine {
    /// Reads the chunks of a change set in order.
    pub fn chunks(&self, org: OrganisationId, change_set: ChangeSetId) -> ChunkReader {
        self.chunks_from(org, change_set, 0)
    }

    /// The same from the chunk on that has the change of that ordinal.
    fn chunks_from(&self, org: OrganisationId, change_set: ChangeSetId, from: u32) -> ChunkReader {
        // A stream begins with chunks of at most so many changes, so there is nothing to be had before that version.
        let version = u64::from(from / CHUNK as u32);
        let stream = change_set.stream();
        let place = Place { store: self.store.clone(), org, stream, from, version, done: false };
        ChunkReader { place: Some(place), ahead: None }
    }

    /// Reads the changes of a change set in order, from one of them on.
    pub fn changes_from(&self, org: &Organisation, set: &ChangeSet, from: u32) -> ChangeReader {
        ChangeReader { chunks: self.chunks_from(org.row.id, set.id, from), from, together: 1 }
    }

    /// Calls a function with every change of a change set, in order.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn each_change(
        &self,
        org: &Organisation,
        set: &ChangeSet,
        mut visit: impl FnMut(u32, Option<&Change>, Standing),
    ) -> Result<()> {
        let mut reading = self.changes_from(org, set, 0);
        while let Some(some) = reading.next().await? {
            for read in some.iter(set) {
                let (ordinal, change, standing) = read?;
                visit(ordinal, change.as_ref(), standing);
            }
        }
        Ok(())
    }
}

/// Reads the changes of a change set: few at first, for whoever wants no more than these, then more at a time.
pub struct ChangeReader {
    chunks: ChunkReader,
    from: u32,
    together: usize,
}

impl ChangeReader {
    /// The next thousand, or some thousands; `None` after the last.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<SomeChanges>> {
        let group = self.chunks.next(self.together).await?;
        self.together = (self.together * 2).min(MOST);
        Ok(group.map(|chunks| SomeChanges { chunks, from: self.from }))
    }
}

/// Some changes of a change set, one behind the other.
pub struct SomeChanges {
    chunks: Group,
    from: u32,
}

impl SomeChanges {
    /// Each with its ordinal, read as it is taken; one whose person was forgotten has nothing but its place. It is an error if a
    /// line is no change.
    pub fn iter<'c>(
        &'c self,
        set: &'c ChangeSet,
    ) -> impl Iterator<Item = Result<(u32, Option<Change<'c>>, Standing)>> + 'c {
        self.chunks.iter().flat_map(move |(first, body)| {
            let skipped = self.from.saturating_sub(*first) as usize;
            body.iter().enumerate().skip(skipped).map(move |(i, line)| {
                let ordinal = first + i as u32;
                let change = line.map(Change::read).transpose()?;
                let standing = standing(set, ordinal, change.is_none());
                Ok((ordinal, change, standing))
            })
        })
    }
}

/// Reads a change set's chunks from the log.
pub struct ChunkReader {
    place: Option<Place>,
    ahead: Option<JoinHandle<(Place, Result<Option<Group>>)>>,
}

/// How far a change set has been read.
struct Place {
    store: Store,
    org: OrganisationId,
    stream: String,
    /// Chunks that end before this ordinal are left packed.
    from: u32,
    version: u64,
    done: bool,
}

impl ChunkReader {
    /// Up to so many chunks, each with the ordinal of its first change; `None` after the last.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn next(&mut self, limit: usize) -> Result<Option<Vec<(u32, Body)>>> {
        let broken = || Error::Damaged("reading a change set was broken off".to_owned());
        let (place, chunks) = match self.ahead.take() {
            Some(ahead) => ahead.await.map_err(|_| broken())?,
            None => self.place.take().ok_or_else(broken)?.read(limit).await,
        };
        match chunks {
            Ok(Some(chunks)) => {
                self.ahead = Some(tokio::spawn(place.read(limit)));
                Ok(Some(chunks))
            }
            other => {
                self.place = Some(place);
                other
            }
        }
    }
}

impl Place {
    async fn read(mut self, limit: usize) -> (Self, Result<Option<Group>>) {
        let chunks = self.chunks(limit).await;
        (self, chunks)
    }

    async fn chunks(&mut self, limit: usize) -> Result<Option<Group>> {
        if self.done {
            return Ok(None);
        }
        let raw = self.store.raw_stream_events(self.org, &self.stream, self.version, limit as u32).await?;
        self.version += raw.len() as u64;
        // Chunks may stand behind the seal too: changes that were put in the place of others.
        self.done = raw.len() < limit;
        let mut chunks = Vec::with_capacity(raw.len());
        for event in raw {
            chunks.extend(tokio::task::block_in_place(|| self.open(event))?);
        }
        Ok(if chunks.is_empty() && self.done { None } else { Some(chunks) })
    }

    /// A chunk, if the event is one that is wanted.
    fn open(&self, event: RawEvent) -> Result<Option<(u32, Body)>> {
        let meta = event.meta()?;
        if meta.kind != "change_set.chunk" {
            return Ok(None);
        }
        let Fact::Chunk { first, count, .. } = Fact::read(&meta)? else { return Ok(None) };
        if first.saturating_add(count) <= self.from {
            return Ok(None);
        }
        Ok(event.open_body()?.map(|body| (first, body)))
    }
}
