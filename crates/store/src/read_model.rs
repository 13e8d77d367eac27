//! Read models: what projections make of the log, in a file (SQLite) or a schema (PostgreSQL) of their own.
//!
//! They can be thrown away: what is missing or of another version is made anew, and everything is projected again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_domain::ids::OrganisationId;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection};
use tokio::sync::Notify;

use crate::connect::{Address, Pools, Reading, Store, Writing};
use crate::error::{Result, StoreError};
use crate::{connect, file};

mod claim;
mod entry;
mod lane;

pub use claim::{Claim, Keeper, Step, Writes};
pub use entry::{Key, Part, Range, Snapshot};
pub use lane::{Lane, LaneState, Parked};

/// The form of the tables; what is of another is made anew.
pub const READ_VERSION: i64 = 1;

const TABLES: &str = include_str!("read_model.sql");
const FOUND: &str = "SELECT version FROM read_models";
const BEGIN: &str = "INSERT INTO read_models (version, next_lane) VALUES ($1, 0)";

/// The read models of a database: a handle that is cheap to clone.
#[derive(Clone)]
pub struct ReadModels {
    pools: Pools,
    /// How often something is asked for while a lane is worked on, so that PostgreSQL does not take its holder for frozen.
    kept_every: Duration,
    /// Lanes that somebody in this process works on; PostgreSQL knows it of all processes.
    taken: Arc<Mutex<HashSet<i64>>>,
    moved: Arc<Notify>,
}

impl Store {
    /// The read models, opened when they are first asked for. On SQLite they are made if they are not there; on PostgreSQL
    /// `muster migrate` makes them.
    ///
    /// # Errors
    /// If they cannot be opened, or are of another version on a server.
    pub async fn read_models(&self) -> Result<ReadModels> {
        let open = || async {
            let pools = match &*self.address {
                Address::Sqlite(database) => open_file(&path(database)).await?,
                Address::Postgres(options) => {
                    let settings = [
                        ("search_path", "muster_read"),
                        // Rows and checkpoint are one transaction: what is lost with the power is made again.
                        ("synchronous_commit", "off"),
                    ];
                    let options = options.clone().options(settings);
                    let mut first = options.connect().await?;
                    check(&mut first).await?;
                    first.close().await?;
                    Pools::Postgres(connect::postgres_pool(options))
                }
            };
            let kept_every = self.idle_limit / 6;
            Ok(ReadModels { pools, kept_every, taken: Arc::default(), moved: Arc::default() })
        };
        self.read_models.get_or_try_init(open).await.cloned()
    }

    /// Whether there are read models at all, so that nobody makes them who has nothing to look for in them.
    pub fn has_read_models(&self) -> bool {
        match &*self.address {
            Address::Sqlite(database) => path(database).exists(),
            Address::Postgres(_) => true,
        }
    }
}

/// Where the read models of an embedded database lie: beside it.
pub fn path(database: &Path) -> PathBuf {
    let name = database.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".db").unwrap_or(&name);
    database.with_file_name(format!("{stem}.read.db"))
}

/// Throws the read models of an embedded database away. Nobody may have them open.
///
/// # Errors
/// If a file cannot be removed.
pub fn remove(database: &Path) -> std::io::Result<()> {
    remove_files(&path(database))
}

fn remove_files(file: &Path) -> std::io::Result<()> {
    for ending in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        match std::fs::remove_file(name) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

async fn open_file(path: &Path) -> Result<Pools> {
    // Rows and checkpoint are one transaction, so the last of them may be lost with the power: they are made again.
    let options = |cache| {
        let options = connect::sqlite_options(path, cache).synchronous(sqlx::sqlite::SqliteSynchronous::Normal);
        // What is deleted is overwritten: people who are forgotten are in these pages too.
        options.pragma("secure_delete", "on")
    };
    let made = async || {
        connect::prepare_file(path)?;
        let mut first = connect::sqlite_connection(&options(16 << 20)).await?;
        let made = make_in_file(&mut first).await;
        first.close().await?;
        made
    };
    if let Err(StoreError::Corrupt(_)) = made().await {
        remove_files(path).map_err(|e| StoreError::Unavailable(e.into()))?;
    }
    made().await?;
    let writer = connect::sqlite_pool(1).connect_lazy_with(options(16 << 20));
    let readers = connect::sqlite_pool(6).connect_lazy_with(options(4 << 20).pragma("query_only", "on"));
    Ok(Pools::Sqlite { writer, readers })
}

async fn make_in_file(conn: &mut SqliteConnection) -> Result<()> {
    const NAMES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    if let Ok(READ_VERSION) = sqlx::query_scalar(FOUND).fetch_one(&mut *conn).await {
        return Ok(());
    }
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    let names: Vec<String> = sqlx::query_scalar(NAMES).fetch_all(&mut *tx).await?;
    if names.iter().any(|name| name == "read_models") {
        // Somebody else may have made them while this one waited.
        let found: i64 = sqlx::query_scalar(FOUND).fetch_one(&mut *tx).await?;
        if found == READ_VERSION {
            return Ok(tx.rollback().await?);
        }
    }
    for name in names {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE \"{name}\""))).execute(&mut *tx).await?;
    }
    let tables = TABLES.replace("BYTEA", "BLOB").replace("UUID", "BLOB").replace("BIGINT", "INTEGER");
    sqlx::raw_sql(AssertSqlSafe(tables.replace(");", ") STRICT;").replace("'dropped') STRICT", "'dropped')")))
        .execute(&mut *tx)
        .await?;
    sqlx::query(BEGIN).bind(READ_VERSION).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

/// Makes the schema of the read models, unless it is there in this version.
pub(crate) async fn make_on_server(conn: &mut PgConnection) -> Result<()> {
    let mut tx = conn.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock(7237135023)").execute(&mut *tx).await?;
    if found_on_server(&mut tx).await? == Some(READ_VERSION) {
        return Ok(tx.rollback().await?);
    }
    const ANEW: &str = "DROP SCHEMA IF EXISTS muster_read CASCADE; CREATE SCHEMA muster_read; \
        SET LOCAL search_path = muster_read";
    sqlx::raw_sql(ANEW).execute(&mut *tx).await?;
    sqlx::raw_sql(TABLES).execute(&mut *tx).await?;
    sqlx::query(BEGIN).bind(READ_VERSION).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

async fn found_on_server(conn: &mut PgConnection) -> Result<Option<i64>> {
    const IS_THERE: &str = "SELECT to_regclass('muster_read.read_models') IS NOT NULL";
    const VERSION: &str = "SELECT version FROM muster_read.read_models";
    let there: bool = sqlx::query_scalar(IS_THERE).fetch_one(&mut *conn).await?;
    Ok(if there { sqlx::query_scalar(VERSION).fetch_optional(&mut *conn).await? } else { None })
}

async fn check(conn: &mut PgConnection) -> Result<()> {
    match found_on_server(conn).await? {
        Some(READ_VERSION) => Ok(()),
        _ => Err(StoreError::ReadModelsMissing),
    }
}

impl ReadModels {
    /// Waits until some lane of this process has moved on. It may be missed; so wait with a limit, and look again.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Overwrites what is left of rows that are gone, as [`Store::sweep`] does.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if somebody else is reading or writing all the while.
    pub async fn sweep(&self) -> Result<()> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => file::sweep(&writer.connect_options()).await,
            Pools::Postgres(pool) => {
                sqlx::query("VACUUM lane, entry").execute(pool).await?;
                Ok(())
            }
        }
    }

    /// Waits for what is under way and closes the connections.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    async fn reading(&self) -> Result<Reading> {
        self.pools.reading().await
    }

    async fn writing(&self) -> Result<Writing> {
        self.pools.writing().await
    }

    /// Marks a lane as worked on by this process, unless it is; the mark goes with what is given back.
    fn take(&self, lane: i64) -> Option<Taken> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(lane).then(|| Taken { lane, all: self.taken.clone() })
    }
}

/// That this process works on a lane.
struct Taken {
    lane: i64,
    all: Arc<Mutex<HashSet<i64>>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.lane);
    }
}

/// Every query below is about one organisation, but for those that look for work.
type Org = OrganisationId;
