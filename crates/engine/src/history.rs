//! History: where every value of a member came from, and what stood there before.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};

use chrono::{DateTime, Utc};
use muster_domain::{
    change::Kind,
    fact::Fact,
    forgotten::Destroyed,
    ids::{ChangeSetId, OrganisationId, UploadId},
    member::Member,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Engine, Organisation, Result,
    export::SLICE,
    members::{At, is_past, is_reached},
    originals::Original,
    projections::{history::Index, reading::Wait},
    roster::in_parallel,
};

mod search;

use search::{Search, without_others};

/// One value that was set, or, without a field, a coming, going or new match key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryEntry {
    /// The sequence number of the event that applied it.
    pub seq: u64,
    /// The id of that event.
    pub event: Uuid,
    /// When it was applied.
    pub at: DateTime<Utc>,
    /// What the change did.
    pub kind: Kind,
    /// The field; `unique_id` for a match key, none for a coming or going that sets no value.
    pub field: Option<String>,
    /// The value from then on; none is blank.
    pub value: Option<String>,
    /// What stood there before.
    pub before: Option<String>,
    /// The change set.
    pub change_set: ChangeSetId,
    /// The name of the feed; `hand` for an administrator's edit.
    pub feed: String,
    /// The upload.
    pub upload: Option<UploadId>,
    /// The name of the file.
    pub file: Option<String>,
    /// The line of the payload.
    pub line: Option<u64>,
    /// The text as it was read, where normalising changed it.
    pub raw: Option<String>,
    /// Who sent the payload.
    pub sent_by: Option<String>,
    /// What they are called now, if they used a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_by_name: Option<String>,
    /// Who applied it: the reviewer who approved, or whoever sent it where policy let it pass.
    pub applied_by: String,
    /// What they are called now, if they used a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_by_name: Option<String>,
    /// Whether a person approved it.
    pub reviewed: bool,
    /// When and why the file itself was destroyed, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<Destroyed>,
}

impl HistoryEntry {
    /// Who sent the payload, as people are told.
    pub fn sender(&self) -> Option<&str> {
        self.sent_by_name.as_deref().or(self.sent_by.as_deref())
    }

    /// Who applied it, as people are told.
    pub fn applier(&self) -> &str {
        self.applied_by_name.as_deref().unwrap_or(&self.applied_by)
    }
}

/// All that the log tells of a member up to some time.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The event up to which this reflects the log.
    pub seq: u64,
    /// The member then; none if they had not come yet.
    pub member: Option<Member>,
    /// Every value that was set, oldest first.
    pub entries: Vec<HistoryEntry>,
    /// The last coming or going.
    pub turn: Option<HistoryEntry>,
    /// What made the member known, without a field.
    pub first: Option<HistoryEntry>,
}

/// The index must reflect whatever event is asked about.
fn reaching(at: At, wait: Wait) -> Wait {
    let reaches = if let At::Event(seq) = at { Some(seq) } else { None };
    Wait { until: wait.until.max(reaches), ..wait }
}

impl Engine {
    /// Every value ever set, up to some time, of whoever has or had the key by now. Of the log only the events are read
    /// that tell of them.
    ///
    /// # Errors
    /// If nobody has that key, the log does not reach that time or cannot be read, or the index of it does not reflect what
    /// it must.
    pub async fn history(&self, org: &Organisation, key: &str, at: At, wait: Wait) -> Result<History> {
        self.is_in_log(org, at).await?;
        let index = self.history_index(org.row.id, reaching(at, wait)).await?;
        let member = self.member(org, key).await?;
        self.history_by(index, org, &member, at).await
    }

    /// The same of a member who is known.
    ///
    /// # Errors
    /// As [`history`](Self::history).
    pub async fn history_of(&self, org: &Organisation, member: &Member, at: At, wait: Wait) -> Result<History> {
        self.is_in_log(org, at).await?;
        let index = self.history_index(org.row.id, reaching(at, wait)).await?;
        self.history_by(index, org, member, at).await
    }

    async fn history_by(&self, mut index: Index, org: &Organisation, member: &Member, at: At) -> Result<History> {
        let mut search = Search::new(org, member.uuid);
        let mut read = BTreeSet::new();
        for (seq, ordinals) in index.applied(member.no).await? {
            let event = self.store.event(org.row.id, seq).await?;
            if is_past(&event, at)? {
                break;
            }
            let fact = Fact::read(&event.meta)?;
            if let Fact::Applied(applied) = &fact {
                self.look_at(org.row.id, applied.change_set, &ordinals, &mut index, &mut read, &mut search).await?;
            }
            search.take(fact, event)?;
        }
        self.told(org, search, index.seq()).await
    }

    /// Has the search take the events that say what was applied, unless it has taken them.
    async fn look_at(
        &self,
        org: OrganisationId,
        set: ChangeSetId,
        ordinals: &[u32],
        index: &mut Index,
        read: &mut BTreeSet<u64>,
        search: &mut Search,
    ) -> Result<()> {
        let upload = index.upload(set).await?;
        let mut wanted: BTreeSet<u64> = upload.and_then(|(_, received)| received).into_iter().collect();
        for ordinal in ordinals {
            wanted.insert(index.place(set, *ordinal).await?);
        }
        for seq in wanted {
            if read.insert(seq) {
                let event = self.store.event(org, seq).await?;
                search.take(Fact::read(&event.meta)?, event)?;
            }
        }
        search.note_upload(set, upload.map(|(upload, _)| upload));
        Ok(())
    }

    /// The same as [`Engine::history`] from the whole log, event by event, without the index: that is held against it.
    ///
    /// # Errors
    /// If nobody has that key, or the log does not reach that time or cannot be read.
    pub async fn history_from_log(&self, org: &Organisation, key: &str, at: At) -> Result<History> {
        let end = self.is_in_log(org, at).await?;
        let member = self.member(org, key).await?;
        let mut search = Search::new(org, member.uuid);
        let mut slices = self.store.event_slices(org.row.id, 0, SLICE);
        while let Some(slice) = slices.next().await? {
            let past = tokio::task::block_in_place(|| -> Result<bool> {
                let needle = search.needle();
                for event in in_parallel(&slice, |raw| Ok(without_others(raw.clone().open()?, &needle)))? {
                    if is_past(&event, at)? {
                        return Ok(true);
                    }
                    search.take(Fact::read(&event.meta)?, event)?;
                }
                Ok(false)
            })?;
            if past {
                break;
            }
        }
        self.told(org, search, end).await
    }

    /// The last event of a log that reaches a time.
    async fn is_in_log(&self, org: &Organisation, at: At) -> Result<u64> {
        let head = self.store.head(org.row.id).await?;
        is_reached(org, at, head.roster_version, head.last_seq)?;
        Ok(head.last_seq)
    }

    async fn told(&self, org: &Organisation, search: Search, seq: u64) -> Result<History> {
        let mut history = search.told(seq);
        self.note_originals(org, &mut history).await?;
        self.note_names(org, &mut history).await?;
        Ok(history)
    }

    /// What those who sent and applied are called by now.
    async fn note_names(&self, org: &Organisation, told: &mut History) -> Result<()> {
        let all = || told.entries.iter().chain(&told.turn).chain(&told.first);
        let actors = all().flat_map(|entry| entry.sent_by.as_deref().into_iter().chain([&*entry.applied_by]));
        let names = self.names(org.row.id, &actors.collect::<Vec<_>>()).await?;
        let known = |actor: &str| names.known(actor).map(str::to_owned);
        for entry in told.entries.iter_mut().chain(&mut told.turn).chain(&mut told.first) {
            entry.sent_by_name = entry.sent_by.as_deref().and_then(known);
            entry.applied_by_name = known(&entry.applied_by);
        }
        Ok(())
    }

    /// Of which uploads the original is gone by now.
    async fn note_originals(&self, org: &Organisation, told: &mut History) -> Result<()> {
        let mut known: HashMap<UploadId, Option<Destroyed>> = HashMap::new();
        for entry in told.entries.iter_mut().chain(&mut told.turn).chain(&mut told.first) {
            let Some(upload) = entry.upload else { continue };
            if let Entry::Vacant(place) = known.entry(upload) {
                place.insert(match self.original(org, upload).await? {
                    Original::Destroyed(gone) => Some(gone),
                    Original::Kept | Original::None => None,
                });
            }
            entry.destroyed = known[&upload];
        }
        Ok(())
    }
}
