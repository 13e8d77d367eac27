//! Members, identifiers and fingerprints: newer rows win over pages.

use muster_domain::ids::{FeedNo, OrganisationId};
use muster_store::{IDENTS_PER_PAGE, Ident, MEMBERS_PER_PAGE, Store, Stored};

use super::organisation;

const P: u32 = MEMBERS_PER_PAGE;

/// A member's newer row wins; only pages that are still needed come along.
pub async fn newer_rows_win_over_pages(store: &Store) {
    let org = organisation(store, "acme").await;
    let mut tx = store.begin(org, None).await.unwrap();
    tx.put_roster_pages((0..40).map(|p| (p, vec![p as u8; 5000])).collect()).await.unwrap();
    tx.put_members(vec![(P, b"old".to_vec()), (3, b"three".to_vec()), (P, b"new".to_vec())]).await.unwrap();
    tx.put_members((20 * P..30 * P).map(|no| (no, no.to_le_bytes().to_vec())).collect()).await.unwrap();
    tx.commit().await.unwrap();
    let (newer, pages) = stored(store, org, &[P, 3, 5 * P, 5 * P + 1, 25 * P, 99 * P, 3]).await;
    assert_eq!(pages, [(5, vec![5; 5000])]);
    assert_eq!(newer, [(3, b"three".to_vec()), (P, b"new".to_vec()), (25 * P, (25 * P).to_le_bytes().to_vec())]);
    // One by one the same.
    assert_eq!(stored(store, org, &[P]).await, (vec![(P, b"new".to_vec())], Vec::new()));
    assert_eq!(stored(store, org, &[5 * P + 1]).await, (Vec::new(), vec![(5, vec![5; 5000])]));
    assert_eq!(stored(store, org, &[99 * P]).await, Default::default());
    assert_eq!(store.delta_count(org).await.unwrap(), u64::from(2 + 10 * P));
    assert_eq!(store.member_deltas(org, 3, P).await.unwrap().len(), 1);
    let pages = store.roster_pages(org, 38, 10).await.unwrap();
    assert_eq!(pages.iter().map(|p| p.0).collect::<Vec<_>>(), [38, 39]);
    let mut tx = store.begin(org, None).await.unwrap();
    tx.put_roster_pages(vec![(1, b"folded".to_vec())]).await.unwrap();
    tx.clear_member_delta().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(stored(store, org, &[P]).await, (Vec::new(), vec![(1, b"folded".to_vec())]));
}

type Rows = Vec<(u32, Vec<u8>)>;

/// Newer rows and pages, each in order; the newer rows must come first.
async fn stored(store: &Store, org: OrganisationId, numbers: &[u32]) -> (Rows, Rows) {
    let (mut newer, mut pages) = (Rows::new(), Rows::new());
    let visit = |found: Stored<'_>| match found {
        Stored::Newer(no, body) => {
            assert!(pages.is_empty(), "a newer row came behind a page");
            newer.push((no, body.to_vec()));
        }
        Stored::Page(page, body) => pages.push((page, body.to_vec())),
    };
    store.visit_members(org, numbers, visit).await.unwrap();
    newer.sort();
    pages.sort();
    (newer, pages)
}

/// An identifier may belong to several members, also across the edge of a page; newer words win.
pub async fn an_identifier_may_belong_to_several(store: &Store) {
    let org = organisation(store, "acme").await;
    // One hash fills the end of the first page, all of the second and the start of the third.
    let many = (1 << 63) - 1;
    let n = IDENTS_PER_PAGE as u32;
    let mut sorted: Vec<Ident> = (0..n - 10).map(|i| (u64::from(i) * 3, i)).collect();
    sorted.extend((0..n + 20).map(|i| (many, i)));
    sorted.extend([(1 << 63, 1), (u64::MAX - 1, 2), (u64::MAX, 3)]);
    let mut tx = store.begin(org, None).await.unwrap();
    let (first, second) = sorted.split_at(2 * IDENTS_PER_PAGE);
    let next = tx.put_ident_pages(0, first).await.unwrap();
    assert_eq!(tx.put_ident_pages(next, second).await.unwrap(), 3);
    tx.put_idents(&[(6, 2, false), (6, 77, true), (7, 1, true), (u64::MAX, 4, true), (8, 1, true), (8, 1, false)])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.idents(org, &[many]).await.unwrap().len(), n as usize + 20);
    assert_eq!(
        store.idents(org, &[u64::MAX, 7, 1, 6, 8]).await.unwrap(),
        [(6, 77), (7, 1), (u64::MAX, 3), (u64::MAX, 4)]
    );
    assert_eq!(store.idents(org, &[0, 1 << 63, 9]).await.unwrap(), [(0, 0), (9, 3), (1 << 63, 1)]);
    // Looked for one by one, by page, and all at once: the same answer.
    let expected: Vec<Ident> =
        sorted.iter().copied().filter(|i| *i != (6, 2)).chain([(6, 77), (7, 1), (u64::MAX, 4)]).collect();
    for size in [1, 9, 500, 9000] {
        let mut hashes: Vec<u64> = sorted.iter().map(|i| i.0).chain([7, 8]).collect();
        hashes.dedup();
        let step = if size == 1 { 371 } else { 1 };
        let mut seen = Vec::new();
        for hashes in hashes.chunks(size).step_by(step) {
            let found = store.idents(org, hashes).await.unwrap();
            let wanted = expected.iter().filter(|e| hashes.contains(&e.0)).count();
            assert_eq!(found.len(), wanted, "{size}");
            seen.extend(found);
            if seen.len() > 6000 && size < 500 {
                break;
            }
        }
    }
    let streamed: usize = store.ident_pages(org, 0, 99).await.unwrap().iter().map(|p| p.1.len()).sum();
    assert_eq!(streamed, sorted.len());
    assert_eq!(store.ident_deltas(org).await.unwrap().len(), 5);
}

/// Fingerprints: a base, additions, replaced whole, dropped; the order of the last payload beside them.
pub async fn fingerprints_come_back(store: &Store) {
    let org = organisation(store, "acme").await;
    let feed = FeedNo::MAIN;
    assert!(store.fingerprints(org, feed).await.unwrap().is_none());
    let mut tx = store.begin(org, None).await.unwrap();
    assert_eq!(tx.add_fingerprint_delta(feed, b"lost".to_vec()).await.unwrap(), 0);
    let pages: Vec<Vec<u8>> = (0..100u8).map(|i| vec![i; 3000]).collect();
    tx.put_fingerprints(feed, b"layout").await.unwrap();
    tx.add_fingerprint_pages(feed, 0, pages[..30].to_vec()).await.unwrap();
    tx.add_fingerprint_pages(feed, 30, pages[30..].to_vec()).await.unwrap();
    tx.put_fingerprints(FeedNo(2), b"other").await.unwrap();
    tx.add_fingerprint_pages(FeedNo(2), 0, vec![b"x".to_vec()]).await.unwrap();
    assert_eq!(tx.add_fingerprint_delta(feed, b"one".to_vec()).await.unwrap(), 1);
    assert_eq!(tx.add_fingerprint_delta(feed, b"two".to_vec()).await.unwrap(), 2);
    assert_eq!(tx.add_fingerprint_delta(FeedNo(2), b"its own".to_vec()).await.unwrap(), 1);
    tx.put_feed_pages(feed, vec![b"a".to_vec(), b"b".to_vec(), b"d".to_vec()]).await.unwrap();
    tx.put_feed_pages(feed, vec![b"c".to_vec(), b"d".to_vec()]).await.unwrap();
    tx.put_feed_page(feed, 0, b"e".to_vec()).await.unwrap();
    tx.put_feed_page(FeedNo(2), 0, b"f".to_vec()).await.unwrap();
    tx.commit().await.unwrap();
    let found = store.fingerprints(org, feed).await.unwrap().unwrap();
    assert_eq!(found.layout, b"layout");
    assert_eq!((found.size, pages_of(store, org, feed).await), (100 * 3000, pages));
    assert_eq!(found.deltas, [b"one", b"two"]);
    assert_eq!(store.fingerprint_layout(org, feed).await.unwrap().unwrap(), b"layout");
    let mut tx = store.begin(org, None).await.unwrap();
    tx.put_fingerprint_delta(feed, b"both".to_vec()).await.unwrap();
    assert_eq!(tx.add_fingerprint_delta(feed, b"four".to_vec()).await.unwrap(), 4);
    tx.commit().await.unwrap();
    assert_eq!(store.fingerprint_deltas(org, feed).await.unwrap(), [b"both", b"four"]);
    assert_eq!(store.fingerprint_deltas(org, FeedNo(2)).await.unwrap(), [b"its own"]);
    assert_eq!(store.feed_pages(org, feed).await.unwrap(), 2);
    assert_eq!(store.feed_page(org, feed, 0).await.unwrap().unwrap(), b"e");
    assert_eq!(store.feed_page(org, feed, 1).await.unwrap().unwrap(), b"d");
    assert_eq!(store.feed_page(org, feed, 2).await.unwrap(), None);
    let mut tx = store.begin(org, None).await.unwrap();
    tx.put_fingerprints(feed, b"next").await.unwrap();
    tx.commit().await.unwrap();
    let found = store.fingerprints(org, feed).await.unwrap().unwrap();
    assert!(found.layout == b"next" && found.size == 0 && found.deltas.is_empty());
    assert!(pages_of(store, org, feed).await.is_empty());
    let mut tx = store.begin(org, None).await.unwrap();
    tx.drop_fingerprints(feed).await.unwrap();
    tx.commit().await.unwrap();
    assert!(store.fingerprints(org, feed).await.unwrap().is_none());
    assert!(store.fingerprint_layout(org, feed).await.unwrap().is_none());
    assert!(store.fingerprints(org, FeedNo(2)).await.unwrap().is_some());
}

async fn pages_of(store: &Store, org: OrganisationId, feed: FeedNo) -> Vec<Vec<u8>> {
    let mut pages = Vec::new();
    store.each_fingerprint_page(org, feed, |page| pages.push(page.to_vec())).await.unwrap();
    pages
}
