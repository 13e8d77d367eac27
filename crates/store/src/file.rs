//! An embedded database as a file: copied while it is in use, given up once nobody uses it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};

use crate::connect::{Address, sqlite_connection, sqlite_options, while_busy};
use crate::error::{Result, StoreError};

/// How long somebody who is just leaving is waited for.
const LEAVING: Duration = Duration::from_secs(2);

/// The file of an embedded database; none if the address is of a server.
///
/// # Errors
/// If the address cannot be read.
pub fn path(url: &str) -> Result<Option<PathBuf>> {
    Ok(match Address::of(url)? {
        Address::Sqlite(path) => Some(path),
        Address::Postgres(_) => None,
    })
}

/// Copies an embedded database, as it is at one moment, into a new or empty file, while others read and write it.
///
/// # Errors
/// If either file cannot be opened, read or written.
pub async fn copy(from: &Path, to: &Path) -> Result<()> {
    let to = to.to_str().ok_or_else(|| StoreError::BadUrl("the name of the copy is no UTF-8".into()))?;
    let mut source = sqlite_connection(&sqlite_options(from, 4 << 20).create_if_missing(false)).await?;
    sqlx::query("VACUUM INTO $1").bind(to).execute(&mut source).await?;
    Ok(source.close().await?)
}

/// Brings an embedded database into its one file, without a write-ahead log beside it. [`StoreError::Busy`] if anybody
/// else has it open.
///
/// # Errors
/// If it is in use, or cannot be read.
pub async fn gather(path: &Path) -> Result<()> {
    let options = sqlite_options(path, 4 << 20).create_if_missing(false).busy_timeout(LEAVING);
    let options = options.journal_mode(SqliteJournalMode::Delete);
    while_busy(LEAVING, || async {
        let mut alone = options.connect().await?;
        // Leaving the write-ahead log needs the file for oneself; SQLite says which mode it is in, whatever was asked for.
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode = DELETE").fetch_one(&mut alone).await?;
        alone.close().await?;
        if mode == "delete" { Ok(()) } else { Err(StoreError::Busy) }
    })
    .await
}

/// Writes a database anew without what is left in it of rows that are gone, and empties its write-ahead log.
pub(crate) async fn sweep(options: &SqliteConnectOptions) -> Result<()> {
    // A connection of its own, and not in memory: what is swept may be large.
    let mut conn = options.clone().pragma("temp_store", "file").connect().await?;
    sqlx::query("VACUUM").execute(&mut conn).await?;
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut conn).await?;
    if busy == 0 { Ok(()) } else { Err(StoreError::Busy) }
}
