//! What is written down by and by: when a key was last used, and what was read with it.

use muster_engine::{
    access::{AccessEntry, AccessLogFilter},
    serve,
};

use super::*;

on_both_engines! {
    the_last_use_is_shown_and_costs_no_write_a_request,
    what_was_read_is_kept_for_90_days,
    whoever_serves_writes_what_was_noted_and_deletes_what_is_old,
}

async fn the_last_use_is_shown_and_costs_no_write_a_request(on: On) {
    let (given, user) = given(on).await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let made = anything(&given, &user).await;
    for _ in 0..50 {
        try_key(engine, &made.text).await.unwrap();
    }
    let stored = async || engine.store.access().await.unwrap().keys(acme.row.id).await.unwrap().remove(0).1;
    assert_eq!(stored().await, None);
    let listed = engine.listed_key(&acme, &made.key.id, &Maker::Operator).await.unwrap();
    assert_eq!(listed.last_used.as_ref().map(|used| used.from.as_str()), Some("10.1.2.3"));
    engine.flush_access().await.unwrap();
    assert_eq!(stored().await.map(|used| used.at), listed.last_used.map(|used| used.at));
}

fn entry(key: &ApiKey, at: chrono::DateTime<Utc>, eligible: Option<bool>) -> AccessEntry {
    AccessEntry {
        at,
        key: key.id.clone(),
        user: key.user,
        from: Some(home()),
        method: "POST".into(),
        route: "/api/v1/eligibility".into(),
        status: 200,
        member: None,
        eligible,
        reason: eligible.filter(|yes| !yes).map(|_| "left".into()),
        roster_version: Some(3),
    }
}

async fn what_was_read_is_kept_for_90_days(on: On) {
    let (given, user) = given(on).await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let made = anything(&given, &user).await;
    let now = engine.now();
    let entries = [now - Duration::days(91), now - Duration::days(89), now].map(|at| entry(&made.key, at, Some(false)));
    for entry in &entries {
        engine.note_access(acme.row.id, entry.clone());
    }
    engine.flush_access().await.unwrap();
    let all = AccessLogFilter { key: None, since: None, limit: 10 };
    let [old, kept, new] = entries;
    let found = engine.access_log(&acme, &all).await.unwrap();
    assert_eq!(found, [new.clone(), kept.clone(), old]);
    let tried = engine.run_retention("acme", true, now).await.unwrap();
    let done = engine.run_retention("acme", false, now).await.unwrap();
    assert_eq!((tried.reads_forgotten, done.reads_forgotten), (1, 1));
    assert_eq!(engine.access_log(&acme, &all).await.unwrap(), [new.clone(), kept]);
    let since = AccessLogFilter { since: Some(now), ..all.clone() };
    assert_eq!(engine.access_log(&acme, &since).await.unwrap(), [new]);
    let other = AccessLogFilter { key: Some("another".into()), ..all };
    assert_eq!(engine.access_log(&acme, &other).await.unwrap(), []);
}

async fn whoever_serves_writes_what_was_noted_and_deletes_what_is_old(on: On) {
    let (given, user) = given(on).await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let made = anything(&given, &user).await;
    let now = engine.now();
    engine.note_access(acme.row.id, entry(&made.key, now - Duration::days(91), None));
    engine.flush_access().await.unwrap();
    let roles = [serve::Role::Api, serve::Role::Scheduler].into();
    let pace = serve::Pace { notes: std::time::Duration::from_millis(20), ..serve::Pace::default() };
    let (tell, stop) = tokio::sync::watch::channel(false);
    let serving = serve::Serving {
        engine: engine.clone(),
        bus: muster_bus::Bus::in_process(),
        alone: true,
        pace,
        figures: std::sync::Arc::default(),
    };
    let serving = tokio::spawn(async move { serving.run(&roles, stop).await });
    let all = AccessLogFilter { key: None, since: None, limit: 10 };
    let read = async || engine.access_log(&acme, &all).await.unwrap();
    // What this process notes is written, and what is too old goes: wait until both are so.
    engine.note_access(acme.row.id, entry(&made.key, now, None));
    let both = async {
        while read().await != [entry(&made.key, now, None)] {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), both).await.expect("it was not written, or not deleted");
    tell.send(true).unwrap();
    serving.await.unwrap();
    assert_eq!(read().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_is_kept_for_the_next_time() {
    let (given, user) = given(On::Sqlite).await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let made = anything(&given, &user).await;
    let now = engine.now();
    let file = muster_store::access::path(&engine.data_dir().join("muster.db"));
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    sqlx::query("ALTER TABLE access_log RENAME TO elsewhere").execute(&pool).await.unwrap();
    engine.note_access(acme.row.id, entry(&made.key, now, None));
    assert!(engine.flush_access().await.is_err());
    engine.note_access(acme.row.id, entry(&made.key, now + Duration::seconds(1), None));
    sqlx::query("ALTER TABLE elsewhere RENAME TO access_log").execute(&pool).await.unwrap();
    pool.close().await;
    engine.flush_access().await.unwrap();
    let all = AccessLogFilter { key: None, since: None, limit: 10 };
    assert_eq!(engine.access_log(&acme, &all).await.unwrap().len(), 2);
    assert_eq!(engine.access_figures().lost_entries, 0);
}
