//! Leases: one holder, fenced by the token.

use std::time::Duration;

use muster_store::{Store, StoreError, Told, Untold};

use super::{event, organisation, who};

const LONG: Duration = Duration::from_secs(60);

/// One holds the lease; it is given back, prolonged, or taken when its time is over.
pub async fn a_lease_has_one_holder(store: &Store) {
    let org = organisation(store, "acme").await;
    let other = organisation(store, "other").await;
    let lease = store.acquire_lease(org, "a", LONG).await.unwrap().unwrap();
    assert!(store.acquire_lease(org, "b", LONG).await.unwrap().is_none());
    assert!(store.acquire_lease(other, "b", LONG).await.unwrap().is_some());
    store.renew_lease(&lease, Duration::ZERO).await.unwrap();
    let next = store.acquire_lease(org, "b", LONG).await.unwrap().unwrap();
    assert!(next.token > lease.token);
    assert!(matches!(store.renew_lease(&lease, LONG).await, Err(StoreError::LeaseLost)));
    store.release_lease(&lease).await.unwrap();
    assert!(store.acquire_lease(org, "c", LONG).await.unwrap().is_none());
    store.release_lease(&next).await.unwrap();
    let last = store.acquire_lease(org, "c", LONG).await.unwrap().unwrap();
    assert!(last.token > next.token);
}

/// One has a duty; it is prolonged, left, or taken when its time is over, and only who has it notes what was told.
pub async fn a_duty_has_one_holder(store: &Store) {
    let org = organisation(store, "acme").await;
    let duty = store.take_duty("scheduler", "a", LONG).await.unwrap().unwrap();
    assert!(store.take_duty("scheduler", "b", LONG).await.unwrap().is_none());
    assert_eq!(store.duty_holder("scheduler").await.unwrap().as_deref(), Some("a"));
    assert!(store.take_duty("events", "b", LONG).await.unwrap().is_some());
    let told = |seq| [Told { organisation: org, seq }];
    store.mark_told("x", &told(1), Some(&duty)).await.unwrap();
    store.prolong_duty(&duty, Duration::ZERO).await.unwrap();
    assert_eq!(store.duty_holder("scheduler").await.unwrap(), None);
    let next = store.take_duty("scheduler", "b", LONG).await.unwrap().unwrap();
    assert!(next.token > duty.token);
    assert!(matches!(store.prolong_duty(&duty, LONG).await, Err(StoreError::LeaseLost)));
    assert!(matches!(store.mark_told("x", &told(2), Some(&duty)).await, Err(StoreError::LeaseLost)));
    store.bury_duty("scheduler", "b").await.unwrap();
    assert!(store.take_duty("scheduler", "c", LONG).await.unwrap().is_some());
}

/// What was not told is found by target, and a mark never goes back.
pub async fn a_mark_never_goes_back(store: &Store) {
    let org = organisation(store, "acme").await;
    let mut tx = store.begin(org, None).await.unwrap();
    tx.append(vec![event("a"), event("b")], &who(1)).await.unwrap();
    tx.commit().await.unwrap();
    let last_seq = store.head(org).await.unwrap().last_seq;
    let untold = |told| vec![Untold { organisation: org, told, last_seq }];
    assert_eq!(store.untold("x").await.unwrap(), untold(0));
    for (seq, left) in [(last_seq - 1, untold(last_seq - 1)), (last_seq, vec![]), (1, vec![])] {
        store.mark_told("x", &[Told { organisation: org, seq }], None).await.unwrap();
        assert_eq!(store.untold("x").await.unwrap(), left);
    }
    assert_eq!(store.untold("y").await.unwrap(), untold(0));
    assert_eq!(store.ends().await.unwrap(), [(org, last_seq)]);
}

/// Who has lost the lease cannot commit, whether it was lost before the transaction or in it.
pub async fn a_lost_lease_cannot_commit(store: &Store) {
    let org = organisation(store, "acme").await;
    let old = store.acquire_lease(org, "a", Duration::ZERO).await.unwrap().unwrap();
    // Its time is over but nobody has taken it: the work still counts.
    let mut tx = store.begin(org, Some(&old)).await.unwrap();
    tx.append(vec![event("a")], &who(1)).await.unwrap();
    tx.commit().await.unwrap();
    let new = store.acquire_lease(org, "b", LONG).await.unwrap().unwrap();
    assert!(matches!(store.begin(org, Some(&old)).await.err(), Some(StoreError::LeaseLost)));
    let mut tx = store.begin(org, Some(&new)).await.unwrap();
    tx.append(vec![event("a")], &who(1)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.head(org).await.unwrap().last_seq, 2);
    let other = organisation(store, "other").await;
    assert!(matches!(store.begin(other, Some(&new)).await.err(), Some(StoreError::LeaseLost)));
}

/// A lease taken over while the old holder's transaction is open: the old holder's commit is refused.
/// (On SQLite nobody can take over meanwhile, because a transaction has the file to itself.)
pub async fn a_lease_taken_meanwhile_fences_the_commit(store: &Store) {
    let org = organisation(store, "acme").await;
    let old = store.acquire_lease(org, "a", Duration::ZERO).await.unwrap().unwrap();
    let mut tx = store.begin(org, Some(&old)).await.unwrap();
    tx.append(vec![event("a")], &who(1)).await.unwrap();
    let taking = tokio::time::timeout(Duration::from_millis(300), store.acquire_lease(org, "b", LONG)).await;
    match taking {
        Ok(taken) => {
            assert!(taken.unwrap().is_some());
            assert!(matches!(tx.commit().await, Err(StoreError::LeaseLost)));
            assert_eq!(store.head(org).await.unwrap().last_seq, 0);
        }
        Err(_) => tx.commit().await.unwrap(),
    }
}
