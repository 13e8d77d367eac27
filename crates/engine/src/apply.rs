//! Applying: the changes of a change set folded into the stored roster, in the transaction that appends the fact.

use std::{collections::HashMap, marker::PhantomData};

use muster_domain::{
    change::Change,
    codec,
    digest::Keys,
    event::Body,
    fold,
    ids::{ChangeSetId, MemberNo, OrganisationId},
    member::Member,
    selection::Selection,
};
use muster_store::{MEMBERS_PER_PAGE, Store, Tx};
use tokio::task::JoinHandle;

use crate::{
    Engine, Error, Result,
    effects::{Effects, Part},
    error::place_of,
    idents::Idents,
    roster::{beside, compress, in_parallel},
};

/// Chunks folded at a time.
const GROUP: usize = 16;

/// What is done with the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// They are applied.
    Apply,
    /// They are rejected and remembered.
    Reject,
}

/// One chunk's part of the effects, with the packed rows.
#[derive(Default)]
struct Folded {
    part: Part,
    rows: Vec<(MemberNo, Vec<u8>)>,
}

/// Folding one change set.
pub struct Application<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The tenant.
    pub org: OrganisationId,
    /// Its keys.
    pub keys: &'a Keys,
    /// What folding needs to know.
    pub ctx: fold::Context<'a>,
    /// Which changes.
    pub selection: &'a Selection,
    /// What is done with them.
    pub deed: Deed,
    /// Fields that are left out of every change.
    pub except_fields: &'a [String],
}

/// Where a change set's chunks are.
pub enum Chunks {
    /// In memory, each with the ordinal of its first change.
    Here(Vec<(u32, Body)>),
    /// In the store.
    Stored(ChangeSetId),
}

impl Application<'_> {
    /// Folds the selected changes, chunk by chunk, and writes members and identifiers.
    ///
    /// # Errors
    /// If the store refuses or a line is no change; the transaction is then not to be committed.
    pub async fn run(&self, tx: &mut Tx, chunks: &Chunks) -> Result<Effects> {
        self.run_with(tx, chunks, &HashMap::new()).await
    }

    /// [`run`](Self::run), with members that were read already, under the same lease.
    ///
    /// # Errors
    /// As `run`.
    pub async fn run_with(&self, tx: &mut Tx, chunks: &Chunks, read: &HashMap<MemberNo, Member>) -> Result<Effects> {
        let first_no = tx.head().await?.next_member;
        let mut effects = Effects::default();
        let mut idents = Idents::new(&self.engine.payloads.dir(self.org), self.engine.sizes.idents_in_memory);
        let mut next_no = first_no;
        let mut ready = Rows::default();
        match chunks {
            Chunks::Here(bodies) => {
                for group in bodies.chunks(GROUP) {
                    ready = self.group(tx, group, ready, read, &mut next_no, (&mut effects, &mut idents)).await?;
                }
            }
            Chunks::Stored(change_set) => {
                let mut reading = self.engine.chunks(self.org, *change_set);
                while let Some(group) = reading.next(GROUP).await? {
                    ready = self.group(tx, &group, ready, read, &mut next_no, (&mut effects, &mut idents)).await?;
                }
            }
        }
        ready.write(tx).await?;
        if next_no > first_no {
            let reserved = tx.reserve_members(next_no - first_no).await?;
            if reserved != first_no {
                return Err(Error::Damaged("member numbers were given out behind the lease's back".to_owned()));
            }
        }
        write_idents(tx, idents, first_no == 0).await?;
        Ok(effects)
    }

    /// Folds one group, and writes the rows of the one before at the same time.
    async fn group(
        &self,
        tx: &mut Tx,
        group: &[(u32, Body)],
        before: Rows,
        read: &HashMap<MemberNo, Member>,
        next_no: &mut MemberNo,
        (effects, idents): (&mut Effects, &mut Idents),
    ) -> Result<Rows> {
        let parsed = tokio::task::block_in_place(|| in_parallel(group, |(first, body)| self.parse(*first, body)))?;
        let mut numbers: Vec<MemberNo> = parsed.iter().flatten().filter_map(|(_, c)| c.no).collect();
        numbers.sort_unstable();
        numbers.retain(|no| !read.contains_key(no));
        let stored = match numbers.is_empty() {
            true => HashMap::new(),
            false => self.engine.members(self.org, &numbers).await?,
        };
        let member = |no: &MemberNo| read.get(no).or_else(|| stored.get(no));
        let mut work = Vec::with_capacity(parsed.len());
        let first_new = *next_no;
        for changes in &parsed {
            work.push((*next_no, changes));
            *next_no += changes.iter().filter(|(_, c)| self.needs_number(c)).count() as u32;
        }
        let end = *next_no;
        let (written, rows) = beside(before.write(tx), || {
            let parts = in_parallel(&work, |(first, changes)| Ok(self.fold(*first, changes, &member)))?;
            let mut rows = Vec::new();
            for mut folded in parts {
                rows.append(&mut folded.rows);
                effects.add(folded.part, idents)?;
            }
            Rows::pack(rows, first_new, end)
        });
        written?;
        rows
    }

    fn parse<'b>(&self, first: u32, body: &'b Body) -> Result<Vec<(u32, Change<'b>)>> {
        let lines = body.iter().enumerate().map(|(i, line)| (first + i as u32, line));
        let selected = lines.filter(|(ordinal, _)| self.selection.contains(*ordinal));
        // A line that was erased has nothing left to apply.
        let present = selected.filter_map(|(ordinal, line)| line.map(|line| (ordinal, line)));
        present
            .map(|(ordinal, line)| match Change::read(line) {
                Ok(mut change) => {
                    change.to.retain(|(field, _)| !self.except_fields.iter().any(|f| f == field));
                    Ok((ordinal, change))
                }
                Err(e) => {
                    Err(Error::Damaged(format!("change {ordinal} of a change set cannot be read, {}", place_of(&e))))
                }
            })
            .collect()
    }

    fn needs_number(&self, change: &Change) -> bool {
        match self.deed {
            Deed::Apply => change.no.is_none(),
            Deed::Reject => fold::rejection_needs_number(change),
        }
    }

    fn fold<'m>(
        &self,
        first_no: MemberNo,
        changes: &[(u32, Change)],
        member: &impl Fn(&MemberNo) -> Option<&'m Member>,
    ) -> Folded {
        let mut folded = Folded::default();
        let mut next_no = first_no;
        for (ordinal, change) in changes {
            let fresh = self.needs_number(change);
            let no = if fresh { next_no } else { change.no.unwrap_or_default() };
            next_no += u32::from(fresh);
            let before = if fresh { None } else { member(&no) };
            let after = match self.deed {
                Deed::Apply => fold::apply(before.cloned(), no, change, &self.ctx),
                Deed::Reject => fold::reject(before.cloned(), no, change, true, &self.ctx),
            };
            if fresh {
                folded.part.number(*ordinal, no);
            }
            folded.part.note(before, &after, self.keys);
            folded.pack(&after);
            if let Some(keeps) = change.no.filter(|_| fresh).and_then(|no| member(&no)) {
                let after = fold::keep_key(Some(keeps.clone()), keeps.no, change, &self.ctx);
                folded.part.note(Some(keeps), &after, self.keys);
                folded.pack(&after);
            }
            if !self.except_fields.is_empty() {
                folded.part.members.insert(no, after);
            }
        }
        folded
    }
}

/// An empty index is built as sorted pages; else the new entries stand beside it.
async fn write_idents(tx: &mut Tx, idents: Idents, empty: bool) -> Result<()> {
    let mut sorted = idents.sorted()?;
    let mut page = 0;
    while let Some(idents) = sorted.next()? {
        if empty {
            page = tx.put_ident_pages(page, &idents).await?;
        } else {
            let words: Vec<_> = idents.into_iter().map(|(hash, no)| (hash, no, true)).collect();
            tx.put_idents(&words).await?;
        }
    }
    Ok(())
}

impl Folded {
    fn pack(&mut self, member: &Member) {
        let mut packed = Vec::with_capacity(192);
        codec::encode(member, &mut packed);
        self.rows.push((member.no, packed));
    }
}

/// Packed rows on their way into the store: whole new pages as pages, everything else as newer rows.
#[derive(Default)]
struct Rows {
    pages: Vec<(u32, Vec<u8>)>,
    single: Vec<(MemberNo, Vec<u8>)>,
}

impl Rows {
    fn pack(rows: Vec<(MemberNo, Vec<u8>)>, first_new: MemberNo, end: MemberNo) -> Result<Rows> {
        let first_page = first_new.div_ceil(MEMBERS_PER_PAGE);
        let end_page = end / MEMBERS_PER_PAGE;
        let whole = first_page * MEMBERS_PER_PAGE..end_page * MEMBERS_PER_PAGE;
        let (mut paged, single): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(no, _)| whole.contains(no));
        paged.sort_unstable_by_key(|(no, _)| *no);
        let pages: Vec<_> = paged.chunk_by(|a, b| a.0 / MEMBERS_PER_PAGE == b.0 / MEMBERS_PER_PAGE).collect();
        let pages = in_parallel(&pages, |page| {
            let mut bytes = Vec::new();
            page.iter().for_each(|(_, row)| codec::put_in_page(Some(row), &mut bytes));
            Ok((page[0].0 / MEMBERS_PER_PAGE, compress(&bytes)?))
        })?;
        Ok(Rows { pages, single })
    }

    async fn write(self, tx: &mut Tx) -> Result<()> {
        if !self.pages.is_empty() {
            tx.put_roster_pages(self.pages).await?;
        }
        if !self.single.is_empty() {
            tx.put_members(self.single).await?;
        }
        Ok(())
    }
}

impl Engine {
    /// Reads the chunks of a change set in order.
    pub fn chunks(&self, org: OrganisationId, change_set: ChangeSetId) -> ChunkReader<'_> {
        let stream = format!("change_set:{change_set}");
        let place = Place { store: self.store.clone(), org, stream, version: 0, done: false };
        ChunkReader { place: Some(place), ahead: None, engine: PhantomData }
    }
}

/// Reads a change set's chunks from the log, the next ones while the present ones are worked on.
pub struct ChunkReader<'a> {
    place: Option<Place>,
    ahead: Option<JoinHandle<(Place, Result<Option<Group>>)>>,
    engine: PhantomData<&'a Engine>,
}

/// Chunks with the ordinals of their first changes.
type Group = Vec<(u32, Body)>;

/// How far a change set has been read.
struct Place {
    store: Store,
    org: OrganisationId,
    stream: String,
    version: u64,
    done: bool,
}

impl ChunkReader<'_> {
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
    async fn read(mut self, limit: usize) -> (Self, Result<Option<Vec<(u32, Body)>>>) {
        let chunks = self.chunks(limit).await;
        (self, chunks)
    }

    async fn chunks(&mut self, limit: usize) -> Result<Option<Vec<(u32, Body)>>> {
        if self.done {
            return Ok(None);
        }
        let raw = self.store.raw_stream_events(self.org, &self.stream, self.version, limit as u32).await?;
        self.version += raw.len() as u64;
        // Chunks may stand behind the seal too: changes that were put in the place of others.
        self.done = raw.len() < limit;
        let mut chunks = Vec::with_capacity(raw.len());
        for event in raw {
            let event = tokio::task::block_in_place(|| event.open())?;
            if event.meta.kind != "change_set.chunk" {
                continue;
            }
            let muster_domain::fact::Fact::Chunk { first, .. } = muster_domain::fact::Fact::read(&event.meta)? else {
                continue;
            };
            chunks.extend(event.body.map(|body| (first, body)));
        }
        Ok(if chunks.is_empty() && self.done { None } else { Some(chunks) })
    }
}
