//! The projector: brings projections past what is new in the log of an organisation for which a bell rang, or which a
//! sweep finds behind; several lanes at once.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use muster_bus::{Delivery, Doorbell, Role};
use muster_domain::ids::OrganisationId;
use muster_store::StoreError;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};

use super::{Serving, pause, stopped};
use crate::{
    Error, Result, crash,
    projections::{self, Projection, runner::Progress},
};

/// Steps on one lane after which the bell is rung again, so that whoever waits gets a turn, here or in another process.
const TURN: u32 = 30;

/// What this process is busy with.
struct Projector {
    serving: Serving,
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    tasks: JoinSet<OrganisationId>,
    /// Organisations that a task of ours looks after, and whether a bell has rung for them since it began.
    busy: HashMap<OrganisationId, bool>,
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

pub(super) async fn run(serving: Serving, mut stop: watch::Receiver<bool>) {
    let at_once = std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
    let mut bells = serving.bus.bells(Role::Projector);
    let mut sweeps = tokio::time::interval(serving.pace.sweep);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut projector = Projector {
        serving,
        places: Arc::new(Semaphore::new(at_once)),
        stop: stop.clone(),
        tasks: JoinSet::new(),
        busy: HashMap::new(),
    };
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(delivery) = bells.next() => projector.hear(delivery),
            _ = sweeps.tick() => projector.sweep().await,
            Some(ended) = projector.tasks.join_next(), if !projector.tasks.is_empty() => projector.ended(ended),
        }
    }
    while projector.tasks.join_next().await.is_some() {}
}

impl Projector {
    fn hear(&mut self, delivery: Delivery) {
        match self.busy.entry(delivery.bell().organisation) {
            // Whoever is at it looks again when it is done.
            Entry::Occupied(mut busy) => {
                busy.insert(true);
                delivery.done();
            }
            Entry::Vacant(_) => self.begin(delivery.bell().organisation, Some(delivery)),
        }
    }

    async fn sweep(&mut self) {
        match self.serving.engine.projections_due().await {
            Ok(found) => {
                for organisation in found {
                    if !self.busy.contains_key(&organisation) {
                        self.begin(organisation, None);
                    }
                }
            }
            Err(e) => {
                tracing::warn!(error = %e, "the sweep for projections could not read the database; it tries again")
            }
        }
    }

    fn begin(&mut self, organisation: OrganisationId, delivery: Option<Delivery>) {
        self.busy.insert(organisation, false);
        let lanes =
            Lanes { serving: self.serving.clone(), places: self.places.clone(), stop: self.stop.clone(), organisation };
        self.tasks.spawn(async move {
            lanes.work(delivery).await;
            organisation
        });
    }

    fn ended(&mut self, ended: Result<OrganisationId, tokio::task::JoinError>) {
        if let Ok(organisation) = ended
            && self.busy.remove(&organisation) == Some(true)
        {
            self.begin(organisation, None);
        }
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
                Ok(Progress::More) => {}
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
