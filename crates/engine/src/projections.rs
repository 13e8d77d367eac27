//! Projections: read models made of the log, event by event, each in a file of its own below.
//!
//! A projection says which events it takes and what rows they leave. Everything else is done here: how far it has come
//! ([`runner`]), what is read of it ([`reading`]), how it is built anew beside itself ([`lanes`]). `docs/adding-a-projection.md`
//! is the checklist for another one.

use std::{future::Future, pin::Pin};

use muster_domain::{
    event::{Body, Meta},
    fact::Fact,
    ids::OrganisationId,
};

use crate::{Engine, Result};

pub mod activity;
pub mod change_sets;
pub mod dashboard;
pub mod directory;
pub mod history;
pub mod lanes;
pub mod reading;
mod rows;
pub mod runner;
pub mod runs;

pub use rows::{Rows, document, number, number_of};

/// Chunks of a change set that are read at a time.
const CHUNKS: usize = 32;

/// A read model. It has no state of its own: what it needs to know it keeps in its rows.
pub trait Projection: Send + Sync {
    /// Its name, in commands and metrics.
    fn name(&self) -> &'static str;

    /// Counted up whenever the rows come out otherwise than before: then all of them are made anew, by themselves.
    fn version(&self) -> u32;

    /// Whether an event of this type leaves anything behind. The others are passed over without being read.
    fn wants(&self, kind: &str) -> bool;

    /// Takes the next event. What it writes must follow from the log alone, and be the same however the log is cut into
    /// slices. An error parks the lane at this event.
    fn take<'a>(&'a self, event: &'a Event, rows: &'a mut Rows) -> Taking<'a>;
}

/// What [`Projection::take`] gives back: `Box::pin(async move { … })`.
pub type Taking<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// All of them, in the order in which they are shown.
pub fn all() -> &'static [&'static dyn Projection] {
    &[
        &directory::DIRECTORY,
        &activity::Activities,
        &runs::FeedRuns,
        &change_sets::ChangeSets,
        &dashboard::Dashboards,
        &history::Histories,
    ]
}

/// The projection of that name.
pub fn named(name: &str) -> Option<&'static dyn Projection> {
    all().iter().copied().find(|p| p.name() == name)
}

/// An event on its way into a projection.
pub struct Event {
    /// Whose it is.
    pub organisation: OrganisationId,
    /// Its metadata.
    pub meta: Meta,
    /// What it says.
    pub fact: Fact,
    /// For reading more of the log: the changes of a change set by [`Engine::chunks`].
    pub engine: Engine,
}

impl Event {
    /// The lines of the event, if it has any.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn lines(&self) -> Result<Option<Body>> {
        Ok(self.engine.store.event(self.organisation, self.meta.seq).await?.body)
    }
}
