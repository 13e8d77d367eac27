//! The match key of everybody: when the setting changes, each member's key becomes their value of the other field, in one
//! change set by hand, so that the next payload names the people that it named before.

use std::collections::HashMap;

use muster_domain::{
    change::{Change, Kind},
    codec,
    digest::Identifier,
    fact::{Fact, State},
    field::FieldId,
    ids::{FeedNo, MemberNo},
    member::{Member, Reason},
    normalise,
    settings::Settings,
};
use muster_store::Lease;

use crate::{
    Engine, Error, Organisation, Result,
    wholesale::{Saying, Wholesale},
};

/// Members read at a time.
const BATCH: usize = 4096;

/// A member and the hash of the key that they would have; none if the field is blank.
struct NewKey {
    no: MemberNo,
    hash: Option<u64>,
    listed: bool,
    /// Whether it is another key than they have.
    differs: bool,
}

/// How many on the roster have a key, and how many in all.
type Taken = HashMap<u64, (u32, u32)>;

impl Engine {
    /// Whether everybody on the roster would have a match key of their own, and how many keys would change.
    ///
    /// # Errors
    /// If somebody would have none, two would share one, or an upload waits.
    pub(crate) async fn expect_new_keys(&self, org: &Organisation, settings: &Settings) -> Result<u64> {
        for state in [State::Received, State::Held, State::PartlyApplied] {
            if !self.store.uploads_in_state(org.row.id, state.word()).await?.is_empty() {
                return Err(Error::Wrong(
                    "An upload waits that names people by the match key of now; approve or reject it first \
                     (`muster changes list` shows it)."
                        .to_owned(),
                ));
            }
        }
        let all = self.new_keys(org, settings).await?;
        let taken = taken(&all);
        let lacking = all.iter().filter(|n| n.listed && n.hash.is_none()).count();
        let shares = |n: &&NewKey| n.listed && n.hash.is_some_and(|h| taken[&h].0 > 1);
        let sharing = all.iter().filter(shares).count();
        let who = |n: usize| if n == 1 { "1 person".to_owned() } else { format!("{n} people") };
        let why = match (lacking, sharing) {
            (0, 0) => String::new(),
            (0, n) => format!("{} on the roster share it with somebody else", who(n)),
            (n, _) => format!("it is blank for {} on the roster", who(n)),
        };
        if !why.is_empty() {
            let field = settings.match_key;
            return Err(Error::Wrong(format!(
                "{field} cannot be the match key, because {why}; `muster members export` shows the column. Correct that first."
            )));
        }
        Ok(all.iter().filter(|n| n.gets_it(&taken)).count() as u64)
    }

    /// Gives everybody their new key, in the transaction in which the setting changes; says whether there was anybody.
    pub(crate) async fn rekey_everybody(
        &self,
        lease: &Lease,
        org: &Organisation,
        fact: &Fact,
        settings: &Settings,
    ) -> Result<bool> {
        let all = self.new_keys(org, settings).await?;
        let taken = taken(&all);
        let mut numbers: Vec<MemberNo> = all.iter().filter(|n| n.gets_it(&taken)).map(|n| n.no).collect();
        numbers.sort_unstable();
        let mut changes = Wholesale::new(self, lease, org);
        for batch in numbers.chunks(BATCH) {
            let members = self.members(org.row.id, batch).await?;
            for member in batch.iter().filter_map(|no| members.get(no)) {
                let Some(key) = new_key(org, settings, member) else { continue };
                let mut change = Change::new(Kind::Rekey, Some(member.no), member.uuid, key);
                change.old_key = Some(member.key.as_str().into());
                change.evidence = Some("by_hand".into());
                changes.push(&change).await?;
            }
        }
        if changes.changes() == 0 {
            return Ok(false);
        }
        let settings = Some((fact, settings));
        changes.apply(Saying { feed: FeedNo::HAND, displaced: Reason::Pinned, hands_over: None, settings }).await?;
        Ok(true)
    }

    async fn new_keys(&self, org: &Organisation, settings: &Settings) -> Result<Vec<NewKey>> {
        let mut all = Vec::new();
        let scan = |no, packed: &[u8]| {
            let member = codec::decode(no, packed)?;
            let new = new_key(org, settings, &member);
            let hash = new.as_deref().map(|key| org.keys.identifier(Identifier::Key, key));
            let listed = member.is_listed();
            let differs = new.is_some_and(|new| new != member.key);
            Ok((listed || hash.is_some()).then_some(NewKey { no, hash, differs, listed }))
        };
        self.scan_members(org.row.id, scan, |one| all.push(one)).await?;
        Ok(all)
    }
}

impl NewKey {
    /// A former member whose key somebody else has too keeps the old one.
    fn gets_it(&self, taken: &Taken) -> bool {
        self.differs && self.hash.is_some_and(|h| self.listed || taken[&h].1 == 1)
    }
}

fn taken(all: &[NewKey]) -> Taken {
    let mut taken = Taken::new();
    for one in all {
        if let Some(hash) = one.hash {
            let (listed, in_all) = taken.entry(hash).or_default();
            *listed += u32::from(one.listed);
            *in_all += 1;
        }
    }
    taken
}

/// The value of the new field, behind the prefix of the feed that gave the old key.
fn new_key(org: &Organisation, settings: &Settings, member: &Member) -> Option<String> {
    let field: FieldId = settings.match_key.field();
    let value = member.values.get(field)?;
    let old = normalise::key(&member.key);
    let prefixes = member.spells.iter().filter_map(|spell| {
        let feed = org.feeds.iter().find(|f| f.no == spell.feed)?;
        feed.settings.key_prefix.as_deref().map(normalise::trim)
    });
    let prefix = prefixes.filter(|p| old.starts_with(&*normalise::key(p))).max_by_key(|p| p.len());
    Some(format!("{}{value}", prefix.unwrap_or_default()))
}
