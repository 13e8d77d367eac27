//! A reviewer takes part of a night and leaves the rest, on both databases.

use crate::muster::{Muster, On, feed};

/// Forty people, of whom a night moves one to another place, brings one and misses one; and waits.
fn a_night_that_waits(on: On) -> (Muster, String) {
    let muster = Muster::new(on);
    let file = muster.file("all.csv", &feed(0..40, "Sales"));
    muster.ok(&["sync", &file, "--org", "acme", "--mode", "full"]);
    let moved = feed(0..42, "Sales").replace(
        "E0001,First1,Last1,p1@example.com,1911-01-02,Sales",
        "E0001,Zoe,Last1,p1@example.com,1911-01-02,Legal",
    );
    let night: Vec<&str> = moved.lines().filter(|l| !l.starts_with("E0003,") && !l.starts_with("E0040,")).collect();
    let file = muster.file("night.csv", &(night.join("\n") + "\n"));
    let ran = muster.run(&["sync", &file, "--org", "acme", "--mode", "full", "--hold"]);
    assert_eq!((ran.code, &ran.json["counts"]["removed"]), (Some(3), &1.into()), "{}", ran.json);
    (muster, file)
}

fn field(muster: &Muster, key: &str, name: &str) -> serde_json::Value {
    muster.ok(&["members", "show", key, "--org", "acme"])["fields"][name].clone()
}

fn what_is_left_out_waits(on: On) {
    let (muster, _) = a_night_that_waits(on);
    let part =
        muster.run(&["changes", "approve", "--org", "acme", "--except-field", "department", "--except", "E0003"]);
    assert_eq!((part.code, &part.json["state"]), (Some(3), &"partly_applied".into()), "{}", part.json);
    muster.verify();
    assert_eq!(field(&muster, "E0041", "department"), serde_json::Value::Null);
    let shown = muster.ok(&["changes", "show", "--org", "acme"]);
    let digest = shown["digest"].as_str().unwrap().to_owned();
    muster.ok(&["members", "set", "E0003", "end_date=2099-12-31", "--org", "acme"]);
    let stale = muster.run(&["changes", "approve", "--org", "acme", "--digest", &digest]);
    assert_eq!(stale.code, Some(5), "the removal comes to something else by now: {}", stale.json);
    muster.verify();
    muster.ok(&["changes", "approve", "--org", "acme"]);
    assert_eq!(
        (field(&muster, "E0041", "department"), field(&muster, "E0001", "department")),
        ("Sales".into(), "Legal".into())
    );
    let answer = muster.ok(&["eligibility", "E0003", "--org", "acme", "--on", "2099-12-31"]);
    assert_eq!(answer["eligible"], true, "{answer}");
    muster.verify();
}

fn what_is_rejected_with_the_rest_stays_out(on: On) {
    let (muster, night) = a_night_that_waits(on);
    let done = muster.ok(&[
        "changes", "approve", "--org", "acme", "--except-field", "department", "--except", "E0003", "--reject-rest",
    ]);
    assert_eq!(done["state"], "applied");
    muster.verify();
    assert_eq!(
        (field(&muster, "E0001", "department"), field(&muster, "E0001", "first_name")),
        ("Sales".into(), "Zoe".into())
    );
    let again = std::fs::read_to_string(&night).unwrap().replace("Last2,", "Lost2,");
    let again = muster.ok(&["sync", &muster.file("again.csv", &again), "--org", "acme", "--mode", "full"]);
    let counts = &again["counts"];
    assert_eq!(
        (&counts["updated"], &counts["suppressed"], &counts["removed"]),
        (&1.into(), &2.into(), &0.into()),
        "{again}"
    );
    muster.verify();
}

#[test]
fn what_is_left_out_waits_on_sqlite() {
    what_is_left_out_waits(On::Sqlite);
}

#[test]
fn what_is_left_out_waits_on_postgres() {
    what_is_left_out_waits(On::Postgres);
}

#[test]
fn what_is_rejected_with_the_rest_stays_out_on_sqlite() {
    what_is_rejected_with_the_rest_stays_out(On::Sqlite);
}

#[test]
fn what_is_rejected_with_the_rest_stays_out_on_postgres() {
    what_is_rejected_with_the_rest_stays_out(On::Postgres);
}
