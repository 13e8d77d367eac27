//! A duty that one process at a time has, for all organisations: it renews itself, and passes on within seconds from a
//! process that died or was frozen.

use std::time::Duration;

use muster_store::{Duty, Store, StoreError};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{Serving, pause};
use crate::{
    Result,
    lease::{LEASE, is_dead, this_process},
};

/// How often somebody who waits for a duty looks whether it is free.
const LOOK: Duration = Duration::from_secs(1);

/// A duty that is ours until it is dropped, or lost.
pub(super) struct OnDuty {
    pub duty: Duty,
    store: Store,
    until: watch::Receiver<Instant>,
    renewing: JoinHandle<()>,
}

impl OnDuty {
    /// Waits until the duty is ours; none if it is time to stop before that.
    pub async fn wait(serving: &Serving, name: &'static str, stop: &mut watch::Receiver<bool>) -> Option<OnDuty> {
        let store = &serving.engine.store;
        loop {
            match take(store, name).await {
                Ok(Some(duty)) => return Some(OnDuty::begin(store.clone(), duty)),
                Ok(None) => {}
                Err(e) => tracing::warn!(duty = name, error = %e, "a duty could not be asked for; it is tried again"),
            }
            if !pause(LOOK, stop).await {
                return None;
            }
        }
    }

    fn begin(store: Store, duty: Duty) -> OnDuty {
        tracing::info!(duty = duty.name, "took a duty over");
        let (tell, until) = watch::channel(Instant::now() + LEASE);
        let (renewed, mine) = (store.clone(), duty.clone());
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LEASE / 3).await;
                let until = Instant::now() + LEASE;
                match renewed.prolong_duty(&mine, LEASE).await {
                    Ok(()) => {
                        let _ = tell.send(until);
                    }
                    Err(StoreError::LeaseLost) => {
                        let _ = tell.send(Instant::now());
                        return;
                    }
                    // The time that is left may do for another attempt.
                    Err(_) => {}
                }
            }
        });
        OnDuty { duty, store, until, renewing }
    }

    /// Whether it is still ours, as far as can be told without asking the database.
    pub fn is_ours(&self) -> bool {
        Instant::now() < *self.until.borrow()
    }

    /// Leaves it to others at once.
    pub async fn leave(self) {
        self.renewing.abort();
        // Whatever the answer: it lapses by itself.
        let _ = self.store.prolong_duty(&self.duty, Duration::ZERO).await;
    }
}

impl Drop for OnDuty {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn take(store: &Store, name: &'static str) -> Result<Option<Duty>> {
    // Reading first, since whoever only waits must not write every second.
    match store.duty_holder(name).await? {
        Some(holder) if is_dead(&holder) => store.bury_duty(name, &holder).await?,
        Some(_) => return Ok(None),
        None => {}
    }
    Ok(store.take_duty(name, &this_process(), LEASE).await?)
}
