//! The roster: pages of members by number, and newer rows of single members that win over them.

use futures_util::TryStreamExt;
use muster_domain::ids::{MemberNo, OrganisationId};
use sqlx::Row;

use crate::bulk::{self, Keyed, Weight};
use crate::connect::{Conn, on};
use crate::error::Result;

/// How many members share a page: page = number / this. Measured with rows of 120 bytes: larger pages make the first
/// import a little faster and 10,000 scattered reads on PostgreSQL twice as slow (256: 470 ms; 32: 200 ms).
pub const MEMBERS_PER_PAGE: u32 = 32;

const PAGES: Keyed = Keyed { table: "roster_page", key: "page" };
const DELTA: Keyed = Keyed { table: "member_delta", key: "no" };

/// What is stored of some members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored<'a> {
    /// A member's newer row. All of these come before the pages, and win over them.
    Newer(MemberNo, &'a [u8]),
    /// A page that is needed for a member without a newer row.
    Page(u32, &'a [u8]),
}

pub(crate) async fn roster_pages(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    from: u32,
    n: u32,
) -> Result<Vec<(u32, Vec<u8>)>> {
    PAGES.range(conn, org, from, from.saturating_add(n)).await
}

pub(crate) async fn member_deltas(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    from: MemberNo,
    to: MemberNo,
) -> Result<Vec<(MemberNo, Vec<u8>)>> {
    DELTA.range(conn, org, from, to).await
}

/// Calls a function with what is stored of these members, while the rest is still being read.
pub(crate) async fn visit_members(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    numbers: &[MemberNo],
    mut visit: impl FnMut(Stored<'_>),
) -> Result<()> {
    if let [no] = numbers {
        return visit_member(conn, org, *no, visit).await;
    }
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut newer = Vec::new();
    let newer_row = |no, body: &[u8]| {
        newer.push(no);
        visit(Stored::Newer(no, body));
    };
    DELTA.each(conn, org, &sorted, newer_row).await?;
    newer.sort_unstable();
    let mut newer = newer.into_iter().peekable();
    let mut needed: Vec<u32> = Vec::new();
    for no in sorted {
        if newer.next_if_eq(&no).is_none() && needed.last() != Some(&(no / MEMBERS_PER_PAGE)) {
            needed.push(no / MEMBERS_PER_PAGE);
        }
    }
    PAGES.each(conn, org, &needed, |page, body| visit(Stored::Page(page, body))).await
}

/// The same for one member, in one statement: whoever asks after one person waits for little else.
async fn visit_member(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    no: MemberNo,
    mut visit: impl FnMut(Stored<'_>),
) -> Result<()> {
    const SQL: &str = "SELECT 1, body FROM member_delta WHERE org = $1 AND no = $2 \
        UNION ALL SELECT 0, body FROM roster_page WHERE org = $1 AND page = $3 \
          AND NOT EXISTS (SELECT 1 FROM member_delta WHERE org = $1 AND no = $2)";
    let page = no / MEMBERS_PER_PAGE;
    on!(conn, c => {
        let query = sqlx::query(SQL).bind(org.0).bind(i64::from(no)).bind(i64::from(page));
        let mut rows = query.fetch(&mut **c);
        while let Some(row) = rows.try_next().await? {
            let body = row.try_get(1)?;
            visit(if row.try_get::<i32, _>(0)? == 1 { Stored::Newer(no, body) } else { Stored::Page(page, body) });
        }
    });
    Ok(())
}

pub(crate) async fn delta_count(conn: &mut Conn<'_>, org: OrganisationId) -> Result<u64> {
    const SQL: &str = "SELECT count(*) FROM member_delta WHERE org = $1";
    let n: i64 = on!(conn, c => sqlx::query_scalar(SQL).bind(org.0).fetch_one(&mut **c).await?);
    crate::organisation::count(n)
}

pub(crate) async fn put_members(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    rows: Vec<(MemberNo, Vec<u8>)>,
) -> Result<()> {
    DELTA.put(conn, org, rows, Weight::Light).await
}

pub(crate) async fn put_roster_pages(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    rows: Vec<(u32, Vec<u8>)>,
) -> Result<()> {
    PAGES.put(conn, org, rows, Weight::Medium).await
}

pub(crate) async fn clear_member_delta(conn: &mut Conn<'_>, org: OrganisationId) -> Result<()> {
    bulk::delete_all(conn, org, None, "member_delta").await
}

pub(crate) async fn clear_roster(conn: &mut Conn<'_>, org: OrganisationId) -> Result<()> {
    bulk::delete_all(conn, org, None, "member_delta").await?;
    bulk::delete_all(conn, org, None, "roster_page").await
}
