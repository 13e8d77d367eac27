//! Claims not renewed for long: whom a feed claims although no payload of it has named them since.

use crate::rules_given::*;
use chrono::{DateTime, Utc};

/// The keys of those whose claim `main` has not renewed since then.
async fn stale(given: &Given, since: DateTime<Utc>) -> Vec<String> {
    let acme = given.acme().await;
    let mut keys = Vec::new();
    let found = given.engine.not_renewed(&acme, &acme.feeds[0], since, |m| keys.push(m.key.clone())).await.unwrap();
    assert_eq!(found.count as usize, keys.len());
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_has_fallen_silent_renews_nobody() {
    let given = Given::organisation().await;
    let before = given.engine.now();
    given.applied(full(), &staff(1..=3)).await;
    assert_eq!(stale(&given, before).await, Vec::<String>::new());
    assert_eq!(stale(&given, given.engine.now()).await, ["E1", "E2", "E3"]);
    let yesterday = given.engine.now() - chrono::Duration::days(1);
    assert_eq!(stale(&given, yesterday).await, Vec::<String>::new(), "the claims are younger than that");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_payload_renews_whom_it_names_even_if_it_says_nothing_new() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=3)).await;
    let since = given.engine.now();
    assert_eq!(given.sync(partial(), &staff([2])).await.state, State::NoChanges);
    assert_eq!(stale(&given, since).await, ["E1", "E3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_waits_or_was_rejected_renews_nobody() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=3)).await;
    let since = given.engine.now();
    let held = given.sync(Request { asked: Some(Asked::Hold), ..full() }, &csv([moved(1, "Legal")])).await;
    assert_eq!(stale(&given, since).await.len(), 3);
    given.reject(&held, Choice::default()).await;
    assert_eq!(stale(&given, since).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_payload_renews_all_but_those_whose_absence_was_not_accepted() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=3)).await;
    let held = given.sync(Request { asked: Some(Asked::Hold), ..full() }, &staff(1..=2)).await;
    given.reject(&held, Choice { only: vec!["E3".into()], ..Choice::default() }).await;
    let since = given.engine.now();
    given.sync(full(), &csv([moved(1, "Legal"), person(2)])).await;
    assert_eq!(stale(&given, since).await, ["E3"]);
}
