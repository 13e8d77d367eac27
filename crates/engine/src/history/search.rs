//! Search: what events say of one member, taken one by one and folded into a history.

use std::collections::{BTreeMap, HashMap};

use muster_domain::{
    change::{Change, Named},
    documents::Feed,
    event::{Body, StoredEvent},
    fact::{Applied, Fact, State},
    field::Fields,
    fold,
    ids::{ChangeSetId, FeedNo, UploadId},
    member::Member,
};
use uuid::Uuid;

use super::{History, HistoryEntry};
use crate::{Organisation, Result};

/// What is gathered of a member while events are read.
pub struct Search {
    member: Uuid,
    fields: Fields,
    feeds: HashMap<FeedNo, String>,
    uploads: HashMap<UploadId, Sent>,
    sets: HashMap<ChangeSetId, Found>,
    now: Option<Member>,
    entries: Vec<HistoryEntry>,
    turn: Option<HistoryEntry>,
    first: Option<HistoryEntry>,
}

struct Sent {
    file: Option<String>,
    actor: String,
}

/// A change set in which the member was found.
#[derive(Default)]
struct Found {
    upload: Option<UploadId>,
    /// Its lines by ordinal.
    lines: BTreeMap<u32, Vec<u8>>,
}

/// Of the chunks of changes only those are kept that name the member somewhere.
pub fn without_others(mut event: StoredEvent, needle: &str) -> StoredEvent {
    let named = |body: &Body| std::str::from_utf8(&body.lines).is_ok_and(|lines| lines.contains(needle));
    if event.meta.kind == "change_set.chunk" && !event.body.as_ref().is_some_and(named) {
        event.body = None;
    }
    event
}

impl Search {
    /// A search for a member.
    pub fn new(org: &Organisation, member: Uuid) -> Self {
        let name = |f: &Feed| (f.no, f.settings.name.clone());
        Search {
            member,
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

    /// Takes the next event, with what it says: an upload before its change set is applied, and its changes too.
    pub fn take(&mut self, fact: Fact, event: StoredEvent) -> Result<()> {
        match fact {
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
                self.note_upload(computed.change_set, Some(computed.upload));
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

    /// Of which upload a change set is in which the member was found.
    pub fn note_upload(&mut self, set: ChangeSetId, upload: Option<UploadId>) {
        if let Some(found) = self.sets.get_mut(&set) {
            found.upload = upload;
        }
    }

    fn look_in(&mut self, set: ChangeSetId, first: u32, body: &Body) {
        let needle = self.needle();
        let named = |line: &[u8]| std::str::from_utf8(line).is_ok_and(|l| l.contains(&needle));
        for (i, line) in body.iter().enumerate() {
            if let Some(line) = line.filter(|l| named(l)) {
                self.sets.entry(set).or_default().lines.insert(first + i as u32, line.to_vec());
            }
        }
    }

    /// What was found, as a history that reflects the log up to an event.
    pub fn told(self, seq: u64) -> History {
        History { seq, member: self.now, entries: self.entries, turn: self.turn, first: self.first }
    }

    /// How a line names the member.
    pub fn needle(&self) -> String {
        format!("\"member\":\"{}\"", self.member)
    }

    fn apply(&mut self, applied: &Applied, event: &StoredEvent) -> Result<()> {
        let Some(found) = self.sets.get(&applied.change_set) else { return Ok(()) };
        let (upload, lines) = (found.upload, found.lines.clone());
        for (_, line) in lines.iter().filter(|(ordinal, _)| applied.selection.contains(**ordinal)) {
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
            sent_by_name: None,
            applied_by: event.meta.actor.clone(),
            applied_by_name: None,
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
