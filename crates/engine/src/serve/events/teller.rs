//! Publishes one organisation's messages in the order of its log, each once the one before it was confirmed.
//!
//! Were several under way at once, the broker might refuse one and take the next: a queue is full for a moment, and then
//! not. Whoever keeps only the place up to which they have taken everything would take the one that was refused, told
//! again, for one that they have.

use muster_bus::{BusError, Message};
use muster_domain::{
    announce::{Announcement, How, announce, announce_chunk, how, with_values},
    event::StoredEvent,
    fact::{Applied, Fact},
    ids::OrganisationId,
    settings::Settings,
};

use crate::{Engine, Error, Result, crash, serve::Serving};

/// Chunks of a change set that are read together.
const CHUNKS: usize = 8;

/// The place of a message: its event, and for a part of a change set the ordinal of its first change.
pub(super) type Place = (u64, u32);

/// Why the telling of an organisation's events was broken off.
pub(super) enum Stopped {
    /// The bus takes nothing at the moment, whatever it is.
    Away,
    /// This message was not confirmed; others may be.
    NotTaken(BusError),
    /// Something else failed.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Stopped::Failed(error.into())
    }
}

/// See the module.
pub(super) struct Teller<'a> {
    pub serving: &'a Serving,
    pub organisation: OrganisationId,
    /// The last message that was confirmed. What is not behind it is not told again.
    pub confirmed: &'a mut Place,
}

impl Teller<'_> {
    /// Tells an event, if it is one of which others are told.
    pub async fn event(&mut self, event: StoredEvent) -> Result<(), Stopped> {
        let fact = Fact::read(&event.meta)?;
        if how(&fact) != How::NotAtAll {
            let (correlation, seq) = (event.meta.correlation, event.meta.seq);
            tracing::info!(organisation = %self.organisation, %correlation, seq, kind = event.meta.kind, "telling");
        }
        match (how(&fact), &fact) {
            (How::ByChunk(_), Fact::Applied(applied)) => self.change_set(&event, applied).await,
            (How::Once, fact) => match announce(&event.meta, fact) {
                Some(announcement) => self.tell((event.meta.seq, 0), announcement).await,
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
                let place = (event.meta.seq, *first);
                if place <= *self.confirmed {
                    continue;
                }
                let announcement = announce_chunk(&event.meta, applied, (*first, lines), values);
                if let Some(announcement) = announcement.map_err(|e| Error::Damaged(e.to_string()))? {
                    self.tell(place, announcement).await?;
                }
            }
        }
        Ok(())
    }

    async fn tell(&mut self, place: Place, announcement: Announcement) -> Result<(), Stopped> {
        if place <= *self.confirmed {
            return Ok(());
        }
        let body = serde_json::to_vec(&announcement.message)?;
        let content_type = "application/cloudevents+json".to_owned();
        crash::point("events_before_confirm");
        let told = self.serving.bus.tell(Message { key: announcement.routing_key, content_type, body }).await;
        if let Err(error) = told {
            self.serving.figures.telling_failed();
            return Err(match error {
                BusError::Refused(_) => Stopped::Away,
                // A message that is in doubt may be why the channel was closed: it is larger than the broker allows.
                error => Stopped::NotTaken(error),
            });
        }
        self.serving.figures.told();
        *self.confirmed = place;
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
