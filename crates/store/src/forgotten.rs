//! Forgetting: rows of one member taken out wherever they are, the blocks that stay, and the traces that a database keeps.

use muster_domain::ids::{MemberNo, OrganisationId};

use crate::bulk::{Column, Insert, Weight};
use crate::connect::{Conn, Pools, Store, on};
use crate::error::{Result, StoreError};
use crate::roster::MEMBERS_PER_PAGE;
use crate::{file, ident};

/// Pages of identifiers read at a time.
const SLICE: u32 = 64;

/// A keyed hash of an identifier of somebody who was forgotten.
pub type BlockHash = [u8; 16];

pub(crate) async fn blocked(conn: &mut Conn<'_>, org: OrganisationId) -> Result<Vec<BlockHash>> {
    const SQL: &str = "SELECT hash FROM forgotten WHERE org = $1 ORDER BY hash";
    let rows: Vec<Vec<u8>> = on!(conn, c => sqlx::query_scalar(SQL).bind(org.0).fetch_all(&mut **c).await?);
    let block = |row: Vec<u8>| row.try_into().map_err(|_| StoreError::Corrupt("a block has another length"));
    rows.into_iter().map(block).collect()
}

pub(crate) async fn put_blocked(conn: &mut Conn<'_>, org: OrganisationId, blocks: &[BlockHash]) -> Result<()> {
    let columns = vec![("hash", Column::bytes(blocks.iter().map(|b| b.to_vec())))];
    let conflict = "ON CONFLICT (org, hash) DO NOTHING";
    Insert { table: "forgotten", org, feed: None, columns, conflict, weight: Weight::Light }.run(conn).await
}

pub(crate) async fn lift_blocked(conn: &mut Conn<'_>, org: OrganisationId, blocks: &[BlockHash]) -> Result<()> {
    const SQL: &str = "DELETE FROM forgotten WHERE org = $1 AND hash = $2";
    for block in blocks {
        on!(conn, c => sqlx::query(SQL).bind(org.0).bind(&block[..]).execute(&mut **c).await.map(drop)?);
    }
    Ok(())
}

/// Deletes a member's newer row. What their page holds is the caller's to rewrite.
pub(crate) async fn drop_member(conn: &mut Conn<'_>, org: OrganisationId, no: MemberNo) -> Result<()> {
    const SQL: &str = "DELETE FROM member_delta WHERE org = $1 AND no = $2";
    on!(conn, c => sqlx::query(SQL).bind(org.0).bind(i64::from(no)).execute(&mut **c).await.map(drop)?);
    Ok(())
}

/// Deletes everything by which a member is found: also what was an identifier of theirs once.
pub(crate) async fn drop_idents(conn: &mut Conn<'_>, org: OrganisationId, no: MemberNo) -> Result<()> {
    const DELTA: &str = "DELETE FROM ident_delta WHERE org = $1 AND no = $2";
    const PAGE: &str = "DELETE FROM ident_page WHERE org = $1 AND page = $2";
    const LAST: &str = "SELECT coalesce(max(page), -1) FROM ident_page WHERE org = $1";
    on!(conn, c => sqlx::query(DELTA).bind(org.0).bind(i64::from(no)).execute(&mut **c).await.map(drop)?);
    let last: i64 = on!(conn, c => sqlx::query_scalar(LAST).bind(org.0).fetch_one(&mut **c).await?);
    for first in (0..=last).step_by(SLICE as usize) {
        for (page, mut idents) in ident::ident_pages(conn, org, first as u32, SLICE).await? {
            let before = idents.len();
            idents.retain(|i| i.1 != no);
            if idents.is_empty() {
                on!(conn, c => sqlx::query(PAGE).bind(org.0).bind(i64::from(page)).execute(&mut **c).await.map(drop)?);
            } else if idents.len() < before {
                ident::put_ident_pages(conn, org, page, &idents).await?;
            }
        }
    }
    Ok(())
}

/// The page of the roster on which a member would be, if it is stored.
pub(crate) async fn page_of(conn: &mut Conn<'_>, org: OrganisationId, no: MemberNo) -> Result<Option<Vec<u8>>> {
    let page = no / MEMBERS_PER_PAGE;
    let pages = crate::roster::roster_pages(conn, org, page, 1).await?;
    Ok(pages.into_iter().next().map(|p| p.1))
}

impl Store {
    /// Overwrites what the database keeps of rows that are gone. A SQLite file is written anew without them and its
    /// write-ahead log emptied; of a PostgreSQL database dead rows are taken out of their tables, so that nothing finds
    /// them, and their space is used again (see `docs/forgetting.md` for what that means).
    ///
    /// # Errors
    /// [`StoreError::Busy`] if somebody else is reading or writing all the while.
    pub async fn sweep(&self) -> Result<()> {
        match &self.pools {
            Pools::Sqlite { writer, .. } => file::sweep(&writer.connect_options()).await,
            Pools::Postgres(pool) => {
                const TABLES: &str = "VACUUM event, roster_page, member_delta, ident_page, ident_delta, fp_page, \
                    fp_delta, feed_order, upload, change_set, feed, forgotten";
                sqlx::query(TABLES).execute(pool).await?;
                Ok(())
            }
        }
    }
}
