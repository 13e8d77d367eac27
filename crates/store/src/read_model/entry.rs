//! The rows of a lane: bytes under a key, in parts that the projection numbers; in order of keys, byte by byte.

use sqlx::AssertSqlSafe;

use super::{Lane, Org, ReadModels, lane};
use crate::bulk::{Column, Insert, Weight};
use crate::connect::{Conn, Reading, on};
use crate::error::{Result, StoreError};

/// A part of a projection's rows, such as "feeds by number".
pub type Part = u16;

/// A key inside a part. Numbers go in big endian, so that they are in order.
pub type Key = Vec<u8>;

/// Which rows of a part, in which order.
#[derive(Clone, Debug)]
pub struct Range {
    /// From this key on; empty for the first.
    pub from: Key,
    /// Up to and without this key; `None` for no end.
    pub to: Option<Key>,
    /// From the last to the first.
    pub backwards: bool,
    /// At most so many.
    pub limit: u32,
}

impl Default for Range {
    /// All rows of a part, from the first on.
    fn default() -> Range {
        Range { from: Key::new(), to: None, backwards: false, limit: u32::MAX }
    }
}

pub(super) async fn get(conn: &mut Conn<'_>, lane: &Lane, part: Part, key: &[u8]) -> Result<Option<Vec<u8>>> {
    const SQL: &str = "SELECT body FROM entry WHERE org = $1 AND lane = $2 AND part = $3 AND key = $4";
    Ok(on!(conn, c => {
        let query = sqlx::query_scalar(SQL).bind(lane.organisation.0).bind(lane.id).bind(i64::from(part)).bind(key);
        query.fetch_optional(&mut **c).await?
    }))
}

pub(super) async fn range(conn: &mut Conn<'_>, lane: &Lane, part: Part, range: &Range) -> Result<Vec<(Key, Vec<u8>)>> {
    let order = if range.backwards { "DESC" } else { "ASC" };
    let to = if range.to.is_some() { "AND key < $6" } else { "" };
    let sql = format!(
        "SELECT key, body FROM entry WHERE org = $1 AND lane = $2 AND part = $3 AND key >= $4 {to} \
         ORDER BY key {order} LIMIT $5"
    );
    Ok(on!(conn, c => {
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(lane.organisation.0).bind(lane.id).bind(i64::from(part));
        let query = query.bind(&*range.from).bind(i64::from(range.limit));
        let query = match &range.to {
            Some(to) => query.bind(&**to),
            None => query,
        };
        query.fetch_all(&mut **c).await?
    }))
}

pub(super) async fn put(conn: &mut Conn<'_>, lane: &Lane, rows: Vec<(Part, Key, Vec<u8>)>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let bytes: usize = rows.iter().map(|(_, _, body)| body.len()).sum();
    let weight = match bytes / rows.len() {
        0..512 => Weight::Light,
        512..8192 => Weight::Medium,
        _ => Weight::Heavy,
    };
    let n = rows.len();
    let (mut parts, mut keys, mut bodies) = (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
    for (part, key, body) in rows {
        parts.push(i64::from(part));
        keys.push(key);
        bodies.push(body);
    }
    let columns = vec![
        ("lane", Column::ints(std::iter::repeat_n(lane.id, n))),
        ("part", Column::ints(parts)),
        ("key", Column::bytes(keys)),
        ("body", Column::bytes(bodies)),
    ];
    let conflict = "ON CONFLICT (org, lane, part, key) DO UPDATE SET body = excluded.body";
    Insert { table: "entry", org: lane.organisation, feed: None, columns, conflict, weight }.run(conn).await
}

pub(super) async fn delete(conn: &mut Conn<'_>, lane: &Lane, part: Part, key: &[u8]) -> Result<()> {
    const SQL: &str = "DELETE FROM entry WHERE org = $1 AND lane = $2 AND part = $3 AND key = $4";
    on!(conn, c => {
        let query = sqlx::query(SQL).bind(lane.organisation.0).bind(lane.id).bind(i64::from(part)).bind(key);
        query.execute(&mut **c).await?;
    });
    Ok(())
}

pub(super) async fn clear(conn: &mut Conn<'_>, lane: &Lane, part: Part) -> Result<()> {
    const SQL: &str = "DELETE FROM entry WHERE org = $1 AND lane = $2 AND part = $3";
    on!(conn, c => {
        let query = sqlx::query(SQL).bind(lane.organisation.0).bind(lane.id).bind(i64::from(part));
        query.execute(&mut **c).await?;
    });
    Ok(())
}

/// The live lane of a projection at one moment: whatever is read of it belongs together.
pub struct Snapshot {
    /// The lane; it reflects the log up to [`Lane::seq`].
    pub lane: Lane,
    reading: Reading,
}

impl ReadModels {
    /// The live lane of a projection, to be read at one moment; `None` if there is none.
    pub async fn snapshot(&self, org: Org, projection: &str) -> Result<Option<Snapshot>> {
        let mut reading = self.pools.snapshot().await?;
        let lane = lane::live(&mut reading.conn(), org, projection).await?;
        Ok(lane.map(|lane| Snapshot { lane, reading }))
    }

    /// Everything that is stored of a lane, for comparing it with another.
    pub async fn rows(&self, lane: &Lane) -> Result<Vec<(Part, Key, Vec<u8>)>> {
        const SQL: &str = "SELECT part, key, body FROM entry WHERE org = $1 AND lane = $2 ORDER BY part, key";
        let mut reading = self.reading().await?;
        let rows: Vec<(i64, Key, Vec<u8>)> = on!(&mut reading.conn(), c => {
            sqlx::query_as(SQL).bind(lane.organisation.0).bind(lane.id).fetch_all(&mut **c).await?
        });
        let part = |part| Part::try_from(part).map_err(|_| StoreError::Corrupt("a part is out of range"));
        rows.into_iter().map(|(number, key, body)| Ok((part(number)?, key, body))).collect()
    }
}

impl Snapshot {
    /// One row.
    pub async fn get(&mut self, part: Part, key: &[u8]) -> Result<Option<Vec<u8>>> {
        get(&mut self.reading.conn(), &self.lane, part, key).await
    }

    /// Rows in order of keys.
    pub async fn range(&mut self, part: Part, which: &Range) -> Result<Vec<(Key, Vec<u8>)>> {
        range(&mut self.reading.conn(), &self.lane, part, which).await
    }
}
