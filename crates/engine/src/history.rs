//! History: where every value of a member came from, and what stood there before.

use std::collections::{HashMap, hash_map::Entry};

use chrono::{DateTime, Utc};
use muster_domain::{
    change::{Change, Kind, Named},
    documents::Feed,
    event::{Body, StoredEvent},
    fact::{Applied, Fact, State},
    field::Fields,
    fold,
    forgotten::Destroyed,
    ids::{ChangeSetId, FeedNo, UploadId},
    member::Member,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Engine, Organisation, Result,
    export::SLICE,
    members::{At, is_past, is_reached},
    originals::Original,
    roster::in_parallel,
};

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
    /// Who applied it: the reviewer who approved, or whoever sent it where policy let it pass.
    pub applied_by: String,
    /// Whether a person approved it.
    pub reviewed: bool,
    /// When and why the file itself was destroyed, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<Destroyed>,
}

/// What is gathered while the log is read.
struct Search {
    member: Uuid,
    needle: String,
    fields: Fields,
    feeds: HashMap<FeedNo, String>,
    uploads: HashMap<UploadId, Sent>,
    sets: HashMap<ChangeSetId, Found>,
    now: Option<Member>,
    entries: Vec<HistoryEntry>,
    turn: Option<HistoryEntry>,
    first: Option<HistoryEntry>,
}

/// All that the log tells of a member up to some time.
pub(crate) struct Told {
    /// The member then; none if they had not come yet.
    pub member: Option<Member>,
    /// Every value that was set, oldest first.
    pub entries: Vec<HistoryEntry>,
    /// The last coming or going.
    pub turn: Option<HistoryEntry>,
    /// What made the member known, without a field.
    pub first: Option<HistoryEntry>,
}

struct Sent {
    file: Option<String>,
    actor: String,
}

/// A change set in which the member was found.
#[derive(Default)]
struct Found {
    upload: Option<UploadId>,
    lines: Vec<(u32, Vec<u8>)>,
}

impl Engine {
    /// Every value ever set of a member, oldest first.
    ///
    /// # Errors
    /// If nobody has that key, or the log cannot be read.
    pub async fn history(&self, org: &Organisation, key: &str) -> Result<Vec<HistoryEntry>> {
        Ok(self.history_until(org, key, At::Now).await?.entries)
    }

    /// The same up to some time, of whoever has or had the key by now.
    pub(crate) async fn history_until(&self, org: &Organisation, key: &str, at: At) -> Result<Told> {
        let head = self.store.head(org.row.id).await?;
        is_reached(org, at, head.roster_version, head.last_seq)?;
        let member = self.member(org, key).await?;
        let mut search = Search::new(org, member.uuid);
        let mut slices = self.store.event_slices(org.row.id, 0, SLICE);
        while let Some(slice) = slices.next().await? {
            let past = tokio::task::block_in_place(|| -> Result<bool> {
                let needle = &search.needle;
                for event in in_parallel(&slice, |raw| Ok(without_others(raw.clone().open()?, needle)))? {
                    if is_past(&event, at)? {
                        return Ok(true);
                    }
                    search.take(event)?;
                }
                Ok(false)
            })?;
            if past {
                break;
            }
        }
        let mut told = Told { member: search.now, entries: search.entries, turn: search.turn, first: search.first };
        self.note_originals(org, &mut told).await?;
        Ok(told)
    }

    /// Of which uploads the original is gone by now.
    async fn note_originals(&self, org: &Organisation, told: &mut Told) -> Result<()> {
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

/// Of the chunks of changes only those are kept that name the member somewhere.
fn without_others(mut event: StoredEvent, needle: &str) -> StoredEvent {
    let named = |body: &Body| std::str::from_utf8(&body.lines).is_ok_and(|lines| lines.contains(needle));
    if event.meta.kind == "change_set.chunk" && !event.body.as_ref().is_some_and(named) {
        event.body = None;
    }
    event
}

impl Search {
    fn new(org: &Organisation, member: Uuid) -> Self {
        let name = |f: &Feed| (f.no, f.settings.name.clone());
        Search {
            member,
            needle: format!("\"member\":\"{member}\""),
            fields: org.settings.fields.clone(),
            feeds: org.feeds.iter().map(name).collect(),
            uploads: HashMap::new(),
            sets: HashMap::new(),
            now: None,
            entries: Vec::new(),
            turn: None,
            first: None,
        }
    }

    fn take(&mut self, event: StoredEvent) -> Result<()> {
        match Fact::read(&event.meta)? {
            Fact::UploadReceived(received) => {
                let sent = Sent { file: event.body.as_ref().and_then(file_name), actor: event.meta.actor };
                self.uploads.insert(received.upload, sent);
            }
            Fact::Chunk { change_set, first, .. } => {
                if let Some(body) = &event.body {
                    self.look_in(change_set, first, body);
                }
            }
            Fact::Computed(computed) => {
                if let Some(found) = self.sets.get_mut(&computed.change_set) {
                    found.upload = Some(computed.upload);
                }
            }
            Fact::Applied(applied) => {
                self.apply(&applied, &event)?;
                if applied.state == State::Applied {
                    self.sets.remove(&applied.change_set);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn look_in(&mut self, set: ChangeSetId, first: u32, body: &Body) {
        let named = |line: &[u8]| std::str::from_utf8(line).is_ok_and(|l| l.contains(&self.needle));
        for (i, line) in body.iter().enumerate() {
            if let Some(line) = line.filter(|l| named(l)) {
                self.sets.entry(set).or_default().lines.push((first + i as u32, line.to_vec()));
            }
        }
    }

    fn apply(&mut self, applied: &Applied, event: &StoredEvent) -> Result<()> {
        let Some(found) = self.sets.get(&applied.change_set) else { return Ok(()) };
        let (upload, lines) = (found.upload, found.lines.clone());
        for (_, line) in lines.iter().filter(|(ordinal, _)| applied.selection.contains(*ordinal)) {
            let mut change = Change::read(line)?;
            if change.member != self.member {
                continue;
            }
            change.to.retain(|(field, _)| !applied.except_fields.iter().any(|f| f == field));
            let ctx = fold::Context {
                change_set: applied.change_set,
                feed: applied.feed,
                day: applied.day,
                displaced: applied.displaced,
                fields: &self.fields,
            };
            let before = self.now.take();
            let after = fold::apply(before.clone(), change.no.unwrap_or_default(), &change, &ctx);
            self.tell(before.as_ref(), &after, &change, applied, event, upload);
            self.now = Some(after);
        }
        Ok(())
    }

    fn tell(
        &mut self,
        before: Option<&Member>,
        after: &Member,
        change: &Change,
        applied: &Applied,
        event: &StoredEvent,
        upload: Option<UploadId>,
    ) {
        let sent = upload.and_then(|u| self.uploads.get(&u));
        let feed =
            if applied.feed == FeedNo::HAND { Some("hand") } else { self.feeds.get(&applied.feed).map(String::as_str) };
        let bare = HistoryEntry {
            seq: event.meta.seq,
            event: event.meta.id,
            at: event.meta.recorded_at,
            kind: change.kind,
            field: None,
            value: None,
            before: None,
            change_set: applied.change_set,
            feed: feed.unwrap_or("?").to_owned(),
            upload,
            file: sent.and_then(|s| s.file.clone()),
            line: change.line,
            raw: None,
            sent_by: sent.map(|s| s.actor.clone()),
            applied_by: event.meta.actor.clone(),
            reviewed: applied.reviewed,
            destroyed: None,
        };
        if before.is_none() {
            self.first = Some(bare.clone());
        }
        let first = self.entries.len();
        for field in self.fields.all() {
            let was = before.and_then(|m| m.values.get(field));
            let is = after.values.get(field);
            if was != is {
                let name = self.fields.name(field);
                let raw = of(&change.raw, name);
                let (value, before) = (is.map(str::to_owned), was.map(str::to_owned));
                self.entries.push(HistoryEntry { field: Some(name.to_owned()), value, before, raw, ..bare.clone() });
            }
        }
        if let Some(old) = before.filter(|m| m.key != after.key) {
            let field = Some("unique_id".to_owned());
            let (value, before) = (Some(after.key.clone()), Some(old.key.clone()));
            self.entries.push(HistoryEntry { field, value, before, ..bare.clone() });
        }
        if before.is_some_and(Member::is_listed) != after.is_listed() {
            self.turn = Some(bare.clone());
            if self.entries.len() == first {
                self.entries.push(bare);
            }
        }
    }
}

fn of(list: &Named, name: &str) -> Option<String> {
    list.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.as_deref().map(str::to_owned))
}

/// The name of the file, which stands in the first line of `upload.received`.
fn file_name(body: &Body) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Line {
        file: Option<String>,
    }
    serde_json::from_slice::<Line>(body.iter().next()??).ok()?.file
}
