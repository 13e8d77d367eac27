//! Telling: other systems hear what was applied, from every organisation's log in its order. One process at a time tells.
//!
//! A mark of its own says how far each log was told, and is moved only past events of which every message was confirmed.
//! So whoever takes over after a failure tells an event again from its beginning, under the same identities. Nothing but
//! this loop tells anybody: folding a log anew, for whatever purpose, is not heard of outside.

use std::collections::HashMap;

use muster_domain::ids::OrganisationId;
use muster_store::{Told, Untold};
use tokio::{sync::watch, time::Instant};

use super::{Serving, duty::OnDuty, pause};
use crate::{Result, crash};

mod teller;

use teller::{Place, Stopped, Teller};

/// The mark of events in the store, and the duty of telling them.
const EVENTS: &str = "events";
/// Events of an organisation that are read together. Others have their turn after them.
const SLICE: u32 = 100;

pub(super) async fn run(serving: Serving, mut stop: watch::Receiver<bool>) {
    while let Some(duty) = OnDuty::wait(&serving, EVENTS, &mut stop).await {
        let mut telling = Telling { serving: &serving, held: HashMap::new() };
        let mut wait = serving.pace.relay;
        while duty.is_ours() {
            wait = match telling.round(&duty).await {
                Ok(true) => serving.pace.relay,
                Ok(false) => (wait * 2).min(serving.pace.again),
                Err(e) => {
                    tracing::warn!(error = %e, "the logs could not be read for other systems; it is tried again");
                    (wait * 2).min(serving.pace.again)
                }
            };
            serving.figures.held(telling.held.len() as u64);
            if !pause(wait, &mut stop).await {
                return duty.leave().await;
            }
        }
        // Whoever has the duty now says how it is.
        serving.figures.held(0);
    }
}

/// An organisation that waits, because one of its messages was not taken or could not be made.
struct Held {
    /// When it is tried again.
    until: Instant,
    /// Where it goes on then.
    confirmed: Place,
    why: String,
}

struct Telling<'a> {
    serving: &'a Serving,
    held: HashMap<OrganisationId, Held>,
}

impl Telling<'_> {
    /// Tells once of whatever is new. Says whether the bus was there: what one organisation meets is no other's concern.
    async fn round(&mut self, duty: &OnDuty) -> Result<bool> {
        for untold in self.due().await? {
            if !duty.is_ours() {
                break;
            }
            let organisation = untold.organisation;
            let mut confirmed = self.held.get(&organisation).map_or((0, 0), |held| held.confirmed);
            match self.slice(duty, untold, &mut confirmed).await {
                Ok(()) => {
                    if self.held.remove(&organisation).is_some() {
                        tracing::info!(%organisation, "what was applied is told again to other systems");
                    }
                }
                // The others would fare no better.
                Err(Stopped::Away) => return Ok(false),
                Err(Stopped::NotTaken(e)) => self.hold(organisation, confirmed, e.to_string(), |why| {
                    tracing::warn!(%organisation, error = why, "a message for other systems is not taken; it is tried \
                        again, and what comes after it in this organisation waits");
                }),
                Err(Stopped::Failed(e)) => self.hold(organisation, confirmed, e.to_string(), |why| {
                    tracing::error!(%organisation, error = why, "what was applied could not be told; it is tried again");
                }),
            }
        }
        Ok(true)
    }

    /// The organisations with something new, but for those that wait. Those that failed come last: should a message of
    /// theirs make the broker close the channel, the others have been heard.
    async fn due(&mut self) -> Result<Vec<Untold>> {
        let mut untold = self.serving.engine.store.untold(EVENTS).await?;
        self.held.retain(|organisation, _| untold.iter().any(|untold| untold.organisation == *organisation));
        let now = Instant::now();
        untold.retain(|untold| self.held.get(&untold.organisation).is_none_or(|held| held.until <= now));
        untold.sort_by_key(|untold| self.held.contains_key(&untold.organisation));
        Ok(untold)
    }

    /// Lets an organisation wait, and says so unless that was said already.
    fn hold(&mut self, organisation: OrganisationId, confirmed: Place, why: String, say: impl FnOnce(&str)) {
        if self.held.get(&organisation).is_none_or(|held| held.why != why) {
            say(&why);
        }
        let until = Instant::now() + self.serving.pace.again;
        self.held.insert(organisation, Held { until, confirmed, why });
    }

    async fn slice(&self, duty: &OnDuty, untold: Untold, confirmed: &mut Place) -> Result<(), Stopped> {
        let store = &self.serving.engine.store;
        let organisation = untold.organisation;
        let mut teller = Teller { serving: self.serving, organisation, confirmed };
        let (mut told, mut outcome) = (untold.told, Ok(()));
        for raw in store.raw_events(organisation, untold.told, SLICE).await? {
            let seq = raw.seq;
            if raw.kind().is_none_or(is_told) {
                outcome = match raw.open() {
                    Ok(event) => teller.event(event).await,
                    Err(e) => Err(e.into()),
                };
            }
            if outcome.is_err() {
                break;
            }
            told = seq;
        }
        // Also up to what failed, so that nothing before it is told twice.
        if told > untold.told {
            crash::point("events_before_mark");
            store.mark_told(EVENTS, &[Told { organisation, seq: told }], Some(&duty.duty)).await?;
        }
        outcome
    }
}

/// Whether an event of this type may be told: others need not be opened. What that comes to, `how` decides.
fn is_told(kind: &str) -> bool {
    !matches!(kind, "change_set.chunk" | "upload.received" | "upload.decided")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_unopened_is_never_told() {
        let told = ["change_set.applied", "feed.overdue", "member.forgotten", "organisation.settings_changed"];
        assert!(told.into_iter().all(is_told));
        assert!(!is_told("change_set.chunk"));
    }
}
