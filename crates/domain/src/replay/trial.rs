//! Another policy tried on the past: each upload of a log judged by it, on the figures that were recorded for it.
//!
//! Nothing is folded but settings: what is kept does not grow with the log. History stays as it was, so a change set that would have
//! been held is still on the roster that the next one was compared with.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Checked, ReplayError, contradiction};
use crate::{
    change::Kind,
    event::{self, Body, GENESIS, Hash, Meta, StoredEvent},
    fact::{Computed, Fact, Received, State},
    guard::{self, Decision, Hold},
    ids::{ChangeSetId, FeedNo, UploadId},
    settings::{Channel, FeedSettings, Guards, InvalidRows, Mode, Policy, SettingError, Settings},
};

/// The settings that are tried: those that judge what was measured, in place of those of the time.
#[derive(Clone, Debug, Default)]
pub struct OtherPolicy {
    pairs: Vec<(String, String)>,
    feeds: BTreeMap<String, FeedSettings>,
}

/// Why a policy cannot be tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A key or value is none.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The key changes what is measured, which the log does not tell.
    #[error(
        "`{key}` changes how payloads are compared, not how the result is judged, so it cannot be tried on the past; \
         policy.*, guard.* and invalid_rows can."
    )]
    NotJudged {
        /// The key.
        key: String,
    },
}

impl OtherPolicy {
    /// Sets keys in place of the organisation's.
    ///
    /// # Errors
    /// If a key is unknown, judges nothing, or does not take the value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), PolicyError> {
        Settings::default().set(key, value)?;
        is_judged(key)?;
        self.pairs.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    /// A feed has these settings in place of all its own of the time; none of them is a feed like any other.
    pub fn feed(&mut self, name: &str) {
        self.feeds.entry(name.to_owned()).or_default();
    }

    /// Sets a key of one feed; `policy` alone is for every channel.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_for_feed(&mut self, name: &str, key: &str, value: &str) -> Result<(), PolicyError> {
        let feed = self.feeds.entry(name.to_owned()).or_default();
        if key == "policy" {
            Settings::default().set("policy.api", value)?;
            feed.policy = Policy::from_word(&value.trim().to_lowercase());
            return Ok(());
        }
        feed.set_override(key, value)?;
        is_judged(key)
    }

    fn settings(&self, then: &Settings, feed: &FeedSettings) -> Settings {
        let mut settings = then.clone();
        for (key, value) in &self.pairs {
            // Each was tried when it was given.
            let _ = settings.set(key, value);
        }
        settings.for_feed(self.feeds.get(&feed.name).unwrap_or(feed))
    }
}

fn is_judged(key: &str) -> Result<(), PolicyError> {
    let judged = key.starts_with("policy.") || key.starts_with("guard.") || key == "invalid_rows";
    if judged { Ok(()) } else { Err(PolicyError::NotJudged { key: key.to_owned() }) }
}

/// What an upload came to at first, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// `applied`, `partly_applied`, `held`, `no_changes` or `refused`.
    pub state: State,
    /// The guards that tripped.
    pub holds: Vec<Hold>,
}

/// One upload: what happened and what would have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Its arrival number.
    pub arrival: u64,
    /// The upload.
    pub upload: UploadId,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// The feed.
    pub feed: String,
    /// How it came.
    pub channel: Channel,
    /// What absence meant.
    pub mode: Mode,
    /// What happened.
    pub happened: Verdict,
    /// What would have; nothing where no policy decides.
    pub tried: Option<Verdict>,
    /// Why no policy decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_judged: Option<&'static str>,
}

impl Tried {
    /// Whether it would have come to something else.
    pub fn differs(&self) -> bool {
        self.tried.as_ref().is_some_and(|tried| tried.state != self.happened.state)
    }
}

/// What a whole log comes to under another policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Uploads that were worked on.
    pub uploads: u64,
    /// How many of them the policy decides.
    pub judged: u64,
    /// How many would have come to something else.
    pub differ: u64,
    /// By what happened and what would have, as `held instead of applied`.
    pub by_outcome: BTreeMap<String, u64>,
}

impl Summary {
    fn add(&mut self, one: &Tried) {
        self.uploads += 1;
        let Some(tried) = &one.tried else { return };
        self.judged += 1;
        if one.differs() {
            self.differ += 1;
            let word = |state: State| state.word().replace('_', " ");
            let what = format!("{} instead of {}", word(tried.state), word(one.happened.state));
            *self.by_outcome.entry(what).or_default() += 1;
        }
    }
}

/// A log being judged anew.
pub struct Trial {
    policy: OtherPolicy,
    settings: Settings,
    feeds: BTreeMap<FeedNo, FeedSettings>,
    named: BTreeSet<String>,
    /// Uploads that are not decided yet.
    received: HashMap<UploadId, (Box<Received>, DateTime<Utc>)>,
    /// Kinds of changes of change sets that are not complete yet.
    kinds: HashMap<ChangeSetId, Kinds>,
    last: (u64, Hash),
    summary: Summary,
}

/// What lines of a change set say of its kinds.
#[derive(Clone, Copy, Default)]
struct Kinds {
    loud: u64,
    releases: u64,
}

impl Trial {
    /// Nothing judged yet.
    pub fn new(policy: OtherPolicy) -> Trial {
        Trial {
            policy,
            settings: Settings::default(),
            feeds: BTreeMap::new(),
            named: BTreeSet::new(),
            received: HashMap::new(),
            kinds: HashMap::new(),
            last: (0, GENESIS),
            summary: Summary::default(),
        }
    }

    /// Takes the next event; where it decides an upload, that upload is judged.
    ///
    /// # Errors
    /// If it is not the next one, does not carry on the chain, or contradicts what came before.
    pub fn take(&mut self, event: Checked) -> Result<Option<Tried>, ReplayError> {
        let StoredEvent { meta_bytes, meta, body, root, hash } = event.0;
        let (last, before) = self.last;
        if meta.seq != last + 1 {
            return Err(ReplayError::Sequence { expected: last + 1, found: meta.seq });
        }
        if event::chain(&before, &meta_bytes, &root) != hash {
            return Err(ReplayError::Chain { seq: meta.seq });
        }
        self.last = (meta.seq, hash);
        let tried = match Fact::read(&meta)? {
            Fact::OrganisationCreated { settings, .. } | Fact::SettingsChanged { settings, .. } => {
                self.settings = *settings;
                None
            }
            Fact::FeedCreated { no, settings } | Fact::FeedChanged { no, settings } => {
                self.named.insert(settings.name.clone());
                self.feeds.insert(no, *settings);
                None
            }
            Fact::UploadReceived(received) => {
                self.received.insert(received.upload, (received, meta.recorded_at));
                None
            }
            Fact::UploadDecided { upload, state, .. } => Some(self.decided(upload, state, &meta)?),
            Fact::Chunk { change_set, .. } => {
                self.kinds.entry(change_set).or_default().add(body.as_ref());
                None
            }
            Fact::Computed(computed) => Some(self.computed(&computed, &meta)?),
            _ => None,
        };
        tried.iter().for_each(|one| self.summary.add(one));
        Ok(tried)
    }

    /// The number of the last event; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.last.0
    }

    /// What it all comes to.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// A feed of which the policy speaks and the log does not, and those of which it does.
    pub fn unknown_feed(&self) -> Option<(&str, Vec<&str>)> {
        let unknown = self.policy.feeds.keys().find(|name| !self.named.contains(*name))?;
        Some((unknown, self.named.iter().map(String::as_str).collect()))
    }

    fn decided(&mut self, upload: UploadId, state: State, meta: &Meta) -> Result<Tried, ReplayError> {
        let happened = Verdict { state, holds: Vec::new() };
        let (tried, why) = match state {
            State::NoChanges => (Some(happened.clone()), None),
            _ => (None, Some("it was refused before anything was measured")),
        };
        self.tell(upload, happened, tried, why, meta)
    }

    fn computed(&mut self, computed: &Computed, meta: &Meta) -> Result<Tried, ReplayError> {
        let kinds = self.kinds.remove(&computed.change_set).unwrap_or_default();
        let happened = Verdict { state: computed.state, holds: computed.holds.clone() };
        let Some((received, _)) = self.received.get(&computed.upload) else {
            return contradiction(meta.seq, "completes the change set of an upload of which the log does not tell");
        };
        let (tried, why) = match is_wholesale(computed, received) {
            true => (None, Some("it takes nothing from anybody, so no policy decides about it")),
            false => (Some(self.judge(computed, received, kinds)), None),
        };
        self.tell(computed.upload, happened, tried, why, meta)
    }

    fn judge(&self, computed: &Computed, received: &Received, kinds: Kinds) -> Verdict {
        let none = FeedSettings::default();
        let feed = self.feeds.get(&computed.feed).unwrap_or(&none);
        let settings = self.policy.settings(&self.settings, feed);
        let (figures, channel) = (&computed.figures, received.channel);
        if settings.invalid_rows(channel) == InvalidRows::Refuse && figures.invalid_rows > 0 {
            return Verdict { state: State::Refused, holds: Vec::new() };
        }
        let holds = Guards::judge(&settings, figures, channel);
        let decision = guard::decide(
            settings.policy(channel),
            settings.review.lets(received.asked, figures.removals, figures.alone_24h),
            &holds,
            settings.guards.on_trip,
        );
        // What nobody would see waits for nobody, unless it would end claims because of an absence that is in doubt.
        let loud = kinds.loud > 0 || figures.ask_again > 0;
        let in_doubt = kinds.releases > 0 && holds.iter().any(Hold::is_about_removals);
        let by_hand = computed.feed == FeedNo::HAND;
        let changes = u64::from(computed.changes);
        let left = (figures.removals + kinds.releases).max(computed.unproven.len().into());
        let state = match decision {
            _ if !by_hand && !loud && !in_doubt => State::NoChanges,
            Decision::Apply => State::Applied,
            Decision::ApplyAllButRemovals if by_hand || left >= changes => State::Held,
            Decision::ApplyAllButRemovals if left > 0 => State::PartlyApplied,
            Decision::ApplyAllButRemovals => State::Applied,
            Decision::Hold => State::Held,
        };
        Verdict { state, holds }
    }

    fn tell(
        &mut self,
        upload: UploadId,
        happened: Verdict,
        tried: Option<Verdict>,
        not_judged: Option<&'static str>,
        meta: &Meta,
    ) -> Result<Tried, ReplayError> {
        let Some((received, at)) = self.received.remove(&upload) else {
            return contradiction(meta.seq, format!("is about upload {upload}, of which the log does not tell"));
        };
        let feed = match received.feed {
            FeedNo::HAND => "hand".to_owned(),
            no => self.feeds.get(&no).map_or_else(|| "?".to_owned(), |f| f.name.clone()),
        };
        let Received { arrival, channel, mode, .. } = *received;
        Ok(Tried { arrival, upload, at, feed, channel, mode, happened, tried, not_judged })
    }
}

impl Kinds {
    /// An erased line says nothing of its kind, and counts as something that people see.
    fn add(&mut self, body: Option<&Body>) {
        const SAY: &[u8] = b"{\"kind\":\"say\"";
        const RELEASE: &[u8] = b"{\"kind\":\"release\"";
        debug_assert!(Kind::Say.is_silent() && Kind::Release.is_silent());
        for line in body.into_iter().flat_map(Body::iter) {
            let release = line.is_some_and(|l| l.starts_with(RELEASE));
            self.releases += u64::from(release);
            self.loud += u64::from(!release && !line.is_some_and(|l| l.starts_with(SAY)));
        }
    }
}

/// Whether it is a handover, or the new keys of a changed match key: applied whatever the policy.
fn is_wholesale(computed: &Computed, received: &Received) -> bool {
    let rekeyed = computed.figures.key_changes == u64::from(computed.changes) && computed.changes > 1;
    received.hands_over.is_some() || computed.feed == FeedNo::HAND && received.undoes.is_empty() && rekeyed
}

#[cfg(test)]
mod tests;
