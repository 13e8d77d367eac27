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
