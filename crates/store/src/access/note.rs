//! The log of reads: what was asked with which key, written by and by and kept for so many days.

use chrono::{DateTime, Utc};
use muster_domain::ids::OrganisationId;
use uuid::Uuid;

use super::Access;
use crate::bulk::{Column, Insert, Weight};
use crate::connect::on;
use crate::error::Result;
use crate::organisation::{micros, moment};

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// When.
    pub at: DateTime<Utc>,
    /// Identity of the entry.
    pub id: Uuid,
    /// With which key.
    pub key: String,
    /// What was asked, and the answer.
    pub doc: Vec<u8>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct NotedFilter {
    /// Only of this key.
    pub key: Option<String>,
    /// From this moment on.
    pub since: Option<DateTime<Utc>>,
    /// Only what was noted before this entry.
    pub before: Option<(DateTime<Utc>, Uuid)>,
    /// So many of the newest.
    pub limit: u32,
}

impl Access {
    /// Adds entries to an organisation's log of reads.
    pub async fn note(&self, org: OrganisationId, entries: Vec<Noted>) -> Result<()> {
        let columns = vec![
            ("at", Column::ints(entries.iter().map(|e| micros(e.at)))),
            ("id", Column::Uuid(entries.iter().map(|e| e.id).collect::<Vec<_>>().into_iter())),
            ("key", Column::Text(entries.iter().map(|e| e.key.clone()).collect::<Vec<_>>().into_iter())),
            ("doc", Column::bytes(entries.into_iter().map(|e| e.doc))),
        ];
        let mut writing = self.writing().await?;
        // What was written before a commit whose answer was lost comes again.
        let conflict = "ON CONFLICT DO NOTHING";
        let insert = Insert { table: "access_log", org, feed: None, columns, conflict, weight: Weight::Light };
        insert.run(&mut writing.conn()).await?;
        writing.commit().await
    }

    /// The newest entries, the newest first.
    pub async fn noted(&self, org: OrganisationId, filter: &NotedFilter) -> Result<Vec<Noted>> {
        const SQL: &str = "SELECT at, id, key, doc FROM access_log WHERE org = $1 AND at >= $2 AND (at, id) < ($3, $4) \
            ORDER BY at DESC, id DESC LIMIT $5";
        const OF_KEY: &str = "SELECT at, id, key, doc FROM access_log WHERE org = $1 AND at >= $2 AND (at, id) < ($3, $4) \
            AND key = $6 ORDER BY at DESC, id DESC LIMIT $5";
        let since = filter.since.map_or(0, micros);
        let (at, id) = filter.before.map_or((i64::MAX, Uuid::max()), |(at, id)| (micros(at), id));
        let mut reading = self.reading().await?;
        let rows: Vec<(i64, Uuid, String, Vec<u8>)> = on!(&mut reading.conn(), c => {
            let sql = if filter.key.is_some() { OF_KEY } else { SQL };
            let mut query = sqlx::query_as(sql).bind(org.0).bind(since).bind(at).bind(id).bind(i64::from(filter.limit));
            if let Some(key) = &filter.key {
                query = query.bind(&**key);
            }
            query.fetch_all(&mut **c).await?
        });
        rows.into_iter().map(|(at, id, key, doc)| Ok(Noted { at: moment(at)?, id, key, doc })).collect()
    }

    /// Deletes entries of before a moment. Says how many.
    pub async fn forget_noted(&self, org: OrganisationId, before: DateTime<Utc>) -> Result<u64> {
        const SQL: &str = "DELETE FROM access_log WHERE org = $1 AND at < $2";
        let mut writing = self.writing().await?;
        let rows = on!(&mut writing.conn(), c => {
            sqlx::query(SQL).bind(org.0).bind(micros(before)).execute(&mut **c).await?.rows_affected()
        });
        writing.commit().await?;
        Ok(rows)
    }

    /// How many entries are of before a moment.
    pub async fn count_noted(&self, org: OrganisationId, before: DateTime<Utc>) -> Result<u64> {
        const SQL: &str = "SELECT count(*) FROM access_log WHERE org = $1 AND at < $2";
        let mut reading = self.reading().await?;
        let rows: i64 = on!(&mut reading.conn(), c => {
            sqlx::query_scalar(SQL).bind(org.0).bind(micros(before)).fetch_one(&mut **c).await?
        });
        crate::organisation::count(rows)
    }
}
