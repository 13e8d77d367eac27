//! What a relay and workers ask of all organisations: who has something new, and how far it was told.

use muster_domain::ids::OrganisationId;

use crate::connect::{Store, on};
use crate::duty::Duty;
use crate::error::Result;
use crate::organisation::{OrganisationRow, count, organisation_row};

/// An organisation whose log goes further than was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold {
    /// The organisation.
    pub organisation: OrganisationId,
    /// Up to where it was told.
    pub told: u64,
    /// Its last event.
    pub last_seq: u64,
}

/// Up to where an organisation's log was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The organisation.
    pub organisation: OrganisationId,
    /// The last event that was told, or that had nothing to tell.
    pub seq: u64,
}

impl Store {
    /// Answers if the database does.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<()> {
        let mut reading = self.reading().await?;
        let _: i32 = on!(reading.conn(), c => sqlx::query_scalar("SELECT 1").fetch_one(&mut *c).await?);
        Ok(())
    }

    /// The last events of organisations, of those whose log goes further than was told to this target; some at a time.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn untold(&self, target: &str) -> Result<Vec<Untold>> {
        const SQL: &str = "SELECT h.org, coalesce(m.seq, 0), h.last_seq FROM head h \
            LEFT JOIN relay_mark m ON m.org = h.org AND m.target = $1 WHERE h.last_seq > coalesce(m.seq, 0) \
            ORDER BY h.org LIMIT 1000";
        let mut reading = self.reading().await?;
        let rows: Vec<(uuid::Uuid, i64, i64)> =
            on!(reading.conn(), c => sqlx::query_as(SQL).bind(target).fetch_all(&mut *c).await?);
        untold(rows)
    }

    /// Notes what was told; a mark never goes back. Several relays may do so at once, so they all take the rows in the
    /// order of [`untold`](Self::untold). Where telling is a duty, it must still be that of whoever notes it.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`](crate::StoreError::LeaseLost) if somebody has taken the duty over, or if the store refuses.
    pub async fn mark_told(&self, target: &str, told: &[Told], duty: Option<&Duty>) -> Result<()> {
        const SQL: &str = "INSERT INTO relay_mark (org, target, seq) VALUES ($1, $2, $3) \
            ON CONFLICT (org, target) DO UPDATE SET seq = excluded.seq WHERE relay_mark.seq < excluded.seq";
        let mut writing = self.writing().await?;
        if let Some(duty) = duty {
            crate::duty::check(&mut writing.conn(), duty).await?;
        }
        for Told { organisation, seq } in told {
            on!(writing.conn(), c => {
                let query = sqlx::query(SQL).bind(organisation.0).bind(target).bind(*seq as i64);
                query.execute(&mut *c).await.map(drop)?
            });
        }
        writing.commit().await
    }

    /// Organisations of which an upload is in a state.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn organisations_with_upload_in(&self, state: &str) -> Result<Vec<OrganisationId>> {
        const SQL: &str = "SELECT o.id FROM organisation o \
            WHERE EXISTS (SELECT 1 FROM upload u WHERE u.org = o.id AND u.state = $1)";
        let mut reading = self.reading().await?;
        let ids: Vec<uuid::Uuid> =
            on!(reading.conn(), c => sqlx::query_scalar(SQL).bind(state).fetch_all(&mut *c).await?);
        Ok(ids.into_iter().map(OrganisationId).collect())
    }

    /// One organisation; [`StoreError::NotFound`](crate::StoreError::NotFound) if there is none.
    ///
    /// # Errors
    /// If there is none, or the store cannot be read.
    pub async fn organisation_by_id(&self, id: OrganisationId) -> Result<OrganisationRow> {
        const SQL: &str = "SELECT id, slug, secret, created_at FROM organisation WHERE id = $1";
        let mut reading = self.reading().await?;
        organisation_row(on!(reading.conn(), c => sqlx::query_as(SQL).bind(id.0).fetch_one(&mut *c).await?))
    }
}

fn untold(rows: Vec<(uuid::Uuid, i64, i64)>) -> Result<Vec<Untold>> {
    let row = |(id, told, last_seq)| {
        Ok(Untold { organisation: OrganisationId(id), told: count(told)?, last_seq: count(last_seq)? })
    };
    rows.into_iter().map(row).collect()
}
