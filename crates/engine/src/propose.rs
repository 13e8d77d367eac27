//! Proposing: changes by hand and undos on their way through policy and guards, as a change set like any other.

use std::collections::HashMap;

use muster_domain::{
    change::{Change, Kind},
    documents::{ChangeSet, Feed, Upload},
    eligibility,
    event::Body,
    fact::{Applied, Baseline, Computed, Counts, Fact, Received, State},
    fold,
    guard::{self, Asked, Decision, Figures, Hold},
    ids::{ChangeSetId, FeedNo, MemberNo, UploadId},
    member::Member,
    selection::Selection,
    settings::{Channel, Guards, Mode},
};
use muster_store::{Lease, Tx, UploadRow, Who};
use uuid::Uuid;

use crate::{
    Engine, Organisation, Result,
    apply::{Application, Chunks, Deed},
    crash, event, handover,
    organisation::put_feed,
    recorder::Recorder,
    report::Report,
    review::{Approvals, displaced},
    seal::put_change_set,
    spill::prepare,
};

/// Changes that somebody proposes, with the members as they are before.
pub struct Proposal<'a> {
    /// The changes.
    pub changes: Vec<Change<'a>>,
    /// The members whom they are about.
    pub members: &'a HashMap<MemberNo, Member>,
    /// Change sets that this undoes.
    pub undoes: Vec<ChangeSetId>,
    /// What the undone feed is measured by again, if this undoes a payload.
    pub baseline: Option<Baseline>,
    /// `apply` or `hold`, if it was asked for.
    pub asked: Option<Asked>,
    /// Change nothing.
    pub dry_run: bool,
}

/// What was proposed by the same request before: all of it is judged as if it came at once.
#[derive(Debug, Default)]
pub struct Before {
    /// What percentages are of: the claims that there were in front of the first.
    claims: Option<u64>,
    /// How many people it made ineligible, in a trial too.
    removals: u64,
    /// Those of them who are not in the store as let through by one person.
    untold: u64,
    /// Whether the last would wait for review, or does.
    pub(crate) would_hold: bool,
}

/// What is decided of a proposal, and by what.
struct Judged {
    figures: Figures,
    holds: Vec<Hold>,
    decision: Decision,
    /// How many people it makes ineligible by being asked to be applied, though policy holds it.
    let_through: u64,
}

impl Engine {
    /// Takes a proposal through decide and append.
    ///
    /// # Errors
    /// If the store refuses; nothing was changed then.
    pub async fn propose(&self, lease: &Lease, org: &Organisation, proposal: Proposal<'_>) -> Result<Report> {
        self.propose_behind(lease, org, proposal, &mut Before::default()).await
    }

    /// The same behind others of the same request, to which it is added.
    ///
    /// # Errors
    /// If the store refuses; nothing was changed then.
    pub(crate) async fn propose_behind(
        &self,
        lease: &Lease,
        org: &Organisation,
        proposal: Proposal<'_>,
        before: &mut Before,
    ) -> Result<Report> {
        let now = self.now();
        let today = eligibility::today(&org.settings, now);
        let upload = UploadId(Uuid::now_v7());
        let change_set = ChangeSetId(Uuid::now_v7());
        let undo = !proposal.undoes.is_empty();
        let ctx = fold::Context {
            change_set,
            feed: FeedNo::HAND,
            day: today,
            displaced: displaced(FeedNo::HAND, undo),
            fields: &org.settings.fields,
        };
        let mut recorder = Recorder::new(&org.keys);
        for change in &proposal.changes {
            recorder.push(change);
        }
        let counts = counts(&proposal.changes);
        let Judged { figures, holds, decision, let_through } = self.judge(org, &proposal, &ctx, before).await?;
        let head = self.store.head(org.row.id).await?;
        let changes = recorder.changes;
        let chunks = recorder.take_rest();
        let (digest, unproven) = recorder.finish();
        before.would_hold = changes > 0 && decision != Decision::Apply;
        let state = match decision {
            _ if proposal.dry_run => State::DryRun,
            _ if changes == 0 => State::NoChanges,
            Decision::Apply => State::Applied,
            _ => State::Held,
        };
        let mut report = Report {
            upload_id: (state != State::DryRun).then_some(upload),
            change_set_id: (state != State::DryRun && changes > 0).then_some(change_set),
            state,
            digest: (changes > 0).then(|| digest.clone()),
            counts,
            holds: holds.clone(),
            approvals: Approvals::default(),
            issues: Vec::new(),
            read_as: Vec::new(),
            mapping_version: None,
            roster_version: head.roster_version,
            seq: head.last_seq,
        };
        if matches!(state, State::DryRun | State::NoChanges) {
            report.upload_id = None;
            return Ok(report);
        }
        let mut received =
            Received { asked: proposal.asked, undoes: proposal.undoes.clone(), ..Received::by_hand(upload, today) };
        let computed = Computed {
            change_set,
            upload,
            feed: FeedNo::HAND,
            mode: Mode::Partial,
            changes,
            unproven,
            counts,
            figures,
            holds,
            digest: digest.clone(),
            policy_version: org.settings.version,
            roster_version: head.roster_version,
            baseline: proposal.baseline.clone().unwrap_or_default(),
            state,
            read_as: None,
        };
        let who = self.who(upload.0);
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        received.arrival = tx.next_arrival().await?;
        tx.append(vec![event(&Fact::UploadReceived(Box::new(received.clone())), None::<Body>)], &who).await?;
        let chunk_events = prepare(change_set, &chunks)?;
        tx.append_prepared(chunk_events, &who).await?;
        let sealed = tx.append(vec![event(&Fact::Computed(Box::new(computed.clone())), None)], &who).await?;
        // As the log has it: where the clock went back, that is later than now.
        let sealed_at = tx.head().await?.last_recorded_at;
        let mut set = ChangeSet::new(&computed, &received, sealed_at);
        set.created_seq = sealed.first().map_or(0, |s| s.seq);
        if state == State::Applied {
            let selection = Selection::all(changes);
            let application = Application {
                engine: self,
                org: org.row.id,
                keys: &org.keys,
                ctx,
                selection: &selection,
                deed: Deed::Apply,
                except_fields: &[],
            };
            let effects = application.run(&mut tx, &Chunks::Here(chunks)).await?;
            let mut feeds = org.feeds.clone();
            self.settle_feeds(&mut tx, &mut feeds, &effects, None).await?;
            let applied = Applied {
                change_set,
                selection,
                feed: FeedNo::HAND,
                day: today,
                displaced: ctx.displaced,
                first_no: head.next_member,
                new_members: effects.numbers.count(),
                numbered: effects.numbers.ordinals().collect(),
                roster_version: tx.bump_roster_version().await?,
                state,
                digest,
                reviewed: false,
                except_fields: Vec::new(),
                unfinished: Selection::default(),
                rest: None,
                first_approver: None,
                removals: let_through,
            };
            report.roster_version = applied.roster_version;
            tx.append(vec![event(&Fact::Applied(Box::new(applied.clone())), None)], &who).await?;
            set.take_applied(&applied, &self.actor, tx.head().await?.last_recorded_at);
            self.note_undone(org, &mut feeds, &set).await?;
            for feed in &feeds {
                put_feed(&mut tx, feed).await?;
            }
        }
        put_change_set(&mut tx, &set).await?;
        put_upload(&mut tx, &received, &set, &who).await?;
        report.seq = tx.head().await?.last_seq;
        crash::point("hand_before_commit");
        tx.commit().await?;
        crash::point("hand_after_commit");
        Ok(report)
    }

    /// Decides, and adds the proposal to those before it.
    async fn judge(
        &self,
        org: &Organisation,
        proposal: &Proposal<'_>,
        ctx: &fold::Context<'_>,
        before: &mut Before,
    ) -> Result<Judged> {
        let mut figures = figures(org, proposal, ctx);
        figures.claims_before = *before.claims.get_or_insert(figures.claims_before);
        figures.removals_24h = self.removals_of_a_day(org.row.id, None).await? + before.removals;
        let lately = self.alone_before(org.row.id, ctx.change_set, proposal.asked, figures.removals).await?;
        figures.alone_24h = if proposal.asked == Some(Asked::Apply) { lately + before.untold } else { 0 };
        let holds = Guards::judge(&org.settings, &figures, Channel::Hand);
        let policy = org.settings.policy(Channel::Hand);
        let asked = org.settings.review.lets(proposal.asked, figures.removals, figures.alone_24h);
        let decision = guard::decide(policy, asked, &holds, org.settings.guards.on_trip);
        let let_through = match decision {
            Decision::Apply => guard::let_through(policy, asked, figures.removals),
            _ => 0,
        };
        before.removals += figures.removals;
        before.untold += if proposal.dry_run { figures.removals } else { figures.removals - let_through };
        Ok(Judged { figures, holds, decision, let_through })
    }

    /// A feed of which something was undone is measured by what it sent before, and its last payload is news again.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn note_undone(&self, org: &Organisation, feeds: &mut [Feed], set: &ChangeSet) -> Result<()> {
        for undone in &set.undoes {
            let undone = self.change_set(org, *undone).await?;
            if let Some(handover) = undone.hands_over {
                handover::claims_passed(feeds, handover);
            }
            for feed in feeds.iter_mut().filter(|f| f.no == undone.feed) {
                feed.decided = None;
                if undone.mode == Mode::Full {
                    feed.baseline = (set.baseline != Baseline::default()).then(|| set.baseline.clone());
                }
            }
        }
        Ok(())
    }
}

/// Writes the document of an upload by hand.
///
/// # Errors
/// If the store refuses.
pub(crate) async fn put_upload(tx: &mut Tx, received: &Received, set: &ChangeSet, who: &Who) -> Result<()> {
    let doc = Upload {
        received: received.clone(),
        received_at: set.computed_at,
        actor: who.actor.clone(),
        state: set.state,
        change_set: Some(set.id),
        counts: set.counts,
        destroyed: None,
    };
    let row = UploadRow {
        id: received.upload,
        arrival: received.arrival,
        feed: received.feed,
        state: set.state.word().to_owned(),
        idempotency_key: None,
        doc: serde_json::to_vec(&doc)?,
    };
    Ok(tx.put_upload(&row).await?)
}

fn counts(changes: &[Change]) -> Counts {
    let count = |kind| changes.iter().filter(|c| c.kind == kind).count() as u64;
    Counts {
        rows: changes.len() as u64,
        added: count(Kind::Add),
        updated: count(Kind::Update),
        removed: count(Kind::Remove),
        reinstated: count(Kind::Reinstate),
        rekeyed: count(Kind::Rekey),
        unchanged: count(Kind::Say) + count(Kind::Release),
        ..Counts::default()
    }
}

/// What guards measure: percentages of everybody who is claimed, since a hand speaks for no feed.
fn figures(org: &Organisation, proposal: &Proposal, ctx: &fold::Context) -> Figures {
    let mut figures = Figures {
        claims_before: org.feeds.iter().map(|f| f.claims).max().unwrap_or(0),
        rows: proposal.changes.len() as u64,
        ..Figures::default()
    };
    for change in &proposal.changes {
        figures.updates += u64::from(matches!(change.kind, Kind::Update | Kind::Rekey));
        figures.key_changes += u64::from(change.kind == Kind::Rekey);
        let Some(before) = change.no.and_then(|no| proposal.members.get(&no)) else { continue };
        figures.removals += u64::from(eligibility::cuts_short(before, change, &org.settings, ctx));
    }
    figures
}
