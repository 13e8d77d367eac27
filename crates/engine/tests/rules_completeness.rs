//! Completeness: absence counts only in a full payload that is whole.

use crate::rules_given::*;

/// A roster of ten, so that one or two missing trip no percentage.
async fn ten() -> Given {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=10)).await;
    given
}

async fn nobody_left(given: &Given, report: &Report) {
    assert_eq!((report.state, guards(report)[0]), (State::Held, "incomplete"), "{:?}", report.holds);
    assert_eq!(given.listed().await.len(), 10);
    assert_eq!(given.change_set(report).await.unproven.len() as u64, report.counts.removed);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_ends_inside_a_quoted_cell_removes_nobody() {
    let given = ten().await;
    let cut = csv((1..=8).map(person)) + "E9,\"p9@x.exam";
    let report = given.sync(full(), &cut).await;
    assert!(report.counts.removed > 0);
    nobody_left(&given, &report).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_last_row_removes_nobody() {
    let given = ten().await;
    let report = given.sync(full(), &(csv((1..=8).map(person)) + "E9,p9@x.example,First9")).await;
    assert_eq!((report.counts.invalid, report.counts.rows), (1, 9));
    nobody_left(&given, &report).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_without_a_key_could_be_anybody() {
    let given = ten().await;
    let report = given.sync(full(), &csv((1..=9).map(person).chain([person(10).replace("E10,", ",")]))).await;
    nobody_left(&given, &report).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unproven_absences_are_not_lifted_by_apply_nor_taken_by_approve_all() {
    let given = ten().await;
    let cut = csv((1..=8).map(person).chain([moved(9, "Legal")])) + "E10,\"p1";
    let report = given.sync(Request { asked: Some(Asked::Apply), ..full() }, &cut).await;
    nobody_left(&given, &report).await;
    given.approve(&report, Approval::default()).await.unwrap();
    assert_eq!((given.listed().await.len(), &*given.department("E9").await), (10, "Legal"));
    let asked = Approval { choice: Choice { only: vec!["E10".into()], ..Choice::default() }, ..Approval::default() };
    given.approve(&report, asked).await.unwrap();
    assert_eq!(given.listed().await.len(), 9);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_rows_than_expected_removes_nobody() {
    let given = ten().await;
    let expecting = |rows| Request { expect_rows: Some(rows), ..full() };
    nobody_left(&given, &given.sync(expecting(10), &staff(1..=9)).await).await;
    let report = given.applied(expecting(9), &csv((2..=9).map(person).chain([moved(1, "Legal")]))).await;
    assert_eq!(report.counts.removed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_sha256_than_expected_is_refused() {
    let given = ten().await;
    let request = Request { expect_sha256: Some("00".repeat(32)), ..full() };
    assert!(matches!(given.try_sync(request, &staff(1..=9)).await, Err(Error::Refused(_))));
    assert_eq!(given.listed().await.len(), 10);
    let right = muster_engine::payload::hex(&<sha2::Sha256 as sha2::Digest>::digest(staff(1..=9)));
    given.applied(Request { expect_sha256: Some(right), ..full() }, &staff(1..=9)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_as_of_than_the_last_accepted_one_is_refused() {
    let given = ten().await;
    let of = |time: &str| Request { as_of: Some(time.parse().unwrap()), ..full() };
    given.applied(of("2026-03-02T00:00:00Z"), &staff(1..=11)).await;
    let older = given.try_sync(of("2026-03-01T00:00:00Z"), &staff(1..=9)).await;
    assert!(matches!(older, Err(Error::Refused(_))));
    assert_eq!(given.listed().await.len(), 11);
    given.applied(of("2026-03-03T00:00:00Z"), &staff(1..=10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_without_the_line_break_of_last_time_removes_nobody() {
    let given = ten().await;
    let report = given.sync(full(), staff(1..=9).trim_end()).await;
    nobody_left(&given, &report).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_column_of_last_time_nobody_leaves_and_nothing_is_cleared() {
    let given = ten().await;
    let narrow = staff(1..=9).lines().map(|l| l.rsplit_once(',').unwrap().0.to_owned() + "\n").collect::<String>();
    let report = given.sync(full(), &narrow).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["incomplete", "missing_columns"]));
    assert_eq!((report.counts.updated, report.counts.removed, given.listed().await.len()), (0, 1, 10));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_the_tail_missing_waits() {
    let given = ten().await;
    let report = given.sync(full(), &staff(1..=8)).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["tail_missing"]));
    given.applied(full(), &staff(1..=9)).await;
    let report = given.applied(full(), &staff((1..=9).filter(|n| *n != 3 && *n != 9))).await;
    assert_eq!(report.counts.removed, 2, "somebody from the middle is missing too");
    given.verified().await;
}

/// A new key is recognised only while rows are compared, and whoever is recognised is not missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_with_new_keys_are_no_missing_tail() {
    let given = ten().await;
    let rekeyed = |n: usize| person(n).replacen('E', "N", 1);
    let report = given.sync(full(), &csv((1..=10).map(rekeyed))).await;
    assert_eq!((report.counts.rekeyed, report.counts.removed), (10, 0));
    assert_eq!(guards(&report), ["key_changes"]);
    // With some of the tail recognised, the others of it are all who are missing, and they are its end.
    let report = given.sync(full(), &csv((1..=6).map(person).chain((7..=8).map(rekeyed)))).await;
    assert_eq!((report.counts.rekeyed, report.counts.removed), (2, 2));
    assert!(guards(&report).contains(&"tail_missing"), "{:?}", report.holds);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tail_is_that_of_the_last_payloads_order() {
    let given = Given::organisation().await;
    given.applied(full(), &staff((1..=10).rev())).await;
    let report = given.sync(full(), &staff((3..=10).rev())).await;
    assert_eq!(guards(&report), ["tail_missing"]);
    given.forget_fingerprints().await;
    let report = given.sync(dry(full()), &staff(3..=10)).await;
    assert_eq!(guards(&report), ["tail_missing"], "the order is no part of the fingerprints");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_value_drops_its_field_or_if_it_decides_its_row_and_the_person_stays() {
    let given = ten().await;
    let dated = |rows: Vec<String>| {
        let rows = rows.iter().map(|r| format!("{r},,\n")).collect::<String>();
        format!("{HEADER},start_date,note\n{rows}")
    };
    given.applied(full(), &dated((1..=9).map(person).chain([moved(10, "Press")]).collect())).await;
    let mut rows: Vec<String> = (1..=8).map(person).collect();
    rows.push(moved(10, "Legal").replace("p10@x.example", "no address"));
    rows.push(moved(9, "Le\u{1}gal").replace("Bonn", "Kiel"));
    let report = given.applied(full(), &dated(rows)).await;
    assert_eq!((report.counts.invalid, report.counts.updated, report.counts.removed), (1, 1, 0), "{:?}", report.issues);
    assert_eq!((report.issues.len(), given.listed().await.len()), (2, 10));
    let nine = given.member("E9").await;
    assert_eq!(
        (nine.values.get(FieldId::DEPARTMENT), nine.values.get(FieldId::LOCATION)),
        (Some("Sales"), Some("Kiel"))
    );
    assert_eq!(given.department("E10").await, "Press", "nothing is taken from a row whose e-mail cannot be read");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_cell_clears_in_full_and_stays_in_partial() {
    let given = ten().await;
    let report = given.sync(partial(), &csv([moved(1, "")])).await;
    assert_eq!((report.state, &*given.department("E1").await), (State::NoChanges, "Sales"));
    given.applied(full(), &csv((2..=10).map(person).chain([moved(1, "")]))).await;
    assert_eq!(given.department("E1").await, "");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_rows_expected_counts_in_every_mode() {
    let given = ten().await;
    for request in [partial(), leavers()] {
        let report =
            given.sync(Request { expect_rows: Some(3), ..request }, &csv([moved(1, "Legal"), moved(2, "Legal")])).await;
        assert_eq!((report.state, guards(&report)), (State::Held, vec!["incomplete"]));
    }
    assert_eq!((given.listed().await.len(), &*given.department("E1").await), (10, "Sales"));
    let report = given.sync(Request { expect_rows: Some(1), ..partial() }, &csv([moved(1, "Legal")])).await;
    assert_eq!(report.state, State::Applied);
}

/// Another feed still claims them, so that nothing would be seen; but the next absence would then remove them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absence_in_doubt_ends_no_claim_unseen() {
    let given = ten().await;
    given.feed_named("payroll").await;
    assert_eq!(given.sync(of("payroll", full()), &staff(1..=10)).await.state, State::NoChanges);
    let cut = csv((1..=8).map(person)) + "E9,\"p9@x.exam";
    let report = given.sync(of("payroll", full()), &cut).await;
    assert_eq!((report.state, guards(&report)[0]), (State::Held, "incomplete"));
    let tail = given.sync(of("payroll", full()), &staff(1..=8)).await;
    assert_eq!((tail.state, guards(&tail)), (State::Held, vec!["tail_missing"]));
    let claims = |acme: Organisation| acme.feeds.iter().map(|f| f.claims).collect::<Vec<_>>();
    assert_eq!(claims(given.acme().await), [10, 10]);
    assert_eq!(given.approve(&tail, Approval::default()).await.unwrap().state, State::Applied);
    assert_eq!((claims(given.acme().await), given.listed().await.len()), (vec![10, 8], 10));
    given.verified().await;
}
