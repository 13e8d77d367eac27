//! Last words: pins, rejections, and removals by hand.

use super::*;

#[test]
fn an_edit_by_hand_stays_until_the_feed_changes_its_mind() {
    let mut ann = Story::of_main(&[SALES]);
    ann.later(1).says(FeedNo::HAND, "E1", &[LEGAL]);
    assert_eq!(ann.says(MAIN, "E1", &[SALES]), Heard::Suppressed);
    assert_eq!(ann.get(FieldId::DEPARTMENT), Some("Legal"));
    assert_eq!(ann.says(MAIN, "E1", &[R_AND_D]).kind(), Some(Kind::Update));
    assert_eq!(ann.get(FieldId::DEPARTMENT), Some("R&D"));
    assert_eq!(ann.member().words, [], "the roster's value is the feed's word again");
    assert_eq!(ann.says(MAIN, "E1", &[SALES]).kind(), Some(Kind::Update), "and what it said before is news");
}

#[test]
fn a_feed_that_comes_round_to_a_pinned_value_and_back_is_heard() {
    let mut ann = Story::of_main(&[SALES]);
    ann.says(FeedNo::HAND, "E1", &[LEGAL]);
    assert_eq!(ann.says(MAIN, "E1", &[LEGAL]).kind(), Some(Kind::Say));
    assert_eq!(ann.member().words, []);
    assert_eq!(ann.says(MAIN, "E1", &[SALES]).kind(), Some(Kind::Update));
}

#[test]
fn a_value_cleared_by_hand_stays_blank() {
    let mut ann = Story::of_main(&[SALES]);
    ann.says(FeedNo::HAND, "E1", &[(FieldId::DEPARTMENT, "")]);
    assert_eq!(ann.says(MAIN, "E1", &[SALES]), Heard::Suppressed);
    assert_eq!(ann.get(FieldId::DEPARTMENT), None);
}

#[test]
fn a_rejected_change_is_not_proposed_again_until_its_value_changes() {
    let mut ann = Story::of_main(&[SALES, BONN]);
    let proposed = ann.proposes(MAIN, "E1", &[LEGAL, BONN]);
    ann.reject(MAIN, &proposed);
    assert_eq!(ann.get(FieldId::DEPARTMENT), Some("Sales"));
    assert_eq!(ann.says(MAIN, "E1", &[LEGAL, BONN]), Heard::Suppressed);
    assert_eq!(ann.proposes(MAIN, "E1", &[R_AND_D, BONN]).kind(), Some(Kind::Update));
    ann.says(MAIN, "E1", &[SALES, BONN]);
    assert_eq!(ann.proposes(MAIN, "E1", &[LEGAL, BONN]).kind(), Some(Kind::Update), "it went away and came again");
}

#[test]
fn a_rejected_removal_is_asked_again_and_lapses_once_the_person_is_named() {
    let mut ann = Story::of_main(&[SALES]);
    let proposed = ann.misses(MAIN);
    ann.reject(MAIN, &proposed);
    assert!(ann.member().is_claimed_by(MAIN));
    assert_eq!(ann.later(29).misses(MAIN), Heard::Suppressed);
    let again = ann.later(1).misses(MAIN);
    assert_eq!(again.kind(), Some(Kind::Remove));
    ann.reject(MAIN, &again);
    assert_eq!(ann.later(29).misses(MAIN), Heard::Suppressed, "the days begin anew");
    assert_eq!(ann.says(MAIN, "E1", &[SALES]).kind(), Some(Kind::Say));
    assert_eq!(ann.member().words, []);
    assert_eq!(ann.misses(MAIN).kind(), Some(Kind::Remove));
}

#[test]
fn a_rejected_newcomer_is_noted_and_not_proposed_again_until_a_value_changes() {
    let mut ann = Story::default();
    let proposed = ann.proposes(MAIN, "E1", &[SALES, BONN]);
    ann.reject(MAIN, &proposed);
    assert!(!ann.member().is_listed() && ann.member().values.is_empty());
    assert_eq!(ann.says(MAIN, "E1", &[SALES, BONN]), Heard::Suppressed);
    assert_eq!(ann.says(MAIN, "E1", &[LEGAL, BONN]).kind(), Some(Kind::Add));
    assert_eq!((ann.get(FieldId::DEPARTMENT), ann.get(FieldId::LOCATION)), (Some("Legal"), Some("Bonn")));
    assert_eq!(ann.member().words, []);
}

#[test]
fn a_rejected_newcomer_who_is_no_longer_named_is_forgotten() {
    let mut ann = Story::default();
    let proposed = ann.proposes(MAIN, "E1", &[SALES]);
    ann.reject(MAIN, &proposed);
    assert_eq!(ann.leaves(MAIN).kind(), Some(Kind::Release));
    assert_eq!(ann.member().words, []);
    assert_eq!(ann.proposes(MAIN, "E1", &[SALES]).kind(), Some(Kind::Add));
}

#[test]
fn a_rejected_return_stays_rejected_until_a_value_changes() {
    let mut ann = Story::of_main(&[SALES]);
    ann.leaves(MAIN);
    let proposed = ann.proposes(MAIN, "E1", &[LEGAL]);
    ann.reject(MAIN, &proposed);
    assert_eq!(ann.says(MAIN, "E1", &[LEGAL]), Heard::Suppressed);
    assert_eq!(ann.says(MAIN, "E1", &[R_AND_D]).kind(), Some(Kind::Reinstate));
    assert!(ann.member().is_listed());
}

#[test]
fn a_rejected_rekey_leaves_the_member_alone_and_notes_somebody_else() {
    let ann = Story::of_main(&[(FieldId::EMPLOYEE_ID, "E1"), SALES]);
    let proposed = ann.proposes(MAIN, "E2", &[(FieldId::EMPLOYEE_ID, "E2"), SALES]);
    assert_eq!(proposed.kind(), Some(Kind::Rekey));
    let Heard::Change(change) = &proposed else { unreachable!() };
    assert!(rejection_needs_number(change));
    let declined = reject(ann.member.clone(), 1, change, true, &ann.folding(MAIN));
    assert_ne!(declined.uuid, ann.member().uuid);
    assert_eq!((declined.no, &*declined.key, declined.is_listed()), (1, "E2", false));
    assert!(declined.word(MAIN, NAMED).is_some());
    assert_eq!(declined, reject(None, 1, change, true, &ann.folding(MAIN)), "the same whenever it is folded");
}

#[test]
fn only_rejections_of_somebody_without_a_number_need_one() {
    let ann = Story::of_main(&[SALES]);
    let needs = |heard: Heard| matches!(&heard, Heard::Change(c) if rejection_needs_number(c));
    assert!(needs(Story::default().proposes(MAIN, "E1", &[SALES])));
    assert!(!needs(ann.proposes(MAIN, "E1", &[LEGAL])));
    assert!(!needs(ann.misses(MAIN)));
}

#[test]
fn a_removal_by_hand_stays_although_the_feed_still_names_the_person() {
    let mut ann = Story::of_main(&[SALES]);
    ann.later(1).taken_off_by_hand();
    assert_eq!(spells(&ann), [(MAIN, 0, Some(1))]);
    assert_eq!(ann.says(MAIN, "E1", &[SALES]), Heard::Suppressed);
    assert_eq!(ann.says(MAIN, "E1", &[LEGAL]).kind(), Some(Kind::Say), "noted, and that is all");
    assert!(!ann.member().is_listed());
    assert_eq!(ann.says(MAIN, "E1", &[LEGAL]), Heard::Suppressed);
    assert_eq!(ann.leaves(MAIN).kind(), Some(Kind::Release));
    assert_eq!(ann.proposes(MAIN, "E1", &[LEGAL]).kind(), Some(Kind::Reinstate), "gone and come again is news");
}

#[test]
fn words_by_value_are_kept_and_dropped() {
    let mut ann = Story::of_main(&[SALES]);
    let word = |field: &'static str, value: Option<&'static str>, reason| crate::change::SaidWord {
        feed: MAIN,
        field: field.into(),
        value: value.map(Into::into),
        reason,
    };
    let mut change = Change::new(Kind::Say, Some(0), ann.member().uuid, "E1");
    change.words = vec![
        word("department", Some("Legal"), Some(Reason::Undone)),
        word("absent", None, Some(Reason::Undone)),
        word("a_field_of_another_time", Some("x"), Some(Reason::Undone)),
    ];
    ann.take(FeedNo::HAND, &recorded(&change));
    assert_eq!(ann.member().last_said(MAIN, FieldId::DEPARTMENT), Some("Legal"));
    assert_eq!((ann.member().words.len(), ann.misses(MAIN)), (2, Heard::Suppressed));
    change.words = vec![word("department", None, None), word("absent", None, None)];
    ann.take(FeedNo::HAND, &recorded(&change));
    assert_eq!(ann.member().words, []);
}

#[test]
fn a_rejected_rekey_notes_all_that_the_row_said_and_leaves_the_member_where_they_are() {
    let row = |team| [(FieldId::EMPLOYEE_ID, "E2"), SALES, BONN, (FieldId::LAST_NAME, team)];
    let mut ann = Story::of_main(&[(FieldId::EMPLOYEE_ID, "E1"), SALES, BONN, (FieldId::LAST_NAME, "Lee")]);
    let proposed = ann.proposes(MAIN, "E2", &row("Lee"));
    let Heard::Change(change) = &proposed else { unreachable!() };
    let declined = reject(None, 1, change, true, &ann.folding(MAIN));
    ann.member = Some(keep_key(ann.member.take(), 0, change, &ann.folding(MAIN)));
    assert_eq!((ann.misses(MAIN), &*ann.member().key), (Heard::Suppressed, "E1"), "the feed names somebody else");
    assert_eq!(ann.clone().later(30).misses(MAIN).kind(), Some(Kind::Remove));
    let mut other = Story { member: Some(declined), ..ann };
    assert_eq!(other.says(MAIN, "E2", &row("Lee")), Heard::Suppressed);
    assert_eq!(other.says(MAIN, "E2", &row("Ray")).kind(), Some(Kind::Add));
}

#[test]
fn a_rejected_end_of_one_claim_among_several_is_not_asked_again_at_once() {
    let mut ann = Story::of_main(&[SALES]);
    ann.says(PAYROLL, "E1", &[SALES]);
    let proposed = ann.misses(MAIN);
    assert_eq!(proposed.kind(), Some(Kind::Release));
    ann.reject(MAIN, &proposed);
    assert_eq!((ann.misses(MAIN), ann.member().is_claimed_by(MAIN)), (Heard::Suppressed, true));
    assert_eq!(ann.later(30).misses(MAIN).kind(), Some(Kind::Release));
}
