//! Retention: originals of payloads are kept for so many days and then destroyed. What they said stays in the log.

use chrono::{DateTime, Duration, Utc};
use muster_domain::{forgotten::Why, ids::UploadId};
use muster_store::Lease;
use serde::Serialize;
use uuid::Uuid;

use crate::{Engine, Organisation, Result, crash, originals::is_done};

/// What a run came to, of one organisation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retained {
    /// The organisation.
    pub organisation: String,
    /// For how many days originals are kept; none: for ever.
    pub keep_days: Option<u32>,
    /// Originals destroyed now.
    pub destroyed: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files removed that an earlier run, or forgetting somebody, had left behind, or that no upload speaks of.
    pub leftovers: u64,
    /// Originals that are old enough and whose upload still waits for somebody.
    pub waiting: u64,
    /// Originals that are there afterwards.
    pub kept: u64,
    /// Entries of the log of reads that were older than 90 days.
    pub reads_forgotten: u64,
    /// The organisation's last event when this was done: who reads what projections make waits for it to see this.
    pub seq: u64,
}

impl Engine {
    /// Destroys the originals of an organisation that are old enough; with `dry_run` only says which.
    ///
    /// # Errors
    /// If the store refuses or a file cannot be removed; running it again finishes.
    pub async fn run_retention(&self, slug: &str, dry_run: bool, now: DateTime<Utc>) -> Result<Retained> {
        let org = self.organisation(slug).await?;
        // Beside the main database, so without its lease.
        let reads_forgotten = match dry_run {
            true => self.access_entries_due(org.row.id, now).await?,
            false => self.tidy_access(org.row.id, now).await?.entries,
        };
        let mut report = if dry_run {
            self.due(&org, now).await?.0
        } else {
            let lease = self.lease(org.row.id).await?;
            let outcome = self.retain(&lease, slug, now).await;
            self.give_back(&lease, outcome).await?
        };
        report.reads_forgotten = reads_forgotten;
        report.seq = self.store.head(org.row.id).await?.last_seq;
        Ok(report)
    }

    async fn retain(&self, lease: &Lease, slug: &str, now: DateTime<Utc>) -> Result<Retained> {
        let org = self.organisation(slug).await?;
        // What an earlier process accepted is worked on before its original may go.
        self.finish_pending(lease, &org.row, None).await?;
        let (mut report, due) = self.due(&org, now).await?;
        let (destroyed, strays) = self.remove_destroyed(&org).await?;
        report.leftovers = destroyed + strays;
        if !due.is_empty() {
            let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
            self.note_destroyed(&mut tx, &due, Why::Retention, &self.who(Uuid::now_v7())).await?;
            crash::point("retention_before_commit");
            tx.commit().await?;
            crash::point("retention_after_commit");
            self.remove_destroyed(&org).await?;
        }
        Ok(report)
    }

    /// The originals that are to go, and what the report says of them.
    async fn due(&self, org: &Organisation, now: DateTime<Utc>) -> Result<(Retained, Vec<UploadId>)> {
        let keep_days = org.settings.payloads.keep_days;
        let mut report = Retained { organisation: org.row.slug.clone(), keep_days, ..Retained::default() };
        let originals = self.originals(org).await?;
        report.kept = originals.len() as u64;
        let Some(days) = keep_days else { return Ok((report, Vec::new())) };
        let before = now - Duration::days(days.into());
        let mut due = Vec::new();
        for upload in originals.iter().filter(|u| u.received_at < before) {
            if is_done(upload) {
                due.push(upload.received.upload);
                report.bytes += upload.received.size;
            } else {
                report.waiting += 1;
            }
        }
        report.destroyed = due.len() as u64;
        report.kept -= report.destroyed;
        Ok((report, due))
    }
}
