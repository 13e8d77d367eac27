//! The stored roster: packed pages of members, and newer rows that win over them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, hash_map::Entry},
};

use muster_domain::{
    codec,
    ids::{MemberNo, OrganisationId},
    in_order::in_order,
    member::Member,
};
use muster_store::{IDENTS_PER_PAGE, Lease, MEMBERS_PER_PAGE, Store, Stored};

use tokio::sync::mpsc;

use crate::{Engine, Error, Result};

/// Pages read at a time.
pub(crate) const SLICE: u32 = 256;
/// Newer rows are folded into pages when they are more than one in so many members,
const FOLD_AT: u64 = 20;
/// and more than so many.
const FOLD_FROM: u64 = 5_000;
/// Counting newer rows goes through all of them: behind fewer changes than this
const LOOK_BEHIND: u64 = 1_000;
/// it is done once in so many versions of the roster.
const LOOK_EVERY: u64 = 64;

/// Slices read ahead of whoever works on them.
const SLICES_AHEAD: usize = 2;

/// Newer rows and pages as they are stored.
type Packed = (Vec<(MemberNo, Vec<u8>)>, Vec<(u32, Vec<u8>)>);

/// A run of pages with the newer rows of the same members, on its way through a scan.
struct Slice<T> {
    newer: Vec<(MemberNo, Vec<u8>)>,
    pages: Vec<(u32, Vec<u8>)>,
    found: Result<Vec<T>>,
}

impl<T> Default for Slice<T> {
    fn default() -> Self {
        Slice { newer: Vec::new(), pages: Vec::new(), found: Ok(Vec::new()) }
    }
}

impl<T> Slice<T> {
    fn scan(&self, scan: impl Fn(MemberNo, &[u8]) -> Result<Option<T>>) -> Result<Vec<T>> {
        let is_newer = |no: MemberNo| self.newer.binary_search_by_key(&no, |n| n.0).is_ok();
        let mut found = Vec::new();
        for (page, bytes) in &self.pages {
            let bytes = decompress(bytes)?;
            for (no, packed) in codec::page(page * MEMBERS_PER_PAGE, &bytes).filter(|(no, _)| !is_newer(*no)) {
                found.extend(scan(no, packed)?);
            }
        }
        for (no, packed) in &self.newer {
            found.extend(scan(*no, packed)?);
        }
        Ok(found)
    }
}

thread_local! {
    // Pages are small: making these anew for each would cost more than the packing.
    static PACK: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static UNPACK: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses a page for storage.
pub fn compress(page: &[u8]) -> Result<Vec<u8>> {
    let packed = PACK.with_borrow_mut(|kept| match kept {
        Some(packer) => packer.compress(page),
        None => kept.insert(zstd::bulk::Compressor::new(1)?).compress(page),
    })?;
    let mut bytes = Vec::with_capacity(packed.len() + 4);
    bytes.extend_from_slice(&(page.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&packed);
    Ok(bytes)
}

/// Decompresses a stored page.
pub fn decompress(bytes: &[u8]) -> Result<Vec<u8>> {
    let damaged = || Error::Damaged("a page of the stored roster cannot be read".to_owned());
    let (len, packed) = bytes.split_at_checked(4).ok_or_else(damaged)?;
    let len = u32::from_le_bytes(len.try_into().map_err(|_| damaged())?);
    let unpacked = UNPACK.with_borrow_mut(|kept| match kept {
        Some(unpacker) => unpacker.decompress(packed, len as usize),
        None => kept.insert(zstd::bulk::Decompressor::new()?).decompress(packed, len as usize),
    });
    unpacked.map_err(|_| damaged())
}

/// Whether so many changes, with which the roster came to a version, are a reason to look how many newer rows there are.
pub(crate) fn is_look_due(changes: u64, version: u64) -> bool {
    changes >= LOOK_BEHIND || version.is_multiple_of(LOOK_EVERY)
}

impl Engine {
    /// Reads members by number; those that do not exist are not in the answer.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn members(&self, org: OrganisationId, numbers: &[MemberNo]) -> Result<HashMap<MemberNo, Member>> {
        let mut wanted = numbers.to_vec();
        wanted.sort_unstable();
        let mut members: HashMap<MemberNo, Member> = HashMap::with_capacity(numbers.len());
        let mut damaged = None;
        let visit = |stored: Stored<'_>| {
            let read = match stored {
                Stored::Newer(no, packed) => codec::decode(no, packed).map_err(Error::from).map(|member| {
                    members.insert(no, member);
                }),
                Stored::Page(page, bytes) => members_of_page(page, bytes, &wanted, &mut members),
            };
            damaged = damaged.take().or(read.err());
        };
        self.store.visit_members(org, numbers, visit).await?;
        damaged.map_or(Ok(members), Err)
    }

    /// Calls a function with every member in order of numbers.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn each_member(&self, org: OrganisationId, mut visit: impl FnMut(Member)) -> Result<()> {
        let last = self.store.head(org).await?.next_member;
        for first in (0..last.div_ceil(MEMBERS_PER_PAGE)).step_by(SLICE as usize) {
            for (no, packed) in slice(&self.store, org, first).await? {
                visit(codec::decode(no, &packed)?);
            }
        }
        Ok(())
    }

    /// Calls a function with every packed member, page by page on both cores; what it makes of them is given back in order.
    ///
    /// # Errors
    /// If the store cannot be read or the function fails.
    pub async fn scan_members<T: Send>(
        &self,
        org: OrganisationId,
        scan: impl Fn(MemberNo, &[u8]) -> Result<Option<T>> + Sync,
        mut take: impl FnMut(T),
    ) -> Result<()> {
        let mut slices = self.slices_ahead(org).await?;
        tokio::task::block_in_place(|| {
            in_order(
                &mut slices,
                |slices, slice: &mut Slice<T>| match slices.blocking_recv() {
                    None => Ok(false),
                    Some(read) => {
                        (slice.newer, slice.pages) = read?;
                        Ok::<_, Error>(true)
                    }
                },
                |slice: &mut Slice<T>| slice.found = slice.scan(&scan),
                |_, slice| {
                    std::mem::replace(&mut slice.found, Ok(Vec::new()))?.into_iter().for_each(&mut take);
                    Ok(())
                },
            )
        })
    }

    /// Slices of the roster, read by a task of their own while those before are worked on.
    async fn slices_ahead(&self, org: OrganisationId) -> Result<mpsc::Receiver<Result<Packed>>> {
        let last = self.store.head(org).await?.next_member.div_ceil(MEMBERS_PER_PAGE);
        let (send, slices) = mpsc::channel(SLICES_AHEAD);
        let store = self.store.clone();
        tokio::spawn(async move {
            for first in (0..last).step_by(SLICE as usize) {
                let slice = packed_slice(&store, org, first).await;
                let failed = slice.is_err();
                // Nobody may want it any more.
                if send.send(slice).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(slices)
    }

    /// Folds newer rows and newer identifiers into their pages once there are many, each in a transaction of its own.
    /// What is read is the same before and after.
    ///
    /// # Errors
    /// If the store refuses; then everything is as before.
    pub async fn fold_if_due(&self, lease: &Lease, org: OrganisationId) -> Result<()> {
        let members = u64::from(self.store.head(org).await?.next_member);
        let newer = self.store.delta_count(org).await?;
        if newer > FOLD_FROM && newer * FOLD_AT > members {
            self.fold_roster(lease, org).await?;
            self.fold_idents(lease, org).await?;
            tracing::debug!(rows = newer, "newer rows folded into pages");
        }
        Ok(())
    }

    /// Rewrites the pages of the roster that have newer rows.
    ///
    /// # Errors
    /// If the store refuses; then everything is as before.
    pub async fn fold_roster(&self, lease: &Lease, org: OrganisationId) -> Result<()> {
        let last = self.store.head(org).await?.next_member;
        let mut tx = self.store.begin(org, Some(lease)).await?;
        for first in (0..last.div_ceil(MEMBERS_PER_PAGE)).step_by(SLICE as usize) {
            let (from, to) = (first * MEMBERS_PER_PAGE, (first + SLICE) * MEMBERS_PER_PAGE);
            let newer = self.store.member_deltas(org, from, to).await?;
            let mut due: Vec<u32> = newer.iter().map(|(no, _)| no / MEMBERS_PER_PAGE).collect();
            due.dedup();
            if due.is_empty() {
                continue;
            }
            let members = slice(&self.store, org, first).await?;
            let pages = tokio::task::block_in_place(|| {
                in_parallel(&due, |page| {
                    let (mut bytes, mut next) = (Vec::new(), page * MEMBERS_PER_PAGE);
                    for (no, packed) in members.range(next..next + MEMBERS_PER_PAGE) {
                        (next..*no).for_each(|_| codec::put_in_page(None, &mut bytes));
                        codec::put_in_page(Some(packed), &mut bytes);
                        next = no + 1;
                    }
                    Ok((*page, compress(&bytes)?))
                })
            })?;
            tx.put_roster_pages(pages).await?;
        }
        tx.clear_member_delta().await?;
        Ok(tx.commit().await?)
    }

    /// Rewrites the index of identifiers with the newer words in place.
    ///
    /// # Errors
    /// If the store refuses; then everything is as before.
    pub async fn fold_idents(&self, lease: &Lease, org: OrganisationId) -> Result<()> {
        let newer = self.store.ident_deltas(org).await?;
        let mut newer = newer.into_iter().map(|(hash, no, live)| ((hash, no), live)).peekable();
        let mut tx = self.store.begin(org, Some(lease)).await?;
        tx.clear_idents().await?;
        let (mut merged, mut page) = (Vec::new(), 0);
        for first in (0..).step_by(SLICE as usize) {
            // Outside of the transaction the pages stand as they were.
            let pages = self.store.ident_pages(org, first, SLICE).await?;
            for ident in pages.iter().flat_map(|(_, idents)| idents) {
                let before = std::iter::from_fn(|| newer.next_if(|(other, _)| other < ident));
                merged.extend(before.filter(|(_, live)| *live).map(|(other, _)| other));
                if newer.peek().is_none_or(|(other, _)| other != ident) {
                    merged.push(*ident);
                }
            }
            if pages.is_empty() {
                merged.extend(newer.by_ref().filter(|(_, live)| *live).map(|(ident, _)| ident));
                tx.put_ident_pages(page, &merged).await?;
                break;
            }
            let whole = merged.len() - merged.len() % IDENTS_PER_PAGE;
            page = tx.put_ident_pages(page, &merged[..whole]).await?;
            merged.drain(..whole);
        }
        Ok(tx.commit().await?)
    }
}

async fn packed_slice(store: &Store, org: OrganisationId, first: u32) -> Result<Packed> {
    let newer = store.member_deltas(org, first * MEMBERS_PER_PAGE, (first + SLICE) * MEMBERS_PER_PAGE).await?;
    Ok((newer, store.roster_pages(org, first, SLICE).await?))
}

/// The packed members of a run of pages, newer rows in place of the pages'.
pub async fn slice(store: &Store, org: OrganisationId, first_page: u32) -> Result<BTreeMap<MemberNo, Vec<u8>>> {
    let (from, to) = (first_page * MEMBERS_PER_PAGE, (first_page + SLICE) * MEMBERS_PER_PAGE);
    let mut members = BTreeMap::new();
    let pages = store.roster_pages(org, first_page, SLICE).await?;
    let pages = in_parallel(&pages, |(no, bytes)| Ok((*no, decompress(bytes)?)))?;
    for (page, bytes) in &pages {
        members.extend(codec::page(page * MEMBERS_PER_PAGE, bytes).map(|(no, m)| (no, m.to_vec())));
    }
    members.extend(store.member_deltas(org, from, to).await?);
    Ok(members)
}

fn members_of_page(page: u32, bytes: &[u8], wanted: &[MemberNo], into: &mut HashMap<MemberNo, Member>) -> Result<()> {
    let first = page * MEMBERS_PER_PAGE;
    let from = wanted.partition_point(|no| *no < first);
    let mut wanted = wanted[from..].iter().copied().peekable();
    let bytes = decompress(bytes)?;
    for (no, packed) in codec::page(first, &bytes) {
        while wanted.next_if(|w| *w < no).is_some() {}
        // A newer row was read before, and wins.
        if wanted.next_if_eq(&no).is_some()
            && let Entry::Vacant(place) = into.entry(no)
        {
            place.insert(codec::decode(no, packed)?);
        }
    }
    Ok(())
}

/// Waits for something and works at the same time, on another thread.
pub fn beside<F: Future, T: Send>(waiting: F, work: impl FnOnce() -> T + Send) -> (F::Output, T) {
    tokio::task::block_in_place(|| {
        std::thread::scope(|s| {
            let working = s.spawn(work);
            let waited = tokio::runtime::Handle::current().block_on(waiting);
            match working.join() {
                Ok(worked) => (waited, worked),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    })
}

/// Does the same with every item, on two threads if there is enough to do.
pub fn in_parallel<'t, T: Sync, U: Send>(items: &'t [T], work: impl Fn(&'t T) -> Result<U> + Sync) -> Result<Vec<U>> {
    if items.len() < 16 {
        return items.iter().map(work).collect();
    }
    let (left, right) = items.split_at(items.len() / 2);
    std::thread::scope(|s| {
        let other = s.spawn(|| right.iter().map(&work).collect::<Result<Vec<U>>>());
        let mut done = left.iter().map(&work).collect::<Result<Vec<U>>>()?;
        let more = other.join().map_err(|_| Error::Damaged("a worker thread died".to_owned()))?;
        done.append(&mut more?);
        Ok(done)
    })
}
