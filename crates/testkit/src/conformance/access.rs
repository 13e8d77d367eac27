//! Users and keys: read in one look, changed with their event or not at all, apart from the main log; answers given once.

use chrono::Duration;
use muster_domain::event::{GENESIS, chain};
use muster_domain::ids::OrganisationId;
use muster_store::access::{AccountRow, Answer, KeyRow, Noted, NotedFilter, Used};
use muster_store::{Prepared, Store, StoreError};
use uuid::Uuid;

use super::{at, event, event_with_body, organisation, who};
use crate::database::{Database, fresh};

fn key(id: &str, user: u128, byte: u8) -> KeyRow {
    KeyRow { id: id.into(), user: Uuid::from_u128(user), hash: [byte; 32], former: None, doc: vec![byte] }
}

fn account(id: u128, email: Option<&str>) -> AccountRow {
    AccountRow { id: Uuid::from_u128(id), email: email.map(Into::into), password: None, doc: vec![id as u8] }
}

fn prepared(stream: &str) -> Prepared {
    Prepared::try_from(event_with_body(stream, 1)).unwrap()
}

async fn put(store: &Store, org: OrganisationId, row: &KeyRow) {
    let mut tx = store.access().await.unwrap().begin(org).await.unwrap();
    tx.put_key(row).await.unwrap();
    tx.append(vec![prepared(&format!("key-{}", row.id))], &who(1)).await.unwrap();
    tx.commit().await.unwrap();
}

/// A key is found by its identity alone, with its organisation, its user and the user's role there.
pub async fn a_key_is_found_with_user_and_role(store: &Store) {
    let (org, other) = (organisation(store, "acme").await, organisation(store, "other").await);
    let access = store.access().await.unwrap();
    put(store, org, &key("k1", 7, 1)).await;
    let found = access.find_key("k1").await.unwrap().unwrap();
    assert_eq!((found.organisation, &found.key, found.user, found.role), (org, &key("k1", 7, 1), None, None));
    let mut tx = access.begin(other).await.unwrap();
    tx.put_account(&account(7, Some("ada@example.com"))).await.unwrap();
    assert_eq!(tx.set_role(Uuid::from_u128(7), Some("viewer")).await.unwrap(), None);
    tx.commit().await.unwrap();
    // The role is one in another organisation.
    let found = access.find_key("k1").await.unwrap().unwrap();
    assert_eq!((found.user, found.role), (Some(vec![7]), None));
    let mut tx = access.begin(org).await.unwrap();
    tx.set_role(Uuid::from_u128(7), Some("viewer")).await.unwrap();
    assert_eq!(tx.set_role(Uuid::from_u128(7), Some("reviewer")).await.unwrap().as_deref(), Some("viewer"));
    let rotated = KeyRow { former: Some(([1; 32], at(9))), hash: [2; 32], ..tx.key("k1").await.unwrap() };
    tx.put_key(&rotated).await.unwrap();
    tx.commit().await.unwrap();
    let found = access.find_key("k1").await.unwrap().unwrap();
    assert_eq!(found.role.as_deref(), Some("reviewer"));
    assert_eq!((found.key.hash, found.key.former.map(|(hash, _)| hash)), ([2; 32], Some([1; 32])));
    assert_eq!(access.roles_of_account(Uuid::from_u128(7)).await.unwrap().len(), 2);
    assert_eq!(access.find_key("k2").await.unwrap(), None);
}

/// What is another organisation's is neither read nor written.
pub async fn keys_of_others_are_out_of_reach(store: &Store) {
    let (org, other) = (organisation(store, "acme").await, organisation(store, "other").await);
    let access = store.access().await.unwrap();
    put(store, org, &key("k1", 7, 1)).await;
    let mut tx = access.begin(other).await.unwrap();
    assert!(matches!(tx.key("k1").await, Err(StoreError::NotFound)));
    assert!(matches!(tx.put_key(&key("k1", 8, 2)).await, Err(StoreError::KeyConflict)));
    tx.rollback().await.unwrap();
    assert!(matches!(access.key(other, "k1").await, Err(StoreError::NotFound)));
    assert_eq!(access.keys(other).await.unwrap(), []);
    assert_eq!(access.key(org, "k1").await.unwrap(), key("k1", 7, 1));
    assert_eq!(access.head(other).await.unwrap(), None);
}

/// A change and its event are one; the log is chained, and is not the main one.
pub async fn a_change_and_its_event_are_one(store: &Store) {
    let org = organisation(store, "acme").await;
    let access = store.access().await.unwrap();
    let mut tx = access.begin(org).await.unwrap();
    tx.put_key(&key("k1", 7, 1)).await.unwrap();
    tx.append(vec![prepared("key-k1")], &who(1)).await.unwrap();
    drop(tx);
    assert_eq!(access.find_key("k1").await.unwrap(), None);
    put(store, org, &key("k1", 7, 1)).await;
    put(store, org, &key("k2", 7, 2)).await;
    let events = access.events(org, 0, 10).await.unwrap();
    assert_eq!(events.iter().map(|e| e.meta.seq).collect::<Vec<_>>(), [1, 2]);
    let last = events.iter().fold(GENESIS, |hash, e| {
        let root = e.body.as_ref().map_or([0; 32], |b| b.root());
        assert_eq!(e.hash, chain(&hash, &e.meta_bytes, &root));
        e.hash
    });
    let head = access.head(org).await.unwrap().unwrap();
    assert_eq!((head.last_seq, head.hash), (2, last));
    assert_eq!(store.head(org).await.unwrap().last_seq, 0);
}

/// An e-mail address is one user's.
pub async fn an_address_is_one_users(store: &Store) {
    let org = organisation(store, "acme").await;
    let access = store.access().await.unwrap();
    let mut tx = access.begin(org).await.unwrap();
    tx.put_account(&account(1, Some("ada@example.com"))).await.unwrap();
    tx.put_account(&account(2, None)).await.unwrap();
    tx.put_account(&account(3, None)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = access.begin(org).await.unwrap();
    let taken = tx.put_account(&account(4, Some("ada@example.com"))).await;
    assert!(matches!(taken, Err(StoreError::KeyConflict)));
    drop(tx);
    let found = access.account_of_email("ada@example.com").await.unwrap().unwrap();
    assert_eq!(found, account(1, Some("ada@example.com")));
    assert_eq!(access.accounts().await.unwrap().len(), 3);
}

/// A use that is written late does not hide a later one.
pub async fn the_last_use_counts(store: &Store) {
    let org = organisation(store, "acme").await;
    let access = store.access().await.unwrap();
    put(store, org, &key("k1", 7, 1)).await;
    let used = |seconds, address: &str| vec![("k1".to_owned(), Used { at: at(seconds), address: address.into() })];
    access.note_uses(org, used(5, "10.0.0.5")).await.unwrap();
    access.note_uses(org, used(3, "10.0.0.3")).await.unwrap();
    let (_, last) = access.keys(org).await.unwrap().remove(0);
    assert_eq!(last.unwrap().address, "10.0.0.5");
}

/// The log of reads is found by time and key, and what is old goes.
pub async fn reads_are_noted_and_forgotten(store: &Store) {
    let (org, other) = (organisation(store, "acme").await, organisation(store, "other").await);
    let access = store.access().await.unwrap();
    let noted =
        |n: u8, key: &str| Noted { at: at(i64::from(n)), id: Uuid::from_u128(n.into()), key: key.into(), doc: vec![n] };
    access.note(org, (1..=9).map(|n| noted(n, if n % 2 == 0 { "even" } else { "odd" })).collect()).await.unwrap();
    access.note(other, vec![noted(1, "even")]).await.unwrap();
    // The same again, as after an answer that was lost.
    access.note(org, vec![noted(9, "odd")]).await.unwrap();
    let found = async |filter: NotedFilter| {
        access.noted(org, &filter).await.unwrap().into_iter().map(|n| n.doc[0]).collect::<Vec<_>>()
    };
    assert_eq!(found(NotedFilter { limit: 3, ..Default::default() }).await, [9, 8, 7]);
    let even = NotedFilter { key: Some("even".into()), since: Some(at(3)), limit: 100, ..Default::default() };
    assert_eq!(found(even.clone()).await, [8, 6, 4]);
    // Where a page ended the next goes on, also between entries of the same moment.
    let before = |n: u8, id: u128| Some((at(i64::from(n)), Uuid::from_u128(id)));
    assert_eq!(found(NotedFilter { before: before(8, 8), ..even.clone() }).await, [6, 4]);
    assert_eq!(found(NotedFilter { before: before(8, 9), ..even }).await, [8, 6, 4]);
    assert_eq!(found(NotedFilter { before: before(3, 3), limit: 100, ..Default::default() }).await, [2, 1]);
    assert_eq!(access.count_noted(org, at(4)).await.unwrap(), 3);
    assert_eq!(access.forget_noted(org, at(4)).await.unwrap(), 3);
    assert_eq!(found(NotedFilter { limit: 100, ..Default::default() }).await, [9, 8, 7, 6, 5, 4]);
    assert_eq!(access.noted(other, &NotedFilter { limit: 9, ..Default::default() }).await.unwrap().len(), 1);
}

/// A request is worked on once; who comes again gets its answer while that is kept.
pub async fn a_request_is_answered_once(store: &Store) {
    let org = organisation(store, "acme").await;
    let access = store.access().await.unwrap();
    let minute = Duration::seconds(60);
    let claim = async |content: u8, seconds| {
        access.claim_answer(org, "k1", "r1", &[content; 32], at(seconds), at(seconds) + minute).await.unwrap()
    };
    let Answer::New(first) = claim(1, 0).await else { panic!("not new") };
    assert_eq!(claim(1, 1).await, Answer::InFlight);
    assert_eq!(claim(2, 1).await, Answer::OtherContent);
    // Whoever had it died: its time is over, and it is somebody else's.
    let Answer::New(second) = claim(1, 60).await else { panic!("not freed") };
    assert!(!access.keep_answer(&first, 200, b"first", at(90)).await.unwrap());
    assert!(!access.prolong_answer(&first, at(900)).await.unwrap());
    assert!(access.prolong_answer(&second, at(200)).await.unwrap());
    assert_eq!(claim(1, 150).await, Answer::InFlight);
    assert!(access.keep_answer(&second, 202, b"second", at(1000)).await.unwrap());
    assert_eq!(claim(1, 999).await, Answer::Given { status: 202, body: b"second".to_vec() });
    assert_eq!(claim(2, 999).await, Answer::OtherContent);
    // Another key's request of that name is another.
    let other = access.claim_answer(org, "k2", "r1", &[1; 32], at(2), at(62)).await.unwrap();
    let Answer::New(other) = other else { panic!("not new") };
    access.drop_answer(&other).await.unwrap();
    assert_eq!(access.forget_answers(org, at(1000)).await.unwrap(), 1);
    assert!(matches!(claim(2, 1000).await, Answer::New(_)));
}

/// Where somebody is forgotten no answer stays, not even one that is being made, and nobody else's is lost.
pub async fn answers_are_given_up(store: &Store) {
    let (org, other) = (organisation(store, "acme").await, organisation(store, "other").await);
    let access = store.access().await.unwrap();
    let claim = async |org, request: &'static str, seconds| {
        access.claim_answer(org, "k1", request, &[1; 32], at(seconds), at(seconds + 60)).await.unwrap()
    };
    let answered = async |org| {
        let Answer::New(claimed) = claim(org, "answered", 0).await else { panic!("not new") };
        assert!(access.keep_answer(&claimed, 200, b"E1001", at(1000)).await.unwrap());
    };
    answered(org).await;
    answered(other).await;
    let Answer::New(worked_on) = claim(org, "worked on", 0).await else { panic!("not new") };
    assert_eq!(access.give_up_answers(org).await.unwrap(), 1);
    access.sweep().await.unwrap();
    assert!(matches!(claim(org, "answered", 1).await, Answer::New(_)));
    assert_eq!(claim(org, "worked on", 1).await, Answer::InFlight);
    assert!(!access.keep_answer(&worked_on, 200, b"E1001", at(1000)).await.unwrap());
    assert!(!access.prolong_answer(&worked_on, at(1000)).await.unwrap());
    assert!(matches!(claim(org, "worked on", 60).await, Answer::New(_)));
    assert!(matches!(claim(other, "answered", 1).await, Answer::Given { .. }));
}

/// Of many at once one gets a request.
pub async fn one_of_many_gets_a_request(store: &Store) {
    let org = organisation(store, "acme").await;
    let access = store.access().await.unwrap();
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let access = access.clone();
        claims.spawn(async move { access.claim_answer(org, "k", "r", &[1; 32], at(0), at(60)).await.unwrap() });
    }
    let claims = claims.join_all().await;
    assert_eq!(claims.iter().filter(|c| matches!(c, Answer::New(_))).count(), 1);
    assert_eq!(claims.iter().filter(|c| **c == Answer::InFlight).count(), 15);
}

/// While somebody holds the main database's writer, as a large import does, a key is taken away at once.
pub async fn a_revocation_does_not_wait_for_an_import(store: &Store) {
    let org = organisation(store, "acme").await;
    put(store, org, &key("k1", 7, 1)).await;
    let mut import = store.begin(org, None).await.unwrap();
    import.append(vec![event("a")], &who(1)).await.unwrap();
    let revoked = KeyRow { doc: b"revoked".to_vec(), ..key("k1", 7, 1) };
    let within = std::time::Duration::from_secs(20);
    tokio::time::timeout(within, put(store, org, &revoked)).await.expect("it waited for the import");
    let found = store.access().await.unwrap().find_key("k1").await.unwrap().unwrap();
    assert_eq!(found.key.doc, b"revoked");
    import.commit().await.unwrap();
}

/// Another process sees what one has done, from the next read on.
pub async fn another_process_sees_it_at_once(database: &Database) {
    let org = organisation(&database.store, "acme").await;
    let other = Store::open(&database.url).await.unwrap();
    put(&database.store, org, &key("k1", 7, 1)).await;
    assert_eq!(other.access().await.unwrap().find_key("k1").await.unwrap().unwrap().key.doc, [1]);
    put(&database.store, org, &KeyRow { doc: vec![9], ..key("k1", 7, 1) }).await;
    assert_eq!(other.access().await.unwrap().find_key("k1").await.unwrap().unwrap().key.doc, [9]);
    other.close().await;
}

/// Two databases share nothing, and a database that was never asked for users and keys has none.
pub async fn nobody_is_there_at_first(database: &Database) {
    let access = database.store.access().await.unwrap();
    assert_eq!(access.accounts().await.unwrap(), []);
    assert!(database.store.has_access());
    let other = fresh(crate::database::Engine::Sqlite).await;
    assert!(!other.store.has_access());
    other.store.close().await;
}
