//! Erasing: everything that was found about a person goes in one transaction, and the log says that it did.

use std::collections::BTreeMap;

use muster_domain::{
    codec,
    digest::Identifier,
    documents::ChangeSet,
    fact::{Fact, State},
    forgotten::{Forgotten, Why},
    ids::{FeedNo, MemberNo},
    member::{Member, NAMED},
    replay::{Checked, Replay},
};
use muster_store::{Lease, MEMBERS_PER_PAGE, Tx};
use uuid::Uuid;

use super::{Plan, log::without, reason_body};
use crate::{
    Engine, Organisation, Result,
    bits::Bits,
    crash, event,
    known::{self, Known},
    organisation::put_feed,
    roster::{beside, compress, decompress},
    spoken,
};

/// Members as they were and as they are without the erased lines.
type Changed = BTreeMap<MemberNo, (Option<Member>, Option<Member>)>;

impl Engine {
    /// Erases what was found, and says the roster version from now on.
    pub(super) async fn erase(
        &self,
        lease: &Lease,
        org: &Organisation,
        plan: &Plan,
        reason: Option<&str>,
    ) -> Result<u64> {
        let changed = self.changed_members(org, plan).await?;
        let who = self.who(Uuid::now_v7());
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        for (seq, lines) in &plan.lines.by_event {
            let body = self.store.event(org.row.id, *seq).await?.body.unwrap_or_default();
            let body = muster_store::encode(&without(&body, lines))?;
            tx.replace_body(*seq, &body).await?;
        }
        self.drop_proposals(&mut tx, org, plan).await?;
        self.note_destroyed(&mut tx, &plan.originals.uploads, Why::Forgotten, &who).await?;
        if plan.person.members.is_empty() && plan.lines.by_event.is_empty() {
            let version = tx.head().await?.roster_version;
            tx.commit().await?;
            return Ok(version);
        }
        self.put_changed(&mut tx, org, &changed).await?;
        let blocks: Vec<_> = plan.blocks.iter().copied().collect();
        tx.put_blocked(&blocks.iter().map(|b| b.0).collect::<Vec<_>>()).await?;
        let roster_version = match plan.person.members.is_empty() {
            true => tx.head().await?.roster_version,
            false => tx.bump_roster_version().await?,
        };
        let fact = Fact::Forgotten(Box::new(Forgotten {
            members: plan.person.members.keys().copied().collect(),
            events: plan.lines.by_event.len() as u64,
            lines: plan.lines.count(),
            blocked: blocks,
            roster_version,
        }));
        tx.append(vec![event(&fact, reason_body(reason))], &who).await?;
        crash::point("forget_before_commit");
        tx.commit().await?;
        Ok(roster_version)
    }

    /// The members who go, and those whom the erased lines were about too.
    async fn changed_members(&self, org: &Organisation, plan: &Plan) -> Result<Changed> {
        let own: Vec<MemberNo> = plan.person.members.keys().copied().collect();
        let mut others = plan.lines.touched.clone();
        for (key, uuid) in &plan.lines.declined {
            let found = self.store.idents(org.row.id, &[org.keys.identifier(Identifier::Key, key)]).await?;
            let numbers: Vec<MemberNo> = found.iter().map(|i| i.1).collect();
            let declined = self.members(org.row.id, &numbers).await?;
            others.extend(declined.values().filter(|m| m.uuid == *uuid).map(|m| m.no));
        }
        let others: Vec<MemberNo> = others.into_iter().collect();
        let mut before = self.members(org.row.id, &[&own[..], &others[..]].concat()).await?;
        let mut changed: Changed = own.iter().map(|no| (*no, (before.remove(no), None))).collect();
        if others.is_empty() {
            return Ok(changed);
        }
        // Seldom: a refused change of key is about two. What is left of the other one is what the rest of the log says.
        let replay = self.fold_without(org, plan).await?;
        for no in others {
            changed.insert(no, (before.remove(&no), replay.member(no)?));
        }
        Ok(changed)
    }

    async fn fold_without(&self, org: &Organisation, plan: &Plan) -> Result<Replay> {
        let mut replay = Replay::new();
        let mut slices = self.store.event_slices(org.row.id, 0, crate::export::SLICE);
        while let Some(slice) = slices.next().await? {
            for raw in slice {
                let mut event = raw.open()?;
                if let (Some(body), Some(gone)) = (&event.body, plan.lines.by_event.get(&event.meta.seq)) {
                    event.body = Some(without(body, gone));
                }
                replay.take(Checked::new(event)?)?;
            }
        }
        Ok(replay)
    }

    /// What waits and is about the person drops out of its change set.
    async fn drop_proposals(&self, tx: &mut Tx, org: &Organisation, plan: &Plan) -> Result<()> {
        for state in [State::Held, State::PartlyApplied] {
            for row in self.store.change_sets_in_state(org.row.id, state.word()).await? {
                let set: ChangeSet = serde_json::from_slice(&row.doc)?;
                let Some(theirs) = plan.lines.changes.get(&set.id) else { continue };
                let waiting = set.waiting();
                let rest = waiting.minus(theirs);
                let conflicts = waiting.minus(&rest);
                if conflicts.is_empty() {
                    continue;
                }
                let digest = self.digest_of(org, &set, &rest, &[]).await?;
                let digest = digest.unwrap_or_else(|| org.keys.digest().finish());
                self.take_out(tx, org, set, conflicts, digest).await?;
            }
        }
        Ok(())
    }

    /// Rows, identifiers, claims and caches of those who change.
    async fn put_changed(&self, tx: &mut Tx, org: &Organisation, changed: &Changed) -> Result<()> {
        let mut rows = Vec::new();
        for (no, (_, after)) in changed {
            match after {
                Some(member) => {
                    let mut packed = Vec::new();
                    codec::encode(member, &mut packed);
                    rows.push((*no, packed));
                }
                None => self.drop_row(tx, *no).await?,
            }
        }
        tx.put_members(rows).await?;
        for mut feed in org.feeds.clone() {
            feed.decided = None;
            for (before, after) in changed.values() {
                let claims = |m: &Option<Member>| m.as_ref().is_some_and(|m| m.is_claimed_by(feed.no));
                let by = i64::from(claims(after)) - i64::from(claims(before));
                feed.claims = feed.claims.saturating_add_signed(by);
            }
            put_feed(tx, &feed).await?;
            self.put_spoken(tx, feed.no, changed).await?;
            self.drop_known(tx, feed.no, changed).await?;
        }
        Ok(())
    }

    async fn drop_row(&self, tx: &mut Tx, no: MemberNo) -> Result<()> {
        tx.drop_member(no).await?;
        tx.drop_idents(no).await?;
        let Some(page) = tx.page_of(no).await? else { return Ok(()) };
        let first = no - no % MEMBERS_PER_PAGE;
        let page = decompress(&page)?;
        let (mut left, mut next) = (Vec::new(), first);
        for (other, packed) in codec::page(first, &page).filter(|(other, _)| *other != no) {
            (next..other).for_each(|_| codec::put_in_page(None, &mut left));
            codec::put_in_page(Some(packed), &mut left);
            next = other + 1;
        }
        Ok(tx.put_roster_pages(vec![(no / MEMBERS_PER_PAGE, compress(&left)?)]).await?)
    }

    /// Whom a feed names, and in which order.
    async fn put_spoken(&self, tx: &mut Tx, feed: FeedNo, changed: &Changed) -> Result<()> {
        let mut named = Bits::from_bytes(&tx.feed_page(feed, spoken::NAMED).await?.unwrap_or_default());
        for (no, (_, after)) in changed {
            let names =
                |m: &Member| m.is_claimed_by(feed) || m.words.iter().any(|w| w.feed == feed && w.field == NAMED);
            named.set(*no, after.as_ref().is_some_and(names));
        }
        let mut order = Vec::new();
        for page in spoken::NAMED + 1..tx.feed_pages(feed).await? {
            let page = tx.feed_page(feed, page).await?.unwrap_or_default();
            let stays = |no: &MemberNo| changed.get(no).is_none_or(|(_, after)| after.is_some());
            order.extend(spoken::order_of(&page).filter(stays));
        }
        self.put_order(tx, feed, &named, Box::new(order.into_iter())).await
    }

    /// A known row of somebody who changes is known no longer, and not even its fingerprint stays.
    async fn drop_known(&self, tx: &mut Tx, feed: FeedNo, changed: &Changed) -> Result<()> {
        // As they were before this transaction, which says nothing new but of those who change.
        let Some(known) = Known::load(&self.store, tx.organisation(), feed).await? else { return Ok(()) };
        let (to, made) = known::pages();
        let make = || {
            known::make(known.len(), to, |bucket, entries| {
                entries.extend(known.entries_in(bucket).filter(|(_, no)| !changed.contains_key(no)));
            });
        };
        beside(known::put(tx, feed, known.layout(), made), make).0
    }
}
