//! Opening a database: one writer and a few readers for SQLite, a small pool for PostgreSQL.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction,
};
use tokio::sync::OnceCell;

use crate::access::{self, Access};
use crate::error::{Result, StoreError};
use crate::read_model::{self, ReadModels};
use crate::schema;

/// How long a writer waits for another one.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long PostgreSQL leaves a transaction alone in which nothing happens: a process that froze in the middle of one must not
/// keep what it has locked for ever. Whoever has one open for longer, and is well, must ask for something in between.
const IDLE: Duration = Duration::from_secs(60);

/// How much of a SQLite file is mapped into memory at most. What is mapped counts as the process's memory.
const MAPPED: u64 = 0;

/// The database: a handle that is cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) pools: Pools,
    pub(crate) address: Arc<Address>,
    pub(crate) idle_limit: Duration,
    pub(crate) read_models: Arc<OnceCell<ReadModels>>,
    pub(crate) access: Arc<OnceCell<Access>>,
}

#[derive(Clone)]
pub(crate) enum Pools {
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres(PgPool),
}

/// A connection of either engine, inside a transaction or not.
pub(crate) enum Conn<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

/// A connection for one read.
pub(crate) enum Reading {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    SqliteSnapshot(Transaction<'static, Sqlite>),
    PostgresSnapshot(Transaction<'static, Postgres>),
}

/// A transaction for writing.
pub(crate) enum Writing {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// Compiles one body for both engines: `on!(conn, c => sqlx::query("…").execute(&mut **c).await)`.
macro_rules! on {
    ($conn:expr, $c:ident => $body:expr) => {
        match $conn {
            $crate::connect::Conn::Sqlite($c) => $body,
            $crate::connect::Conn::Postgres($c) => $body,
        }
    };
}
pub(crate) use on;

impl Store {
    /// Opens `sqlite:PATH` or `postgres://…`. A SQLite file is made and migrated as needed; a PostgreSQL
    /// database must have this binary's schema (see [`Store::migrate`]).
    pub async fn open(url: &str) -> Result<Store> {
        Store::open_with_idle_limit(url, IDLE).await
    }

    /// The same with another limit on how long a transaction may be without a statement, on PostgreSQL.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with_idle_limit(url: &str, idle_limit: Duration) -> Result<Store> {
        let address = Address::with(url, idle_limit)?;
        let pools = match &address {
            Address::Sqlite(path) => open_sqlite(path).await?,
            Address::Postgres(options) => {
                // A connection outside the pool first: the pool would go on trying for its whole patience, and hide why.
                let mut first = options.connect().await?;
                schema::check(&mut first).await?;
                first.close().await?;
                Pools::Postgres(postgres_pool((**options).clone()))
            }
        };
        Ok(Store { pools, address: Arc::new(address), idle_limit, read_models: Arc::default(), access: Arc::default() })
    }

    /// Brings the database to this binary's schema, and says from which version to which.
    pub async fn migrate(url: &str) -> Result<(i64, i64)> {
        match Address::of(url)? {
            Address::Sqlite(path) => {
                prepare_file(&path)?;
                let mut writer = sqlite_connection(&sqlite_options(&path, 16 << 20)).await?;
                schema::migrate_sqlite(&mut writer).await
            }
            Address::Postgres(options) => {
                let mut conn = options.connect().await?;
                let versions = schema::migrate_postgres(&mut conn).await?;
                read_model::make_on_server(&mut conn).await?;
                access::migrate_on_server(&mut conn).await?;
                Ok(versions)
            }
        }
    }

    /// Waits for what is under way and closes the connections.
    pub async fn close(&self) {
        if let Some(read_models) = self.read_models.get() {
            read_models.close().await;
        }
        if let Some(access) = self.access.get() {
            access.close().await;
        }
        self.pools.close().await;
    }

    pub(crate) async fn reading(&self) -> Result<Reading> {
        self.pools.reading().await
    }

    pub(crate) async fn writing(&self) -> Result<Writing> {
        self.pools.writing().await
    }
}

impl Pools {
    /// Whether the database is a file, which has one writer at a time.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Pools::Sqlite { .. })
    }

    pub(crate) async fn close(&self) {
        match self {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    pub(crate) async fn reading(&self) -> Result<Reading> {
        Ok(match self {
            Pools::Sqlite { readers, .. } => Reading::Sqlite(readers.acquire().await?),
            Pools::Postgres(pool) => Reading::Postgres(pool.acquire().await?),
        })
    }

    /// A transaction that only reads, and sees one moment.
    pub(crate) async fn snapshot(&self) -> Result<Reading> {
        const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        Ok(match self {
            Pools::Sqlite { readers, .. } => Reading::SqliteSnapshot(readers.begin().await?),
            Pools::Postgres(pool) => Reading::PostgresSnapshot(pool.begin_with(ONE_MOMENT).await?),
        })
    }

    pub(crate) async fn writing(&self) -> Result<Writing> {
        Ok(match self {
            Pools::Sqlite { writer, .. } => Writing::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Pools::Postgres(pool) => Writing::Postgres(pool.begin().await?),
        })
    }
}

impl Reading {
    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match self {
            Reading::Sqlite(c) => Conn::Sqlite(c),
            Reading::Postgres(c) => Conn::Postgres(c),
            Reading::SqliteSnapshot(c) => Conn::Sqlite(c),
            Reading::PostgresSnapshot(c) => Conn::Postgres(c),
        }
    }
}

impl Writing {
    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match self {
            Writing::Sqlite(c) => Conn::Sqlite(c),
            Writing::Postgres(c) => Conn::Postgres(c),
        }
    }

    pub(crate) async fn commit(self) -> Result<()> {
        match self {
            Writing::Sqlite(c) => c.commit().await?,
            Writing::Postgres(c) => c.commit().await?,
        }
        Ok(())
    }

    pub(crate) async fn rollback(self) -> Result<()> {
        match self {
            Writing::Sqlite(c) => c.rollback().await?,
            Writing::Postgres(c) => c.rollback().await?,
        }
        Ok(())
    }
}

pub(crate) enum Address {
    Sqlite(std::path::PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Address {
    pub fn of(url: &str) -> Result<Address> {
        Address::with(url, IDLE)
    }

    fn with(url: &str, idle_limit: Duration) -> Result<Address> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.contains('?') {
                return Err(StoreError::BadUrl(
                    "the address of a SQLite database takes no options: sqlite:PATH".into(),
                ));
            }
            if path.is_empty() || path.starts_with(":memory:") {
                return Err(StoreError::BadUrl("the database needs a file: sqlite:PATH".into()));
            }
            return Ok(Address::Sqlite(path.into()));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            // The error is not shown: it may quote the address, and with it a password.
            let options = PgConnectOptions::from_str(url)
                .map_err(|_| StoreError::BadUrl("the address of the PostgreSQL database cannot be read".into()))?;
            let idle_limit = format!("{}ms", idle_limit.as_millis());
            let settings = [("jit", "off"), ("idle_in_transaction_session_timeout", &*idle_limit)];
            let options = options.application_name("muster").options(settings).disable_statement_logging();
            return Ok(Address::Postgres(Box::new(options)));
        }
        Err(StoreError::BadUrl("the database must be given as sqlite:PATH or postgres://…".into()))
    }
}

async fn open_sqlite(path: &Path) -> Result<Pools> {
    prepare_file(path)?;
    let mut first = sqlite_connection(&sqlite_options(path, 16 << 20)).await?;
    schema::migrate_sqlite(&mut first).await?;
    // Waited for, since a connection that is merely dropped is closed some time later, by a thread of its own.
    first.close().await?;
    let writer = sqlite_pool(1).connect_lazy_with(sqlite_options(path, 16 << 20));
    let readers = sqlite_pool(4).connect_lazy_with(sqlite_options(path, 4 << 20).pragma("query_only", "on"));
    Ok(Pools::Sqlite { writer, readers })
}

/// Makes the file and what is missing above it, for their owner alone: secrets and people are in it. What is there already
/// keeps the rights that somebody gave it.
pub(crate) fn prepare_file(path: &Path) -> Result<()> {
    let make = || {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            let mut builder = std::fs::DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.recursive(true).create(dir)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(e),
            _ => Ok(()),
        }
    };
    make().map_err(|e: std::io::Error| StoreError::Unavailable(e.into()))
}

/// A connection of its own to a file.
pub(crate) async fn sqlite_connection(options: &SqliteConnectOptions) -> Result<SqliteConnection> {
    while_busy(PATIENCE, || async { Ok(options.connect().await?) }).await
}

/// Tries again while the database is busy, for this long. SQLite waits by itself, but not for everything: turning the
/// write-ahead log on or off finds the file busy at once.
pub(crate) async fn while_busy<T, F: Future<Output = Result<T>>>(
    patience: Duration,
    attempt: impl Fn() -> F,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match attempt().await {
            Err(StoreError::Busy) if started.elapsed() < patience => {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
            outcome => return outcome,
        }
    }
}

pub(crate) fn sqlite_pool(size: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(size)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(is_free(connection)))
        .idle_timeout(None)
        .max_lifetime(None)
}

/// Whether a connection can begin a transaction. When the disk is full or fails, SQLite ends a transaction by itself while
/// the driver goes on taking it for open: such a connection is of no more use, and gives way to a new one.
async fn is_free(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // One that was merely dropped is rolled back by and by; behind an answer to this it has been.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

pub(crate) fn sqlite_options(path: &Path, cache_bytes: u32) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(8192)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        .statement_cache_capacity(256)
        .pragma("cache_size", format!("-{}", cache_bytes >> 10))
        .pragma("mmap_size", MAPPED.to_string())
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

pub(crate) fn postgres_pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opened(dir: &Path) -> Store {
        Store::open(&format!("sqlite:{}", dir.join("muster.db").display())).await.unwrap()
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_ended_by_itself_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let store = opened(dir.path()).await;
        for _again in 0..3 {
            let mut writing = store.writing().await.unwrap();
            let Conn::Sqlite(connection) = writing.conn() else { unreachable!() };
            sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.unwrap();
            drop(writing);
            store.writing().await.unwrap().commit().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_full_database_is_told_as_that_and_written_to_again_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let store = opened(dir.path()).await;
        let Pools::Sqlite { writer, .. } = &store.pools else { unreachable!() };
        let write = async |size: i64| {
            let mut writing = store.writing().await?;
            let Conn::Sqlite(connection) = writing.conn() else { unreachable!() };
            let sql = "CREATE TABLE IF NOT EXISTS filling (body BLOB); ";
            sqlx::raw_sql(sql).execute(&mut *connection).await?;
            sqlx::query("INSERT INTO filling VALUES (zeroblob($1))").bind(size).execute(&mut *connection).await?;
            writing.commit().await
        };
        sqlx::raw_sql("PRAGMA max_page_count = 100").execute(writer).await.unwrap();
        assert!(matches!(write(4 << 20).await, Err(StoreError::Full)));
        sqlx::raw_sql("PRAGMA max_page_count = 100000").execute(writer).await.unwrap();
        write(4 << 20).await.unwrap();
    }
}
