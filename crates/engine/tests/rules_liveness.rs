//! Feeds that are expected: overdue once, recovered once, and nothing else.

use chrono::{DateTime, Duration, Utc};
use muster_domain::fact::Fact;

use crate::rules_given::*;

/// An organisation whose feed `main` is expected every minute, with no grace.
async fn every_minute() -> Given {
    let given = Given::organisation().await;
    expect(&given, "* * * * *", "0").await;
    given
}

async fn expect(given: &Given, schedule: &str, grace: &str) {
    let acme = given.acme().await;
    let feed = acme.feed("main").unwrap();
    let mut settings = feed.settings.clone();
    settings.expect(Some(schedule), None, Some(grace).filter(|_| !schedule.is_empty())).unwrap();
    given.engine.set_feed(&acme, feed, settings).await.unwrap();
}

/// What a check records, and whether the feed is overdue then.
async fn check(given: &Given, now: DateTime<Utc>) -> (Vec<&'static str>, bool) {
    let watches = given.engine.watch_feeds("acme", now).await.unwrap();
    given.verified().await;
    watches.first().map_or((Vec::new(), false), |w| (w.recorded.clone(), w.overdue.is_some()))
}

/// The facts of that type in the log.
async fn facts(given: &Given, kind: &str) -> Vec<Fact> {
    let mut slices = given.engine.store.event_slices(given.acme().await.row.id, 0, 1000);
    let mut facts = Vec::new();
    while let Some(slice) = slices.next().await.unwrap() {
        let of_kind = slice.into_iter().filter(|event| event.kind() == Some(kind));
        facts.extend(of_kind.map(|event| Fact::read(&event.open().unwrap().meta).unwrap()));
    }
    facts
}

fn soon() -> DateTime<Utc> {
    Utc::now() + Duration::minutes(10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_does_not_come_is_overdue_once_and_recovers_once() {
    let given = every_minute().await;
    let now = soon();
    assert_eq!(check(&given, Utc::now()).await, (vec![], false));
    assert_eq!(check(&given, now).await, (vec!["overdue"], true));
    for later in [0, 60, 3600] {
        assert_eq!(check(&given, now + Duration::seconds(later)).await, (vec![], true));
    }
    let report = given.applied(full(), &staff(1..=3)).await;
    assert_eq!(check(&given, Utc::now()).await, (vec!["recovered"], false));
    assert_eq!(check(&given, Utc::now()).await, (vec![], false));
    let (overdue, recovered) = (facts(&given, "feed.overdue").await, facts(&given, "feed.recovered").await);
    let [Fact::FeedOverdue(overdue)] = overdue.as_slice() else { panic!("{overdue:?}") };
    assert_eq!((overdue.no, overdue.grace_minutes, overdue.last_payload), (FeedNo::MAIN, 0, None));
    let missed = overdue.overdue.missed;
    let expected = Fact::FeedRecovered { no: FeedNo::MAIN, missed, upload: report.upload_id };
    assert_eq!(recovered, [expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_sends_the_same_again_or_waits_for_review_has_come_and_whoever_was_refused_has_not() {
    let given = every_minute().await;
    given.applied(full(), &staff(1..=20)).await;
    check(&given, soon()).await;
    assert_eq!(given.sync(full(), "nothing,of,use\n1,2,3\n").await.state, State::Refused);
    assert_eq!(check(&given, Utc::now()).await.0, [] as [&str; 0]);
    assert_eq!(given.sync(full(), &staff(1..=20)).await.state, State::NoChanges);
    assert_eq!(check(&given, Utc::now()).await, (vec!["recovered"], false));
    // What was recorded for a time to come is not before it: the payload came then.
    assert_eq!(check(&given, soon() + Duration::minutes(20)).await, (vec!["overdue"], true));
    assert_eq!(given.sync(full(), &staff(1..=5)).await.state, State::Held);
    assert_eq!(check(&given, Utc::now()).await, (vec!["recovered"], false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_expected_no_longer_or_at_other_times_is_overdue_no_longer() {
    let given = every_minute().await;
    check(&given, soon()).await;
    expect(&given, "", "0").await;
    assert_eq!(check(&given, soon()).await, (vec!["recovered"], false));
    assert_eq!(check(&given, soon()).await, (vec![], false));
    let [Fact::FeedRecovered { upload, .. }] = &facts(&given, "feed.recovered").await[..] else { panic!() };
    assert_eq!(*upload, None);
    // Runs before it was set are nobody's fault, and what is missed after it counts.
    expect(&given, "@hourly", "1d").await;
    assert_eq!(check(&given, Utc::now() + Duration::hours(24)).await, (vec![], false));
    assert_eq!(check(&given, Utc::now() + Duration::hours(26)).await, (vec!["overdue"], true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_schedule_nothing_is_recorded() {
    let given = Given::organisation().await;
    assert_eq!(check(&given, Utc::now() + Duration::days(400)).await, (vec![], false));
    assert!(facts(&given, "feed.overdue").await.is_empty());
}
