//! One HR system takes over from another, or the match key changes: on both databases, and the log tells it.

use crate::muster::{Muster, On, feed};

fn a_handover_replays(on: On) {
    let muster = Muster::new(on);
    muster.ok(&["feeds", "create", "new", "--org", "acme", "--mode", "full"]);
    let file = muster.file("all.csv", &feed(0..40, "Sales"));
    muster.ok(&["sync", &file, "--org", "acme", "--mode", "full"]);
    muster.ok(&["members", "set", "E0002", "department=Board", "--org", "acme"]);
    let moved = muster.ok(&["feeds", "handover", "main", "new", "--org", "acme"]);
    assert_eq!(moved["claims"], 40);
    muster.verify();
    let file = muster.file("less.csv", &feed(2..40, "Sales"));
    let report = muster.ok(&["sync", &file, "--org", "acme", "--feed", "new"]);
    assert_eq!((&report["counts"]["removed"], &report["counts"]["suppressed"]), (&2.into(), &1.into()), "{report}");
    muster.verify();
    let log = muster.file("log.ndjson", &String::from_utf8(muster.log()).unwrap());
    assert_eq!(muster.ok(&["replay", &log])["members"], 38);
}

/// Killed half way, a handover has not happened or has: never in part. More than fifty chunks are recorded ahead.
fn a_killed_handover_is_whole_or_not(on: On) {
    let muster = Muster::new(on);
    muster.ok(&["feeds", "create", "new", "--org", "acme", "--mode", "full"]);
    let file = muster.file("all.csv", &feed(0..55_000, "Sales"));
    muster.ok(&["sync", &file, "--org", "acme", "--mode", "full"]);
    let handover = ["feeds", "handover", "main", "new", "--org", "acme"];
    let claims = |name| muster.ok(&["feeds", "show", name, "--org", "acme"])["claims"].clone();
    for (point, moved) in [("chunk", 0), ("hand_before_commit", 0), ("hand_after_commit", 55_000)] {
        assert_eq!(muster.dying_at(point, &handover).code, None, "{point}");
        muster.verify();
        assert_eq!(claims("new"), moved, "{point}");
    }
    assert_eq!(muster.ok(&handover)["claims"], 0, "nothing is left to hand over");
    assert_eq!(claims("main"), 0);
}

#[test]
fn a_killed_handover_is_whole_or_not_on_sqlite() {
    a_killed_handover_is_whole_or_not(On::Sqlite);
}

#[test]
fn a_killed_handover_is_whole_or_not_on_postgres() {
    a_killed_handover_is_whole_or_not(On::Postgres);
}

/// A new match key, and a change of who is eligible, on either database.
fn settings_change_who_is_who(on: On) {
    let muster = Muster::new(on);
    let file = muster.file("all.csv", &feed(0..40, "Sales"));
    muster.ok(&["sync", &file, "--org", "acme", "--mode", "full"]);
    let set = muster.ok(&["org", "set", "acme", "match_key=email"]);
    assert_eq!((&set["state"], &set["rekeyed"]), (&"set".into(), &40.into()));
    muster.verify();
    let file = muster.file("next.csv", &feed(0..41, "Sales"));
    let report = muster.ok(&["sync", &file, "--org", "acme", "--mode", "full"]);
    assert_eq!((&report["counts"]["unchanged"], &report["counts"]["added"]), (&40.into(), &1.into()), "{report}");
    let grace = muster.ok(&["org", "set", "acme", "eligibility.grace_days=30"]);
    assert_eq!((&grace["eligibility"]["eligible"], &grace["eligibility"]["stop"]), (&41.into(), &0.into()));
    muster.verify();
}

#[test]
fn settings_change_who_is_who_on_sqlite() {
    settings_change_who_is_who(On::Sqlite);
}

#[test]
fn settings_change_who_is_who_on_postgres() {
    settings_change_who_is_who(On::Postgres);
}

#[test]
fn claims_are_handed_over_on_sqlite() {
    a_handover_replays(On::Sqlite);
}

#[test]
fn claims_are_handed_over_on_postgres() {
    a_handover_replays(On::Postgres);
}
