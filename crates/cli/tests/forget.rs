//! Forgetting and retention, as a person does it with the binary.

use crate::support::Place;

fn demo() -> Place {
    let place = Place::new();
    place.expect(0, "demo --no-serve");
    place
}

#[test]
fn somebody_is_forgotten_once_it_was_looked_at_and_said_yes_to() {
    let place = demo();
    let tried = place.json(0, "forget FH01637 --org demo --dry-run");
    assert_eq!((&tried["state"], &tried["was"], &tried["members"]), (&"dry_run".into(), &"listed".into(), &1.into()));
    let asked = place.json(2, "forget FH01637 --org demo");
    assert_eq!(asked["error"]["kind"], "wrong_use");
    assert!(asked["error"]["message"].as_str().is_some_and(|m| m.contains("--yes")), "{asked}");
    let said = place.expect(0, "forget FH01637 --org demo --yes");
    for part in ["Forgotten:", "The person is on the roster.", "members", "originals", "blocked", "roster version 3"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    let again = place.json(0, "forget FH01637 --org demo --yes");
    assert_eq!(
        (&again["state"], &again["lines"], &again["swept"]),
        (&"already_forgotten".into(), &0.into(), &true.into())
    );
    assert_eq!(place.json(0, "eligibility FH01637 --org demo")["reason"], "never_listed");
    assert_eq!(place.json(2, "members show FH01637 --org demo")["error"]["kind"], "not_found");
    assert_eq!(place.json(2, "forget nobody --org demo --yes")["error"]["kind"], "not_found");
    assert_eq!(place.json(0, "verify")["clean"], true);
    let log = place.run("events export --org demo").stdout;
    std::fs::write(place.path().join("log.ndjson"), log).expect("a file");
    assert_eq!(place.json(0, "replay log.ndjson")["members"], 304);
}

#[test]
fn the_next_feed_says_that_somebody_in_it_was_forgotten_until_that_is_lifted() {
    let place = demo();
    let row = "Employee ID,First Name,Last Name,Work Email\nFH01637,A,B,someone@fernhill.example\n";
    place.file("next.csv", row);
    place.expect(0, "forget FH01637 --org demo --yes");
    let report = place.json(0, "sync next.csv --org demo --mode partial --channel api");
    assert_eq!((&report["counts"]["forgotten"], &report["state"]), (&1.into(), &"no_changes".into()), "{report}");
    let said = place.expect(0, "sync next.csv --org demo --mode partial --channel schedule");
    assert!(said.contains("1  is of somebody who was forgotten"), "{said}");
    let refused = place.json(2, "members add employee_id=FH01637 --org demo");
    assert!(refused["error"]["message"].as_str().is_some_and(|m| m.contains("muster forget --lift KEY")), "{refused}");
    assert_eq!(place.json(0, "forget FH01637 --org demo --lift")["state"], "lifted");
    assert_eq!(place.json(2, "forget FH01637 --org demo --lift")["error"]["kind"], "not_found");
    assert_eq!(place.json(0, "members add employee_id=FH01637 --org demo")["state"], "applied");
    assert_eq!(place.json(0, "verify")["clean"], true);
}

#[test]
fn retention_is_a_setting_and_a_run() {
    let place = demo();
    let run = place.json(0, "retention run --dry-run");
    let of = &run["organisations"][0];
    assert_eq!((&of["organisation"], &of["keep_days"], &of["destroyed"]), (&"demo".into(), &90.into(), &0.into()));
    place.expect(0, "org set demo payloads.keep_days=0");
    let said = place.expect(0, "retention run --org demo");
    assert!(said.contains("off"), "{said}");
    let wrong = place.json(2, "org set demo payloads.keep_days=never");
    assert!(wrong["error"]["message"].as_str().is_some_and(|m| m.contains("1 to 3650, or off")), "{wrong}");
    assert_eq!(place.json(2, "retention run --org nobody")["error"]["kind"], "not_found");
    assert_eq!(place.json(0, "verify")["clean"], true);
}

#[test]
fn a_change_set_says_that_its_original_is_gone_and_why() {
    let place = demo();
    let before = place.json(0, "changes list --org demo")["change_sets"].as_array().cloned().expect("change sets");
    let nightly = before[1]["change_set_id"].as_str().expect("an id");
    assert_eq!(place.json(0, &format!("changes show {nightly} --org demo"))["original"], "kept");
    place.expect(0, "forget FH01637 --org demo --yes");
    let shown = place.json(0, &format!("changes show {nightly} --org demo"));
    assert_eq!(shown["original"]["why"], "forgotten");
    let said = place.expect(0, &format!("changes show {nightly} --org demo"));
    assert!(
        said.contains("its original was destroyed on") && said.contains("because somebody in it was forgotten"),
        "{said}"
    );
}
