//! The documents of a replay: settings, feeds, uploads and change sets, as every event leaves them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    documents::{ChangeSet, Feed, Upload},
    event::Meta,
    fact::{Applied, Baseline, Computed, Fact, HandsOver, Received, Rejected, State},
    forgotten::{Block, Destroyed, Forgotten},
    ids::{ChangeSetId, FeedNo, UploadId},
    second::ApprovalGiven,
    settings::{Mode, Settings},
};

use super::{ReplayError, contradiction};

/// What the log says of an organisation, besides its members.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    slug: String,
    settings: Settings,
    feeds: BTreeMap<FeedNo, Feed>,
    uploads: BTreeMap<UploadId, Upload>,
    change_sets: BTreeMap<ChangeSetId, ChangeSet>,
    arrivals: u64,
    blocked: BTreeSet<Block>,
}

/// Whether nothing of a change set can be applied any more.
pub(super) fn is_closed(set: &ChangeSet) -> bool {
    matches!(set.state, State::Applied | State::Rejected | State::Superseded) || set.waiting().is_empty()
}

/// Whether an upload is done with, so that the feed's next one is measured against it.
fn is_settled(state: State) -> bool {
    !matches!(state, State::Received | State::Held | State::PartlyApplied)
}

impl Documents {
    /// The organisation's name in addresses.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its feeds. Their claims are counted on the roster: see [`super::Replay::claims`].
    pub fn feeds(&self) -> &BTreeMap<FeedNo, Feed> {
        &self.feeds
    }

    /// Its uploads.
    pub fn uploads(&self) -> &BTreeMap<UploadId, Upload> {
        &self.uploads
    }

    /// Its change sets; one without changes has no document.
    pub fn change_sets(&self) -> &BTreeMap<ChangeSetId, ChangeSet> {
        &self.change_sets
    }

    /// How many uploads have arrived.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// By what somebody forgotten would be known again.
    pub fn blocked(&self) -> &BTreeSet<Block> {
        &self.blocked
    }

    /// Folds an event.
    pub(super) fn take(&mut self, fact: &Fact, meta: &Meta) -> Result<(), ReplayError> {
        match fact {
            Fact::OrganisationCreated { slug, settings } => {
                self.slug.clone_from(slug);
                self.settings = (**settings).clone();
            }
            Fact::SettingsChanged { settings, .. } => self.settings = (**settings).clone(),
            Fact::FeedCreated { no, settings } => {
                self.feeds.insert(*no, Feed::new(*no, (**settings).clone(), meta.recorded_at));
            }
            Fact::FeedChanged { no, settings } => {
                self.feed(*no, meta)?.take_settings((**settings).clone(), meta.recorded_at);
            }
            Fact::FeedOverdue(overdue) => self.feed(overdue.no, meta)?.overdue = Some(overdue.overdue),
            Fact::FeedRecovered { no, .. } => self.feed(*no, meta)?.overdue = None,
            Fact::UploadReceived(received) => self.receive(received, meta)?,
            Fact::UploadDecided { upload, state, counts, .. } => {
                let upload = self.upload(*upload, meta)?;
                (upload.state, upload.counts) = (*state, *counts);
            }
            Fact::Chunk { .. } => {}
            Fact::Computed(computed) => self.compute(computed, meta)?,
            Fact::ApprovalGiven(given) => self.approve_first(given, meta)?,
            Fact::Applied(applied) => self.apply(applied, meta)?,
            Fact::Rejected(rejected) => self.reject(rejected, meta)?,
            Fact::Superseded { change_set, .. } => {
                let set = self.change_set(*change_set, meta)?;
                set.state = State::Superseded;
                let upload = set.upload;
                self.upload(upload, meta)?.state = State::Superseded;
            }
            Fact::Rebased { change_set, .. } => {
                let set = self.change_set(*change_set, meta)?;
                set.take_rebased(fact);
                // One that ends so was not decided as it came: it is no measure, and the same payload is news.
                let (upload, state) = (set.upload, set.state);
                self.upload(upload, meta)?.state = state;
            }
            Fact::Forgotten(forgotten) => self.forget(forgotten),
            Fact::BlockLifted { blocked } => {
                self.blocked.retain(|b| !blocked.contains(b));
                self.forget(&Forgotten::default());
            }
            Fact::PayloadsDestroyed(destroyed) => {
                for upload in &destroyed.uploads {
                    let gone = Destroyed { at: meta.recorded_at, why: destroyed.why };
                    self.upload(*upload, meta)?.destroyed = Some(gone);
                }
            }
        }
        Ok(())
    }

    /// What each feed sent last is news again: whoever was forgotten may be in it, and that is to be said.
    fn forget(&mut self, forgotten: &Forgotten) {
        self.blocked.extend(&forgotten.blocked);
        self.feeds.values_mut().for_each(|feed| feed.decided = None);
    }

    fn receive(&mut self, received: &Received, meta: &Meta) -> Result<(), ReplayError> {
        if received.arrival != self.arrivals + 1 {
            return contradiction(
                meta.seq,
                format!("is arrival {} where {} should follow", received.arrival, self.arrivals + 1),
            );
        }
        self.arrivals = received.arrival;
        self.uploads.insert(received.upload, Upload::new(received.clone(), meta));
        Ok(())
    }

    fn compute(&mut self, computed: &Computed, meta: &Meta) -> Result<(), ReplayError> {
        let upload = self.upload(computed.upload, meta)?;
        upload.state = computed.state;
        upload.counts = computed.counts;
        let received = upload.received.clone();
        if computed.changes > 0 {
            upload.change_set = Some(computed.change_set);
            let mut set = ChangeSet::new(computed, &received, meta.recorded_at);
            set.created_seq = meta.seq;
            self.change_sets.insert(set.id, set);
        }
        // The administrator's hand has no document.
        if computed.feed == FeedNo::HAND {
            return Ok(());
        }
        let feed = self.feed(computed.feed, meta)?;
        feed.last_arrival = Some((received.arrival, meta.recorded_at));
        // What a guard stopped in part is no measure for the next payload.
        if is_settled(computed.state) && computed.holds.is_empty() {
            feed.accept(&received, &computed.baseline);
        }
        Ok(())
    }

    fn approve_first(&mut self, given: &ApprovalGiven, meta: &Meta) -> Result<(), ReplayError> {
        let set = self.change_set(given.change_set, meta)?;
        if !set.is_undecided() {
            return contradiction(meta.seq, format!("approves change set {}, of which nothing waits", set.id));
        }
        set.take_approval(given, &meta.actor, meta.recorded_at);
        Ok(())
    }

    fn apply(&mut self, applied: &Applied, meta: &Meta) -> Result<(), ReplayError> {
        let set = self.change_set(applied.change_set, meta)?;
        if applied.first_approver.is_some() && !set.is_seconded_by(applied) {
            let what = format!("applies of change set {} what nobody had approved first", set.id);
            return contradiction(meta.seq, what);
        }
        let before = set.state;
        set.take_applied(applied, &meta.actor, meta.recorded_at);
        let (undoes, baseline) = (set.undoes.clone(), set.baseline.clone());
        let hands_over = set.hands_over;
        self.decided(applied.change_set, before, meta)?;
        if let Some(feeds) = hands_over {
            self.claims_passed(feeds, meta)?;
        }
        undoes.iter().try_for_each(|id| self.undo(*id, &baseline, meta))
    }

    /// What either feed sent last is news again.
    fn claims_passed(&mut self, feeds: HandsOver, meta: &Meta) -> Result<(), ReplayError> {
        for no in [feeds.from, feeds.to] {
            self.feed(no, meta)?.decided = None;
        }
        Ok(())
    }

    /// The feed of what is undone is measured by what it sent before, and its last payload is news again.
    fn undo(&mut self, undone: ChangeSetId, baseline: &Baseline, meta: &Meta) -> Result<(), ReplayError> {
        let set = self.change_set(undone, meta)?;
        let (no, mode, hands_over) = (set.feed, set.mode, set.hands_over);
        if no == FeedNo::HAND {
            return hands_over.map_or(Ok(()), |feeds| self.claims_passed(feeds, meta));
        }
        let feed = self.feed(no, meta)?;
        feed.decided = None;
        if mode == Mode::Full {
            feed.baseline = (*baseline != Baseline::default()).then(|| baseline.clone());
        }
        Ok(())
    }

    fn reject(&mut self, rejected: &Rejected, meta: &Meta) -> Result<(), ReplayError> {
        let set = self.change_set(rejected.change_set, meta)?;
        let before = set.state;
        set.take_rejected(rejected, &meta.actor);
        self.decided(rejected.change_set, before, meta)
    }

    /// The upload goes with its change set; once all is decided and something was taken, it is the feed's new measure.
    fn decided(&mut self, id: ChangeSetId, before: State, meta: &Meta) -> Result<(), ReplayError> {
        let set = self.change_set(id, meta)?.clone();
        let upload = self.upload(set.upload, meta)?;
        upload.state = set.state;
        let received = upload.received.clone();
        let taken = !set.applied.is_empty() && set.feed != FeedNo::HAND;
        if taken && is_settled(set.state) && !is_settled(before) {
            self.feed(set.feed, meta)?.accept(&received, &set.baseline);
        }
        Ok(())
    }

    fn feed(&mut self, no: FeedNo, meta: &Meta) -> Result<&mut Feed, ReplayError> {
        let missing = || contradiction(meta.seq, format!("is about feed {}, of which the log does not tell", no.0));
        self.feeds.get_mut(&no).map_or_else(missing, Ok)
    }

    fn upload(&mut self, id: UploadId, meta: &Meta) -> Result<&mut Upload, ReplayError> {
        let missing = || contradiction(meta.seq, format!("is about upload {id}, of which the log does not tell"));
        self.uploads.get_mut(&id).map_or_else(missing, Ok)
    }

    fn change_set(&mut self, id: ChangeSetId, meta: &Meta) -> Result<&mut ChangeSet, ReplayError> {
        let missing = || contradiction(meta.seq, format!("is about change set {id}, of which the log does not tell"));
        self.change_sets.get_mut(&id).map_or_else(missing, Ok)
    }
}
