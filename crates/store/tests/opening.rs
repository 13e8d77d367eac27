//! Opening: fresh files, several processes at once, schemas of other versions, addresses that are none.

use muster_store::{SCHEMA_VERSION, Store, StoreError, file};
use muster_testkit::database::{Engine, fresh};
use muster_testkit::postgres;

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_file_may_be_opened_by_many_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("a/b/muster.db").display());
    let opening: Vec<_> = (0..12)
        .map(|_| {
            let url = url.clone();
            // A thread and a runtime each: nothing is shared but the file, as between processes.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let store = Store::open(&url).await?;
                    store.organisations().await.map(|o| o.len())
                })
            })
        })
        .collect();
    for thread in opening {
        assert_eq!(thread.join().unwrap().unwrap(), 0);
    }
}

#[tokio::test]
async fn a_postgres_database_without_the_schema_is_refused() {
    let url = tokio::task::spawn_blocking(postgres::create_database).await.unwrap().unwrap();
    let refused = Store::open(&url).await.err().unwrap();
    assert_eq!(
        refused.to_string(),
        format!("The database has schema 0 and this muster needs {SCHEMA_VERSION}; run `muster migrate`")
    );
    assert_eq!(Store::migrate(&url).await.unwrap(), (0, SCHEMA_VERSION));
    assert_eq!(Store::migrate(&url).await.unwrap(), (SCHEMA_VERSION, SCHEMA_VERSION));
    Store::open(&url).await.unwrap();
}

#[tokio::test]
async fn many_may_migrate_at_once() {
    let url = tokio::task::spawn_blocking(postgres::create_database).await.unwrap().unwrap();
    let migrating: Vec<_> = (0..6)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { Store::migrate(&url).await })
        })
        .collect();
    for one in migrating {
        assert_eq!(one.await.unwrap().unwrap().1, SCHEMA_VERSION);
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_one_sentence() {
    for url in ["", "mysql://x", "sqlite:", "sqlite::memory:", "postgres://user:secret@[::/db"] {
        let refused = Store::open(url).await.err().unwrap();
        assert!(matches!(refused, StoreError::BadUrl(_)), "{url}: {refused:?}");
        assert!(!format!("{refused:?} {refused}").contains("secret"));
    }
    let nobody = Store::open("postgres://x@127.0.0.1:1/x").await.err().unwrap();
    assert!(matches!(nobody, StoreError::Unavailable(_)), "{nobody:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.db");
    std::fs::write(&path, vec![b'x'; 10_000]).unwrap();
    let refused = Store::open(&format!("sqlite:{}", path.display())).await.err().unwrap();
    assert!(matches!(refused, StoreError::Corrupt(_)), "{refused:?}");
    let refused = Store::open("sqlite:/proc/none/muster.db").await.err().unwrap();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let database = fresh(Engine::Sqlite).await;
    let org = muster_testkit::conformance::organisation(&database.store, "acme").await;
    database.store.close().await;
    let again = Store::open(&database.url).await.unwrap();
    assert_eq!(again.organisation("acme").await.unwrap().id, org);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_gathered_once_the_last_one_has_left_it() {
    let database = fresh(Engine::Sqlite).await;
    muster_testkit::conformance::organisation(&database.store, "acme").await;
    let path = file::path(&database.url).unwrap().unwrap();
    let gathering = tokio::spawn({
        let path = path.clone();
        async move { file::gather(&path).await }
    });
    // Long enough to be found in the way, shorter than anybody is waited for.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!gathering.is_finished(), "somebody is still there");
    database.store.close().await;
    gathering.await.unwrap().unwrap();
    assert!(!path.with_extension("db-wal").exists());
    let in_use = Store::open(&database.url).await.unwrap();
    in_use.organisations().await.unwrap();
    assert!(matches!(file::gather(&path).await, Err(StoreError::Busy)));
}

#[test]
fn futures_can_be_sent_to_other_threads() {
    fn is_send<T: Send>(_: T) {}
    let using = |store: Store, org| async move {
        let mut tx = store.begin(org, None).await?;
        tx.put_members(Vec::new()).await?;
        tx.append(Vec::new(), &muster_testkit::conformance::who(0)).await?;
        tx.idents(&[1]).await?;
        tx.commit().await
    };
    let _ = |store, org| is_send(using(store, org));
}
