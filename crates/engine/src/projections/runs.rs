//! Feed runs: each payload of a feed, what became of it and how soon, and what is to be noted about it.

use chrono::{DateTime, Utc};
use muster_domain::{
    event::Meta,
    fact::{Computed, Counts, Fact, Received, State},
    guard::LEAST_PEOPLE,
    ids::{ChangeSetId, FeedNo, OrganisationId, UploadId},
    liveness::Overdue,
    settings::{Channel, Mode},
};
use muster_store::read_model::{Key, Part, Range};
use serde::{Deserialize, Serialize};

use super::{Event, Projection, Rows, Taking, document, number, number_of, reading::Wait};
use crate::{Engine, Result};

/// Runs by arrival number.
const RUNS: Part = 0;
/// Nothing under feed and arrival number, to find the runs of one feed by.
const OF_FEED: Part = 1;
/// What is known of each feed.
const FEEDS: Part = 2;
/// Arrival numbers by upload.
const UPLOADS: Part = 3;
/// Arrival numbers by change set.
const CHANGE_SETS: Part = 4;

/// So many per cent more or fewer rows than the last accepted full payload are noted.
const ODD_PERCENT: u64 = 20;

/// See the module.
pub struct FeedRuns;

/// One payload of a feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The event by which it arrived.
    pub seq: u64,
    /// Its arrival number in the organisation.
    pub arrival: u64,
    /// The upload.
    pub upload: UploadId,
    /// The feed's number.
    pub feed_no: FeedNo,
    /// The feed.
    pub feed: String,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// Who sent it.
    pub sent_by: String,
    /// How it came.
    pub channel: Channel,
    /// What absence means in it.
    pub mode: Mode,
    /// Bytes.
    pub size: u64,
    /// What it has come to.
    pub outcome: State,
    /// Counts of its rows.
    pub counts: Counts,
    /// Its change set, if it has one.
    pub change_set: Option<ChangeSetId>,
    /// When it had been worked out.
    pub worked_out_at: Option<DateTime<Utc>>,
    /// When nothing of it was left to decide.
    pub decided_at: Option<DateTime<Utc>>,
    /// How many seconds that was after its arrival.
    pub decided_after: Option<f64>,
    /// What is to be noted about it.
    pub notes: Vec<Note>,
}

/// What is to be noted about a payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// Byte for byte the feed's payload before it.
    Identical {
        /// The arrival number of that one.
        arrival: u64,
    },
    /// Many more or fewer rows than the last accepted full payload.
    OddSize {
        /// Rows.
        rows: u64,
        /// Rows of that one.
        last: u64,
    },
    /// The feed was overdue until it came.
    Recovered {
        /// The run that had been missed.
        missed: DateTime<Utc>,
    },
}

/// What is known of a feed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct FeedRow {
    name: String,
    /// Arrival number and hash of the last payload.
    last: Option<(u64, String)>,
    overdue: Option<Overdue>,
}

impl Projection for FeedRuns {
    fn name(&self) -> &'static str {
        "runs"
    }

    fn version(&self) -> u32 {
        1
    }

    fn wants(&self, kind: &str) -> bool {
        matches!(kind.split('.').next(), Some("feed" | "upload" | "change_set")) && kind != "change_set.chunk"
    }

    fn take<'a>(&'a self, event: &'a Event, rows: &'a mut Rows) -> Taking<'a> {
        Box::pin(async move {
            match &event.fact {
                Fact::FeedCreated { no, settings } | Fact::FeedChanged { no, settings } => {
                    change_feed(rows, *no, |feed| feed.name.clone_from(&settings.name)).await
                }
                Fact::FeedOverdue(overdue) => {
                    change_feed(rows, overdue.no, |feed| feed.overdue = Some(overdue.overdue)).await
                }
                Fact::FeedRecovered { no, missed, upload } => {
                    change_feed(rows, *no, |feed| feed.overdue = None).await?;
                    let Some(upload) = upload else { return Ok(()) };
                    let note = Note::Recovered { missed: *missed };
                    change_run(rows, UPLOADS, upload.0.as_bytes(), |run| run.notes.push(note)).await
                }
                Fact::UploadReceived(received) if received.feed != FeedNo::HAND => {
                    arrive(rows, received, &event.meta).await
                }
                Fact::UploadDecided { upload, state, counts, .. } => {
                    change_run(rows, UPLOADS, upload.0.as_bytes(), |run| {
                        run.worked_out_at = Some(event.meta.recorded_at);
                        run.counts = *counts;
                        run.come_to(*state, &event.meta);
                    })
                    .await
                }
                Fact::Computed(computed) => work_out(rows, computed, &event.meta).await,
                fact => match decision(fact) {
                    Some((set, state)) => {
                        change_run(rows, CHANGE_SETS, set.0.as_bytes(), |run| run.come_to(state, &event.meta)).await
                    }
                    None => Ok(()),
                },
            }
        })
    }
}

/// What an event makes of a change set that there is already.
fn decision(fact: &Fact) -> Option<(ChangeSetId, State)> {
    match fact {
        Fact::Applied(applied) => Some((applied.change_set, applied.state)),
        Fact::Rejected(rejected) => Some((rejected.change_set, rejected.state)),
        Fact::Superseded { change_set, .. } => Some((*change_set, State::Superseded)),
        Fact::Rebased { change_set, state, .. } => state.map(|state| (*change_set, state)),
        _ => None,
    }
}

fn feed_key(feed: FeedNo) -> Key {
    number(feed.0.into())
}

async fn change_feed(rows: &mut Rows, no: FeedNo, change: impl FnOnce(&mut FeedRow)) -> Result<()> {
    let mut feed: FeedRow = rows.document(FEEDS, &feed_key(no)).await?.unwrap_or_default();
    change(&mut feed);
    rows.put_document(FEEDS, feed_key(no), &feed)
}

/// Changes the run that is found under a key of another part; what is not a feed's has none.
async fn change_run(rows: &mut Rows, part: Part, key: &[u8], change: impl FnOnce(&mut Run)) -> Result<()> {
    let Some(place) = rows.get(part, key).await? else { return Ok(()) };
    let Some(mut run) = rows.document::<Run>(RUNS, &place).await? else { return Ok(()) };
    change(&mut run);
    rows.put_document(RUNS, place, &run)
}

async fn arrive(rows: &mut Rows, received: &Received, meta: &Meta) -> Result<()> {
    let mut feed: FeedRow = rows.document(FEEDS, &feed_key(received.feed)).await?.unwrap_or_default();
    let last = feed.last.replace((received.arrival, received.blake3.clone()));
    let same = last.filter(|(_, hash)| *hash == received.blake3);
    let run = Run {
        seq: meta.seq,
        arrival: received.arrival,
        upload: received.upload,
        feed_no: received.feed,
        feed: feed.name.clone(),
        received_at: meta.recorded_at,
        sent_by: meta.actor.clone(),
        channel: received.channel,
        mode: received.mode,
        size: received.size,
        outcome: State::Received,
        counts: Counts::default(),
        change_set: None,
        worked_out_at: None,
        decided_at: None,
        decided_after: None,
        notes: same.map(|(arrival, _)| Note::Identical { arrival }).into_iter().collect(),
    };
    rows.put_document(FEEDS, feed_key(received.feed), &feed)?;
    rows.put(UPLOADS, received.upload.0.as_bytes().to_vec(), number(run.arrival));
    rows.put(OF_FEED, [feed_key(received.feed), number(run.arrival)].concat(), Vec::new());
    rows.put_document(RUNS, number(run.arrival), &run)
}

async fn work_out(rows: &mut Rows, computed: &Computed, meta: &Meta) -> Result<()> {
    let upload = computed.upload.0.as_bytes();
    let Some(arrival) = rows.get(UPLOADS, upload).await? else { return Ok(()) };
    rows.put(CHANGE_SETS, computed.change_set.0.as_bytes().to_vec(), arrival);
    change_run(rows, UPLOADS, upload, |run| {
        run.counts = computed.counts;
        run.change_set = (computed.changes > 0).then_some(computed.change_set);
        run.worked_out_at = Some(meta.recorded_at);
        run.notes.extend(odd_size(computed));
        run.come_to(computed.state, meta);
    })
    .await
}

/// Whether a payload has many more or fewer rows than the one by which it is measured, or the guard says so.
fn odd_size(computed: &Computed) -> Option<Note> {
    let (rows, last) = (computed.figures.rows, computed.figures.rows_last?);
    let odd = last >= LEAST_PEOPLE && rows.abs_diff(last).saturating_mul(100) > last.saturating_mul(ODD_PERCENT);
    let guarded = computed.holds.iter().any(|hold| hold.guard == "min_rows");
    (odd || guarded).then_some(Note::OddSize { rows, last })
}

impl Run {
    fn come_to(&mut self, state: State, meta: &Meta) {
        self.outcome = state;
        if matches!(state, State::Received | State::Held | State::PartlyApplied) {
            (self.decided_at, self.decided_after) = (None, None);
        } else if self.decided_at.is_none() {
            let after = (meta.recorded_at - self.received_at).num_milliseconds();
            (self.decided_at, self.decided_after) = (Some(meta.recorded_at), Some(after as f64 / 1000.0));
        }
    }
}

/// A page of runs.
#[derive(Clone, Debug, Serialize)]
pub struct RunsPage {
    /// The event up to which this reflects the log.
    pub seq: u64,
    /// Runs, newest first.
    pub runs: Vec<Run>,
    /// The feeds of which a payload has not come.
    pub overdue: Vec<OverdueFeed>,
    /// Where the next page begins: what arrived before this number. None after the last.
    pub before: Option<u64>,
}

/// A feed of which a payload has not come.
#[derive(Clone, Debug, Serialize)]
pub struct OverdueFeed {
    /// The feed.
    pub feed: String,
    /// Which run it was, and when its grace was over.
    #[serde(flatten)]
    pub overdue: Overdue,
}

impl Engine {
    /// The payloads of an organisation's feeds or of one of them, newest first, before an arrival number or up to the last.
    ///
    /// # Errors
    /// If they cannot be read, or do not reflect what they must.
    pub async fn feed_runs(
        &self,
        org: OrganisationId,
        feed: Option<FeedNo>,
        before: Option<u64>,
        limit: u32,
        wait: Wait,
    ) -> Result<RunsPage> {
        let mut model = self.read_model(org, &FeedRuns, wait).await?;
        let whose = feed.map(feed_key).unwrap_or_default();
        let end = match (before, feed) {
            (Some(before), _) => Some([whose.clone(), number(before)].concat()),
            (None, Some(no)) => Some(number(u64::from(no.0) + 1)),
            (None, None) => None,
        };
        let which = Range { from: whose, to: end, backwards: true, limit: limit.saturating_add(1) };
        let mut found = model.range(if feed.is_some() { OF_FEED } else { RUNS }, &which).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let mut runs: Vec<Run> = Vec::with_capacity(found.len());
        for (key, row) in &found {
            let row = match feed {
                // Behind the feed's number stands the arrival number.
                Some(_) => model.get(RUNS, &key[8..]).await?,
                None => Some(row.clone()),
            };
            runs.extend(row.map(|row| document(&row)).transpose()?);
        }
        let mut overdue = Vec::new();
        for (key, row) in model.range(FEEDS, &Range::default()).await? {
            let row: FeedRow = document(&row)?;
            let asked = feed.is_none_or(|no| number_of(&key) == Some(no.0.into()));
            overdue.extend(row.overdue.filter(|_| asked).map(|overdue| OverdueFeed { feed: row.name, overdue }));
        }
        let before = runs.last().map(|run| run.arrival).filter(|_| more);
        Ok(RunsPage { seq: model.lane.seq, runs, overdue, before })
    }
}
