//! The epoch: which life of the database this is. A restored one begins another, as its log may go another way from there.

use chrono::Utc;
use uuid::Uuid;

use crate::connect::{Store, on};
use crate::error::{Result, StoreError};
use crate::organisation::micros;

impl Store {
    /// The epoch of the database.
    pub async fn epoch(&self) -> Result<Uuid> {
        const SQL: &str = "SELECT id FROM epoch";
        let mut reading = self.reading().await?;
        let id: Option<Uuid> = on!(&mut reading.conn(), c => sqlx::query_scalar(SQL).fetch_optional(&mut **c).await?);
        id.ok_or(StoreError::Corrupt("the database has no epoch"))
    }

    /// Begins a new epoch, and ends all leases: who held one did so in another life of the database.
    pub async fn new_epoch(&self) -> Result<Uuid> {
        const SET: &str = "UPDATE epoch SET id = $1, began_at = $2";
        const FREE: &str = "UPDATE lease SET expires_at = 0";
        let id = Uuid::new_v4();
        let mut writing = self.writing().await?;
        on!(&mut writing.conn(), c => {
            sqlx::query(SET).bind(id).bind(micros(Utc::now())).execute(&mut **c).await?;
            sqlx::query(FREE).execute(&mut **c).await?;
        });
        writing.commit().await?;
        Ok(id)
    }
}
