use proptest::prelude::*;

use super::*;
use crate::{
    codec,
    diff::{self, Absence, Outcome},
    field::FieldSet,
    values::Values,
};

const MAIN: FeedNo = FeedNo::MAIN;
const PAYROLL: FeedNo = FeedNo(2);
const SALES: (FieldId, &str) = (FieldId::DEPARTMENT, "Sales");
const LEGAL: (FieldId, &str) = (FieldId::DEPARTMENT, "Legal");
const R_AND_D: (FieldId, &str) = (FieldId::DEPARTMENT, "R&D");
const BONN: (FieldId, &str) = (FieldId::LOCATION, "Bonn");

static FIELDS: Fields = Fields { custom: Vec::new() };

/// One person through the days: payloads, reviews and edits, each compared and folded as the engine does.
#[derive(Clone, Default)]
struct Story {
    member: Option<Member>,
    day: Day,
    priorities: Vec<(FeedNo, i32)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Nothing,
    Suppressed,
    Change(Box<Change<'static>>),
}

impl Heard {
    fn kind(&self) -> Option<Kind> {
        match self {
            Heard::Change(change) => Some(change.kind),
            _ => None,
        }
    }
}

/// Through its line, as the log keeps it.
fn recorded(change: &Change) -> Heard {
    let mut line = Vec::new();
    change.write(&mut line);
    Heard::Change(Box::new(Change::read(line.leak()).unwrap()))
}

impl Story {
    /// A person whom `main` brought on day 0.
    fn of_main(cells: &[(FieldId, &str)]) -> Story {
        let mut story = Story::default();
        story.says(MAIN, "E1", cells);
        story
    }

    fn later(&mut self, days: Day) -> &mut Story {
        self.day += days;
        self
    }

    fn member(&self) -> &Member {
        self.member.as_ref().unwrap()
    }

    fn get(&self, field: FieldId) -> Option<&str> {
        self.member().values.get(field)
    }

    fn context(&self, feed: FeedNo) -> diff::Context<'_> {
        diff::Context {
            feed,
            priorities: &self.priorities,
            empty_clears: feed != FeedNo::HAND,
            match_field: FieldId::EMPLOYEE_ID,
            fields: &FIELDS,
            today: self.day,
            ask_again_days: 30,
        }
    }

    fn folding(&self, feed: FeedNo) -> Context<'static> {
        let displaced = if feed == FeedNo::HAND { Reason::Pinned } else { Reason::AnotherFeed };
        Context { change_set: ChangeSetId(Uuid::from_u128(1)), feed, day: self.day, displaced, fields: &FIELDS }
    }

    /// What a full payload's row (or, from the hand, an edit) would do. `""` is an empty cell.
    fn proposes(&self, feed: FeedNo, key: &str, cells: &[(FieldId, &str)]) -> Heard {
        let values: Values = cells.iter().copied().collect();
        let empty: FieldSet = cells.iter().filter(|c| c.1.is_empty()).map(|c| c.0).collect();
        let null = if feed == FeedNo::HAND { empty } else { FieldSet::default() };
        let row = diff::Row { line: 2, key, values: &values, empty, null, raw: &Values::default() };
        let ctx = self.context(feed);
        let outcome = match &self.member {
            None => return recorded(&diff::unknown(row, Uuid::from_u128(9), &ctx)),
            Some(member) => diff::named(member, row, None, &ctx),
        };
        match outcome {
            Outcome::Unchanged => Heard::Nothing,
            Outcome::Suppressed => Heard::Suppressed,
            Outcome::Change { change, .. } => recorded(&change),
        }
    }

    /// What the person's absence from a full payload would do.
    fn misses(&self, feed: FeedNo) -> Heard {
        match diff::absent(self.member(), &self.context(feed)) {
            Absence::Nothing => Heard::Nothing,
            Absence::Suppressed => Heard::Suppressed,
            Absence::Change { change, .. } => recorded(&change),
        }
    }

    fn take(&mut self, feed: FeedNo, heard: &Heard) {
        if let Heard::Change(change) = heard {
            self.member = Some(apply(self.member.take(), 0, change, &self.folding(feed)));
        }
    }

    fn reject(&mut self, feed: FeedNo, heard: &Heard) {
        if let Heard::Change(change) = heard {
            self.member = Some(reject(self.member.take(), 0, change, &self.folding(feed)));
        }
    }

    fn says(&mut self, feed: FeedNo, key: &str, cells: &[(FieldId, &str)]) -> Heard {
        let heard = self.proposes(feed, key, cells);
        self.take(feed, &heard);
        heard
    }

    fn leaves(&mut self, feed: FeedNo) -> Heard {
        let heard = self.misses(feed);
        self.take(feed, &heard);
        heard
    }

    /// An administrator takes the person off the roster.
    fn taken_off_by_hand(&mut self) {
        let mut change = Change::new(Kind::Remove, Some(0), self.member().uuid, self.member().key.clone());
        change.ends = true;
        self.take(FeedNo::HAND, &recorded(&change));
    }
}

fn spells(story: &Story) -> Vec<(FeedNo, Day, Option<Day>)> {
    story.member().spells.iter().map(|s| (s.feed, s.from, s.to)).collect()
}

mod claims {
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
}

mod last_words {
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
        let declined = reject(ann.member.clone(), 1, change, &ann.folding(MAIN));
        assert_ne!(declined.uuid, ann.member().uuid);
        assert_eq!((declined.no, &*declined.key, declined.is_listed()), (1, "E2", false));
        assert!(declined.word(MAIN, NAMED).is_some());
        assert_eq!(declined, reject(None, 1, change, &ann.folding(MAIN)), "the same whenever it is folded");
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
}

mod several_feeds {
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
}

mod keys {
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
}

/// What rows say of these fields in the property tests.
const MAPPED: [FieldId; 4] = [FieldId::LAST_NAME, FieldId::DEPARTMENT, FieldId::LOCATION, FieldId::EMPLOYMENT_STATUS];

/// One step of a story.
#[derive(Clone, Debug)]
enum Step {
    Says(u16, [Option<u8>; 4]),
    Rejected(u16, [Option<u8>; 4]),
    Leaves(u16),
    RejectedLeaving(u16),
    TakenOff,
    Days(i32),
}

fn cells(values: &[Option<u8>; 4]) -> Vec<(FieldId, &'static str)> {
    let texts = ["", "a", "b"];
    MAPPED.iter().zip(values).filter_map(|(f, v)| Some((*f, texts[(*v)? as usize]))).collect()
}

fn any_cells() -> impl Strategy<Value = [Option<u8>; 4]> {
    prop::array::uniform4(prop::option::weighted(0.8, 0u8..3))
}

/// A row in which every mapped field has a cell.
fn whole_row() -> impl Strategy<Value = [Option<u8>; 4]> {
    prop::array::uniform4((0u8..3).prop_map(Some))
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u16..4, any_cells()).prop_map(|(f, c)| Step::Says(f, c)),
        1 => (1u16..4, any_cells()).prop_map(|(f, c)| Step::Rejected(f, c)),
        1 => (1u16..4).prop_map(Step::Leaves),
        1 => (1u16..4).prop_map(Step::RejectedLeaving),
        1 => Just(Step::TakenOff),
        1 => (0i32..40).prop_map(Step::Days),
    ]
}

fn told(steps: &[Step]) -> Story {
    let mut story = Story::of_main(&[SALES, BONN]);
    story.priorities = vec![(FeedNo(3), 1)];
    for step in steps {
        match step {
            Step::Says(feed, values) => drop(story.says(FeedNo(*feed), "E1", &cells(values))),
            Step::Rejected(feed, values) => {
                let proposed = story.proposes(FeedNo(*feed), "E1", &cells(values));
                story.reject(FeedNo(*feed), &proposed);
            }
            Step::Leaves(feed) => drop(story.leaves(FeedNo(*feed))),
            Step::RejectedLeaving(feed) => {
                let proposed = story.misses(FeedNo(*feed));
                if proposed.kind().is_some_and(|k| !k.is_silent()) {
                    story.reject(FeedNo(*feed), &proposed);
                }
            }
            Step::TakenOff if story.member().is_listed() => story.taken_off_by_hand(),
            Step::TakenOff => {}
            Step::Days(days) => drop(story.later(*days)),
        }
    }
    story
}

proptest! {
    #[test]
    fn applying_a_rows_diff_gives_its_values_where_the_feed_rules(row in whole_row(), other in any_cells(), by_hand: bool) {
        let mut ann = Story::of_main(&cells(&other));
        let feed = if by_hand { FeedNo::HAND } else { MAIN };
        ann.says(feed, "E1", &cells(&row));
        for (field, value) in cells(&row) {
            prop_assert_eq!(ann.get(field).unwrap_or_default(), value);
        }
    }

    #[test]
    fn after_any_story_what_a_feed_says_is_what_it_last_said(
        steps in prop::collection::vec(any_step(), 0..12), feed in 1u16..4, row in whole_row()
    ) {
        let mut ann = told(&steps);
        let feed = FeedNo(feed);
        ann.says(feed, "E1", &cells(&row));
        for (field, value) in cells(&row) {
            prop_assert_eq!(ann.member().last_said(feed, field).unwrap_or_default(), value);
        }
        let again = ann.proposes(feed, "E1", &cells(&row));
        prop_assert!(matches!(again, Heard::Nothing | Heard::Suppressed), "said again it is news: {again:?}");
    }

    #[test]
    fn after_any_story_a_rejection_silences_the_same_row(
        steps in prop::collection::vec(any_step(), 0..12), feed in 1u16..4, row in whole_row()
    ) {
        let mut ann = told(&steps);
        let before = ann.member().values.clone();
        let proposed = ann.proposes(FeedNo(feed), "E1", &cells(&row));
        ann.reject(FeedNo(feed), &proposed);
        prop_assert_eq!(&ann.member().values, &before, "a rejection leaves the roster alone");
        let again = ann.proposes(FeedNo(feed), "E1", &cells(&row));
        prop_assert!(matches!(again, Heard::Nothing | Heard::Suppressed), "proposed again: {again:?}");
    }

    #[test]
    fn after_any_story_words_are_sorted_sparse_and_of_feeds_that_speak(steps in prop::collection::vec(any_step(), 0..16)) {
        let ann = told(&steps);
        let member = ann.member();
        prop_assert!(member.words.is_sorted_by_key(|w| (w.feed, w.field)));
        for word in &member.words {
            let speaks = member.is_claimed_by(word.feed) || member.word(word.feed, NAMED).is_some();
            prop_assert!(speaks && word.feed != FeedNo::HAND);
            let whole = word.field == ABSENT || word.field == NAMED;
            prop_assert!(whole || member.values.get(word.field) != word.value.as_deref());
        }
        for spell in &member.spells {
            let running = member.spells.iter().filter(|s| s.feed == spell.feed && s.to.is_none()).count();
            prop_assert!(running <= 1 && spell.to.is_none_or(|to| to >= spell.from));
        }
    }

    #[test]
    fn any_member_reads_back_from_storage(steps in prop::collection::vec(any_step(), 0..16), key in ".{0,12}", aliases in prop::collection::vec(".{0,8}", 0..3), value in ".{1,300}") {
        let mut member = told(&steps).member().clone();
        (member.key, member.aliases) = (key, aliases);
        member.values.set(FieldId(200), Some(&value));
        let mut bytes = Vec::new();
        codec::encode(&member, &mut bytes);
        prop_assert_eq!(codec::decode(member.no, &bytes), Ok(member));
    }
}
