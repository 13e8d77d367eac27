//! Users and keys, with a log of their own, in a file (SQLite) or a schema (PostgreSQL) apart: taking a key away never waits
//! behind an import. Unlike read models they are made from nothing else, and so are migrated and backed up.

use std::path::{Path, PathBuf};

use muster_domain::event::{GENESIS, StoredEvent};
use muster_domain::ids::OrganisationId;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection};

use crate::connect::{self, Address, Conn, Pools, Reading, Store, Writing, on};
use crate::error::{Result, StoreError};
use crate::file;
use crate::log::{self, Appended, Prepared, RawEvent, Who};
use crate::organisation::{self, Head};

mod account;
mod answer;
mod key;
mod note;

pub use account::{AccountRow, RoleRow};
pub use answer::{Answer, ClaimedAnswer};
pub use key::{FoundKey, KeyRow, Used};
pub use note::{Noted, NotedFilter};

/// The migrations in order, one text for both engines; the last number is the version that this binary works with.
const MIGRATIONS: &[&str] = &[include_str!("../../../migrations/access/0001_init.sql")];
/// The version of the tables that this binary works with.
pub const ACCESS_VERSION: i64 = MIGRATIONS.len() as i64;

const READ: &str = "SELECT coalesce(max(version), 0) FROM access_schema";
const MADE: &str = "INSERT INTO access_schema (version) VALUES ($1)";

/// Users and keys of an installation: a handle that is cheap to clone.
#[derive(Clone)]
pub struct Access {
    pools: Pools,
}

impl Store {
    /// Users and keys, opened when they are first asked for. On SQLite the file is made and migrated as needed; on PostgreSQL
    /// `muster migrate` does that.
    ///
    /// # Errors
    /// If they cannot be opened, or are of another version on a server.
    pub async fn access(&self) -> Result<Access> {
        let open = || async {
            let pools = match &*self.address {
                Address::Sqlite(database) => open_file(&path(database)).await?,
                Address::Postgres(options) => {
                    let options = options.clone().options([("search_path", "muster_access")]);
                    let mut first = options.connect().await?;
                    let found = found_on_server(&mut first).await?;
                    first.close().await?;
                    if found != ACCESS_VERSION {
                        return Err(StoreError::AccessMismatch { found, needed: ACCESS_VERSION });
                    }
                    Pools::Postgres(connect::postgres_pool(options))
                }
            };
            Ok(Access { pools })
        };
        self.access.get_or_try_init(open).await.cloned()
    }

    /// Whether anybody has made users or keys, so that nobody makes the file who has nothing to look for in it.
    pub fn has_access(&self) -> bool {
        match &*self.address {
            Address::Sqlite(database) => path(database).exists(),
            Address::Postgres(_) => true,
        }
    }
}

/// Where users and keys of an embedded database lie: beside it.
pub fn path(database: &Path) -> PathBuf {
    let name = database.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".db").unwrap_or(&name);
    database.with_file_name(format!("{stem}.access.db"))
}

async fn open_file(path: &Path) -> Result<Pools> {
    connect::prepare_file(path)?;
    let mut first = connect::sqlite_connection(&connect::sqlite_options(path, 2 << 20)).await?;
    let made = migrate_file(&mut first).await;
    first.close().await?;
    made?;
    let writer = connect::sqlite_pool(1).connect_lazy_with(connect::sqlite_options(path, 4 << 20));
    let readers =
        connect::sqlite_pool(6).connect_lazy_with(connect::sqlite_options(path, 2 << 20).pragma("query_only", "on"));
    Ok(Pools::Sqlite { writer, readers })
}

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS access_schema (version BIGINT NOT NULL)";

async fn migrate_file(conn: &mut SqliteConnection) -> Result<()> {
    if let Ok(ACCESS_VERSION) = sqlx::query_scalar(READ).fetch_one(&mut *conn).await {
        return Ok(());
    }
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(VERSIONS).execute(&mut *tx).await?;
    let found: i64 = sqlx::query_scalar(READ).fetch_one(&mut *tx).await?;
    for (version, sql) in pending(found)? {
        let sql = sql.replace("BYTEA", "BLOB").replace("UUID", "BLOB").replace("BIGINT", "INTEGER");
        sqlx::raw_sql(AssertSqlSafe(sql.replace("\n);", "\n) STRICT;"))).execute(&mut *tx).await?;
        sqlx::query(MADE).bind(version).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

/// Brings the schema to this binary's version.
pub(crate) async fn migrate_on_server(conn: &mut PgConnection) -> Result<()> {
    const SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS muster_access; SET LOCAL search_path = muster_access";
    let mut tx = conn.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock(7237135024)").execute(&mut *tx).await?;
    if found_on_server(&mut tx).await? == ACCESS_VERSION {
        return Ok(tx.rollback().await?);
    }
    sqlx::raw_sql(SCHEMA).execute(&mut *tx).await?;
    sqlx::query(VERSIONS).execute(&mut *tx).await?;
    let found: i64 = sqlx::query_scalar(READ).fetch_one(&mut *tx).await?;
    for (version, sql) in pending(found)? {
        sqlx::raw_sql(sql).execute(&mut *tx).await?;
        sqlx::query(MADE).bind(version).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

async fn found_on_server(conn: &mut PgConnection) -> Result<i64> {
    const IS_THERE: &str = "SELECT to_regclass('muster_access.access_schema') IS NOT NULL";
    const VERSION: &str = "SELECT coalesce(max(version), 0) FROM muster_access.access_schema";
    let there: bool = sqlx::query_scalar(IS_THERE).fetch_one(&mut *conn).await?;
    Ok(if there { sqlx::query_scalar(VERSION).fetch_one(&mut *conn).await? } else { 0 })
}

fn pending(found: i64) -> Result<impl Iterator<Item = (i64, &'static str)>> {
    if !(0..=ACCESS_VERSION).contains(&found) {
        return Err(StoreError::AccessMismatch { found, needed: ACCESS_VERSION });
    }
    Ok((1i64..).zip(MIGRATIONS.iter().copied()).skip(found as usize))
}

impl Access {
    /// Waits for what is under way and closes the connections.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    /// Overwrites what the database keeps of answers that are gone, as [`Store::sweep`] does for the main one.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if somebody else is reading or writing all the while.
    pub async fn sweep(&self) -> Result<()> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => file::sweep(&writer.connect_options()).await,
            Pools::Postgres(pool) => {
                sqlx::query("VACUUM answer").execute(pool).await?;
                Ok(())
            }
        }
    }

    pub(crate) async fn reading(&self) -> Result<Reading> {
        self.pools.reading().await
    }

    pub(crate) async fn writing(&self) -> Result<Writing> {
        self.pools.writing().await
    }

    /// Begins to change what an organisation's log tells of; whoever else wants to waits until it is done.
    pub async fn begin(&self, org: OrganisationId) -> Result<AccessTx> {
        const HEAD: &str =
            "INSERT INTO head (org, hash, last_recorded_at) VALUES ($1, $2, 0) ON CONFLICT (org) DO NOTHING";
        let mut open = self.writing().await?;
        on!(&mut open.conn(), c => {
            sqlx::query(HEAD).bind(org.0).bind(&GENESIS[..]).execute(&mut **c).await?;
        });
        log::take_head(&mut open.conn(), org).await?;
        Ok(AccessTx { org, open })
    }

    /// Where an organisation's log of access stands; none before its first event.
    pub async fn head(&self, org: OrganisationId) -> Result<Option<Head>> {
        match organisation::head(&mut self.reading().await?.conn(), org).await {
            Err(StoreError::NotFound) => Ok(None),
            head => head.map(Some),
        }
    }

    /// Events after a sequence number, in order.
    pub async fn events(&self, org: OrganisationId, after_seq: u64, limit: u32) -> Result<Vec<StoredEvent>> {
        log::events(&mut self.reading().await?.conn(), org, after_seq, limit).await
    }

    /// The same, unopened.
    pub async fn raw_events(&self, org: OrganisationId, after_seq: u64, limit: u32) -> Result<Vec<RawEvent>> {
        log::raw_events(&mut self.reading().await?.conn(), org, after_seq, limit).await
    }
}

/// A transaction about one organisation's users and keys. Dropped without [`AccessTx::commit`], it leaves nothing behind.
pub struct AccessTx {
    org: OrganisationId,
    open: Writing,
}

impl AccessTx {
    pub(crate) fn conn(&mut self) -> Conn<'_> {
        self.open.conn()
    }

    /// Appends events to the organisation's log of access.
    pub async fn append(&mut self, events: Vec<Prepared>, who: &Who) -> Result<Vec<Appended>> {
        log::append(&mut self.open.conn(), self.org, events, who).await
    }

    /// Makes everything durable.
    pub async fn commit(self) -> Result<()> {
        self.open.commit().await
    }

    /// Leaves nothing behind, and returns when that is done.
    pub async fn rollback(self) -> Result<()> {
        self.open.rollback().await
    }
}
