//! What people look at keeps in step whatever happens to whoever projects, to the broker, and to the database.

use std::time::{Duration, Instant};

use muster_engine::{
    Engine,
    projections::{self, reading::Wait},
};
use muster_testkit::{
    postgres::Server,
    rabbitmq::{Broker, address},
};

use crate::{
    faults_broker::all_applied,
    faults_relay::messages,
    muster::{Muster, On},
    served::{Served, prefix, until},
};

impl Muster {
    /// Reads each projection of acme once it reflects all that is in the log by now, which others are to see to within a
    /// minute.
    fn readable_within_a_minute(&self, began: Instant) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let engine = Engine::open(&self.database, self.dir.path(), "test").await.unwrap();
            let acme = engine.organisation("acme").await.unwrap().row.id;
            let until = Some(engine.store.head(acme).await.unwrap().last_seq);
            for projection in projections::all() {
                let at_most = Duration::from_secs(60).saturating_sub(began.elapsed());
                let wait = Wait { until, at_most, work: false };
                let read = engine.read_model(acme, *projection, wait).await;
                assert!(read.is_ok(), "{}: {:?}", projection.name(), read.err());
            }
            engine.store.close().await;
        });
    }
}

#[test]
fn with_the_broker_away_an_upload_is_readable_from_each_projection_within_a_minute() {
    let mut broker = Broker::start().unwrap();
    let muster = Muster::new(On::Postgres);
    let served = Served::start(&muster, &["--amqp", broker.url()]);
    until("the broker", || served.get("/readyz").json()["status"] == "ok");
    broker.stop().unwrap();
    // One that had the broker, and one that never saw it.
    let other = Served::start(&muster, &["--amqp", broker.url()]);
    let both = [served, other];
    let are_degraded = || both.iter().all(|s| s.get("/readyz").json()["status"] == "degraded");
    until("the loss of the broker", are_degraded);
    for n in 1..=3 {
        let began = Instant::now();
        muster.take_in(&format!("Team {n}"));
        muster.worked_off();
        muster.readable_within_a_minute(began);
        assert!(are_degraded() && both.iter().all(|s| s.get("/readyz").status == 200));
    }
    all_applied(&muster, 3);
    assert_eq!(muster.ok(&["members", "search", "team 3", "--org", "acme"])["total"], 20);
    for served in both {
        assert!(served.end().success());
    }
}

/// Freezes a process that projects where it has worked a slice out and not written it yet.
fn frozen_in_a_slice(muster: &Muster, more: &[&str]) -> Served {
    loop {
        let frozen = Served::begin(muster, more, |command| {
            command.env("MUSTER_FREEZE_AT", "projection_before_checkpoint");
        });
        until("the projector to be frozen", || frozen.is_frozen());
        if !frozen.writes_a_file() {
            return frozen;
        }
        // Another of its lanes was stopped while it wrote, and a file has one writer at a time: nobody could take a lane over.
        // The lane that was to be frozen has written nothing, so the next process has it to do as well.
        frozen.kill();
    }
}

/// Lets it go on to the end of what it has begun, and no further. Each of its lanes may freeze it once more on the way.
fn thawed_to_its_end(mut frozen: Served) {
    assert!(frozen.is_frozen(), "it was frozen all the while");
    frozen.signal("TERM");
    let ended = crate::served::within("the end of the one that woke", || {
        frozen.signal("CONT");
        frozen.has_ended()
    });
    assert!(ended.success());
}

/// One is frozen with a slice in its hands, another takes the lane over, and the one that wakes must not write its slice too.
fn two_on_one_lane(on: On, more: &[&str]) {
    let muster = Muster::new(on);
    let frozen = frozen_in_a_slice(&muster, more);
    let other = Served::start(&muster, more);
    for n in 1..=3 {
        muster.take_in(&format!("Team {n}"));
    }
    muster.worked_off();
    muster.projected();
    thawed_to_its_end(frozen);
    all_applied(&muster, 3);
    assert!(other.end().success());
}

#[test]
fn a_projector_frozen_in_a_slice_writes_nothing_when_it_wakes_on_sqlite() {
    two_on_one_lane(On::Sqlite, &[]);
}

#[test]
fn a_projector_frozen_in_a_slice_writes_nothing_when_it_wakes_on_postgres_with_a_broker() {
    let (url, prefix) = (address().unwrap(), prefix());
    two_on_one_lane(On::Postgres, &["--amqp", &url, "--amqp-prefix", &prefix]);
}

/// A process that projects is killed at each point, with a bell in its hands if there is a broker, and the next one goes on
/// where it stood.
fn killed_at_named_points(on: On, more: &[&str], bells: impl Fn() -> Option<u64>) {
    let muster = Muster::new(on);
    let with = |roles| [&["--roles", roles], more].concat();
    let working = Served::start(&muster, &with("worker,relay"));
    let mut projecting = Served::start(&muster, &with("projector"));
    let points = ["projection_before_checkpoint", "projection_after_checkpoint", "projector_before_ack"];
    for (n, point) in (1..).zip(points) {
        // With nothing left to do, the next one has no cause to begin but the upload.
        muster.projected();
        until("the end of all bells", || bells().unwrap_or(0) == 0);
        assert!(projecting.end().success(), "{point}");
        let mut dying = Served::begin(&muster, &with("projector"), |command| {
            command.env("MUSTER_CRASH_AT", point);
        });
        until("the bus", || dying.get("/readyz").json()["status"] == "ok");
        muster.take_in(&format!("Team {n}"));
        assert!(!dying.ended().success(), "{point}");
        until("the bell that was not acknowledged", || bells() != Some(0));
        projecting = Served::start(&muster, &with("projector"));
        all_applied(&muster, n);
    }
    until("the end of all bells", || bells().unwrap_or(0) == 0);
    for served in [working, projecting] {
        assert!(served.end().success());
    }
}

#[test]
fn a_serving_projector_killed_at_any_named_point_hands_over_on_sqlite() {
    killed_at_named_points(On::Sqlite, &[], || None);
}

#[test]
fn a_serving_projector_killed_at_any_named_point_hands_over_on_postgres_with_a_broker() {
    let broker = Broker::start().unwrap();
    killed_at_named_points(On::Postgres, &["--amqp", broker.url()], || Some(messages(&broker, "muster.projector")));
}

#[test]
fn a_database_stopped_and_started_in_the_middle_of_a_slice_costs_only_time() {
    let server = Server::start().unwrap();
    let muster = Muster::on_server(&server);
    let frozen = frozen_in_a_slice(&muster, &[]);
    server.stop().unwrap();
    server.start_again().unwrap();
    let other = Served::start(&muster, &[]);
    for n in 1..=10 {
        muster.take_in(&format!("Team {n}"));
        if n == 5 {
            // Whatever the other is at.
            server.stop().unwrap();
            until("the loss of the database", || other.get("/readyz").status == 503);
            server.start_again().unwrap();
        }
    }
    muster.worked_off();
    muster.projected();
    thawed_to_its_end(frozen);
    all_applied(&muster, 10);
    assert!(other.end().success());
}
