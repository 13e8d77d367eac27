//! Known rows that lie in the store: whether a payload needs them, and how what it says anew is added without reading them.

use muster_domain::{
    ids::{FeedNo, OrganisationId},
    settings::Mode,
};
use muster_store::{Store, Tx};
use tokio::runtime::Handle;

use super::{ENTRY_BYTES, Entry, Known, pack_delta, split_delta};
use crate::{Result, bits::Bits};

/// So many additions are put together into one: each costs whoever reads them all, and each time all of them are written.
const TOGETHER: u64 = 1024;

/// A feed's known rows, of which none is read yet.
pub(crate) struct Stored {
    store: Store,
    org: OrganisationId,
    feed: FeedNo,
    /// Whoever reads a payload waits for the store on a thread of their own.
    runtime: Handle,
}

/// Stored rows that a payload left unread: they stay, but for those of members whom it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stays {
    /// Whether they were made with the payload's layout, so that its rows can be added.
    pub is_of_layout: bool,
    /// Where the payload has more rows than this, its own are worth more.
    pub unless: usize,
}

impl Stored {
    /// Those of a feed.
    pub fn of(store: &Store, org: OrganisationId, feed: FeedNo) -> Self {
        Stored { store: store.clone(), org, feed, runtime: Handle::current() }
    }

    /// What a payload of that layout is held against. A million rows are neither read for a small payload that speaks only
    /// of whom it names, nor given up for it: the next list of everybody needs them.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn known(&self, layout: u64, mode: Mode, is_small: bool) -> Result<Known> {
        self.runtime.block_on(async {
            let stored = self.store.fingerprint_layout(self.org, self.feed).await?;
            let is_of_layout = stored.is_some_and(|stored| stored == layout.to_le_bytes());
            let unless = match (mode, is_small) {
                (Mode::Full, _) if !is_of_layout => return Ok(Known::default()),
                (Mode::Partial | Mode::Leavers, true) => usize::MAX,
                _ if is_of_layout => {
                    return Ok(Known::load(&self.store, self.org, self.feed).await?.unwrap_or_default());
                }
                _ => self.count().await? / 2,
            };
            Ok(Known { stays: Some(Stays { is_of_layout, unless }), ..Known::default() })
        })
    }

    /// How many there are, about.
    async fn count(&self) -> Result<usize> {
        let stored = self.store.fingerprints(self.org, self.feed).await?;
        Ok(stored.map_or(0, |stored| stored.size as usize / ENTRY_BYTES))
    }
}

/// Adds to what is stored, if anything is: members whose rows are known no more, then rows known from now on.
///
/// # Errors
/// If the store refuses.
pub(crate) async fn add_delta(tx: &mut Tx, feed: FeedNo, dead: &Bits, entries: &[Entry]) -> Result<()> {
    let count = tx.add_fingerprint_delta(feed, pack_delta(dead, entries)).await?;
    if count > 0 && count.is_multiple_of(TOGETHER) {
        let (dead, entries) = together(&tx.fingerprint_deltas(feed).await?);
        tx.put_fingerprint_delta(feed, pack_delta(&dead, &entries)).await?;
    }
    Ok(())
}

/// What deltas say together, oldest first: of whom they speak, and which rows of theirs are known. The newest word on a member
/// counts, and inside of one delta what is known from then on.
pub(super) fn together(deltas: &[Vec<u8>]) -> (Bits, Vec<Entry>) {
    let (mut touched, mut fresh) = (Bits::default(), Vec::new());
    for delta in deltas.iter().rev() {
        let (dead, live) = split_delta(delta);
        let before = fresh.len();
        fresh.extend(live.filter(|(_, no)| !touched.contains(*no)));
        fresh[before..].iter().for_each(|(_, no): &Entry| touched.set(*no, true));
        dead.for_each(|no| touched.set(no, true));
    }
    (touched, fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_additions_are_put_together() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}", dir.path().join("muster.db").display())).await.unwrap();
        let org = OrganisationId(uuid::Uuid::from_u128(1));
        let mut tx = store.begin(org, None).await.unwrap();
        tx.create_organisation("acme", &muster_store::Secret::new([7; 32]), chrono::Utc::now()).await.unwrap();
        tx.put_fingerprints(FeedNo::MAIN, &[0; 8]).await.unwrap();
        let said = |n: u64| (Bits::from_iter([n as u32 % 300]), [(u128::from(n), n as u32 % 300)]);
        for (dead, entries) in (0..TOGETHER + 9).map(said) {
            add_delta(&mut tx, FeedNo::MAIN, &dead, &entries).await.unwrap();
        }
        add_delta(&mut tx, FeedNo(2), &Bits::default(), &[(1, 1)]).await.unwrap();
        tx.commit().await.unwrap();
        let stored = store.fingerprint_deltas(org, FeedNo::MAIN).await.unwrap();
        assert_eq!(stored.len(), 1 + 9);
        let (touched, mut entries) = together(&stored);
        entries.sort_unstable();
        assert_eq!(touched.len(), 300);
        assert!(entries.into_iter().eq((TOGETHER + 9 - 300..TOGETHER + 9).map(|n| (u128::from(n), n as u32 % 300))));
        assert!(store.fingerprint_deltas(org, FeedNo(2)).await.unwrap().is_empty(), "nothing to add to");
    }

    /// Who is known no more, and which rows are known from then on.
    type Said = (Vec<u32>, Vec<(u8, u32)>);

    fn pack((dead, live): &Said) -> Vec<u8> {
        let live: Vec<Entry> = live.iter().map(|(f, no)| (u128::from(*f), *no)).collect();
        pack_delta(&dead.iter().copied().collect(), &live)
    }

    fn said() -> impl Strategy<Value = Said> {
        (prop::collection::vec(0u32..9, 0..4), prop::collection::vec((0u8..99, 0u32..9), 0..4))
    }

    proptest! {
        #[test]
        fn put_together_they_say_what_they_said_one_by_one(said in prop::collection::vec(said(), 0..7), cut in 0usize..7) {
            let deltas: Vec<Vec<u8>> = said.iter().map(pack).collect();
            let (older, newer) = deltas.split_at(cut.min(deltas.len()));
            let (dead, entries) = together(older);
            let again: Vec<Vec<u8>> = [pack_delta(&dead, &entries)].into_iter().chain(newer.iter().cloned()).collect();
            let sorted = |(touched, mut fresh): (Bits, Vec<Entry>)| {
                fresh.sort_unstable();
                (touched.iter().collect::<Vec<_>>(), fresh)
            };
            prop_assert_eq!(sorted(together(&again)), sorted(together(&deltas)));
        }
    }
}
