//! Dashboard: who is eligible, who came and went, how fresh the feeds are and what waits, of one organisation at a glance.
//!
//! Nothing has to happen at midnight: kept is on which days eligibility begins and ends for how many, and that is summed up
//! when somebody asks.

use chrono::{DateTime, Utc};
use muster_domain::{
    eligibility,
    fact::{Fact, Received, State},
    ids::{ChangeSetId, Day, FeedNo, OrganisationId, UploadId, date_of},
    liveness::Overdue,
    second::takes_first_back,
    settings::Settings,
};
use muster_store::read_model::{Part, Range};
use serde::{Deserialize, Serialize};

use super::{Event, Projection, Rows, Taking, document, number, reading::Wait};
use crate::{Engine, Result};

mod days;
mod people;

/// The settings, under the empty key.
const SETTINGS: Part = 0;
/// What decides on eligibility, of each member: pages of packed members.
const MEMBERS: Part = 1;
/// How many people's eligibility begins and ends on each day.
const ELIGIBLE: Part = 2;
/// How many people come onto the roster and leave it on each day.
const LISTED: Part = 3;
/// What is known of each feed.
const FEEDS: Part = 4;
/// Change sets that wait.
const WAITING: Part = 5;

/// See the module.
pub struct Dashboards;

/// A feed and its last payload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Freshness {
    /// The feed.
    pub feed: String,
    /// Its last payload.
    pub last: Option<LastPayload>,
    /// When its last payload arrived that was not refused.
    pub last_read_at: Option<DateTime<Utc>>,
    /// The payload that is overdue, if one is.
    pub overdue: Option<Overdue>,
}

/// A feed's last payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastPayload {
    /// The upload.
    pub upload: UploadId,
    /// Its arrival number.
    pub arrival: u64,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// What it has come to.
    pub outcome: State,
}

/// A change set that waits for a reviewer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// The change set.
    pub change_set: ChangeSetId,
    /// Where it came from.
    pub upload: UploadId,
    /// Whose it is.
    pub feed_no: FeedNo,
    /// Since when it waits.
    pub since: DateTime<Utc>,
    /// How many changes it has.
    pub changes: u32,
    /// Whether all of it waits, or what is left of it.
    pub state: State,
    /// The guards that tripped.
    pub guards: Vec<String>,
    /// Whether one person approved it, and somebody else must approve the same before it is applied.
    pub awaits_second_approver: bool,
}

impl Projection for Dashboards {
    fn name(&self) -> &'static str {
        "dashboard"
    }

    fn version(&self) -> u32 {
        2
    }

    fn wants(&self, kind: &str) -> bool {
        kind != "change_set.chunk"
    }

    fn take<'a>(&'a self, event: &'a Event, rows: &'a mut Rows) -> Taking<'a> {
        Box::pin(async move {
            match &event.fact {
                Fact::OrganisationCreated { settings, .. } | Fact::SettingsChanged { settings, .. } => {
                    let old: Option<Settings> = rows.document(SETTINGS, &[]).await?;
                    if old.is_some_and(|old| old.eligibility != settings.eligibility) {
                        people::recount(rows, settings).await?;
                    }
                    rows.put_document(SETTINGS, Vec::new(), settings)
                }
                Fact::Applied(_) | Fact::Rejected(_) => {
                    people::decide(event, rows).await?;
                    take_state(event, rows).await
                }
                Fact::Forgotten(forgotten) => people::forget(&forgotten.members, rows).await,
                _ => {
                    take_feed(event, rows).await?;
                    take_state(event, rows).await
                }
            }
        })
    }
}

async fn take_feed(event: &Event, rows: &mut Rows) -> Result<()> {
    match &event.fact {
        Fact::FeedCreated { no, settings } | Fact::FeedChanged { no, settings } => {
            change_feed(rows, *no, |of| of.feed.clone_from(&settings.name)).await
        }
        Fact::FeedOverdue(overdue) => change_feed(rows, overdue.no, |of| of.overdue = Some(overdue.overdue)).await,
        Fact::FeedRecovered { no, .. } => change_feed(rows, *no, |of| of.overdue = None).await,
        Fact::UploadReceived(received) if received.feed != FeedNo::HAND => {
            let last = last_payload(received, event.meta.recorded_at);
            change_feed(rows, received.feed, |of| of.last = Some(last)).await
        }
        _ => Ok(()),
    }
}

fn last_payload(received: &Received, at: DateTime<Utc>) -> LastPayload {
    LastPayload { upload: received.upload, arrival: received.arrival, at, outcome: State::Received }
}

async fn change_feed(rows: &mut Rows, no: FeedNo, change: impl FnOnce(&mut Freshness)) -> Result<()> {
    let mut feed: Freshness = rows.document(FEEDS, &number(no.0.into())).await?.unwrap_or_default();
    change(&mut feed);
    rows.put_document(FEEDS, number(no.0.into()), &feed)
}

/// What an upload or change set has come to.
async fn take_state(event: &Event, rows: &mut Rows) -> Result<()> {
    let (set, state) = match &event.fact {
        Fact::UploadDecided { upload, state, .. } => return come_to(rows, *upload, *state).await,
        Fact::Computed(computed) => {
            if is_waiting(computed.state) {
                let waits = Waits {
                    change_set: computed.change_set,
                    upload: computed.upload,
                    feed_no: computed.feed,
                    since: event.meta.recorded_at,
                    changes: computed.changes,
                    state: computed.state,
                    guards: computed.holds.iter().map(|hold| hold.guard.clone()).collect(),
                    awaits_second_approver: false,
                };
                rows.put_document(WAITING, computed.change_set.0.as_bytes().to_vec(), &waits)?;
            }
            return come_to(rows, computed.upload, computed.state).await;
        }
        Fact::ApprovalGiven(given) => (given.change_set, None),
        Fact::Applied(applied) => (applied.change_set, Some(applied.state)),
        Fact::Rejected(rejected) => (rejected.change_set, Some(rejected.state)),
        Fact::Superseded { change_set, .. } => (*change_set, Some(State::Superseded)),
        Fact::Rebased { change_set, state, .. } => (*change_set, *state),
        _ => return Ok(()),
    };
    let key = set.0.as_bytes().to_vec();
    let Some(mut waits) = rows.document::<Waits>(WAITING, &key).await? else { return Ok(()) };
    let (upload, now) = (waits.upload, state.unwrap_or(waits.state));
    waits.awaits_second_approver = match &event.fact {
        Fact::ApprovalGiven(_) => true,
        fact => waits.awaits_second_approver && !takes_first_back(fact),
    };
    if is_waiting(now) {
        rows.put_document(WAITING, key, &Waits { state: now, ..waits })?;
    } else {
        rows.delete(WAITING, key);
    }
    if state.is_some() { come_to(rows, upload, now).await } else { Ok(()) }
}

fn is_waiting(state: State) -> bool {
    matches!(state, State::Held | State::PartlyApplied)
}

/// Notes it with the feed whose last payload the upload is; there are few feeds.
async fn come_to(rows: &mut Rows, upload: UploadId, state: State) -> Result<()> {
    for (key, row) in rows.range(FEEDS, &[], None).await? {
        let mut feed: Freshness = document(&row)?;
        let Some(last) = feed.last.as_mut().filter(|last| last.upload == upload) else { continue };
        last.outcome = state;
        if state != State::Refused {
            feed.last_read_at = Some(last.at);
        }
        rows.put_document(FEEDS, key, &feed)?;
    }
    Ok(())
}

/// An organisation at a glance.
#[derive(Clone, Debug, Serialize)]
pub struct Dashboard {
    /// The event up to which this reflects the log.
    pub seq: u64,
    /// The day, in the organisation's time zone.
    pub day: chrono::NaiveDate,
    /// How many people are eligible on it, by what is known now.
    pub eligible: u64,
    /// The last weeks, and this one at the end.
    pub weeks: Vec<Week>,
    /// The feed whose payload came last.
    pub last_feed: Option<Freshness>,
    /// All feeds.
    pub feeds: Vec<Freshness>,
    /// Change sets that wait for a reviewer, longest first.
    pub waiting: Vec<Waiting>,
    /// How many of these one person approved, so that they wait for a second approver.
    pub awaiting_second_approver: usize,
}

/// How many of what waits one person approved, so that it waits for a second approver.
pub fn awaiting_second(waiting: &[Waiting]) -> usize {
    waiting.iter().filter(|waiting| waiting.waits.awaits_second_approver).count()
}

/// A week, from Monday on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Week {
    /// Its Monday.
    pub from: chrono::NaiveDate,
    /// How many came onto the roster.
    pub joined: u64,
    /// How many left it.
    pub left: u64,
    /// How many became eligible.
    pub became_eligible: u64,
    /// How many were eligible no longer.
    pub ceased: u64,
}

/// A change set that waits, with the name of its feed.
#[derive(Clone, Debug, Serialize)]
pub struct Waiting {
    /// The name of the feed; `hand` for an administrator's edit.
    pub feed: String,
    /// The change set.
    #[serde(flatten)]
    pub waits: Waits,
}

impl Engine {
    /// An organisation at a glance, on a day (today, if none is named), with so many weeks.
    ///
    /// # Errors
    /// If it cannot be read, or does not reflect what it must.
    pub async fn dashboard(&self, org: OrganisationId, on: Option<Day>, weeks: u32, wait: Wait) -> Result<Dashboard> {
        let mut model = self.read_model(org, &Dashboards, wait).await?;
        let settings = model.get(SETTINGS, &[]).await?.map(|row| document::<Settings>(&row)).transpose()?;
        let day = on.unwrap_or_else(|| eligibility::today(&settings.unwrap_or_default(), self.now()));
        let (eligible, listed) = (days::read(&mut model, ELIGIBLE).await?, days::read(&mut model, LISTED).await?);
        let (mut feeds, mut waiting) = (Vec::new(), Vec::new());
        for (_, row) in model.range(FEEDS, &Range::default()).await? {
            feeds.push(document::<Freshness>(&row)?);
        }
        for (_, row) in model.range(WAITING, &Range::default()).await? {
            let waits: Waits = document(&row)?;
            let name = match model.get(FEEDS, &number(waits.feed_no.0.into())).await? {
                Some(row) if waits.feed_no != FeedNo::HAND => document::<Freshness>(&row)?.feed,
                _ => "hand".to_owned(),
            };
            waiting.push(Waiting { feed: name, waits });
        }
        waiting.sort_by_key(|w| (w.waits.since, w.waits.change_set));
        let last_feed = feeds.iter().filter(|f| f.last.is_some()).max_by_key(|f| f.last.as_ref().map(|l| l.arrival));
        let monday = day - (day + 3).rem_euclid(7);
        let weeks = (0..weeks as Day).rev().map(|ago| {
            let from = monday - ago * 7;
            let (joined, left) = listed.between(from, from + 7);
            let (became_eligible, ceased) = eligible.between(from, from + 7);
            Week { from: date_of(from), joined, left, became_eligible, ceased }
        });
        Ok(Dashboard {
            seq: model.lane.seq,
            day: date_of(day),
            eligible: eligible.held_on(day),
            weeks: weeks.collect(),
            last_feed: last_feed.cloned(),
            feeds,
            awaiting_second_approver: awaiting_second(&waiting),
            waiting,
        })
    }
}
