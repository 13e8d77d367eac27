//! How projections stand: how far behind they are, which are parked; and building them anew.

use chrono::{DateTime, Utc};
use muster_domain::ids::OrganisationId;
use muster_store::{
    StoreError,
    read_model::{Lane, LaneState},
};
use serde::Serialize;

use super::{Projection, runner::CLEANED};
use crate::{Engine, Organisation, Result, forget::is_swept};

/// How a projection of an organisation stands.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// The projection.
    pub projection: &'static str,
    /// The organisation, by name.
    pub organisation: String,
    /// The event up to which what is read reflects the log.
    pub seq: u64,
    /// The last event of the log.
    pub last_seq: u64,
    /// How many events it is behind.
    pub lag_events: u64,
    /// For how long the first of them has been waiting.
    pub lag_seconds: f64,
    /// The version of the code that made the rows; none before the first.
    pub version: Option<u32>,
    /// When it last moved on.
    pub moved_at: Option<DateTime<Utc>>,
    /// The event that it cannot take, if it stands.
    pub parked: Option<ParkedAt>,
    /// What is being built to take its place.
    pub building: Option<Building>,
}

/// An event that a projection cannot take.
#[derive(Clone, Debug, Serialize)]
pub struct ParkedAt {
    /// Its number.
    pub event: u64,
    /// Its type.
    pub kind: String,
    /// Why.
    pub error: String,
    /// When it was tried.
    pub at: DateTime<Utc>,
}

/// A lane that is being built.
#[derive(Clone, Debug, Serialize)]
pub struct Building {
    /// How far it has come.
    pub seq: u64,
    /// By which version of the code.
    pub version: u32,
    /// When it was begun.
    pub began_at: DateTime<Utc>,
    /// The event that it cannot take, if it stands.
    pub parked: Option<ParkedAt>,
}

/// How a projection stands in all organisations together, for metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// The projection.
    pub projection: &'static str,
    /// How many events it is behind, all organisations together.
    pub lag_events: u64,
    /// For how long the longest waiting of these events has been waiting.
    pub lag_seconds: f64,
    /// How many of its lanes stand at an event that they cannot take.
    pub parked: u64,
    /// How many of its lanes are being built.
    pub building: u64,
}

/// Lanes of which it is looked up how long they have been behind, those that are furthest behind first.
const LOOKED_UP: usize = 20;

fn parked(lane: &Lane) -> Option<ParkedAt> {
    let parked = lane.parked.clone()?;
    Some(ParkedAt { event: parked.seq, kind: parked.kind, error: parked.error, at: parked.at })
}

impl Engine {
    /// How every projection of an organisation stands.
    ///
    /// # Errors
    /// If log or read models cannot be read.
    pub async fn standings(&self, org: OrganisationId, slug: &str) -> Result<Vec<Standing>> {
        let models = self.store.read_models().await?;
        let lanes = models.lanes(org).await?;
        let last_seq = self.store.head(org).await?.last_seq;
        let mut standings = Vec::new();
        for projection in super::all() {
            let of = |state| lanes.iter().find(|l| l.projection == projection.name() && l.state == state);
            let live = of(LaneState::Live);
            let seq = live.map_or(0, |lane| lane.seq.min(last_seq));
            let waiting = if seq < last_seq { self.store.mark(org, seq + 1).await? } else { None };
            let lag = waiting.map_or(0, |(_, at)| (self.now() - at).num_milliseconds().max(0));
            standings.push(Standing {
                projection: projection.name(),
                organisation: slug.to_owned(),
                seq,
                last_seq,
                lag_events: last_seq - seq,
                lag_seconds: lag as f64 / 1000.0,
                version: live.map(|lane| lane.version),
                moved_at: live.map(|lane| lane.moved_at),
                parked: live.and_then(parked),
                building: of(LaneState::Building).map(|lane| Building {
                    seq: lane.seq,
                    version: lane.version,
                    began_at: lane.made_at,
                    parked: parked(lane),
                }),
            });
        }
        Ok(standings)
    }

    /// The organisations in which some projection can go on.
    ///
    /// # Errors
    /// If log or read models cannot be read.
    pub async fn projections_due(&self) -> Result<Vec<OrganisationId>> {
        let lanes = self.store.read_models().await?.all_lanes().await?;
        let ends = self.store.ends().await?;
        Ok(ends.into_iter().filter(|(org, end)| is_due(&of(&lanes, *org), *end)).map(|(org, _)| org).collect())
    }

    /// How every projection stands, all organisations together.
    ///
    /// # Errors
    /// If log or read models cannot be read.
    pub async fn overview(&self) -> Result<Vec<Overview>> {
        let lanes = self.store.read_models().await?.all_lanes().await?;
        let ends = self.store.ends().await?;
        let mut overviews = Vec::new();
        for projection in super::all() {
            let own = |lane: &&Lane| lane.projection == projection.name() && lane.state != LaneState::Dropped;
            let mut behind: Vec<(u64, OrganisationId, u64)> = Vec::new();
            for (org, end) in &ends {
                let live = of(&lanes, *org).into_iter().filter(own).find(|lane| lane.state == LaneState::Live);
                let seq = live.map_or(0, |lane| lane.seq.min(*end));
                behind.extend((seq < *end).then_some((end - seq, *org, seq)));
            }
            // One that stands goes first: it may be behind by a single event, and for days.
            let stands = |org| of(&lanes, org).into_iter().filter(own).any(|lane| lane.parked.is_some());
            behind.sort_by_cached_key(|b| (!stands(b.1), std::cmp::Reverse(b.0)));
            let mut oldest = None;
            for (_, org, seq) in behind.iter().take(LOOKED_UP) {
                let at = self.store.mark(*org, seq + 1).await?.map(|(_, at)| at);
                oldest = [oldest, at].into_iter().flatten().min();
            }
            let lag = oldest.map_or(0, |at| (self.now() - at).num_milliseconds().max(0));
            overviews.push(Overview {
                projection: projection.name(),
                lag_events: behind.iter().map(|b| b.0).sum(),
                lag_seconds: lag as f64 / 1000.0,
                parked: lanes.iter().filter(own).filter(|lane| lane.parked.is_some()).count() as u64,
                building: lanes.iter().filter(own).filter(|lane| lane.state == LaneState::Building).count() as u64,
            });
        }
        Ok(overviews)
    }

    /// Begins to build a projection of an organisation anew, beside what is read of it; whatever was being built is given up.
    ///
    /// # Errors
    /// If the read models refuse.
    pub async fn begin_rebuild(&self, org: &Organisation, projection: &dyn Projection) -> Result<()> {
        let models = self.store.read_models().await?;
        let (live, building) = self.lanes_of(&models, org.row.id, projection).await?;
        if let Some(lane) = &building {
            models.drop_lane(lane).await?;
        }
        let state = if live.is_some() { LaneState::Building } else { LaneState::Live };
        Ok(models.begin_lane(org.row.id, projection.name(), projection.version(), state).await?)
    }

    /// Brings every lane of an organisation past the event that somebody was forgotten, gives up those that do not get
    /// there, and has their rows overwritten. Says whether no trace is left.
    ///
    /// # Errors
    /// If log or read models cannot be read or written.
    pub(crate) async fn forget_in_read_models(&self, org: OrganisationId) -> Result<bool> {
        if !self.store.has_read_models() {
            return Ok(true);
        }
        let models = match self.store.read_models().await {
            // Nobody has made them, so nobody is in them.
            Err(StoreError::ReadModelsMissing) => return Ok(true),
            models => models?,
        };
        let end = self.store.head(org).await?.last_seq;
        let mut lanes = models.lanes(org).await?;
        for projection in super::all().iter().filter(|p| lanes.iter().any(|lane| lane.projection == p.name())) {
            self.catch_up(org, *projection).await?;
        }
        lanes = models.lanes(org).await?;
        for lane in lanes.iter().filter(|lane| lane.seq < end) {
            models.drop_lane(lane).await?;
        }
        while models.clean(org, CLEANED).await? {}
        is_swept(models.sweep().await)
    }

    /// Lets every parked lane of an organisation try again, and says how many there were.
    ///
    /// # Errors
    /// If the read models refuse.
    pub async fn unpark(&self, org: OrganisationId, projection: Option<&str>) -> Result<u64> {
        let models = self.store.read_models().await?;
        let mut tried = 0;
        for lane in models.lanes(org).await? {
            if lane.parked.is_some() && projection.is_none_or(|name| name == lane.projection) {
                models.unpark(&lane).await?;
                tried += 1;
            }
        }
        Ok(tried)
    }
}

/// The lanes of one organisation; all are in order of organisations.
fn of(lanes: &[Lane], org: OrganisationId) -> Vec<&Lane> {
    let from = lanes.partition_point(|lane| lane.organisation < org);
    lanes[from..].iter().take_while(|lane| lane.organisation == org).collect()
}

/// Whether any projection of an organisation has something to do: behind the log, being built, of older code, or rows to delete.
fn is_due(lanes: &[&Lane], end: u64) -> bool {
    let missing = |projection: &dyn Projection| {
        let live = lanes.iter().find(|l| l.projection == projection.name() && l.state == LaneState::Live);
        live.is_none_or(|lane| lane.version < projection.version())
    };
    let can_go_on = |lane: &&Lane| match lane.state {
        LaneState::Live => lane.seq != end && lane.parked.is_none(),
        LaneState::Building => lane.parked.is_none(),
        LaneState::Dropped => true,
    };
    let is_known =
        |lane: &&Lane| super::all().iter().any(|p| p.name() == lane.projection && lane.version <= p.version());
    super::all().iter().any(|p| missing(*p)) || lanes.iter().copied().filter(is_known).any(|lane| can_go_on(&lane))
}
