//! Documents: what the log says of one feed, one upload and one change set, folded. The store keeps them as JSON
//! beside the events that made them; `verify` folds them again and compares.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    event::Meta,
    fact::{Applied, Baseline, Computed, Counts, Fact, HandsOver, Received, Rejected, State},
    forgotten::Destroyed,
    guard::{Figures, Hold},
    ids::{ChangeSetId, FeedNo, UploadId},
    liveness::Overdue,
    read_as::ReadAs,
    second::{ApprovedAlone, FirstApproval, takes_first_back},
    selection::Selection,
    settings::{Channel, FeedSettings, Mode},
};

/// A feed: its settings and what it was last known to send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// Its number.
    pub no: FeedNo,
    /// Its settings.
    pub settings: FeedSettings,
    /// Running claims.
    #[serde(default)]
    pub claims: u64,
    /// What the last accepted full payload looked like.
    #[serde(default)]
    pub baseline: Option<Baseline>,
    /// The last payload that was decided, as long as nothing of the feed was undone since.
    #[serde(default)]
    pub decided: Option<Decided>,
    /// The arrival number and time of the last payload that was read.
    #[serde(default)]
    pub last_arrival: Option<(u64, DateTime<Utc>)>,
    /// Since when its payload is expected at these times, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_since: Option<DateTime<Utc>>,
    /// The payload that is overdue, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Overdue>,
}

/// A decided payload, to know an identical one by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// BLAKE3 of the payload, hexadecimal.
    pub blake3: String,
    /// The mapping that read it.
    pub mapping_version: u32,
    /// What absence meant.
    pub mode: Mode,
    /// Where it came from.
    pub upload: UploadId,
}

impl Feed {
    /// A feed that has sent nothing yet, and was created then.
    pub fn new(no: FeedNo, settings: FeedSettings, at: DateTime<Utc>) -> Self {
        let mut feed = Feed {
            no,
            settings: FeedSettings::default(),
            claims: 0,
            baseline: None,
            decided: None,
            last_arrival: None,
            expected_since: None,
            overdue: None,
        };
        feed.take_settings(settings, at);
        feed
    }

    /// The feed's settings are these from then on. Runs are expected from the moment on at which their times were set.
    pub fn take_settings(&mut self, settings: FeedSettings, at: DateTime<Utc>) {
        let times = |s: &FeedSettings| (s.expected.clone(), s.expected_timezone.clone());
        if times(&settings) != times(&self.settings) {
            self.expected_since = settings.expected.is_some().then_some(at);
        }
        self.settings = settings;
    }
}

impl Feed {
    /// A decided payload is what the feed's next one is measured against.
    pub fn accept(&mut self, received: &Received, baseline: &Baseline) {
        if received.mode == Mode::Full {
            self.baseline = Some(baseline.clone());
        } else if let Some(before) = &mut self.baseline {
            before.filled.clone_from(&baseline.filled);
        }
        self.decided = received.mapping.is_empty().then(|| Decided {
            blake3: received.blake3.clone(),
            mapping_version: baseline.mapping_version,
            mode: received.mode,
            upload: received.upload,
        });
    }
}

/// An upload and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    /// As it arrived.
    pub received: Received,
    /// When.
    pub received_at: DateTime<Utc>,
    /// Who sent it.
    pub actor: String,
    /// What it has come to.
    pub state: State,
    /// Its change set, if it has one.
    #[serde(default)]
    pub change_set: Option<ChangeSetId>,
    /// Counts of its rows.
    #[serde(default)]
    pub counts: Counts,
    /// When and why its original was destroyed, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed: Option<Destroyed>,
}

/// For how long whoever sends the same again with the same idempotency key gets the same answer. After that the key is free.
pub const ANSWERS_KEPT: TimeDelta = TimeDelta::hours(24);

impl Upload {
    /// Whether the idempotency key that it came with is still its own.
    pub fn keeps_its_key(&self, now: DateTime<Utc>) -> bool {
        now - self.received_at < ANSWERS_KEPT
    }

    /// An upload as `upload.received` tells it.
    pub fn new(received: Received, meta: &Meta) -> Self {
        Upload {
            received,
            received_at: meta.recorded_at,
            actor: meta.actor.clone(),
            state: State::Received,
            change_set: None,
            counts: Counts::default(),
            destroyed: None,
        }
    }
}

/// A change set and how far it is decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeSet {
    /// Its id.
    pub id: ChangeSetId,
    /// Where it came from.
    pub upload: UploadId,
    /// The feed it speaks for.
    pub feed: FeedNo,
    /// How the upload came.
    pub channel: Channel,
    /// What absence meant.
    pub mode: Mode,
    /// What it has come to.
    pub state: State,
    /// How many changes it has.
    pub changes: u32,
    /// Those that the payload does not prove.
    pub unproven: Selection,
    /// Counts of rows.
    pub counts: Counts,
    /// Figures of the guards.
    pub figures: Figures,
    /// Guards that tripped.
    pub holds: Vec<Hold>,
    /// Digest of the changes that wait.
    pub digest: String,
    /// The policy that it was judged by.
    pub policy_version: u32,
    /// The roster version that it was last compared with.
    pub roster_version: u64,
    /// The sequence of the event that completed it.
    pub created_seq: u64,
    /// When it was computed.
    pub computed_at: DateTime<Utc>,
    /// Ordinals applied.
    pub applied: Selection,
    /// Ordinals rejected.
    pub rejected: Selection,
    /// Ordinals that no longer held when the roster had moved on.
    pub dropped: Selection,
    /// What the feed is measured by once this is accepted.
    pub baseline: Baseline,
    /// What was assumed in reading the payload, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_as: Option<ReadAs>,
    /// The change sets that this one undoes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undoes: Vec<ChangeSetId>,
    /// The feeds between which it moves claims, where it is a handover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hands_over: Option<HandsOver>,
    /// Who decided last, if somebody did.
    #[serde(default)]
    pub decided_by: Option<String>,
    /// The first of two approvals: it waits for the second, or was followed by it when something was applied last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_approval: Option<Box<FirstApproval>>,
    /// What one person alone let through that made people ineligible, approving or having it applied, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alone: Vec<ApprovedAlone>,
}

impl ChangeSet {
    /// How many people it made ineligible who count for the guard on removals for a day: what single deletes and payloads that
    /// speak of a few take off adds up. A full payload is judged by itself, and an undo only takes back.
    pub fn removals_that_add_up(&self) -> u64 {
        let adds_up = self.feed == FeedNo::HAND || self.mode != Mode::Full;
        let applied = matches!(self.state, State::Applied | State::PartlyApplied);
        if adds_up && applied && self.undoes.is_empty() { self.figures.removals } else { 0 }
    }

    /// Whether an approval must say how many people it makes ineligible: the guard on removals tripped.
    pub fn asks_for_removals(&self) -> bool {
        self.holds.iter().any(|hold| hold.counts_removals())
    }

    /// A change set as `change_set.computed` tells it.
    pub fn new(computed: &Computed, upload: &Received, computed_at: DateTime<Utc>) -> Self {
        ChangeSet {
            id: computed.change_set,
            upload: computed.upload,
            feed: computed.feed,
            channel: upload.channel,
            mode: computed.mode,
            state: computed.state,
            changes: computed.changes,
            unproven: computed.unproven.clone(),
            counts: computed.counts,
            figures: computed.figures.clone(),
            holds: computed.holds.clone(),
            digest: computed.digest.clone(),
            policy_version: computed.policy_version,
            roster_version: computed.roster_version,
            computed_at,
            created_seq: 0,
            applied: Selection::default(),
            rejected: Selection::default(),
            dropped: Selection::default(),
            baseline: computed.baseline.clone(),
            read_as: computed.read_as.clone(),
            undoes: upload.undoes.clone(),
            hands_over: upload.hands_over,
            decided_by: None,
            first_approval: None,
            alone: Vec::new(),
        }
    }

    /// The changes that nobody has decided.
    pub fn waiting(&self) -> Selection {
        let decided = self.applied.union(&self.rejected).union(&self.dropped);
        if decided.is_empty() { Selection::all(self.changes) } else { Selection::all(self.changes).minus(&decided) }
    }

    /// Whether something of it is to be decided.
    pub fn is_undecided(&self) -> bool {
        matches!(self.state, State::Held | State::PartlyApplied) && !self.waiting().is_empty()
    }

    /// Folds what was applied, and when.
    pub fn take_applied(&mut self, applied: &Applied, actor: &str, at: DateTime<Utc>) {
        self.applied = self.applied.union(&applied.selection.minus(&applied.unfinished));
        self.state = applied.state;
        if let Some(rest) = &applied.rest {
            self.digest.clone_from(rest);
        }
        self.roster_version = applied.roster_version;
        if applied.reviewed {
            self.decided_by = Some(actor.to_owned());
        }
        if applied.first_approver.is_none() {
            self.note_alone(applied.removals, at);
        }
        self.take_second(applied.first_approver.as_deref(), actor);
    }

    /// Folds what was rejected.
    pub fn take_rejected(&mut self, rejected: &Rejected, actor: &str) {
        self.rejected = self.rejected.union(&rejected.selection);
        self.state = rejected.state;
        if let Some(rest) = &rejected.rest {
            self.digest.clone_from(rest);
        }
        self.decided_by = Some(actor.to_owned());
        self.drop_approval();
    }

    /// What it has come to if nothing of it is left to decide.
    pub fn ended(&self) -> Option<State> {
        if !self.waiting().is_empty() {
            return None;
        }
        Some(match (self.applied.is_empty(), self.rejected.is_empty()) {
            (false, _) => State::Applied,
            (true, false) => State::Rejected,
            (true, true) => State::NoChanges,
        })
    }

    /// Folds what dropped out and what was put in its place.
    pub fn take_rebased(&mut self, fact: &Fact) {
        let Fact::Rebased { already_so, conflicts, revised, added, digest, roster_version, state, .. } = fact else {
            return;
        };
        for (new, old) in (self.changes..).zip(revised.iter()) {
            if self.unproven.contains(old) {
                self.unproven.insert(new);
            }
        }
        self.changes = self.changes.saturating_add(*added);
        if takes_first_back(fact) {
            self.drop_approval();
        }
        self.dropped = self.dropped.union(already_so).union(conflicts).union(revised);
        self.digest.clone_from(digest);
        self.roster_version = *roster_version;
        self.state = state.unwrap_or(self.state);
    }
}
