//! The demo: the first thing that a person runs, and may run again.

use crate::support::Place;

#[test]
fn the_demo_shows_an_import_a_nightly_feed_and_a_held_one() {
    let place = Place::new();
    let said = place.expect(0, "demo");
    for part in
        ["304 added", "3 added, 6 updated, 2 removed, 296 unchanged", "Held", "min_rows", "305 people", "Try next"]
    {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert!(place.path().join("muster-data/muster.db").exists());
}

#[test]
fn run_twice_it_neither_fails_nor_duplicates() {
    let place = Place::new();
    let first = place.json(0, "demo --no-serve");
    let second = place.json(0, "demo --no-serve");
    assert_eq!((&first["already_there"], &second["already_there"]), (&false.into(), &true.into()));
    for (a, b) in first["steps"].as_array().into_iter().flatten().zip(second["steps"].as_array().into_iter().flatten())
    {
        for name in ["upload_id", "change_set_id", "state", "counts", "holds"] {
            assert_eq!(a["report"][name], b["report"][name]);
        }
    }
    let states: Vec<_> = (0..3).map(|i| second["steps"][i]["report"]["state"].clone()).collect();
    assert_eq!(states, ["applied", "applied", "held"]);
    assert_eq!(place.json(0, "feeds show main --org demo")["claims"], 305);
    assert!(place.expect(0, "demo").contains("made before"));
}

#[test]
fn a_demo_that_was_cut_short_goes_on() {
    let place = Place::new();
    let cut = place.command("demo").env("MUSTER_CRASH_AT", "received").output().expect("muster runs");
    // In a release build there are no crash points, and the demo is simply whole.
    assert!(!cut.status.success() || !cfg!(debug_assertions));
    place.expect(0, "demo");
    assert_eq!(place.json(0, "feeds show main --org demo")["claims"], 305);
}

#[test]
fn somebody_elses_organisation_is_left_alone() {
    let place = Place::new();
    place.expect(0, "org create demo --name Mine");
    let error = place.json(1, "demo");
    assert_eq!(error["error"]["kind"], "conflict");
    assert_eq!(place.json(0, "feeds show main --org demo")["claims"], 0);
}
