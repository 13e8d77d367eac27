//! Member history: an index into the log, which says which event applied which changes of which member. What they say is
//! read from the log.

use std::collections::BTreeMap;

use muster_domain::{
    change::Change,
    fact::{Applied, Fact},
    forgotten::Forgotten,
    ids::{ChangeSetId, MemberNo, OrganisationId, UploadId},
};
use muster_store::{
    StoreError,
    read_model::{Key, Part, Range, Snapshot},
};

use super::{CHUNKS, Event, Projection, Rows, Taking, number, number_of, reading::Wait};
use crate::{Engine, Result};

mod packed;

/// What an event applied to the members of a page, under page and event.
const APPLIED: Part = 0;
/// The event that holds a change set's changes from an ordinal on, under both.
const PLACES: Part = 1;
/// The upload of a change set.
const CHANGE_SETS: Part = 2;
/// The event by which an upload was received.
const UPLOADS: Part = 3;

/// Members of one page: many enough that an event which touches everybody leaves few rows, and few enough that
/// whoever asks for one of them reads little.
const PAGE: MemberNo = 4_096;

/// See the module.
pub struct Histories;

/// Changes of members: member and ordinal.
type Changes = Vec<(MemberNo, u32)>;

impl Projection for Histories {
    fn name(&self) -> &'static str {
        "history"
    }

    fn version(&self) -> u32 {
        1
    }

    fn wants(&self, kind: &str) -> bool {
        matches!(
            kind,
            "upload.received"
                | "upload.decided"
                | "change_set.chunk"
                | "change_set.computed"
                | "change_set.applied"
                | "member.forgotten"
        )
    }

    fn take<'a>(&'a self, event: &'a Event, rows: &'a mut Rows) -> Taking<'a> {
        Box::pin(async move {
            match &event.fact {
                Fact::UploadReceived(received) => {
                    rows.put(UPLOADS, received.upload.0.as_bytes().to_vec(), number(event.meta.seq));
                }
                Fact::UploadDecided { upload, .. } => rows.delete(UPLOADS, upload.0.as_bytes().to_vec()),
                // Only where it stands: its lines are not read.
                Fact::Chunk { change_set, first, .. } => {
                    rows.put(PLACES, place(*change_set, *first), number(event.meta.seq));
                }
                Fact::Computed(computed) => {
                    let upload = computed.upload.0.as_bytes().to_vec();
                    rows.put(CHANGE_SETS, computed.change_set.0.as_bytes().to_vec(), upload);
                }
                Fact::Applied(applied) => return apply(applied, event, rows).await,
                Fact::Forgotten(forgotten) => return forget(forgotten, rows).await,
                _ => {}
            }
            Ok(())
        })
    }
}

fn place(set: ChangeSetId, first: u32) -> Key {
    [set.0.as_bytes().as_slice(), &first.to_be_bytes()].concat()
}

fn page_key(page: MemberNo, seq: u64) -> Key {
    [page.to_be_bytes().as_slice(), &seq.to_be_bytes()].concat()
}

/// Whoever is new has the number that the event gives them. Only for the others the changes are read, so that a first
/// import is not.
async fn apply(applied: &Applied, event: &Event, rows: &mut Rows) -> Result<()> {
    let mut pages: BTreeMap<MemberNo, Changes> = BTreeMap::new();
    let mut note = |no, ordinal| pages.entry(no / PAGE).or_default().push((no, ordinal));
    let others = tokio::task::block_in_place(|| {
        for (no, ordinal) in (applied.first_no..).zip(applied.numbered.iter()) {
            if applied.selection.contains(ordinal) {
                note(no, ordinal);
            }
        }
        applied.selection.minus(&applied.numbered)
    });
    if !others.is_empty() {
        let mut chunks = event.engine.chunks(event.organisation, applied.change_set);
        while let Some(read) = chunks.next(CHUNKS).await? {
            tokio::task::block_in_place(|| -> Result<()> {
                for (first, body) in &read {
                    for (ordinal, line) in (*first..).zip(body.iter()) {
                        let Some(line) = line.filter(|_| others.contains(ordinal)) else { continue };
                        Change::number(line)?.into_iter().for_each(|no| note(no, ordinal));
                    }
                }
                Ok(())
            })?;
        }
    }
    tokio::task::block_in_place(|| {
        for (page, mut changes) in pages {
            changes.sort_unstable();
            rows.put(APPLIED, page_key(page, event.meta.seq), packed::pack(page * PAGE, &changes));
        }
    });
    Ok(())
}

/// Nothing says any more which events were about them.
async fn forget(forgotten: &Forgotten, rows: &mut Rows) -> Result<()> {
    let mut pages: BTreeMap<MemberNo, Vec<MemberNo>> = BTreeMap::new();
    for no in &forgotten.members {
        pages.entry(no / PAGE).or_default().push(*no);
    }
    for (page, gone) in pages {
        for (key, row) in rows.range(APPLIED, &page_key(page, 0), Some(&page_key(page + 1, 0))).await? {
            let before = packed::unpack(page * PAGE, &row)?;
            let after: Changes = before.iter().filter(|(no, _)| !gone.contains(no)).copied().collect();
            if after.is_empty() {
                rows.delete(APPLIED, key);
            } else if after.len() < before.len() {
                rows.put(APPLIED, key, packed::pack(page * PAGE, &after));
            }
        }
    }
    Ok(())
}

/// The index of an organisation, to be looked things up in at one moment.
pub(crate) struct Index {
    model: Snapshot,
}

impl Engine {
    /// The index of an organisation's member history.
    ///
    /// # Errors
    /// If it cannot be read, or does not reflect what it must.
    pub(crate) async fn history_index(&self, org: OrganisationId, wait: Wait) -> Result<Index> {
        Ok(Index { model: self.read_model(org, &Histories, wait).await? })
    }
}

impl Index {
    /// The event up to which it reflects the log.
    pub fn seq(&self) -> u64 {
        self.model.lane.seq
    }

    /// The events that applied changes of a member, in order, with the ordinals.
    pub async fn applied(&mut self, no: MemberNo) -> Result<Vec<(u64, Vec<u32>)>> {
        let page = no / PAGE;
        let which = Range { from: page_key(page, 0), to: Some(page_key(page + 1, 0)), ..Range::default() };
        let mut applied = Vec::new();
        for (key, row) in self.model.range(APPLIED, &which).await? {
            let seq = key.get(4..).and_then(number_of).ok_or_else(damaged)?;
            let changes = packed::unpack(page * PAGE, &row)?;
            let of_member = changes.into_iter().filter(|(other, _)| *other == no);
            let ordinals: Vec<u32> = of_member.map(|(_, ordinal)| ordinal).collect();
            if !ordinals.is_empty() {
                applied.push((seq, ordinals));
            }
        }
        Ok(applied)
    }

    /// The event that holds a change.
    pub async fn place(&mut self, set: ChangeSetId, ordinal: u32) -> Result<u64> {
        let (from, to) = (place(set, 0), Some([place(set, ordinal), vec![0]].concat()));
        let found = self.model.range(PLACES, &Range { from, to, backwards: true, limit: 1 }).await?;
        Ok(found.first().and_then(|(_, row)| number_of(row)).ok_or_else(damaged)?)
    }

    /// The upload of a change set, and the event by which it was received.
    pub async fn upload(&mut self, set: ChangeSetId) -> Result<Option<(UploadId, Option<u64>)>> {
        let Some(id) = self.model.get(CHANGE_SETS, set.0.as_bytes()).await? else { return Ok(None) };
        let seq = self.model.get(UPLOADS, &id).await?.and_then(|row| number_of(&row));
        let id = uuid::Uuid::from_slice(&id).map_err(|_| damaged())?;
        Ok(Some((UploadId(id), seq)))
    }
}

fn damaged() -> StoreError {
    StoreError::Corrupt("a row of a read model cannot be read")
}
