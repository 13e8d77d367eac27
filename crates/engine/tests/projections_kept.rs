//! PostgreSQL takes whoever asks nothing for long for frozen: one who works on a lane keeps it all the same, one who stands still loses it.

use std::{
    thread,
    time::{Duration, Instant},
};

use muster_engine::{
    Engine,
    projections::{Event, Projection, Rows, Taking, activity::Activities, number, runner::Progress},
};
use muster_store::{Store, read_model::LaneState};
use muster_testkit::database::Engine as On;

use crate::projections::{World, live};

/// The server's patience here.
const LIMIT: Duration = Duration::from_secs(1);

/// Asks nothing of its lane for several times as long, while it takes an event.
struct Slow;

impl Projection for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }
    fn version(&self) -> u32 {
        1
    }
    fn wants(&self, kind: &str) -> bool {
        kind == "organisation.created"
    }
    fn take<'a>(&'a self, event: &'a Event, rows: &'a mut Rows) -> Taking<'a> {
        Box::pin(async move {
            for _ in 0..6 {
                // Partly waiting for something else, partly working.
                tokio::time::sleep(LIMIT / 4).await;
                tokio::task::block_in_place(|| thread::sleep(LIMIT / 4));
            }
            assert_eq!(rows.get(0, &number(0)).await?, None);
            rows.put(0, number(event.meta.seq), b"taken".to_vec());
            Ok(())
        })
    }
}

async fn impatient() -> (World, Engine) {
    let world = World::on(On::Postgres).await;
    world.organisation("acme").await;
    let mut engine = world.engine.clone();
    engine.store = Store::open_with_idle_limit(&world.database.url, LIMIT).await.unwrap();
    (world, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_kept_through_an_event_that_takes_longer_than_the_server_waits() {
    let (_world, engine) = impatient().await;
    let org = engine.organisation("acme").await.unwrap().row.id;
    // Whoever is stopped for a second by the machine begins again; who always loses the lane never gets to the end.
    let mut attempts = 0;
    loop {
        match engine.catch_up(org, &Slow).await {
            Ok(progress) => break assert_eq!(progress, Progress::CaughtUp),
            Err(e) => assert!(attempts < 5, "begun again and again: {e}"),
        }
        attempts += 1;
    }
    let (seq, rows) = live(&engine, org, &Slow).await;
    assert_eq!(seq, engine.store.head(org).await.unwrap().last_seq);
    assert_eq!(rows, [(0, number(1), b"taken".to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_holder_stands_still_is_free_for_others_after_a_while() {
    let (world, engine) = impatient().await;
    let org = engine.organisation("acme").await.unwrap().row.id;
    engine.catch_up(org, &Activities).await.unwrap();
    let models = engine.store.read_models().await.unwrap();
    let lane = models.lanes(org).await.unwrap().into_iter().find(|l| l.state == LaneState::Live).unwrap();
    let still = models.claim(org, lane.id).await.unwrap().expect("nobody has it");
    let others = world.engine.store.read_models().await.unwrap();
    let began = Instant::now();
    while others.claim(org, lane.id).await.unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(60), "the lane is held for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(still.get(0, &number(1)).await.is_err(), "it was lost");
}
