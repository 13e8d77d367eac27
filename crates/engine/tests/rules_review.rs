//! Reviews: parts, rebase, what was seen, and undo.

use crate::rules_given::*;

/// Six people; a payload that moves two, adds one and misses one, and waits.
async fn waiting() -> (Given, Report) {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let payload = csv([moved(1, "Legal"), moved(2, "Legal"), person(3), person(4), person(6), person(7)]);
    let held = given.sync(Request { asked: Some(Asked::Hold), ..full() }, &payload).await;
    assert_eq!((held.state, held.counts.removed, held.counts.added, held.counts.updated), (State::Held, 1, 1, 2));
    (given, held)
}

fn only(keys: &[&str]) -> Choice {
    Choice { only: keys.iter().map(|k| (*k).to_owned()).collect(), ..Choice::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approving_some_leaves_the_rest_waiting() {
    let (given, held) = waiting().await;
    let part = given.approve(&held, Approval { choice: only(&["E1"]), ..Approval::default() }).await.unwrap();
    assert_eq!(part.state, State::PartlyApplied);
    assert_eq!((&*given.department("E1").await, &*given.department("E2").await), ("Legal", "Sales"));
    assert_eq!(given.change_set(&held).await.waiting().len(), 3);
    let rest = given.approve(&held, Approval::default()).await.unwrap();
    assert_eq!(
        (rest.state, given.listed().await),
        (State::Applied, ["E1", "E2", "E3", "E4", "E6", "E7"].map(String::from).to_vec())
    );
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_can_be_rejected_in_the_same_breath() {
    let (given, held) = waiting().await;
    let approval = Approval { choice: only(&["E1"]), reject_rest: true, ..Approval::default() };
    assert_eq!(given.approve(&held, approval).await.unwrap().state, State::Applied);
    assert_eq!((&*given.department("E2").await, given.listed().await.len()), ("Sales", 6));
    let remembered = given.engine.rejected(&given.acme().await).await.unwrap();
    let fields: Vec<&str> = remembered.iter().map(|r| r.field.as_str()).collect();
    assert!(["department", "absent", "named"].iter().all(|f| fields.contains(f)), "{fields:?}");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejecting_a_whole_change_set_remembers_nothing() {
    let (given, held) = waiting().await;
    assert_eq!(given.reject(&held, Choice::default()).await.state, State::Rejected);
    assert!(given.engine.rejected(&given.acme().await).await.unwrap().is_empty());
    let again =
        given.sync(dry(full()), &csv([moved(1, "Legal"), person(2), person(3), person(4), person(6), person(7)])).await;
    assert_eq!((again.counts.updated, again.counts.added, again.counts.removed), (1, 1, 1));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_left_out_goes_on_waiting() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let payload = csv((2..=6).map(person).chain([moved(1, "Legal").replace("Bonn", "Kiel")]));
    let held = given.sync(Request { asked: Some(Asked::Hold), ..full() }, &payload).await;
    let choice = Choice { except_fields: vec!["department".into()], ..Choice::default() };
    assert_eq!(
        given.approve(&held, Approval { choice, ..Approval::default() }).await.unwrap().state,
        State::PartlyApplied
    );
    let member = given.member("E1").await;
    assert_eq!(
        (member.values.get(FieldId::LOCATION), member.values.get(FieldId::DEPARTMENT)),
        (Some("Kiel"), Some("Sales"))
    );
    given.approve(&held, Approval::default()).await.unwrap();
    assert_eq!(given.department("E1").await, "Legal");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_is_bound_to_the_digest_that_was_seen() {
    let (given, held) = waiting().await;
    let seen = |digest: Option<String>| Approval { digest, ..Approval::default() };
    assert!(matches!(given.approve(&held, seen(Some("0".repeat(32)))).await, Err(Error::Stale(_))));
    given.set_by_hand("E1", "department", "Desk").await;
    assert!(matches!(given.approve(&held, seen(held.digest.clone())).await, Err(Error::Stale(_))));
    assert_eq!((given.listed().await.len(), &*given.department("E1").await), (6, "Desk"), "nothing was approved");
    let now = given.change_set(&held).await;
    assert_eq!((now.dropped.len(), now.waiting().len()), (1, 3), "what conflicts dropped out");
    given.approve(&held, seen(Some(now.digest))).await.unwrap();
    assert_eq!((&*given.department("E1").await, &*given.department("E2").await), ("Desk", "Legal"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_already_so_drops_out_and_what_still_holds_stays() {
    let (given, held) = waiting().await;
    given.set_by_hand("E1", "department", "Legal").await;
    given.set_by_hand("E3", "department", "Desk").await;
    let report = given.approve(&held, Approval::default()).await.unwrap();
    assert_eq!((report.state, given.change_set(&held).await.dropped.len()), (State::Applied, 1));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removals_past_the_guard_must_be_confirmed_by_number() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=20)).await;
    let held = given.sync(full(), &staff(6..=20)).await;
    let confirming = |n| Approval { confirm_removals: n, ..Approval::default() };
    for wrong in [None, Some(4)] {
        assert!(matches!(given.approve(&held, confirming(wrong)).await, Err(Error::Wrong(_))));
    }
    assert_eq!(given.approve(&held, confirming(Some(5))).await.unwrap().state, State::Applied);
    assert_eq!(given.listed().await.len(), 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_after_apply_is_the_identity() {
    let (given, held) = waiting().await;
    let before = given.everybody().await;
    given.approve(&held, Approval::default()).await.unwrap();
    let ids = vec![held.change_set_id.unwrap().to_string()];
    let undone = given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap();
    assert_eq!((undone.reports[0].state, undone.kept.len()), (State::Applied, 0));
    let mut after = given.everybody().await;
    let seven = after.remove("E7").unwrap();
    assert!(!seven.is_listed(), "whoever came is known and no longer listed");
    for (key, member) in &after {
        let was = &before[key];
        assert_eq!((&member.values, &member.spells, &member.aliases), (&was.values, &was.spells, &was.aliases));
    }
    assert_eq!(after.len(), 6);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_gives_a_key_back_and_keeps_what_changed_since() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let rekeyed = csv((2..=6).map(person).chain([moved(1, "Legal").replacen("E1,", "N1,", 1)]));
    let report = given.applied(full(), &rekeyed).await;
    given.set_by_hand("N1", "department", "Desk").await;
    let ids = vec![report.change_set_id.unwrap().to_string()];
    let dry = given
        .engine
        .undo("acme", UndoRequest { ids: ids.clone(), dry_run: true, ..UndoRequest::default() })
        .await
        .unwrap();
    assert_eq!((dry.reports[0].state, dry.kept.len(), &*given.member("E1").await.key), (State::DryRun, 1, "N1"));
    let undone = given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap();
    assert_eq!((undone.kept.len(), &*undone.kept[0].what), (1, "department"));
    let member = given.member("E1").await;
    assert_eq!((&*member.key, member.aliases.len(), &*given.department("E1").await), ("E1", 0, "Desk"));
    assert_eq!(member.values.get(FieldId::EMPLOYEE_ID), Some("E1"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_of_several_goes_newest_first() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let mut since = None;
    for department in ["Legal", "Press", "Desk"] {
        let report = given.applied(partial(), &csv([moved(1, department)])).await;
        let set = given.change_set(&report).await;
        since = since.or(Some(set.computed_at));
    }
    let undone = given.engine.undo("acme", UndoRequest { since, ..UndoRequest::default() }).await.unwrap();
    assert_eq!((undone.reports.len(), undone.kept.len(), &*given.department("E1").await), (3, 0, "Sales"));
    given.verified().await;
}
