//! Duplicates inside one payload: what repeats is noticed, what contradicts is invalid.

use crate::rules_given::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contradicting_rows_are_invalid_and_each_names_the_others_line() {
    let given = Given::organisation().await;
    let report = given.sync(full(), &csv([person(1), person(2), moved(1, "Legal")])).await;
    assert_eq!((report.counts.invalid, report.counts.added), (2, 1));
    let issues: Vec<(u64, bool)> = report.issues.iter().map(|i| (i.line, i.reason.contains("Line 4 "))).collect();
    assert_eq!(issues, [(2, true), (4, false)]);
    assert!(report.issues[1].reason.contains("Line 2 "), "{}", report.issues[1].reason);
    assert_eq!(given.listed().await, ["E2"]);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_person_in_contradicting_rows_stays() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let twice = csv((2..=6).map(person).chain([moved(1, "Legal"), moved(1, "Press")]));
    let report = given.sync(full(), &twice).await;
    assert_eq!((report.counts.invalid, report.counts.removed, report.counts.updated), (2, 0, 0));
    assert!(given.member("E1").await.is_listed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identical_rows_count_once_and_are_noticed() {
    let given = Given::organisation().await;
    let twice = csv([
        person(1),
        person(2),
        person(1),
        person(1).to_uppercase().replace("FIRST1,LAST1", "First1,Last1").replace("SALES,BONN", "Sales,Bonn"),
    ]);
    let report = given.applied(full(), &twice).await;
    assert_eq!((report.counts.added, report.counts.unchanged, report.counts.invalid, report.counts.rows), (2, 2, 0, 4));
    assert!(report.issues.iter().all(|i| i.reason.contains("the same as line 2")), "{:?}", report.issues);
    let again = given.sync(full(), &csv([1, 2, 1, 2].map(person))).await;
    assert_eq!((again.counts.unchanged, again.issues.len()), (4, 2), "known rows are noticed too");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_setting_the_first_or_the_last_counts() {
    for (setting, department) in [("first", "Sales"), ("last", "Legal")] {
        let given = Given::with(&[("duplicates", setting)]).await;
        let report = given.applied(full(), &csv([person(1), moved(1, "Legal")])).await;
        assert_eq!((report.counts.added, report.counts.invalid), (1, 1));
        assert_eq!(given.department("E1").await, department);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_row_and_a_contradicting_one_are_both_invalid() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let twice = csv((1..=6).map(person).chain([moved(1, "Legal")]));
    let with = given.sync(dry(full()), &twice).await;
    given.forget_fingerprints().await;
    let without = given.sync(dry(full()), &twice).await;
    assert_eq!((without.counts.invalid, without.counts.updated), (2, 0));
    assert_eq!(with.counts, without.counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_and_a_new_key_of_one_person_in_one_payload_contradict() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    given.by_hand(Edit::Rekey { key: "E1".into(), new_key: "N1".into() }).await;
    let both = csv((2..=6)
        .map(person)
        .chain([moved(1, "Legal"), person(1).replacen("E1,", "N1,", 1).replace("Bonn", "Kiel")]));
    let report = given.sync(full(), &both).await;
    assert_eq!((report.counts.invalid, report.counts.updated), (2, 0));
    given.verified().await;
}
