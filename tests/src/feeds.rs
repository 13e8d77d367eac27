//! One HR system takes over from another: claims are handed over, on both databases, and the log tells it.

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

#[test]
fn claims_are_handed_over_on_sqlite() {
    a_handover_replays(On::Sqlite);
}

#[test]
fn claims_are_handed_over_on_postgres() {
    a_handover_replays(On::Postgres);
}
