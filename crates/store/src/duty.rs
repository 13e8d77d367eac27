//! Duties: what one process at a time does for all organisations, fenced by a token that only grows.

use std::time::Duration;

use chrono::Utc;

use crate::connect::{Conn, Store, on};
use crate::error::{Result, StoreError};
use crate::lease::end;
use crate::organisation::micros;

/// The right to do something for all organisations, until it ends or somebody takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// What is to be done.
    pub name: &'static str,
    /// Larger than every token before it.
    pub token: i64,
}

impl Store {
    /// Takes a duty, unless another has it and their time is not over.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn take_duty(&self, name: &'static str, holder: &str, ttl: Duration) -> Result<Option<Duty>> {
        const SQL: &str = "INSERT INTO duty (name, holder, token, expires_at) VALUES ($1, $2, 1, $3) \
            ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = duty.token + 1, \
            expires_at = excluded.expires_at WHERE duty.expires_at <= $4 RETURNING token";
        let mut writing = self.writing().await?;
        let token: Option<i64> = on!(writing.conn(), c => {
            let query = sqlx::query_scalar(SQL).bind(name).bind(holder).bind(end(ttl)).bind(micros(Utc::now()));
            query.fetch_optional(&mut *c).await?
        });
        writing.commit().await?;
        Ok(token.map(|token| Duty { name, token }))
    }

    /// Who has a duty, if their time is not over.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn duty_holder(&self, name: &str) -> Result<Option<String>> {
        const SQL: &str = "SELECT holder FROM duty WHERE name = $1 AND expires_at > $2";
        let mut reading = self.reading().await?;
        Ok(on!(reading.conn(), c => {
            sqlx::query_scalar(SQL).bind(name).bind(micros(Utc::now())).fetch_optional(&mut *c).await?
        }))
    }

    /// Ends the duty of a holder who is known to be dead.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn bury_duty(&self, name: &str, holder: &str) -> Result<()> {
        const SQL: &str = "UPDATE duty SET expires_at = 0 WHERE name = $1 AND holder = $2";
        let mut writing = self.writing().await?;
        on!(writing.conn(), c => sqlx::query(SQL).bind(name).bind(holder).execute(&mut *c).await.map(drop)?);
        writing.commit().await
    }

    /// Prolongs a duty; with no time at all it is left to others. The row stays, so that tokens only grow.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if somebody has taken over, or if the store refuses.
    pub async fn prolong_duty(&self, duty: &Duty, ttl: Duration) -> Result<()> {
        const SQL: &str = "UPDATE duty SET expires_at = $3 WHERE name = $1 AND token = $2";
        let mut writing = self.writing().await?;
        let rows = on!(writing.conn(), c => {
            sqlx::query(SQL).bind(duty.name).bind(duty.token).bind(end(ttl)).execute(&mut *c).await?.rows_affected()
        });
        writing.commit().await?;
        if rows == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }
}

/// Refuses if the token is no longer the current one, and keeps it current until the transaction ends (by holding the row).
pub(crate) async fn check(conn: &mut Conn<'_>, duty: &Duty) -> Result<()> {
    const SQL: &str = "UPDATE duty SET holder = holder WHERE name = $1 AND token = $2";
    let rows = on!(conn, c => {
        sqlx::query(SQL).bind(duty.name).bind(duty.token).execute(&mut **c).await?.rows_affected()
    });
    if rows == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
}
