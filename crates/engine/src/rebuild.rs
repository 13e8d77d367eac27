//! Rebuilding: what is stored beside the log, made again from a folded one. `verify` compares with it, an import writes it.

use std::{collections::BTreeMap, ops::Range};

use muster_domain::{
    codec,
    digest::Keys,
    documents::Feed,
    ids::{FeedNo, MemberNo},
    member::{ABSENT, Member, NAMED},
    replay::Replay,
};
use muster_store::{Head, Ident, MEMBERS_PER_PAGE, Tx, UploadRow};

use crate::{
    Result,
    bits::Bits,
    compare::hashes,
    organisation::put_feed,
    roster::{self, compress, in_parallel},
    seal::put_change_set,
};

/// What the members say of things stored beside them.
#[derive(Default)]
pub struct Told {
    /// By what everybody can be recognised; sorted once all is gathered.
    pub idents: Vec<Ident>,
    /// Whom a feed claims or names.
    pub named: BTreeMap<FeedNo, Bits>,
    /// Members whose rows a feed may know by fingerprint: it claims them and last named them. It may have words of its
    /// own on fields of which the known row says nothing.
    pub plain: BTreeMap<FeedNo, Bits>,
}

/// A member's number and identifiers, and the feeds that name them, each with whether its rows may be known.
type Says = (MemberNo, Vec<u64>, Vec<(FeedNo, bool)>);

impl Told {
    /// Adds what a run of members says, and says how many they are.
    pub fn gather(&mut self, replay: &Replay, keys: &Keys, numbers: Range<MemberNo>) -> Result<u64> {
        let numbers: Vec<MemberNo> = numbers.collect();
        let parts: Vec<&[MemberNo]> = numbers.chunks(512).collect();
        let read = |no: &MemberNo| Some(says(replay.member(*no).transpose()?, keys));
        let gathered = tokio::task::block_in_place(|| {
            in_parallel(&parts, |part| part.iter().filter_map(read).collect::<Result<Vec<Says>>>())
        })?;
        let mut members = 0;
        for (no, idents, spoken) in gathered.into_iter().flatten() {
            members += 1;
            self.idents.extend(idents.into_iter().map(|hash| (hash, no)));
            for (feed, plain) in spoken {
                self.named.entry(feed).or_default().set(no, true);
                self.plain.entry(feed).or_default().set(no, plain);
            }
        }
        Ok(members)
    }

    /// Puts identifiers in order, once all is gathered.
    pub fn sort(&mut self) {
        self.idents.sort_unstable();
        self.idents.dedup();
    }
}

fn says(member: Result<Member, muster_domain::replay::ReplayError>, keys: &Keys) -> Result<Says> {
    let member = member?;
    let whole = |field| field == ABSENT || field == NAMED;
    let plain = |feed| !member.words.iter().any(|w| w.feed == feed && whole(w.field));
    let mut spoken: Vec<_> = member.claimants().map(|feed| (feed, plain(feed))).collect();
    let declined = member.words.iter().filter(|w| w.field == NAMED).map(|w| (w.feed, false));
    spoken.extend(declined);
    Ok((member.no, hashes(&member, keys), spoken))
}

/// The documents of feeds, their claims counted.
pub fn feeds(replay: &Replay) -> impl Iterator<Item = Feed> + '_ {
    replay.documents().feeds().values().map(|feed| Feed { claims: replay.claims(feed.no), ..feed.clone() })
}

/// Writes all that follows from a log into the store of an organisation that has nothing yet but the log. There are no
/// fingerprints, and the order of the feeds' last payloads is not known: both come back with the next payload.
pub async fn write(tx: &mut Tx, replay: &Replay, keys: &Keys) -> Result<()> {
    write_documents(tx, replay).await?;
    let mut told = Told::default();
    let (slice, end) = (roster::SLICE * MEMBERS_PER_PAGE, replay.next_member());
    for first in (0..end).step_by(slice as usize) {
        let last = end.min(first + slice);
        let pages: Vec<u32> = (first / MEMBERS_PER_PAGE..last.div_ceil(MEMBERS_PER_PAGE)).collect();
        let pages = tokio::task::block_in_place(|| in_parallel(&pages, |page| pack(replay, *page)))?;
        tx.put_roster_pages(pages).await?;
        told.gather(replay, keys, first..last)?;
    }
    told.sort();
    tx.put_ident_pages(0, &told.idents).await?;
    for (feed, named) in told.named {
        tx.put_feed_pages(feed, vec![named.to_bytes()]).await?;
    }
    let head = Head {
        last_seq: replay.last_seq(),
        hash: *replay.last_hash(),
        last_recorded_at: replay.last_recorded_at(),
        roster_version: replay.roster_version(),
        next_arrival: replay.documents().arrivals() + 1,
        next_member: replay.next_member(),
    };
    Ok(tx.set_head(&head).await?)
}

fn pack(replay: &Replay, page: u32) -> Result<(u32, Vec<u8>)> {
    let mut bytes = Vec::new();
    let first = page * MEMBERS_PER_PAGE;
    for no in first..replay.next_member().min(first + MEMBERS_PER_PAGE) {
        codec::put_in_page(replay.packed(no), &mut bytes);
    }
    Ok((page, compress(&bytes)?))
}

async fn write_documents(tx: &mut Tx, replay: &Replay) -> Result<()> {
    let told = replay.documents();
    tx.put_blocked(&told.blocked().iter().map(|b| b.0).collect::<Vec<_>>()).await?;
    tx.put_settings(&serde_json::to_vec(told.settings())?).await?;
    for feed in feeds(replay) {
        put_feed(tx, &feed).await?;
    }
    for (id, upload) in told.uploads() {
        let received = &upload.received;
        tx.put_upload(&UploadRow {
            id: *id,
            arrival: received.arrival,
            feed: received.feed,
            state: upload.state.word().to_owned(),
            idempotency_key: None,
            doc: serde_json::to_vec(upload)?,
        })
        .await?;
    }
    for set in told.change_sets().values() {
        put_change_set(tx, set).await?;
    }
    Ok(())
}
