//! Organisations and their heads: the row that orders an organisation's appends.

use chrono::{DateTime, Utc};
use muster_domain::event::{GENESIS, Hash};
use muster_domain::ids::{MemberNo, OrganisationId};
use uuid::Uuid;

use crate::connect::{Conn, on};
use crate::error::{Result, StoreError, is_duplicate};

/// The key of an organisation's keyed hashes. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret of these (random) bytes.
    pub fn new(bytes: [u8; 32]) -> Secret {
        Secret(bytes)
    }

    /// The bytes, for hashing with.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An organisation as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganisationRow {
    /// Identity.
    pub id: OrganisationId,
    /// The name by which it is addressed.
    pub slug: String,
    /// The key of its keyed hashes.
    pub secret: Secret,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Where an organisation's log and counters stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the last event; 0 before the first.
    pub last_seq: u64,
    /// Hash of the last event in the chain.
    pub hash: Hash,
    /// When the last event was recorded.
    pub last_recorded_at: DateTime<Utc>,
    /// Counts applied change sets.
    pub roster_version: u64,
    /// The arrival number that the next upload gets.
    pub next_arrival: u64,
    /// The number that the next new member gets.
    pub next_member: MemberNo,
}

/// Microseconds since 1970.
pub(crate) fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

pub(crate) fn moment(micros: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).ok_or(StoreError::Corrupt("a time is out of range"))
}

pub(crate) fn count(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| StoreError::Corrupt("a count is negative"))
}

pub(crate) fn hash(bytes: Vec<u8>) -> Result<Hash> {
    bytes.try_into().map_err(|_| StoreError::Corrupt("a hash has another length"))
}

type Row = (Uuid, String, Vec<u8>, i64);

pub(crate) fn organisation_row((id, slug, secret, created_at): Row) -> Result<OrganisationRow> {
    Ok(OrganisationRow {
        id: OrganisationId(id),
        slug,
        secret: Secret(secret.try_into().map_err(|_| StoreError::Corrupt("a secret has another length"))?),
        created_at: moment(created_at)?,
    })
}

pub(crate) async fn organisation(conn: &mut Conn<'_>, slug: &str) -> Result<OrganisationRow> {
    const SQL: &str = "SELECT id, slug, secret, created_at FROM organisation WHERE slug = $1";
    let row: Option<Row> = on!(conn, c => sqlx::query_as(SQL).bind(slug).fetch_optional(&mut **c).await?);
    organisation_row(row.ok_or(StoreError::NotFound)?)
}

pub(crate) async fn organisation_of(conn: &mut Conn<'_>, org: OrganisationId) -> Result<OrganisationRow> {
    const SQL: &str = "SELECT id, slug, secret, created_at FROM organisation WHERE id = $1";
    let row: Option<Row> = on!(conn, c => sqlx::query_as(SQL).bind(org.0).fetch_optional(&mut **c).await?);
    organisation_row(row.ok_or(StoreError::NotFound)?)
}

pub(crate) async fn organisations(conn: &mut Conn<'_>) -> Result<Vec<OrganisationRow>> {
    const SQL: &str = "SELECT id, slug, secret, created_at FROM organisation ORDER BY slug";
    let rows: Vec<Row> = on!(conn, c => sqlx::query_as(SQL).fetch_all(&mut **c).await?);
    rows.into_iter().map(organisation_row).collect()
}

pub(crate) async fn ends(conn: &mut Conn<'_>) -> Result<Vec<(OrganisationId, u64)>> {
    const SQL: &str = "SELECT org, last_seq FROM head ORDER BY org";
    let rows: Vec<(Uuid, i64)> = on!(conn, c => sqlx::query_as(SQL).fetch_all(&mut **c).await?);
    rows.into_iter().map(|(org, seq)| Ok((OrganisationId(org), count(seq)?))).collect()
}

pub(crate) async fn create(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    slug: &str,
    secret: &Secret,
    created_at: DateTime<Utc>,
) -> Result<()> {
    const ORGANISATION: &str = "INSERT INTO organisation (id, slug, secret, created_at) VALUES ($1, $2, $3, $4)";
    const HEAD: &str = "INSERT INTO head (org, hash, last_recorded_at) VALUES ($1, $2, 0)";
    let made: Result<()> = on!(conn, c => {
        sqlx::query(ORGANISATION)
            .bind(org.0)
            .bind(slug)
            .bind(&secret.0[..])
            .bind(micros(created_at))
            .execute(&mut **c)
            .await
            .map(drop)
            .map_err(StoreError::from)
    });
    made.map_err(|e| if is_duplicate(&e) { StoreError::SlugTaken } else { e })?;
    on!(conn, c => sqlx::query(HEAD).bind(org.0).bind(&GENESIS[..]).execute(&mut **c).await.map(drop)?);
    Ok(())
}

pub(crate) async fn head(conn: &mut Conn<'_>, org: OrganisationId) -> Result<Head> {
    const SQL: &str =
        "SELECT last_seq, hash, last_recorded_at, roster_version, next_arrival, next_member FROM head WHERE org = $1";
    let row: Option<(i64, Vec<u8>, i64, i64, i64, i64)> =
        on!(conn, c => sqlx::query_as(SQL).bind(org.0).fetch_optional(&mut **c).await?);
    let (last_seq, hash_bytes, at, roster_version, next_arrival, next_member) = row.ok_or(StoreError::NotFound)?;
    Ok(Head {
        last_seq: count(last_seq)?,
        hash: hash(hash_bytes)?,
        last_recorded_at: moment(at)?,
        roster_version: count(roster_version)?,
        next_arrival: count(next_arrival)?,
        next_member: number(next_member)?,
    })
}

pub(crate) async fn set_head(conn: &mut Conn<'_>, org: OrganisationId, head: &Head) -> Result<()> {
    const SQL: &str = "UPDATE head SET last_seq = $2, hash = $3, last_recorded_at = $4, roster_version = $5, \
        next_arrival = $6, next_member = $7 WHERE org = $1";
    on!(conn, c => {
        let query = sqlx::query(SQL).bind(org.0).bind(head.last_seq as i64).bind(&head.hash[..]);
        let query = query.bind(micros(head.last_recorded_at)).bind(head.roster_version as i64);
        query.bind(head.next_arrival as i64).bind(i64::from(head.next_member)).execute(&mut **c).await.map(drop)?
    });
    Ok(())
}

fn number(value: i64) -> Result<MemberNo> {
    MemberNo::try_from(value).map_err(|_| StoreError::Corrupt("a member's number is out of range"))
}

async fn counted(conn: &mut Conn<'_>, org: OrganisationId, sql: &'static str) -> Result<i64> {
    let row: Option<i64> = on!(conn, c => sqlx::query_scalar(sql).bind(org.0).fetch_optional(&mut **c).await?);
    row.ok_or(StoreError::NotFound)
}

pub(crate) async fn next_arrival(conn: &mut Conn<'_>, org: OrganisationId) -> Result<u64> {
    const SQL: &str = "UPDATE head SET next_arrival = next_arrival + 1 WHERE org = $1 RETURNING next_arrival - 1";
    count(counted(conn, org, SQL).await?)
}

pub(crate) async fn bump_roster_version(conn: &mut Conn<'_>, org: OrganisationId) -> Result<u64> {
    const SQL: &str = "UPDATE head SET roster_version = roster_version + 1 WHERE org = $1 RETURNING roster_version";
    count(counted(conn, org, SQL).await?)
}

pub(crate) async fn reserve_members(conn: &mut Conn<'_>, org: OrganisationId, n: u32) -> Result<MemberNo> {
    const SQL: &str = "UPDATE head SET next_member = next_member + $2 WHERE org = $1 RETURNING next_member";
    let next: Option<i64> =
        on!(conn, c => sqlx::query_scalar(SQL).bind(org.0).bind(i64::from(n)).fetch_optional(&mut **c).await?);
    let next = number(next.ok_or(StoreError::NotFound)?)?;
    next.checked_sub(n).ok_or(StoreError::Corrupt("a member's number is out of range"))
}
