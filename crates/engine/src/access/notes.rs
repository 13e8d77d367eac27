//! What is written by and by: when keys were last used, and the log of reads. A request writes nothing for it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
    sync::atomic::Ordering,
};

use chrono::{DateTime, Duration, Utc};
use muster_domain::{
    access::{Action, ApiKey},
    ids::{ChangeSetId, OrganisationId, UploadId},
};
use muster_store::access::{Noted, NotedFilter, Used};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    LastUse, Maker,
    keys::{ends_in_days, may},
    locked,
};
use crate::{Engine, Organisation, Result};

/// For how long the log of reads is kept.
pub const LOG_KEPT: Duration = Duration::days(90);

/// How many entries are kept in memory at most, while they cannot be written.
const MOST_PENDING: usize = 100_000;

/// What is to be written.
#[derive(Default)]
pub(super) struct Pending {
    uses: HashMap<(OrganisationId, String), LastUse>,
    entries: Vec<(OrganisationId, Uuid, AccessEntry)>,
}

/// What was asked with a key, and the answer. Members are named by their UUID alone, and routes as they are written in
/// the documentation, without what is put in for their words in braces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// With which key.
    pub key: String,
    /// On behalf of which user.
    pub user: Uuid,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// The method of the request.
    pub method: String,
    /// The route.
    pub route: String,
    /// The status of the answer.
    pub status: u16,
    /// Who was asked about, if there is such a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Uuid>,
    /// Which upload was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadId>,
    /// Which change set was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_set: Option<ChangeSetId>,
    /// Of which feed was read, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<String>,
    /// Whether they are eligible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eligible: Option<bool>,
    /// Why not, as a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of which version of the roster that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roster_version: Option<u64>,
}

/// Which entries of the log of reads are wanted.
#[derive(Clone, Debug, Default)]
pub struct AccessLogFilter {
    /// Only those of this key.
    pub key: Option<String>,
    /// From this moment on.
    pub since: Option<DateTime<Utc>>,
    /// Only what is behind the page that ended there.
    pub after: Option<AccessLogPlace>,
    /// So many of the newest.
    pub limit: u32,
}

/// Where a page of the log of reads ended. It is written as text, and read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessLogPlace {
    at: DateTime<Utc>,
    id: Uuid,
}

impl fmt::Display for AccessLogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.timestamp_micros(), self.id.simple())
    }
}

impl AccessLogPlace {
    /// Reads what was written of one.
    pub fn read(text: &str) -> Option<AccessLogPlace> {
        let (at, id) = text.split_once('-')?;
        Some(AccessLogPlace { at: DateTime::from_timestamp_micros(at.parse().ok()?)?, id: id.parse().ok()? })
    }
}

/// A page of the log of reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogPage {
    /// The entries, the newest first.
    pub entries: Vec<AccessEntry>,
    /// Where it ended, if there are more.
    pub next: Option<AccessLogPlace>,
}

/// What a process has counted, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessFigures {
    /// Requests with a key that is none.
    pub unknown_keys: u64,
    /// Entries of the log of reads that were lost because they could not be written for too long.
    pub lost_entries: u64,
}

/// What was taken away because it has been kept for long enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Entries of the log of reads.
    pub entries: u64,
    /// Answers to requests with an idempotency key.
    pub answers: u64,
}

impl Engine {
    /// Notes that a key was used; written by [`Engine::flush_access`].
    pub(super) fn note_use(&self, key: &ApiKey, from: IpAddr, at: DateTime<Utc>) {
        let mut pending = locked(&self.access.pending);
        let from = from.to_canonical();
        match pending.uses.get_mut(&(key.organisation, key.id.clone())) {
            Some(before) if before.at > at => {}
            Some(before) => *before = LastUse { at, from: from.to_string() },
            None => {
                pending.uses.insert((key.organisation, key.id.clone()), LastUse { at, from: from.to_string() });
            }
        }
    }

    /// When a key was last used as far as this process knows and has not written yet.
    pub(super) fn pending_use(&self, org: OrganisationId, key: &str) -> Option<LastUse> {
        locked(&self.access.pending).uses.get(&(org, key.to_owned())).cloned()
    }

    /// Adds an entry to an organisation's log of reads; written by [`Engine::flush_access`].
    pub fn note_access(&self, org: OrganisationId, entry: AccessEntry) {
        let mut pending = locked(&self.access.pending);
        if pending.entries.len() < MOST_PENDING {
            pending.entries.push((org, Uuid::now_v7(), entry));
        } else {
            self.access.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what was noted since the last time. What cannot be written is kept for the next time.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn flush_access(&self) -> Result<()> {
        let taken = std::mem::take(&mut *locked(&self.access.pending));
        if taken.uses.is_empty() && taken.entries.is_empty() {
            return Ok(());
        }
        let outcome = self.write_notes(&taken).await;
        if outcome.is_err() {
            let mut pending = locked(&self.access.pending);
            for (key, used) in taken.uses {
                pending.uses.entry(key).or_insert(used);
            }
            let newer = std::mem::replace(&mut pending.entries, taken.entries);
            let room = MOST_PENDING.saturating_sub(pending.entries.len());
            self.access.lost.fetch_add(newer.len().saturating_sub(room) as u64, Ordering::Relaxed);
            pending.entries.extend(newer.into_iter().take(room));
        }
        outcome
    }

    async fn write_notes(&self, taken: &Pending) -> Result<()> {
        let access = self.users_and_keys().await?;
        let mut uses: BTreeMap<OrganisationId, Vec<(String, Used)>> = BTreeMap::new();
        for ((org, key), LastUse { at, from }) in &taken.uses {
            uses.entry(*org).or_default().push((key.clone(), Used { at: *at, address: from.clone() }));
        }
        for (org, uses) in uses {
            access.note_uses(org, uses).await?;
        }
        let mut entries: BTreeMap<OrganisationId, Vec<Noted>> = BTreeMap::new();
        for (org, id, entry) in &taken.entries {
            let noted = Noted { at: entry.at, id: *id, key: entry.key.clone(), doc: serde_json::to_vec(entry)? };
            entries.entry(*org).or_default().push(noted);
        }
        for (org, entries) in entries {
            access.note(org, entries).await?;
        }
        Ok(())
    }

    /// The newest entries of an organisation's log of reads, the newest first; what this process has not written yet is not
    /// among them. Who is no administrator sees what was read with the keys that are mapped to them.
    ///
    /// # Errors
    /// If the caller may not, or the store cannot be read.
    pub async fn access_log(&self, org: &Organisation, filter: &AccessLogFilter, by: &Maker) -> Result<AccessLogPage> {
        let AccessLogFilter { key, since, after, limit } = filter.clone();
        let before = after.map(|place| (place.at, place.id));
        let noted = |key| NotedFilter { key, since, before, limit: limit.saturating_add(1) };
        let access = self.users_and_keys().await?;
        let mut found = Vec::new();
        for key in self.keys_to_read_of(org, key, by).await? {
            found.extend(access.noted(org.row.id, &noted(key)).await?);
        }
        found.sort_by_key(|entry| Reverse((entry.at, entry.id)));
        let has_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| has_more).map(|last| AccessLogPlace { at: last.at, id: last.id });
        let entries = found.iter().map(|entry| Ok(serde_json::from_slice(&entry.doc)?)).collect::<Result<_>>()?;
        Ok(AccessLogPage { entries, next })
    }

    /// Of which keys entries are read, each by itself; none for those of all keys at once.
    async fn keys_to_read_of(
        &self,
        org: &Organisation,
        key: Option<String>,
        by: &Maker,
    ) -> Result<Vec<Option<String>>> {
        may(by, Action::Read)?;
        if by.sees_all_keys() {
            return Ok(vec![key]);
        }
        let seen = self.list_keys(org, by).await?.into_iter().map(|listed| listed.key.id);
        Ok(seen.filter(|id| key.as_ref().is_none_or(|key| key == id)).map(Some).collect())
    }

    /// What this process has counted.
    pub fn access_figures(&self) -> AccessFigures {
        AccessFigures {
            unknown_keys: self.access.unknown.load(Ordering::Relaxed),
            lost_entries: self.access.lost.load(Ordering::Relaxed),
        }
    }

    /// Takes away what an organisation's log of reads and answers have kept for long enough.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn tidy_access(&self, org: OrganisationId, now: DateTime<Utc>) -> Result<Tidied> {
        if !self.store.has_access() {
            return Ok(Tidied::default());
        }
        let access = self.users_and_keys().await?;
        let entries = access.forget_noted(org, now - LOG_KEPT).await?;
        Ok(Tidied { entries, answers: access.forget_answers(org, now).await? })
    }

    /// How many entries [`Engine::tidy_access`] would take away.
    pub(crate) async fn access_entries_due(&self, org: OrganisationId, now: DateTime<Utc>) -> Result<u64> {
        if !self.store.has_access() {
            return Ok(0);
        }
        Ok(self.users_and_keys().await?.count_noted(org, now - LOG_KEPT).await?)
    }

    /// The keys of an organisation that end soon, each with how many days are left, for whoever warns of it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn keys_ending(&self, org: OrganisationId, now: DateTime<Utc>) -> Result<Vec<(ApiKey, i64)>> {
        if !self.store.has_access() {
            return Ok(Vec::new());
        }
        let mut ending = Vec::new();
        for (row, _) in self.users_and_keys().await?.keys(org).await? {
            let key: ApiKey = serde_json::from_slice(&row.doc)?;
            if let Some(days) = ends_in_days(&key, now) {
                ending.push((key, days));
            }
        }
        Ok(ending)
    }
}
