//! Lanes: one projection of one organisation, with its checkpoint in the log.

use chrono::{DateTime, Utc};
use muster_domain::event::{GENESIS, Hash};
use muster_domain::ids::OrganisationId;

use super::{Org, ReadModels};
use crate::connect::{Conn, on};
use crate::error::{Result, StoreError};
use crate::organisation::{count, hash, micros, moment};

/// What a lane is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// It is read.
    Live,
    /// It takes the live one's place once it has caught up.
    Building,
    /// Its rows are deleted by and by.
    Dropped,
}

impl LaneState {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            LaneState::Live => "live",
            LaneState::Building => "building",
            LaneState::Dropped => "dropped",
        }
    }
}

/// An event that a projection could not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The event's number.
    pub seq: u64,
    /// Its type.
    pub kind: String,
    /// Why, in a sentence without personal data.
    pub error: String,
    /// When it was tried.
    pub at: DateTime<Utc>,
}

/// A lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its number; its rows have it too.
    pub id: i64,
    /// Of which organisation.
    pub organisation: OrganisationId,
    /// The name of the projection.
    pub projection: String,
    /// The version of the projection's code that made the rows.
    pub version: u32,
    /// What it is for.
    pub state: LaneState,
    /// The event up to which the rows reflect the log.
    pub seq: u64,
    /// The hash of that event in the chain: another log of the same length has another.
    pub hash: Hash,
    /// When it was begun.
    pub made_at: DateTime<Utc>,
    /// When it last moved on.
    pub moved_at: DateTime<Utc>,
    /// The event at which it stands, if it cannot go on.
    pub parked: Option<Parked>,
}

pub(super) const COLUMNS: &str = "id, org, projection, version, state, seq, hash, made_at, moved_at, parked_seq, parked_kind, parked_error, parked_at";

/// The columns as they are stored.
type LaneRow = (
    i64,
    uuid::Uuid,
    String,
    i64,
    String,
    i64,
    Vec<u8>,
    i64,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<i64>,
);

fn lane_of(row: LaneRow) -> Result<Lane> {
    let (id, org, projection, version, state, seq, bytes, made_at, moved_at, parked_seq, kind, error, parked_at) = row;
    let parked = match (parked_seq, kind, error, parked_at) {
        (Some(seq), Some(kind), Some(error), Some(at)) => {
            Some(Parked { seq: count(seq)?, kind, error, at: moment(at)? })
        }
        _ => None,
    };
    Ok(Lane {
        id,
        organisation: OrganisationId(org),
        projection,
        version: u32::try_from(version).map_err(|_| StoreError::Corrupt("a version is out of range"))?,
        state: match state.as_str() {
            "live" => LaneState::Live,
            "building" => LaneState::Building,
            _ => LaneState::Dropped,
        },
        seq: count(seq)?,
        hash: hash(bytes)?,
        made_at: moment(made_at)?,
        moved_at: moment(moved_at)?,
        parked,
    })
}

impl ReadModels {
    /// All lanes of an organisation that are not dropped, in order of projections, the live one first.
    pub async fn lanes(&self, org: Org) -> Result<Vec<Lane>> {
        let sql =
            format!("SELECT {COLUMNS} FROM lane WHERE org = $1 AND state <> 'dropped' ORDER BY projection, state DESC");
        let mut reading = self.reading().await?;
        let rows: Vec<LaneRow> = on!(&mut reading.conn(), c => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(org.0).fetch_all(&mut **c).await?
        });
        rows.into_iter().map(lane_of).collect()
    }

    /// The lanes of every organisation, for whoever looks for work or watches how it goes; dropped ones too.
    pub async fn all_lanes(&self) -> Result<Vec<Lane>> {
        let sql = format!("SELECT {COLUMNS} FROM lane ORDER BY org, projection, state DESC");
        let mut reading = self.reading().await?;
        let rows: Vec<LaneRow> = on!(&mut reading.conn(), c => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&mut **c).await?
        });
        rows.into_iter().map(lane_of).collect()
    }

    /// Begins a lane at the beginning of the log, unless there is one of that state.
    pub async fn begin_lane(&self, org: Org, projection: &str, version: u32, state: LaneState) -> Result<()> {
        const NEXT: &str = "UPDATE read_models SET next_lane = next_lane + 1 RETURNING next_lane";
        const SQL: &str = "INSERT INTO lane (id, org, projection, version, state, seq, hash, made_at, moved_at) \
            VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $7) ON CONFLICT DO NOTHING";
        let mut writing = self.writing().await?;
        on!(&mut writing.conn(), c => {
            let id: i64 = sqlx::query_scalar(NEXT).fetch_one(&mut **c).await?;
            let query = sqlx::query(SQL).bind(id).bind(org.0).bind(projection).bind(i64::from(version));
            let query = query.bind(state.word()).bind(&GENESIS[..]).bind(micros(Utc::now()));
            query.execute(&mut **c).await?;
        });
        writing.commit().await
    }

    /// Puts a building lane in the place of the live one, in one step, if it has come at least as far, or if the live one
    /// is parked or of older code. Says whether it did.
    pub async fn swap(&self, lane: &Lane) -> Result<bool> {
        const OLD: &str = "UPDATE lane SET state = 'dropped' WHERE org = $1 AND projection = $2 AND state = 'live' \
            AND (seq <= $3 OR version < $4 OR parked_seq IS NOT NULL)";
        const LEFT: &str = "SELECT count(*) FROM lane WHERE org = $1 AND projection = $2 AND state = 'live'";
        const NEW: &str = "UPDATE lane SET state = 'live' WHERE org = $1 AND id = $2 AND state = 'building'";
        let mut writing = self.writing().await?;
        let swapped = on!(&mut writing.conn(), c => {
            let old = sqlx::query(OLD).bind(lane.organisation.0).bind(&*lane.projection);
            old.bind(lane.seq as i64).bind(i64::from(lane.version)).execute(&mut **c).await?;
            let left = sqlx::query_scalar(LEFT).bind(lane.organisation.0).bind(&*lane.projection);
            let left: i64 = left.fetch_one(&mut **c).await?;
            left == 0
                && sqlx::query(NEW).bind(lane.organisation.0).bind(lane.id).execute(&mut **c).await?.rows_affected() == 1
        });
        match swapped {
            true => writing.commit().await?,
            false => writing.rollback().await?,
        }
        Ok(swapped)
    }

    /// Gives a lane up; nobody finds its rows any more.
    pub async fn drop_lane(&self, lane: &Lane) -> Result<()> {
        self.set(lane, "UPDATE lane SET state = 'dropped' WHERE org = $1 AND id = $2").await
    }

    /// Lets a parked lane try again.
    pub async fn unpark(&self, lane: &Lane) -> Result<()> {
        const SQL: &str = "UPDATE lane SET parked_seq = NULL, parked_kind = NULL, parked_error = NULL, parked_at = NULL \
            WHERE org = $1 AND id = $2";
        self.set(lane, SQL).await
    }

    async fn set(&self, lane: &Lane, sql: &'static str) -> Result<()> {
        let mut writing = self.writing().await?;
        on!(&mut writing.conn(), c => {
            sqlx::query(sql).bind(lane.organisation.0).bind(lane.id).execute(&mut **c).await?;
        });
        writing.commit().await
    }

    /// Deletes some rows of dropped lanes of an organisation, and says whether there are more.
    pub async fn clean(&self, org: Org, rows: u32) -> Result<bool> {
        const FIND: &str = "SELECT id FROM lane WHERE org = $1 AND state = 'dropped' ORDER BY id LIMIT 1";
        const ROWS: &str = "DELETE FROM entry WHERE org = $1 AND lane = $2 AND (part, key) IN \
            (SELECT part, key FROM entry WHERE org = $1 AND lane = $2 LIMIT $3)";
        const LANE: &str = "DELETE FROM lane WHERE org = $1 AND id = $2 AND state = 'dropped'";
        // Nearly always there is none: then nobody's writing is waited for.
        let mut reading = self.reading().await?;
        let found: Option<i64> = on!(&mut reading.conn(), c => {
            sqlx::query_scalar(FIND).bind(org.0).fetch_optional(&mut **c).await?
        });
        drop(reading);
        let Some(id) = found else { return Ok(false) };
        let mut writing = self.writing().await?;
        on!(&mut writing.conn(), c => {
            let query = sqlx::query(ROWS).bind(org.0).bind(id).bind(i64::from(rows));
            if query.execute(&mut **c).await?.rows_affected() < u64::from(rows) {
                sqlx::query(LANE).bind(org.0).bind(id).execute(&mut **c).await?;
            }
        });
        writing.commit().await?;
        Ok(true)
    }
}

/// The lane of that number, if it is not dropped; on PostgreSQL its row is held until the transaction ends, and a row that
/// somebody else holds is passed over.
pub(super) async fn take(conn: &mut Conn<'_>, org: Org, id: i64) -> Result<Option<Lane>> {
    let sql = format!("SELECT {COLUMNS} FROM lane WHERE org = $1 AND id = $2 AND state <> 'dropped'");
    let row: Option<LaneRow> = match conn {
        Conn::Sqlite(c) => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(org.0).bind(id).fetch_optional(&mut **c).await?
        }
        Conn::Postgres(c) => {
            let sql = format!("{sql} FOR UPDATE SKIP LOCKED");
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(org.0).bind(id).fetch_optional(&mut **c).await?
        }
    };
    row.map(lane_of).transpose()
}

/// The live lane of a projection.
pub(super) async fn live(conn: &mut Conn<'_>, org: Org, projection: &str) -> Result<Option<Lane>> {
    let sql = format!("SELECT {COLUMNS} FROM lane WHERE org = $1 AND projection = $2 AND state = 'live'");
    let row: Option<LaneRow> = on!(conn, c => {
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(org.0).bind(projection).fetch_optional(&mut **c).await?
    });
    row.map(lane_of).transpose()
}
