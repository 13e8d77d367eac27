//! Renewal: which claims of a feed no payload has renewed for long.
//!
//! An accepted payload that names somebody renews the feed's claim on them. Nothing of that is stored for each person:
//! a full payload renews all claims that it leaves but those whose absence was not accepted, which is noted at the
//! member; of partial ones the kept payloads are read again.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use muster_domain::{
    digest::Identifier,
    documents::{Feed, Upload},
    eligibility,
    fact::State,
    ids::Day,
    member::{ABSENT, Member},
    settings::Mode,
};
use muster_store::Filter;

use crate::{Engine, Organisation, Result, opening};

/// Uploads read at a time.
const PAGE: u32 = 200;

/// Claims that were not renewed for long.
#[derive(Clone, Debug)]
pub struct NotRenewed {
    /// How many there are.
    pub count: u64,
    /// Payloads since then that cannot be read any more: people whom only these named are counted too.
    pub unreadable: u64,
}

/// What payloads since a moment have renewed.
#[derive(Default)]
struct Renewed {
    all: bool,
    keys: HashSet<u64>,
    unreadable: u64,
}

impl Engine {
    /// Calls a function with every member whom a feed claims although no accepted payload of it has named them since a
    /// moment, and tells how many they are. A claim that began on a later day is not among them.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn not_renewed(
        &self,
        org: &Organisation,
        feed: &Feed,
        since: DateTime<Utc>,
        mut visit: impl FnMut(&Member),
    ) -> Result<NotRenewed> {
        let day = eligibility::today(&org.settings, since);
        let renewed = self.renewed(org, feed, since).await?;
        let mut found = NotRenewed { count: 0, unreadable: renewed.unreadable };
        self.each_member(org.row.id, |member| {
            if is_stale(&member, feed, day) && !renewed.names(org, feed, &member) {
                found.count += 1;
                visit(&member);
            }
        })
        .await?;
        Ok(found)
    }

    async fn renewed(&self, org: &Organisation, feed: &Feed, since: DateTime<Utc>) -> Result<Renewed> {
        let mut renewed = Renewed::default();
        let mut filter = Filter { feed: Some(feed.no), limit: PAGE, ..Filter::default() };
        loop {
            let page = self.store.uploads(org.row.id, &filter).await?;
            let Some(last) = page.last() else { return Ok(renewed) };
            filter.before = Some(last.arrival);
            for row in &page {
                let upload: Upload = serde_json::from_slice(&row.doc)?;
                if upload.received_at < since {
                    return Ok(renewed);
                }
                match (upload.received.mode, upload.state) {
                    (Mode::Full, State::Applied | State::NoChanges) => {
                        renewed.all = true;
                        return Ok(renewed);
                    }
                    (Mode::Full | Mode::Partial, State::Applied | State::NoChanges | State::PartlyApplied) => {
                        self.take_keys(org, feed, &upload, &mut renewed);
                    }
                    _ => {}
                }
            }
        }
    }

    /// A payload that is no longer there, or that another mapping no longer reads, renews nothing.
    fn take_keys(&self, org: &Organisation, feed: &Feed, upload: &Upload, renewed: &mut Renewed) {
        let read = || -> Result<Vec<u64>> {
            let file = self.payloads.path(org.row.id, upload.received.upload);
            opening::keys_named(org, feed, &upload.received, &file)
        };
        match tokio::task::block_in_place(read) {
            Ok(keys) => renewed.keys.extend(keys),
            Err(_) => renewed.unreadable += 1,
        }
    }
}

impl Renewed {
    fn names(&self, org: &Organisation, feed: &Feed, member: &Member) -> bool {
        let hash = |key: &String| org.keys.identifier(Identifier::Key, key);
        let keys = || std::iter::once(&member.key).chain(&member.aliases);
        self.all && member.word(feed.no, ABSENT).is_none() || keys().any(|k| self.keys.contains(&hash(k)))
    }
}

/// Whether the feed's claim began no later than that day, and an absence that was not accepted, if there is one, too.
fn is_stale(member: &Member, feed: &Feed, day: Day) -> bool {
    let claimed = member.spells.iter().any(|s| s.feed == feed.no && s.to.is_none() && s.from <= day);
    claimed && member.word(feed.no, ABSENT).is_none_or(|w| w.since <= day)
}
