//! Folding newer rows, identifiers and fingerprints into their pages changes nothing of what is read.

use crate::rules_given::*;
use muster_store::Ident;

async fn idents(given: &Given) -> Vec<Ident> {
    let (store, acme) = (&given.engine.store, given.acme().await.row.id);
    let mut all: std::collections::BTreeSet<Ident> = Default::default();
    for (_, page) in store.ident_pages(acme, 0, 1000).await.unwrap() {
        all.extend(page);
    }
    for (hash, no, live) in store.ident_deltas(acme).await.unwrap() {
        if live {
            all.insert((hash, no))
        } else {
            all.remove(&(hash, no))
        };
    }
    all.into_iter().collect()
}

async fn newer_rows(given: &Given) -> u64 {
    given.engine.store.delta_count(given.acme().await.row.id).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_is_the_same_before_and_after() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=301)).await;
    let changed = |n| if n % 7 == 0 { moved(n, "Legal") } else { person(n) };
    given.applied(full(), &csv((5..=310).map(changed))).await;
    let (members, known) = (given.everybody().await, idents(&given).await);
    assert!(newer_rows(&given).await > 40);
    given.verified().await;

    let acme = given.acme().await.row.id;
    let lease = given.engine.lease(acme).await.unwrap();
    given.engine.fold_roster(&lease, acme).await.unwrap();
    given.engine.fold_idents(&lease, acme).await.unwrap();
    given.engine.store.release_lease(&lease).await.unwrap();
    assert_eq!(newer_rows(&given).await, 0);
    assert!(given.engine.store.ident_deltas(acme).await.unwrap().is_empty());
    assert_eq!(given.everybody().await, members);
    assert_eq!(idents(&given).await, known);
    given.verified().await;

    let report = given.applied(full(), &csv((5..=320).map(person))).await;
    assert_eq!((report.counts.updated, report.counts.added), (44, 10));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_newer_rows_are_folded_after_the_sync() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=5_200)).await;
    assert!(newer_rows(&given).await < 100, "a first import writes pages");
    given.applied(full(), &csv((1..=5_200).map(|n| moved(n, "Legal")))).await;
    assert_eq!(newer_rows(&given).await, 0);
    assert_eq!(given.department("E77").await, "Legal");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_deltas_of_fingerprints_become_one_base() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=200)).await;
    for n in 1..=33 {
        given.applied(full(), &csv((1..=200).map(|i| if i <= n { moved(i, "Legal") } else { person(i) }))).await;
    }
    let acme = given.acme().await.row.id;
    let stored = given.engine.store.fingerprints(acme, FeedNo::MAIN).await.unwrap().unwrap();
    assert!(stored.deltas.len() < 30, "{}", stored.deltas.len());
    let report =
        given.applied(full(), &csv((1..=200).map(|i| if i <= 34 { moved(i, "Legal") } else { person(i) }))).await;
    assert_eq!((report.counts.updated, report.counts.unchanged), (1, 199));
    given.verified().await;
}
