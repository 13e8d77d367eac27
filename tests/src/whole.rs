//! Whether an installation is whole: every log agrees with what is stored, and every projection equals a rebuild from nothing.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use muster_engine::{
    Engine, Organisation,
    projections::{self, Projection, runner::Progress},
};
use muster_store::read_model::{Key, Lane, LaneState, Part};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    muster::Muster,
    served::{PATIENCE, until},
};

/// Organisations that are gone through at the same time.
const TOGETHER: usize = 8;

/// What is stored of a projection: up to which event, and the rows with their parts and keys.
type Made = (u64, Vec<(Part, Key, Vec<u8>)>);

impl Muster {
    /// How the projections stand. Asking does not bring them on.
    pub fn standings(&self) -> Vec<Value> {
        self.ok(&["projections", "status"])["projections"].as_array().unwrap().clone()
    }

    /// Whether every projection reflects the whole log.
    pub fn is_up_to_date(&self) -> bool {
        self.standings().iter().all(|s| s["lag_events"] == 0 && !s["version"].is_null() && s["building"].is_null())
    }

    /// Waits until whoever serves has brought every projection up to the end of its log.
    pub fn projected(&self) {
        until("the projections", || self.is_up_to_date());
    }

    /// What must be so after whatever happened: every log agrees with what is stored, and every row of every projection is
    /// that of a rebuild from nothing.
    pub fn is_whole(&self) {
        let verified = self.run(&["verify"]);
        assert_eq!(verified.code, Some(0), "verify: {} {}", verified.json, verified.stderr);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let engine = Engine::open(&self.database, self.dir.path(), "test").await.unwrap();
            projections_are_whole(&engine).await;
            engine.store.close().await;
        });
    }
}

/// Within one process, as five commands for each organisation would take long where there are many.
async fn projections_are_whole(engine: &Engine) {
    let organisations: VecDeque<_> = engine.store.organisations().await.unwrap().into();
    let waiting = Arc::new(Mutex::new(organisations));
    let mut looking = JoinSet::new();
    for _ in 0..TOGETHER {
        let (engine, waiting) = (engine.clone(), waiting.clone());
        let next = move || waiting.lock().unwrap().pop_front();
        looking.spawn(async move {
            while let Some(row) = next() {
                let org = engine.load(row).await.unwrap();
                for projection in projections::all() {
                    equals_a_rebuild(&engine, &org, *projection).await;
                }
            }
        });
    }
    looking.join_all().await;
}

async fn equals_a_rebuild(engine: &Engine, org: &Organisation, projection: &dyn Projection) {
    let (slug, name) = (&org.row.slug, projection.name());
    let (seq, on_the_way) = made(engine, org, projection).await;
    engine.begin_rebuild(org, projection).await.unwrap();
    let (end, anew) = made(engine, org, projection).await;
    assert_eq!(seq, end, "{name} of {slug}");
    for (one, other) in on_the_way.iter().zip(&anew) {
        assert!(one == other, "{name} of {slug} differs from a rebuild in part {} at {:?}", one.0, one.1);
    }
    assert_eq!(on_the_way.len(), anew.len(), "{name} of {slug} has other rows than a rebuild");
    // Every log begins with somebody who made the organisation, which activity tells of.
    assert!(name != "activity" || !anew.is_empty(), "{slug} has no activity");
}

/// What there is once everything in the log is projected, whoever does it.
async fn made(engine: &Engine, org: &Organisation, projection: &dyn Projection) -> Made {
    let began = Instant::now();
    loop {
        match engine.catch_up(org.row.id, projection).await.unwrap() {
            Progress::CaughtUp => break,
            Progress::Taken => tokio::time::sleep(Duration::from_millis(20)).await,
            other => panic!("{} of {}: {other:?}", projection.name(), org.row.slug),
        }
        assert!(began.elapsed() < PATIENCE, "{} of {} was never done", projection.name(), org.row.slug);
    }
    let models = engine.store.read_models().await.unwrap();
    let lanes = models.lanes(org.row.id).await.unwrap();
    let is_read = |lane: &&Lane| lane.projection == projection.name() && lane.state == LaneState::Live;
    let lane = lanes.iter().find(is_read).expect("a lane that is read");
    assert_eq!(lane.seq, engine.store.head(org.row.id).await.unwrap().last_seq);
    (lane.seq, models.rows(lane).await.unwrap())
}
