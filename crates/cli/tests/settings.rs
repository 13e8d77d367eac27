//! Settings that change who is eligible: a preview, a guard, a number to confirm.

use crate::support::{Place, text};

/// Ten people, of whom six are retired.
fn acme() -> Place {
    let place = Place::new();
    let status = |n| if n <= 6 { "retired" } else { "active" };
    let rows: String = (1..=10).map(|n| format!("{n},Ann,{}\n", status(n))).collect();
    place.file("people.csv", &format!("Employee ID,First Name,Employment Status\n{rows}"));
    place.expect(0, "org create acme --name Acme");
    place.expect(0, "org set acme guard.first_import=off policy.upload=apply");
    place.expect(0, "sync people.csv --org acme --mode full");
    place
}

const CHANGE: &str = "org set acme eligibility.excluded_statuses=terminated,retired";

#[test]
fn who_would_stop_being_eligible_is_told_before_it_is_so() {
    let place = acme();
    let said = place.expect(0, &format!("{CHANGE} --dry-run"));
    assert!(said.contains("6 people would stop being so; 0 people would become eligible."), "{said}");
    assert!(said.contains("  - 3\n") && !said.contains("Ann"), "keys and nothing else: {said}");
    let dry = place.json(0, &format!("{CHANGE} --dry-run"));
    assert_eq!((&dry["state"], &dry["eligibility"]["stop"]), (&"dry_run".into(), &6.into()));
    assert_eq!(place.json(0, "eligibility 3 --org acme")["eligible"], true);
}

#[test]
fn past_the_guard_the_number_must_be_confirmed() {
    let place = acme();
    let refused = place.json(3, CHANGE);
    assert_eq!((&refused["state"], &refused["holds"][0]["figure"]), (&"refused".into(), &60.into()));
    assert_eq!((&refused["holds"][0]["threshold"], &refused["error"]["kind"]), (&10.into(), &"guarded".into()));
    place.expect(3, &format!("{CHANGE} --confirm-removals 5"));
    let error = text(&place.run(CHANGE).stderr);
    assert!(error.contains("the limit is 10 %. Add --confirm-removals 6 if that is right."), "{error}");
    let set = place.json(0, &format!("{CHANGE} --confirm-removals 6"));
    assert_eq!((&set["state"], &set["changed"][0]["after"]), (&"set".into(), &"terminated,retired".into()));
    assert_eq!(place.json(0, "eligibility 3 --org acme")["reason"], "excluded_status");
    place.expect(0, "verify --org acme");
}

#[test]
fn a_match_key_that_is_blank_for_somebody_is_refused() {
    let place = acme();
    let error = place.json(2, "org set acme match_key=email");
    assert!(error["error"]["message"].as_str().is_some_and(|m| m.contains("blank for 10 people")), "{error}");
}
