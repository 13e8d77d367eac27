//! Settings that change who is eligible are previewed and guarded like a change set.

use crate::rules_given::*;
use muster_engine::{
    Error,
    setting::{SettingsReport, SettingsRequest, SettingsState},
};

const WITH_STATUS: &str = "employee_id,email,employment_status";

fn request(pairs: &[(&str, &str)]) -> SettingsRequest {
    let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    SettingsRequest { pairs, ..SettingsRequest::default() }
}

async fn change(given: &Given, request: &SettingsRequest) -> SettingsReport {
    given.engine.change_settings("acme", request).await.unwrap()
}

async fn refused(given: &Given, pairs: &[(&str, &str)]) -> String {
    given.engine.change_settings("acme", &request(pairs)).await.unwrap_err().to_string()
}

/// Twenty people, of whom eight are retired.
async fn twenty() -> Given {
    let given = Given::organisation().await;
    let status = |n| if n <= 8 { "Retired" } else { "active" };
    let rows: Vec<String> = (1..=20).map(|n| format!("E{n},p{n}@x.example,{}", status(n))).collect();
    given.applied(full(), &format!("{WITH_STATUS}\n{}\n", rows.join("\n"))).await;
    given
}

fn no_retired() -> SettingsRequest {
    request(&[("eligibility.excluded_statuses", "terminated,retired")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_who_is_eligible_is_previewed() {
    let given = twenty().await;
    let report = change(&given, &SettingsRequest { dry_run: true, ..no_retired() }).await;
    let preview = report.eligibility.unwrap();
    assert_eq!((report.state, preview.eligible, preview.stop, preview.start), (SettingsState::DryRun, 20, 8, 0));
    assert_eq!(preview.stopping[..3], ["E1", "E2", "E3"]);
    assert_eq!(given.acme().await.settings.version, 1, "nothing was set");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_guard_on_removals_it_is_refused_unless_the_number_is_confirmed() {
    let given = twenty().await;
    let version = given.acme().await.settings.version;
    let report = change(&given, &no_retired()).await;
    assert_eq!((report.state, report.holds.len()), (SettingsState::Refused, 1));
    let (guard, figure, limit) = (&report.holds[0].guard, &report.holds[0].figure, &report.holds[0].threshold);
    assert_eq!((guard.as_str(), figure, limit), ("removals", &40.into(), &10.into()));
    assert!(report.refusal(None).contains("8 of 20 people (40 %) would lose eligibility; the limit is 10 %."));
    let wrong = change(&given, &SettingsRequest { confirm_removals: Some(7), ..no_retired() }).await;
    assert_eq!(wrong.state, SettingsState::Refused);
    assert_eq!(given.acme().await.settings.version, version);
    let right = change(&given, &SettingsRequest { confirm_removals: Some(8), ..no_retired() }).await;
    assert_eq!((right.state, right.settings_version), (SettingsState::Set, version + 1));
    let answer = given.engine.check(&given.acme().await, By::Any("E1"), None, None, |_| true).await.unwrap().answer;
    assert!(!answer.eligible);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_are_of_another_version_than_was_seen_are_left_alone() {
    let given = twenty().await;
    let seen = Some(given.acme().await.settings.version);
    given.set("guard.removals.max_percent", "50").await;
    let refused = given.engine.change_settings("acme", &SettingsRequest { seen, ..no_retired() }).await.unwrap_err();
    assert!(matches!(&refused, Error::Stale(why) if why.contains("of version 2 now")), "{refused}");
    let seen = Some(given.acme().await.settings.version);
    assert_eq!(seen, Some(2), "nothing was set");
    assert_eq!(change(&given, &SettingsRequest { seen, ..no_retired() }).await.state, SettingsState::Set);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_the_guard_it_is_set_and_the_event_records_the_figure() {
    let given = twenty().await;
    given.set("guard.removals.max_percent", "50").await;
    let report = change(&given, &no_retired()).await;
    assert_eq!(report.state, SettingsState::Set);
    let mut log = Vec::new();
    given.engine.export(&given.acme().await, &mut log).await.unwrap();
    let last = String::from_utf8(log).unwrap().lines().last().unwrap().to_owned();
    assert!(last.contains(r#""eligibility":{"eligible":20,"stop":8,"start":0}"#), "{last}");
    let back = change(&given, &request(&[("eligibility.excluded_statuses", "terminated")])).await;
    let preview = back.eligibility.unwrap();
    assert_eq!((preview.eligible, preview.stop, preview.start), (12, 0, 8));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_nobodys_eligibility_is_neither_previewed_nor_guarded() {
    let given = twenty().await;
    let report = change(&given, &request(&[("policy.upload", "apply")])).await;
    assert_eq!((report.state, report.eligibility), (SettingsState::Set, None));
    assert_eq!(change(&given, &request(&[("policy.upload", "apply")])).await.state, SettingsState::NoChanges);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_match_key_is_everybodys_key_at_once() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    given.applied(full(), &staff(1..=5)).await;
    let before = given.member("E2").await;
    let report = change(&given, &request(&[("match_key", "email")])).await;
    assert_eq!((report.state, report.rekeyed), (SettingsState::Set, 6), "the former member too");
    let after = given.member("p2@x.example").await;
    assert_eq!((after.uuid, after.aliases), (before.uuid, vec!["E2".to_owned()]));
    given.verified().await;
    let same = given.sync(full(), &csv((1..=5).map(person).chain([person(7)]))).await;
    assert_eq!((same.counts.unchanged, same.counts.added, same.counts.rekeyed), (5, 1, 0), "{same:?}");
    let again = change(&given, &request(&[("match_key", "employee_id")])).await;
    assert_eq!((again.rekeyed, given.member("p2@x.example").await.key), (7, "E2".to_owned()), "and back");
    given.verified().await;
    let back = given.sync(full(), &csv((1..=7).map(person))).await;
    assert_eq!((back.counts.reinstated, back.counts.added), (1, 0));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_prefix_of_a_feed_stays_in_front_of_a_new_match_key() {
    let given = Given::organisation().await;
    given.feed(FeedSettings { name: "agency".into(), key_prefix: Some("C-".into()), ..FeedSettings::default() }).await;
    given.applied(of("agency", full()), "employee_id,email\n1001,ray@x.example\n").await;
    change(&given, &request(&[("match_key", "email")])).await;
    assert_eq!(given.listed().await, ["C-ray@x.example"]);
    let same = given.sync(of("agency", full()), "employee_id,email\n1001,ray@x.example\n").await;
    assert_eq!(same.state, State::NoChanges);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_match_key_that_somebody_lacks_or_two_share_is_refused() {
    let given = Given::organisation().await;
    given.applied(full(), "employee_id,email\nE1,a@x.example\nE2,\nE3,b@x.example\nE4,B@x.example\n").await;
    let lacks = refused(&given, &[("match_key", "email")]).await;
    assert!(
        lacks.starts_with("email cannot be the match key, because it is blank for 1 person on the roster;"),
        "{lacks}"
    );
    given.set_by_hand("E2", "email", "c@x.example").await;
    let shared = refused(&given, &[("match_key", "email")]).await;
    assert!(shared.contains("2 people on the roster share it with somebody else;"), "{shared}");
    given.set_by_hand("E4", "email", "d@x.example").await;
    let held =
        given.sync(Request { asked: Some(Asked::Hold), ..partial() }, "employee_id,email\nE1,z@x.example\n").await;
    let waits = refused(&given, &[("match_key", "email")]).await;
    assert!(waits.starts_with("An upload waits"), "{waits}");
    given.reject(&held, Choice::default()).await;
    assert_eq!(change(&given, &request(&[("match_key", "email")])).await.rekeyed, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_is_a_member_the_match_key_is_only_set() {
    let given = Given::organisation().await;
    let report = change(&given, &request(&[("match_key", "email")])).await;
    assert_eq!((report.state, report.rekeyed), (SettingsState::Set, 0));
    given.applied(full(), &staff(1..=6)).await;
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feeds_settings_leave_alone_what_it_sent_since_they_were_looked_at() {
    let given = Given::organisation().await;
    let before = given.acme().await;
    given.applied(full(), &staff(1..=3)).await;
    let feed = before.feed("main").unwrap();
    let settings = FeedSettings { priority: 7, ..feed.settings.clone() };
    given.engine.set_feed(&before, feed, settings).await.unwrap();
    let feed = &given.acme().await.feeds[0];
    assert_eq!((feed.claims, feed.settings.priority), (3, 7));
    // Two who change them at the same moment do not undo one another's change unseen.
    let other = FeedSettings { key_prefix: Some("C-".to_owned()), ..before.feed("main").unwrap().settings.clone() };
    let late = given.engine.set_feed(&before, before.feed("main").unwrap(), other).await;
    assert!(matches!(late, Err(Error::Stale(_))), "{late:?}");
    assert_eq!(given.acme().await.feeds[0].settings.priority, 7);
    // Nor does a new feed take the place of one that was created meanwhile.
    let named = |name: &str| FeedSettings { name: name.to_owned(), ..FeedSettings::default() };
    for name in ["one", "two"] {
        given.engine.create_feed(&before, named(name)).await.unwrap();
    }
    assert!(given.engine.create_feed(&before, named("one")).await.is_err());
    assert_eq!(given.acme().await.feeds.len(), 3);
    given.verified().await;
}
