//! Wholesale: a change set by hand over a great many members, recorded chunk by chunk and applied in one transaction.

use muster_domain::{
    change::{Change, Kind},
    documents::ChangeSet,
    eligibility,
    fact::{Applied, Baseline, Computed, Counts, Fact, HandsOver, Received, State},
    fold,
    guard::Figures,
    ids::{ChangeSetId, FeedNo, UploadId},
    member::Reason,
    selection::Selection,
    settings::{Mode, Settings},
};
use muster_store::{Lease, Tx, Who};
use uuid::Uuid;

use crate::{
    Engine, Organisation, Result,
    apply::{Application, Chunks, Deed},
    crash, event, handover,
    organisation::put_feed,
    propose::put_upload,
    recorder::Recorder,
    seal::put_change_set,
    spill::{SPILL, prepare},
};

/// A change set in the making, under the organisation's lease.
pub struct Wholesale<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    org: &'a Organisation,
    upload: UploadId,
    change_set: ChangeSetId,
    recorder: Recorder,
    who: Who,
}

/// What is said of all its changes.
pub struct Saying<'s> {
    /// Whose words they are.
    pub feed: FeedNo,
    /// Why words that they displace are no longer the roster's value.
    pub displaced: Reason,
    /// The feeds between which claims pass, if it is a handover.
    pub hands_over: Option<HandsOver>,
    /// Settings that change in the same transaction, with the fact that says so.
    pub settings: Option<(&'s Fact, &'s Settings)>,
}

/// A change set that was applied.
pub struct Done {
    /// Which.
    pub change_set: ChangeSetId,
    /// The roster version from now on.
    pub roster_version: u64,
}

impl<'a> Wholesale<'a> {
    /// An empty one.
    pub fn new(engine: &'a Engine, lease: &'a Lease, org: &'a Organisation) -> Self {
        let upload = UploadId(Uuid::now_v7());
        let change_set = ChangeSetId(Uuid::now_v7());
        let recorder = Recorder::new(&org.keys);
        Wholesale { engine, lease, org, upload, change_set, recorder, who: engine.who(upload.0) }
    }

    /// How many changes there are so far.
    pub fn changes(&self) -> u32 {
        self.recorder.changes
    }

    /// Records a change.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn push(&mut self, change: &Change<'_>) -> Result<()> {
        self.recorder.push(change);
        if self.recorder.full_chunks() < SPILL {
            return Ok(());
        }
        self.recorder.spilled = true;
        let chunks = self.recorder.take_full();
        self.store(&chunks).await
    }

    async fn store(&self, chunks: &[(u32, muster_domain::event::Body)]) -> Result<()> {
        let mut tx = self.engine.store.begin(self.org.row.id, Some(self.lease)).await?;
        tx.append_prepared(prepare(self.change_set, chunks)?, &self.who).await?;
        tx.commit().await?;
        crash::point("chunk");
        Ok(())
    }

    /// Seals the change set and applies all of it: together with what is said of it, or not at all.
    ///
    /// # Errors
    /// If the store refuses; nothing was changed then.
    pub async fn apply(mut self, saying: Saying<'_>) -> Result<Done> {
        let counts = self.counts();
        let rest = self.recorder.take_rest();
        let spilled = self.recorder.spilled;
        if spilled && !rest.is_empty() {
            // Applying reads the chunks back from the store, and so must see the last ones too.
            self.store(&rest).await?;
        }
        let (engine, org, who) = (self.engine, self.org, self.who.clone());
        let changes = self.recorder.changes;
        let mut tx = engine.store.begin(org.row.id, Some(self.lease)).await?;
        let day = eligibility::today(&org.settings, who.now);
        let received = Received {
            arrival: tx.next_arrival().await?,
            hands_over: saying.hands_over,
            ..Received::by_hand(self.upload, day)
        };
        tx.append(vec![event(&Fact::UploadReceived(Box::new(received.clone())), None)], &who).await?;
        if !spilled {
            tx.append_prepared(prepare(self.change_set, &rest)?, &who).await?;
        }
        let change_set = self.change_set;
        let (digest, _) = self.recorder.finish();
        let roster_version = tx.head().await?.roster_version;
        let computed = Computed { change_set, changes, digest, roster_version, ..computed(org, &received, counts) };
        let sealed = tx.append(vec![event(&Fact::Computed(Box::new(computed.clone())), None)], &who).await?;
        // As the log has it: where the clock went back, that is later than now.
        let sealed_at = tx.head().await?.last_recorded_at;
        let mut set = ChangeSet::new(&computed, &received, sealed_at);
        set.created_seq = sealed.first().map_or(0, |s| s.seq);
        let chunks = if spilled { Chunks::Stored(change_set) } else { Chunks::Here(rest) };
        let applied = fold_all(engine, org, &mut tx, &chunks, &computed, &received, &saying).await?;
        tx.append(vec![event(&Fact::Applied(Box::new(applied.clone())), None)], &who).await?;
        set.take_applied(&applied, &engine.actor, tx.head().await?.last_recorded_at);
        put_change_set(&mut tx, &set).await?;
        put_upload(&mut tx, &received, &set, &who).await?;
        if let Some((fact, settings)) = saying.settings {
            tx.append(vec![event(fact, None)], &who).await?;
            tx.put_settings(&serde_json::to_vec(settings)?).await?;
        }
        crash::point("hand_before_commit");
        tx.commit().await?;
        crash::point("hand_after_commit");
        Ok(Done { change_set, roster_version: applied.roster_version })
    }

    fn counts(&self) -> Counts {
        let count = |kind| self.recorder.count(kind);
        Counts {
            rows: self.recorder.changes.into(),
            updated: count(Kind::Update),
            rekeyed: count(Kind::Rekey),
            unchanged: count(Kind::Say),
            ..Counts::default()
        }
    }
}

/// Folds every change into the stored roster, and brings feeds and settled counts up to date.
async fn fold_all(
    engine: &Engine,
    org: &Organisation,
    tx: &mut Tx,
    chunks: &Chunks,
    computed: &Computed,
    received: &Received,
    saying: &Saying<'_>,
) -> Result<Applied> {
    let selection = Selection::all(computed.changes);
    let application = Application {
        engine,
        org: org.row.id,
        keys: &org.keys,
        ctx: fold::Context {
            change_set: computed.change_set,
            feed: saying.feed,
            day: received.day,
            displaced: saying.displaced,
            fields: &org.settings.fields,
        },
        selection: &selection,
        deed: Deed::Apply,
        except_fields: &[],
    };
    let effects = application.run(tx, chunks).await?;
    let mut feeds = org.feeds.clone();
    engine.settle_feeds(tx, &mut feeds, &effects, None).await?;
    if let Some(between) = saying.hands_over {
        handover::claims_passed(&mut feeds, between);
    }
    for feed in &feeds {
        put_feed(tx, feed).await?;
    }
    Ok(Applied {
        change_set: computed.change_set,
        selection,
        feed: saying.feed,
        day: received.day,
        displaced: saying.displaced,
        first_no: tx.head().await?.next_member,
        new_members: 0,
        numbered: Selection::default(),
        roster_version: tx.bump_roster_version().await?,
        state: State::Applied,
        digest: computed.digest.clone(),
        reviewed: false,
        except_fields: Vec::new(),
        unfinished: Selection::default(),
        rest: None,
        first_approver: None,
        removals: 0,
    })
}

/// What is the same for all of them: nothing is held, and no feed is measured by it.
fn computed(org: &Organisation, received: &Received, counts: Counts) -> Computed {
    Computed {
        change_set: ChangeSetId(received.upload.0),
        upload: received.upload,
        feed: FeedNo::HAND,
        mode: Mode::Partial,
        changes: 0,
        unproven: Selection::default(),
        counts,
        figures: figures(org, counts),
        holds: Vec::new(),
        digest: String::new(),
        policy_version: org.settings.version,
        roster_version: 0,
        baseline: Baseline::default(),
        state: State::Applied,
        read_as: None,
    }
}

fn figures(org: &Organisation, counts: Counts) -> Figures {
    Figures {
        claims_before: org.feeds.iter().map(|f| f.claims).max().unwrap_or(0),
        rows: counts.rows,
        updates: counts.updated + counts.rekeyed,
        key_changes: counts.rekeyed,
        ..Figures::default()
    }
}
