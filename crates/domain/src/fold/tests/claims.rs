//! Claims: who is on the roster, since when and until when.

use super::*;

#[test]
fn a_member_leaves_when_the_last_claim_ends() {
    let mut ann = Story::of_main(&[SALES]);
    ann.later(1).says(PAYROLL, "E1", &[SALES]);
    assert_eq!(ann.later(1).leaves(MAIN).kind(), Some(Kind::Release));
    assert!(ann.member().is_listed());
    assert_eq!(ann.later(1).leaves(PAYROLL).kind(), Some(Kind::Remove));
    assert!(!ann.member().is_listed());
    assert_eq!(spells(&ann), [(MAIN, 0, Some(2)), (PAYROLL, 1, Some(3))]);
}

#[test]
fn whoever_comes_back_has_a_second_spell_and_the_same_identity() {
    let mut ann = Story::of_main(&[SALES]);
    let uuid = ann.member().uuid;
    ann.later(10).leaves(MAIN);
    assert_eq!(ann.later(20).says(MAIN, "E1", &[LEGAL]).kind(), Some(Kind::Reinstate));
    assert_eq!((ann.member().uuid, ann.get(FieldId::DEPARTMENT)), (uuid, Some("Legal")));
    assert_eq!(spells(&ann), [(MAIN, 0, Some(10)), (MAIN, 30, None)]);
}

#[test]
fn an_addition_by_hand_is_a_claim_and_passes_to_the_first_feed_that_names_the_person() {
    let mut ann = Story::default();
    ann.says(FeedNo::HAND, "E1", &[SALES]);
    assert_eq!(spells(&ann), [(FeedNo::HAND, 0, None)]);
    assert_eq!(ann.later(5).says(PAYROLL, "E1", &[SALES]).kind(), Some(Kind::Say));
    assert_eq!(spells(&ann), [(FeedNo::HAND, 0, Some(5)), (PAYROLL, 5, None)]);
    assert_eq!(ann.later(1).leaves(PAYROLL).kind(), Some(Kind::Remove));
}

#[test]
fn an_edit_by_hand_is_no_claim() {
    let mut ann = Story::of_main(&[SALES]);
    ann.says(FeedNo::HAND, "E1", &[LEGAL]);
    assert_eq!(spells(&ann), [(MAIN, 0, None)]);
}

#[test]
fn claims_by_value_are_taken_as_they_are() {
    let mut ann = Story::of_main(&[SALES]);
    let mut change = Change::new(Kind::Update, Some(0), ann.member().uuid, "E1");
    change.spells = Some(vec![(PAYROLL, 3, None)]);
    change.aliases = Some(vec!["E0".into()]);
    change.ends = true;
    ann.take(FeedNo::HAND, &recorded(&change));
    assert_eq!((spells(&ann), &ann.member().aliases), (vec![(PAYROLL, 3, None)], &vec!["E0".to_owned()]));
}

#[test]
fn a_removal_where_no_claim_runs_ends_at_once_what_counts_until_a_later_day() {
    for (feed, until) in [(MAIN, 5), (FeedNo::HAND, 5), (PAYROLL, 21)] {
        let mut ann = Story::of_main(&[SALES, (FieldId::END_DATE, "1970-01-21")]);
        ann.later(3).leaves(MAIN);
        assert_eq!(spells(&ann), [(MAIN, 0, Some(21))], "absence never shortens a known later end date");
        let mut change = Change::new(Kind::Remove, Some(0), ann.member().uuid, "E1");
        change.ends = true;
        ann.later(2).take(feed, &recorded(&change));
        assert_eq!(spells(&ann), [(MAIN, 0, Some(until))], "{feed:?}");
    }
}
