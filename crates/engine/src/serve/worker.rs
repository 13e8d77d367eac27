//! The worker: takes organisations for which a bell rang, or in which a sweep finds an upload that waits, and works on
//! their uploads; several organisations at once, each under its lease.

use std::sync::Arc;

use muster_bus::{Delivery, Role};
use muster_domain::{fact::State, ids::OrganisationId};
use muster_store::StoreError;
use tokio::sync::{Semaphore, watch};

use super::{
    Serving,
    attending::{Attend, at_once, attend},
    pause,
};
use crate::{Error, Result, crash, queue::Queue};

/// See the module.
#[derive(Clone)]
struct Worker {
    serving: Serving,
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

pub(super) async fn run(serving: Serving, stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(at_once()));
    attend(Worker { serving: serving.clone(), places, stop: stop.clone() }, &serving, stop).await;
}

impl Attend for Worker {
    const ROLE: Role = Role::Worker;

    async fn due(&self) -> Result<Vec<OrganisationId>> {
        Ok(self.serving.engine.store.organisations_with_upload_in(State::Received.word()).await?)
    }

    async fn work(self, organisation: OrganisationId, delivery: Option<Delivery>) {
        let Worker { serving, places, stop } = self;
        Lane { serving, places, stop, organisation, delivery }.work().await;
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
    async fn work(mut self) {
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
