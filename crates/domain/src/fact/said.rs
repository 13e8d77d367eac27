//! What facts say: the contents of those that say more than a name or two.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    guard::{Figures, Hold},
    ids::{ChangeSetId, Day, FeedNo, MemberNo, UploadId},
    liveness::Overdue,
    member::Reason,
    read_as::ReadAs,
    selection::Selection,
    settings::{Channel, Mode},
};

/// What a change of settings does to who is eligible on the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EligibilityChange {
    /// How many were eligible before.
    pub eligible: u64,
    /// How many stop being eligible.
    pub stop: u64,
    /// How many become eligible.
    pub start: u64,
    /// Whether a guard tripped, and somebody confirmed the number.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirmed: bool,
}

/// A payload that has not come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedOverdue {
    /// The feed's number.
    pub no: FeedNo,
    /// Which run it was, and when its grace was over.
    #[serde(flatten)]
    pub overdue: Overdue,
    /// The grace, in minutes.
    pub grace_minutes: u32,
    /// When the feed's last payload came that could be read, if ever one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_payload: Option<DateTime<Utc>>,
}

/// A payload as it arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Received {
    /// The upload.
    pub upload: UploadId,
    /// Arrival number in the organisation, from 1.
    pub arrival: u64,
    /// The feed it speaks for.
    pub feed: FeedNo,
    /// How it came.
    pub channel: Channel,
    /// What absence means in it.
    pub mode: Mode,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the bytes, hexadecimal.
    pub blake3: String,
    /// The day of arrival in the organisation's time zone.
    pub day: Day,
    /// `apply` or `hold`, where the caller asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<crate::guard::Asked>,
    /// The moment whose truth the payload tells, by the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
    /// How many rows there should be, by the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_rows: Option<u64>,
    /// `csv` or `tsv`, where it was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The sheet of a workbook, if the caller named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// Column names by field that hold for this payload alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mapping: BTreeMap<String, String>,
    /// Change sets that this one undoes, where it is an undo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undoes: Vec<ChangeSetId>,
    /// The feeds between which claims pass, where it is a handover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hands_over: Option<HandsOver>,
}

impl Received {
    /// An upload by hand, which has no payload; its arrival number is not given yet.
    pub fn by_hand(upload: UploadId, day: Day) -> Self {
        Received {
            upload,
            arrival: 0,
            feed: FeedNo::HAND,
            channel: Channel::Hand,
            mode: Mode::Partial,
            size: 0,
            blake3: String::new(),
            day,
            asked: None,
            as_of: None,
            expect_rows: None,
            format: None,
            sheet: None,
            mapping: BTreeMap::new(),
            undoes: Vec::new(),
            hands_over: None,
        }
    }
}

/// Between which feeds claims pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandsOver {
    /// The feed whose claims they were.
    pub from: FeedNo,
    /// The feed whose claims they are now.
    pub to: FeedNo,
}

/// A complete change set, not yet applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Computed {
    /// The change set.
    pub change_set: ChangeSetId,
    /// Where it came from.
    pub upload: UploadId,
    /// The feed it speaks for.
    pub feed: FeedNo,
    /// What absence meant.
    pub mode: Mode,
    /// How many changes its chunks hold.
    pub changes: u32,
    /// Changes that the payload does not prove.
    pub unproven: Selection,
    /// Counts of rows.
    pub counts: Counts,
    /// Every guard's figure.
    pub figures: Figures,
    /// The guards that tripped.
    pub holds: Vec<Hold>,
    /// Keyed hash of the changes' content, hexadecimal.
    pub digest: String,
    /// The policy that it was judged by.
    pub policy_version: u32,
    /// The roster version that it was compared with.
    pub roster_version: u64,
    /// What the next payload of the feed is measured against once this one is accepted.
    pub baseline: Baseline,
    /// What the upload comes to in the same breath: `held`, `no_changes`, or as the `applied` that follows says.
    pub state: State,
    /// What was assumed in reading the payload, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_as: Option<ReadAs>,
}

/// What a feed's payload looked like when it was last accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Rows.
    pub rows: u64,
    /// Header names.
    pub columns: Vec<String>,
    /// Whether its last row ended with a line break.
    #[serde(default)]
    pub line_break: bool,
    /// Rows with a value, by field name.
    pub filled: BTreeMap<String, u64>,
    /// The caller's `as_of`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
    /// BLAKE3 of the payload, hexadecimal.
    pub blake3: String,
    /// The mapping that read it.
    pub mapping_version: u32,
}

/// Changes that were applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// The change set.
    pub change_set: ChangeSetId,
    /// The changes, by ordinal.
    pub selection: Selection,
    /// Whose words they are.
    pub feed: FeedNo,
    /// The day in the organisation's time zone.
    pub day: Day,
    /// Why displaced words are no longer the roster's value.
    pub displaced: Reason,
    /// The number of the first person who was new to the organisation.
    pub first_no: MemberNo,
    /// How many were.
    pub new_members: u32,
    /// The changes that brought them, by ordinal: they have the numbers from `first_no` on, in order. Said here, so
    /// that everybody keeps their number when lines have been erased.
    #[serde(default, skip_serializing_if = "Selection::is_empty")]
    pub numbered: Selection,
    /// The roster version from now on.
    pub roster_version: u64,
    /// What the change set is now.
    pub state: State,
    /// The digest that was approved.
    pub digest: String,
    /// Whether a person approved it (and did not just policy).
    pub reviewed: bool,
    /// Fields that were left out of every one of these changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except_fields: Vec<String>,
    /// Changes of the selection of which such a field still waits.
    #[serde(default, skip_serializing_if = "Selection::is_empty")]
    pub unfinished: Selection,
    /// The digest from now on: that of what still waits or, where nothing does, another than it had; none if it stays as it was,
    /// since all of it was decided at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<String>,
    /// Who approved the same before, where two people had to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_approver: Option<String>,
    /// How many people it made ineligible, where a person approved it, or had it applied though policy holds it; none are told of
    /// what policy applied.
    #[serde(default, skip_serializing_if = "is_none")]
    pub removals: u64,
}

/// Changes that were rejected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// The change set.
    pub change_set: ChangeSetId,
    /// The changes, by ordinal.
    pub selection: Selection,
    /// Whether they are remembered, so as not to be proposed again; a change set rejected as wrong is not.
    pub remembered: bool,
    /// Whether the end of one claim among several, and the absence of whoever's key was to change, are remembered too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absences: bool,
    /// Whose words they are.
    pub feed: FeedNo,
    /// The day in the organisation's time zone.
    pub day: Day,
    /// The number of the first person noted as declined.
    pub first_no: MemberNo,
    /// How many were.
    pub new_members: u32,
    /// The changes by which they were, by ordinal.
    #[serde(default, skip_serializing_if = "Selection::is_empty")]
    pub numbered: Selection,
    /// What the change set is now.
    pub state: State,
    /// The digest from now on: that of what still waits or, where nothing does, another than it had; none if it stays as it was,
    /// since all of it was decided at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<String>,
}

/// Why an upload was refused, where that is not for what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Somebody gave it up before it was worked on: its payload could not be had any more.
    GivenUp,
}

/// What an upload or change set has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Stored, not yet worked on.
    Received,
    /// All of it is on the roster.
    Applied,
    /// Part of it is.
    PartlyApplied,
    /// It waits for a reviewer.
    Held,
    /// It would change nothing.
    NoChanges,
    /// Nothing was taken from it.
    Refused,
    /// A reviewer rejected it.
    Rejected,
    /// A newer payload took its place.
    Superseded,
    /// It was only tried.
    DryRun,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Received => "received",
            State::Applied => "applied",
            State::PartlyApplied => "partly_applied",
            State::Held => "held",
            State::NoChanges => "no_changes",
            State::Refused => "refused",
            State::Rejected => "rejected",
            State::Superseded => "superseded",
            State::DryRun => "dry_run",
        }
    }
}

/// Rows of a payload, each in exactly one count; `removed` counts members, who have no row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows read.
    pub rows: u64,
    /// People new to the roster.
    pub added: u64,
    /// Members with changed fields.
    pub updated: u64,
    /// Members who leave the roster.
    pub removed: u64,
    /// Former members who come back.
    pub reinstated: u64,
    /// Members whose match key changes.
    pub rekeyed: u64,
    /// Rows that say what the roster holds.
    pub unchanged: u64,
    /// Rows that differ from the roster and say nothing new.
    pub suppressed: u64,
    /// Rows from which nothing was taken.
    pub invalid: u64,
    /// Rows of people who were forgotten: nothing was taken from them either.
    #[serde(default, skip_serializing_if = "is_none")]
    pub forgotten: u64,
}

fn is_none(n: &u64) -> bool {
    *n == 0
}
