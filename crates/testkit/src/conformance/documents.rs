//! Documents come back as they were written, and are found in order.

use chrono::DateTime;
use muster_domain::ids::{ChangeSetId, FeedNo, UploadId};
use muster_store::{ChangeSetRow, FeedRow, Filter, Store, StoreError, UploadRow};
use uuid::Uuid;

use super::organisation;

fn upload(n: u64, feed: u16, state: &str, key: Option<&str>) -> UploadRow {
    UploadRow {
        id: UploadId(Uuid::from_u128(n.into())),
        arrival: n,
        feed: FeedNo(feed),
        state: state.into(),
        idempotency_key: key.map(Into::into),
        doc: format!("{{\"n\":{n}}}").into_bytes(),
    }
}

fn change_set(n: u64, state: &str, upload: Option<u128>) -> ChangeSetRow {
    ChangeSetRow {
        id: ChangeSetId(Uuid::from_u128(n.into())),
        upload: upload.map(|u| UploadId(Uuid::from_u128(u))),
        feed: FeedNo::MAIN,
        state: state.into(),
        created_seq: n,
        computed_at: DateTime::from_timestamp_micros(n as i64 * 1_000_000 + 7).unwrap(),
        adds_up: 0,
        alone_at: None,
        doc: b"{}".to_vec(),
    }
}

/// Settings and feeds.
pub async fn settings_and_feeds_come_back(store: &Store) {
    let org = organisation(store, "acme").await;
    let feed = |no, name: &str| FeedRow { no: FeedNo(no), name: name.into(), doc: b"{\"a\":1}".to_vec() };
    let mut tx = store.begin(org, None).await.unwrap();
    for doc in [&b"{\"v\":1}"[..], b"{\"v\":2}"] {
        tx.put_settings(doc).await.unwrap();
    }
    tx.put_feed(&feed(2, "payroll")).await.unwrap();
    tx.put_feed(&feed(1, "main")).await.unwrap();
    tx.put_feed(&feed(2, "contractors")).await.unwrap();
    assert_eq!(tx.settings().await.unwrap().unwrap(), b"{\"v\":2}");
    tx.commit().await.unwrap();
    assert_eq!(store.settings(org).await.unwrap().unwrap(), b"{\"v\":2}");
    assert_eq!(store.feeds(org).await.unwrap(), [feed(1, "main"), feed(2, "contractors")]);
    assert_eq!(store.feed(org, FeedNo(2)).await.unwrap().name, "contractors");
    assert!(matches!(store.feed(org, FeedNo(3)).await, Err(StoreError::NotFound)));
}

/// Uploads by id, key, state and page.
pub async fn uploads_come_back(store: &Store) {
    let org = organisation(store, "acme").await;
    let mut tx = store.begin(org, None).await.unwrap();
    assert_eq!((tx.next_arrival().await.unwrap(), tx.next_arrival().await.unwrap()), (1, 2));
    for n in [3, 1, 2, 4] {
        tx.put_upload(&upload(n, 1, "waiting", None)).await.unwrap();
    }
    tx.put_upload(&upload(5, 2, "done", Some("k"))).await.unwrap();
    tx.put_upload(&upload(2, 1, "done", None)).await.unwrap();
    tx.commit().await.unwrap();
    let numbers = |rows: Vec<UploadRow>| rows.into_iter().map(|u| u.arrival).collect::<Vec<_>>();
    assert_eq!(numbers(store.uploads_in_state(org, "waiting").await.unwrap()), [1, 3, 4]);
    let filter = Filter { feed: Some(FeedNo(1)), before: Some(4), limit: 2, ..Filter::default() };
    assert_eq!(numbers(store.uploads(org, &filter).await.unwrap()), [3, 2]);
    let filter = Filter { state: Some("done".into()), ..Filter::default() };
    assert_eq!(numbers(store.uploads(org, &filter).await.unwrap()), [5, 2]);
    let fifth = upload(5, 2, "done", Some("k"));
    assert_eq!(store.upload(org, fifth.id).await.unwrap(), fifth);
    assert_eq!(store.upload_by_key(org, "k").await.unwrap(), Some(fifth.clone()));
    assert_eq!(store.upload_by_key(org, "other").await.unwrap(), None);
    let mut tx = store.begin(org, None).await.unwrap();
    assert!(matches!(tx.put_upload(&upload(6, 1, "waiting", Some("k"))).await, Err(StoreError::KeyConflict)));
    let mut tx = store.begin(org, None).await.unwrap();
    tx.free_upload_key(fifth.id).await.unwrap();
    tx.put_upload(&upload(6, 1, "waiting", Some("k"))).await.unwrap();
    // Whoever read the first before, and writes it now, takes the key from nobody.
    tx.put_upload(&fifth).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.upload_by_key(org, "k").await.unwrap().map(|u| u.arrival), Some(6));
    assert_eq!(store.upload(org, fifth.id).await.unwrap().idempotency_key, None);
}

/// Lists by feed, state, place and length: what a look at each of them would find.
pub async fn lists_are_filtered(store: &Store) {
    let org = organisation(store, "acme").await;
    let other = organisation(store, "other").await;
    let states = ["held", "applied", "rejected"];
    let uploads: Vec<UploadRow> = (1..=24).map(|n| upload(n, (n % 2) as u16, states[n as usize % 3], None)).collect();
    let set = |n: u64| ChangeSetRow { feed: FeedNo((n % 2) as u16), ..change_set(n, states[n as usize % 3], None) };
    let sets: Vec<ChangeSetRow> = (1..=24).map(set).collect();
    for org in [org, other] {
        let mut tx = store.begin(org, None).await.unwrap();
        for (upload, set) in uploads.iter().zip(&sets) {
            tx.put_upload(upload).await.unwrap();
            tx.put_change_set(set).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
    for feed in [None, Some(FeedNo(0)), Some(FeedNo(1)), Some(FeedNo(7))] {
        for state in [None, Some("held"), Some("no such")] {
            for before in [None, Some(1), Some(13), Some(u64::MAX)] {
                for limit in [0, 1, 5] {
                    let filter = Filter { feed, state: state.map(Into::into), before, limit };
                    let is_meant = |f: FeedNo, s: &str, no: u64| {
                        feed.is_none_or(|feed| feed == f)
                            && state.is_none_or(|state| state == s)
                            && before.is_none_or(|before| no < before)
                    };
                    let most = if limit == 0 { usize::MAX } else { limit as usize };
                    let found = store.uploads(org, &filter).await.unwrap();
                    let meant = uploads.iter().rev().filter(|u| is_meant(u.feed, &u.state, u.arrival)).take(most);
                    assert_eq!(found, meant.cloned().collect::<Vec<_>>(), "{filter:?}");
                    let found = store.change_sets(org, &filter).await.unwrap();
                    let meant = sets.iter().rev().filter(|c| is_meant(c.feed, &c.state, c.created_seq)).take(most);
                    assert_eq!(found, meant.cloned().collect::<Vec<_>>(), "{filter:?}");
                }
            }
        }
    }
}

/// Change sets by id, upload, state and page; counters.
pub async fn change_sets_come_back(store: &Store) {
    let org = organisation(store, "acme").await;
    let mut tx = store.begin(org, None).await.unwrap();
    for row in [change_set(9, "held", Some(1)), change_set(4, "held", Some(1)), change_set(6, "applied", None)] {
        tx.put_change_set(&row).await.unwrap();
    }
    assert_eq!(tx.bump_roster_version().await.unwrap(), 1);
    assert_eq!((tx.reserve_members(10).await.unwrap(), tx.reserve_members(1).await.unwrap()), (0, 10));
    tx.commit().await.unwrap();
    let head = store.head(org).await.unwrap();
    assert_eq!((head.roster_version, head.next_member, head.next_arrival), (1, 11, 1));
    let numbers = |rows: Vec<ChangeSetRow>| rows.into_iter().map(|c| c.created_seq).collect::<Vec<_>>();
    assert_eq!(numbers(store.change_sets_in_state(org, "held").await.unwrap()), [4, 9]);
    assert_eq!(numbers(store.change_sets(org, &Filter::default()).await.unwrap()), [9, 6, 4]);
    let upload = UploadId(Uuid::from_u128(1));
    assert_eq!(numbers(store.change_sets_of_upload(org, upload).await.unwrap()), [4, 9]);
    let row = change_set(6, "applied", None);
    assert_eq!(store.change_set(org, row.id).await.unwrap(), row);
}

/// What change sets add up to since a moment, of some feeds, and no other organisation's.
pub async fn change_sets_add_up(store: &Store) {
    let (org, other) = (organisation(store, "acme").await, organisation(store, "other").await);
    let row = |n: u64, feed, adds_up| ChangeSetRow { feed: FeedNo(feed), adds_up, ..change_set(n, "applied", None) };
    let mut tx = store.begin(org, None).await.unwrap();
    for row in [row(1, 1, 1), row(2, 1, 10), row(3, 2, 100), row(4, 1, 0), row(5, 0, 1000), row(6, 1, 10_000)] {
        tx.put_change_set(&row).await.unwrap();
    }
    // One that was taken back counts no more.
    tx.put_change_set(&row(6, 1, 0)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin(other, None).await.unwrap();
    tx.put_change_set(&row(2, 1, 5)).await.unwrap();
    tx.commit().await.unwrap();
    let since = |n: u64| change_set(n, "applied", None).computed_at;
    let sum =
        async |n, feeds: Option<[u16; 2]>| store.added_up(org, since(n), feeds.map(|f| f.map(FeedNo))).await.unwrap();
    assert_eq!((sum(1, None).await, sum(2, None).await, sum(7, None).await), (1111, 1110, 0));
    assert_eq!((sum(1, Some([1, 0])).await, sum(2, Some([2, 0])).await, sum(2, Some([3, 3])).await), (1011, 1100, 0));
}

/// Change sets of which one person alone approved something since a moment, and no other organisation's.
pub async fn change_sets_are_found_by_when_one_person_approved(store: &Store) {
    let (org, other) = (organisation(store, "acme").await, organisation(store, "other").await);
    let at = |n: u64| change_set(n, "applied", None).computed_at;
    let row = |n: u64, when: Option<u64>| ChangeSetRow { alone_at: when.map(at), ..change_set(n, "applied", None) };
    let mut tx = store.begin(org, None).await.unwrap();
    for row in [row(1, Some(9)), row(2, None), row(3, Some(5)), row(4, Some(2)), row(5, None)] {
        tx.put_change_set(&row).await.unwrap();
    }
    tx.put_change_set(&row(5, Some(7))).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin(other, None).await.unwrap();
    tx.put_change_set(&row(6, Some(9))).await.unwrap();
    tx.commit().await.unwrap();
    let since = async |n| store.change_sets_approved_alone(org, at(n)).await.unwrap();
    assert_eq!(since(5).await, [row(3, Some(5)), row(5, Some(7)), row(1, Some(9))]);
    assert_eq!((since(6).await.len(), since(10).await.len()), (2, 0));
}
