use serde_json::json;

use super::*;

fn four_thousand() -> Figures {
    Figures { claims_before: 4_000, rows: 4_000, rows_last: Some(4_000), ..Figures::default() }
}

fn judge(figures: &Figures) -> Vec<Hold> {
    Guards::judge(&Settings::default(), figures, Channel::Schedule)
}

fn judge_with(key: &str, value: &str, figures: &Figures) -> Vec<Hold> {
    Guards::judge(&Settings::default().with([(key, value)]).unwrap(), figures, Channel::Schedule)
}

fn names(holds: &[Hold]) -> Vec<&str> {
    holds.iter().map(|h| h.guard.as_str()).collect()
}

#[test]
fn a_quiet_payload_trips_nothing() {
    assert_eq!(judge(&four_thousand()), []);
    assert_eq!(judge(&Figures::default()), []);
}

#[test]
fn removals_trip_over_ten_per_cent_of_the_feeds_own_claims() {
    let at = Figures { removals: 400, ..four_thousand() };
    assert_eq!(judge(&at), []);
    let over = Figures { removals: 412, ..four_thousand() };
    let holds = judge(&over);
    assert_eq!(names(&holds), ["removals"]);
    assert_eq!((&holds[0].threshold, &holds[0].figure), (&json!(10), &json!(10.3)));
    assert_eq!(holds[0].detail, "412 of 4,000 people (10.3 %) would lose eligibility; the limit is 10 %.");
    assert_eq!(judge_with("guard.removals.max_percent", "off", &over), []);
}

#[test]
fn a_figure_never_reads_as_if_it_were_at_its_limit() {
    let holds = judge(&Figures { removals: 100_001, claims_before: 1_000_000, ..Figures::default() });
    assert_eq!(holds[0].figure, json!(10.0001));
}

#[test]
fn percentages_need_at_least_five_people() {
    let of_ten = |n| Figures {
        claims_before: 10,
        rows: 10 - n,
        rows_last: Some(10),
        removals: n,
        updates: n,
        key_changes: n,
        blanked: vec![Blanked { field: "department".into(), before: n, after: 0 }],
        ..Figures::default()
    };
    assert_eq!(judge_with("guard.updates.max_percent", "1", &of_ten(4)), []);
    let holds = judge_with("guard.updates.max_percent", "1", &of_ten(5));
    assert_eq!(names(&holds), ["removals", "updates", "min_rows", "blanked_field", "key_changes"]);
}

#[test]
fn removals_of_the_last_24_hours_add_up() {
    let figures = Figures { removals: 1, removals_24h: 400, ..four_thousand() };
    let holds = judge(&figures);
    assert_eq!(names(&holds), ["removals"]);
    assert!(holds[0].detail.contains("counting 400 of the last 24 hours"), "{}", holds[0].detail);
    assert_eq!(judge(&Figures { removals: 0, ..figures }), [], "a change set that removes nobody is not held for them");
}

#[test]
fn the_number_of_removals_is_limited_only_if_somebody_says_so() {
    let figures = Figures { removals: 3, ..four_thousand() };
    assert_eq!(judge(&figures), []);
    let holds = judge_with("guard.removals.max_count", "2", &figures);
    assert_eq!(names(&holds), ["removals_count"]);
    assert_eq!(holds[0].detail, "3 people would lose eligibility; the limit is 2.");
    assert_eq!(judge_with("guard.removals.max_count", "3", &figures), []);
}

#[test]
fn people_whom_the_feed_does_not_claim_are_all_of_them() {
    let holds = judge(&Figures { removals: 5, ..Figures::default() });
    assert_eq!(names(&holds), ["removals"]);
    assert_eq!(holds[0].figure, json!(100));
    assert_eq!(judge(&Figures { removals: 4, ..Figures::default() }), []);
}

#[test]
fn updates_pass_unless_a_limit_is_set() {
    let figures = Figures { updates: 4_000, ..four_thousand() };
    assert_eq!(judge(&figures), []);
    let holds = judge_with("guard.updates.max_percent", "50", &figures);
    assert_eq!(holds[0].detail, "4,000 of 4,000 people (100 %) would be updated; the limit is 50 %.");
}

#[test]
fn fewer_than_80_per_cent_of_last_times_rows_trip() {
    assert_eq!(judge(&Figures { rows: 3_200, ..four_thousand() }), []);
    let holds = judge(&Figures { rows: 3_199, ..four_thousand() });
    assert_eq!(names(&holds), ["min_rows"]);
    let detail = "The payload has 3,199 rows, last time it had 4,000: 79.98 %; at least 80 % are expected.";
    assert!(holds[0].detail.contains(&detail[..50]), "{}", holds[0].detail);
    assert_ne!(holds[0].figure, holds[0].threshold);
    assert_eq!(
        judge(&Figures { rows: 10, rows_last: None, ..four_thousand() }),
        [],
        "a partial payload is not measured"
    );
}

#[test]
fn a_payload_with_nobody_in_it_trips_however_small_the_organisation() {
    let figures = Figures { claims_before: 3, rows: 0, rows_last: Some(3), removals: 3, ..Figures::default() };
    assert_eq!(names(&judge(&figures)), ["min_rows"]);
    assert_eq!(judge_with("guard.min_rows_percent", "off", &figures), []);
}

#[test]
fn more_than_half_of_a_fields_values_blanked_trips_for_that_field() {
    let blanked = |field: &str, before, after| Blanked { field: field.into(), before, after };
    let figures = Figures {
        blanked: vec![
            blanked("email", 4_000, 2_000),
            blanked("department", 1_000, 400),
            blanked("location", 10, 4_000),
        ],
        ..four_thousand()
    };
    let holds = judge(&figures);
    assert_eq!(names(&holds), ["blanked_field"]);
    assert_eq!(holds[0].detail, "600 of 1,000 values of department (60 %) would become blank; the limit is 50 %.");
}

#[test]
fn more_than_five_per_cent_of_keys_changed_trips() {
    assert_eq!(judge(&Figures { key_changes: 200, ..four_thousand() }), []);
    let holds = judge(&Figures { key_changes: 201, ..four_thousand() });
    let detail = "The match key of 201 of 4,000 people (5.03 %) would change; the limit is 5 %.";
    assert_eq!((names(&holds), holds[0].detail.as_str()), (vec!["key_changes"], detail));
}

#[test]
fn the_first_import_waits_unless_switched_off() {
    let figures = Figures { first_import: true, rows: 4_000, ..Figures::default() };
    assert_eq!(names(&judge(&figures)), ["first_import"]);
    assert_eq!(judge_with("guard.first_import", "off", &figures), []);
}

#[test]
fn a_payload_that_is_not_whole_waits_and_says_why() {
    let why = vec!["ends inside a row".to_owned(), "has 9 rows where 10 were expected".to_owned()];
    let holds = judge(&Figures { incomplete: why, unproven_removals: 7, ..four_thousand() });
    assert_eq!(names(&holds), ["incomplete"]);
    assert_eq!(
        holds[0].detail,
        "The payload is not whole: it ends inside a row, and it has 9 rows where 10 were expected; \
         7 people are missing from it, which proves nothing."
    );
    assert_eq!(names(&judge(&Figures { unproven_removals: 1, ..four_thousand() })), ["incomplete"]);
}

#[test]
fn missing_exactly_the_tail_waits_from_two_people_on() {
    assert_eq!(judge(&Figures { tail_missing: Some(1), ..four_thousand() }), []);
    let figures = Figures { tail_missing: Some(2), unproven_removals: 2, ..four_thousand() };
    assert_eq!(names(&judge(&figures)), ["tail_missing"]);
}

#[test]
fn missing_columns_wait_by_name() {
    let holds = judge(&Figures { missing_columns: vec!["Dept".into(), "Site".into()], ..four_thousand() });
    assert_eq!(holds[0].detail, "The columns Dept, Site are missing, which were there last time.");
    assert_eq!((names(&holds), &holds[0].figure), (vec!["missing_columns"], &json!(2)));
}

#[test]
fn invalid_rows_hold_where_the_setting_says_hold() {
    let figures = Figures { invalid_rows: 3, ..four_thousand() };
    let by = |channel| Guards::judge(&Settings::default(), &figures, channel);
    assert_eq!(names(&by(Channel::Upload)), ["invalid_rows"]);
    assert_eq!(by(Channel::Schedule), []);
    assert_eq!(names(&judge_with("invalid_rows", "hold", &figures)), ["invalid_rows"]);
}

#[test]
fn doubtful_identity_and_repeated_removals_wait_from_the_first_case_on() {
    let one = Figures { possible_same_person: 1, possible_other_person: 1, ask_again: 1, ..four_thousand() };
    assert_eq!(names(&judge(&one)), ["possible_same_person", "possible_other_person", "ask_again"]);
}

#[test]
fn every_guard_is_named_and_every_detail_is_one_sentence() {
    let all = Figures {
        removals: 2_000,
        removals_24h: 1,
        updates: 2_000,
        rows: 2_000,
        key_changes: 2_000,
        blanked: vec![Blanked { field: "email".into(), before: 10, after: 0 }],
        first_import: true,
        incomplete: vec!["ends inside a row".into()],
        tail_missing: Some(9),
        missing_columns: vec!["Dept".into()],
        invalid_rows: 1,
        unproven_removals: 1,
        possible_same_person: 2,
        possible_other_person: 2,
        ask_again: 2,
        ..four_thousand()
    };
    let settings = [("guard.removals.max_count", "1"), ("guard.updates.max_percent", "1")];
    let holds = Guards::judge(&Settings::default().with(settings).unwrap(), &all, Channel::Upload);
    assert_eq!(names(&holds), NAMES);
    for hold in &holds {
        assert!(hold.detail.ends_with('.') && !hold.detail.trim_end_matches('.').contains(". "), "{}", hold.detail);
    }
    let json = serde_json::to_string(&(&all, &holds)).unwrap();
    assert_eq!(serde_json::from_str::<(Figures, Vec<Hold>)>(&json).unwrap(), (all, holds));
}

#[test]
fn asking_to_apply_lifts_policy_and_never_a_guard() {
    let trip = [hold("removals", 10, 12, String::new())];
    assert_eq!(decide(Policy::Hold, None, &[], OnTrip::HoldAll), Decision::Hold);
    assert_eq!(decide(Policy::Apply, None, &[], OnTrip::HoldAll), Decision::Apply);
    assert_eq!(decide(Policy::Hold, Some(Asked::Apply), &[], OnTrip::HoldAll), Decision::Apply);
    for policy in [Policy::Hold, Policy::Apply] {
        assert_eq!(decide(policy, Some(Asked::Apply), &trip, OnTrip::HoldAll), Decision::Hold);
    }
}

#[test]
fn asking_to_hold_always_holds() {
    for on_trip in [OnTrip::HoldAll, OnTrip::HoldRemovals] {
        assert_eq!(decide(Policy::Apply, Some(Asked::Hold), &[], on_trip), Decision::Hold);
    }
}

#[test]
fn with_hold_removals_the_rest_goes_on() {
    let trip = [hold("removals", 10, 12, String::new())];
    assert_eq!(decide(Policy::Apply, None, &trip, OnTrip::HoldRemovals), Decision::ApplyAllButRemovals);
    assert_eq!(decide(Policy::Apply, None, &[], OnTrip::HoldRemovals), Decision::Apply);
    assert_eq!(decide(Policy::Hold, None, &trip, OnTrip::HoldRemovals), Decision::Hold);
}

#[test]
fn with_hold_removals_all_waits_if_it_is_the_rest_that_is_doubted() {
    for guard in
        ["first_import", "updates", "blanked_field", "key_changes", "possible_same_person", "possible_other_person"]
    {
        let trips = [hold("removals", 10, 12, String::new()), hold(guard, 0, 1, String::new())];
        assert_eq!(decide(Policy::Apply, None, &trips, OnTrip::HoldRemovals), Decision::Hold, "{guard}");
    }
}
