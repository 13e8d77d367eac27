//! Forgetting: one member's rows and identifiers go wherever they are, nobody else's, and blocks come back.

use muster_store::Store;

use super::organisation;

/// Of a member nothing is found any more, in pages or newer rows; everybody else is.
pub async fn a_member_is_dropped_everywhere(store: &Store) {
    let org = organisation(store, "acme").await;
    let mut tx = store.begin(org, None).await.unwrap();
    tx.put_roster_pages(vec![(0, b"page".to_vec())]).await.unwrap();
    tx.put_members(vec![(1, b"one".to_vec()), (2, b"two".to_vec())]).await.unwrap();
    let mut idents: Vec<(u64, u32)> = (0..9000).map(|i| (i * 7, (i % 3) as u32)).collect();
    tx.put_ident_pages(0, &idents).await.unwrap();
    tx.put_ident_pages(9, &[(u64::MAX, 1)]).await.unwrap();
    tx.put_idents(&[(5, 1, true), (5, 2, true), (14, 2, false)]).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin(org, None).await.unwrap();
    tx.drop_member(1).await.unwrap();
    tx.drop_idents(1).await.unwrap();
    assert_eq!(tx.page_of(1).await.unwrap(), Some(b"page".to_vec()));
    assert_eq!(tx.page_of(32).await.unwrap(), None);
    tx.commit().await.unwrap();
    assert_eq!(store.member_deltas(org, 0, 9).await.unwrap(), [(2, b"two".to_vec())]);
    let hashes: Vec<u64> = idents.iter().map(|i| i.0).chain([5, u64::MAX]).collect();
    idents.retain(|i| i.1 != 1 && *i != (14, 2));
    idents.push((5, 2));
    idents.sort_unstable();
    assert_eq!(store.idents(org, &hashes).await.unwrap(), idents);
    store.sweep().await.unwrap();
    assert_eq!(store.idents(org, &hashes).await.unwrap(), idents);
}

/// Blocks are a set, each organisation's own.
pub async fn blocks_come_back(store: &Store) {
    let (one, two) = (organisation(store, "one").await, organisation(store, "two").await);
    let mut tx = store.begin(one, None).await.unwrap();
    tx.put_blocked(&[[2; 16], [1; 16]]).await.unwrap();
    tx.put_blocked(&[[2; 16], [3; 16]]).await.unwrap();
    tx.lift_blocked(&[[1; 16], [9; 16]]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.blocked(one).await.unwrap(), [[2; 16], [3; 16]]);
    assert!(store.blocked(two).await.unwrap().is_empty());
}
