//! Giving way: what older change sets of a feed lose when a newer payload speaks.
//!
//! A complete, readable full payload takes the place of every older one that waits. Any other payload that is
//! applied takes the people whom it names out of those that wait: an older upload never overwrites what a newer one
//! said of the same member.

use muster_domain::{
    change::Change,
    digest::Identifier,
    documents::ChangeSet,
    fact::{Fact, State},
    ids::{FeedNo, UploadId},
    selection::Selection,
};
use muster_store::Tx;

use crate::{Engine, Organisation, Result, bits::Bits, event, seal::put_change_set};

/// Whom a payload names; nobody is noted of one that takes the place of all that wait.
#[derive(Default)]
pub struct Naming {
    /// Members.
    pub members: Bits,
    /// Hashes of the match keys of rows that were not known by their bytes, sorted.
    pub keys: Vec<u64>,
}

/// What a newer upload is, to older ones that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A complete, readable full payload: it takes their place.
    Whole,
    /// Any other that is on the roster, in part at least: it takes whom it names.
    Applied,
    /// It waits itself.
    Waits,
}

impl Naming {
    /// Whom the census found: members, and the hashes of match keys in rows that were not known.
    pub fn new(members: Bits, mut keys: Vec<u64>) -> Self {
        keys.sort_unstable();
        Naming { members, keys }
    }

    fn names(&self, change: &Change, org: &Organisation) -> bool {
        match change.no {
            Some(no) => self.members.contains(no),
            None => self.keys.binary_search(&org.keys.identifier(Identifier::Key, &change.key)).is_ok(),
        }
    }
}

impl Engine {
    /// Lets older change sets of the feed give way to this upload.
    ///
    /// # Errors
    /// If the store refuses.
    pub(crate) async fn give_way(
        &self,
        tx: &mut Tx,
        org: &Organisation,
        feed: FeedNo,
        by: UploadId,
        naming: &Naming,
        standing: Standing,
    ) -> Result<()> {
        for state in [State::Held, State::PartlyApplied] {
            for row in self.store.change_sets_in_state(org.row.id, state.word()).await? {
                let set: ChangeSet = serde_json::from_slice(&row.doc)?;
                if set.feed != feed || set.upload == by {
                    continue;
                }
                if standing == Standing::Whole {
                    self.supersede(tx, org, set, by).await?;
                } else if standing == Standing::Applied {
                    self.drop_named(tx, org, set, naming).await?;
                }
            }
        }
        Ok(())
    }

    async fn supersede(&self, tx: &mut Tx, org: &Organisation, mut set: ChangeSet, by: UploadId) -> Result<()> {
        let fact = Fact::Superseded { change_set: set.id, by };
        tx.append(vec![event(&fact, None)], &self.who(by.0)).await?;
        set.state = State::Superseded;
        put_change_set(tx, &set).await?;
        let upload = self.upload(org, set.upload).await?;
        self.put_upload_state(tx, org, set.upload, State::Superseded, None, upload.counts).await
    }

    async fn drop_named(&self, tx: &mut Tx, org: &Organisation, set: ChangeSet, naming: &Naming) -> Result<()> {
        let waiting = set.waiting();
        let mut conflicts = Selection::default();
        let mut digest = org.keys.digest();
        let mut chunks = self.chunks(org.row.id, set.id);
        while let Some(group) = chunks.next(20).await? {
            for (first, body) in &group {
                let lines = body.iter().enumerate().filter_map(|(i, line)| Some((first + i as u32, line?)));
                for (ordinal, line) in lines.filter(|(o, _)| waiting.contains(*o)) {
                    if naming.names(&Change::read(line)?, org) {
                        conflicts.insert(ordinal);
                    } else {
                        digest.add(line);
                    }
                }
            }
        }
        if conflicts.is_empty() {
            return Ok(());
        }
        self.take_out(tx, org, set, conflicts, digest.finish()).await
    }
}
