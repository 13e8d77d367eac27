//! Identifiers: keyed hashes of match keys, e-mails and the like -> member numbers, in sorted pages with newer words beside them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use muster_domain::ids::{MemberNo, OrganisationId};
use sqlx::Row;

use crate::bulk::{self, Column, Insert, Keyed, Weight, last_of_each, signed, unsigned};
use crate::connect::{Conn, on};
use crate::error::{Result, StoreError};

/// How many identifiers share a page.
pub const IDENTS_PER_PAGE: usize = 4096;

/// From so many hashes on, everything is read once instead of looking for each.
const MANY: usize = 8192;
/// Up to so many, each is looked for by itself.
const FEW: usize = 8;

const ENTRY: usize = 12;
const PAGES: Keyed = Keyed { table: "ident_page", key: "page" };

/// An identifier's hash and a member that has it.
pub type Ident = (u64, MemberNo);

fn pack(entries: &[Ident]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY);
    for (hash, no) in entries {
        bytes.extend_from_slice(&hash.to_le_bytes());
        bytes.extend_from_slice(&no.to_le_bytes());
    }
    bytes
}

fn entries(page: &[u8]) -> Result<&[[u8; ENTRY]]> {
    match page.as_chunks::<ENTRY>() {
        (entries, []) => Ok(entries),
        _ => Err(StoreError::Corrupt("a page of identifiers cannot be read")),
    }
}

fn entry(bytes: &[u8; ENTRY]) -> Ident {
    let [a, b, c, d, e, f, g, h, no @ ..] = *bytes;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes(no))
}

/// Adds what a page says of the hashes, which are sorted.
fn search(page: &[u8], hashes: &[u64], into: &mut Vec<Ident>) -> Result<()> {
    let entries = entries(page)?;
    let (Some(first), Some(last)) = (entries.first().map(entry), entries.last().map(entry)) else { return Ok(()) };
    let from = hashes.partition_point(|h| *h < first.0);
    let to = hashes.partition_point(|h| *h <= last.0);
    let mut at = 0;
    for hash in &hashes[from..to] {
        at += entries[at..].partition_point(|e| entry(e).0 < *hash);
        into.extend(entries[at..].iter().map(entry).take_while(|e| e.0 == *hash));
    }
    Ok(())
}

/// The members that have these identifiers, sorted by hash and number.
pub(crate) async fn idents(conn: &mut Conn<'_>, org: OrganisationId, hashes: &[u64]) -> Result<Vec<Ident>> {
    let mut hashes = hashes.to_vec();
    hashes.sort_unstable();
    hashes.dedup();
    let mut found = Vec::new();
    let newer = if hashes.len() <= FEW {
        let mut newer = Vec::new();
        for hash in &hashes {
            one_ident(conn, org, *hash, &mut found, &mut newer).await?;
        }
        newer
    } else {
        let needed = needed_pages(conn, org, &hashes).await?;
        let mut searched = Ok(());
        let search_page = |_, page: &[u8]| {
            if searched.is_ok() {
                searched = search(page, &hashes, &mut found);
            }
        };
        PAGES.each(conn, org, &needed, search_page).await?;
        searched?;
        deltas_of(conn, org, &hashes).await?
    };
    if !newer.is_empty() {
        let dead: BTreeSet<Ident> = newer.iter().filter(|n| !n.2).map(|n| (n.0, n.1)).collect();
        found.retain(|ident| !dead.contains(ident));
        found.extend(newer.iter().filter(|n| n.2).map(|n| (n.0, n.1)));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Newer words on identifiers: hash, member, whether it holds.
type Newer = Vec<(u64, MemberNo, bool)>;

/// What the pages in which one hash may stand say of it (from the last that begins below it to the last that does not begin
/// above it), and the newer words on it: in one statement, so that nobody puts newer words into pages in between.
///
/// Hashes are spread evenly, so that it can be told about where in the first page one stands, and only what lies around that
/// place is read: of a server the whole page would be most of the work.
async fn one_ident(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    hash: u64,
    found: &mut Vec<Ident>,
    newer: &mut Newer,
) -> Result<()> {
    const AROUND: &str = "SELECT substr(body, CAST(place AS INTEGER) * 12 + 1, 6144), place, all_of_it, CAST(NULL AS BOOLEAN) \
        FROM (SELECT body, all_of_it, CASE WHEN at < 256 THEN 0 ELSE at - 256 END AS place \
          FROM (SELECT body, CAST(LENGTH(body) / 12 AS BIGINT) AS all_of_it, CAST((CAST($2 AS DOUBLE PRECISION) - first_hash) / \
              (COALESCE((SELECT n.first_hash FROM ident_page n WHERE n.org = $1 AND n.first_hash > p.first_hash \
                ORDER BY n.first_hash LIMIT 1), 9223372036854775807) - CAST(first_hash AS DOUBLE PRECISION)) \
              * (LENGTH(body) / 12) AS BIGINT) AS at \
            FROM ident_page p WHERE org = $1 AND page = (SELECT page FROM ident_page \
              WHERE org = $1 AND first_hash < $2 ORDER BY first_hash DESC, page DESC LIMIT 1)) AS estimated) AS around \
        UNION ALL SELECT body, 0, LENGTH(body) / 12, NULL FROM ident_page WHERE org = $1 AND first_hash = $2 \
        UNION ALL SELECT NULL, no, 0, live FROM ident_delta WHERE org = $1 AND hash = $2";
    const WHOLE: &str = "SELECT body, CAST(0 AS BIGINT), CAST(LENGTH(body) / 12 AS BIGINT), CAST(NULL AS BOOLEAN) FROM ident_page \
          WHERE org = $1 AND page = (SELECT page FROM ident_page \
            WHERE org = $1 AND first_hash < $2 ORDER BY first_hash DESC, page DESC LIMIT 1) \
        UNION ALL SELECT body, 0, LENGTH(body) / 12, NULL FROM ident_page WHERE org = $1 AND first_hash = $2 \
        UNION ALL SELECT NULL, no, 0, live FROM ident_delta WHERE org = $1 AND hash = $2";
    for sql in [AROUND, WHOLE] {
        let (idents, words) = (found.len(), newer.len());
        let mut has_all = true;
        on!(conn, c => {
            let mut rows = sqlx::query(sql).bind(org.0).bind(signed(hash)).fetch(&mut **c);
            while let Some(row) = rows.try_next().await? {
                match row.try_get::<Option<&[u8]>, _>(0)? {
                    Some(part) => {
                        has_all &= has_all_of(part, row.try_get(1)?, row.try_get(2)?, hash)?;
                        search(part, &[hash], found)?;
                    }
                    None => newer.push(delta((signed(hash), row.try_get(1)?, row.try_get(3)?))?),
                }
            }
        });
        if has_all {
            break;
        }
        found.truncate(idents);
        newer.truncate(words);
    }
    Ok(())
}

/// Whether all that a page says of a hash is in this part of it, which begins with the entry of that number, of so many.
fn has_all_of(part: &[u8], place: i64, all_of_it: i64, hash: u64) -> Result<bool> {
    let entries = entries(part)?;
    let (first, last) = (entries.first().map(entry), entries.last().map(entry));
    let from_below = place == 0 || first.is_some_and(|first| first.0 < hash);
    let to_above = place + entries.len() as i64 >= all_of_it || last.is_some_and(|last| last.0 > hash);
    Ok(from_below && to_above)
}

async fn needed_pages(conn: &mut Conn<'_>, org: OrganisationId, hashes: &[u64]) -> Result<Vec<u32>> {
    const SQL: &str = "SELECT page, first_hash FROM ident_page WHERE org = $1 ORDER BY first_hash, page";
    let rows: Vec<(i64, i64)> = on!(conn, c => sqlx::query_as(SQL).bind(org.0).fetch_all(&mut **c).await?);
    let mut needed = BTreeMap::new();
    for (i, (page, first)) in rows.iter().enumerate() {
        let from = hashes.partition_point(|h| *h < unsigned(*first));
        let to = rows.get(i + 1).map_or(hashes.len(), |next| hashes.partition_point(|h| *h <= unsigned(next.1)));
        if from < to {
            needed.insert(*page as u32, ());
        }
    }
    Ok(needed.into_keys().collect())
}

async fn deltas_of(conn: &mut Conn<'_>, org: OrganisationId, hashes: &[u64]) -> Result<Newer> {
    if let [first, .., last] = hashes
        && hashes.len() > MANY
    {
        let mut between = ident_deltas_between(conn, org, *first, *last).await?;
        between.retain(|(hash, ..)| hashes.binary_search(hash).is_ok());
        return Ok(between);
    }
    let mut rows: Vec<(i64, i64, bool)> = Vec::new();
    let hashes: Vec<i64> = hashes.iter().map(|h| signed(*h)).collect();
    for hashes in hashes.chunks(4096) {
        rows.extend(delta_rows(conn, org, hashes).await?);
    }
    rows.into_iter().map(delta).collect()
}

/// The newer words on some hashes.
async fn delta_rows(conn: &mut Conn<'_>, org: OrganisationId, hashes: &[i64]) -> Result<Vec<(i64, i64, bool)>> {
    const SQLITE: &str =
        "SELECT hash, no, live FROM ident_delta WHERE org = $1 AND hash IN (SELECT value FROM json_each($2))";
    const POSTGRES: &str = "SELECT hash, no, live FROM ident_delta WHERE org = $1 AND hash = ANY($2)";
    Ok(match conn {
        Conn::Sqlite(c) => sqlx::query_as(SQLITE).bind(org.0).bind(bulk::json_list(hashes)).fetch_all(&mut **c).await?,
        Conn::Postgres(c) => sqlx::query_as(POSTGRES).bind(org.0).bind(hashes).fetch_all(&mut **c).await?,
    })
}

fn delta((hash, no, live): (i64, i64, bool)) -> Result<(u64, MemberNo, bool)> {
    let no = MemberNo::try_from(no).map_err(|_| StoreError::Corrupt("a member's number is out of range"))?;
    Ok((unsigned(hash), no, live))
}

pub(crate) async fn ident_deltas(conn: &mut Conn<'_>, org: OrganisationId) -> Result<Vec<(u64, MemberNo, bool)>> {
    ident_deltas_between(conn, org, 0, u64::MAX).await
}

async fn ident_deltas_between(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    first: u64,
    last: u64,
) -> Result<Vec<(u64, MemberNo, bool)>> {
    const SQL: &str =
        "SELECT hash, no, live FROM ident_delta WHERE org = $1 AND hash BETWEEN $2 AND $3 ORDER BY hash, no";
    let (first, last) = (signed(first), signed(last));
    let rows: Vec<(i64, i64, bool)> =
        on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(first).bind(last).fetch_all(&mut **c).await?);
    rows.into_iter().map(delta).collect()
}

pub(crate) async fn ident_pages(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    from: u32,
    n: u32,
) -> Result<Vec<(u32, Vec<Ident>)>> {
    let pages = PAGES.range(conn, org, from, from.saturating_add(n)).await?;
    pages.into_iter().map(|(no, page)| Ok((no, entries(&page)?.iter().map(entry).collect()))).collect()
}

/// Writes sorted identifiers as pages from `first_page` on, and says which page comes next.
pub(crate) async fn put_ident_pages(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    first_page: u32,
    sorted: &[Ident],
) -> Result<u32> {
    if !sorted.is_sorted() {
        return Err(StoreError::Corrupt("identifiers are not sorted"));
    }
    let mut page = first_page;
    // A slice of pages at a time: this is called with millions.
    for sorted in sorted.chunks(IDENTS_PER_PAGE * 64) {
        let chunks = sorted.chunks(IDENTS_PER_PAGE);
        let n = chunks.len() as u32;
        let columns = vec![
            ("page", Column::ints((page..page + n).map(i64::from))),
            ("first_hash", Column::ints(chunks.clone().filter_map(|c| c.first()).map(|e| signed(e.0)))),
            ("body", Column::bytes(chunks.map(pack))),
        ];
        let conflict = "ON CONFLICT (org, page) DO UPDATE SET first_hash = excluded.first_hash, body = excluded.body";
        Insert { table: "ident_page", org, feed: None, columns, conflict, weight: Weight::Heavy }.run(conn).await?;
        page += n;
    }
    Ok(page)
}

pub(crate) async fn put_idents(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    words: &[(u64, MemberNo, bool)],
) -> Result<()> {
    let words = last_of_each(words.to_vec(), |w| (w.0, w.1));
    let columns = vec![
        ("hash", Column::ints(words.iter().map(|w| signed(w.0)))),
        ("no", Column::ints(words.iter().map(|w| i64::from(w.1)))),
        ("live", Column::bools(words.iter().map(|w| w.2))),
    ];
    let conflict = "ON CONFLICT (org, hash, no) DO UPDATE SET live = excluded.live";
    Insert { table: "ident_delta", org, feed: None, columns, conflict, weight: Weight::Light }.run(conn).await
}

pub(crate) async fn clear_idents(conn: &mut Conn<'_>, org: OrganisationId) -> Result<()> {
    bulk::delete_all(conn, org, None, "ident_delta").await?;
    bulk::delete_all(conn, org, None, "ident_page").await
}
