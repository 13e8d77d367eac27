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
async fn the_same_bytes_read_by_another_mapping_are_another_payload() {
    let given = six().await;
    let said = |pairs: &[(&str, &str)]| {
        let mapping = pairs.iter().map(|(field, column)| ((*field).to_owned(), (*column).to_owned())).collect();
        Request { mapping, ..partial() }
    };
    let payload = "Badge,Site,Team\nE1,Rome,Law\n";
    let team = || said(&[("unique_id", "Badge"), ("department", "Team")]);
    let first = given.applied(keyed("monday", team()), payload).await;
    assert_eq!((first.counts.updated, &*given.department("E1").await), (1, "Law"));
    let site = said(&[("unique_id", "Badge"), ("department", "Site")]);
    assert!(matches!(given.try_sync(keyed("monday", site.clone()), payload).await, Err(Error::Reused(_))));
    let again = given.sync(keyed("monday", team()), payload).await;
    assert_eq!(again.upload_id, first.upload_id);
    // What is meant is compared, and not how it is called.
    let called = keyed("monday", said(&[("employee_id", " Badge"), (" department ", "Team")]));
    assert_eq!(given.sync(called, payload).await.upload_id, first.upload_id);
    let called = keyed("monday", said(&[("uniqueId", "Badge"), ("department", "Team")]));
    assert_eq!(given.sync(called, payload).await.upload_id, first.upload_id);
    // Nor is it that of whoever waits.
    let held = given.sync(hold(site.clone()), payload).await;
    assert_eq!(held.state, State::Held);
    assert_eq!(given.sync(hold(site), payload).await.upload_id, held.upload_id);
    assert_ne!(given.sync(hold(team()), payload).await.upload_id, held.upload_id);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_that_makes_no_sense_is_told_before_anything_is_taken() {
    let given = six().await;
    let acme = given.acme().await;
    let before = given.engine.store.head(acme.row.id).await.unwrap().last_seq;
    for (pairs, why) in [
        (&[("shoe_size", "Badge")][..], "no field `shoe_size`"),
        (&[("email", "Badge"), ("location", "Badge ")], "given to email too"),
        (&[("unique_id", "Badge"), ("employee_id", "No")], "named twice"),
    ] {
        let mapping = pairs.iter().map(|(field, column)| ((*field).to_owned(), (*column).to_owned())).collect();
        match given.try_sync(Request { mapping, ..partial() }, "Badge,No\nE1,E1\n").await {
            Err(Error::Wrong(said)) => assert!(said.contains(why), "{said}"),
            other => panic!("{pairs:?}: {other:?}"),
        }
    }
    assert_eq!(given.engine.store.head(acme.row.id).await.unwrap().last_seq, before);
    // Only the payload tells that a column is not there, so it is refused once it is read.
    let mapping = [("location".to_owned(), "Place".to_owned())].into();
    let refused = given.sync(Request { mapping, ..partial() }, "employee_id\nE1\n").await;
    assert_eq!(refused.state, State::Refused);
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
