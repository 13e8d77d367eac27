//! Whatever happens to one person, in any order: what always holds.

use proptest::prelude::*;

use super::*;
use crate::codec;

/// What rows say of these fields in the property tests.
pub(super) const MAPPED: [FieldId; 4] =
    [FieldId::LAST_NAME, FieldId::DEPARTMENT, FieldId::LOCATION, FieldId::EMPLOYMENT_STATUS];

/// One step of a story.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Says(u16, [Option<u8>; 4]),
    Rejected(u16, [Option<u8>; 4]),
    Leaves(u16),
    RejectedLeaving(u16),
    TakenOff,
    Days(i32),
}

pub(super) fn cells(values: &[Option<u8>; 4]) -> Vec<(FieldId, &'static str)> {
    let texts = ["", "a", "b"];
    MAPPED.iter().zip(values).filter_map(|(f, v)| Some((*f, texts[(*v)? as usize]))).collect()
}

pub(super) fn any_cells() -> impl Strategy<Value = [Option<u8>; 4]> {
    prop::array::uniform4(prop::option::weighted(0.8, 0u8..3))
}

/// A row in which every mapped field has a cell.
pub(super) fn whole_row() -> impl Strategy<Value = [Option<u8>; 4]> {
    prop::array::uniform4((0u8..3).prop_map(Some))
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u16..4, any_cells()).prop_map(|(f, c)| Step::Says(f, c)),
        1 => (1u16..4, any_cells()).prop_map(|(f, c)| Step::Rejected(f, c)),
        1 => (1u16..4).prop_map(Step::Leaves),
        1 => (1u16..4).prop_map(Step::RejectedLeaving),
        1 => Just(Step::TakenOff),
        1 => (0i32..40).prop_map(Step::Days),
    ]
}

pub(super) fn told(steps: &[Step]) -> Story {
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
