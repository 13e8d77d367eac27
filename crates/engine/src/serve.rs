//! Serving: the roles that a process plays for as long as it runs, each a loop that ends when it is told to.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use muster_bus::Bus;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::Engine;

mod api;
mod attending;
mod daily;
mod duty;
mod events;
mod figures;
mod projector;
mod relay;
mod scheduler;
mod worker;

pub use figures::{CLASSES, Durations, Figures, Outcomes};

/// What a process does while it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Answers HTTP.
    Api,
    /// Works on uploads.
    Worker,
    /// Rings for what is new in the logs, and tells other systems what was applied.
    Relay,
    /// Keeps projections in step with the logs.
    Projector,
    /// Looks after what is to happen at its time.
    Scheduler,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 5] = [Role::Api, Role::Worker, Role::Relay, Role::Projector, Role::Scheduler];

    /// Its name on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Role::Api => "api",
            Role::Worker => "worker",
            Role::Relay => "relay",
            Role::Projector => "projector",
            Role::Scheduler => "scheduler",
        }
    }

    /// The role of that name.
    pub fn from_word(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// How often the loops look by themselves.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two looks of the relay at the logs.
    pub relay: Duration,
    /// Between two sweeps for what no doorbell rang for.
    pub sweep: Duration,
    /// Between two tries to work on an organisation on which somebody else is working.
    pub busy: Duration,
    /// Between two writings of last uses and of the log of reads.
    pub notes: Duration,
    /// The longest wait before something that failed is tried again; the first is much shorter.
    pub again: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            relay: Duration::from_millis(20),
            sweep: Duration::from_secs(10),
            busy: Duration::from_millis(100),
            notes: Duration::from_secs(2),
            again: Duration::from_secs(2),
        }
    }
}

/// A process that serves.
#[derive(Clone)]
pub struct Serving {
    /// The engine; what it does by itself, and not for somebody's upload, it does in its own name.
    pub engine: Engine,
    /// The bus.
    pub bus: Bus,
    /// Whether the bus is within this process, so that what another was told this one was not.
    pub alone: bool,
    /// How often the loops look.
    pub pace: Pace,
    /// What has happened so far, for metrics.
    pub figures: Arc<Figures>,
}

impl Serving {
    /// Plays these roles until `stop` is true. What was begun is finished; what was not waits for somebody else.
    pub async fn run(self, roles: &BTreeSet<Role>, stop: watch::Receiver<bool>) {
        let mut loops = JoinSet::new();
        for role in roles {
            loops.spawn(self.clone().keep_up(*role, stop.clone()));
        }
        loops.join_all().await;
    }

    /// A role that ends by a bug is begun again, after a wait.
    async fn keep_up(self, role: Role, mut stop: watch::Receiver<bool>) {
        while let Err(e) = self.clone().begin(role, stop.clone()).await {
            self.figures.restarted();
            tracing::error!(role = role.word(), error = %e, "a role ended by a bug; it is begun again");
            if !pause(self.pace.again, &mut stop).await {
                return;
            }
        }
    }

    fn begin(self, role: Role, stop: watch::Receiver<bool>) -> JoinHandle<()> {
        match role {
            // HTTP itself is spoken by whoever has a listener.
            Role::Api => tokio::spawn(api::run(self, stop)),
            Role::Worker => tokio::spawn(worker::run(self, stop)),
            Role::Projector => tokio::spawn(projector::run(self, stop)),
            // Within one process there is no other system to tell.
            Role::Relay if self.alone => tokio::spawn(relay::run(self, stop)),
            Role::Relay => tokio::spawn(async {
                tokio::join!(relay::run(self.clone(), stop.clone()), events::run(self, stop));
            }),
            Role::Scheduler => tokio::spawn(scheduler::run(self, stop)),
        }
    }
}

/// Waits until it is time to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody can tell us any more: the process is ending.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits so long, or until it is time to stop. Says whether to go on.
async fn pause(duration: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = stopped(stop) => false,
        () = tokio::time::sleep(duration) => true,
    }
}
