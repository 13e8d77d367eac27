//! Change sets: each with its state, who decided it and when, and counts of its changes by kind and by field.

use chrono::{DateTime, Utc};
use muster_domain::{
    change::Change,
    documents::{ChangeSet, Upload},
    event::Body,
    fact::{Computed, Fact, State},
    ids::{ChangeSetId, FeedNo, OrganisationId},
    tally::Tally,
};
use muster_store::read_model::{Key, Part, Range};
use serde::{Deserialize, Serialize};

use super::{CHUNKS, Event, Projection, Rows, Taking, document, number, reading::Wait};
use crate::{Engine, Result, lists::Which};

/// Change sets by the event that completed them.
const SETS: Part = 0;
/// Under which number a change set is found.
const PLACES: Part = 1;
/// Uploads that are not worked out yet.
const UPLOADS: Part = 2;
/// Nothing under feed and number, to find the change sets of one feed by.
const OF_FEED: Part = 3;
/// Nothing under state and number.
const IN_STATE: Part = 4;
/// Nothing under feed, state and number.
const OF_FEED_IN_STATE: Part = 5;

/// See the module.
pub struct ChangeSets;

/// A change set with counts of its changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// The change set.
    pub set: ChangeSet,
    /// All its changes, decided or not.
    pub tally: Tally,
    /// Changes of people who were forgotten: they are in no other count.
    pub erased: u64,
    /// When nothing of it was left to decide.
    pub decided_at: Option<DateTime<Utc>>,
    /// Whether a person had a part in that, and not just policy.
    pub reviewed: bool,
}

impl Projection for ChangeSets {
    fn name(&self) -> &'static str {
        "changes"
    }

    fn version(&self) -> u32 {
        2
    }

    fn wants(&self, kind: &str) -> bool {
        let decides = kind.starts_with("change_set.") && kind != "change_set.chunk";
        decides || kind.starts_with("upload.") || kind == "member.forgotten"
    }

    fn take<'a>(&'a self, event: &'a Event, rows: &'a mut Rows) -> Taking<'a> {
        Box::pin(async move {
            match &event.fact {
                Fact::UploadReceived(received) => {
                    let upload = Upload::new((**received).clone(), &event.meta);
                    rows.put_document(UPLOADS, received.upload.0.as_bytes().to_vec(), &upload)
                }
                Fact::UploadDecided { upload, .. } => {
                    rows.delete(UPLOADS, upload.0.as_bytes().to_vec());
                    Ok(())
                }
                Fact::Computed(computed) => work_out(event, computed, rows).await,
                Fact::ApprovalGiven(given) => {
                    let (actor, at) = (&event.meta.actor, event.meta.recorded_at);
                    change(rows, given.change_set, event, |of| of.set.take_approval(given, actor, at)).await
                }
                Fact::Applied(applied) => {
                    let (actor, at) = (&event.meta.actor, event.meta.recorded_at);
                    change(rows, applied.change_set, event, |of| {
                        of.set.take_applied(applied, actor, at);
                        of.reviewed |= applied.reviewed;
                    })
                    .await
                }
                Fact::Rejected(rejected) => {
                    change(rows, rejected.change_set, event, |of| {
                        of.set.take_rejected(rejected, &event.meta.actor);
                        of.reviewed = true;
                    })
                    .await
                }
                Fact::Superseded { change_set, .. } => {
                    change(rows, *change_set, event, |of| of.set.state = State::Superseded).await
                }
                Fact::Rebased { change_set, added, .. } => {
                    change(rows, *change_set, event, |of| of.set.take_rebased(&event.fact)).await?;
                    if *added > 0 { recount(event, *change_set, rows).await } else { Ok(()) }
                }
                Fact::Forgotten(_) => recount_erased(event, rows).await,
                _ => Ok(()),
            }
        })
    }
}

async fn work_out(event: &Event, computed: &Computed, rows: &mut Rows) -> Result<()> {
    let upload: Option<Upload> = rows.document(UPLOADS, computed.upload.0.as_bytes()).await?;
    rows.delete(UPLOADS, computed.upload.0.as_bytes().to_vec());
    let Some(upload) = upload.filter(|_| computed.changes > 0) else { return Ok(()) };
    let mut set = ChangeSet::new(computed, &upload.received, event.meta.recorded_at);
    set.created_seq = event.meta.seq;
    let (tally, erased) = count(event, set.id, set.changes).await?;
    let mut overview = Overview { set, tally, erased, decided_at: None, reviewed: false };
    overview.note_decision(event.meta.recorded_at);
    rows.put(PLACES, computed.change_set.0.as_bytes().to_vec(), number(event.meta.seq));
    places(&overview.set).into_iter().for_each(|(part, key)| rows.put(part, key, Vec::new()));
    rows.put_document(SETS, number(event.meta.seq), &overview)
}

/// Where a change set is found by its feed and state.
fn places(set: &ChangeSet) -> [(Part, Key); 3] {
    let (feed, state) = (Some(set.feed), Some(set.state));
    [(feed, None), (None, state), (feed, state)].map(|(feed, state)| {
        let (part, beginning) = listed(feed, state);
        (part, [beginning, number(set.created_seq)].concat())
    })
}

async fn change(rows: &mut Rows, id: ChangeSetId, event: &Event, change: impl FnOnce(&mut Overview)) -> Result<()> {
    let Some(place) = rows.get(PLACES, id.0.as_bytes()).await? else { return Ok(()) };
    let Some(mut overview) = rows.document::<Overview>(SETS, &place).await? else { return Ok(()) };
    let before = places(&overview.set);
    change(&mut overview);
    before.into_iter().for_each(|(part, key)| rows.delete(part, key));
    places(&overview.set).into_iter().for_each(|(part, key)| rows.put(part, key, Vec::new()));
    overview.note_decision(event.meta.recorded_at);
    rows.put_document(SETS, place, &overview)
}

/// Where change sets of a feed, in a state, or both are listed: a part, and how their keys begin.
fn listed(feed: Option<FeedNo>, state: Option<State>) -> (Part, Key) {
    let of_feed = |feed: FeedNo| number(feed.0.into());
    // Filled up, so that no word is the beginning of another.
    let in_state = |state: State| format!("{:16}", state.word()).into_bytes();
    match (feed, state) {
        (None, None) => (SETS, Key::new()),
        (Some(feed), None) => (OF_FEED, of_feed(feed)),
        (None, Some(state)) => (IN_STATE, in_state(state)),
        (Some(feed), Some(state)) => (OF_FEED_IN_STATE, [of_feed(feed), in_state(state)].concat()),
    }
}

impl Overview {
    fn note_decision(&mut self, at: DateTime<Utc>) {
        if matches!(self.set.state, State::Held | State::PartlyApplied) {
            self.decided_at = None;
        } else {
            self.decided_at.get_or_insert(at);
        }
    }
}

/// Counts the changes of a change set anew.
async fn recount(event: &Event, id: ChangeSetId, rows: &mut Rows) -> Result<()> {
    let Some(place) = rows.get(PLACES, id.0.as_bytes()).await? else { return Ok(()) };
    let Some(mut overview) = rows.document::<Overview>(SETS, &place).await? else { return Ok(()) };
    (overview.tally, overview.erased) = count(event, id, overview.set.changes).await?;
    rows.put_document(SETS, place, &overview)
}

/// Somebody was forgotten: whatever lost lines is counted anew, so that the counts are those of the log as it is.
async fn recount_erased(event: &Event, rows: &mut Rows) -> Result<()> {
    for (_, row) in rows.range(SETS, &[], None).await? {
        let Overview { set, erased, .. } = document(&row)?;
        let mut gone = 0;
        let mut chunks = event.engine.chunks(event.organisation, set.id);
        while let Some(read) = chunks.next(CHUNKS).await? {
            let places = read.iter().flat_map(|(first, body)| body.erased.iter().map(move |(i, _)| first + i));
            gone += places.filter(|ordinal| *ordinal < set.changes).count() as u64;
        }
        if gone != erased {
            recount(event, set.id, rows).await?;
        }
    }
    Ok(())
}

/// Counts the first so many changes of a change set: later ones may be told by later events. Says how many were erased.
async fn count(event: &Event, id: ChangeSetId, changes: u32) -> Result<(Tally, u64)> {
    let (mut tally, mut erased) = (Tally::default(), 0);
    let mut chunks = event.engine.chunks(event.organisation, id);
    while let Some(read) = chunks.next(CHUNKS).await? {
        tokio::task::block_in_place(|| -> Result<()> {
            for (first, body) in &read {
                let most = changes.saturating_sub(*first) as usize;
                erased += add(body, most, &mut tally)?;
            }
            Ok(())
        })?;
    }
    Ok((tally, erased))
}

fn add(body: &Body, most: usize, tally: &mut Tally) -> Result<u64> {
    let mut erased = 0;
    for line in body.iter().take(most) {
        match line {
            Some(line) => tally.add(&Change::read(line)?),
            None => erased += 1,
        }
    }
    Ok(erased)
}

/// A page of change sets.
#[derive(Clone, Debug)]
pub struct Overviews {
    /// The event up to which this reflects the log.
    pub seq: u64,
    /// Change sets, newest first.
    pub sets: Vec<Overview>,
    /// Where the next page begins: what was completed before this event. None after the last.
    pub before: Option<u64>,
}

impl Engine {
    /// Change sets with counts of their changes, newest first; a page has as many as `which` says.
    ///
    /// # Errors
    /// If they cannot be read, or do not reflect what they must.
    pub async fn change_set_overviews(&self, org: OrganisationId, which: Which, wait: Wait) -> Result<Overviews> {
        let mut model = self.read_model(org, &ChangeSets, wait).await?;
        let Which { state, feed, before, limit } = which;
        let (part, beginning) = listed(feed, state);
        let end = [beginning.clone(), number(before.unwrap_or(u64::MAX))].concat();
        let range = Range { from: beginning.clone(), to: Some(end), backwards: true, limit: limit.saturating_add(1) };
        let mut found = model.range(part, &range).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let mut sets: Vec<Overview> = Vec::with_capacity(found.len());
        for (key, row) in found {
            let row = if part == SETS { Some(row) } else { model.get(SETS, &key[beginning.len()..]).await? };
            sets.extend(row.map(|row| document(&row)).transpose()?);
        }
        let before = sets.last().map(|of| of.set.created_seq).filter(|_| more);
        Ok(Overviews { seq: model.lane.seq, sets, before })
    }
}
