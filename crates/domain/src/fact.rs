//! Facts: what each type of event says, without personal data. What is personal stands in the event's body.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    event::Meta,
    forgotten::{Block, Forgotten, PayloadsDestroyed},
    ids::{ChangeSetId, FeedNo, UploadId},
    second::ApprovalGiven,
    selection::Selection,
    settings::{FeedSettings, Settings},
};

mod said;

pub use said::{
    Applied, Baseline, Computed, Counts, EligibilityChange, FeedOverdue, HandsOver, Received, Refusal, Rejected, State,
};

/// Version of the form of facts and of body lines that this program writes.
pub const SCHEMA: u32 = 1;

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Fact {
    /// An organisation came into being. Stream `organisation`.
    #[serde(rename = "organisation.created")]
    OrganisationCreated {
        /// Its name in addresses.
        slug: String,
        /// Its settings.
        settings: Box<Settings>,
    },
    /// Settings changed; by value and as a whole.
    #[serde(rename = "organisation.settings_changed")]
    SettingsChanged {
        /// The settings from now on.
        settings: Box<Settings>,
        /// The keys that were set.
        changed: Vec<String>,
        /// What that did to who is eligible, if it could do anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        eligibility: Option<EligibilityChange>,
    },
    /// A feed came into being. Stream `feed:<no>`.
    #[serde(rename = "feed.created")]
    FeedCreated {
        /// Its number.
        no: FeedNo,
        /// Its settings.
        settings: Box<FeedSettings>,
    },
    /// A feed's settings changed; by value and as a whole.
    #[serde(rename = "feed.changed")]
    FeedChanged {
        /// Its number.
        no: FeedNo,
        /// The settings from now on.
        settings: Box<FeedSettings>,
    },
    /// A payload that a feed was expected to send has not come. Stream `feed:<no>`.
    #[serde(rename = "feed.overdue")]
    FeedOverdue(FeedOverdue),
    /// A feed is overdue no longer. Stream `feed:<no>`.
    #[serde(rename = "feed.recovered")]
    FeedRecovered {
        /// Its number.
        no: FeedNo,
        /// The run that had been missed.
        missed: DateTime<Utc>,
        /// The payload that came; none if the feed is expected at other times now, or not at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upload: Option<UploadId>,
    },
    /// A payload was stored. Stream `upload:<id>`. The body's first line holds the name of the file.
    #[serde(rename = "upload.received")]
    UploadReceived(Box<Received>),
    /// What an upload came to, where that is not told by its change set.
    #[serde(rename = "upload.decided")]
    UploadDecided {
        /// The upload.
        upload: UploadId,
        /// `no_changes` or `refused`.
        state: State,
        /// Counts of its rows.
        counts: Counts,
        /// The roster version that it was compared with.
        roster_version: u64,
        /// Why it was refused, if not for what is in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Refusal>,
    },
    /// Up to 1,000 changes of a change set: the lines of the body. Stream `change_set:<id>`.
    #[serde(rename = "change_set.chunk")]
    Chunk {
        /// The change set.
        change_set: ChangeSetId,
        /// The ordinal of the first change.
        first: u32,
        /// How many there are.
        count: u32,
    },
    /// A change set is complete. The body's lines are row issues.
    #[serde(rename = "change_set.computed")]
    Computed(Box<Computed>),
    /// The first of two people approved changes of a change set. The body's first line holds the reviewer's comment.
    #[serde(rename = "change_set.approval_given")]
    ApprovalGiven(Box<ApprovalGiven>),
    /// Changes of a change set were applied to the roster.
    #[serde(rename = "change_set.applied")]
    Applied(Box<Applied>),
    /// Changes of a change set were rejected. The body's first line holds the reviewer's comment.
    #[serde(rename = "change_set.rejected")]
    Rejected(Box<Rejected>),
    /// A newer complete payload of the feed took the change set's place.
    #[serde(rename = "change_set.superseded")]
    Superseded {
        /// The change set.
        change_set: ChangeSetId,
        /// The one in its place.
        by: UploadId,
    },
    /// The roster had moved on: changes that no longer hold dropped out.
    #[serde(rename = "change_set.rebased")]
    Rebased {
        /// The change set.
        change_set: ChangeSetId,
        /// Changes that are already so.
        already_so: Selection,
        /// Changes that contradict what happened since.
        conflicts: Selection,
        /// Changes in whose place another stands, because what they would do is no longer what they say; in the order
        /// of the first of the added ones.
        #[serde(default, skip_serializing_if = "Selection::is_empty")]
        revised: Selection,
        /// How many changes were added at the end of the change set; the chunks just before this hold them.
        #[serde(default, skip_serializing_if = "is_zero")]
        added: u32,
        /// The digest of what is left.
        digest: String,
        /// The roster version that it was compared with.
        roster_version: u64,
        /// What the change set has come to, if nothing of it is left to decide.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<State>,
    },
    /// Somebody was forgotten. Stream `organisation`. The body's first line holds the reason.
    #[serde(rename = "member.forgotten")]
    Forgotten(Box<Forgotten>),
    /// Somebody forgotten may come back. Stream `organisation`. The body's first line holds the reason.
    #[serde(rename = "member.block_lifted")]
    BlockLifted {
        /// The identifiers that are blocked no longer.
        blocked: Vec<Block>,
    },
    /// Originals of payloads were destroyed. Stream `organisation`.
    #[serde(rename = "payloads.destroyed")]
    PayloadsDestroyed(PayloadsDestroyed),
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Why an event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Its type or form is not known to this program.
    #[error("event {seq} of type {kind}, schema {schema}, cannot be read by this version of muster")]
    Form {
        /// Position.
        seq: u64,
        /// Type.
        kind: String,
        /// Schema version.
        schema: u32,
        /// What the reader of JSON said.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Parts {
    #[serde(rename = "type")]
    kind: String,
    data: Box<RawValue>,
}

impl Fact {
    /// The type's name and the JSON of its data.
    pub fn parts(&self) -> (String, Box<RawValue>) {
        // Facts hold only numbers, texts and lists of them: their JSON is always written and read back.
        let parts: Option<Parts> = serde_json::to_string(self).ok().and_then(|text| serde_json::from_str(&text).ok());
        match parts {
            Some(parts) => (parts.kind, parts.data),
            None => unreachable!("a fact always has JSON"),
        }
    }

    /// The fact that an event tells. Older schemas are brought up to the present one here, and only here.
    ///
    /// # Errors
    /// If the type or its form is unknown.
    pub fn read(meta: &Meta) -> Result<Fact, Unreadable> {
        let kind = serde_json::Value::from(meta.kind.as_str());
        let text = format!("{{\"type\":{kind},\"data\":{}}}", meta.data.get());
        serde_json::from_str(&text).map_err(|source| Unreadable::Form {
            seq: meta.seq,
            kind: meta.kind.clone(),
            schema: meta.schema,
            source,
        })
    }

    /// The stream that the fact belongs to.
    pub fn stream(&self) -> String {
        match self {
            Fact::OrganisationCreated { .. }
            | Fact::SettingsChanged { .. }
            | Fact::Forgotten(_)
            | Fact::BlockLifted { .. }
            | Fact::PayloadsDestroyed(_) => "organisation".to_owned(),
            Fact::FeedCreated { no, .. }
            | Fact::FeedChanged { no, .. }
            | Fact::FeedOverdue(FeedOverdue { no, .. })
            | Fact::FeedRecovered { no, .. } => format!("feed:{}", no.0),
            Fact::UploadReceived(r) => format!("upload:{}", r.upload),
            Fact::UploadDecided { upload, .. } => format!("upload:{upload}"),
            Fact::Chunk { change_set, .. } | Fact::Superseded { change_set, .. } | Fact::Rebased { change_set, .. } => {
                change_set.stream()
            }
            Fact::Computed(c) => c.change_set.stream(),
            Fact::ApprovalGiven(a) => a.change_set.stream(),
            Fact::Applied(a) => a.change_set.stream(),
            Fact::Rejected(r) => r.change_set.stream(),
        }
    }
}
