//! The directory: who is in an organisation, found by words, filters and a day; packed pages of members with newer rows beside.
//!
//! The rows are made here; `search` reads them.

use std::collections::{BTreeMap, HashMap};

use muster_domain::{
    codec,
    fact::Fact,
    fold,
    ids::MemberNo,
    member::Member,
    replay::{
        decided::Decided,
        roster::{Chunk, in_parallel, part},
    },
    settings::Settings,
};
use muster_store::{StoreError, read_model::Part};
use serde::{Deserialize, Serialize};

use super::{CHUNKS, Event, Projection, Rows, Taking};
use crate::{
    Result,
    roster::{compress, decompress},
};

mod pages;
mod search;

pub use search::{FoundMember, SearchRequest, SearchResult};

/// Settings and counts.
const KEPT: Part = 0;
/// Pages of members, by number.
const PAGES: Part = 1;
/// Newer rows of members, which win over their page; nothing in one is nobody.
const NEWER: Part = 2;

/// The key of the organisation's settings.
const SETTINGS: &[u8] = b"settings";
/// The key of [`Counts`].
const COUNTS: &[u8] = b"counts";

/// Pages that are rewritten at a time: enough for two threads, and not much to hold.
const TOGETHER: usize = 64;
/// Up to so many newer rows are looked up one by one.
const FEW: usize = 16;
/// Changed members that are held while a change set is folded.
const HELD: usize = 65_536;

/// See the module.
pub struct Directory {
    /// Its name.
    pub name: &'static str,
    /// How many members share a page.
    pub per_page: u32,
    /// Up to so many newer rows stand beside the pages.
    pub newer_at_most: u32,
}

/// The directory as it is stored.
pub const DIRECTORY: Directory = Directory { name: "directory", per_page: 512, newer_at_most: 4_096 };

/// What is counted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Counts {
    /// The number that the next new member gets.
    next_no: MemberNo,
    /// How many newer rows there are.
    newer: u32,
}

impl Projection for Directory {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn wants(&self, kind: &str) -> bool {
        matches!(
            kind,
            "organisation.created"
                | "organisation.settings_changed"
                | "change_set.applied"
                | "change_set.rejected"
                | "member.forgotten"
        )
    }

    fn take<'a>(&'a self, event: &'a Event, rows: &'a mut Rows) -> Taking<'a> {
        Box::pin(async move {
            match &event.fact {
                Fact::OrganisationCreated { settings, .. } | Fact::SettingsChanged { settings, .. } => {
                    rows.put_document(KEPT, SETTINGS.to_vec(), settings)
                }
                Fact::Forgotten(forgotten) => {
                    let mut work = Work::begin(self, rows).await?;
                    work.forget(&forgotten.members).await?;
                    work.end().await
                }
                fact => match Decided::of(fact) {
                    Some(decided) => Work::begin(self, rows).await?.fold(event, &decided).await,
                    None => Ok(()),
                },
            }
        })
    }
}

/// One event on its way into the pages.
struct Work<'r> {
    directory: &'r Directory,
    rows: &'r mut Rows,
    counts: Counts,
    /// Members as the event has left them so far; `None` is nobody.
    changed: BTreeMap<MemberNo, Option<Vec<u8>>>,
}

fn key(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

impl<'r> Work<'r> {
    async fn begin(directory: &'r Directory, rows: &'r mut Rows) -> Result<Self> {
        let counts = rows.document(KEPT, COUNTS).await?.unwrap_or_default();
        Ok(Work { directory, rows, counts, changed: BTreeMap::new() })
    }

    /// Folds the selected changes of a change set.
    async fn fold(mut self, event: &Event, decided: &Decided<'_>) -> Result<()> {
        let settings: Settings = self.rows.document(KEPT, SETTINGS).await?.unwrap_or_default();
        let folding = decided.folding(event.meta.seq, &settings.fields);
        let end = decided.first_no + decided.new_members;
        let mut new = pages::NewPages::new(self.directory.per_page, self.counts.next_no..self.counts.next_no.max(end));
        let mut reading = event.engine.chunks(event.organisation, decided.change_set);
        while let Some(group) = reading.next(CHUNKS).await? {
            let chunks: Vec<Chunk> = group.into_iter().map(|(first, body)| Chunk::new(first, body)).collect();
            let parts = tokio::task::block_in_place(|| in_parallel(&chunks, |chunk| part(chunk, &folding)));
            let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
            let touched = parts.iter().flat_map(|p| p.others.iter().chain(&p.kept_keys)).filter_map(|c| c.no);
            let mut before = self.members(touched.collect()).await?;
            for part in parts {
                for (no, slot) in part.fresh {
                    if let Some(row) = new.take(no, slot.packed) {
                        self.changed.insert(no, Some(row.into_vec()));
                    }
                }
                for change in &part.others {
                    let no = change.no.unwrap_or_default();
                    let after = folding.fold(before.remove(&no), no, change);
                    self.change(no, after, &mut before);
                }
                for change in &part.kept_keys {
                    let no = change.no.unwrap_or_default();
                    let after = fold::keep_key(before.remove(&no), no, change, &folding.ctx);
                    self.change(no, after, &mut before);
                }
            }
            self.put_pages(&new.full())?;
            if self.changed.len() >= HELD {
                self.fold_newer().await?;
            }
        }
        self.put_pages(&new.rest())?;
        self.counts.next_no = self.counts.next_no.max(end);
        self.end().await
    }

    fn put_pages(&mut self, pages: &[(u32, Vec<u8>)]) -> Result<()> {
        let compress = |(page, members): &(u32, Vec<u8>)| Ok((*page, compress(members)?));
        for (page, row) in tokio::task::block_in_place(|| crate::roster::in_parallel(pages, compress))? {
            self.rows.put(PAGES, key(page), row);
        }
        Ok(())
    }

    fn change(&mut self, no: MemberNo, after: Member, before: &mut HashMap<MemberNo, Member>) {
        let mut packed = Vec::with_capacity(192);
        codec::encode(&after, &mut packed);
        self.changed.insert(no, Some(packed));
        before.insert(no, after);
    }

    /// Members as they are now; those whom nobody knows are not in the answer.
    async fn members(&mut self, mut numbers: Vec<MemberNo>) -> Result<HashMap<MemberNo, Member>> {
        numbers.sort_unstable();
        numbers.dedup();
        let mut members = HashMap::with_capacity(numbers.len());
        let mut in_pages = Vec::new();
        let newer = self.newer(&numbers).await?;
        for no in numbers {
            let row = match self.changed.get(&no) {
                Some(row) => Some(row.as_deref().unwrap_or_default()),
                None => newer.get(&no).map(Vec::as_slice),
            };
            match row {
                Some([]) => {}
                Some(row) => drop(members.insert(no, codec::decode(no, row)?)),
                None => in_pages.push(no),
            }
        }
        let per_page = self.directory.per_page;
        let pages: Vec<&[MemberNo]> = in_pages.chunk_by(|a, b| a / per_page == b / per_page).collect();
        for group in pages.chunks(TOGETHER) {
            let rows = self.pages(group.iter().map(|numbers| numbers[0] / per_page)).await?;
            for (numbers, row) in group.iter().zip(rows) {
                let Some(row) = row else { continue };
                let bytes = decompress(&row)?;
                let mut wanted = numbers.iter().peekable();
                for (no, packed) in codec::page(numbers[0] / per_page * per_page, &bytes) {
                    while wanted.next_if(|w| **w < no).is_some() {}
                    if wanted.next_if(|w| **w == no).is_some() {
                        members.insert(no, codec::decode(no, packed)?);
                    }
                }
            }
        }
        Ok(members)
    }

    /// The newer rows of these members, as they were before the event.
    async fn newer(&mut self, numbers: &[MemberNo]) -> Result<HashMap<MemberNo, Vec<u8>>> {
        let mut found = HashMap::new();
        if self.counts.newer == 0 {
            return Ok(found);
        }
        if numbers.len() > FEW {
            for (key, row) in self.rows.range(NEWER, &[], None).await? {
                found.insert(number(&key)?, row);
            }
            return Ok(found);
        }
        for no in numbers {
            found.extend(self.rows.get(NEWER, &key(*no)).await?.map(|row| (*no, row)));
        }
        Ok(found)
    }

    /// Pages by number, in order; read in one go where they lie close together.
    async fn pages(&mut self, numbers: impl Iterator<Item = u32>) -> Result<Vec<Option<Vec<u8>>>> {
        let numbers: Vec<u32> = numbers.collect();
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return Ok(Vec::new()) };
        if numbers.len() > 1 && (last - first) as usize <= 2 * numbers.len() {
            let range = self.rows.range(PAGES, &key(*first), Some(&key(last + 1))).await?;
            let mut range: HashMap<Vec<u8>, Vec<u8>> = range.into_iter().collect();
            return Ok(numbers.iter().map(|page| range.remove(&key(*page))).collect());
        }
        let mut found = Vec::with_capacity(numbers.len());
        for page in numbers {
            found.push(self.rows.get(PAGES, &key(page)).await?);
        }
        Ok(found)
    }

    /// Nobody has these numbers any more, and nothing is left of whoever had.
    async fn forget(&mut self, numbers: &[MemberNo]) -> Result<()> {
        for no in numbers {
            if self.rows.get(NEWER, &key(*no)).await?.is_some() {
                self.rows.delete(NEWER, key(*no));
                self.counts.newer -= 1;
            }
            self.merge(BTreeMap::from([(*no, None)])).await?;
        }
        Ok(())
    }

    /// Puts what changed beside the pages, or into them if that would be too much beside them.
    async fn end(mut self) -> Result<()> {
        let most = self.directory.newer_at_most as usize;
        let numbers: Vec<MemberNo> = self.changed.keys().copied().collect();
        let known = if numbers.len() > most { 0 } else { self.known(&numbers).await? };
        let newer = self.counts.newer as usize + numbers.len() - known;
        if newer > most {
            self.fold_newer().await?;
        } else {
            self.counts.newer = newer as u32;
            for (no, row) in std::mem::take(&mut self.changed) {
                self.rows.put(NEWER, key(no), row.unwrap_or_default());
            }
        }
        self.rows.put_document(KEPT, COUNTS.to_vec(), &self.counts)
    }

    /// How many of these members have a newer row already.
    async fn known(&mut self, numbers: &[MemberNo]) -> Result<usize> {
        let newer = self.newer(numbers).await?;
        Ok(numbers.iter().filter(|no| newer.contains_key(no)).count())
    }

    /// Folds newer rows, and what changed, into their pages.
    async fn fold_newer(&mut self) -> Result<()> {
        let mut changed = std::mem::take(&mut self.changed);
        if self.counts.newer > 0 {
            for (key, row) in self.rows.range(NEWER, &[], None).await? {
                changed.entry(number(&key)?).or_insert(Some(row).filter(|row| !row.is_empty()));
            }
            self.rows.clear(NEWER);
            self.counts.newer = 0;
        }
        self.merge(changed).await
    }

    /// Rewrites pages with other rows in them.
    async fn merge(&mut self, changed: BTreeMap<MemberNo, Option<Vec<u8>>>) -> Result<()> {
        let per_page = self.directory.per_page;
        let changed: Vec<(MemberNo, Option<Vec<u8>>)> = changed.into_iter().collect();
        let pages: Vec<&[_]> = changed.chunk_by(|a, b| a.0 / per_page == b.0 / per_page).collect();
        for group in pages.chunks(TOGETHER) {
            let rows = self.pages(group.iter().map(|changed| changed[0].0 / per_page)).await?;
            let before: Vec<_> =
                group.iter().zip(rows).map(|(changed, row)| (changed[0].0 / per_page, row, *changed)).collect();
            let merged = tokio::task::block_in_place(|| {
                crate::roster::in_parallel(&before, |(page, row, changed)| {
                    let bytes = row.as_deref().map(decompress).transpose()?.unwrap_or_default();
                    let members = pages::merged(page * per_page, &bytes, changed);
                    Ok((*page, if members.is_empty() { None } else { Some(compress(&members)?) }))
                })
            })?;
            for (page, row) in merged {
                match row {
                    Some(row) => self.rows.put(PAGES, key(page), row),
                    None => self.rows.delete(PAGES, key(page)),
                }
            }
        }
        Ok(())
    }
}

/// The number that a key stands for.
fn number(key: &[u8]) -> Result<u32> {
    Ok(key.try_into().map(u32::from_be_bytes).map_err(|_| damaged())?)
}

fn damaged() -> StoreError {
    StoreError::Corrupt("a row of a read model cannot be read")
}
