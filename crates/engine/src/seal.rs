//! Append: a change set is sealed and, as decided, applied, in one transaction.

use chrono::{DateTime, Utc};
use muster_domain::{
    documents::{ChangeSet, Feed},
    event::Body,
    fact::{Applied, Computed, Fact, State},
    guard::{self, Decision, Hold},
    ids::MemberNo,
    member::Reason,
    selection::Selection,
    settings::Mode,
};
use muster_store::{ChangeSetRow, Head, Lease, Prepared, Tx, Who};

use crate::{
    Organisation, Result,
    apply::{Application, Chunks, Deed},
    compare::{Compared, Input, Job},
    crash,
    effects::Effects,
    event,
    known::Known,
    organisation::put_feed,
    pipeline::Stages,
    recorder::Recorder,
    remember::{self, Memory},
    report::{Report, SHOWN_ISSUES, issue, issue_body},
    review::Approvals,
    spill::prepare,
    supersede::{Naming, Standing},
    wholeness::baseline,
    worked_out::WorkedOut,
};

/// A change set on its way into the log.
pub(crate) struct Run<'a> {
    job: &'a Job<'a>,
    lease: &'a Lease,
    dry_run: bool,
    pub recorder: Recorder,
    pub naming: Naming,
}

impl<'a> Run<'a> {
    pub fn new(job: &'a Job<'a>, lease: &'a Lease, dry_run: bool) -> Self {
        let mut recorder = Recorder::new(job.keys);
        recorder.stays_in_memory = dry_run;
        Run { job, lease, dry_run, recorder, naming: Naming::default() }
    }

    /// Append: the change set is sealed and, as decided, applied, in one transaction.
    pub async fn seal(
        self,
        org: &Organisation,
        compared: Compared,
        holds: Vec<Hold>,
        decision: Decision,
        known: &Known,
        input: &Input,
    ) -> Result<Report> {
        let engine = self.job.engine;
        let mut stages = Stages::start();
        self.recorder.spills.settle().await?;
        stages.done("settle");
        let head = engine.store.head(self.job.org).await?;
        let mut sealing = Sealing::new(self.job, head, self.recorder, compared, holds, decision, input);
        let mut report = sealing.report();
        if self.dry_run {
            report.state = State::DryRun;
            (report.upload_id, report.change_set_id) = (None, None);
            return Ok(report);
        }
        let who = engine.who(self.job.received.upload.0);
        let rest = sealing.rest_of_chunks(self.lease, &who).await?;
        let mut worked_out = sealing.work_out().await?;
        stages.done("work out");
        let nothing = Effects::default();
        let effects = worked_out.as_ref().map_or(&nothing, |worked_out| &worked_out.effects);
        let memory = sealing.memory(known, effects);
        let prepared = tokio::task::block_in_place(|| sealing.prepare(&memory))?;
        stages.done("prepare");
        crash::point("worked_out");
        let mut tx = engine.store.begin(self.job.org, Some(self.lease)).await?;
        stages.done("begin");
        // The long part comes first: from the first append on, whoever has a payload to hand in waits for the end.
        let mut feeds = org.feeds.clone();
        if let Some(prepared) = prepared {
            memory.keep(&mut tx, &mut feeds, prepared).await?;
        }
        stages.done("remember");
        if let Some(worked_out) = &mut worked_out {
            worked_out.write(&mut tx).await?;
        }
        stages.done("write");
        crash::point("written");
        tx.append_prepared(rest, &who).await?;
        let sealed = sealing.append(&mut tx, &who).await?;
        let (feed, upload) = (self.job.feed.no, self.job.received.upload);
        engine.give_way(&mut tx, org, feed, upload, &self.naming, sealing.standing()).await?;
        crash::point("computed");
        if let Some(worked_out) = worked_out {
            sealing.append_applied(&mut tx, &worked_out, &who).await?;
        }
        stages.done("append");
        sealing.put_documents(&mut tx, org, feeds, sealed).await?;
        report.seq = tx.head().await?.last_seq;
        crash::point("before_commit");
        tx.commit().await?;
        crash::point("after_commit");
        stages.done("commit");
        report.roster_version = sealing.version;
        Ok(report)
    }
}

/// A change set of which all is known that will be written.
struct Sealing<'a> {
    job: &'a Job<'a>,
    input: &'a Input,
    head: Head,
    compared: Compared,
    computed: Computed,
    /// Chunks that are not stored yet.
    rest: Vec<(MemberNo, Body)>,
    /// Whether chunks were stored ahead.
    spilled: bool,
    /// Whether nobody would see any of it.
    silent: bool,
    /// What is applied at once.
    selection: Selection,
    /// The roster version afterwards.
    version: u64,
}

impl<'a> Sealing<'a> {
    fn new(
        job: &'a Job<'a>,
        head: Head,
        mut recorder: Recorder,
        compared: Compared,
        holds: Vec<Hold>,
        decision: Decision,
        input: &'a Input,
    ) -> Self {
        let rest = recorder.take_rest();
        let (spilled, changes) = (recorder.spilled, recorder.changes);
        // What was refused before waits, even if nobody would see it happen; so does what would end claims because of
        // an absence that is in doubt. Anything else that nobody would see waits for nobody.
        let in_doubt = recorder.has_releases() && holds.iter().any(Hold::is_about_removals);
        let silent = recorder.is_silent() && compared.figures.ask_again == 0 && !in_doubt;
        let decision = if silent { Decision::Apply } else { decision };
        let (digest, unproven) = recorder.finish();
        let selection = selection(decision, changes, &unproven, &compared.ineligible);
        let state = match decision {
            _ if silent => State::NoChanges,
            Decision::Hold => State::Held,
            Decision::Apply if selection.len() == changes => State::Applied,
            _ if selection.is_empty() => State::Held,
            _ => State::PartlyApplied,
        };
        let computed = Computed {
            change_set: job.change_set,
            upload: job.received.upload,
            feed: job.feed.no,
            mode: job.received.mode,
            changes,
            unproven,
            counts: compared.counts,
            figures: compared.figures.clone(),
            holds,
            digest,
            policy_version: job.settings.version,
            roster_version: head.roster_version,
            baseline: baseline(job, &compared, input),
            state,
            read_as: Some(input.how.clone()),
        };
        let version = head.roster_version;
        Sealing { job, input, head, compared, computed, rest, spilled, silent, selection, version }
    }

    fn report(&self) -> Report {
        let Computed { changes, state, digest, holds, .. } = &self.computed;
        Report {
            upload_id: Some(self.job.received.upload),
            change_set_id: (*changes > 0).then_some(self.job.change_set),
            state: *state,
            digest: (*changes > 0).then(|| digest.clone()),
            counts: self.compared.counts,
            holds: if self.silent { Vec::new() } else { holds.clone() },
            approvals: Approvals::default(),
            issues: self.compared.issues.iter().take(SHOWN_ISSUES).map(issue).collect(),
            read_as: self.input.read_as.clone(),
            mapping_version: Some(self.input.how.mapping_version),
            roster_version: self.head.roster_version,
            seq: self.head.last_seq,
        }
    }

    /// The chunks that are not stored yet, to be appended. Where others were stored ahead they are stored now, since
    /// applying reads all of them back.
    async fn rest_of_chunks(&self, lease: &Lease, who: &Who) -> Result<Vec<Prepared>> {
        let rest = tokio::task::block_in_place(|| prepare(self.job.change_set, &self.rest))?;
        if !self.spilled || rest.is_empty() {
            return Ok(rest);
        }
        let mut tx = self.job.engine.store.begin(self.job.org, Some(lease)).await?;
        tx.append_prepared(rest, who).await?;
        tx.commit().await?;
        Ok(Vec::new())
    }

    /// Appends what completes the change set: its number in the log, and its moment.
    async fn append(&self, tx: &mut Tx, who: &Who) -> Result<(u64, DateTime<Utc>)> {
        let seal = event(&Fact::Computed(Box::new(self.computed.clone())), issue_body(&self.compared.issues));
        let sealed = tx.append(vec![seal], who).await?;
        // As the log has it: where the clock went back, that is later than now.
        Ok((sealed.first().map_or(0, |s| s.seq), tx.head().await?.last_recorded_at))
    }

    /// What this payload means for older ones that wait.
    fn standing(&self) -> Standing {
        match self.job.received.mode == Mode::Full && self.compared.figures.incomplete.is_empty() {
            true => Standing::Whole,
            false if !self.selection.is_empty() => Standing::Applied,
            false => Standing::Waits,
        }
    }

    /// Whether something is applied, or nothing was to be, so that the payload is what the feed says now.
    fn applies(&self) -> bool {
        !self.selection.is_empty() || self.computed.changes == 0 && self.computed.state == State::NoChanges
    }

    /// Works out what is applied at once; nothing, if nothing is.
    async fn work_out(&mut self) -> Result<Option<WorkedOut>> {
        let job = self.job;
        if self.selection.is_empty() {
            return Ok(None);
        }
        let rest = std::mem::take(&mut self.rest);
        let chunks = if self.spilled { Chunks::Stored(job.change_set) } else { Chunks::Here(rest) };
        let application = Application {
            engine: job.engine,
            org: job.org,
            keys: job.keys,
            ctx: job.fold_context(),
            selection: &self.selection,
            deed: Deed::Apply,
            except_fields: &[],
        };
        Ok(Some(application.work_out(self.head.next_member, &chunks, &self.compared.members).await?))
    }

    /// Appends that it was applied.
    async fn append_applied(&mut self, tx: &mut Tx, worked_out: &WorkedOut, who: &Who) -> Result<()> {
        worked_out.reserve(tx).await?;
        self.version = tx.bump_roster_version().await?;
        let applied = self.applied(&worked_out.effects);
        tx.append(vec![event(&Fact::Applied(Box::new(applied)), None)], who).await?;
        Ok(())
    }

    fn applied(&self, effects: &Effects) -> Applied {
        let Computed { change_set, changes, digest, state, .. } = &self.computed;
        Applied {
            change_set: *change_set,
            selection: self.selection.clone(),
            feed: self.job.feed.no,
            day: self.job.today,
            displaced: Reason::AnotherFeed,
            first_no: effects.numbers.first().unwrap_or(self.head.next_member),
            new_members: effects.numbers.count(),
            numbered: effects.numbers.ordinals().collect(),
            roster_version: self.version,
            state: *state,
            digest: digest.clone(),
            reviewed: false,
            except_fields: Vec::new(),
            unfinished: Selection::default(),
            rest: (self.selection.len() < *changes).then(|| digest.clone()),
            first_approver: None,
            removals: self.let_through(),
        }
    }

    /// How many people became ineligible by what policy would have held, and `apply` let through.
    fn let_through(&self) -> u64 {
        let (settings, received) = (self.job.settings, self.job.received);
        match self.computed.state {
            State::Applied => {
                guard::let_through(settings.policy(received.channel), received.asked, self.computed.figures.removals)
            }
            _ => 0,
        }
    }

    /// Whom the feed names now, in which order, and which of its rows are known.
    fn memory<'m>(&'m self, known: &'m Known, effects: &'m Effects) -> Memory<'m> {
        let (job, compared, selection) = (self.job, &self.compared, &self.selection);
        Memory { job, compared, known, effects, selection, layout: self.input.layout }
    }

    /// Works it out, if the payload is what the feed says now.
    fn prepare(&self, memory: &Memory) -> Result<Option<remember::Prepared>> {
        let complete = !matches!(self.computed.state, State::PartlyApplied | State::Held);
        let in_order = complete && self.job.received.mode == Mode::Full;
        self.applies().then(|| memory.prepare(in_order)).transpose()
    }

    /// Writes the documents: feeds, change set, upload.
    async fn put_documents(
        &self,
        tx: &mut Tx,
        org: &Organisation,
        mut feeds: Vec<Feed>,
        (created_seq, sealed_at): (u64, DateTime<Utc>),
    ) -> Result<()> {
        let (job, state) = (self.job, self.computed.state);
        let decided = !matches!(state, State::Held | State::PartlyApplied);
        for feed in feeds.iter_mut().filter(|f| f.no == job.feed.no) {
            feed.last_arrival = Some((job.received.arrival, sealed_at));
            if decided && self.computed.holds.is_empty() {
                feed.accept(job.received, &self.computed.baseline);
            }
        }
        for feed in &feeds {
            put_feed(tx, feed).await?;
        }
        let has_changes = self.computed.changes > 0;
        if has_changes {
            let mut set = ChangeSet::new(&self.computed, job.received, sealed_at);
            (set.created_seq, set.state, set.roster_version) = (created_seq, state, self.version);
            set.applied = self.selection.clone();
            set.note_alone(self.let_through(), tx.head().await?.last_recorded_at);
            put_change_set(tx, &set).await?;
        }
        let change_set = has_changes.then_some(job.change_set);
        job.engine.put_upload_state(tx, org, job.received.upload, state, change_set, self.compared.counts).await
    }
}

/// Which changes are applied at once.
fn selection(decision: Decision, changes: u32, unproven: &Selection, ineligible: &Selection) -> Selection {
    match decision {
        Decision::Apply if unproven.is_empty() => Selection::all(changes),
        Decision::Apply => Selection::all(changes).minus(unproven),
        Decision::Hold => Selection::default(),
        Decision::ApplyAllButRemovals => Selection::all(changes).minus(unproven).minus(ineligible),
    }
}

/// Writes a change set's document.
///
/// # Errors
/// If the store refuses.
pub async fn put_change_set(tx: &mut Tx, set: &ChangeSet) -> Result<()> {
    let row = ChangeSetRow {
        id: set.id,
        upload: Some(set.upload),
        feed: set.feed,
        state: set.state.word().to_owned(),
        created_seq: set.created_seq,
        computed_at: set.computed_at,
        adds_up: set.removals_that_add_up(),
        alone_at: set.alone.last().map(|alone| alone.at),
        doc: serde_json::to_vec(set)?,
    };
    Ok(tx.put_change_set(&row).await?)
}
