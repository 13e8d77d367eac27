//! Settings, feeds, uploads and change sets: documents that the engine writes whole, with the columns to find them by.

use chrono::{DateTime, Utc};
use muster_domain::ids::{ChangeSetId, FeedNo, OrganisationId, UploadId};
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::connect::{Conn, on};
use crate::error::{Result, StoreError, is_duplicate};
use crate::organisation::{count, micros, moment};

/// A feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRow {
    /// Number inside the organisation.
    pub no: FeedNo,
    /// Its name.
    pub name: String,
    /// The rest, as JSON.
    pub doc: Vec<u8>,
}

/// An upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// Identity.
    pub id: UploadId,
    /// Arrival number inside the organisation.
    pub arrival: u64,
    /// The feed that it speaks for.
    pub feed: FeedNo,
    /// A word of the engine's.
    pub state: String,
    /// The sender's key, if one came along.
    pub idempotency_key: Option<String>,
    /// The rest, as JSON.
    pub doc: Vec<u8>,
}

/// A change set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSetRow {
    /// Identity.
    pub id: ChangeSetId,
    /// The upload that it comes from, if any.
    pub upload: Option<UploadId>,
    /// The feed.
    pub feed: FeedNo,
    /// A word of the engine's.
    pub state: String,
    /// Sequence number of the event that made it.
    pub created_seq: u64,
    /// When it was made.
    pub computed_at: DateTime<Utc>,
    /// What it adds to the sum of those since some moment.
    pub adds_up: u64,
    /// When one person alone last approved something of it that counts for the second approver, if one did.
    pub alone_at: Option<DateTime<Utc>>,
    /// The rest, as JSON.
    pub doc: Vec<u8>,
}

/// Which uploads or change sets to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this feed.
    pub feed: Option<FeedNo>,
    /// Only in this state.
    pub state: Option<String>,
    /// Only before this arrival (uploads) or sequence number (change sets): the last of the page before.
    pub before: Option<u64>,
    /// At most so many; 0 for all.
    pub limit: u32,
}

impl Filter {
    fn before(&self) -> i64 {
        self.before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX))
    }

    fn limit(&self) -> i64 {
        if self.limit == 0 { i64::MAX } else { self.limit.into() }
    }
}

fn feed_no(no: i64) -> Result<FeedNo, sqlx::Error> {
    u16::try_from(no).map(FeedNo).map_err(|e| sqlx::Error::Decode(e.into()))
}

fn unsigned(value: i64) -> Result<u64, sqlx::Error> {
    count(value).map_err(|e| sqlx::Error::Decode(e.into()))
}

macro_rules! from_row {
    ($name:ty, $row:ident => $body:expr) => {
        impl<'r> FromRow<'r, sqlx::sqlite::SqliteRow> for $name {
            fn from_row($row: &'r sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
                Ok($body)
            }
        }
        impl<'r> FromRow<'r, sqlx::postgres::PgRow> for $name {
            fn from_row($row: &'r sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
                Ok($body)
            }
        }
    };
}

from_row!(FeedRow, row => FeedRow {
    no: feed_no(row.try_get(0)?)?,
    name: row.try_get(1)?,
    doc: row.try_get(2)?,
});
from_row!(UploadRow, row => UploadRow {
    id: UploadId(row.try_get(0)?),
    arrival: unsigned(row.try_get(1)?)?,
    feed: feed_no(row.try_get(2)?)?,
    state: row.try_get(3)?,
    idempotency_key: row.try_get(4)?,
    doc: row.try_get(5)?,
});
from_row!(ChangeSetRow, row => ChangeSetRow {
    id: ChangeSetId(row.try_get(0)?),
    upload: row.try_get::<Option<Uuid>, _>(1)?.map(UploadId),
    feed: feed_no(row.try_get(2)?)?,
    state: row.try_get(3)?,
    created_seq: unsigned(row.try_get(4)?)?,
    computed_at: moment(row.try_get(5)?).map_err(|e| sqlx::Error::Decode(e.into()))?,
    adds_up: unsigned(row.try_get(6)?)?,
    alone_at: row.try_get::<Option<i64>, _>(7)?.map(moment).transpose().map_err(|e| sqlx::Error::Decode(e.into()))?,
    doc: row.try_get(8)?,
});

/// The text of a list, newest first. Each combination of conditions has a text of its own: for one that says "or nothing is asked"
/// neither engine uses the index that has the list in order.
macro_rules! listing {
    ($filter:expr, $columns:literal, $table:literal, $order:literal) => {
        match ($filter.feed.is_some(), $filter.state.is_some()) {
            (false, false) => listing!(@ $columns, $table, $order, "$2 IS NULL AND $3 IS NULL"),
            (true, false) => listing!(@ $columns, $table, $order, "feed = $2 AND $3 IS NULL"),
            (false, true) => listing!(@ $columns, $table, $order, "$2 IS NULL AND state = $3"),
            (true, true) => listing!(@ $columns, $table, $order, "feed = $2 AND state = $3"),
        }
    };
    (@ $columns:literal, $table:literal, $order:literal, $which:literal) => {
        concat!(
            "SELECT ", $columns, " FROM ", $table, " WHERE org = $1 AND ", $which, " AND ", $order, " < $4 ORDER BY ", $order,
            " DESC LIMIT $5"
        )
    };
}

/// Binds what both lists have in common.
macro_rules! filtered {
    ($sql:expr, $org:expr, $filter:expr) => {
        sqlx::query_as($sql)
            .bind($org.0)
            .bind($filter.feed.map(|f| i64::from(f.0)))
            .bind($filter.state.as_deref())
            .bind($filter.before())
            .bind($filter.limit())
    };
}

pub(crate) async fn settings(conn: &mut Conn<'_>, org: OrganisationId) -> Result<Option<Vec<u8>>> {
    const SQL: &str = "SELECT doc FROM settings WHERE org = $1";
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(org.0).fetch_optional(&mut **c).await?))
}

pub(crate) async fn put_settings(conn: &mut Conn<'_>, org: OrganisationId, doc: &[u8]) -> Result<()> {
    const SQL: &str =
        "INSERT INTO settings (org, doc) VALUES ($1, $2) ON CONFLICT (org) DO UPDATE SET doc = excluded.doc";
    on!(conn, c => sqlx::query(SQL).bind(org.0).bind(doc).execute(&mut **c).await.map(drop)?);
    Ok(())
}

pub(crate) async fn feeds(conn: &mut Conn<'_>, org: OrganisationId) -> Result<Vec<FeedRow>> {
    const SQL: &str = "SELECT no, name, doc FROM feed WHERE org = $1 ORDER BY no";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(org.0).fetch_all(&mut **c).await?))
}

pub(crate) async fn feed(conn: &mut Conn<'_>, org: OrganisationId, no: FeedNo) -> Result<FeedRow> {
    const SQL: &str = "SELECT no, name, doc FROM feed WHERE org = $1 AND no = $2";
    let row: Option<FeedRow> =
        on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(i64::from(no.0)).fetch_optional(&mut **c).await?);
    row.ok_or(StoreError::NotFound)
}

pub(crate) async fn put_feed(conn: &mut Conn<'_>, org: OrganisationId, feed: &FeedRow) -> Result<()> {
    const SQL: &str = "INSERT INTO feed (org, no, name, doc) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (org, no) DO UPDATE SET name = excluded.name, doc = excluded.doc";
    on!(conn, c => {
        let query = sqlx::query(SQL).bind(org.0).bind(i64::from(feed.no.0)).bind(&*feed.name).bind(&*feed.doc);
        query.execute(&mut **c).await.map(drop)?
    });
    Ok(())
}

pub(crate) async fn upload(conn: &mut Conn<'_>, org: OrganisationId, id: UploadId) -> Result<UploadRow> {
    const SQL: &str = "SELECT id, arrival, feed, state, idempotency_key, doc FROM upload WHERE org = $1 AND id = $2";
    let row: Option<UploadRow> =
        on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(id.0).fetch_optional(&mut **c).await?);
    row.ok_or(StoreError::NotFound)
}

pub(crate) async fn upload_by_key(conn: &mut Conn<'_>, org: OrganisationId, key: &str) -> Result<Option<UploadRow>> {
    const SQL: &str =
        "SELECT id, arrival, feed, state, idempotency_key, doc FROM upload WHERE org = $1 AND idempotency_key = $2";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(key).fetch_optional(&mut **c).await?))
}

pub(crate) async fn uploads(conn: &mut Conn<'_>, org: OrganisationId, filter: &Filter) -> Result<Vec<UploadRow>> {
    let sql = listing!(filter, "id, arrival, feed, state, idempotency_key, doc", "upload", "arrival");
    Ok(on!(conn, c => filtered!(sql, org, filter).fetch_all(&mut **c).await?))
}

pub(crate) async fn uploads_in_state(conn: &mut Conn<'_>, org: OrganisationId, state: &str) -> Result<Vec<UploadRow>> {
    const SQL: &str = "SELECT id, arrival, feed, state, idempotency_key, doc FROM upload \
        WHERE org = $1 AND state = $2 ORDER BY arrival";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(state).fetch_all(&mut **c).await?))
}

pub(crate) async fn put_upload(conn: &mut Conn<'_>, org: OrganisationId, row: &UploadRow) -> Result<()> {
    const SQL: &str = "INSERT INTO upload (org, id, arrival, feed, state, idempotency_key, doc) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (org, id) DO UPDATE SET arrival = excluded.arrival, \
        feed = excluded.feed, state = excluded.state, doc = excluded.doc";
    let put: Result<()> = on!(conn, c => {
        let query = sqlx::query(SQL).bind(org.0).bind(row.id.0).bind(row.arrival as i64).bind(i64::from(row.feed.0));
        let query = query.bind(&*row.state).bind(row.idempotency_key.as_deref()).bind(&*row.doc);
        query.execute(&mut **c).await.map(drop).map_err(StoreError::from)
    });
    put.map_err(|e| if is_duplicate(&e) { StoreError::KeyConflict } else { e })
}

pub(crate) async fn free_upload_key(conn: &mut Conn<'_>, org: OrganisationId, id: UploadId) -> Result<()> {
    const SQL: &str = "UPDATE upload SET idempotency_key = NULL WHERE org = $1 AND id = $2";
    on!(conn, c => sqlx::query(SQL).bind(org.0).bind(id.0).execute(&mut **c).await.map(drop)?);
    Ok(())
}

pub(crate) async fn change_set(conn: &mut Conn<'_>, org: OrganisationId, id: ChangeSetId) -> Result<ChangeSetRow> {
    const SQL: &str = "SELECT id, upload, feed, state, created_seq, computed_at, adds_up, alone_at, doc FROM change_set WHERE org = $1 AND id = $2";
    let row: Option<ChangeSetRow> =
        on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(id.0).fetch_optional(&mut **c).await?);
    row.ok_or(StoreError::NotFound)
}

pub(crate) async fn change_sets(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    filter: &Filter,
) -> Result<Vec<ChangeSetRow>> {
    let sql = listing!(
        filter,
        "id, upload, feed, state, created_seq, computed_at, adds_up, alone_at, doc",
        "change_set",
        "created_seq"
    );
    Ok(on!(conn, c => filtered!(sql, org, filter).fetch_all(&mut **c).await?))
}

pub(crate) async fn change_sets_in_state(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    state: &str,
) -> Result<Vec<ChangeSetRow>> {
    const SQL: &str = "SELECT id, upload, feed, state, created_seq, computed_at, adds_up, alone_at, doc FROM change_set \
        WHERE org = $1 AND state = $2 ORDER BY created_seq";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(state).fetch_all(&mut **c).await?))
}

pub(crate) async fn change_sets_of_upload(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    upload: UploadId,
) -> Result<Vec<ChangeSetRow>> {
    const SQL: &str = "SELECT id, upload, feed, state, created_seq, computed_at, adds_up, alone_at, doc FROM change_set \
        WHERE org = $1 AND upload = $2 ORDER BY created_seq";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(upload.0).fetch_all(&mut **c).await?))
}

pub(crate) async fn change_sets_approved_alone(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    since: DateTime<Utc>,
) -> Result<Vec<ChangeSetRow>> {
    const SQL: &str = "SELECT id, upload, feed, state, created_seq, computed_at, adds_up, alone_at, doc FROM change_set \
        WHERE org = $1 AND alone_at >= $2 ORDER BY alone_at";
    Ok(on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(micros(since)).fetch_all(&mut **c).await?))
}

pub(crate) async fn added_up(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    since: DateTime<Utc>,
    feeds: Option<[FeedNo; 2]>,
) -> Result<u64> {
    const SQL: &str = "SELECT CAST(COALESCE(SUM(adds_up), 0) AS BIGINT) FROM change_set \
        WHERE org = $1 AND computed_at >= $2 AND adds_up > 0 AND ($3 IS NULL OR feed IN ($3, $4))";
    let feeds = feeds.map(|feeds| feeds.map(|feed| i64::from(feed.0)));
    let (first, second) = (feeds.map(|f| f[0]), feeds.map(|f| f[1]));
    let sum: i64 = on!(conn, c => {
        sqlx::query_scalar(SQL).bind(org.0).bind(micros(since)).bind(first).bind(second).fetch_one(&mut **c).await?
    });
    count(sum)
}

pub(crate) async fn put_change_set(conn: &mut Conn<'_>, org: OrganisationId, row: &ChangeSetRow) -> Result<()> {
    const SQL: &str = "INSERT INTO change_set (org, id, upload, feed, state, created_seq, computed_at, adds_up, alone_at, doc) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (org, id) DO UPDATE SET upload = excluded.upload, \
        feed = excluded.feed, state = excluded.state, created_seq = excluded.created_seq, \
        computed_at = excluded.computed_at, adds_up = excluded.adds_up, alone_at = excluded.alone_at, \
        doc = excluded.doc";
    on!(conn, c => {
        let query = sqlx::query(SQL).bind(org.0).bind(row.id.0).bind(row.upload.map(|u| u.0));
        let query = query.bind(i64::from(row.feed.0)).bind(&*row.state).bind(row.created_seq as i64);
        let query = query.bind(micros(row.computed_at)).bind(row.adds_up as i64);
        let query = query.bind(row.alone_at.map(micros)).bind(&*row.doc);
        query.execute(&mut **c).await.map(drop)?
    });
    Ok(())
}
