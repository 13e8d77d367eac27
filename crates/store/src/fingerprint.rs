//! Fingerprints of a feed's rows and the order of its last payload: caches, which may be gone at any time.

use futures_util::TryStreamExt;
use muster_domain::ids::{FeedNo, OrganisationId};
use sqlx::Row;

use crate::bulk::{self, Column, Insert, Weight};
use crate::connect::{Conn, on};
use crate::error::{Result, StoreError};

/// The fingerprints of one feed, as the engine packed them, without their pages.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fingerprints {
    /// Hash of the layout, mapping and normaliser that they were made with.
    pub layout: Vec<u8>,
    /// How many bytes the pages have, together.
    pub size: u64,
    /// What has been added since, oldest first.
    pub deltas: Vec<Vec<u8>>,
}

pub(crate) async fn fingerprints(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
) -> Result<Option<Fingerprints>> {
    const SIZE: &str =
        "SELECT CAST(COALESCE(SUM(LENGTH(body)), 0) AS BIGINT) FROM fp_page WHERE org = $1 AND feed = $2";
    let no = i64::from(feed.0);
    let Some(layout) = fingerprint_layout(conn, org, feed).await? else { return Ok(None) };
    let size: i64 = on!(conn, c => sqlx::query_scalar(SIZE).bind(org.0).bind(no).fetch_one(&mut **c).await?);
    let deltas = fingerprint_deltas(conn, org, feed).await?;
    Ok(Some(Fingerprints { layout, size: size.unsigned_abs(), deltas }))
}

/// Calls a function with each page, in order, while the next ones are still being read.
pub(crate) async fn each_page(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
    mut visit: impl FnMut(&[u8]),
) -> Result<()> {
    const PAGES: &str = "SELECT body FROM fp_page WHERE org = $1 AND feed = $2 ORDER BY page";
    on!(conn, c => {
        let mut rows = sqlx::query(PAGES).bind(org.0).bind(i64::from(feed.0)).fetch(&mut **c);
        while let Some(row) = rows.try_next().await? {
            visit(row.try_get(0)?);
        }
    });
    Ok(())
}

/// Begins a feed's fingerprints anew, without any.
pub(crate) async fn put_fingerprints(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
    layout: &[u8],
) -> Result<()> {
    const META: &str = "INSERT INTO fp_meta (org, feed, layout) VALUES ($1, $2, $3) \
        ON CONFLICT (org, feed) DO UPDATE SET layout = excluded.layout, next_delta = 0";
    drop_pages(conn, org, feed).await?;
    let no = i64::from(feed.0);
    on!(conn, c => sqlx::query(META).bind(org.0).bind(no).bind(layout).execute(&mut **c).await.map(drop)?);
    Ok(())
}

/// Adds pages from a number on.
pub(crate) async fn add_fingerprint_pages(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
    first: u32,
    pages: Vec<Vec<u8>>,
) -> Result<()> {
    insert_pages(conn, org, feed, "fp_page", first, pages).await
}

/// With which layout a feed's fingerprints were made, if there are any.
pub(crate) async fn fingerprint_layout(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
) -> Result<Option<Vec<u8>>> {
    const SQL: &str = "SELECT layout FROM fp_meta WHERE org = $1 AND feed = $2";
    let no = i64::from(feed.0);
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(org.0).bind(no).fetch_optional(&mut **c).await?))
}

/// What has been added to a feed's fingerprints, oldest first.
pub(crate) async fn fingerprint_deltas(conn: &mut Conn<'_>, org: OrganisationId, feed: FeedNo) -> Result<Vec<Vec<u8>>> {
    const SQL: &str = "SELECT body FROM fp_delta WHERE org = $1 AND feed = $2 ORDER BY id";
    let no = i64::from(feed.0);
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(org.0).bind(no).fetch_all(&mut **c).await?))
}

/// Puts one blob in place of all that was added.
pub(crate) async fn put_fingerprint_delta(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
    body: Vec<u8>,
) -> Result<()> {
    bulk::delete_all(conn, org, Some(feed.0.into()), "fp_delta").await?;
    add_fingerprint_delta(conn, org, feed, body).await.map(drop)
}

/// Adds a blob of newer fingerprints, and says how many were added before and with it; without a base there is nothing to
/// add to, and the answer is 0.
pub(crate) async fn add_fingerprint_delta(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
    body: Vec<u8>,
) -> Result<u64> {
    const NEXT: &str =
        "UPDATE fp_meta SET next_delta = next_delta + 1 WHERE org = $1 AND feed = $2 RETURNING next_delta";
    const ADD: &str = "INSERT INTO fp_delta (org, feed, id, body) VALUES ($1, $2, $3, $4)";
    let no = i64::from(feed.0);
    let id: Option<i64> = on!(conn, c => sqlx::query_scalar(NEXT).bind(org.0).bind(no).fetch_optional(&mut **c).await?);
    let Some(id) = id else { return Ok(0) };
    on!(conn, c => sqlx::query(ADD).bind(org.0).bind(no).bind(id).bind(body).execute(&mut **c).await.map(drop)?);
    Ok(id.unsigned_abs())
}

pub(crate) async fn drop_fingerprints(conn: &mut Conn<'_>, org: OrganisationId, feed: FeedNo) -> Result<()> {
    drop_pages(conn, org, feed).await?;
    bulk::delete_all(conn, org, Some(feed.0.into()), "fp_meta").await
}

async fn drop_pages(conn: &mut Conn<'_>, org: OrganisationId, feed: FeedNo) -> Result<()> {
    bulk::delete_all(conn, org, Some(feed.0.into()), "fp_page").await?;
    bulk::delete_all(conn, org, Some(feed.0.into()), "fp_delta").await
}

/// One page of what is stored of a feed's last payload.
pub(crate) async fn feed_page(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
    page: u32,
) -> Result<Option<Vec<u8>>> {
    const SQL: &str = "SELECT body FROM feed_order WHERE org = $1 AND feed = $2 AND page = $3";
    let (no, page) = (i64::from(feed.0), i64::from(page));
    Ok(on!(conn, c => sqlx::query_scalar(SQL).bind(org.0).bind(no).bind(page).fetch_optional(&mut **c).await?))
}

/// How many there are.
pub(crate) async fn feed_pages(conn: &mut Conn<'_>, org: OrganisationId, feed: FeedNo) -> Result<u32> {
    const SQL: &str = "SELECT COUNT(*) FROM feed_order WHERE org = $1 AND feed = $2";
    let no = i64::from(feed.0);
    let count: i64 = on!(conn, c => sqlx::query_scalar(SQL).bind(org.0).bind(no).fetch_one(&mut **c).await?);
    u32::try_from(count).map_err(|_| StoreError::Corrupt("a feed's order has too many pages"))
}

/// Puts one page in place of the one before, and leaves the others.
pub(crate) async fn put_feed_page(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
    page: u32,
    body: Vec<u8>,
) -> Result<()> {
    const SQL: &str = "INSERT INTO feed_order (org, feed, page, body) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (org, feed, page) DO UPDATE SET body = excluded.body";
    let (no, page) = (i64::from(feed.0), i64::from(page));
    on!(conn, c => sqlx::query(SQL).bind(org.0).bind(no).bind(page).bind(body).execute(&mut **c).await.map(drop)?);
    Ok(())
}

/// Puts pages in place of all before.
pub(crate) async fn put_feed_pages(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
    pages: Vec<Vec<u8>>,
) -> Result<()> {
    bulk::delete_all(conn, org, Some(feed.0.into()), "feed_order").await?;
    insert_pages(conn, org, feed, "feed_order", 0, pages).await
}

/// Adds pages from a number on.
pub(crate) async fn add_feed_pages(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
    first: u32,
    pages: Vec<Vec<u8>>,
) -> Result<()> {
    insert_pages(conn, org, feed, "feed_order", first, pages).await
}

async fn insert_pages(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: FeedNo,
    table: &'static str,
    first: u32,
    pages: Vec<Vec<u8>>,
) -> Result<()> {
    let first = i64::from(first);
    let columns = vec![("page", Column::ints(first..first + pages.len() as i64)), ("body", Column::bytes(pages))];
    Insert { table, org, feed: Some(feed.0.into()), columns, conflict: "", weight: Weight::Heavy }.run(conn).await
}
