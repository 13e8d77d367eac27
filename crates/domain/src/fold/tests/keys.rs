//! Keys that change, and old ones that still name the person.

use super::*;

#[test]
fn a_rekey_keeps_the_identity_and_the_old_key_as_an_alias() {
    let mut ann = Story::of_main(&[(FieldId::EMPLOYEE_ID, "E1"), SALES]);
    let uuid = ann.member().uuid;
    assert_eq!(ann.says(MAIN, "E2", &[(FieldId::EMPLOYEE_ID, "E2"), SALES]).kind(), Some(Kind::Rekey));
    let member = ann.member();
    assert_eq!((&*member.key, &member.aliases, member.uuid), ("E2", &vec!["E1".to_owned()], uuid));
    assert_eq!(member.values.get(FieldId::EMPLOYEE_ID), Some("E2"));
}

#[test]
fn two_feeds_with_two_keys_do_not_take_turns() {
    let mut ann = Story::of_main(&[(FieldId::EMPLOYEE_ID, "E1"), SALES]);
    ann.says(PAYROLL, "E1", &[(FieldId::EMPLOYEE_ID, "E1"), SALES]);
    ann.says(MAIN, "E2", &[(FieldId::EMPLOYEE_ID, "E2"), SALES]);
    for _ in 0..2 {
        assert_eq!(ann.says(PAYROLL, "E1", &[(FieldId::EMPLOYEE_ID, "E1"), SALES]), Heard::Nothing);
        assert_eq!(ann.says(MAIN, "E2", &[(FieldId::EMPLOYEE_ID, "E2"), SALES]), Heard::Nothing);
    }
    ann.leaves(MAIN);
    assert_eq!((&*ann.member().key, ann.get(FieldId::EMPLOYEE_ID)), ("E2", Some("E2")));
}

#[test]
fn a_key_that_comes_back_is_no_alias_any_more() {
    let mut ann = Story::of_main(&[SALES]);
    for key in ["E2", "E3"] {
        ann.says(MAIN, key, &[SALES]);
    }
    let mut change = Change::new(Kind::Rekey, Some(0), ann.member().uuid, "E1");
    change.old_key = Some("E3".into());
    ann.take(FeedNo::HAND, &recorded(&change));
    assert_eq!((&*ann.member().key, &ann.member().aliases), ("E1", &vec!["E2".to_owned(), "E3".to_owned()]));
}

#[test]
fn case_and_outer_space_of_a_key_never_make_an_alias() {
    let mut ann = Story::of_main(&[(FieldId::EMPLOYEE_ID, "E1"), SALES]);
    assert_eq!(ann.says(MAIN, " e1", &[(FieldId::EMPLOYEE_ID, "e1"), SALES]), Heard::Nothing);
    ann.leaves(MAIN);
    ann.says(MAIN, "e1", &[(FieldId::EMPLOYEE_ID, "e1"), LEGAL]);
    assert_eq!((&*ann.member().key, ann.member().aliases.len()), ("E1", 0));
}
