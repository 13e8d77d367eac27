//! Reviews: parts, what was seen, and what becomes of a waiting change set when the roster moves on.

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
        assert!(matches!(given.approve(&held, confirming(wrong)).await, Err(Error::Unconfirmed(_))));
    }
    assert_eq!(given.approve(&held, confirming(Some(5))).await.unwrap().state, State::Applied);
    assert_eq!(given.listed().await.len(), 15);
}

/// A payload with end dates: the person's number, department and end date.
fn with_end_dates(people: &[(usize, &str, &str)]) -> String {
    let rows: Vec<String> = people.iter().map(|(n, team, end)| format!("{},{end}", moved(*n, team))).collect();
    format!("{HEADER},end_date\n{}\n", rows.join("\n"))
}

fn hold(request: Request) -> Request {
    Request { asked: Some(Asked::Hold), ..request }
}

fn last_day(member: &Member) -> Option<String> {
    let to = member.spells.iter().filter_map(|s| s.to).max()?;
    Some(muster_domain::ids::date_of(to).to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absence_that_waited_in_two_change_sets_is_a_removal_once_the_other_claim_has_ended() {
    let given = Given::organisation().await;
    given.feed_named("payroll").await;
    let two = [(1, "Sales", "2099-12-31"), (2, "Sales", "")];
    given.applied(full(), &with_end_dates(&two)).await;
    given.sync(of("payroll", full()), &with_end_dates(&two)).await;
    let main = given.sync(hold(full()), &with_end_dates(&[(2, "Legal", "")])).await;
    let payroll = given.sync(hold(of("payroll", full())), &with_end_dates(&[(2, "Sales", ""), (3, "Sales", "")])).await;
    assert_eq!((main.counts.removed, payroll.counts.removed), (0, 0), "the other feed's claim goes on");
    given.approve(&main, Approval::default()).await.unwrap();
    let seen = Approval { digest: payroll.digest.clone(), ..Approval::default() };
    assert!(matches!(given.approve(&payroll, seen).await, Err(Error::Stale(_))));
    let waits: Vec<String> =
        given.lines(&payroll).await.into_iter().filter(|l| l.contains("\"kind\":\"remove\"")).collect();
    assert!(waits.len() == 1 && waits[0].contains("2100-01-01"), "{waits:?}");
    assert_eq!(given.approve(&payroll, Approval::default()).await.unwrap().state, State::Applied);
    assert_eq!(given.listed().await, ["E2", "E3"]);
    assert_eq!(last_day(&given.member("E1").await).as_deref(), Some("2100-01-01"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_date_that_moves_while_a_removal_waits_moves_the_removal() {
    let given = Given::organisation().await;
    given.applied(full(), &with_end_dates(&[(1, "Sales", "2099-06-30"), (2, "Sales", "")])).await;
    let held = given.sync(hold(full()), &with_end_dates(&[(2, "Sales", "")])).await;
    given.set_by_hand("E1", "end_date", "2099-12-31").await;
    let seen = Approval { digest: held.digest.clone(), ..Approval::default() };
    assert!(matches!(given.approve(&held, seen).await, Err(Error::Stale(_))));
    given.approve(&held, Approval::default()).await.unwrap();
    assert_eq!(last_day(&given.member("E1").await).as_deref(), Some("2100-01-01"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_set_of_which_nothing_is_left_ends() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let held = given.sync(hold(partial()), &csv([moved(1, "Legal")])).await;
    given.set_by_hand("E1", "department", "Legal").await;
    let report = given.approve(&held, Approval::default()).await.unwrap();
    assert_eq!((report.state, given.change_set(&held).await.state), (State::NoChanges, State::NoChanges));
    let (held, other) = (
        given.sync(hold(partial()), &csv([moved(2, "Legal")])).await,
        given.sync(hold(partial()), &csv([moved(3, "Legal")])).await,
    );
    given.applied(partial(), &csv([moved(2, "Press")])).await;
    let ended = given.change_set(&held).await;
    assert_eq!((ended.state, ended.dropped.len()), (State::NoChanges, 1), "a newer payload spoke of the same person");
    assert_eq!(given.change_set(&other).await.state, State::Held);
    given.set_by_hand("E3", "department", "Legal").await;
    let id = other.change_set_id.unwrap().to_string();
    let looked = given.engine.look(&given.acme().await, Some(&id)).await.unwrap();
    assert_eq!(looked.state, State::NoChanges, "also when somebody only looks");
    assert!(given.engine.look(&given.acme().await, None).await.is_err(), "nothing waits any more");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partly_applied_change_set_of_which_nothing_is_left_is_applied() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let measure = given.acme().await.feed("main").unwrap().baseline.clone();
    let payload = csv([moved(1, "Legal"), moved(2, "Legal")].into_iter().chain((3..=6).map(person)));
    let held = given.sync(hold(full()), &payload).await;
    given.approve(&held, Approval { choice: only(&["E1"]), ..Approval::default() }).await.unwrap();
    given.set_by_hand("E2", "department", "Desk").await;
    let id = held.change_set_id.unwrap().to_string();
    let looked = given.engine.look(&given.acme().await, Some(&id)).await.unwrap();
    assert_eq!((looked.state, looked.dropped.len()), (State::Applied, 1));
    assert_eq!(given.acme().await.feed("main").unwrap().baseline, measure, "not all of it was taken");
    assert_eq!(given.sync(dry(full()), &payload).await.counts.updated, 1, "so the same payload is compared again");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_left_out_of_somebody_new_goes_on_waiting() {
    let (given, held) = waiting().await;
    let choice = || Choice { except_fields: vec!["department".into()], ..Choice::default() };
    let report = given.approve(&held, Approval { choice: choice(), ..Approval::default() }).await.unwrap();
    assert_eq!((report.state, &*given.department("E7").await), (State::PartlyApplied, ""));
    assert_eq!(given.listed().await.len(), 6);
    let waits = given.change_set(&held).await;
    assert_eq!(waits.waiting().len(), 3, "two moved and one new, of each the department");
    let rest = given.approve(&held, Approval { digest: Some(waits.digest), ..Approval::default() }).await.unwrap();
    assert_eq!(
        (rest.state, &*given.department("E7").await, &*given.department("E1").await),
        (State::Applied, "Sales", "Legal")
    );
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_left_out_and_rejected_in_the_same_breath_is_not_proposed_again() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let payload = csv((2..=7).map(person).chain([moved(1, "Legal").replace("Bonn", "Kiel")]));
    let held = given.sync(hold(full()), &payload).await;
    let choice = Choice { except_fields: vec!["department".into()], ..Choice::default() };
    let approval = Approval { choice, reject_rest: true, ..Approval::default() };
    assert_eq!(given.approve(&held, approval).await.unwrap().state, State::Applied);
    assert_eq!((&*given.department("E1").await, &*given.department("E7").await), ("Sales", ""));
    assert_eq!(
        given.member("E1").await.values.get(FieldId::LOCATION),
        Some("Kiel"),
        "what was approved is on the roster"
    );
    given.verified().await;
    let again = given.sync(dry(full()), &payload.replace("Last2", "Lost2")).await;
    assert_eq!((again.counts.updated, again.counts.suppressed), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_rekey_is_not_asked_again() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let payload = |team| csv((3..=6).map(person).chain([moved(2, team), person(1).replacen("E1,", "N1,", 1)]));
    let held = given.sync(hold(full()), &payload("Legal")).await;
    assert_eq!(held.counts.rekeyed, 1);
    let approval = Approval { choice: only(&["E2"]), reject_rest: true, ..Approval::default() };
    given.approve(&held, approval).await.unwrap();
    let next = given.applied(full(), &payload("Press")).await;
    assert_eq!((next.counts.added, next.counts.removed, next.counts.rekeyed, next.counts.suppressed), (0, 0, 0, 1));
    assert_eq!(given.listed().await.len(), 6);
    assert!(given.listed().await.contains(&"E1".to_owned()));
    let changed =
        given.sync(dry(full()), &payload("Press").replace("N1,p1@x.example,First1", "N1,p1@x.example,Zoe")).await;
    assert_eq!((changed.counts.added, changed.counts.removed), (1, 0), "another value is news");
    given.set("ask_again_days", "0").await;
    let later = given.sync(full(), &payload("R&D")).await;
    assert_eq!((later.state, later.counts.removed, guards(&later)), (State::Held, 1, vec!["ask_again"]));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_end_of_one_feeds_claim_is_not_asked_again_until_later_and_then_held() {
    let given = Given::organisation().await;
    given.feed_named("payroll").await;
    given.applied(full(), &staff(1..=6)).await;
    given.sync(of("payroll", full()), &staff(1..=6)).await;
    let held = given.sync(hold(full()), &csv((3..=6).map(person).chain([moved(2, "Legal")]))).await;
    let approval = Approval { choice: only(&["E2"]), reject_rest: true, ..Approval::default() };
    given.approve(&held, approval).await.unwrap();
    assert!(given.member("E1").await.is_claimed_by(FeedNo::MAIN));
    given.applied(full(), &csv((3..=6).map(person).chain([moved(2, "Press")]))).await;
    assert!(given.member("E1").await.is_claimed_by(FeedNo::MAIN), "not the next night");
    given.set("ask_again_days", "0").await;
    let later =
        given.sync(full(), &csv((3..=6).map(person).chain([moved(2, "Press")])).replace("Last3", "Lost3")).await;
    assert_eq!((later.state, guards(&later)), (State::Held, vec!["ask_again"]));
    given.reject(&later, only(&["E1"])).await;
    given.approve(&later, Approval::default()).await.unwrap();
    let same = csv([moved(2, "Press")].into_iter().chain((3..=6).map(person))).replace("Last3", "Lost3");
    let silent = given.sync(full(), &same).await;
    assert_eq!(
        (silent.state, guards(&silent)),
        (State::Held, vec!["ask_again"]),
        "although nothing that people see would change"
    );
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choices_made_carry_over_to_the_change_set_that_supersedes() {
    let (given, held) = waiting().await;
    given.reject(&held, only(&["E1", "E5"])).await;
    given.approve(&held, Approval { choice: only(&["E2"]), ..Approval::default() }).await.unwrap();
    let next = csv([moved(1, "Legal"), moved(2, "Legal"), person(3), person(6), person(7), person(8)]);
    let newer = given.sync(hold(full()), &next).await;
    assert_eq!(given.change_set(&held).await.state, State::Superseded);
    assert_eq!((newer.counts.updated, newer.counts.suppressed), (0, 1), "E2 was approved and E1 rejected");
    assert_eq!((newer.counts.removed, newer.counts.added), (1, 2), "E4 is gone now, E5's absence was rejected");
    given.verified().await;
}
