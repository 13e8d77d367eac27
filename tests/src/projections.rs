//! What people look at keeps in step with the log: by whoever serves, by whoever reads where nobody serves, and through kills.

use std::process::Command;

use muster_domain::event::NewEvent;
use muster_engine::Engine;
use muster_store::read_model::{LaneState, Step, Writes};
use muster_testkit::rabbitmq::Broker;
use serde_json::{Value, value::RawValue};
use uuid::Uuid;

use crate::{
    muster::{Muster, On, binary, feed},
    served::{Served, until},
};

impl Muster {
    fn sync_people(&self, department: &str) {
        let file = self.file("people.csv", &feed(0..20, department));
        self.ok(&["sync", &file, "--org", "acme", "--mode", "full"]);
    }
}

fn keeps_in_step(on: On, more: &[&str]) {
    let muster = Muster::new(on);
    muster.sync_people("Before");
    let served = Served::start(&muster, more);
    muster.projected();
    for day in 1..=3 {
        muster.sync_people(&format!("Day {day}"));
        muster.projected();
    }
    assert_eq!(served.metric(r#"muster_projection_lag_events{projection="directory"}"#), 0.0);
    assert_eq!(served.metric(r#"muster_projection_parked_lanes{projection="directory"}"#), 0.0);
    assert!(served.end().success());
    let found = muster.ok(&["members", "search", "day 3", "--org", "acme"]);
    assert_eq!(found["total"], 20);
    muster.is_whole();
}

#[test]
fn projections_keep_in_step_while_somebody_serves_on_sqlite() {
    keeps_in_step(On::Sqlite, &[]);
}

#[test]
fn projections_keep_in_step_while_somebody_serves_on_postgres_with_a_broker() {
    let broker = Broker::start().unwrap();
    let prefix = format!("t{}", uuid::Uuid::new_v4().simple());
    keeps_in_step(On::Postgres, &["--amqp", broker.url(), "--amqp-prefix", &prefix]);
}

fn kill_at(on: On, point: &str) {
    let muster = Muster::new(on);
    muster.sync_people("Before");
    muster.ok(&["members", "search", "--org", "acme"]);
    muster.ok(&["activity", "--org", "acme"]);
    muster.sync_people("After");
    let rebuild = ["projections", "rebuild", "directory", "--org", "acme"];
    let died = match point {
        "projection_before_swap" => muster.dying_at(point, &rebuild),
        _ => muster.dying_at(point, &["members", "search", "after", "--org", "acme"]),
    };
    assert_eq!(died.code, None, "{point}: {}", died.stderr);
    assert_eq!(muster.ok(&["members", "search", "after", "--org", "acme"])["total"], 20, "{point}");
    muster.is_whole();
}

const POINTS: [&str; 3] = ["projection_before_checkpoint", "projection_after_checkpoint", "projection_before_swap"];

#[test]
fn a_projection_killed_anywhere_comes_to_what_a_rebuild_does_on_sqlite() {
    POINTS.iter().for_each(|point| kill_at(On::Sqlite, point));
}

#[test]
fn a_projection_killed_anywhere_comes_to_what_a_rebuild_does_on_postgres() {
    POINTS.iter().for_each(|point| kill_at(On::Postgres, point));
}

/// Puts something into a row of the directory of an organisation from which no event that changes it can go on.
async fn damage(muster: &Muster, slug: &str) {
    let engine = Engine::open(&muster.database, muster.dir.path(), "test").await.unwrap();
    let org = engine.organisation(slug).await.unwrap().row.id;
    let models = engine.store.read_models().await.unwrap();
    let lanes = models.lanes(org).await.unwrap();
    let lane = lanes.iter().find(|lane| lane.projection == "directory" && lane.state == LaneState::Live).unwrap();
    let mut writes = Writes::default();
    for (part, key, _) in models.rows(lane).await.unwrap().into_iter().filter(|row| row.0 == 0) {
        writes.rows.insert((part, key), Some(b"Last1".to_vec()));
    }
    assert!(!writes.rows.is_empty());
    let claim = models.claim(org, lane.id).await.unwrap().unwrap();
    assert!(claim.commit(writes, &Step { seq: lane.seq, hash: lane.hash, parked: None }).await.unwrap());
    engine.store.close().await;
}

/// What a projection cannot go on with in one organisation keeps nobody else waiting, and a rebuild mends it.
fn what_stands_keeps_nine_others_going(on: On) {
    let muster = Muster::new(on);
    let slugs: Vec<String> = (0..10).map(|n| format!("org-{n}")).collect();
    let sync = |slug: &str, department: &str| {
        let file = muster.file("people.csv", &feed(0..5, department));
        muster.ok(&["sync", &file, "--org", slug, "--mode", "full"]);
    };
    for slug in &slugs {
        muster.ok(&["org", "create", slug, "--name", slug]);
        muster.ok(&["org", "set", slug, "guard.first_import=off", "policy.upload=apply"]);
        sync(slug, "Before");
        muster.ok(&["members", "search", "--org", slug]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(damage(&muster, "org-3"));
    let served = Served::start(&muster, &[]);
    slugs.iter().for_each(|slug| sync(slug, "After"));
    let directory = |slug: &str| -> Value {
        let standings = muster.ok(&["projections", "status", "--org", slug])["projections"].clone();
        standings.as_array().unwrap().iter().find(|s| s["projection"] == "directory").unwrap().clone()
    };
    for slug in &slugs {
        let stands = slug == "org-3";
        until(slug, || {
            let standing = directory(slug);
            (standing["lag_events"] == 0) != stands && standing["parked"].is_object() == stands
        });
    }
    let parked = directory("org-3")["parked"].clone();
    assert_eq!(parked["kind"], "change_set.applied");
    assert_eq!(parked["error"], "stored data is damaged", "nothing of what stands there");
    assert_eq!(served.metric(r#"muster_projection_parked_lanes{projection="directory"}"#), 1.0);
    let tried = muster.run(&["projections", "unpark", "--org", "org-3"]);
    assert_eq!((tried.code, &tried.json["tried"]), (Some(3), &1.into()), "it stands there still: {}", tried.stderr);
    assert_eq!(muster.ok(&["projections", "unpark", "--org", "org-4"])["tried"], 0);
    muster.ok(&["projections", "rebuild", "directory", "--org", "org-3"]);
    assert_eq!(muster.ok(&["members", "search", "after", "--org", "org-3"])["total"], 5);
    until("nothing parked", || served.metric(r#"muster_projection_parked_lanes{projection="directory"}"#) == 0.0);
    assert!(served.end().success());
    muster.is_whole();
}

#[test]
fn what_stands_in_one_organisation_keeps_nine_others_going_on_sqlite() {
    what_stands_keeps_nine_others_going(On::Sqlite);
}

#[test]
fn what_stands_in_one_organisation_keeps_nine_others_going_on_postgres() {
    what_stands_keeps_nine_others_going(On::Postgres);
}

#[test]
fn people_are_told_where_something_stands() {
    let muster = Muster::new(On::Sqlite);
    let in_words = || {
        let mut command = Command::new(binary());
        command.args(["--no-progress", "--database", &muster.database, "--data-dir"]).arg(muster.dir.path());
        let words = command.args(["activity", "--org", "acme"]).output().unwrap();
        String::from_utf8(words.stdout).unwrap()
    };
    muster.sync_people("Before");
    assert!(!in_words().contains("This reflects"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = Engine::open(&muster.database, muster.dir.path(), "test").await.unwrap();
        let acme = engine.organisation("acme").await.unwrap().row.id;
        let unknown = NewEvent {
            id: Uuid::now_v7(),
            stream: "organisation".into(),
            expected_version: None,
            kind: "test.happened".into(),
            schema: 1,
            data: RawValue::from_string("{}".into()).unwrap(),
            body: None,
        };
        let mut tx = engine.store.begin(acme, None).await.unwrap();
        tx.append(vec![unknown], &engine.who(Uuid::now_v7())).await.unwrap();
        tx.commit().await.unwrap();
        engine.store.close().await;
    });
    let words = in_words();
    assert!(words.contains("This reflects event "), "{words}");
    assert!(words.contains("`muster projections status`"), "{words}");
}

/// A restored database is read as it is, and not as the one was that stood in its place.
#[test]
fn after_a_restore_nothing_is_read_of_what_was_there_before() {
    let muster = Muster::new(On::Sqlite);
    muster.sync_people("Before");
    let backup = muster.dir.path().join("backup.tar").display().to_string();
    muster.ok(&["backup", &backup]);
    let find = |text: &str| muster.ok(&["members", "search", text, "--org", "acme"]);
    let before = find("before");
    muster.sync_people("After");
    assert_eq!(find("after")["total"], 20);
    muster.ok(&["restore", &backup, "--replace"]);
    assert_eq!((&find("after")["total"], find("before")), (&0.into(), before));
    // As long a log as before, which says something else.
    muster.sync_people("Otherwise");
    assert_eq!((&find("after")["total"], &find("otherwise")["total"]), (&0.into(), &20.into()));
    muster.is_whole();
}

/// Killed between the checkpoint and the acknowledgement, the projector's bell comes again to the next one.
#[test]
fn a_projector_killed_before_it_acknowledges_hands_over() {
    let broker = Broker::start().unwrap();
    let muster = Muster::new(On::Postgres);
    let prefix = format!("t{}", uuid::Uuid::new_v4().simple());
    let more = ["--amqp", broker.url(), "--amqp-prefix", &prefix];
    let mut first = Served::begin(&muster, &more, |command| {
        command.env("MUSTER_CRASH_AT", "projector_before_ack");
    });
    muster.sync_people("Next");
    assert!(!first.ended().success());
    let served = Served::start(&muster, &more);
    muster.projected();
    assert!(served.end().success());
    muster.is_whole();
}
