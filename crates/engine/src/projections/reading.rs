//! Reading what projections have made: one moment of it, and which; on request not before it reflects a given event.

use std::time::{Duration, Instant};

use muster_domain::ids::OrganisationId;
use muster_store::read_model::Snapshot;

use super::{Projection, runner::Progress};
use crate::{Engine, Error, Result};

/// How often is looked whether another process has moved a lane.
const LOOK: Duration = Duration::from_millis(20);

/// What must be reflected before anything is read.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// The event; none to read what there is.
    pub until: Option<u64>,
    /// For how long at most.
    pub at_most: Duration,
    /// Whether to do the work oneself if it is not done: where nobody serves, nobody else does it.
    pub work: bool,
}

impl Wait {
    /// Reads what there is.
    pub const NOT: Wait = Wait { until: None, at_most: Duration::ZERO, work: false };

    /// Brings it up to date first, if it is not.
    pub const WORK: Wait = Wait { until: None, at_most: Duration::from_secs(10), work: true };
}

impl Engine {
    /// What there is to be read of a projection, at one moment.
    ///
    /// # Errors
    /// [`Error::Behind`] if it does not reflect what it must within the time, or is not made yet.
    pub async fn read_model(&self, org: OrganisationId, projection: &dyn Projection, wait: Wait) -> Result<Snapshot> {
        let models = self.store.read_models().await?;
        let started = Instant::now();
        let end = self.store.head(org).await?.last_seq;
        loop {
            let progress = if wait.work { Some(self.catch_up(org, projection).await?) } else { None };
            let found = models.snapshot(org, projection.name()).await?;
            let found = found.filter(|s| s.lane.version == projection.version());
            let there = match found {
                Some(snapshot) if self.is_of_log(&snapshot.lane).await? => {
                    // Another process that has the lane is waited for as far as this one would have come.
                    let wanted = wait.until.or((progress == Some(Progress::Taken)).then_some(end));
                    if wanted.is_none_or(|until| snapshot.lane.seq >= until) {
                        return Ok(snapshot);
                    }
                    Some(snapshot)
                }
                _ => None,
            };
            if started.elapsed() >= wait.at_most {
                // Whoever asks for no event in particular is better served with what there is: it says how far it is.
                return match there {
                    Some(snapshot) if wait.until.is_none() => Ok(snapshot),
                    there => Err(behind(projection, there.map(|snapshot| snapshot.lane.seq), wait)),
                };
            }
            drop(there);
            let rest = wait.at_most.saturating_sub(started.elapsed());
            let _ = tokio::time::timeout(LOOK.min(rest), models.moved()).await;
        }
    }
}

fn behind(projection: &dyn Projection, seq: Option<u64>, wait: Wait) -> Error {
    let (name, seconds) = (projection.name(), wait.at_most.as_secs_f64());
    Error::Behind(match (seq, wait.until) {
        (Some(seq), Some(until)) => format!(
            "What is read of {name} reflects event {seq}, and not {until} yet, after {seconds} s; \
             `muster projections status` says how it stands"
        ),
        _ => format!("{name} is being made; `muster projections status` says how far it is"),
    })
}
