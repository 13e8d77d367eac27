//! Answers to requests that came with an idempotency key, so that a request that comes again gets the same answer.

use chrono::{DateTime, Utc};
use muster_domain::event::Hash;
use muster_domain::ids::OrganisationId;
use uuid::Uuid;

use super::Access;
use crate::connect::on;
use crate::error::{Result, StoreError};
use crate::organisation::micros;

/// The right to work on a request, until its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedAnswer {
    organisation: OrganisationId,
    key: String,
    request: String,
    claim: Uuid,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: it is the caller's to work on.
    New(ClaimedAnswer),
    /// Somebody is working on it.
    InFlight,
    /// It came before, with other content.
    OtherContent,
    /// It was answered.
    Given {
        /// The status.
        status: u16,
        /// The answer as it was given.
        body: Vec<u8>,
    },
}

impl Access {
    /// Claims a request until a moment, unless it is known. Of several at once one gets it.
    pub async fn claim_answer(
        &self,
        org: OrganisationId,
        key: &str,
        request: &str,
        content: &Hash,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Answer> {
        const CLAIM: &str = "INSERT INTO answer (org, key, request, content, claim, expires_at) \
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (org, key, request) DO UPDATE SET content = excluded.content, \
            claim = excluded.claim, status = NULL, body = NULL, expires_at = excluded.expires_at \
            WHERE answer.expires_at <= $7";
        const KNOWN: &str = "SELECT content, status, body FROM answer WHERE org = $1 AND key = $2 AND request = $3";
        type Known = (Vec<u8>, Option<i64>, Option<Vec<u8>>);
        let claim = Uuid::new_v4();
        let mut writing = self.writing().await?;
        let (claimed, known): (bool, Option<Known>) = on!(&mut writing.conn(), c => {
            let query = sqlx::query(CLAIM).bind(org.0).bind(key).bind(request).bind(&content[..]).bind(claim);
            let query = query.bind(micros(until)).bind(micros(now));
            let claimed = query.execute(&mut **c).await?.rows_affected() == 1;
            let query = sqlx::query_as(KNOWN).bind(org.0).bind(key).bind(request);
            (claimed, if claimed { None } else { query.fetch_optional(&mut **c).await? })
        });
        writing.commit().await?;
        Ok(match known {
            _ if claimed => {
                let (key, request) = (key.to_owned(), request.to_owned());
                Answer::New(ClaimedAnswer { organisation: org, key, request, claim })
            }
            // It was given up between the two statements.
            None => Answer::InFlight,
            Some((before, ..)) if before != content => Answer::OtherContent,
            Some((_, Some(status), body)) => Answer::Given {
                status: u16::try_from(status).map_err(|_| StoreError::Corrupt("a status is out of range"))?,
                body: body.unwrap_or_default(),
            },
            Some((_, None, _)) => Answer::InFlight,
        })
    }

    /// Prolongs a claim. `false` if it was lost to somebody else, or given up.
    pub async fn prolong_answer(&self, claimed: &ClaimedAnswer, until: DateTime<Utc>) -> Result<bool> {
        const SQL: &str = "UPDATE answer SET expires_at = $5 \
            WHERE org = $1 AND key = $2 AND request = $3 AND claim = $4 AND status IS NULL";
        let mut writing = self.writing().await?;
        let rows = on!(&mut writing.conn(), c => {
            let query = sqlx::query(SQL).bind(claimed.organisation.0).bind(&*claimed.key).bind(&*claimed.request);
            query.bind(claimed.claim).bind(micros(until)).execute(&mut **c).await?.rows_affected()
        });
        writing.commit().await?;
        Ok(rows == 1)
    }

    /// Keeps the answer to a request until a moment. `false` if the claim was lost to somebody else.
    pub async fn keep_answer(
        &self,
        claimed: &ClaimedAnswer,
        status: u16,
        body: &[u8],
        until: DateTime<Utc>,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE answer SET status = $5, body = $6, expires_at = $7 \
            WHERE org = $1 AND key = $2 AND request = $3 AND claim = $4 AND status IS NULL";
        let mut writing = self.writing().await?;
        let rows = on!(&mut writing.conn(), c => {
            let query = sqlx::query(SQL).bind(claimed.organisation.0).bind(&*claimed.key).bind(&*claimed.request);
            let query = query.bind(claimed.claim).bind(i64::from(status)).bind(body).bind(micros(until));
            query.execute(&mut **c).await?.rows_affected()
        });
        writing.commit().await?;
        Ok(rows == 1)
    }

    /// Gives a request up without an answer, so that it may come again at once.
    pub async fn drop_answer(&self, claimed: &ClaimedAnswer) -> Result<()> {
        const SQL: &str = "DELETE FROM answer \
            WHERE org = $1 AND key = $2 AND request = $3 AND claim = $4 AND status IS NULL";
        let mut writing = self.writing().await?;
        on!(&mut writing.conn(), c => {
            let query = sqlx::query(SQL).bind(claimed.organisation.0).bind(&*claimed.key).bind(&*claimed.request);
            query.bind(claimed.claim).execute(&mut **c).await?;
        });
        writing.commit().await
    }

    /// Deletes every answer that is kept of an organisation, and sees to it that none is kept of the requests that are worked
    /// on now: these stay claimed until their time is over. Says how many answers there were.
    pub async fn give_up_answers(&self, org: OrganisationId) -> Result<u64> {
        const KEPT: &str = "DELETE FROM answer WHERE org = $1 AND status IS NOT NULL";
        const WORKED_ON: &str = "UPDATE answer SET claim = $2 WHERE org = $1 AND status IS NULL";
        let nobodys = Uuid::new_v4();
        let mut writing = self.writing().await?;
        let rows = on!(&mut writing.conn(), c => {
            sqlx::query(WORKED_ON).bind(org.0).bind(nobodys).execute(&mut **c).await?;
            sqlx::query(KEPT).bind(org.0).execute(&mut **c).await?.rows_affected()
        });
        writing.commit().await?;
        Ok(rows)
    }

    /// Deletes what has been kept for long enough. Says how many.
    pub async fn forget_answers(&self, org: OrganisationId, now: DateTime<Utc>) -> Result<u64> {
        const SQL: &str = "DELETE FROM answer WHERE org = $1 AND expires_at <= $2";
        let mut writing = self.writing().await?;
        let rows = on!(&mut writing.conn(), c => {
            sqlx::query(SQL).bind(org.0).bind(micros(now)).execute(&mut **c).await?.rows_affected()
        });
        writing.commit().await?;
        Ok(rows)
    }
}
