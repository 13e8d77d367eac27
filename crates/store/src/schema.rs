//! The schema's version, and how a database gets there: forward only.

use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::error::{Result, StoreError};

/// The migrations in order; the last number is the version that this binary works with.
const SQLITE: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_init.sql"),
    include_str!("../../../migrations/sqlite/0002_epoch.sql"),
    include_str!("../../../migrations/sqlite/0003_forgotten.sql"),
    include_str!("../../../migrations/sqlite/0004_relay.sql"),
    include_str!("../../../migrations/sqlite/0005_unlogged.sql"),
    include_str!("../../../migrations/sqlite/0006_feed.sql"),
    include_str!("../../../migrations/sqlite/0007_removals.sql"),
    include_str!("../../../migrations/sqlite/0008_alone.sql"),
];
const POSTGRES: &[&str] = &[
    include_str!("../../../migrations/postgres/0001_init.sql"),
    include_str!("../../../migrations/postgres/0002_epoch.sql"),
    include_str!("../../../migrations/postgres/0003_forgotten.sql"),
    include_str!("../../../migrations/postgres/0004_relay.sql"),
    include_str!("../../../migrations/postgres/0005_unlogged.sql"),
    include_str!("../../../migrations/postgres/0006_feed.sql"),
    include_str!("../../../migrations/postgres/0007_removals.sql"),
    include_str!("../../../migrations/postgres/0008_alone.sql"),
];

/// The schema that this binary works with.
pub const SCHEMA_VERSION: i64 = SQLITE.len() as i64;
const _: () = assert!(SQLITE.len() == POSTGRES.len());

const TABLE: &str = "CREATE TABLE IF NOT EXISTS muster_schema (version BIGINT NOT NULL)";
const READ: &str = "SELECT coalesce(max(version), 0) FROM muster_schema";

/// Several processes may open a fresh file at once: the first migrates, the others wait and find it done.
pub(crate) async fn migrate_sqlite(conn: &mut SqliteConnection) -> Result<(i64, i64)> {
    if let Ok(SCHEMA_VERSION) = sqlx::query_scalar(READ).fetch_one(&mut *conn).await {
        return Ok((SCHEMA_VERSION, SCHEMA_VERSION));
    }
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(TABLE).execute(&mut *tx).await?;
    let found: i64 = sqlx::query_scalar(READ).fetch_one(&mut *tx).await?;
    for (version, sql) in pending(found, SQLITE)? {
        sqlx::raw_sql(sql).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO muster_schema (version) VALUES ($1)").bind(version).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok((found, SCHEMA_VERSION))
}

/// Migrates under an advisory lock, which ends with the transaction.
pub(crate) async fn migrate_postgres(conn: &mut PgConnection) -> Result<(i64, i64)> {
    let mut tx = conn.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock(7237135022)").execute(&mut *tx).await?;
    sqlx::query(TABLE).execute(&mut *tx).await?;
    let found: i64 = sqlx::query_scalar(READ).fetch_one(&mut *tx).await?;
    for (version, sql) in pending(found, POSTGRES)? {
        sqlx::raw_sql(sql).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO muster_schema (version) VALUES ($1)").bind(version).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok((found, SCHEMA_VERSION))
}

/// Refuses a PostgreSQL database of another version.
pub(crate) async fn check(conn: &mut PgConnection) -> Result<()> {
    let exists: bool =
        sqlx::query_scalar("SELECT to_regclass('muster_schema') IS NOT NULL").fetch_one(&mut *conn).await?;
    let found: i64 = if exists { sqlx::query_scalar(READ).fetch_one(&mut *conn).await? } else { 0 };
    match found {
        SCHEMA_VERSION => Ok(()),
        found => Err(StoreError::SchemaMismatch { found, needed: SCHEMA_VERSION }),
    }
}

fn pending(found: i64, all: &'static [&'static str]) -> Result<impl Iterator<Item = (i64, &'static str)>> {
    if !(0..=SCHEMA_VERSION).contains(&found) {
        return Err(StoreError::SchemaMismatch { found, needed: SCHEMA_VERSION });
    }
    Ok((1i64..).zip(all.iter().copied()).skip(found as usize))
}
