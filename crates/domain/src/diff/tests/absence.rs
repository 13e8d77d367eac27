//! Whom a payload does not name, or names no longer.

use super::*;

#[test]
fn with_the_last_claim_the_person_leaves() {
    let ann = member(&[MAIN]);
    let ctx = full(MAIN);
    let (change, again) = ending(absent(&ann, &ctx));
    assert_eq!((change.kind, change.ends, again, change.no), (Kind::Remove, true, false, Some(3)));
}

#[test]
fn an_absence_before_a_known_end_date_names_the_day_after_it() {
    let ctx = full(MAIN);
    let effective = |claimants: &[FeedNo], days: Day| {
        let mut ann = member(claimants);
        ann.values.set(FieldId::END_DATE, Some(&date_of(TODAY + days).to_string()));
        ending(absent(&ann, &ctx)).0.effective_on.map(Cow::into_owned)
    };
    assert_eq!(effective(&[MAIN], 9), Some(date_of(TODAY + 10).to_string()));
    assert_eq!(effective(&[MAIN], -1), None, "it is over");
    assert_eq!(effective(&[MAIN, PAYROLL], 9), None, "others claim the person");
}

#[test]
fn an_absence_ends_only_the_feeds_own_claim() {
    let ann = member(&[MAIN, PAYROLL]);
    let ctx = full(MAIN);
    let (change, _) = ending(absent(&ann, &ctx));
    assert_eq!((change.kind, change.ends, change.to.len()), (Kind::Release, true, 0));
    let ann = member(&[PAYROLL]);
    assert_eq!(absent(&ann, &ctx), Absence::Nothing);
}

#[test]
fn a_claim_by_hand_keeps_the_person() {
    let ann = member(&[FeedNo::HAND, MAIN]);
    let ctx = full(MAIN);
    assert_eq!(ending(absent(&ann, &ctx)).0.kind, Kind::Release);
}

#[test]
fn when_a_claim_lapses_the_next_feeds_last_words_count() {
    let ann = with_word(member(&[MAIN, PAYROLL]), PAYROLL, FieldId::DEPARTMENT, None, Reason::AnotherFeed);
    let ann = with_word(ann, PAYROLL, FieldId::LOCATION, Some("Bonn"), Reason::AnotherFeed);
    let ctx = full(MAIN);
    let (change, _) = ending(absent(&ann, &ctx));
    assert_eq!((change.kind, change.ends), (Kind::Update, true));
    assert_eq!(list(&change.from), [("department", Some("Sales")), ("location", None)]);
    assert_eq!(list(&change.to), [("department", None), ("location", Some("Bonn"))]);
}

#[test]
fn words_that_an_administrator_or_reviewer_set_aside_do_not_come_back() {
    let ann = with_word(member(&[MAIN, PAYROLL]), PAYROLL, FieldId::DEPARTMENT, Some("Legal"), Reason::Pinned);
    let ann = with_word(ann, PAYROLL, FieldId::LOCATION, Some("Bonn"), Reason::Rejected);
    let ann = with_word(ann, PAYROLL, ABSENT, None, Reason::Rejected);
    let ctx = full(MAIN);
    let (change, _) = ending(absent(&ann, &ctx));
    assert_eq!((change.kind, change.to.len()), (Kind::Release, 0));
}

#[test]
fn a_lapsing_claim_does_not_turn_the_key_field_back() {
    let ann = with_word(member(&[MAIN, PAYROLL]), PAYROLL, FieldId::EMPLOYEE_ID, Some("E0"), Reason::AnotherFeed);
    let ctx = full(MAIN);
    assert_eq!(ending(absent(&ann, &ctx)).0.kind, Kind::Release);
}

#[test]
fn a_rejected_removal_is_asked_again_after_so_many_days() {
    let ann = with_word(member(&[MAIN]), MAIN, ABSENT, None, Reason::Rejected);
    let on = |today| Context { today, ..full(MAIN) };
    assert_eq!(absent(&ann, &on(TODAY)), Absence::Suppressed);
    assert_eq!(absent(&ann, &on(TODAY - 5 + 29)), Absence::Suppressed);
    let ctx = on(TODAY - 5 + 30);
    let (change, again) = ending(absent(&ann, &ctx));
    assert_eq!((change.kind, again), (Kind::Remove, true));
}

#[test]
fn a_rejected_removal_lapses_once_the_person_is_named() {
    let ann = with_word(member(&[MAIN]), MAIN, ABSENT, None, Reason::Rejected);
    let (said, ctx) = (says("E1", &[(FieldId::DEPARTMENT, "Sales")]), full(MAIN));
    match named(&ann, said.row(), None, &ctx) {
        Outcome::Change { change, differs } => assert_eq!((change.kind, differs), (Kind::Say, false)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_feed_that_no_longer_names_somebody_it_was_not_believed_on_forgets_them() {
    let ann = with_word(gone(), MAIN, NAMED, None, Reason::Pinned);
    let ctx = full(MAIN);
    let (change, again) = ending(absent(&ann, &ctx));
    assert_eq!((change.kind, change.ends, again), (Kind::Release, true, false));
    assert_eq!((&*change.words[0].field, change.words[0].reason), ("named", None));
    assert_eq!(absent(&gone(), &ctx), Absence::Nothing);
}
