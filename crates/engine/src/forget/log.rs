//! Looking for a person in the log: first by what they are known, then which lines are about them. The log is read
//! slice by slice; what is kept grows with the person's own history.

use std::collections::{BTreeMap, BTreeSet};

use muster_domain::{
    change::{Change, Kind},
    event::{Body, Hash, StoredEvent, leaf},
    fact::Fact,
    fold,
    ids::{ChangeSetId, MemberNo, UploadId},
    selection::Selection,
};
use muster_store::RawEvent;
use serde::Deserialize;
use uuid::Uuid;

use super::person::Person;
use crate::{Engine, Organisation, Result, export::SLICE, roster::in_parallel};

/// Lines of the log that are about somebody.
#[derive(Default)]
pub(super) struct Lines {
    /// Which lines of which events.
    pub by_event: BTreeMap<u64, Vec<u32>>,
    /// Which changes of which change sets.
    pub changes: BTreeMap<ChangeSetId, Selection>,
    /// Members whom these changes are about too, or who became known by them, and are somebody else.
    pub touched: BTreeSet<MemberNo>,
    /// Identities that a refused change of key gave to somebody else, with their key.
    pub declined: Vec<(String, Uuid)>,
    /// Lines of payloads on which their rows stood, as far as changes tell.
    rows: BTreeMap<ChangeSetId, BTreeSet<u64>>,
}

impl Lines {
    /// How many lines there are.
    pub fn count(&self) -> u64 {
        self.by_event.values().map(|lines| lines.len() as u64).sum()
    }
}

/// What stands in the lines of a change set's seal.
#[derive(Deserialize)]
struct Issue {
    #[serde(default)]
    line: u64,
    #[serde(default)]
    value: String,
    #[serde(default)]
    reason: String,
}

impl Engine {
    /// Takes over all that changes about the members say, or, of somebody who is none, changes that propose them; says
    /// which members were linked to them.
    pub(super) async fn gather(&self, org: &Organisation, person: &mut Person) -> Result<BTreeSet<MemberNo>> {
        let mut linked = BTreeSet::new();
        let mut slices = self.store.event_slices(org.row.id, 0, SLICE);
        while let Some(slice) = slices.next().await? {
            let found = tokio::task::block_in_place(|| in_parallel(&slice, |raw| gather_from(raw, person)))?;
            for change in found.into_iter().flatten() {
                match change.no {
                    Some(no) if !person.is(&change) => drop(linked.insert(no)),
                    _ => person.take_change(&change),
                }
            }
        }
        Ok(linked)
    }

    /// Every line that is about the person. `rows` are the lines of originals on which they were found.
    pub(super) async fn lines_about(
        &self,
        org: &Organisation,
        person: &Person,
        rows: &BTreeMap<UploadId, BTreeSet<u64>>,
    ) -> Result<Lines> {
        let mut lines = Lines::default();
        let mut slices = self.store.event_slices(org.row.id, 0, SLICE);
        while let Some(slice) = slices.next().await? {
            let chunks = tokio::task::block_in_place(|| in_parallel(&slice, |raw| changes_about(raw, person)))?;
            for (raw, about) in slice.iter().zip(chunks) {
                match about {
                    About::Changes(set, found) => lines.take_changes(raw.seq, set, found, person),
                    About::Other(event) => lines.take_other(&event, person, rows)?,
                    About::Nothing => {}
                }
            }
        }
        Ok(lines)
    }
}

/// Of one event the changes that tell by what the person is known.
fn gather_from(raw: &RawEvent, person: &Person) -> Result<Vec<Change<'static>>> {
    if raw.kind() != Some("change_set.chunk") {
        return Ok(Vec::new());
    }
    let event = raw.clone().open()?;
    let mut found = Vec::new();
    for line in event.body.iter().flat_map(Body::iter).flatten() {
        let change = Change::read(line)?;
        let links = || person.members.values().any(|uuid| change.key.ends_with(&format!("(linked to {uuid})")));
        let proposes = person.members.is_empty() && person.is_proposed_by(&change);
        if person.is(&change) || proposes || change.old_key.is_some() && links() {
            found.push(change.into_owned());
        }
    }
    Ok(found)
}

/// What an event has about the person.
enum About {
    /// Changes, by the index of their line and by ordinal.
    Changes(ChangeSetId, Vec<(u32, u32, Change<'static>)>),
    /// Other lines, which are few, to be looked at in order.
    Other(Box<StoredEvent>),
    Nothing,
}

fn changes_about(raw: &RawEvent, person: &Person) -> Result<About> {
    let event = raw.clone().open()?;
    let Some(body) = &event.body else { return Ok(About::Nothing) };
    let Fact::Chunk { change_set, first, .. } = Fact::read(&event.meta)? else {
        return Ok(About::Other(Box::new(event)));
    };
    let mut found = Vec::new();
    for (index, line) in (0..).zip(body.iter()) {
        let Some(line) = line else { continue };
        let change = Change::read(line)?;
        if person.is_said_in(change_set, &change) {
            found.push((index, first + index, change.into_owned()));
        }
    }
    Ok(if found.is_empty() { About::Nothing } else { About::Changes(change_set, found) })
}

impl Lines {
    fn take_changes(&mut self, seq: u64, set: ChangeSetId, found: Vec<(u32, u32, Change)>, person: &Person) {
        for (index, ordinal, change) in found {
            self.by_event.entry(seq).or_default().push(index);
            self.changes.entry(set).or_default().insert(ordinal);
            self.rows.entry(set).or_default().extend(change.line);
            self.touched.extend(change.no.filter(|no| !person.members.contains_key(no)));
            if change.kind == Kind::Rekey {
                let declined = fold::declined_uuid(set, &change);
                if person.members.values().all(|uuid| *uuid != declined) {
                    self.declined.push((change.key.into_owned(), declined));
                }
            }
        }
    }

    fn take_other(
        &mut self,
        event: &StoredEvent,
        person: &Person,
        rows: &BTreeMap<UploadId, BTreeSet<u64>>,
    ) -> Result<()> {
        let none = BTreeSet::new();
        let (mut rows_here, mut alone) = (&none, false);
        let mut in_changes = BTreeSet::new();
        match Fact::read(&event.meta)? {
            Fact::Computed(computed) => {
                rows_here = rows.get(&computed.upload).unwrap_or(&none);
                in_changes = self.rows.remove(&computed.change_set).unwrap_or_default();
            }
            Fact::ApprovalGiven(given) => alone = self.are_all(given.change_set, &given.approved.selection),
            Fact::Applied(applied) => alone = self.are_all(applied.change_set, &applied.selection),
            Fact::Rejected(rejected) => alone = self.are_all(rejected.change_set, &rejected.selection),
            _ => {}
        }
        for (index, line) in (0..).zip(event.body.iter().flat_map(Body::iter)) {
            let Some(line) = line else { continue };
            let text = String::from_utf8_lossy(line);
            let issue = serde_json::from_slice::<Issue>(line).ok().filter(|i| i.line > 0);
            let theirs = match &issue {
                Some(issue) => {
                    let on = |lines: &BTreeSet<u64>| lines.contains(&issue.line);
                    let says = |text: &str| person.is_named_in(text) || person.is_in_cells("", &[text]);
                    on(rows_here) || on(&in_changes) || says(&issue.value) || person.is_named_in(&issue.reason)
                }
                None => alone || person.is_named_in(&unescaped(&text)),
            };
            if theirs {
                self.by_event.entry(event.meta.seq).or_default().push(index);
            }
        }
        Ok(())
    }

    /// Whether a decision was about this person alone.
    fn are_all(&self, set: ChangeSetId, decided: &Selection) -> bool {
        !decided.is_empty() && self.changes.get(&set).is_some_and(|theirs| decided.minus(theirs).is_empty())
    }
}

/// The texts of a line of JSON, one after the other.
fn unescaped(line: &str) -> String {
    let texts = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(line).unwrap_or_default();
    let texts: Vec<&str> = texts.values().filter_map(|v| v.as_str()).collect();
    texts.join("\n")
}

/// The body with lines replaced by their leaves.
pub(super) fn without(body: &Body, gone: &[u32]) -> Body {
    let mut left = Body { salts: body.salts.clone(), lines: Vec::with_capacity(body.lines.len()), erased: Vec::new() };
    let mut before = body.erased.iter().peekable();
    for (index, line) in (0u32..).zip(body.iter()) {
        let mut erase = |leaf: Hash| {
            left.salts[index as usize] = [0; 16];
            left.erased.push((index, leaf));
        };
        match (line, before.next_if(|(at, _)| *at == index)) {
            (_, Some((_, leaf))) => erase(*leaf),
            (Some(line), None) if gone.contains(&index) => erase(leaf(&body.salts[index as usize], line)),
            (Some(line), None) => left.lines.extend_from_slice(line),
            (None, None) => {}
        }
        left.lines.push(b'\n');
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_replaced_by_their_leaves_and_the_root_stays() {
        let mut body = Body::default();
        (0..5u8).for_each(|i| body.push([i + 1; 16], &[b'a' + i]));
        let once = without(&body, &[1, 4]);
        let twice = without(&once, &[0, 1]);
        assert_eq!((once.root(), twice.root()), (body.root(), body.root()));
        assert_eq!(twice.iter().collect::<Vec<_>>(), [None, None, Some(&b"c"[..]), Some(b"d"), None]);
        assert_eq!(twice.salts[1], [0; 16]);
    }
}
