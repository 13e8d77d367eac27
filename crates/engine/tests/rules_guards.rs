//! Guards: what turns auto-apply into hold, and what does not lift it.

use crate::rules_given::*;

const ALL: usize = 40;

async fn forty() -> Given {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=ALL)).await;
    given
}

fn asking(asked: Asked, request: Request) -> Request {
    Request { asked: Some(asked), ..request }
}

/// Six of forty missing from the beginning: 15 %.
fn six_gone() -> String {
    csv((7..=ALL).map(person))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_removals_wait_and_apply_does_not_lift_that() {
    let given = forty().await;
    let report = given.sync(asking(Asked::Apply, full()), &six_gone()).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["removals"]));
    assert_eq!(report.holds[0].figure, 15);
    assert_eq!(given.listed().await.len(), ALL);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_lifts_policy_and_hold_always_holds() {
    let given = Given::with(&[("policy.upload", "hold")]).await;
    let upload = || Request { channel: Some(Channel::Upload), ..full() };
    assert_eq!(given.sync(dry(upload()), &staff(1..=6)).await.holds.len(), 0);
    let report = given.sync(upload(), &staff(1..=6)).await;
    assert_eq!((report.state, report.holds.len()), (State::Held, 0), "by policy, not by a guard");
    given.applied(asking(Asked::Apply, upload()), &staff(1..=7)).await;
    let report = given.sync(asking(Asked::Hold, full()), &csv((2..=7).map(person).chain([moved(1, "Legal")]))).await;
    assert_eq!(report.state, State::Held);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_hold_removals_the_rest_goes_on() {
    let given = forty().await;
    given.set("guard.on_trip", "hold_removals").await;
    let payload = csv((9..=ALL).map(person).chain([moved(7, "Legal"), moved(8, "Legal"), person(99)]));
    let report = given.sync(full(), &payload).await;
    assert_eq!((report.state, guards(&report)), (State::PartlyApplied, vec!["removals"]));
    assert_eq!((given.listed().await.len(), &*given.department("E7").await), (ALL + 1, "Legal"));
    let waiting = given.change_set(&report).await.waiting();
    assert_eq!(waiting.len(), 6, "the removals and nothing else");
    let approval = Approval { confirm_removals: Some(6), ..Approval::default() };
    let approved = given.approve(&report, approval).await.unwrap();
    assert_eq!((approved.state, given.listed().await.len()), (State::Applied, ALL - 5));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_hold_removals_whoever_would_become_ineligible_waits_too() {
    let given = Given::with(&[("guard.on_trip", "hold_removals")]).await;
    let rows = |status: &dyn Fn(usize) -> &'static str| {
        let rows: String = (1..=ALL).map(|n| format!("{},{}\n", person(n), status(n))).collect();
        format!("{HEADER},employment_status\n{rows}")
    };
    given.applied(full(), &rows(&|_| "active")).await;
    let report = given
        .sync(
            full(),
            &rows(&|n| {
                if n <= 6 {
                    "Terminated"
                } else if n == 7 {
                    "leave"
                } else {
                    "active"
                }
            }),
        )
        .await;
    assert_eq!((report.state, guards(&report)), (State::PartlyApplied, vec!["removals"]));
    assert_eq!(given.change_set(&report).await.waiting().len(), 6);
    assert_eq!(given.member("E7").await.values.get(FieldId::EMPLOYMENT_STATUS), Some("leave"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_date_brought_forward_counts_as_a_removal() {
    let given = Given::organisation().await;
    let rows = |end: &dyn Fn(usize) -> &'static str| {
        let rows: String = (1..=ALL).map(|n| format!("{},{}\n", person(n), end(n))).collect();
        format!("{HEADER},end_date\n{rows}")
    };
    given.applied(full(), &rows(&|_| "2190-12-31")).await;
    let later = given.sync(dry(full()), &rows(&|n| if n <= 6 { "2195-12-31" } else { "2190-12-31" })).await;
    assert_eq!((later.counts.updated, later.holds.len()), (6, 0));
    let report = given.sync(full(), &rows(&|n| if n <= 6 { "2189-12-31" } else { "2190-12-31" })).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["removals"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partial_removals_add_up_over_24_hours() {
    let given = forty().await;
    given.applied(leavers(), &staff(1..=3)).await;
    let report = given.sync(leavers(), &staff(4..=6)).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["removals"]), "3 and 3 of 37");
    assert_eq!(given.listed().await.len(), ALL - 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blanked_column_waits() {
    let given = forty().await;
    let report = given.sync(full(), &csv((1..=ALL).map(|n| moved(n, "")))).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["blanked_field"]));
    assert!(report.holds[0].detail.contains("department"), "{}", report.holds[0].detail);
    given.forget_fingerprints().await;
    let half = csv((1..=20).map(|n| moved(n, "")).chain((21..=ALL).map(person)));
    assert_eq!(given.applied(full(), &half).await.counts.updated, 20, "not more than half");
    let rest = csv((1..=31).map(|n| moved(n, "")).chain((32..=ALL).map(person)));
    let report = given.sync(full(), &rest).await;
    assert_eq!(
        (report.holds[0].figure.clone(), guards(&report)),
        (55.into(), vec!["blanked_field"]),
        "11 of the 20 left"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn far_fewer_rows_than_last_time_wait() {
    let given = forty().await;
    given.set("guard.removals.max_percent", "off").await;
    let report = given.sync(full(), &csv((10..=ALL).map(person))).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["min_rows"]));
    let approved = given.approve(&report, Approval::default()).await.unwrap();
    assert_eq!((approved.state, given.listed().await.len()), (State::Applied, 31));
    let next = given.sync(full(), &csv((11..=ALL).map(person))).await;
    assert_eq!(next.state, State::Applied, "what was approved is the measure of the next");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_changed_keys_wait() {
    let given = forty().await;
    let rekeyed = csv((1..=5).map(|n| person(n).replacen('E', "N", 1)).chain((6..=ALL).map(person)));
    let report = given.sync(full(), &rekeyed).await;
    assert_eq!((report.state, guards(&report), report.counts.rekeyed), (State::Held, vec!["key_changes"], 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_import_of_a_feed_waits() {
    let given = Given::with(&[("guard.first_import", "on")]).await;
    let report = given.sync(full(), &staff(1..=6)).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["first_import"]));
    given.approve(&report, Approval::default()).await.unwrap();
    given.applied(full(), &staff(1..=7)).await;
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_rows_wait_from_a_person_and_are_skipped_from_a_machine_or_refuse_all() {
    let given = Given::with(&[("policy.upload", "apply")]).await;
    given.applied(full(), &staff(1..=6)).await;
    let payload = csv((3..=6).map(person).chain([moved(1, "Legal"), person(2).replace("p2@x.example", "nobody")]));
    let upload = Request { channel: Some(Channel::Upload), ..full() };
    let held = given.sync(dry(upload), &payload).await;
    assert_eq!((guards(&held), held.counts.invalid), (vec!["invalid_rows"], 1));
    given.set("invalid_rows", "refuse").await;
    let refused = given.sync(full(), &payload).await;
    assert_eq!((refused.state, refused.issues.len()), (State::Refused, 1));
    assert_eq!(given.department("E1").await, "Sales");
    given.set("invalid_rows", "skip").await;
    let report = given.applied(full(), &payload).await;
    assert_eq!((report.counts.invalid, report.counts.updated, report.counts.removed), (1, 1, 0));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_recorded_tripped_or_not() {
    let given = forty().await;
    let report =
        given.applied(full(), &csv((2..=ALL).map(|n| if n < 5 { moved(n, "Legal") } else { person(n) }))).await;
    let figures = given.change_set(&report).await.figures;
    assert_eq!((figures.claims_before, figures.removals, figures.updates), (40, 1, 3));
    assert_eq!((figures.rows, figures.rows_last, figures.first_import), (39, Some(40), false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feeds_own_settings_go_before_the_organisations() {
    let given = forty().await;
    let overrides = [("guard.removals.max_percent".to_owned(), "20".to_owned())].into();
    let acme = given.acme().await;
    let feed = acme.feed("main").unwrap();
    given.engine.set_feed(&acme, feed, FeedSettings { overrides, ..feed.settings.clone() }).await.unwrap();
    assert_eq!(given.applied(full(), &six_gone()).await.counts.removed, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_deletes_by_hand_add_up_over_24_hours() {
    let given = forty().await;
    for n in 1..=4 {
        assert_eq!(given.by_hand(Edit::Remove { key: format!("E{n}").into() }).await.state, State::Applied, "{n}");
    }
    let report = given.by_hand(Edit::Remove { key: "E5".into() }).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["removals"]));
    assert_eq!(given.listed().await.len(), ALL - 4);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_by_hand_and_partial_removals_add_up_together() {
    let given = forty().await;
    for n in 1..=3 {
        given.by_hand(Edit::Remove { key: format!("E{n}").into() }).await;
    }
    let report = given.sync(leavers(), &staff(4..=5)).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["removals"]), "3 by hand and 2 of 37");
    let given = forty().await;
    given.applied(leavers(), &staff(1..=4)).await;
    let report = given.by_hand(Edit::Remove { key: "E5".into() }).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["removals"]), "4 by a list and 1 of 36");
    given.verified().await;
}
