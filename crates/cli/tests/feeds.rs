//! Feeds on the command line: handing over, and claims not renewed for long.

use crate::support::Place;

const PEOPLE: &str = "Employee ID,First Name\n1,Ann\n2,Bo\n3,Cy\n";

fn acme() -> Place {
    let place = Place::new();
    place.file("people.csv", PEOPLE);
    place.expect(0, "org create acme --name Acme");
    place.expect(0, "org set acme guard.first_import=off policy.upload=apply");
    place.expect(0, "feeds create new --org acme --mode full");
    place.expect(0, "sync people.csv --org acme --mode full");
    place
}

#[test]
fn claims_are_handed_over() {
    let place = acme();
    let moved = place.json(0, "feeds handover main new --org acme");
    assert_eq!((&moved["claims"], &moved["updated"]), (&3.into(), &0.into()));
    assert_eq!(place.json(0, "feeds show new --org acme")["claims"], 3);
    place.file("two.csv", "Employee ID,First Name\n1,Ann\n2,Bo\n");
    assert_eq!(place.json(0, "sync two.csv --org acme --feed new")["counts"]["removed"], 1);
    place.expect(0, "verify --org acme");
    let log = place.expect(0, "events export --org acme");
    place.file("log.ndjson", &log);
    assert_eq!(place.json(0, "replay log.ndjson")["members"], 2);
}

#[test]
fn a_handover_is_told_and_can_be_taken_back() {
    let place = acme();
    let tried = place.expect(0, "feeds handover main new --org acme --dry-run");
    assert!(
        tried.starts_with("3 claims would pass from main to new.") && tried.contains("Nothing was changed"),
        "{tried}"
    );
    assert_eq!(place.json(0, "feeds show new --org acme")["claims"], 0);
    let said = place.expect(0, "feeds handover main new --org acme");
    assert!(said.starts_with("3 claims passed from main to new.") && said.contains("changes undo"), "{said}");
    assert!(place.expect(0, "feeds handover main new --org acme").contains("nothing to hand over"));
    assert!(place.expect(0, "changes list --org acme").contains("handover of 3: main to new"));
    for wrong in ["main main", "main nobody", "nobody main"] {
        let error = place.json(2, &format!("feeds handover {wrong} --org acme"));
        assert!(error["error"]["message"].as_str().is_some_and(|m| m.ends_with('.')), "{error}");
    }
}

#[test]
fn claims_that_no_payload_has_renewed_are_listed() {
    let place = acme();
    let shown = place.json(0, "feeds show main --org acme");
    assert_eq!((&shown["not_renewed"]["days"], &shown["not_renewed"]["count"]), (&30.into(), &0.into()));
    let shown = place.json(0, "feeds show main --org acme --stale-after 0");
    assert_eq!(shown["not_renewed"]["count"], 3);
    assert_eq!(shown["not_renewed_claims"][0]["key"], "1");
    let text = place.expect(0, "feeds show main --org acme --stale-after 0");
    assert!(text.contains("Claims not renewed for 0 days: 3"), "{text}");
    place.expect(2, "feeds show main --org acme --stale-after yesterday");
}

#[test]
fn a_feed_says_when_it_is_expected_and_how_it_stands() {
    let place = acme();
    let set = |words: [&str; 2]| {
        let mut command = place.command("feeds set main --org acme --json");
        serde_json::from_slice::<serde_json::Value>(&command.args(words).output().unwrap().stdout).unwrap()
    };
    let feed = set(["--expected", "30 2 * * 1-5"]);
    assert_eq!(feed["expected"]["schedule"], "30 2 * * 1-5");
    assert_eq!((&feed["expected"]["timezone"], &feed["expected"]["grace_minutes"]), (&"UTC".into(), &120.into()));
    assert!(feed["expected"]["next_run"].as_str().is_some_and(|t| t.ends_with("T02:30:00Z")), "{feed}");
    set(["--expected-timezone", "europe/berlin"]);
    let feed = set(["--expected-grace", "90m"])["expected"].clone();
    assert_eq!((&feed["timezone"], &feed["grace_minutes"]), (&"Europe/Berlin".into(), &90.into()));

    let shown = place.expect(0, "feeds show main --org acme");
    assert!(shown.contains("30 2 * * 1-5 (Europe/Berlin), up to 90m late") && shown.contains("next run"), "{shown}");
    let listed = place.expect(0, "feeds list --org acme");
    assert!(listed.contains("last run") && listed.contains("none yet"), "{listed}");
    let listed = place.json(0, "feeds list --org acme");
    assert_eq!((&listed["feeds"][0]["no"], &listed["feeds"][1]["expected"]), (&1.into(), &().into()));

    let checked = place.json(0, "feeds check");
    let of_acme = &checked["organisations"][0];
    assert_eq!((&of_acme["slug"], &of_acme["feeds"][0]["overdue"]), (&"acme".into(), &().into()));
    assert!(place.expect(0, "feeds check --org acme").starts_with("acme/main is in time; its next run is "));

    assert_eq!(set(["--expected", ""])["expected"], serde_json::Value::Null);
    assert_eq!(place.expect(0, "feeds check --org acme"), "");
}

#[test]
fn what_is_no_schedule_is_one_sentence_and_changes_nothing() {
    let place = acme();
    for (words, said) in [
        (["--expected", "30 2 * *"], "is no schedule: write five fields"),
        (["--expected", "0 0 30 2 *"], "never happens"),
        (["--expected", "0 25 * * *"], "the hour `25` cannot be read"),
        (["--expected-timezone", "Mars/Base"], "is no time zone"),
        (["--expected-grace", "soon"], "is no grace"),
        (["--expected-grace", "2h"], "needs a schedule"),
    ] {
        let output = place.command("feeds set main --org acme --json").args(words).output().unwrap();
        let error: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(error["error"]["message"].as_str().is_some_and(|m| m.contains(said) && m.ends_with('.')), "{error}");
    }
    assert_eq!(place.json(0, "feeds show main --org acme")["expected"], serde_json::Value::Null);
}
