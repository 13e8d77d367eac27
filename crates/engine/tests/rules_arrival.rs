//! Order of arrival, retries and identical payloads.

use crate::rules_given::*;

async fn six() -> Given {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    given
}

fn keyed(key: &str, request: Request) -> Request {
    Request { idempotency_key: Some(key.to_owned()), ..request }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_identical_to_the_last_decided_one_changes_nothing() {
    let given = six().await;
    let before = given.acme().await.feeds[0].clone();
    let report = given.sync(full(), &staff(1..=6)).await;
    assert_eq!((report.state, report.counts.unchanged, report.change_set_id), (State::NoChanges, 6, None));
    assert_eq!((report.roster_version, given.acme().await.feeds[0].baseline.clone()), (1, before.baseline));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_makes_the_same_payload_news_again() {
    let given = six().await;
    let payload = csv((2..=6).map(person).chain([moved(1, "Legal")]));
    let report = given.applied(full(), &payload).await;
    let ids = vec![report.change_set_id.unwrap().to_string()];
    given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap();
    assert_eq!(given.department("E1").await, "Sales");
    let again = given.sync(full(), &payload).await;
    assert_eq!(
        (again.counts.suppressed, again.counts.updated),
        (1, 0),
        "read again, and the undone value is not proposed"
    );
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_while_held_gives_the_held_one_back() {
    let given = six().await;
    let payload = csv((1..=5).map(person).chain([moved(6, "Legal")]));
    let hold = || Request { asked: Some(Asked::Hold), ..full() };
    let held = given.sync(hold(), &payload).await;
    let again = given.sync(hold(), &payload).await;
    assert_eq!((again.upload_id, again.change_set_id, again.state), (held.upload_id, held.change_set_id, State::Held));
    let other = given.sync(Request { mode: Some(Mode::Partial), ..hold() }, &payload).await;
    assert_ne!(other.change_set_id, held.change_set_id, "another mode is another question");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_answers_once() {
    let given = six().await;
    let payload = csv((1..=5).map(person).chain([moved(6, "Legal")]));
    let first = given.applied(keyed("monday", full()), &payload).await;
    given.applied(full(), &staff(1..=6)).await;
    let again = given.sync(keyed("monday", full()), &payload).await;
    assert_eq!((again.upload_id, again.counts), (first.upload_id, first.counts));
    assert_eq!(given.department("E6").await, "Sales", "the answer again, not the deed");
    assert!(matches!(given.try_sync(keyed("monday", full()), &staff(1..=3)).await, Err(Error::Reused(_))));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_upload_never_overwrites_what_a_newer_one_said() {
    let given = six().await;
    let older = csv((3..=6).map(person).chain([moved(1, "Legal"), moved(2, "Legal")]));
    let held = given.sync(Request { asked: Some(Asked::Hold), ..partial() }, &older).await;
    given.applied(partial(), &csv([moved(1, "Press")])).await;
    given.approve(&held, Approval::default()).await.unwrap();
    assert_eq!((&*given.department("E1").await, &*given.department("E2").await), ("Press", "Legal"));
    assert_eq!(given.change_set(&held).await.dropped.len(), 1);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrivals_are_numbered_in_order() {
    let given = six().await;
    let second = given.sync(full(), &staff(1..=7)).await;
    let acme = given.acme().await;
    let row = given.engine.store.upload(acme.row.id, second.upload_id.unwrap()).await.unwrap();
    assert_eq!((row.arrival, acme.feeds[0].last_arrival.unwrap().0), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_leaves_nothing_behind() {
    let given = six().await;
    let acme = given.acme().await;
    let before = given.engine.store.head(acme.row.id).await.unwrap().last_seq;
    let report = given.sync(dry(full()), &csv([moved(1, "Legal")])).await;
    assert_eq!((report.state, report.counts.removed, report.upload_id), (State::DryRun, 5, None));
    assert_eq!(given.engine.store.head(acme.row.id).await.unwrap().last_seq, before);
    assert_eq!(given.listed().await.len(), 6);
    given.applied(full(), &staff(1..=7)).await;
    given.verified().await;
}

fn hold(request: Request) -> Request {
    Request { asked: Some(Asked::Hold), ..request }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complete_newer_full_payload_supersedes_the_older_held_one() {
    let given = six().await;
    let older = given.sync(hold(full()), &csv((1..=5).map(person).chain([moved(6, "Legal")]))).await;
    let newer = given.sync(hold(full()), &csv((1..=5).map(person).chain([moved(6, "Press")]))).await;
    assert_eq!(given.change_set(&older).await.state, State::Superseded);
    assert!(matches!(given.approve(&older, Approval::default()).await, Err(Error::Wrong(_))));
    given.approve(&newer, Approval::default()).await.unwrap();
    assert_eq!(given.department("E6").await, "Press");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incomplete_payload_or_another_feeds_supersedes_nothing() {
    let given = six().await;
    given.feed_named("payroll").await;
    let held = given.sync(hold(full()), &csv((1..=5).map(person).chain([moved(6, "Legal")]))).await;
    let cut = csv((1..=4).map(person)) + "E5,\"p5";
    assert_eq!(given.sync(full(), &cut).await.state, State::Held);
    given.sync(of("payroll", full()), &staff(1..=6)).await;
    assert_eq!(given.change_set(&held).await.state, State::Held);
    given.verified().await;
}
