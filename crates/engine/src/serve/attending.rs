//! Attending: a role takes organisations for which a bell rang, or which a sweep finds; several at once, one task for each.

use std::collections::{HashMap, hash_map::Entry};

use muster_bus::{Delivery, Role};
use muster_domain::ids::OrganisationId;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::MissedTickBehavior,
};

use super::{Serving, stopped};
use crate::Result;

/// What a role does about an organisation.
pub(super) trait Attend: Clone + Send + Sync + 'static {
    /// The role for which bells ring.
    const ROLE: Role;

    /// The organisations in which there is something to do, whether or not a bell rang.
    fn due(&self) -> impl Future<Output = Result<Vec<OrganisationId>>> + Send;

    /// Does it. The bell that began it, if one did, is done with as soon as it need not come again.
    fn work(self, organisation: OrganisationId, delivery: Option<Delivery>) -> impl Future<Output = ()> + Send;
}

/// How many things a process works on at once.
pub(super) fn at_once() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get().max(2))
}

/// What this process is busy with.
struct Attending<A> {
    how: A,
    tasks: JoinSet<OrganisationId>,
    /// Organisations that a task of ours looks after, and whether a bell has rung for them since it began. One task for
    /// each: however often a bell rings for one organisation, it takes no place from another.
    busy: HashMap<OrganisationId, bool>,
}

/// Plays a role until it is time to stop; what was begun is ended.
pub(super) async fn attend<A: Attend>(how: A, serving: &Serving, mut stop: watch::Receiver<bool>) {
    let mut bells = serving.bus.bells(A::ROLE);
    let mut sweeps = tokio::time::interval(serving.pace.sweep);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut attending = Attending { how, tasks: JoinSet::new(), busy: HashMap::new() };
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(delivery) = bells.next() => attending.hear(delivery),
            _ = sweeps.tick() => attending.sweep().await,
            Some(ended) = attending.tasks.join_next(), if !attending.tasks.is_empty() => attending.ended(ended),
        }
    }
    while attending.tasks.join_next().await.is_some() {}
}

impl<A: Attend> Attending<A> {
    fn hear(&mut self, delivery: Delivery) {
        let organisation = delivery.bell().organisation;
        match self.busy.entry(organisation) {
            // Whoever is at it looks again when it is done. Should this process die, that one's own bell comes again, and where a
            // sweep began it, the next sweep finds it; a bell kept for so long would take one of the few places from others.
            Entry::Occupied(mut busy) => {
                busy.insert(true);
                delivery.done();
            }
            Entry::Vacant(_) => self.begin(organisation, Some(delivery)),
        }
    }

    async fn sweep(&mut self) {
        match self.how.due().await {
            Ok(found) => {
                for organisation in found {
                    if !self.busy.contains_key(&organisation) {
                        self.begin(organisation, None);
                    }
                }
            }
            Err(e) => {
                let role = A::ROLE.name();
                tracing::warn!(role, error = %e, "a sweep could not read the database; it tries again");
            }
        }
    }

    fn begin(&mut self, organisation: OrganisationId, delivery: Option<Delivery>) {
        self.busy.insert(organisation, false);
        let how = self.how.clone();
        self.tasks.spawn(async move {
            // A bug in one organisation's work must not leave it taken.
            if let Err(e) = tokio::spawn(async move { how.work(organisation, delivery).await }).await {
                let role = A::ROLE.name();
                tracing::error!(role, error = %e, "the work on an organisation ended by a bug; it is tried again");
            }
            organisation
        });
    }

    fn ended(&mut self, ended: std::result::Result<OrganisationId, JoinError>) {
        if let Ok(organisation) = ended
            && self.busy.remove(&organisation) == Some(true)
        {
            self.begin(organisation, None);
        }
    }
}
