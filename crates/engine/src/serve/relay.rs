//! The relay: rings for every organisation whose log goes further than was told, and notes what the bus has taken for good.
//!
//! A mark is moved only once the bell was confirmed, so a process that dies in between rings again. That does no harm: a
//! doorbell only says where to look.

use std::collections::HashMap;

use muster_bus::{Doorbell, Role};
use muster_domain::ids::OrganisationId;
use muster_store::{Told, Untold};
use tokio::sync::watch;

use super::{Serving, pause};
use crate::{Result, crash};

/// The mark of doorbells in the store.
const DOORBELLS: &str = "doorbells";

pub(super) async fn run(serving: Serving, mut stop: watch::Receiver<bool>) {
    let mut told = HashMap::new();
    let mut wait = serving.pace.relay;
    loop {
        wait = match round(&serving, &mut told).await {
            Ok(true) => serving.pace.relay,
            Ok(false) => (wait * 2).min(serving.pace.again),
            Err(e) => {
                tracing::warn!(error = %e, "the relay could not read or mark the logs; it tries again");
                (wait * 2).min(serving.pace.again)
            }
        };
        if wait > serving.pace.relay {
            serving.figures.relay_failed();
        }
        if !pause(wait, &mut stop).await {
            return;
        }
    }
}

/// Rings once for whoever has something new. Says whether the bus took all of it.
async fn round(serving: &Serving, told: &mut HashMap<OrganisationId, u64>) -> Result<bool> {
    let store = &serving.engine.store;
    // A bus within the process begins empty with it, and so does what was told.
    let mut untold = if serving.alone {
        let untold = |(organisation, last_seq)| Untold { organisation, told: 0, last_seq };
        store.ends().await?.into_iter().map(untold).collect()
    } else {
        store.untold(DOORBELLS).await?
    };
    untold.retain(|u| told.get(&u.organisation).unwrap_or(&0) < &u.last_seq);
    if untold.is_empty() {
        return Ok(true);
    }
    let bell = |u: &Untold| Doorbell { organisation: u.organisation, up_to: u.last_seq };
    let rings: Vec<_> = untold.iter().flat_map(|u| Role::ALL.map(|role| (role, bell(u)))).collect();
    crash::point("relay_before_confirm");
    let confirmed = serving.bus.ring_all(&rings).await;
    let all = confirmed.iter().all(|ring| ring.is_ok());
    // An organisation is told of when every role was.
    let mut confirmed = confirmed.chunks(Role::ALL.len());
    untold.retain(|_| confirmed.next().is_some_and(|rings| rings.iter().all(|ring| ring.is_ok())));
    if untold.is_empty() {
        return Ok(all);
    }
    crash::point("relay_before_mark");
    for Untold { organisation, last_seq, .. } in &untold {
        tracing::debug!(%organisation, up_to = last_seq, "rung");
    }
    serving.figures.rung(untold.len() as u64);
    if serving.alone {
        told.extend(untold.iter().map(|u| (u.organisation, u.last_seq)));
    } else {
        let told = |u: &Untold| Told { organisation: u.organisation, seq: u.last_seq };
        store.mark_told(DOORBELLS, &untold.iter().map(told).collect::<Vec<_>>(), None).await?;
    }
    Ok(all)
}
