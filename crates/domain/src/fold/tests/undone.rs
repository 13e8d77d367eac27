//! Undo: whatever was applied to one person is taken back, and nothing else.

use proptest::prelude::*;

use super::{
    any_story::{MAPPED, Step, any_step, cells, told},
    *,
};
use crate::undo;

/// What one change set did: whose it was, and the member before and after.
struct Done {
    feed: FeedNo,
    before: Member,
    after: Member,
}

/// Applies one more step; none if it changes nothing. What is rejected is not applied, and so cannot be undone.
fn done(story: &mut Story, step: &Step) -> Option<Done> {
    let before = story.member().clone();
    let feed = match step {
        Step::Says(feed, values) => {
            story.says(FeedNo(*feed), "E1", &cells(values));
            FeedNo(*feed)
        }
        Step::Rejected(feed, values) => {
            // Here: the same row under another key.
            story.says(FeedNo(*feed), ["E1", "E2", "E3"][usize::from(values[0].unwrap_or(0))], &cells(values));
            FeedNo(*feed)
        }
        Step::Leaves(feed) | Step::RejectedLeaving(feed) => {
            story.leaves(FeedNo(*feed));
            FeedNo(*feed)
        }
        Step::TakenOff if before.is_listed() => {
            story.taken_off_by_hand();
            FeedNo::HAND
        }
        Step::TakenOff => return None,
        Step::Days(days) => {
            story.later(*days);
            return None;
        }
    };
    let after = story.member().clone();
    (before != after).then_some(Done { feed, before, after })
}

fn undo(story: &mut Story, done: &Done) -> Vec<String> {
    let now = story.member().clone();
    let step =
        undo::Step { feed: done.feed, before: Some(&done.before), after: &done.after, now: &now, fields: &FIELDS };
    let (change, kept) = step.change();
    let kept = kept.into_iter().map(str::to_owned).collect();
    if let Some(change) = change {
        let Heard::Change(change) = recorded(&change) else { unreachable!() };
        let ctx = Context { displaced: Reason::Undone, ..story.folding(FeedNo::HAND) };
        story.member = Some(apply(story.member.take(), 0, &change, &ctx));
    }
    kept
}

/// What people see of a member: all but the words.
fn seen(member: &Member) -> Member {
    Member { words: Vec::new(), ..member.clone() }
}

#[test]
fn a_removal_is_not_undone_where_the_claim_began_anew() {
    let mut ann = Story::of_main(&[SALES]);
    let removed = done(ann.later(5), &Step::Leaves(1)).unwrap();
    ann.later(5).says(MAIN, "E1", &[SALES]);
    assert_eq!(undo(&mut ann, &removed), ["claims"]);
    assert_eq!(spells(&ann), [(MAIN, 0, Some(5)), (MAIN, 10, None)]);
}

#[test]
fn what_was_undone_before_is_neither_undone_again_nor_kept() {
    let mut ann = Story::of_main(&[SALES]);
    let moved = done(&mut ann, &Step::Says(1, [None, Some(1), None, None])).unwrap();
    assert!(undo(&mut ann, &moved).is_empty());
    let once = ann.member().clone();
    assert!(undo(&mut ann, &moved).is_empty());
    assert_eq!(ann.member(), &once);
}

#[test]
fn with_a_claim_the_feeds_own_words_come_back() {
    let mut ann = Story::of_main(&[SALES]);
    ann.says(FeedNo::HAND, "E1", &[LEGAL]);
    let removed = done(&mut ann, &Step::Leaves(1)).unwrap();
    undo(&mut ann, &removed);
    assert_eq!(ann.proposes(MAIN, "E1", &[SALES]).kind(), Some(Kind::Say), "named again, and the pin holds");
    ann.says(MAIN, "E1", &[SALES]);
    assert_eq!(ann.get(FieldId::DEPARTMENT), Some("Legal"));
}

#[test]
fn an_undone_end_of_one_claim_is_not_asked_again_at_once() {
    let mut ann = Story::of_main(&[SALES]);
    ann.says(PAYROLL, "E1", &[SALES]);
    let released = done(&mut ann, &Step::Leaves(1)).unwrap();
    undo(&mut ann, &released);
    assert_eq!((ann.member().is_claimed_by(MAIN), ann.misses(MAIN)), (true, Heard::Suppressed));
}

proptest! {
    #[test]
    fn undo_after_apply_is_the_identity(
        steps in prop::collection::vec(any_step(), 0..8), more in prop::collection::vec(any_step(), 1..8)
    ) {
        let mut ann = told(&steps);
        let before = ann.member().clone();
        let sets: Vec<Done> = more.iter().filter_map(|step| done(&mut ann, step)).collect();
        for set in sets.iter().rev() {
            let kept = undo(&mut ann, set);
            prop_assert!(kept.is_empty(), "kept {kept:?}");
            prop_assert_eq!(seen(ann.member()), seen(&set.before));
        }
        prop_assert_eq!(seen(ann.member()), seen(&before));
    }

    #[test]
    fn after_an_undo_every_other_feed_has_said_what_it_said(
        steps in prop::collection::vec(any_step(), 0..8), step in any_step()
    ) {
        let mut ann = told(&steps);
        let Some(set) = done(&mut ann, &step) else { return Ok(()) };
        undo(&mut ann, &set);
        for feed in set.before.claimants().filter(|f| *f != set.feed && *f != FeedNo::HAND) {
            for field in MAPPED {
                prop_assert_eq!(ann.member().last_said(feed, field), set.before.last_said(feed, field));
            }
        }
    }

    #[test]
    fn what_was_undone_is_not_proposed_again(
        steps in prop::collection::vec(any_step(), 0..8), feed in 1u16..4, values in any_story::whole_row()
    ) {
        let mut ann = told(&steps);
        let Some(set) = done(&mut ann, &Step::Says(feed, values)) else { return Ok(()) };
        undo(&mut ann, &set);
        let again = ann.proposes(FeedNo(feed), "E1", &cells(&values));
        prop_assert!(again.kind().is_none_or(Kind::is_silent), "proposed again: {again:?}");
    }
}
