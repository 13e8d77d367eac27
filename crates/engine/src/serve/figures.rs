//! What has happened while serving, counted for metrics. Nothing about any person or organisation.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::queue::Worked;

/// The upper ends of the classes into which durations are counted, in seconds.
pub const CLASSES: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// Figures that all roles write to.
#[derive(Debug, Default)]
pub struct Figures {
    rung: AtomicU64,
    relay_failures: AtomicU64,
    work_failures: AtomicU64,
    lease_waits: AtomicU64,
    restarts: AtomicU64,
    told: AtomicU64,
    telling_failures: AtomicU64,
    held: AtomicU64,
    projected: AtomicU64,
    uploads: Mutex<BTreeMap<&'static str, Durations>>,
}

/// How long things took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Durations {
    /// How many there were.
    pub count: u64,
    /// How many seconds they took together.
    pub seconds: f64,
    /// How many fell into each of [`CLASSES`], each counted once; whatever took longer is in none.
    pub classes: [u64; CLASSES.len()],
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcomes {
    /// Organisations of whose news every role was told.
    pub rung: u64,
    /// Rounds of the relay that failed.
    pub relay_failures: u64,
    /// Attempts to work on an upload that failed and are made again.
    pub work_failures: u64,
    /// How often somebody else's lease was waited for.
    pub lease_waits: u64,
    /// Roles that ended by a bug and were begun again.
    pub restarts: u64,
    /// Messages for other systems that were confirmed.
    pub told: u64,
    /// Messages for other systems that were not confirmed, and are told again.
    pub telling_failures: u64,
    /// Organisations whose messages for other systems wait at the moment, as one of them is not taken or cannot be made.
    pub held: u64,
    /// Steps that were done on projections: a slice of a log, or what has to be done before and after.
    pub projected: u64,
    /// Uploads that were worked on, by what they came to.
    pub uploads: BTreeMap<&'static str, Durations>,
}

impl Durations {
    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.count += 1;
        self.seconds += seconds;
        if let Some(class) = CLASSES.iter().position(|end| seconds <= *end) {
            self.classes[class] += 1;
        }
    }
}

impl Figures {
    pub(super) fn rung(&self, organisations: u64) {
        self.rung.fetch_add(organisations, Ordering::Relaxed);
    }

    pub(super) fn relay_failed(&self) {
        self.relay_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn worked(&self, worked: Worked) {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.entry(worked.state.word()).or_default().add(worked.took);
    }

    pub(super) fn work_failed(&self) {
        self.work_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn waited(&self) {
        self.lease_waits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn told(&self) {
        self.told.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn telling_failed(&self) {
        self.telling_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn held(&self, organisations: u64) {
        self.held.store(organisations, Ordering::Relaxed);
    }

    pub(super) fn projected(&self) {
        self.projected.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters now.
    pub fn read(&self) -> Outcomes {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Outcomes {
            rung: read(&self.rung),
            relay_failures: read(&self.relay_failures),
            work_failures: read(&self.work_failures),
            lease_waits: read(&self.lease_waits),
            restarts: read(&self.restarts),
            told: read(&self.told),
            telling_failures: read(&self.telling_failures),
            held: read(&self.held),
            projected: read(&self.projected),
            uploads: self.uploads.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_counted_in_one_class_or_in_none() {
        let mut durations = Durations::default();
        for ms in [10, 11, 299_000, 1_000_000] {
            durations.add(Duration::from_millis(ms));
        }
        assert_eq!(durations.count, 4);
        assert_eq!(durations.classes, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!((durations.seconds - 1299.021).abs() < 1e-6);
    }
}
