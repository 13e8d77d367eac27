//! The engine: from a payload to a roster in step, by way of the log.
//!
//! Begin reading at [`pipeline`]: it shows the stages in order.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use muster_domain::{
    digest::Keys,
    documents::Feed,
    event::{Body, NewEvent},
    fact::{Fact, SCHEMA},
    settings::Settings,
};
use muster_store::{OrganisationRow, Store, Who};
use uuid::Uuid;

pub mod access;
pub mod apply;
mod aside;
pub mod backup;
pub mod bits;
pub mod blame;
pub mod census;
pub mod chunks;
mod clock;
pub mod compare;
pub mod crash;
pub mod cursor;
pub mod effects;
mod error;
pub mod export;
pub mod forget;
pub mod hand;
pub mod handover;
pub mod history;
mod idents;
pub mod import;
pub mod known;
mod lately;
pub mod lease;
pub mod lists;
pub mod mapping;
mod match_key;
pub mod members;
pub mod misses;
pub mod moments;
mod opening;
pub mod organisation;
pub mod originals;
pub mod past;
pub mod payload;
pub mod pipeline;
pub mod projections;
pub mod propose;
pub mod queue;
mod rebuild;
pub mod receive;
pub mod recorder;
pub mod refused;
mod remember;
pub mod renewal;
pub mod report;
pub mod resolve;
pub mod restore;
pub mod retention;
pub mod review;
pub mod roster;
mod seal;
pub mod serve;
pub mod setting;
pub mod sizes;
mod spill;
pub mod spoken;
pub mod supersede;
pub mod turns;
pub mod undo;
pub mod uploads;
pub mod verify;
pub mod watch;
mod wholeness;
pub mod wholesale;
pub mod workbook;
pub mod worked_out;

pub use error::{Error, Result};
use sizes::Sizes;

/// For how long another process's lease is waited for, unless somebody says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// The engine over one store and one directory of payloads.
#[derive(Clone)]
pub struct Engine {
    /// The store.
    pub store: Store,
    /// The payloads.
    pub payloads: payload::Payloads,
    /// Who acts.
    pub actor: String,
    /// From which sizes on the work is done in another way.
    pub sizes: Sizes,
    /// For how long somebody else who works on the organisation is waited for.
    pub patience: Duration,
    data_dir: PathBuf,
    access: Arc<access::Memory>,
    /// Who is at what costs much.
    turns: Arc<turns::Turns>,
    /// How many people lose eligibility by change sets that were asked about lately.
    losing: Arc<review::LosingLately>,
}

/// An organisation as commands work on it.
#[derive(Clone, Debug)]
pub struct Organisation {
    /// Its row.
    pub row: OrganisationRow,
    /// Its settings.
    pub settings: Settings,
    /// Its feeds, by number.
    pub feeds: Vec<Feed>,
    /// Its keys.
    pub keys: Keys,
}

impl Engine {
    /// Opens the store; payloads lie below the data directory.
    ///
    /// # Errors
    /// If the database cannot be opened.
    pub async fn open(database: &str, data_dir: &Path, actor: &str) -> Result<Engine> {
        let store = Store::open(database).await?;
        let payloads = payload::Payloads::new(data_dir);
        Ok(Engine {
            store,
            payloads,
            actor: actor.to_owned(),
            sizes: Sizes::default(),
            patience: PATIENCE,
            data_dir: data_dir.to_owned(),
            access: Arc::default(),
            turns: Arc::default(),
            losing: Arc::default(),
        })
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Now, in microseconds, which is what both databases keep.
    pub fn now(&self) -> DateTime<Utc> {
        clock::now()
    }

    /// The same engine, acting for somebody else.
    #[must_use]
    pub fn acting_as(&self, actor: String) -> Engine {
        Engine { actor, ..self.clone() }
    }

    /// The same engine, which waits for others only so long.
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Engine {
        Engine { patience, ..self }
    }

    /// Who acts, for one command.
    pub fn who(&self, correlation: Uuid) -> Who {
        Who { actor: self.actor.clone(), correlation, causation: None, now: self.now() }
    }
}

/// An event that tells a fact.
pub fn event(fact: &Fact, body: Option<Body>) -> NewEvent {
    let (kind, data) = fact.parts();
    NewEvent { id: Uuid::now_v7(), stream: fact.stream(), expected_version: None, kind, schema: SCHEMA, data, body }
}
