//! The projector: brings projections past what is new in the log of an organisation for which a bell rang, or which a
//! sweep finds behind; several lanes at once.

use std::sync::Arc;

use muster_bus::{Delivery, Doorbell, Role};
use muster_domain::ids::OrganisationId;
use muster_store::StoreError;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::{
    Serving,
    attending::{Attend, at_once, attend},
    pause,
};
use crate::{
    Error, Result, crash,
    projections::{self, Projection, runner::Progress},
};

/// Steps on one lane after which the bell is rung again, so that whoever waits gets a turn, here or in another process.
const TURN: u32 = 30;

/// See the module.
#[derive(Clone)]
struct Projector {
    serving: Serving,
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// How a turn on an organisation or a lane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// It has caught up, as far as it can.
    Done,
    /// There is more to do.
    More,
    /// Something failed that may go well in a moment.
    Failed,
}

pub(super) async fn run(serving: Serving, stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(at_once()));
    attend(Projector { serving: serving.clone(), places, stop: stop.clone() }, &serving, stop).await;
}

impl Attend for Projector {
    const ROLE: Role = Role::Projector;

    async fn due(&self) -> Result<Vec<OrganisationId>> {
        self.serving.engine.projections_due().await
    }

    async fn work(self, organisation: OrganisationId, delivery: Option<Delivery>) {
        let Projector { serving, places, stop } = self;
        Lanes { serving, places, stop, organisation }.work(delivery).await;
    }
}

/// The lanes of one organisation.
#[derive(Clone)]
struct Lanes {
    serving: Serving,
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    organisation: OrganisationId,
}

impl Lanes {
    /// Takes a turn on every lane. What failed comes again, by its bell or by the sweep.
    async fn work(&self, delivery: Option<Delivery>) {
        let mut lanes = JoinSet::new();
        for projection in projections::all() {
            let lane = self.clone();
            lanes.spawn(async move { lane.turn(*projection).await });
        }
        let mut outcome = Turn::Done;
        while let Some(ended) = lanes.join_next().await {
            // A bug in one projection must stop no other.
            outcome = outcome.max(ended.unwrap_or_else(|e| {
                tracing::error!(error = %e, "the work on a projection ended by a bug; it is tried again");
                Turn::Failed
            }));
        }
        if outcome == Turn::More && !*self.stop.borrow() {
            let bell = Doorbell { organisation: self.organisation, up_to: 0 };
            // One that is not taken comes by the sweep.
            let _ = self.serving.bus.ring(Role::Projector, bell).await;
        }
        crash::point("projector_before_ack");
        if let Some(delivery) = delivery
            && outcome != Turn::Failed
            && !*self.stop.borrow()
        {
            delivery.done();
        }
    }

    async fn turn(&self, projection: &dyn Projection) -> Turn {
        let mut stop = self.stop.clone();
        for _ in 0..TURN {
            let Ok(place) = self.places.clone().acquire_owned().await else { return Turn::Done };
            if *stop.borrow() {
                return Turn::More;
            }
            let step = self.serving.engine.project(self.organisation, projection).await;
            drop(place);
            match step {
                Ok(Progress::More) => self.serving.figures.projected(),
                Ok(Progress::CaughtUp | Progress::Parked | Progress::Newer) => return Turn::Done,
                // Whoever has it goes on to the end, and looks there once more. Should it die, the sweep finds the lane.
                Ok(Progress::Taken) => {
                    if !pause(self.serving.pace.busy, &mut stop).await {
                        return Turn::More;
                    }
                }
                // Of another database, or of one that was replaced by a backup.
                Err(Error::Store(StoreError::NotFound)) => return Turn::Done,
                Err(error) => {
                    let organisation = self.organisation.0;
                    let projection = projection.name();
                    tracing::error!(%organisation, projection, %error, "a projection could not go on; it is tried again");
                    return Turn::Failed;
                }
            }
        }
        Turn::More
    }
}
