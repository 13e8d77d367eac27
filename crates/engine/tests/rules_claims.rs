//! Claims: who is on the roster, and by whose word.

use crate::rules_given::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_a_full_payload_no_longer_names_leaves() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let report = given.applied(full(), &staff([1, 2, 4, 5, 6])).await;
    assert_eq!((report.counts.removed, report.counts.unchanged, report.counts.rows), (1, 5, 5));
    assert_eq!(given.listed().await, ["E1", "E2", "E4", "E5", "E6"]);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_payload_ends_only_its_own_feeds_claims() {
    let given = Given::organisation().await;
    given.feed_named("payroll").await;
    given.applied(full(), &staff(1..=6)).await;
    let joining = given.sync(of("payroll", full()), &staff(4..=8)).await;
    assert_eq!((joining.counts.added, joining.counts.unchanged), (2, 3), "three are claimed twice now");
    // E3 is claimed by main alone, E4 by both.
    let report = given.applied(full(), &staff([1, 2, 5, 6])).await;
    assert_eq!(report.counts.removed, 1);
    assert_eq!(given.listed().await, ["E1", "E2", "E4", "E5", "E6", "E7", "E8"]);
    assert_eq!(given.member("E4").await.claimants().collect::<Vec<_>>(), [FeedNo(2)]);
    let report = given.applied(of("payroll", full()), &staff([5, 6, 7, 8])).await;
    assert_eq!((report.counts.removed, given.member("E4").await.is_listed()), (1, false));
    let claims: Vec<u64> = given.acme().await.feeds.iter().map(|f| f.claims).collect();
    assert_eq!(claims, [4, 4]);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_payload_removes_nobody() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let report = given.applied(partial(), &csv([moved(2, "Legal"), person(7)])).await;
    assert_eq!((report.counts.updated, report.counts.added, report.counts.removed), (1, 1, 0));
    assert_eq!(given.listed().await.len(), 7);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leavers_only_remove_and_only_those_named() {
    let given = Given::organisation().await;
    given.feed_named("payroll").await;
    given.applied(full(), &staff(1..=6)).await;
    given.sync(of("payroll", full()), &staff([2])).await;
    let report = given.applied(leavers(), &csv([moved(1, "Legal"), person(2), person(9)])).await;
    assert_eq!((report.counts.removed, report.counts.added, report.counts.updated), (1, 0, 0));
    assert_eq!(report.issues.len(), 1, "nobody has the key E9: {:?}", report.issues);
    assert_eq!(given.listed().await, ["E2", "E3", "E4", "E5", "E6"], "payroll still claims E2");
    assert_eq!(given.department("E1").await, "Sales");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_back_is_the_same_person_with_a_second_spell() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let before = given.member("E3").await;
    given.applied(full(), &staff([1, 2, 4, 5, 6])).await;
    let report = given.applied(full(), &staff(1..=6)).await;
    assert_eq!((report.counts.reinstated, report.counts.added), (1, 0));
    let after = given.member("E3").await;
    assert_eq!((after.uuid, after.no), (before.uuid, before.no));
    assert_eq!((after.spells.len(), after.spells[0].to.is_some(), after.spells[1].to), (2, true, None));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_addition_by_hand_stays_until_the_feed_that_took_it_over_lets_go() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=5)).await;
    let fields = [("employee_id", "E6"), ("last_name", "Last6")].map(|(f, v)| (f.to_owned(), v.to_owned()));
    given.by_hand(Edit::Add { fields: fields.to_vec() }).await;
    given.applied(full(), &csv((1..=4).map(person).chain([moved(5, "Legal")]))).await;
    assert!(given.member("E6").await.is_listed(), "no payload of main has named E6 yet");
    given.applied(full(), &staff(1..=6)).await;
    assert_eq!(given.member("E6").await.claimants().collect::<Vec<_>>(), [FeedNo::MAIN]);
    let report = given.applied(full(), &staff(1..=5)).await;
    assert_eq!(report.counts.removed, 1);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_keeps_contractors_and_employees_apart() {
    let given = Given::organisation().await;
    given.feed(FeedSettings { name: "agency".into(), key_prefix: Some("C-".into()), ..FeedSettings::default() }).await;
    given.applied(full(), "employee_id,last_name\n1001,Lee\n").await;
    let report = given.applied(of("agency", full()), "employee_id,last_name\n1001,Ray\n").await;
    assert_eq!(report.counts.added, 1);
    assert_eq!(given.listed().await, ["1001", "C-1001"]);
    given.verified().await;
}

/// Somebody absent who is kept until a known end date far off.
async fn kept_until_an_end_date() -> Given {
    let given = Given::organisation().await;
    let dated = |rows: &[String]| format!("{HEADER},end_date\n{}\n", rows.join("\n"));
    let (one, two) = (format!("{},2099-12-31", person(1)), format!("{},", person(2)));
    given.applied(full(), &dated(&[one, two.clone()])).await;
    given.applied(full(), &dated(&[two])).await;
    assert!(given.is_eligible("E1").await, "absence never shortens a known later end date");
    given
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_leavers_ends_at_once_what_an_absence_left_until_the_end_date() {
    let given = kept_until_an_end_date().await;
    let report = given.applied(leavers(), &staff([1])).await;
    assert_eq!((report.counts.removed, given.is_eligible("E1").await), (1, false));
    assert_eq!(given.sync(leavers(), &staff([1])).await.state, State::NoChanges);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hand_ends_at_once_what_an_absence_left_until_the_end_date() {
    let given = kept_until_an_end_date().await;
    assert_eq!(given.by_hand(Edit::Remove { key: "E1".into() }).await.counts.removed, 1);
    assert!(!given.is_eligible("E1").await);
    assert!(given.engine.by_hand("acme", Edit::Remove { key: "E1".into() }, None).await.is_err(), "nothing is left");
    given.verified().await;
}
