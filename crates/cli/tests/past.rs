//! Two moments of a roster compared, and values traced to their rows, as a person does it with the binary.

use crate::support::Place;

fn demo() -> Place {
    let place = Place::new();
    place.expect(0, "demo --no-serve");
    place
}

#[test]
fn two_versions_are_compared() {
    let place = demo();
    let said = place.expect(0, "diff 1 2 --org demo");
    for part in ["from  roster version 1,", "+ FH01754  Kamal Moss", "~ FH01637", "Ellis → Castellano", " joined, "] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert!(place.expect(0, "diff now now --org demo --exit-code").ends_with("No difference.\n"));
    place.expect(3, "diff 1 2 --org demo --exit-code");
}

#[test]
fn a_comparison_is_one_document() {
    let place = demo();
    let all = place.json(0, "diff v1 --org demo");
    let people = all["people"].as_array().expect("people");
    let counted: u64 = ["joined", "left", "changed"].iter().map(|w| all["counts"][w].as_u64().expect("a count")).sum();
    assert_eq!((people.len() as u64, &all["to"]["roster_version"]), (counted, &2.into()));
    let one = place.json(0, "diff 1 2 --org demo --key fh01637 --field last_name");
    assert_eq!(one["people"].as_array().map(Vec::len), Some(1));
    assert_eq!(one["people"][0]["changes"]["last_name"], serde_json::json!({ "from": "Ellis", "to": "Castellano" }));
    let left = place.json(0, "diff 1 2 --org demo --only left");
    assert_eq!((&left["counts"]["joined"], &left["counts"]["left"]), (&0.into(), &all["counts"]["left"]));
    assert_eq!(left["people"][0]["what"], "left");
    let summary = place.json(0, "diff 1 2 --org demo --summary");
    assert_eq!((&summary["people"], &summary["counts"]), (&serde_json::json!([]), &all["counts"]));
    for line in ["diff 1 99 --org demo", "diff yesterday --org demo", "diff 1 2 --org demo --field shoe"] {
        assert!(place.json(2, line)["error"]["message"].as_str().is_some_and(|m| m.ends_with('.')), "{line}");
    }
}

#[test]
fn a_value_is_traced_to_its_row() {
    let place = demo();
    let said = place.expect(0, "blame FH01637 --org demo");
    let line = said.lines().find(|l| l.contains("last_name")).expect("a line");
    assert!(line.contains("nightly.csv:52") && line.ends_with("Castellano"), "{said}");
    assert!(said.lines().any(|l| l.contains("unique_id") && l.contains("first-import.csv:")), "{said}");
    let blame = place.json(0, "blame FH01637 --org demo --field last_name");
    assert_eq!((&blame["fields"][0]["before"], blame["fields"].as_array().map(Vec::len)), (&"Ellis".into(), Some(1)));
    let then = place.json(0, "blame FH01637 --org demo --roster-version 1 --field last_name");
    assert_eq!(then["fields"][0]["value"], "Ellis");
    assert_eq!(place.json(2, "blame nobody --org demo")["error"]["kind"], "not_found");
    place.json(2, "blame FH01754 --org demo --roster-version 1");
}
