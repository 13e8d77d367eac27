//! Killed half way: the same command again gives the same roster as if nothing had happened.

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use muster_testkit::postgres::Server;

use crate::muster::{Muster, On, difference, feed};

/// Points of `sync`, in order.
const SYNC: [&str; 8] =
    ["payload", "received", "worked_out", "written", "computed", "before_commit", "after_commit", "chunk"];
const REVIEW: [&str; 2] = ["approve_before_commit", "approve_after_commit"];
const FIRST: [&str; 2] = ["first_before_commit", "first_after_commit"];
const HAND: [&str; 2] = ["hand_before_commit", "hand_after_commit"];

/// What a nightly sync, a review and an undo lead to when nothing goes wrong.
struct Expected {
    synced: String,
    undone: String,
}

const SYNCED: &[&str] = &["--org", "acme", "--mode", "full", "--channel", "api"];

fn sync<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["sync", file], SYNCED, more].concat()
}

fn begin(on: On, people: u32) -> (Muster, String) {
    let muster = Muster::new(on);
    let first = muster.file("first.csv", &feed(0..people, "Sales"));
    muster.ok(&sync(&first, &[]));
    let next = muster.file("next.csv", &feed(people / 20..people + people / 20, "Service"));
    (muster, next)
}

fn expected(on: On) -> Expected {
    let (muster, next) = begin(on, 100);
    let report = muster.ok(&sync(&next, &[]));
    let synced = muster.roster();
    let id = report["change_set_id"].as_str().unwrap().to_owned();
    muster.ok(&["changes", "undo", &id, "--org", "acme"]);
    Expected { synced, undone: muster.roster() }
}

fn survives_named_points(on: On) {
    let expected = expected(on);
    for point in SYNC.iter().filter(|p| **p != "chunk") {
        let (muster, next) = begin(on, 100);
        let died = muster.dying_at(point, &sync(&next, &[]));
        assert_eq!(died.code, None, "{point}: {} {}", died.json, died.stderr);
        muster.verify();
        muster.ok(&sync(&next, &[]));
        assert_eq!(difference(&muster.roster(), &expected.synced), None, "{point}");
        muster.verify();
    }
    for point in REVIEW {
        let (muster, next) = begin(on, 100);
        assert_eq!(muster.run(&sync(&next, &["--hold"])).code, Some(3));
        let approve = ["changes", "approve", "--org", "acme"];
        assert_eq!(muster.dying_at(point, &approve).code, None, "{point}");
        muster.verify();
        let again = muster.run(&approve);
        // Once it is committed there is nothing left to approve.
        assert!(again.code == Some(0) || point.contains("after"), "{point}: {} {}", again.json, again.stderr);
        assert_eq!(difference(&muster.roster(), &expected.synced), None, "{point}");
        muster.verify();
    }
    for point in FIRST {
        let (muster, next) = begin(on, 100);
        muster.ok(&["org", "set", "acme", "review.second_approver=always"]);
        assert_eq!(muster.run(&sync(&next, &["--hold"])).code, Some(3));
        let approve = ["changes", "approve", "--org", "acme"];
        assert_eq!(muster.dying_at(point, &approve).code, None, "{point}");
        muster.verify();
        let again = muster.run(&approve);
        // Once it is committed, the same person cannot give it a second time.
        let code = if point.contains("after") { Some(2) } else { Some(3) };
        assert_eq!(again.code, code, "{point}: {} {}", again.json, again.stderr);
        // Whoever runs this is somebody else.
        muster.says(&approve);
        assert_eq!(difference(&muster.roster(), &expected.synced), None, "{point}");
        muster.verify();
    }
    for point in HAND {
        let (muster, next) = begin(on, 100);
        let report = muster.ok(&sync(&next, &[]));
        let undo = ["changes", "undo", report["change_set_id"].as_str().unwrap(), "--org", "acme"];
        assert_eq!(muster.dying_at(point, &undo).code, None, "{point}");
        muster.verify();
        muster.run(&undo);
        assert_eq!(difference(&muster.roster(), &expected.undone), None, "{point}");
        muster.verify();
    }
}

#[test]
fn a_kill_at_any_named_point_changes_nothing_on_sqlite() {
    survives_named_points(On::Sqlite);
}

#[test]
fn a_kill_at_any_named_point_changes_nothing_on_postgres() {
    survives_named_points(On::Postgres);
}

/// More than fifty chunks are recorded ahead of the rest; a kill between them leaves them inert.
fn survives_a_kill_between_chunks(on: On) {
    let muster = Muster::new(on);
    let first = muster.file("first.csv", &feed(0..60_000, "Sales"));
    assert_eq!(muster.dying_at("chunk", &sync(&first, &[])).code, None);
    muster.verify();
    let report = muster.ok(&sync(&first, &[]));
    assert_eq!(muster.roster().lines().count(), 60_000, "{report}");
    muster.verify();
}

#[test]
fn a_kill_between_chunks_leaves_them_inert_on_sqlite() {
    survives_a_kill_between_chunks(On::Sqlite);
}

#[test]
fn a_kill_between_chunks_leaves_them_inert_on_postgres() {
    survives_a_kill_between_chunks(On::Postgres);
}

/// Kills at moments spread over the time that the command takes: each test run tries others, since no two take as long.
fn survives_random_moments(on: On, moments: u32) {
    let (muster, _) = begin(on, 2_000);
    let whole = {
        let warm = muster.file("warm.csv", &feed(0..2_000, "Warm"));
        let started = Instant::now();
        muster.ok(&sync(&warm, &[]));
        started.elapsed()
    };
    for moment in 0..moments {
        let department = format!("Team {moment}");
        let next = muster.file("next.csv", &feed(moment..2_000 + moment, &department));
        let mut child = muster.command(&sync(&next, &[])).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(whole.mul_f64(f64::from(moment) / f64::from(moments)).min(Duration::from_secs(5)));
        child.kill().unwrap();
        child.wait().unwrap();
        muster.ok(&sync(&next, &[]));
        let roster = muster.roster();
        assert_eq!(roster.lines().count(), 2_000, "moment {moment}");
        assert_eq!(roster.matches(&department).count(), 2_000, "moment {moment}");
        if moment % 5 == 4 {
            muster.verify();
        }
    }
    muster.verify();
}

#[test]
fn kills_at_fifty_moments_lose_nothing_on_sqlite() {
    survives_random_moments(On::Sqlite, 50);
}

#[test]
fn kills_at_fifty_moments_lose_nothing_on_postgres() {
    survives_random_moments(On::Postgres, 50);
}

#[test]
fn a_crash_of_the_database_takes_nothing_but_a_cache() {
    let server = Server::start().unwrap();
    let muster = Muster::on_server(&server);
    let first = muster.file("first.csv", &feed(0..100, "Sales"));
    muster.ok(&sync(&first, &[]));
    server.crash().unwrap();
    server.start_again().unwrap();
    assert_eq!(muster.ok(&sync(&first, &["--idempotency-key", "again"]))["state"], "no_changes");
    let next = muster.file("next.csv", &feed(5..105, "Service"));
    let counts = muster.ok(&sync(&next, &[]))["counts"].clone();
    assert_eq!((&counts["added"], &counts["updated"], &counts["removed"]), (&5.into(), &95.into(), &5.into()));
    muster.verify();
}
