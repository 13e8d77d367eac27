//! What an upload came to, as people and machines read it.

use muster_domain::{
    documents::Upload,
    event::{Body, StoredEvent},
    fact::{Counts, State},
    guard::Hold,
    ids::{ChangeSetId, UploadId},
};
use muster_intake::RowIssue;
use serde::Serialize;

use crate::{Engine, Organisation, Result, review::Approvals};

/// So many events are looked through at a time: each may hold a thousand changes.
const TOGETHER: u32 = 20;

/// What an upload came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The upload; none for one that was never accepted.
    pub upload_id: Option<UploadId>,
    /// Its change set, if it has one.
    pub change_set_id: Option<ChangeSetId>,
    /// What it came to.
    pub state: State,
    /// Digest of the changes, if there are any.
    pub digest: Option<String>,
    /// Counts of rows.
    pub counts: Counts,
    /// Guards that tripped.
    pub holds: Vec<Hold>,
    /// How far two people have approved it; says nothing where nobody did.
    #[serde(flatten, skip_serializing_if = "Approvals::is_empty")]
    pub approvals: Approvals,
    /// The first hundred row issues.
    pub issues: Vec<Issue>,
    /// What was assumed in reading the payload: its encoding, its sheet, where the header row is.
    pub read_as: Vec<String>,
    /// The version of the feed's saved mapping that it was read by; none if that is not known, or nothing was read.
    pub mapping_version: Option<u32>,
    /// The roster version now.
    pub roster_version: u64,
    /// The organisation's last event when this was done: who reads what projections make waits for it to see this.
    pub seq: u64,
}

/// A row issue as people and machines read it.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Issue {
    /// Line of the payload.
    pub line: u64,
    /// Column by header; empty for the whole row.
    pub column: String,
    /// What was read.
    pub value: String,
    /// Why it was refused and what to do.
    pub reason: String,
}

/// How many issues a report shows.
pub(crate) const SHOWN_ISSUES: usize = 100;
impl Engine {
    /// What an upload came to, as it stands now.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn report(&self, org: &Organisation, upload: &Upload) -> Result<Report> {
        let mut report = Report {
            upload_id: Some(upload.received.upload),
            change_set_id: upload.change_set,
            counts: upload.counts,
            ..self.nothing_yet(org, upload.state).await?
        };
        if let Some(id) = upload.change_set {
            let set = self.change_set(org, id).await?;
            report.approvals = Approvals::of(&set, &self.names(org.row.id, &set.deciders()).await?);
            report.digest = Some(set.digest);
            report.holds = set.holds;
            report.mapping_version = set.read_as.map(|read| read.mapping_version);
        }
        Ok(report)
    }

    /// The issues that are kept of an upload: those of its rows, or why nothing was taken from it. Lines about people who
    /// were forgotten are left out.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn issues(&self, org: &Organisation, upload: &Upload) -> Result<Vec<Issue>> {
        let event = match upload.change_set {
            Some(id) => {
                let row = self.store.change_set(org.row.id, id).await?;
                Some(self.store.event(org.row.id, row.created_seq).await?)
            }
            None => {
                let stream = format!("upload:{}", upload.received.upload);
                let events = self.store.stream_events(org.row.id, &stream).await?;
                let received = events.first().map_or(0, |e| e.meta.seq);
                match events.into_iter().rfind(|e| e.meta.kind == "upload.decided") {
                    None if upload.counts.invalid > 0 => self.computed_of(org, upload, received).await?,
                    decided => decided,
                }
            }
        };
        let body = event.and_then(|e| e.body).unwrap_or_default();
        body.iter().flatten().map(|line| Ok(serde_json::from_slice(line)?)).collect()
    }

    /// What was computed of an upload with bad rows that changed nothing: there is nothing in it to decide, so it is no
    /// document, and is found where it was recorded, soon behind the payload.
    async fn computed_of(&self, org: &Organisation, upload: &Upload, received: u64) -> Result<Option<StoredEvent>> {
        let mut after = received;
        loop {
            let events = self.store.events(org.row.id, after, TOGETHER).await?;
            let Some(last) = events.last() else { return Ok(None) };
            after = last.meta.seq;
            let of_it = |e: &StoredEvent| {
                e.meta.kind == "change_set.computed" && e.meta.correlation == upload.received.upload.0
            };
            if let Some(found) = events.into_iter().find(of_it) {
                return Ok(Some(found));
            }
        }
    }

    /// A report of which nothing is known but the state.
    pub(crate) async fn nothing_yet(&self, org: &Organisation, state: State) -> Result<Report> {
        let head = self.store.head(org.row.id).await?;
        Ok(Report {
            upload_id: None,
            change_set_id: None,
            state,
            digest: None,
            counts: Counts::default(),
            holds: Vec::new(),
            approvals: Approvals::default(),
            issues: Vec::new(),
            read_as: Vec::new(),
            mapping_version: None,
            roster_version: head.roster_version,
            seq: head.last_seq,
        })
    }
}

pub(crate) fn issue(issue: &RowIssue) -> Issue {
    Issue { line: issue.line, column: issue.column.clone(), value: issue.value.clone(), reason: issue.reason.clone() }
}

/// Row issues may hold personal data, so they are lines of the body. The first 10,000 are kept.
pub(crate) fn issue_body(issues: &[RowIssue]) -> Option<Body> {
    let issues: Vec<Issue> = issues.iter().take(10_000).map(issue).collect();
    issues_body(&issues)
}

pub(crate) fn issues_body(issues: &[Issue]) -> Option<Body> {
    let mut body = Body::default();
    for issue in issues {
        let mut salt = [0; 16];
        rand::Rng::fill_bytes(&mut rand::rng(), &mut salt);
        body.push(salt, &serde_json::to_vec(issue).unwrap_or_default());
    }
    (!body.is_empty()).then_some(body)
}
