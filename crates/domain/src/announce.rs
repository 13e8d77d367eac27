//! Announcing: what other systems are told of what was applied, as CloudEvents 1.0. `docs/events.md` shows each kind.
//!
//! An announcement says who changed by identity and which fields by name. Match keys and values are in it only where the
//! organisation's setting `events.values` says so; nothing else that is personal ever is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    change::{Change, Kind, Named},
    event::{Body, Meta},
    fact::{Applied, EligibilityChange, Fact, State},
    ids::{ChangeSetId, FeedNo, MemberNo, UploadId},
    liveness::Overdue,
    settings::Settings,
};

/// How an event is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Not at all: nothing was applied by it.
    NotAtAll,
    /// By one message: see [`announce`].
    Once,
    /// By a message for each chunk of this change set: see [`announce_chunk`].
    ByChunk(ChangeSetId),
}

/// A message for other systems, and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// `<organisation>.<stream type>.<event type>`; the event type has two words, so there are four in all.
    pub routing_key: String,
    /// The message.
    pub message: Message,
}

/// A CloudEvent in its JSON form.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    specversion: &'static str,
    /// The same whenever the event is announced again, so that a receiver knows what it has seen.
    pub id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    time: DateTime<Utc>,
    subject: String,
    datacontenttype: &'static str,
    /// What happened.
    pub data: Data,
}

/// What a message tells, by the type of its event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Data {
    /// `change_set.applied`: a part of it.
    Applied(AppliedPart),
    /// `organisation.settings_changed`.
    SettingsChanged {
        /// Position in the organisation's log.
        seq: u64,
        /// The version of the settings from now on.
        settings_version: u32,
        /// The keys that were set.
        changed: Vec<String>,
        /// What that did to who is eligible, if it could do anything.
        #[serde(skip_serializing_if = "Option::is_none")]
        eligibility: Option<EligibilityChange>,
    },
    /// `feed.created` and `feed.changed`.
    Feed {
        /// Position in the organisation's log.
        seq: u64,
        /// The feed's number.
        feed: FeedNo,
        /// Its name from now on.
        name: String,
    },
    /// `feed.overdue`.
    Overdue {
        /// Position in the organisation's log.
        seq: u64,
        /// The feed's number.
        feed: FeedNo,
        /// The run that was missed, and when its grace was over.
        #[serde(flatten)]
        overdue: Overdue,
        /// The grace, in minutes.
        grace_minutes: u32,
        /// When the feed's last payload came that could be read.
        last_payload: Option<DateTime<Utc>>,
    },
    /// `feed.recovered`.
    Recovered {
        /// Position in the organisation's log.
        seq: u64,
        /// The feed's number.
        feed: FeedNo,
        /// The run that had been missed.
        missed: DateTime<Utc>,
        /// The payload that came; none if the feed is expected at other times now, or not at all.
        upload: Option<UploadId>,
    },
    /// `member.forgotten`.
    Forgotten {
        /// Position in the organisation's log.
        seq: u64,
        /// The members who were erased, by the `no` of their changes.
        members: Vec<MemberNo>,
        /// The roster version from now on.
        roster_version: u64,
    },
}

/// What was applied of one chunk of a change set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AppliedPart {
    /// Position in the organisation's log.
    pub seq: u64,
    /// The change set.
    pub change_set: ChangeSetId,
    /// What it has come to.
    pub state: State,
    /// The feed whose words they are.
    pub feed: FeedNo,
    /// The roster version from now on.
    pub roster_version: u64,
    /// The ordinal of the chunk's first change.
    pub first: u32,
    /// The changes.
    pub changes: Vec<AppliedChange>,
}

/// One member's part of what was applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AppliedChange {
    /// The member's identity.
    pub member: Uuid,
    /// The member's number, by which `member.forgotten` names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no: Option<MemberNo>,
    /// What happened.
    pub kind: Kind,
    /// The fields that have other values now, by name.
    pub fields: Vec<String>,
    /// Keys and values, where the organisation's setting says so.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub values: Option<Values>,
}

/// What is personal in a change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Values {
    /// The match key from now on.
    pub key: String,
    /// The match key before, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_key: Option<String>,
    /// Values before, of the fields that have others now; `null` is blank.
    pub before: BTreeMap<String, Option<String>>,
    /// Values from now on.
    pub after: BTreeMap<String, Option<String>>,
    /// The day from which it counts for eligibility, where that is not the day of application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_on: Option<String>,
}

/// Why a chunk cannot be announced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "change {ordinal} of change set {change_set} cannot be read, so it cannot be announced; `muster verify` tells more"
)]
pub struct UnreadableChange {
    /// The change set.
    pub change_set: ChangeSetId,
    /// Which change.
    pub ordinal: u32,
}

/// How an event is announced. What was proposed, rejected or is only about payloads is told to nobody.
pub fn how(fact: &Fact) -> How {
    match fact {
        Fact::Applied(applied) => How::ByChunk(applied.change_set),
        Fact::SettingsChanged { .. }
        | Fact::FeedCreated { .. }
        | Fact::FeedChanged { .. }
        | Fact::FeedOverdue(_)
        | Fact::FeedRecovered { .. }
        | Fact::Forgotten(_) => How::Once,
        Fact::OrganisationCreated { .. }
        | Fact::UploadReceived(_)
        | Fact::UploadDecided { .. }
        | Fact::Chunk { .. }
        | Fact::Computed(_)
        | Fact::ApprovalGiven(_)
        | Fact::Rejected(_)
        | Fact::Superseded { .. }
        | Fact::Rebased { .. }
        | Fact::BlockLifted { .. }
        | Fact::PayloadsDestroyed(_) => How::NotAtAll,
    }
}

/// Whether match keys and values go along: only if the setting stood so when the event was recorded, and still does.
/// So what was recorded before it was switched on is never told later, and nothing is told once it is off.
pub fn with_values(when_recorded: &Settings, now: &Settings) -> bool {
    when_recorded.events.values && now.events.values
}

/// The message of an event that is announced once; none for others.
pub fn announce(meta: &Meta, fact: &Fact) -> Option<Announcement> {
    let seq = meta.seq;
    let data = match fact {
        Fact::SettingsChanged { settings, changed, eligibility } => Data::SettingsChanged {
            seq,
            settings_version: settings.version,
            changed: changed.clone(),
            eligibility: *eligibility,
        },
        Fact::FeedCreated { no, settings } | Fact::FeedChanged { no, settings } => {
            Data::Feed { seq, feed: *no, name: settings.name.clone() }
        }
        Fact::FeedOverdue(o) => Data::Overdue {
            seq,
            feed: o.no,
            overdue: o.overdue,
            grace_minutes: o.grace_minutes,
            last_payload: o.last_payload,
        },
        Fact::FeedRecovered { no, missed, upload } => {
            Data::Recovered { seq, feed: *no, missed: *missed, upload: *upload }
        }
        Fact::Forgotten(f) => Data::Forgotten { seq, members: f.members.clone(), roster_version: f.roster_version },
        _ => return None,
    };
    Some(announcement(meta, String::new(), data))
}

/// The message of one chunk of a change set that was applied: the chunk's first ordinal and its lines. None if nothing
/// of the chunk was applied that anybody would see: changes left out, words that were only kept, people forgotten since.
///
/// # Errors
/// If a line is no change.
pub fn announce_chunk(
    meta: &Meta,
    applied: &Applied,
    (first, lines): (u32, &Body),
    with_values: bool,
) -> Result<Option<Announcement>, UnreadableChange> {
    let mut changes = Vec::new();
    for (ordinal, line) in (first..).zip(lines.iter()) {
        let Some(line) = line.filter(|_| applied.selection.contains(ordinal)) else { continue };
        let unreadable = |_| UnreadableChange { change_set: applied.change_set, ordinal };
        let change = Change::read(line).map_err(unreadable)?;
        let new = || applied.numbered.contains(ordinal).then(|| applied.first_no + applied.numbered.before(ordinal));
        changes.extend(told(&change, change.no.or_else(new), &applied.except_fields, with_values));
    }
    if changes.is_empty() {
        return Ok(None);
    }
    let part = AppliedPart {
        seq: meta.seq,
        change_set: applied.change_set,
        state: applied.state,
        feed: applied.feed,
        roster_version: applied.roster_version,
        first,
        changes,
    };
    Ok(Some(announcement(meta, format!("/{first}"), Data::Applied(part))))
}

fn told(change: &Change, no: Option<MemberNo>, except: &[String], with_values: bool) -> Option<AppliedChange> {
    let took = |field: &str| !except.iter().any(|e| e == field);
    let fields: Vec<String> = change.to.iter().map(|(f, _)| f.to_string()).filter(|f| took(f)).collect();
    // What changes nothing that people see, and what a reviewer left nothing of.
    if change.kind.is_silent() || (change.kind == Kind::Update && fields.is_empty() && !change.to.is_empty()) {
        return None;
    }
    let of = |named: &Named| -> BTreeMap<String, Option<String>> {
        let kept = named.iter().filter(|(field, _)| took(field));
        kept.map(|(field, value)| (field.to_string(), value.as_deref().map(str::to_owned))).collect()
    };
    let values = with_values.then(|| Values {
        key: change.key.to_string(),
        old_key: change.old_key.as_deref().map(str::to_owned),
        before: of(&change.from),
        after: of(&change.to),
        effective_on: change.effective_on.as_deref().map(str::to_owned),
    });
    Some(AppliedChange { member: change.member, no, kind: change.kind, fields, values })
}

fn announcement(meta: &Meta, part: String, data: Data) -> Announcement {
    let stream = meta.stream.split(':').next().unwrap_or_default();
    Announcement {
        routing_key: format!("{}.{stream}.{}", meta.organisation, meta.kind),
        message: Message {
            specversion: "1.0",
            id: format!("{}/{}{part}", meta.organisation, meta.seq),
            source: format!("/muster/organisations/{}", meta.organisation),
            kind: format!("muster.{}", meta.kind),
            time: meta.recorded_at,
            subject: meta.stream.clone(),
            datacontenttype: "application/json",
            data,
        },
    }
}

#[cfg(test)]
mod tests;
