use super::*;
use crate::member::{Spell, Word};

mod absence;

const MAIN: FeedNo = FeedNo::MAIN;
const PAYROLL: FeedNo = FeedNo(2);
const TODAY: Day = 20_000;

static FIELDS: Fields = Fields { custom: Vec::new() };

/// What a row says: `""` is an empty cell; a field that is not listed has no column.
struct Said {
    key: String,
    values: Values,
    empty: FieldSet,
    null: FieldSet,
    raw: Values,
}

fn says(key: &str, cells: &[(FieldId, &str)]) -> Said {
    let empty = cells.iter().filter(|(_, v)| v.is_empty()).map(|(f, _)| *f).collect();
    Said {
        key: key.into(),
        values: cells.iter().copied().collect(),
        empty,
        null: FieldSet::default(),
        raw: Values::default(),
    }
}

impl Said {
    fn row(&self) -> Row<'_> {
        Row { line: 7, key: &self.key, values: &self.values, empty: self.empty, null: self.null, raw: &self.raw }
    }
}

/// A full payload of a feed.
fn full(feed: FeedNo) -> Context<'static> {
    Context {
        feed,
        priorities: &[],
        speaks: &[],
        empty_clears: true,
        match_field: FieldId::EMPLOYEE_ID,
        fields: &FIELDS,
        today: TODAY,
        ask_again_days: 30,
    }
}

fn partial(feed: FeedNo) -> Context<'static> {
    Context { empty_clears: false, ..full(feed) }
}

fn member(claimants: &[FeedNo]) -> Member {
    Member {
        no: 3,
        uuid: Uuid::from_u128(3),
        key: "E1".into(),
        aliases: vec![],
        values: [(FieldId::EMPLOYEE_ID, "E1"), (FieldId::LAST_NAME, "Lee"), (FieldId::DEPARTMENT, "Sales")]
            .into_iter()
            .collect(),
        spells: claimants.iter().map(|feed| Spell { feed: *feed, from: TODAY - 100, to: None }).collect(),
        words: vec![],
    }
}

/// Claimed once, and gone.
fn gone() -> Member {
    let mut member = member(&[MAIN]);
    member.spells[0].to = Some(TODAY - 10);
    member
}

fn with_word(mut member: Member, feed: FeedNo, field: FieldId, value: Option<&str>, reason: Reason) -> Member {
    member.keep_word(Word { feed, field, value: value.map(str::to_owned), reason, since: TODAY - 5 });
    member
}

fn list<'a>(named: &'a Named) -> Vec<(&'a str, Option<&'a str>)> {
    named.iter().map(|(f, v)| (&**f, v.as_deref())).collect()
}

fn change<'a>(outcome: Outcome<'a>) -> Change<'a> {
    match outcome {
        Outcome::Change { change, .. } => *change,
        other => panic!("no change: {other:?}"),
    }
}

fn ending<'a>(absence: Absence<'a>) -> (Change<'a>, bool) {
    match absence {
        Absence::Change { change, again } => (*change, again),
        other => panic!("no change: {other:?}"),
    }
}

mod somebody_new {
    use super::*;

    #[test]
    fn an_unknown_person_is_added_with_every_value_and_the_raw_texts() {
        let mut said = says("E9", &[(FieldId::EMPLOYEE_ID, "E9"), (FieldId::EMAIL, "ann@x"), (FieldId::LOCATION, "")]);
        said.raw.set(FieldId::EMAIL, Some("Ann@X"));
        let ctx = full(MAIN);
        let change = unknown(said.row(), Uuid::from_u128(9), &ctx);
        assert_eq!((change.kind, change.no, &*change.key, change.line), (Kind::Add, None, "E9", Some(7)));
        assert_eq!(list(&change.to), [("employee_id", Some("E9")), ("email", Some("ann@x"))]);
        assert_eq!(list(&change.raw), [("email", Some("Ann@X"))]);
        assert_eq!((&change.from, &change.effective_on), (&vec![], &None));
    }

    #[test]
    fn a_start_date_to_come_is_the_day_from_which_it_counts() {
        let ctx = full(MAIN);
        let day = |offset| date_of(TODAY + offset).to_string();
        for (start, expected) in [(day(1), Some(day(1))), (day(0), None), (day(-1), None)] {
            let said = says("E9", &[(FieldId::START_DATE, &start)]);
            assert_eq!(unknown(said.row(), Uuid::nil(), &ctx).effective_on.as_deref(), expected.as_deref());
        }
    }

    #[test]
    fn what_was_entered_by_hand_has_no_line() {
        let said = says("E9", &[]);
        let ctx = full(FeedNo::HAND);
        assert_eq!(unknown(Row { line: 0, ..said.row() }, Uuid::nil(), &ctx).line, None);
    }
}

mod fields {
    use super::*;

    #[test]
    fn a_row_that_says_what_the_roster_holds_changes_nothing() {
        let (ann, said) = (member(&[MAIN]), says("E1", &[(FieldId::DEPARTMENT, "Sales"), (FieldId::EMAIL, "")]));
        assert_eq!(named(&ann, said.row(), None, &full(MAIN)), Outcome::Unchanged);
    }

    #[test]
    fn a_new_value_is_an_update_with_before_after_and_raw() {
        let ann = member(&[MAIN]);
        let mut said = says("E1", &[(FieldId::DEPARTMENT, "R&D"), (FieldId::LAST_NAME, "Lee")]);
        said.raw.set(FieldId::DEPARTMENT, Some("R&D "));
        said.raw.set(FieldId::LAST_NAME, Some("Lee "));
        let ctx = full(MAIN);
        let change = change(named(&ann, said.row(), None, &ctx));
        assert_eq!((change.kind, change.no, change.member), (Kind::Update, Some(3), ann.uuid));
        assert_eq!(list(&change.from), [("department", Some("Sales"))]);
        assert_eq!(list(&change.to), [("department", Some("R&D"))]);
        assert_eq!(list(&change.raw), [("department", Some("R&D "))], "only of what changes");
    }

    #[test]
    fn an_empty_cell_clears_in_full_and_stays_in_partial() {
        let (ann, said) = (member(&[MAIN]), says("E1", &[(FieldId::DEPARTMENT, "")]));
        let ctx = full(MAIN);
        assert_eq!(list(&change(named(&ann, said.row(), None, &ctx)).to), [("department", None)]);
        assert_eq!(named(&ann, said.row(), None, &partial(MAIN)), Outcome::Unchanged);
    }

    #[test]
    fn null_clears_in_every_mode() {
        let (ann, mut said) = (member(&[MAIN]), says("E1", &[]));
        said.null.insert(FieldId::DEPARTMENT);
        let ctx = partial(MAIN);
        assert_eq!(list(&change(named(&ann, said.row(), None, &ctx)).to), [("department", None)]);
    }

    #[test]
    fn a_missing_column_never_clears() {
        let (ann, said) = (member(&[MAIN]), says("E1", &[(FieldId::LAST_NAME, "Lee")]));
        assert_eq!(named(&ann, said.row(), None, &full(MAIN)), Outcome::Unchanged);
        assert_eq!(named(&ann, said.row(), None, &partial(MAIN)), Outcome::Unchanged);
    }

    #[test]
    fn an_end_date_to_come_is_the_day_from_which_it_counts() {
        let (ann, end) = (member(&[MAIN]), date_of(TODAY + 9).to_string());
        let said = says("E1", &[(FieldId::END_DATE, &end)]);
        let ctx = full(MAIN);
        assert_eq!(change(named(&ann, said.row(), None, &ctx)).effective_on.as_deref(), Some(&*end));
    }
}

mod last_words {
    use super::*;

    #[test]
    fn a_pinned_value_stays_while_the_feed_repeats_itself() {
        let ann = with_word(member(&[MAIN]), MAIN, FieldId::DEPARTMENT, Some("Marketing"), Reason::Pinned);
        let said = says("E1", &[(FieldId::DEPARTMENT, "Marketing")]);
        assert_eq!(named(&ann, said.row(), None, &full(MAIN)), Outcome::Suppressed);
    }

    #[test]
    fn a_pinned_value_goes_when_the_feed_changes_its_mind() {
        let ann = with_word(member(&[MAIN]), MAIN, FieldId::DEPARTMENT, Some("Marketing"), Reason::Pinned);
        let said = says("E1", &[(FieldId::DEPARTMENT, "Legal")]);
        let ctx = full(MAIN);
        let change = change(named(&ann, said.row(), None, &ctx));
        assert_eq!((change.kind, list(&change.to)), (Kind::Update, vec![("department", Some("Legal"))]));
    }

    #[test]
    fn a_rejected_value_is_not_proposed_again_until_it_changes() {
        let ann = with_word(member(&[MAIN]), MAIN, FieldId::DEPARTMENT, None, Reason::Rejected);
        assert_eq!(named(&ann, says("E1", &[(FieldId::DEPARTMENT, "")]).row(), None, &full(MAIN)), Outcome::Suppressed);
        let (said, ctx) = (says("E1", &[(FieldId::DEPARTMENT, "Legal")]), full(MAIN));
        assert_eq!(change(named(&ann, said.row(), None, &ctx)).kind, Kind::Update);
    }

    #[test]
    fn a_feed_that_comes_round_to_the_roster_is_noted() {
        let ann = with_word(member(&[MAIN]), MAIN, FieldId::DEPARTMENT, Some("Marketing"), Reason::Rejected);
        let (said, ctx) = (says("E1", &[(FieldId::DEPARTMENT, "Sales")]), full(MAIN));
        match named(&ann, said.row(), None, &ctx) {
            Outcome::Change { change, differs } => {
                assert_eq!((change.kind, differs), (Kind::Say, false));
                assert_eq!(list(&change.said), [("department", Some("Sales"))]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn old_words_beside_a_new_one_stay_suppressed() {
        let ann = with_word(member(&[MAIN]), MAIN, FieldId::DEPARTMENT, Some("Marketing"), Reason::Pinned);
        let said = says("E1", &[(FieldId::DEPARTMENT, "Marketing"), (FieldId::LAST_NAME, "Ray")]);
        let ctx = full(MAIN);
        assert_eq!(list(&change(named(&ann, said.row(), None, &ctx)).to), [("last_name", Some("Ray"))]);
    }

    #[test]
    fn an_administrator_is_not_bound_by_last_words() {
        let ann = with_word(member(&[MAIN]), MAIN, FieldId::DEPARTMENT, Some("Marketing"), Reason::Pinned);
        let (said, ctx) = (says("E1", &[(FieldId::DEPARTMENT, "Marketing")]), partial(FeedNo::HAND));
        let change = change(named(&ann, said.row(), None, &ctx));
        assert_eq!((change.kind, list(&change.to)), (Kind::Update, vec![("department", Some("Marketing"))]));
        let same = says("E1", &[(FieldId::DEPARTMENT, "Sales")]);
        assert_eq!(named(&ann, same.row(), None, &ctx), Outcome::Unchanged);
    }
}

mod several_feeds {
    use super::*;

    #[test]
    fn a_field_follows_the_highest_priority_then_the_earliest_claim() {
        let feeds = [MAIN, PAYROLL, FeedNo(3)];
        let rules = |priorities| ruler(feeds.into_iter(), &Context { priorities, ..full(MAIN) });
        assert_eq!(rules(&[]), Some(MAIN), "the earliest claim among equals");
        assert_eq!(rules(&[(MAIN, 1), (PAYROLL, 5), (FeedNo(3), 5)]), Some(PAYROLL));
        assert_eq!(rules(&[(MAIN, -1)]), Some(PAYROLL), "a feed that is not named has priority 0");
        assert_eq!(ruler([FeedNo::HAND].into_iter(), &full(MAIN)), None, "the hand pins and does not rule");
    }

    #[test]
    fn a_feed_that_does_not_rule_is_heard_and_not_followed() {
        let (ann, said) = (member(&[MAIN, PAYROLL]), says("E1", &[(FieldId::DEPARTMENT, "Legal")]));
        let ctx = full(PAYROLL);
        match named(&ann, said.row(), None, &ctx) {
            Outcome::Change { change, differs } => {
                assert_eq!((change.kind, differs, change.to.len()), (Kind::Say, true, 0));
                assert_eq!(list(&change.said), [("department", Some("Legal"))]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_feed_of_higher_priority_is_followed_from_its_first_word() {
        let (ann, said) = (member(&[MAIN]), says("E1", &[(FieldId::DEPARTMENT, "Legal")]));
        let ctx = Context { priorities: &[(PAYROLL, 1)], ..full(PAYROLL) };
        let change = change(named(&ann, said.row(), None, &ctx));
        assert_eq!((change.kind, list(&change.to)), (Kind::Update, vec![("department", Some("Legal"))]));
    }

    #[test]
    fn a_first_naming_is_told_even_if_it_says_nothing_else() {
        let (ann, said) = (member(&[MAIN]), says("E1", &[(FieldId::DEPARTMENT, "Sales")]));
        let ctx = full(PAYROLL);
        match named(&ann, said.row(), None, &ctx) {
            Outcome::Change { change, differs } => {
                assert_eq!((change.kind, differs, change.ends), (Kind::Say, false, false));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn somebody_added_by_hand_follows_the_first_feed_that_names_them() {
        let (ann, said) = (member(&[FeedNo::HAND]), says("E1", &[(FieldId::DEPARTMENT, "Legal")]));
        let ctx = full(MAIN);
        assert_eq!(list(&change(named(&ann, said.row(), None, &ctx)).to), [("department", Some("Legal"))]);
    }
}

mod keys {
    use super::*;

    #[test]
    fn case_and_outer_space_make_no_new_key() {
        let (ann, said) = (member(&[MAIN]), says(" e1 ", &[(FieldId::EMPLOYEE_ID, "e1"), (FieldId::LAST_NAME, "Lee")]));
        assert_eq!(named(&ann, said.row(), None, &full(MAIN)), Outcome::Unchanged);
    }

    #[test]
    fn another_key_is_a_rekey_with_its_evidence() {
        let (ann, said) = (member(&[MAIN]), says("E2", &[(FieldId::EMPLOYEE_ID, "E2")]));
        let ctx = full(MAIN);
        let rekey = change(named(&ann, said.row(), Some("email"), &ctx));
        assert_eq!((rekey.kind, &*rekey.key, rekey.old_key.as_deref()), (Kind::Rekey, "E2", Some("E1")));
        assert_eq!((rekey.evidence.as_deref(), rekey.member), (Some("email"), ann.uuid));
        assert_eq!(list(&rekey.to), [("employee_id", Some("E2"))]);
        let by_hand = change(named(&ann, said.row(), None, &ctx));
        assert_eq!(by_hand.evidence.as_deref(), Some("by_hand"));
    }

    #[test]
    fn a_feed_with_an_old_key_names_the_person_and_does_not_take_the_key_back() {
        let mut ann = member(&[MAIN]);
        ann.aliases = vec!["E0".into()];
        let same = says("e0", &[(FieldId::EMPLOYEE_ID, "e0"), (FieldId::DEPARTMENT, "Sales")]);
        assert_eq!(named(&ann, same.row(), None, &full(MAIN)), Outcome::Unchanged);
        let said = says("E0", &[(FieldId::EMPLOYEE_ID, "E0"), (FieldId::DEPARTMENT, "Legal")]);
        let ctx = full(MAIN);
        let change = change(named(&ann, said.row(), None, &ctx));
        assert_eq!((change.kind, &*change.key, &change.old_key), (Kind::Update, "E1", &None));
        assert_eq!(list(&change.to), [("department", Some("Legal"))]);
    }

    #[test]
    fn an_administrator_may_give_an_old_key_back() {
        let mut ann = member(&[MAIN]);
        ann.aliases = vec!["E0".into()];
        let (said, ctx) = (says("E0", &[(FieldId::EMPLOYEE_ID, "E0")]), full(FeedNo::HAND));
        let change = change(named(&ann, said.row(), None, &ctx));
        assert_eq!((change.kind, &*change.key, change.old_key.as_deref()), (Kind::Rekey, "E0", Some("E1")));
        assert_eq!(
            (list(&change.to), change.evidence.as_deref()),
            (vec![("employee_id", Some("E0"))], Some("by_hand"))
        );
    }
}

mod former_members {
    use super::*;

    #[test]
    fn somebody_who_comes_back_keeps_their_identity() {
        let ann = gone();
        let said = says("E1", &[(FieldId::DEPARTMENT, "Legal"), (FieldId::LAST_NAME, "Lee")]);
        let ctx = full(MAIN);
        let change = change(named(&ann, said.row(), None, &ctx));
        assert_eq!((change.kind, change.no, change.member), (Kind::Reinstate, Some(3), ann.uuid));
        assert_eq!(list(&change.from), [("department", Some("Sales"))]);
        assert_eq!(list(&change.to), [("department", Some("Legal"))]);
    }

    #[test]
    fn somebody_who_comes_back_under_another_key_says_so() {
        let (ann, said) = (gone(), says("E2", &[(FieldId::EMPLOYEE_ID, "E2")]));
        let ctx = full(MAIN);
        let change = change(named(&ann, said.row(), Some("email"), &ctx));
        assert_eq!((change.kind, &*change.key, change.old_key.as_deref()), (Kind::Reinstate, "E2", Some("E1")));
        assert_eq!(change.evidence.as_deref(), Some("email"));
    }

    #[test]
    fn a_removal_by_hand_stays_although_the_feed_still_names_the_person() {
        let ann = with_word(gone(), MAIN, NAMED, None, Reason::Pinned);
        let said = says("E1", &[(FieldId::EMPLOYEE_ID, "E1"), (FieldId::DEPARTMENT, "Sales"), (FieldId::EMAIL, "")]);
        assert_eq!(named(&ann, said.row(), None, &full(MAIN)), Outcome::Suppressed);
    }

    #[test]
    fn what_the_feed_says_of_somebody_removed_by_hand_is_noted_and_no_more() {
        let ann = with_word(gone(), MAIN, NAMED, None, Reason::Pinned);
        let (said, ctx) = (says("E1", &[(FieldId::DEPARTMENT, "Legal")]), full(MAIN));
        let change = change(named(&ann, said.row(), None, &ctx));
        assert_eq!((change.kind, change.to.len(), change.line), (Kind::Say, 0, Some(7)));
        assert_eq!(change.spells.as_deref(), Some(&[(MAIN, TODAY - 100, Some(TODAY - 10))][..]), "no claim begins");
        assert_eq!((&*change.words[0].field, change.words[0].reason), ("department", Some(Reason::Pinned)));
    }

    #[test]
    fn a_rejected_newcomer_is_proposed_again_only_with_another_value() {
        let mut ann = with_word(member(&[]), MAIN, NAMED, None, Reason::Rejected);
        ann.values = Values::default();
        let ann = with_word(ann, MAIN, FieldId::LAST_NAME, Some("Lee"), Reason::Rejected);
        let same = says("E1", &[(FieldId::EMPLOYEE_ID, "E1"), (FieldId::LAST_NAME, "Lee")]);
        assert_eq!(named(&ann, same.row(), None, &full(MAIN)), Outcome::Suppressed);
        let other = says("E1", &[(FieldId::EMPLOYEE_ID, "E1"), (FieldId::LAST_NAME, "Ray")]);
        let ctx = full(MAIN);
        let change = change(named(&ann, other.row(), None, &ctx));
        assert_eq!((change.kind, change.no), (Kind::Add, Some(3)), "never on the roster before");
        assert_eq!(list(&change.to), [("employee_id", Some("E1")), ("last_name", Some("Ray"))]);
    }
}
