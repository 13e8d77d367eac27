//! What can go wrong in the store, by what a caller can do about it.

/// The result of a call of the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a call of the store failed. No variant carries a stored value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else has written to the stream in between: read again and decide again.
    #[error("the stream {stream} is at version {actual}, not at {expected}")]
    VersionConflict {
        /// The stream.
        stream: String,
        /// The version that the caller had seen.
        expected: u64,
        /// The version that it has.
        actual: u64,
    },
    /// The key was used before, for something else.
    #[error("the key was used before with other content")]
    KeyConflict,
    /// Another worker holds the organisation's lease now: stop.
    #[error("the lease on the organisation was lost to another worker")]
    LeaseLost,
    /// The database was occupied for longer than we wait: try again later.
    #[error("the database is busy; try again later")]
    Busy,
    /// There is no room left where the database lies.
    #[error("the disk on which the database lies is full; make room there and run it again")]
    Full,
    /// The database is of another version of Muster.
    #[error("The database has schema {found} and this muster needs {needed}; {}", advice(*found, *needed))]
    SchemaMismatch {
        /// The database's version; 0 for an empty one.
        found: i64,
        /// The version that this binary works with.
        needed: i64,
    },
    /// The users and keys are of another version of Muster, or not there yet.
    #[error("The users and keys of the database have schema {found} and this muster needs {needed}; {}", advice(*found, *needed))]
    AccessMismatch {
        /// Their version; 0 if they are not there.
        found: i64,
        /// The version that this binary works with.
        needed: i64,
    },
    /// The read models are not there, or of another version of Muster.
    #[error("the read models of the database are not those of this muster; run `muster migrate`")]
    ReadModelsMissing,
    /// An organisation of that name exists.
    #[error("an organisation of that name exists already")]
    SlugTaken,
    /// What was asked for does not exist.
    #[error("not found")]
    NotFound,
    /// The database cannot be reached.
    #[error("the database cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The address of the database cannot be used.
    #[error("{0}")]
    BadUrl(String),
    /// An earlier call of the same transaction failed, so it was rolled back.
    #[error("the transaction was rolled back after an earlier failure")]
    RolledBack,
    /// Stored bytes are not what was written.
    #[error("stored data is damaged: {0}")]
    Corrupt(&'static str),
    /// Anything else that the database says.
    #[error("the database refused")]
    Db(#[source] sqlx::Error),
}

fn advice(found: i64, needed: i64) -> &'static str {
    if found < needed { "run `muster migrate`" } else { "use a newer muster" }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::PoolTimedOut => StoreError::Busy,
            E::RowNotFound => StoreError::NotFound,
            E::Io(_) | E::Tls(_) | E::PoolClosed | E::WorkerCrashed => StoreError::Unavailable(error.into()),
            E::ColumnDecode { .. } | E::Decode(_) => StoreError::Corrupt("a column is of another type"),
            E::Database(db) => match db.code().as_deref() {
                Some(code) if is_busy(code) => StoreError::Busy,
                Some(code) if is_full(code) => StoreError::Full,
                Some(code) if is_away(code) => StoreError::Unavailable(error.into()),
                Some("11" | "26" | "XX001" | "XX002") => StoreError::Corrupt("the database file is damaged"),
                _ => StoreError::Db(error),
            },
            _ => StoreError::Db(error),
        }
    }
}

/// SQLITE_BUSY and its kin; lock timeouts, deadlocks and too many connections of PostgreSQL.
fn is_busy(code: &str) -> bool {
    matches!(code, "5" | "6" | "261" | "517" | "773" | "262" | "55P03" | "40P01" | "40001" | "53300")
}

/// SQLITE_FULL, and no room for the index of the write-ahead log; PostgreSQL's disk_full.
fn is_full(code: &str) -> bool {
    matches!(code, "13" | "4874" | "53100")
}

/// SQLITE_CANTOPEN and its kin; PostgreSQL starting up or shutting down.
fn is_away(code: &str) -> bool {
    code == "14" || code == "57P01" || code == "57P02" || code == "57P03" || (code.len() == 5 && code.starts_with("08"))
}

/// Whether the database refused because a unique key exists.
pub(crate) fn is_duplicate(error: &StoreError) -> bool {
    matches!(error, StoreError::Db(sqlx::Error::Database(db)) if db.is_unique_violation())
}
