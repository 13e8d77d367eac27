//! A fresh database of either engine for one test.

use muster_store::Store;
use tempfile::TempDir;

use crate::postgres;

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file in a directory of its own.
    Sqlite,
    /// A database on the tests' server.
    Postgres,
}

impl Engine {
    /// Both.
    pub const ALL: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];
}

/// A database of this test alone.
pub struct Database {
    /// Its address.
    pub url: String,
    /// An open handle.
    pub store: Store,
    _dir: Option<TempDir>,
}

/// Makes a database, migrated and open. A test that cannot have one fails.
pub async fn fresh(engine: Engine) -> Database {
    let (url, dir) = match engine {
        Engine::Sqlite => {
            let dir = TempDir::new().expect("a temporary directory");
            (format!("sqlite:{}", dir.path().join("muster.db").display()), Some(dir))
        }
        Engine::Postgres => {
            let url = tokio::task::spawn_blocking(postgres::create_database).await.expect("no panic");
            let url = url.expect("a PostgreSQL database");
            Store::migrate(&url).await.expect("migrated");
            (url, None)
        }
    };
    let store = Store::open(&url).await.expect("opened");
    Database { url, store, _dir: dir }
}
