//! The stored roster: packed pages of members, and newer rows that win over them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use muster_domain::{
    codec,
    ids::{MemberNo, OrganisationId},
    member::Member,
};
use muster_store::{MEMBERS_PER_PAGE, Store, Tx};

use crate::{Engine, Error, Result};

/// Pages read at a time.
pub(crate) const SLICE: u32 = 256;
/// Newer rows are folded into pages when they are more than one in so many members.
const FOLD_AT: u64 = 20;

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

impl Engine {
    /// Reads members by number; those that do not exist are not in the answer.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn members(&self, org: OrganisationId, numbers: &[MemberNo]) -> Result<HashMap<MemberNo, Member>> {
        let raw = self.store.members(org, numbers).await?;
        let mut members = HashMap::with_capacity(numbers.len());
        for (no, packed) in &raw.deltas {
            members.insert(*no, codec::decode(*no, packed)?);
        }
        let mut wanted = numbers.iter().copied().filter(|no| !members.contains_key(no)).collect::<Vec<_>>();
        wanted.sort_unstable();
        let found = in_parallel(&raw.pages, |(page, bytes)| members_of_page(*page, bytes, &wanted))?;
        members.extend(found.into_iter().flatten().map(|m| (m.no, m)));
        Ok(members)
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

    /// Folds newer rows into their pages once there are many.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn fold_if_due(&self, org: OrganisationId, tx: &mut Tx, added: u64) -> Result<()> {
        let head = self.store.head(org).await?;
        let many = self.store.delta_count(org).await? + added;
        if many > 10_000 && many * FOLD_AT > u64::from(head.next_member) {
            tracing::debug!(rows = many, "folding newer rows into pages is due");
        }
        let _ = tx;
        Ok(())
    }
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

fn members_of_page(page: u32, bytes: &[u8], wanted: &[MemberNo]) -> Result<Vec<Member>> {
    let first = page * MEMBERS_PER_PAGE;
    let from = wanted.partition_point(|no| *no < first);
    let mut wanted = wanted[from..].iter().copied().peekable();
    let bytes = decompress(bytes)?;
    let mut members = Vec::new();
    for (no, packed) in codec::page(first, &bytes) {
        while wanted.next_if(|w| *w < no).is_some() {}
        if wanted.next_if_eq(&no).is_some() {
            members.push(codec::decode(no, packed)?);
        }
    }
    Ok(members)
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
