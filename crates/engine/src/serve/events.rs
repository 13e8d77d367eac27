//! Telling: other systems hear what was applied, from every organisation's log in its order. One process at a time tells.
//!
//! A mark of its own says how far each log was told, and is moved only once all messages up to it were confirmed. So after
//! a failure an event is told again from its beginning, under the same identities. Nothing but this loop tells anybody:
//! folding a log anew, for whatever purpose, is not heard of outside.

use muster_bus::Message;
use muster_domain::{
    announce::{Announcement, How, announce, announce_chunk, how, with_values},
    event::StoredEvent,
    fact::{Applied, Fact},
    ids::OrganisationId,
    settings::Settings,
};
use muster_store::{Told, Untold};
use tokio::sync::watch;

use super::{Serving, duty::OnDuty, pause};
use crate::{Engine, Error, Result, crash};

/// The mark of events in the store, and the duty of telling them.
const EVENTS: &str = "events";
/// Events of an organisation that are read together. Others have their turn after them.
const SLICE: u32 = 100;
/// Chunks of a change set that are read together.
const CHUNKS: usize = 8;
/// Messages are published together up to so many bytes.
const BATCH: usize = 4 << 20;

pub(super) async fn run(serving: Serving, mut stop: watch::Receiver<bool>) {
    while let Some(duty) = OnDuty::wait(&serving, EVENTS, &mut stop).await {
        let mut wait = serving.pace.relay;
        while duty.is_ours() {
            wait = match round(&serving, &duty).await {
                Ok(true) => serving.pace.relay,
                Ok(false) => (wait * 2).min(serving.pace.again),
                Err(e) => {
                    tracing::warn!(error = %e, "the logs could not be read for other systems; it is tried again");
                    (wait * 2).min(serving.pace.again)
                }
            };
            if !pause(wait, &mut stop).await {
                return duty.leave().await;
            }
        }
    }
}

/// Tells once of whatever is new. Says whether all went well.
async fn round(serving: &Serving, duty: &OnDuty) -> Result<bool> {
    let mut well = true;
    for untold in serving.engine.store.untold(EVENTS).await? {
        if !duty.is_ours() {
            break;
        }
        match tell_slice(serving, duty, untold).await {
            Ok(()) => {}
            // The bus is away: the others would fare no better.
            Err(Stopped::Unconfirmed) => return Ok(false),
            Err(Stopped::Failed(e)) => {
                well = false;
                let organisation = untold.organisation.0;
                tracing::error!(%organisation, error = %e, "what was applied could not be told; it is tried again");
            }
        }
    }
    Ok(well)
}

/// Why the telling of an organisation's events was broken off.
enum Stopped {
    /// The bus did not confirm a message.
    Unconfirmed,
    /// Something else failed.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Stopped::Failed(error.into())
    }
}

async fn tell_slice(serving: &Serving, duty: &OnDuty, untold: Untold) -> Result<(), Stopped> {
    let engine = &serving.engine;
    let organisation = untold.organisation;
    let mut teller = Teller { serving, organisation, batch: Vec::new(), bytes: 0 };
    let mut told = untold.told;
    for raw in engine.store.raw_events(organisation, untold.told, SLICE).await? {
        let seq = raw.seq;
        if raw.kind().is_none_or(is_told) {
            teller.event(raw.open()?).await?;
        }
        told = seq;
    }
    teller.flush().await?;
    crash::point("events_before_mark");
    engine.store.mark_told(EVENTS, &[Told { organisation, seq: told }], Some(&duty.duty)).await?;
    Ok(())
}

/// Whether an event of this type may be told: others need not be opened. What that comes to, [`how`] decides.
fn is_told(kind: &str) -> bool {
    !matches!(kind, "change_set.chunk" | "upload.received" | "upload.decided")
}

/// Gathers an organisation's messages, and publishes them in their order.
struct Teller<'a> {
    serving: &'a Serving,
    organisation: OrganisationId,
    batch: Vec<Message>,
    bytes: usize,
}

impl Teller<'_> {
    async fn event(&mut self, event: StoredEvent) -> Result<(), Stopped> {
        let fact = Fact::read(&event.meta)?;
        if how(&fact) != How::NotAtAll {
            let (correlation, seq) = (event.meta.correlation, event.meta.seq);
            tracing::info!(organisation = %self.organisation, %correlation, seq, kind = event.meta.kind, "telling");
        }
        match (how(&fact), &fact) {
            (How::ByChunk(_), Fact::Applied(applied)) => self.change_set(&event, applied).await,
            (How::Once, fact) => match announce(&event.meta, fact) {
                Some(announcement) => self.add(announcement).await,
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    async fn change_set(&mut self, event: &StoredEvent, applied: &Applied) -> Result<(), Stopped> {
        let engine = &self.serving.engine;
        let mut chunks = engine.chunks(self.organisation, applied.change_set);
        while let Some(group) = chunks.next(CHUNKS).await? {
            // Asked for again and again: from the moment at which it is off, no more values go out.
            let values = engine.tells_values(self.organisation, event.meta.seq).await?;
            for (first, lines) in &group {
                let announcement = announce_chunk(&event.meta, applied, (*first, lines), values);
                if let Some(announcement) = announcement.map_err(|e| Error::Damaged(e.to_string()))? {
                    self.add(announcement).await?;
                }
            }
        }
        Ok(())
    }

    async fn add(&mut self, announcement: Announcement) -> Result<(), Stopped> {
        let body = serde_json::to_vec(&announcement.message)?;
        self.bytes += body.len();
        let content_type = "application/cloudevents+json".to_owned();
        self.batch.push(Message { key: announcement.routing_key, content_type, body });
        if self.bytes >= BATCH { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Stopped> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let messages = batch.len() as u64;
        crash::point("events_before_confirm");
        let confirmed = self.serving.bus.tell_all(batch).await;
        if confirmed.iter().any(|told| told.is_err()) {
            self.serving.figures.telling_failed();
            return Err(Stopped::Unconfirmed);
        }
        self.serving.figures.told(messages);
        Ok(())
    }
}

impl Engine {
    /// Whether match keys and values go along with an event that is told now.
    async fn tells_values(&self, organisation: OrganisationId, seq: u64) -> Result<bool> {
        let Some(doc) = self.store.settings(organisation).await? else { return Ok(false) };
        let now: Settings = serde_json::from_slice(&doc)?;
        if !now.events.values {
            return Ok(false);
        }
        let mut then = Settings::default();
        for event in self.store.stream_events(organisation, "organisation").await? {
            if event.meta.seq > seq {
                break;
            }
            if let Fact::OrganisationCreated { settings, .. } | Fact::SettingsChanged { settings, .. } =
                Fact::read(&event.meta)?
            {
                then = *settings;
            }
        }
        Ok(with_values(&then, &now))
    }
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
