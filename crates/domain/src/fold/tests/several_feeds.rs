//! Several feeds with one member: which one is followed.

use super::*;

/// `main` says Sales, payroll says Legal and is not followed.
fn two() -> Story {
    let mut ann = Story::of_main(&[SALES, BONN]);
    ann.later(1).says(PAYROLL, "E1", &[LEGAL, BONN]);
    ann
}

#[test]
fn the_earliest_claim_is_followed() {
    let mut ann = two();
    assert_eq!(ann.get(FieldId::DEPARTMENT), Some("Sales"));
    assert_eq!(ann.says(PAYROLL, "E1", &[LEGAL, BONN]), Heard::Suppressed);
    assert_eq!(ann.says(MAIN, "E1", &[SALES, BONN]), Heard::Nothing);
}

#[test]
fn the_highest_priority_is_followed_whoever_came_first() {
    let mut ann = Story { priorities: vec![(PAYROLL, 1)], ..Story::of_main(&[SALES]) };
    assert_eq!(ann.says(PAYROLL, "E1", &[LEGAL]).kind(), Some(Kind::Update));
    assert_eq!(ann.member().last_said(MAIN, FieldId::DEPARTMENT), Some("Sales"));
    assert_eq!(ann.says(MAIN, "E1", &[SALES]), Heard::Suppressed);
    assert_eq!(ann.says(MAIN, "E1", &[R_AND_D]).kind(), Some(Kind::Say));
    assert_eq!(ann.get(FieldId::DEPARTMENT), Some("Legal"));
}

#[test]
fn when_a_claim_lapses_the_next_feeds_last_words_count() {
    let mut ann = two();
    assert_eq!(ann.leaves(MAIN).kind(), Some(Kind::Update));
    assert_eq!((ann.get(FieldId::DEPARTMENT), ann.get(FieldId::LOCATION)), (Some("Legal"), Some("Bonn")));
    assert_eq!(ann.member().words, []);
    assert_eq!(ann.says(PAYROLL, "E1", &[LEGAL, BONN]), Heard::Nothing);
}

#[test]
fn a_third_feeds_words_are_kept_when_the_roster_turns_to_the_next() {
    let third = FeedNo(3);
    let mut ann = two();
    ann.says(third, "E1", &[SALES, BONN]);
    ann.leaves(MAIN);
    assert_eq!(ann.get(FieldId::DEPARTMENT), Some("Legal"));
    assert_eq!(ann.member().last_said(third, FieldId::DEPARTMENT), Some("Sales"));
    ann.leaves(PAYROLL);
    assert_eq!(ann.get(FieldId::DEPARTMENT), Some("Sales"));
}

#[test]
fn a_lapsed_feeds_words_are_forgotten() {
    let mut ann = two();
    ann.leaves(PAYROLL);
    assert_eq!((ann.member().words.len(), ann.get(FieldId::DEPARTMENT)), (0, Some("Sales")));
}

#[test]
fn a_pin_outlasts_the_lapse_of_the_feed_that_was_followed() {
    let mut ann = two();
    ann.says(FeedNo::HAND, "E1", &[R_AND_D]);
    ann.leaves(MAIN);
    assert_eq!(ann.get(FieldId::DEPARTMENT), Some("R&D"), "payroll has not changed its mind");
    assert_eq!(ann.says(PAYROLL, "E1", &[LEGAL, BONN]), Heard::Suppressed);
}

#[test]
fn a_pin_that_a_feed_has_replaced_binds_no_other_feed() {
    let mut ann = two();
    ann.says(FeedNo::HAND, "E1", &[R_AND_D]);
    assert_eq!(ann.says(MAIN, "E1", &[(FieldId::DEPARTMENT, "Press"), BONN]).kind(), Some(Kind::Update));
    ann.leaves(MAIN);
    assert_eq!(ann.get(FieldId::DEPARTMENT), Some("Legal"));
}

#[test]
fn rejecting_a_release_with_new_values_keeps_claim_and_values() {
    let mut ann = two();
    let proposed = ann.misses(MAIN);
    ann.reject(MAIN, &proposed);
    assert_eq!((ann.get(FieldId::DEPARTMENT), ann.misses(MAIN)), (Some("Sales"), Heard::Suppressed));
    assert!(ann.member().is_claimed_by(MAIN));
}

#[test]
fn a_feed_without_a_column_has_no_word_on_the_field_when_another_lapses() {
    let mut ann = Story::of_main(&[SALES, BONN]);
    ann.says(PAYROLL, "E1", &[(FieldId::LOCATION, "Kiel")]);
    ann.says(MAIN, "E1", &[LEGAL, BONN]);
    ann.speaks = vec![(PAYROLL, [FieldId::LOCATION].into_iter().collect())];
    ann.leaves(MAIN);
    assert_eq!((ann.get(FieldId::DEPARTMENT), ann.get(FieldId::LOCATION)), (Some("Legal"), Some("Kiel")));
}
