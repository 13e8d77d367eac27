//! Activity: who did what in an organisation, in words, newest first.

use std::collections::BTreeMap;

use muster_domain::{
    activity::{Activity, Known, about, tell},
    documents::{ChangeSet, Upload},
    fact::Fact,
    ids::{ChangeSetId, FeedNo, OrganisationId, UploadId},
};
use muster_store::read_model::{Part, Range};
use serde::Serialize;

use super::{Event, Projection, Rows, Taking, document, number, number_of, reading::Wait};
use crate::{Engine, Result};

/// What happened, by the event's number.
const TOLD: Part = 0;
/// Names of feeds.
const FEEDS: Part = 1;
/// Uploads, as they were received.
const UPLOADS: Part = 2;
/// Change sets, as they were worked out.
const CHANGE_SETS: Part = 3;

/// See the module.
pub struct Activities;

impl Projection for Activities {
    fn name(&self) -> &'static str {
        "activity"
    }

    fn version(&self) -> u32 {
        1
    }

    fn wants(&self, kind: &str) -> bool {
        kind != "change_set.chunk"
    }

    fn take<'a>(&'a self, event: &'a Event, rows: &'a mut Rows) -> Taking<'a> {
        Box::pin(async move {
            note(event, rows).await?;
            let about = about(&event.fact);
            let set = match about.change_set {
                Some(id) => change_set(rows, id).await?,
                None => None,
            };
            let upload = match about.upload.or(set.as_ref().map(|s| s.upload)) {
                Some(id) => rows.document::<Upload>(UPLOADS, id.0.as_bytes()).await?,
                None => None,
            };
            let feeds: BTreeMap<FeedNo, String> = feeds(rows).await?;
            let known = Known { feeds: Some(&feeds), upload: upload.as_ref(), change_set: set.as_ref() };
            match tell(&event.meta, &event.fact, &known) {
                Some(told) => rows.put_document(TOLD, number(told.seq), &told),
                None => Ok(()),
            }
        })
    }
}

/// Keeps what later sentences need to know.
async fn note(event: &Event, rows: &mut Rows) -> Result<()> {
    match &event.fact {
        Fact::FeedCreated { no, settings } | Fact::FeedChanged { no, settings } => {
            rows.put_document(FEEDS, number(no.0.into()), &settings.name)
        }
        Fact::UploadReceived(received) => {
            let upload = Upload::new((**received).clone(), &event.meta);
            rows.put_document(UPLOADS, id(received.upload), &upload)
        }
        Fact::Computed(computed) => {
            let Some(upload) = rows.document::<Upload>(UPLOADS, computed.upload.0.as_bytes()).await? else {
                return Ok(());
            };
            let set = ChangeSet::new(computed, &upload.received, event.meta.recorded_at);
            rows.put_document(CHANGE_SETS, computed.change_set.0.as_bytes().to_vec(), &set)
        }
        Fact::Rebased { change_set: id, .. } => {
            let Some(mut set) = change_set(rows, *id).await? else { return Ok(()) };
            set.take_rebased(&event.fact);
            rows.put_document(CHANGE_SETS, id.0.as_bytes().to_vec(), &set)
        }
        _ => Ok(()),
    }
}

fn id(upload: UploadId) -> Vec<u8> {
    upload.0.as_bytes().to_vec()
}

async fn change_set(rows: &mut Rows, id: ChangeSetId) -> Result<Option<ChangeSet>> {
    rows.document(CHANGE_SETS, id.0.as_bytes()).await
}

async fn feeds(rows: &mut Rows) -> Result<BTreeMap<FeedNo, String>> {
    let mut names = BTreeMap::new();
    for (key, name) in rows.range(FEEDS, &[], None).await? {
        let no = number_of(&key).and_then(|no| u16::try_from(no).ok());
        names.extend(no.map(FeedNo).zip(document(&name).ok()));
    }
    Ok(names)
}

/// A page of an organisation's activity.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The event up to which this reflects the log.
    pub seq: u64,
    /// What happened, newest first.
    pub activity: Vec<Activity>,
    /// Where the next page begins: what stands before this event. None after the last.
    pub before: Option<u64>,
}

impl Engine {
    /// What happened in an organisation, newest first, before an event or up to the last.
    ///
    /// # Errors
    /// If it cannot be read, or does not reflect what it must.
    pub async fn activity(&self, org: OrganisationId, before: Option<u64>, limit: u32, wait: Wait) -> Result<Page> {
        let mut model = self.read_model(org, &Activities, wait).await?;
        let which = Range { from: Vec::new(), to: before.map(number), backwards: true, limit: limit.saturating_add(1) };
        let mut rows = model.range(TOLD, &which).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let mut activity = rows.iter().map(|(_, row)| document(row)).collect::<Result<Vec<Activity>>>()?;
        let actors: Vec<&str> = activity.iter().map(|told| told.actor.as_str()).collect();
        let names = self.names(org, &actors).await?;
        for told in &mut activity {
            // Whoever did it is the first that a sentence says, if it says so at all.
            if let (Some(name), Some(rest)) = (names.known(&told.actor), told.sentence.strip_prefix(&told.actor)) {
                told.sentence = format!("{name}{rest}");
            }
        }
        let last = rows.last().and_then(|(key, _)| number_of(key));
        Ok(Page { seq: model.lane.seq, activity, before: last.filter(|_| more) })
    }
}
