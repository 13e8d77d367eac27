//! What is written down by and by: when a key was last used, and what was read with it.

use muster_engine::{
    access::{AccessEntry, AccessLogFilter, AccessLogPlace},
    serve,
};

use super::*;

on_both_engines! {
    the_last_use_is_shown_and_costs_no_write_a_request,
    what_was_read_is_kept_for_90_days,
    what_was_read_is_told_page_by_page_to_whoever_may_see_the_keys,
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
        upload: None,
        change_set: None,
        feed: None,
        eligible,
        reason: eligible.filter(|yes| !yes).map(|_| "left".into()),
        roster_version: Some(3),
    }
}

async fn read(engine: &Engine, org: &Organisation, filter: &AccessLogFilter) -> Vec<AccessEntry> {
    engine.access_log(org, filter, &Maker::Operator).await.unwrap().entries
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
    let all = AccessLogFilter { limit: 10, ..AccessLogFilter::default() };
    let [old, kept, new] = entries;
    let found = read(engine, &acme, &all).await;
    assert_eq!(found, [new.clone(), kept.clone(), old]);
    let tried = engine.run_retention("acme", true, now).await.unwrap();
    let done = engine.run_retention("acme", false, now).await.unwrap();
    assert_eq!((tried.reads_forgotten, done.reads_forgotten), (1, 1));
    assert_eq!(read(engine, &acme, &all).await, [new.clone(), kept]);
    let since = AccessLogFilter { since: Some(now), ..all.clone() };
    assert_eq!(read(engine, &acme, &since).await, [new]);
    let other = AccessLogFilter { key: Some("another".into()), ..all };
    assert_eq!(read(engine, &acme, &other).await, []);
}

async fn what_was_read_is_told_page_by_page_to_whoever_may_see_the_keys(on: On) {
    let (given, user) = given(on).await;
    let (acme, engine) = (given.acme().await, &given.engine);
    let ada = with_role(&given, person("ada"), Role::Viewer).await;
    let [own, first, second] =
        [anything(&given, &ada).await, anything(&given, &user).await, anything(&given, &user).await];
    let now = engine.now();
    // Two keys and, now and then, the same moment: what tells entries apart is not their time alone.
    for n in 0..9 {
        let key = [&own.key, &first.key, &second.key][n % 3];
        engine.note_access(acme.row.id, entry(key, now + Duration::seconds(n as i64 / 4), None));
    }
    engine.flush_access().await.unwrap();
    let all = async |key: Option<&str>, by: &Maker| {
        let (mut found, mut pages, mut after) = (Vec::new(), 0, None);
        loop {
            let filter = AccessLogFilter { key: key.map(str::to_owned), since: None, after, limit: 2 };
            let page = engine.access_log(&acme, &filter, by).await.unwrap();
            assert!(page.entries.len() <= 2);
            (found, pages) = ([found, page.entries].concat(), pages + 1);
            let Some(next) = page.next else { return (found, pages) };
            after = Some(AccessLogPlace::read(&next.to_string()).expect("what was written is read"));
        }
    };
    let (found, pages) = all(None, &Maker::Operator).await;
    assert_eq!((found.len(), pages), (9, 5));
    assert!(found.is_sorted_by_key(|entry| std::cmp::Reverse(entry.at)));
    let (of_one, pages) = all(Some(&first.key.id), &Maker::Operator).await;
    assert_eq!((of_one.len(), pages), (3, 2));
    // Who is no administrator sees what was read with the keys that are mapped to them.
    let by = caller(&given, &own).await;
    let (seen, _) = all(None, &by).await;
    assert!(seen.len() == 3 && seen.iter().all(|entry| entry.key == own.key.id), "{seen:?}");
    assert_eq!(all(Some(&first.key.id), &by).await.0, []);
    assert_eq!(all(Some(&own.key.id), &by).await.0, seen);
    for wrong in ["", "1", "1-2", "x-00000000000000000000000000000001"] {
        assert_eq!(AccessLogPlace::read(wrong), None, "{wrong}");
    }
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
    let all = AccessLogFilter { limit: 10, ..AccessLogFilter::default() };
    let written = async || read(engine, &acme, &all).await;
    // What this process notes is written, and what is too old goes: wait until both are so.
    engine.note_access(acme.row.id, entry(&made.key, now, None));
    let both = async {
        while written().await != [entry(&made.key, now, None)] {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), both).await.expect("it was not written, or not deleted");
    tell.send(true).unwrap();
    serving.await.unwrap();
    assert_eq!(written().await.len(), 1);
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
    let all = AccessLogFilter { limit: 10, ..AccessLogFilter::default() };
    assert_eq!(read(engine, &acme, &all).await.len(), 2);
    assert_eq!(engine.access_figures().lost_entries, 0);
}
