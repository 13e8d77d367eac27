//! The log: numbers without gaps, versions, keys, one chain, all or nothing.

use muster_domain::event::{GENESIS, chain, leaf};
use muster_domain::ids::OrganisationId;
use muster_store::{Prepared, RawEvent, Secret, Store, StoreError, encode};

use super::{at, event, event_with_body, organisation, who};

/// Events are numbered from 1 without gaps, in the organisation and in their streams.
pub async fn appends_are_numbered_without_gaps(store: &Store) {
    let org = organisation(store, "acme").await;
    let mut tx = store.begin(org, None).await.unwrap();
    let first = tx.append(vec![event("a"), event("b"), event("a")], &who(1)).await.unwrap();
    let second = tx.append(vec![event("a")], &who(2)).await.unwrap();
    assert!(tx.append(vec![], &who(2)).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    let places: Vec<_> = first.iter().chain(&second).map(|a| (a.seq, a.version)).collect();
    assert_eq!(places, [(1, 1), (2, 1), (3, 2), (4, 3)]);
    let head = store.head(org).await.unwrap();
    assert_eq!(head.last_seq, 4);
    let stored = store.events(org, 1, 2).await.unwrap();
    assert_eq!(stored.iter().map(|e| (e.meta.seq, e.meta.stream.as_str())).collect::<Vec<_>>(), [(2, "b"), (3, "a")]);
    assert_eq!(store.stream_events(org, "a").await.unwrap().len(), 3);
    let later = store.stream_events_from(org, "a", 3).await.unwrap();
    assert_eq!(later.iter().map(|e| e.meta.seq).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(store.stream_version(org, "a").await.unwrap(), 3);
    assert_eq!(store.raw_stream_events(org, "a", 1, 1).await.unwrap()[0].seq, 3);
}

/// An append that expects another version is refused whole.
pub async fn an_expected_version_is_checked(store: &Store) {
    let org = organisation(store, "acme").await;
    let expecting = |version| {
        let mut event = event("a");
        event.expected_version = Some(version);
        event
    };
    let mut tx = store.begin(org, None).await.unwrap();
    tx.append(vec![expecting(0), expecting(1)], &who(1)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin(org, None).await.unwrap();
    let refused = tx.append(vec![event("b"), expecting(1)], &who(2)).await.unwrap_err();
    assert!(matches!(refused, StoreError::VersionConflict { expected: 1, actual: 2, .. }), "{refused:?}");
    assert!(matches!(tx.commit().await, Err(StoreError::RolledBack)));
    assert_eq!(store.head(org).await.unwrap().last_seq, 2);
    assert!(store.stream_events(org, "b").await.unwrap().is_empty());
}

/// The same key with the same content gets the first answer; with other content it is refused.
pub async fn a_key_appends_once(store: &Store) {
    let org = organisation(store, "acme").await;
    let events = || vec![Prepared::try_from(event("a")).unwrap(), Prepared::try_from(event("b")).unwrap()];
    let mut tx = store.begin(org, None).await.unwrap();
    let first = tx.append_keyed("k", &[1; 32], events(), &who(1)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!first.repeated);
    let mut tx = store.begin(org, None).await.unwrap();
    let again = tx.append_keyed("k", &[1; 32], events(), &who(2)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.events, first.events);
    let mut tx = store.begin(org, None).await.unwrap();
    let other = tx.append_keyed("k", &[2; 32], events(), &who(3)).await;
    assert!(matches!(other, Err(StoreError::KeyConflict)));
    assert_eq!(store.head(org).await.unwrap().last_seq, 2);
}

/// Of one key that comes many times at once, one append happens.
pub async fn a_key_appends_once_under_concurrency(store: &Store) {
    let org = organisation(store, "acme").await;
    let attempts = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut tx = store.begin(org, None).await.unwrap();
            let events = vec![Prepared::try_from(event("a")).unwrap()];
            let done = tx.append_keyed("k", &[1; 32], events, &who(1)).await.unwrap();
            tx.commit().await.unwrap();
            done
        })
    });
    let mut done = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        done.push(attempt.await.unwrap());
    }
    assert_eq!(done.iter().filter(|d| !d.repeated).count(), 1);
    assert!(done.iter().all(|d| d.events == done[0].events));
    assert_eq!(store.head(org).await.unwrap().last_seq, 1);
}

/// A transaction that is not committed leaves nothing: no event, no number, no row.
pub async fn a_transaction_is_all_or_nothing(store: &Store) {
    let org = organisation(store, "acme").await;
    for dropped in [true, false] {
        let mut tx = store.begin(org, None).await.unwrap();
        tx.append(vec![event("a")], &who(1)).await.unwrap();
        tx.put_members(vec![(1, b"row".to_vec())]).await.unwrap();
        tx.put_settings(b"{}").await.unwrap();
        assert_eq!(tx.head().await.unwrap().last_seq, 1);
        assert_eq!(store.head(org).await.unwrap().last_seq, 0);
        if dropped { drop(tx) } else { tx.rollback().await.unwrap() }
    }
    assert_eq!(store.head(org).await.unwrap().last_seq, 0);
    assert_eq!(store.head(org).await.unwrap().hash, GENESIS);
    assert!(store.settings(org).await.unwrap().is_none());
    assert_eq!(store.delta_count(org).await.unwrap(), 0);
    let mut tx = store.begin(org, None).await.unwrap();
    assert_eq!(tx.append(vec![event("a")], &who(1)).await.unwrap()[0].seq, 1);
}

async fn verify(store: &Store, org: OrganisationId) -> u64 {
    let mut hash = GENESIS;
    let mut seq = 0;
    let mut slices = store.event_slices(org, 0, 7);
    while let Some(slice) = slices.next().await.unwrap() {
        for event in slice.into_iter().map(RawEvent::open) {
            let event = event.unwrap();
            seq += 1;
            assert_eq!(event.meta.seq, seq);
            assert_eq!(event.root, event.body.as_ref().map_or([0; 32], |b| b.root()));
            hash = chain(&hash, &event.meta_bytes, &event.root);
            assert_eq!(event.hash, hash);
        }
    }
    assert_eq!(store.head(org).await.unwrap().hash, hash);
    seq
}

/// Every event's hash follows from the one before, its stored metadata and its body.
pub async fn the_chain_verifies(store: &Store) {
    let org = organisation(store, "acme").await;
    for round in 0..5 {
        let mut tx = store.begin(org, None).await.unwrap();
        let events = (0..7).map(|i| if i % 2 == 0 { event("a") } else { event_with_body("b", i * 40) }).collect();
        tx.append(events, &who(round)).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(verify(store, org).await, 35);
}

/// A line can be erased, and the chain still verifies; another body is refused.
pub async fn an_erased_line_leaves_the_chain_whole(store: &Store) {
    let org = organisation(store, "acme").await;
    let mut tx = store.begin(org, None).await.unwrap();
    tx.append(vec![event_with_body("a", 3), event("a")], &who(1)).await.unwrap();
    tx.commit().await.unwrap();
    let mut body = store.event(org, 1).await.unwrap().body.unwrap();
    let gone = leaf(&body.salts[1], b"{\"line\":1}");
    body.lines = b"{\"line\":0}\n\n{\"line\":2}\n".to_vec();
    body.salts[1] = [0; 16];
    body.erased.push((1, gone));
    let mut tx = store.begin(org, None).await.unwrap();
    tx.replace_body(1, &encode(&body).unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(verify(store, org).await, 2);
    assert_eq!(store.event(org, 1).await.unwrap().body.unwrap().iter().nth(1), Some(None));
    let other = encode(&event_with_body("a", 2).body.unwrap()).unwrap();
    let mut tx = store.begin(org, None).await.unwrap();
    assert!(matches!(tx.replace_body(1, &other).await, Err(StoreError::NotFound)));
}

/// `recorded_at` is cut to microseconds and never goes back.
pub async fn recorded_at_never_goes_back(store: &Store) {
    let org = organisation(store, "acme").await;
    for seconds in [5, 3, 9] {
        let mut tx = store.begin(org, None).await.unwrap();
        tx.append(vec![event("a")], &who(seconds)).await.unwrap();
        tx.commit().await.unwrap();
    }
    let events = store.events(org, 0, 10).await.unwrap();
    let times: Vec<_> = events.iter().map(|e| e.meta.recorded_at.timestamp_micros()).collect();
    let five = at(5).timestamp_micros();
    assert_eq!(times, [five, five, at(9).timestamp_micros()]);
    assert_eq!(events[0].meta.recorded_at.timestamp_subsec_nanos() % 1000, 0);
}

/// Nothing of an organisation is found through another; names are taken once.
pub async fn organisations_do_not_see_each_other(store: &Store) {
    let one = organisation(store, "one").await;
    let two = organisation(store, "two").await;
    let mut tx = store.begin(one, None).await.unwrap();
    tx.append(vec![event_with_body("a", 2)], &who(1)).await.unwrap();
    tx.put_members(vec![(1, b"delta".to_vec())]).await.unwrap();
    tx.put_roster_pages(vec![(0, b"page".to_vec())]).await.unwrap();
    tx.put_ident_pages(0, &[(5, 1)]).await.unwrap();
    tx.put_idents(&[(6, 1, true)]).await.unwrap();
    tx.put_settings(b"{}").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.head(two).await.unwrap().last_seq, 0);
    assert!(store.events(two, 0, 10).await.unwrap().is_empty());
    assert!(matches!(store.event(two, 1).await, Err(StoreError::NotFound)));
    assert!(store.stream_events(two, "a").await.unwrap().is_empty());
    store.visit_members(two, &[1, 2], |found| panic!("of another organisation: {found:?}")).await.unwrap();
    assert!(store.idents(two, &[5, 6]).await.unwrap().is_empty());
    assert!(store.settings(two).await.unwrap().is_none());
    let mut tx = store.begin(two, None).await.unwrap();
    tx.clear_roster().await.unwrap();
    tx.clear_idents().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.idents(one, &[5, 6]).await.unwrap(), [(5, 1), (6, 1)]);
    let names: Vec<_> = store.organisations().await.unwrap().into_iter().map(|o| o.slug).collect();
    assert_eq!(names, ["one", "two"]);
    taken_names_are_refused(store, one).await;
}

async fn taken_names_are_refused(store: &Store, one: OrganisationId) {
    let row = store.organisation("one").await.unwrap();
    assert_eq!((row.id, row.secret.bytes()), (one, &[9; 32]));
    assert!(format!("{row:?}").contains("secret: Secret(…)"));
    assert!(matches!(store.organisation("three").await, Err(StoreError::NotFound)));
    let third = OrganisationId(uuid::Uuid::new_v4());
    let mut tx = store.begin(third, None).await.unwrap();
    let taken = tx.create_organisation("one", &Secret::new([1; 32]), at(0)).await;
    assert!(matches!(taken, Err(StoreError::SlugTaken)), "{taken:?}");
    drop(tx);
    let mut tx = store.begin(third, None).await.unwrap();
    assert!(matches!(tx.append(vec![event("a")], &who(0)).await, Err(StoreError::NotFound)));
}
