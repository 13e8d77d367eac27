//! Many rows at once, where the engines differ: prepared batches for SQLite, arrays for PostgreSQL.

use std::fmt::Write;
use std::vec::IntoIter;

use futures_util::TryStreamExt;
use muster_domain::ids::OrganisationId;
use sqlx::{AssertSqlSafe, PgConnection, Row, SqliteConnection};
use uuid::Uuid;

use crate::connect::{Conn, on};
use crate::error::{Result, StoreError};

/// The values of one column, in the order of the rows.
pub(crate) enum Column {
    Int(IntoIter<i64>),
    Bool(IntoIter<bool>),
    Text(IntoIter<String>),
    Uuid(IntoIter<Uuid>),
    Bytes(IntoIter<Option<Vec<u8>>>),
}

impl Column {
    pub fn ints(values: impl IntoIterator<Item = i64>) -> Column {
        Column::Int(values.into_iter().collect::<Vec<_>>().into_iter())
    }

    pub fn bools(values: impl IntoIterator<Item = bool>) -> Column {
        Column::Bool(values.into_iter().collect::<Vec<_>>().into_iter())
    }

    pub fn bytes(values: impl IntoIterator<Item = Vec<u8>>) -> Column {
        Column::Bytes(values.into_iter().map(Some).collect::<Vec<_>>().into_iter())
    }

    fn len(&self) -> usize {
        match self {
            Column::Int(v) => v.len(),
            Column::Bool(v) => v.len(),
            Column::Text(v) => v.len(),
            Column::Uuid(v) => v.len(),
            Column::Bytes(v) => v.len(),
        }
    }

    fn postgres_type(&self) -> &'static str {
        match self {
            Column::Int(_) => "bigint",
            Column::Bool(_) => "boolean",
            Column::Text(_) => "text",
            Column::Uuid(_) => "uuid",
            Column::Bytes(_) => "bytea",
        }
    }
}

/// How heavy a row is: how many go into one statement.
#[derive(Clone, Copy)]
pub(crate) enum Weight {
    /// Up to some hundred bytes.
    Light,
    /// Some kilobytes.
    Medium,
    /// Tens of kilobytes.
    Heavy,
}

/// An `INSERT` of many rows of one organisation (and feed).
pub(crate) struct Insert {
    pub table: &'static str,
    pub org: OrganisationId,
    /// Value of the column `feed`, for tables that have one.
    pub feed: Option<i64>,
    pub columns: Vec<(&'static str, Column)>,
    /// `ON CONFLICT …`, or nothing.
    pub conflict: &'static str,
    pub weight: Weight,
}

impl Insert {
    pub async fn run(self, conn: &mut Conn<'_>) -> Result<()> {
        match conn {
            Conn::Sqlite(c) => self.sqlite(c).await,
            Conn::Postgres(c) => self.postgres(c).await,
        }
    }

    fn left(&self) -> usize {
        self.columns.first().map_or(0, |(_, c)| c.len())
    }

    fn fixed(&self) -> usize {
        1 + usize::from(self.feed.is_some())
    }

    fn insert_sql(&self) -> String {
        let mut sql = format!("INSERT INTO {} (org", self.table);
        if self.feed.is_some() {
            sql.push_str(", feed");
        }
        for (name, _) in &self.columns {
            let _ = write!(sql, ", {name}");
        }
        sql.push_str(") ");
        sql
    }

    /// Batches are powers of two, so that few statements are prepared and each is used again.
    async fn sqlite(mut self, conn: &mut SqliteConnection) -> Result<()> {
        let most = match self.weight {
            Weight::Light => 256,
            Weight::Medium => 64,
            Weight::Heavy => 16,
        };
        let (mut sql, mut rows_of_sql) = (String::new(), 0);
        while self.left() > 0 {
            let rows = if self.left() >= most { most } else { 1 << self.left().ilog2() };
            if rows != rows_of_sql {
                (sql, rows_of_sql) = (self.values_sql(rows), rows);
            }
            let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
            for _ in 0..rows {
                for (_, column) in &mut self.columns {
                    query = match column {
                        Column::Int(v) => query.bind(v.next()),
                        Column::Bool(v) => query.bind(v.next()),
                        Column::Text(v) => query.bind(v.next()),
                        Column::Uuid(v) => query.bind(v.next()),
                        Column::Bytes(v) => query.bind(v.next().flatten()),
                    };
                }
            }
            query = query.bind(self.org.0);
            if let Some(feed) = self.feed {
                query = query.bind(feed);
            }
            query.execute(&mut *conn).await?;
        }
        Ok(())
    }

    /// The values have no names: finding a parameter's name takes SQLite a look through all that have one. What every
    /// row repeats has a number, and is bound after the values.
    fn values_sql(&self, rows: usize) -> String {
        let values = rows * self.columns.len();
        let mut fixed = format!("(${}", values + 1);
        if self.feed.is_some() {
            let _ = write!(fixed, ", ${}", values + 2);
        }
        let mut sql = self.insert_sql();
        sql.push_str("VALUES ");
        for row in 0..rows {
            sql.push_str(if row == 0 { "" } else { ", " });
            sql.push_str(&fixed);
            (0..self.columns.len()).for_each(|_| sql.push_str(", ?"));
            sql.push(')');
        }
        let _ = write!(sql, " {}", self.conflict);
        sql
    }

    async fn postgres(mut self, conn: &mut PgConnection) -> Result<()> {
        let rows = match self.weight {
            Weight::Light => 16_384,
            Weight::Medium => 128,
            Weight::Heavy => 16,
        };
        let sql = self.unnest_sql();
        while self.left() > 0 {
            let mut query = sqlx::query(AssertSqlSafe(sql.clone())).bind(self.org.0);
            if let Some(feed) = self.feed {
                query = query.bind(feed);
            }
            for (_, column) in &mut self.columns {
                query = match column {
                    Column::Int(v) => query.bind(v.take(rows).collect::<Vec<_>>()),
                    Column::Bool(v) => query.bind(v.take(rows).collect::<Vec<_>>()),
                    Column::Text(v) => query.bind(v.take(rows).collect::<Vec<_>>()),
                    Column::Uuid(v) => query.bind(v.take(rows).collect::<Vec<_>>()),
                    Column::Bytes(v) => query.bind(v.take(rows).collect::<Vec<_>>()),
                };
            }
            query.execute(&mut *conn).await?;
        }
        Ok(())
    }

    fn unnest_sql(&self) -> String {
        let mut sql = self.insert_sql();
        sql.push_str("SELECT $1");
        if self.feed.is_some() {
            sql.push_str(", $2");
        }
        sql.push_str(", u.* FROM UNNEST(");
        for (i, (_, column)) in self.columns.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let _ = write!(sql, "{comma}${}::{}[]", self.fixed() + i + 1, column.postgres_type());
        }
        let _ = write!(sql, ") AS u {}", self.conflict);
        sql
    }
}

/// Where packed bytes are kept by number.
#[derive(Clone, Copy)]
pub(crate) struct Keyed {
    pub table: &'static str,
    pub key: &'static str,
}

impl Keyed {
    /// Calls a function with the rows of these numbers, in any order, while the engine is still looking for the rest.
    pub async fn each(
        self,
        conn: &mut Conn<'_>,
        org: OrganisationId,
        keys: &[u32],
        mut visit: impl FnMut(u32, &[u8]),
    ) -> Result<()> {
        let Keyed { table, key } = self;
        for keys in keys.chunks(16_384) {
            match conn {
                Conn::Sqlite(c) => {
                    let sql = format!(
                        "SELECT {key}, body FROM {table} WHERE org = $1 AND {key} IN (SELECT value FROM json_each($2))"
                    );
                    let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(org.0).bind(json_list(keys)).fetch(&mut **c);
                    while let Some(row) = rows.try_next().await? {
                        visit(number(row.try_get(0)?)?, row.try_get(1)?);
                    }
                }
                Conn::Postgres(c) => {
                    let sql = format!("SELECT {key}, body FROM {table} WHERE org = $1 AND {key} = ANY($2)");
                    let keys: Vec<i64> = keys.iter().map(|k| i64::from(*k)).collect();
                    let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(org.0).bind(keys).fetch(&mut **c);
                    while let Some(row) = rows.try_next().await? {
                        visit(number(row.try_get(0)?)?, row.try_get(1)?);
                    }
                }
            }
        }
        Ok(())
    }

    /// The rows from one number up to and without another, in order.
    pub async fn range(
        self,
        conn: &mut Conn<'_>,
        org: OrganisationId,
        from: u32,
        to: u32,
    ) -> Result<Vec<(u32, Vec<u8>)>> {
        let Keyed { table, key } = self;
        let sql =
            format!("SELECT {key}, body FROM {table} WHERE org = $1 AND {key} >= $2 AND {key} < $3 ORDER BY {key}");
        let rows: Vec<(i64, Vec<u8>)> = on!(conn, c => {
            sqlx::query_as(AssertSqlSafe(sql)).bind(org.0).bind(i64::from(from)).bind(i64::from(to)).fetch_all(&mut **c).await?
        });
        let mut found = Vec::with_capacity(rows.len());
        numbered(rows, &mut found)?;
        Ok(found)
    }

    /// Writes rows, in place of those of the same number. Of several with one number the last counts.
    pub async fn put(
        self,
        conn: &mut Conn<'_>,
        org: OrganisationId,
        rows: Vec<(u32, Vec<u8>)>,
        weight: Weight,
    ) -> Result<()> {
        let rows = last_of_each(rows, |row| row.0);
        let (keys, bodies): (Vec<u32>, Vec<Vec<u8>>) = rows.into_iter().unzip();
        let conflict = match self.key {
            "page" => "ON CONFLICT (org, page) DO UPDATE SET body = excluded.body",
            _ => "ON CONFLICT (org, no) DO UPDATE SET body = excluded.body",
        };
        let columns = vec![(self.key, Column::ints(keys.into_iter().map(i64::from))), ("body", Column::bytes(bodies))];
        Insert { table: self.table, org, feed: None, columns, conflict, weight }.run(conn).await
    }
}

/// In order of the key, and of rows with the same key only the last.
pub(crate) fn last_of_each<T, K: Ord>(mut rows: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    if !rows.is_sorted_by(|a, b| key(a) < key(b)) {
        rows.sort_by_key(&key);
        // `dedup` keeps the first of a run, so the run is turned around.
        rows.reverse();
        rows.dedup_by(|a, b| key(a) == key(b));
        rows.reverse();
    }
    rows
}

fn numbered(rows: Vec<(i64, Vec<u8>)>, into: &mut Vec<(u32, Vec<u8>)>) -> Result<()> {
    for (key, body) in rows {
        into.push((number(key)?, body));
    }
    Ok(())
}

fn number(key: i64) -> Result<u32> {
    u32::try_from(key).map_err(|_| StoreError::Corrupt("a number is out of range"))
}

/// A JSON array, which is how SQLite takes a list.
pub(crate) fn json_list<T: std::fmt::Display>(keys: &[T]) -> String {
    let mut json = String::with_capacity(keys.len() * 8 + 2);
    for key in keys {
        let _ = write!(json, "{}{key}", if json.is_empty() { '[' } else { ',' });
    }
    json.push_str(if json.is_empty() { "[]" } else { "]" });
    json
}

/// Deletes all rows of an organisation (and feed) from tables that hold nothing else.
pub(crate) async fn delete_all(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    feed: Option<i64>,
    table: &'static str,
) -> Result<()> {
    let sql = match feed {
        Some(_) => format!("DELETE FROM {table} WHERE org = $1 AND feed = $2"),
        None => format!("DELETE FROM {table} WHERE org = $1"),
    };
    on!(conn, c => {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(org.0);
        match feed {
            Some(feed) => query.bind(feed).execute(&mut **c).await?,
            None => query.execute(&mut **c).await?,
        };
    });
    Ok(())
}

/// A keyed hash as the databases keep it: signed, in the same order.
pub(crate) fn signed(hash: u64) -> i64 {
    (hash ^ (1 << 63)) as i64
}

/// And back.
pub(crate) fn unsigned(hash: i64) -> u64 {
    hash as u64 ^ (1 << 63)
}
