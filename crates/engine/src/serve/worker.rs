//! The worker: takes organisations for which a bell rang, or in which a sweep finds an upload that waits, and works on
//! their uploads; several organisations at once, each under its lease.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use muster_bus::{Delivery, Role};
use muster_domain::{fact::State, ids::OrganisationId};
use muster_store::StoreError;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};

use super::{Serving, pause, stopped};
use crate::{Error, Result, crash, queue::Queue};

/// What this process is busy with.
struct Worker {
    serving: Serving,
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    tasks: JoinSet<OrganisationId>,
    /// Organisations that a task of ours looks after, and whether a bell has rung for them since it began. One task for
    /// each: however often a bell rings for one organisation, it takes no place from another.
    lanes: HashMap<OrganisationId, bool>,
}

pub(super) async fn run(serving: Serving, mut stop: watch::Receiver<bool>) {
    let at_once = std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
    let mut bells = serving.bus.bells(Role::Worker);
    let mut sweeps = tokio::time::interval(serving.pace.sweep);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut worker = Worker {
        serving,
        places: Arc::new(Semaphore::new(at_once)),
        stop: stop.clone(),
        tasks: JoinSet::new(),
        lanes: HashMap::new(),
    };
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(delivery) = bells.next() => worker.hear(delivery),
            _ = sweeps.tick() => worker.sweep().await,
            Some(ended) = worker.tasks.join_next(), if !worker.tasks.is_empty() => worker.ended(ended),
        }
    }
    while worker.tasks.join_next().await.is_some() {}
}

impl Worker {
    fn hear(&mut self, delivery: Delivery) {
        let organisation = delivery.bell().organisation;
        match self.lanes.entry(organisation) {
            // Whoever is at it looks again when it is done. Should this process die, that one's own bell comes again.
            Entry::Occupied(mut busy) => {
                busy.insert(true);
                delivery.done();
            }
            Entry::Vacant(_) => self.begin(organisation, Some(delivery)),
        }
    }

    async fn sweep(&mut self) {
        match self.serving.engine.store.organisations_with_upload_in(State::Received.word()).await {
            Ok(found) => {
                for organisation in found {
                    if !self.lanes.contains_key(&organisation) {
                        self.begin(organisation, None);
                    }
                }
            }
            Err(e) => tracing::warn!(error = %e, "the sweep for uploads could not read the database; it tries again"),
        }
    }

    fn begin(&mut self, organisation: OrganisationId, delivery: Option<Delivery>) {
        self.lanes.insert(organisation, false);
        let (serving, places, stop) = (self.serving.clone(), self.places.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let mut lane = Lane { serving, places, stop, organisation, delivery };
            // A bug in one organisation's work must not leave its lane taken.
            let work = tokio::spawn(async move { lane.work().await });
            if let Err(e) = work.await {
                tracing::error!(error = %e, "the work on an organisation ended by a bug; it is tried again");
            }
            organisation
        });
    }

    fn ended(&mut self, ended: Result<OrganisationId, tokio::task::JoinError>) {
        if let Ok(organisation) = ended
            && self.lanes.remove(&organisation) == Some(true)
        {
            self.begin(organisation, None);
        }
    }
}

/// One organisation's work.
struct Lane {
    serving: Serving,
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    organisation: OrganisationId,
    /// The bell that began it. While somebody else is working on the organisation it is kept no longer: bells that only
    /// wait would be in the way of others, and the sweep finds what is left if this process dies.
    delivery: Option<Delivery>,
}

impl Lane {
    /// Works until nothing waits. What failed comes again: by its bell, or by the sweep.
    async fn work(&mut self) {
        loop {
            match self.turn().await {
                Ok(Queue::Empty(_)) => {
                    crash::point("worker_before_ack");
                    return self.done();
                }
                Ok(Queue::Stopped) => return,
                Ok(Queue::Busy) => {
                    self.serving.figures.waited();
                    self.done();
                }
                // Of another database, or of one that was replaced by a backup.
                Err(Error::Store(StoreError::NotFound)) => return self.done(),
                Err(e) => return self.failed(&e),
            }
            if !pause(self.serving.pace.busy, &mut self.stop).await {
                return;
            }
        }
    }

    fn done(&mut self) {
        self.delivery.take().into_iter().for_each(Delivery::done);
    }

    fn failed(&mut self, error: &Error) {
        self.serving.figures.work_failed();
        let organisation = self.organisation.0;
        tracing::error!(%organisation, %error, "an upload could not be worked on; it is tried again");
        // What the database could not do for the moment it may do in a second, when the bell comes again. With anything else
        // the sweep is soon enough.
        if !matches!(error, Error::Store(_)) {
            self.done();
        }
    }

    /// Whoever only waits for somebody else's lease takes no place meanwhile.
    async fn turn(&mut self) -> Result<Queue> {
        let Ok(_place) = self.places.clone().acquire_owned().await else { return Ok(Queue::Stopped) };
        if *self.stop.borrow() {
            return Ok(Queue::Stopped);
        }
        let row = self.serving.engine.store.organisation_by_id(self.organisation).await?;
        let (figures, stop) = (self.serving.figures.clone(), self.stop.clone());
        let watch = &mut |worked| {
            figures.worked(worked);
            !*stop.borrow()
        };
        self.serving.engine.work_off_watched(&row, watch).await
    }
}
