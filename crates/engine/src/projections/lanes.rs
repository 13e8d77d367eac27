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
