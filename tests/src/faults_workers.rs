//! Uploads come through whatever happens to the processes that serve, and to the database, and so does what is projected of them.

use std::time::Duration;

use muster_testkit::{postgres::Server, rabbitmq::address};

use crate::{
    faults_broker::all_applied,
    muster::{Muster, On, feed},
    served::{Served, prefix, until, within_at_most},
};

const WORKER: [&str; 5] = ["leased", "computed", "before_commit", "after_commit", "worker_before_ack"];
const RELAY: [&str; 2] = ["relay_before_confirm", "relay_before_mark"];

/// Kills a process at each point, and lets another go on.
fn killed_at_named_points(on: On, points: &[&str], more: &[&str]) {
    let muster = Muster::new(on);
    let mut taken = 0;
    for point in points {
        let mut dying = Served::begin(&muster, more, |command| {
            command.env("MUSTER_CRASH_AT", point);
        });
        for _ in 0..2 {
            taken += 1;
            muster.take_in(&format!("Team {taken}"));
        }
        assert!(!dying.ended().success(), "{point}");
        let other = Served::start(&muster, more);
        all_applied(&muster, taken);
        assert!(other.end().success(), "{point}");
    }
}

#[test]
fn a_worker_killed_at_any_named_point_hands_over_on_sqlite() {
    killed_at_named_points(On::Sqlite, &WORKER, &[]);
}

#[test]
fn worker_and_relay_killed_at_any_named_point_hand_over_on_postgres_with_a_broker() {
    let (url, prefix) = (address().unwrap(), prefix());
    let points = [&WORKER[..], &RELAY].concat();
    killed_at_named_points(On::Postgres, &points, &["--amqp", &url, "--amqp-prefix", &prefix]);
}

/// Kills at moments spread over the work: each run tries others, since no two take as long.
fn killed_at_random(on: On, more: &[&str]) {
    let muster = Muster::new(on);
    let other = (on == On::Postgres).then(|| Served::start(&muster, more));
    for n in 0..12 {
        let served = Served::start(&muster, more);
        muster.take_in(&format!("Team {n}"));
        std::thread::sleep(Duration::from_millis(n * 17 % 130));
        served.kill();
    }
    let last = Served::start(&muster, more);
    all_applied(&muster, 12);
    for served in other.into_iter().chain([last]) {
        assert!(served.end().success());
    }
}

#[test]
fn processes_killed_at_any_moment_lose_nothing_on_sqlite() {
    killed_at_random(On::Sqlite, &[]);
}

#[test]
fn processes_killed_at_any_moment_lose_nothing_on_postgres_with_a_broker() {
    let (url, prefix) = (address().unwrap(), prefix());
    killed_at_random(On::Postgres, &["--amqp", &url, "--amqp-prefix", &prefix]);
}

/// A process that has the lease is killed, and another, which waits for it, takes the upload over within a time. Before
/// that, `meanwhile` may do something about the lease.
fn handed_over_within(limit: Duration, on: On, more: &[&str], meanwhile: impl FnOnce(&Muster)) {
    let muster = Muster::new(on);
    let holder = Served::begin(&muster, more, |command| {
        command.env("MUSTER_FREEZE_AT", "leased");
    });
    muster.take_in("One");
    until("the holder to be frozen", || holder.is_frozen());
    let other = Served::start(&muster, more);
    until("the other to wait for the lease", || other.metric("muster_lease_waits_total") > 0.0);
    meanwhile(&muster);
    holder.kill();
    within_at_most(limit, "another to take the upload over", || (muster.uploads("received") == 0).then_some(()));
    all_applied(&muster, 1);
    assert!(other.end().success());
}

/// On the same machine it can be seen that a process has died, and its lease, which holds for 15 seconds, is not waited for.
const SEEN_TO_DIE: Duration = Duration::from_secs(10);
/// On another machine the lease must lapse.
const LAPSED: Duration = Duration::from_secs(30);

#[test]
fn who_is_killed_hands_over_within_seconds_on_sqlite() {
    handed_over_within(SEEN_TO_DIE, On::Sqlite, &[], |_| {});
}

#[test]
fn who_is_killed_hands_over_within_seconds_on_postgres_with_a_broker() {
    let (url, prefix) = (address().unwrap(), prefix());
    handed_over_within(SEEN_TO_DIE, On::Postgres, &["--amqp", &url, "--amqp-prefix", &prefix], |_| {});
}

#[test]
fn who_is_killed_on_another_machine_hands_over_when_its_lease_lapses() {
    let (url, prefix) = (address().unwrap(), prefix());
    handed_over_within(LAPSED, On::Postgres, &["--amqp", &url, "--amqp-prefix", &prefix], |muster| {
        // Of a machine with another name nothing is known but what is in the database.
        let elsewhere = "UPDATE lease SET holder = 'elsewhere/' || holder";
        let mut psql = muster_testkit::postgres::program("psql").unwrap();
        let renamed = psql.args([&muster.database, "-c", elsewhere]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&renamed.stdout), "UPDATE 1\n");
    });
}

/// One is frozen while it has the lease; another takes over when its time is over; and the one that wakes does nothing.
fn frozen_past_its_lease(on: On, point: &str) {
    let muster = Muster::new(on);
    let frozen = Served::begin(&muster, &[], |command| {
        command.env("MUSTER_FREEZE_AT", point);
    });
    muster.take_in("One");
    until("the holder to be frozen", || frozen.is_frozen());
    let other = Served::start(&muster, &[]);
    muster.take_in("Two");
    muster.worked_off();
    assert!(frozen.is_frozen(), "it was frozen all the while");
    frozen.signal("CONT");
    until("the one that woke to find its lease lost", || frozen.metric("muster_upload_failures_total") > 0.0);
    all_applied(&muster, 2);
    assert!(other.end().success());
    frozen.kill();
    assert_eq!(muster.roster().matches("Two").count(), 20);
}

#[test]
fn a_lease_holder_frozen_past_its_lease_does_nothing_when_it_wakes_on_sqlite() {
    frozen_past_its_lease(On::Sqlite, "leased");
}

#[test]
fn a_lease_holder_frozen_past_its_lease_does_nothing_when_it_wakes_on_postgres() {
    frozen_past_its_lease(On::Postgres, "leased");
}

#[test]
fn a_lease_holder_frozen_in_a_transaction_keeps_nobody_for_ever_on_postgres() {
    frozen_past_its_lease(On::Postgres, "before_commit");
}

#[test]
fn a_database_stopped_and_started_in_the_middle_of_uploads_loses_none() {
    let server = Server::start().unwrap();
    let muster = Muster::on_server(&server);
    let served = [(); 2].map(|()| Served::start(&muster, &[]));
    let mut accepted = 0;
    for n in 0..30 {
        match n {
            10 => server.stop().unwrap(),
            14 => server.start_again().unwrap(),
            _ => {}
        }
        let file = muster.file("next.csv", &feed(0..20, &format!("Team {n}")));
        let ran = muster.run(&["sync", &file, "--org", "acme", "--mode", "full", "--no-wait"]);
        accepted += u64::from(ran.code == Some(0));
    }
    assert!((26..=30).contains(&accepted), "{accepted}");
    muster.worked_off();
    let received = String::from_utf8(muster.log()).unwrap().matches(r#""type":"upload.received""#).count() as u64;
    assert!(received >= accepted, "no upload that was accepted is missing");
    all_applied(&muster, received);
    for served in served {
        assert!(served.end().success());
    }
}
