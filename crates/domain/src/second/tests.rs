use super::*;
use crate::{
    access,
    fact::{Baseline, Computed, Counts, Fact, Received, Rejected, State},
    guard::{Figures, Hold},
    ids::{FeedNo, UploadId},
    member::Reason,
    settings::Mode,
};

const ANNA: &str = "os:anna@here";
const BEN: &str = "os:ben@here";

fn held() -> Hold {
    Hold { guard: "removals".into(), threshold: 10.into(), figure: 20.into(), detail: "Many leave.".into() }
}

/// Five changes that wait, held by a guard or by policy alone.
fn waiting(guarded: bool) -> ChangeSet {
    let computed = Computed {
        change_set: ChangeSetId(Uuid::from_u128(1)),
        upload: UploadId(Uuid::from_u128(2)),
        feed: FeedNo::HAND,
        mode: Mode::Partial,
        changes: 5,
        unproven: Selection::default(),
        counts: Counts::default(),
        figures: Figures::default(),
        holds: if guarded { vec![held()] } else { Vec::new() },
        digest: "seen".into(),
        policy_version: 1,
        roster_version: 7,
        baseline: Baseline::default(),
        state: State::Held,
        read_as: None,
    };
    ChangeSet::new(&computed, &Received::by_hand(computed.upload, 100), DateTime::UNIX_EPOCH)
}

/// All of it, which removes so many.
fn all(removals: u64) -> Approved {
    Approved {
        digest: "seen".into(),
        selection: Selection::all(5),
        except_fields: Vec::new(),
        reject_rest: false,
        removals,
    }
}

fn approve_first(set: &mut ChangeSet, approved: &Approved, actor: &str) {
    let given = ApprovalGiven { change_set: set.id, approved: approved.clone() };
    set.take_approval(&given, actor, DateTime::UNIX_EPOCH);
}

/// What an approval by somebody does where two must approve.
fn then(set: &ChangeSet, approved: &Approved, actor: &str) -> Step {
    let first = set.first_approval.as_deref();
    step(true, first, approved, first.is_some_and(|first| person(&first.by) == person(actor)))
}

fn applied(set: &ChangeSet, selection: Selection, first_approver: Option<&str>) -> Applied {
    let rest = set.waiting().minus(&selection);
    Applied {
        change_set: set.id,
        selection,
        feed: set.feed,
        day: 100,
        displaced: Reason::Pinned,
        first_no: 0,
        new_members: 0,
        numbered: Selection::default(),
        roster_version: 8,
        state: if rest.is_empty() { State::Applied } else { State::PartlyApplied },
        digest: set.digest.clone(),
        reviewed: true,
        except_fields: Vec::new(),
        unfinished: Selection::default(),
        rest: (!rest.is_empty()).then(|| "rest".to_owned()),
        first_approver: first_approver.map(str::to_owned),
        removals: 0,
    }
}

#[test]
fn given_a_rule_then_it_says_which_approvals_two_people_must_give() {
    let rule = |second_approver, second_approver_removals| Review { second_approver, second_approver_removals };
    let needed = |rule: Review| {
        [(false, 0), (false, 10), (true, 0), (true, 10)]
            .map(|(guarded, removals)| needs_two(&rule, &waiting(guarded), &all(removals), 0))
    };
    assert_eq!(needed(Review::default()), [false; 4]);
    assert_eq!(needed(rule(SecondApprover::Guarded, None)), [false, false, true, true]);
    assert_eq!(needed(rule(SecondApprover::Always, None)), [true; 4]);
    assert_eq!(needed(rule(SecondApprover::Off, Some(10))), [false, true, false, true]);
    assert_eq!(needed(rule(SecondApprover::Off, Some(11))), [false; 4]);
    assert_eq!(needed(rule(SecondApprover::Guarded, Some(10))), [false, true, true, true]);
}

#[test]
fn given_removals_approved_in_parts_or_lately_then_they_add_up() {
    let rule = Review { second_approver: SecondApprover::Off, second_approver_removals: Some(10) };
    let mut set = waiting(false);
    let needed = |set: &ChangeSet, removals, lately| needs_two(&rule, set, &all(removals), lately);
    assert_eq!([needed(&set, 9, 0), needed(&set, 9, 1), needed(&set, 1, 9)], [false, true, true]);
    assert!(!needed(&set, 0, 50), "what makes nobody ineligible needs one");
    let part = |removals| Applied { removals, ..applied(&set, Selection::all(2), None) };
    let (first, second) = (part(4), part(3));
    set.take_applied(&first, ANNA, DateTime::UNIX_EPOCH);
    assert_eq!([needed(&set, 5, 0), needed(&set, 6, 0), needed(&set, 5, 1)], [false, true, true]);
    set.take_applied(&second, BEN, DateTime::UNIX_EPOCH);
    assert_eq!([needed(&set, 2, 0), needed(&set, 3, 0)], [false, true], "whoever approved them");
}

#[test]
fn given_an_approval_or_apply_then_it_counts_for_the_next_if_one_person_gave_it_and_by_when() {
    let moment = |hour| DateTime::UNIX_EPOCH + chrono::Duration::hours(hour);
    let of = |removals, first: Option<&str>, reviewed| Applied {
        removals,
        reviewed,
        ..applied(&waiting(false), Selection::all(1), first)
    };
    let mut set = waiting(false);
    set.take_applied(&of(4, None, true), ANNA, moment(1));
    set.take_applied(&of(8, Some(ANNA), true), BEN, moment(2));
    set.take_applied(&of(0, None, true), ANNA, moment(3));
    set.take_applied(&of(16, None, false), ANNA, moment(4));
    set.take_applied(&of(32, None, true), BEN, moment(5));
    assert_eq!([0, 1, 2, 5, 6].map(|hour| set.approved_alone_since(moment(hour))), [52, 52, 48, 32, 0]);
    let json = serde_json::to_string(&set).unwrap();
    assert_eq!(serde_json::from_str::<ChangeSet>(&json).unwrap(), set);
}

#[test]
fn given_a_first_approval_when_more_people_would_lose_eligibility_by_now_then_it_counts_no_longer() {
    let mut set = waiting(true);
    approve_first(&mut set, &all(3), ANNA);
    let steps = [2, 3, 4].map(|now| then(&set, &all(now), BEN));
    assert_eq!(steps, [Step::Second, Step::Second, Step::First]);
    assert_eq!(then(&set, &all(4), ANNA), Step::First);
}

#[test]
fn given_a_first_approval_when_somebody_else_approves_the_same_then_it_is_the_second() {
    let mut set = waiting(true);
    assert_eq!(then(&set, &all(0), ANNA), Step::First);
    approve_first(&mut set, &all(0), ANNA);
    assert!(set.awaits_second_approver() && set.state == State::Held && set.applied.is_empty());
    assert_eq!(then(&set, &all(0), ANNA), Step::SamePerson);
    assert_eq!(then(&set, &all(0), BEN), Step::Second);
    set.take_applied(&applied(&set, Selection::all(5), Some(ANNA)), BEN, DateTime::UNIX_EPOCH);
    let first = set.first_approval.as_ref().unwrap();
    assert_eq!(
        (first.by.as_str(), first.seconded_by.as_deref(), set.decided_by.as_deref()),
        (ANNA, Some(BEN), Some(BEN))
    );
    assert!(!set.awaits_second_approver());
    assert_eq!(set.deciders(), [ANNA, BEN, BEN]);
}

#[test]
fn given_a_first_approval_when_anything_else_is_approved_then_that_is_the_first_whoever_approves() {
    let mut set = waiting(true);
    approve_first(&mut set, &all(3), ANNA);
    let others = [
        Approved { digest: "later".into(), ..all(3) },
        Approved { selection: Selection::all(4), ..all(3) },
        Approved { except_fields: vec!["department".into()], ..all(3) },
        Approved { reject_rest: true, ..all(3) },
    ];
    for other in &others {
        assert_eq!((then(&set, other, ANNA), then(&set, other, BEN)), (Step::First, Step::First), "{other:?}");
    }
    approve_first(&mut set, &others[1], BEN);
    assert_eq!(then(&set, &all(3), BEN), Step::First, "the earlier one counts no longer");
    assert_eq!(then(&set, &others[1], ANNA), Step::Second);
}

#[test]
fn given_the_rule_is_off_then_one_approval_is_enough_and_a_second_is_still_told_as_one() {
    let mut set = waiting(true);
    let when_off = |set: &ChangeSet, same| step(false, set.first_approval.as_deref(), &all(0), same);
    assert_eq!(when_off(&set, false), Step::Alone);
    approve_first(&mut set, &all(0), ANNA);
    assert_eq!((when_off(&set, true), when_off(&set, false)), (Step::Alone, Step::Second));
    set.take_applied(&applied(&set, Selection::all(5), None), ANNA, DateTime::UNIX_EPOCH);
    assert_eq!(set.first_approval, None, "nobody seconded it");
}

#[test]
fn given_a_first_approval_when_something_drops_out_or_is_rejected_then_it_counts_no_longer() {
    let rebased = |conflicts: Selection, added| Fact::Rebased {
        change_set: waiting(true).id,
        already_so: Selection::default(),
        conflicts,
        revised: Selection::default(),
        added,
        digest: "now".into(),
        roster_version: 8,
        state: None,
    };
    let mut set = waiting(true);
    approve_first(&mut set, &all(0), ANNA);
    set.take_rebased(&rebased(Selection::default(), 1));
    assert!(set.first_approval.is_some(), "nothing dropped out");
    set.take_rebased(&rebased(Selection::all(1), 0));
    assert_eq!(set.first_approval, None);

    let mut set = waiting(true);
    approve_first(&mut set, &all(0), ANNA);
    set.take_rejected(&rejected(&set, Selection::all(1)), ANNA);
    assert_eq!((set.first_approval.as_ref(), set.awaits_second_approver()), (None, false));
}

fn rejected(set: &ChangeSet, selection: Selection) -> Rejected {
    Rejected {
        change_set: set.id,
        selection,
        remembered: true,
        absences: true,
        feed: set.feed,
        day: 100,
        first_no: 0,
        new_members: 0,
        numbered: Selection::default(),
        state: set.state,
        rest: Some("rest".into()),
    }
}

#[test]
fn given_a_second_approval_of_a_part_then_the_rest_needs_two_again() {
    let mut set = waiting(true);
    let part = Approved { selection: Selection::all(2), ..all(0) };
    approve_first(&mut set, &part, ANNA);
    set.take_applied(&applied(&set, Selection::all(2), Some(ANNA)), BEN, DateTime::UNIX_EPOCH);
    assert!(set.is_undecided() && !set.awaits_second_approver());
    assert_eq!(then(&set, &part, BEN), Step::First, "an approval that was followed by another is used up");
    set.take_rejected(&rejected(&set, set.waiting()), BEN);
    assert_eq!(set.first_approval.and_then(|first| first.seconded_by).as_deref(), Some(BEN), "it is told all the same");
}

#[test]
fn all_keys_of_a_user_are_one_person_and_others_are_who_they_say_they_are() {
    let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let with = |key: &str, user| person(&access::actor(key, user));
    assert_eq!(with("0123456789abcdef", one), with("fedcba9876543210", one));
    assert_eq!(with("0123456789abcdef", one), person(&format!("user:{}", one.to_string().to_uppercase())));
    assert_eq!(with("0123456789abcdef", one), the_user(one));
    assert_ne!(with("0123456789abcdef", one), with("0123456789abcdef", other));
    assert_eq!(person("Anna "), person("anna"));
    assert_ne!(person(ANNA), person(BEN));
}

#[test]
fn a_change_set_of_before_the_rule_reads_as_one_that_nobody_approved() {
    let set = waiting(false);
    let json = serde_json::to_value(&set).unwrap();
    assert!(json.get("first_approval").is_none() && json.get("alone").is_none(), "{json}");
    assert_eq!(serde_json::from_value::<ChangeSet>(json).unwrap(), set);
    let mut set = waiting(false);
    approve_first(&mut set, &Approved { except_fields: vec!["department".into()], ..all(2) }, ANNA);
    let json = serde_json::to_string(&set).unwrap();
    assert_eq!(serde_json::from_str::<ChangeSet>(&json).unwrap(), set);
}
