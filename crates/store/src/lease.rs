//! Leases: one worker an organisation, fenced by a token that only grows.

use std::time::Duration;

use chrono::Utc;
use muster_domain::ids::OrganisationId;

use crate::connect::{Conn, on};
use crate::error::{Result, StoreError};
use crate::organisation::micros;

/// The right to work on an organisation, until it ends or somebody takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The organisation.
    pub organisation: OrganisationId,
    /// Larger than every token before it.
    pub token: i64,
}

pub(crate) fn end(ttl: Duration) -> i64 {
    micros(Utc::now()).saturating_add(i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX))
}

/// Takes the lease, unless another holds it and its time is not over.
pub(crate) async fn acquire(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    holder: &str,
    ttl: Duration,
) -> Result<Option<Lease>> {
    const SQL: &str = "INSERT INTO lease (org, holder, token, expires_at) VALUES ($1, $2, 1, $3) \
        ON CONFLICT (org) DO UPDATE SET holder = excluded.holder, token = lease.token + 1, expires_at = excluded.expires_at \
        WHERE lease.expires_at <= $4 RETURNING token";
    let token: Option<i64> = on!(conn, c => {
        let query = sqlx::query_scalar(SQL).bind(org.0).bind(holder).bind(end(ttl)).bind(micros(Utc::now()));
        query.fetch_optional(&mut **c).await?
    });
    Ok(token.map(|token| Lease { organisation: org, token }))
}

/// Who holds the lease, if its time is not over.
pub(crate) async fn holder(conn: &mut Conn<'_>, org: OrganisationId) -> Result<Option<String>> {
    const SQL: &str = "SELECT holder FROM lease WHERE org = $1 AND expires_at > $2";
    Ok(on!(conn, c => {
        sqlx::query_scalar(SQL).bind(org.0).bind(micros(Utc::now())).fetch_optional(&mut **c).await?
    }))
}

/// Ends the lease of a holder who is known to be dead.
pub(crate) async fn bury(conn: &mut Conn<'_>, org: OrganisationId, holder: &str) -> Result<()> {
    const SQL: &str = "UPDATE lease SET expires_at = 0 WHERE org = $1 AND holder = $2";
    on!(conn, c => {
        sqlx::query(SQL).bind(org.0).bind(holder).execute(&mut **c).await?;
    });
    Ok(())
}

/// Prolongs the lease. It may have run out, as long as nobody has taken it.
pub(crate) async fn renew(conn: &mut Conn<'_>, lease: &Lease, ttl: Duration) -> Result<()> {
    set_end(conn, lease, end(ttl)).await
}

/// Gives the lease back; the row stays, so that tokens only grow.
pub(crate) async fn release(conn: &mut Conn<'_>, lease: &Lease) -> Result<()> {
    match set_end(conn, lease, 0).await {
        Err(StoreError::LeaseLost) => Ok(()),
        outcome => outcome,
    }
}

async fn set_end(conn: &mut Conn<'_>, lease: &Lease, at: i64) -> Result<()> {
    const SQL: &str = "UPDATE lease SET expires_at = $3 WHERE org = $1 AND token = $2";
    let query = on!(conn, c => {
        let query = sqlx::query(SQL).bind(lease.organisation.0).bind(lease.token).bind(at);
        query.execute(&mut **c).await?.rows_affected()
    });
    if query == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

/// Refuses if the token is no longer the current one, and keeps it current until the transaction ends (by holding the row).
pub(crate) async fn check(conn: &mut Conn<'_>, lease: &Lease) -> Result<()> {
    const SQL: &str = "UPDATE lease SET holder = holder WHERE org = $1 AND token = $2";
    let rows = on!(conn, c => {
        sqlx::query(SQL).bind(lease.organisation.0).bind(lease.token).execute(&mut **c).await?.rows_affected()
    });
    if rows == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}

/// Whether the token is the current one, at this moment.
pub(crate) async fn is_current(conn: &mut Conn<'_>, lease: &Lease) -> Result<bool> {
    const SQL: &str = "SELECT token FROM lease WHERE org = $1";
    let token: Option<i64> =
        on!(conn, c => sqlx::query_scalar(SQL).bind(lease.organisation.0).fetch_optional(&mut **c).await?);
    Ok(token == Some(lease.token))
}
