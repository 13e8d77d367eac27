//! Append: a change set is sealed and, as decided, applied, in one transaction.

use chrono::{DateTime, Utc};
use muster_domain::{
    documents::ChangeSet,
    fact::{Applied, Computed, Fact, Received, State},
    guard::{Decision, Hold},
    member::Reason,
    selection::Selection,
    settings::Mode,
};
use muster_store::{ChangeSetRow, Lease, Tx};

use crate::{
    Organisation, Result,
    apply::{Application, Chunks, Deed},
    compare::{Compared, Input, Job, Named},
    crash, event,
    known::{Known, pack_delta, pack_pages},
    organisation::put_feed,
    pipeline::Stages,
    recorder::Recorder,
    report::{Report, SHOWN_ISSUES, issue, issue_body},
    resolve,
    spill::prepare,
    supersede::{Naming, Standing},
    wholeness::baseline,
};

/// With so many deltas, a feed's fingerprints are written anew.
const MOST_DELTAS: usize = 30;
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
        mut self,
        org: &Organisation,
        mut compared: Compared,
        holds: Vec<Hold>,
        decision: Decision,
        known: &Known,
        input: &Input,
    ) -> Result<Report> {
        let (job, engine) = (self.job, self.job.engine);
        let mut stages = Stages::start();
        self.recorder.spills.settle().await?;
        stages.done("settle");
        let rest = self.recorder.take_rest();
        let (spilled, silent, changes) = (self.recorder.spilled, self.recorder.is_silent(), self.recorder.changes);
        let releases = self.recorder.has_releases();
        let (digest, unproven) = self.recorder.finish();
        let head = engine.store.head(job.org).await?;
        let baseline = baseline(job, &compared, input);
        // What was refused before waits, even if nobody would see it happen.
        let silent = silent && compared.figures.ask_again == 0;
        // What nobody would see waits for nobody, unless it would end claims because of an absence that is in doubt.
        let silent = silent && !(releases && holds.iter().any(Hold::is_about_removals));
        let decision = if silent { Decision::Apply } else { decision };
        let selection = selection(decision, changes, &unproven, &compared.ineligible);
        let undecided = selection.len() < changes;
        let state = match (decision, silent) {
            (_, true) => State::NoChanges,
            (Decision::Hold, _) => State::Held,
            (Decision::Apply, _) if !undecided => State::Applied,
            _ if selection.is_empty() => State::Held,
            _ => State::PartlyApplied,
        };
        let mut report = Report {
            upload_id: Some(job.received.upload),
            change_set_id: (changes > 0).then_some(job.change_set),
            state,
            digest: (changes > 0).then(|| digest.clone()),
            counts: compared.counts,
            holds: if silent { Vec::new() } else { holds.clone() },
            issues: compared.issues.iter().take(SHOWN_ISSUES).map(issue).collect(),
            read_as: input.read_as.clone(),
            roster_version: head.roster_version,
        };
        if self.dry_run {
            report.state = State::DryRun;
            (report.upload_id, report.change_set_id) = (None, None);
            return Ok(report);
        }
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
            digest: digest.clone(),
            policy_version: job.settings.version,
            roster_version: head.roster_version,
            baseline: baseline.clone(),
            state,
        };
        let who = engine.who(job.received.upload.0);
        let mut tx = engine.store.begin(job.org, Some(self.lease)).await?;
        if !rest.is_empty() {
            tx.append_prepared(prepare(job.change_set, &rest)?, &who).await?;
        }
        if spilled {
            // Applying reads the chunks back from the store, and so must see the last ones too.
            tx.commit().await?;
            tx = engine.store.begin(job.org, Some(self.lease)).await?;
        }
        let seal = event(&Fact::Computed(Box::new(computed.clone())), issue_body(&compared.issues));
        let sealed = tx.append(vec![seal], &who).await?;
        // As the log has it: where the clock went back, that is later than now.
        let sealed_at = tx.head().await?.last_recorded_at;
        let whole = job.received.mode == Mode::Full && compared.figures.incomplete.is_empty();
        let standing = match whole {
            true => Standing::Whole,
            false if !selection.is_empty() => Standing::Applied,
            false => Standing::Waits,
        };
        engine.give_way(&mut tx, org, job.feed.no, job.received.upload, &self.naming, standing).await?;
        stages.done("append change set");
        crash::point("computed");
        let mut feeds = org.feeds.clone();
        let applies = !selection.is_empty() || changes == 0 && state == State::NoChanges;
        let mut version = head.roster_version;
        if applies {
            let effects = if selection.is_empty() {
                Default::default()
            } else {
                let chunks = if spilled { Chunks::Stored(job.change_set) } else { Chunks::Here(rest) };
                let application = Application {
                    engine,
                    org: job.org,
                    keys: job.keys,
                    ctx: job.fold_context(),
                    selection: &selection,
                    deed: Deed::Apply,
                    except_fields: &[],
                };
                application.run_with(&mut tx, &chunks, &compared.members).await?
            };
            stages.done("apply");
            if !selection.is_empty() {
                version = tx.bump_roster_version().await?;
                let applied = Applied {
                    change_set: job.change_set,
                    selection: selection.clone(),
                    feed: job.feed.no,
                    day: job.today,
                    displaced: Reason::AnotherFeed,
                    first_no: effects.numbers.first().map_or(head.next_member, |n| n.1),
                    new_members: effects.numbers.len() as u32,
                    numbered: effects.numbers.iter().map(|n| n.0).collect(),
                    roster_version: version,
                    state,
                    digest: digest.clone(),
                    reviewed: false,
                    except_fields: Vec::new(),
                    unfinished: Selection::default(),
                    rest: undecided.then(|| digest.clone()),
                };
                tx.append(vec![event(&Fact::Applied(Box::new(applied)), None)], &who).await?;
            }
            let order = self.job.order(&mut compared, known, &effects);
            let complete = state != State::PartlyApplied && state != State::Held;
            let speaking = (job.feed.no, (complete && job.received.mode == Mode::Full).then_some(order));
            engine.settle_feeds(&mut tx, &mut feeds, &effects, Some(speaking)).await?;
            self.job.remember(&mut tx, &compared, known, &effects, &selection, input.layout).await?;
            stages.done("remember");
        }
        let decided = !matches!(state, State::Held | State::PartlyApplied);
        for feed in feeds.iter_mut().filter(|f| f.no == job.feed.no) {
            feed.last_arrival = Some((job.received.arrival, sealed_at));
            if decided && (report.holds.is_empty() && computed.holds.is_empty()) {
                feed.accept(job.received, &baseline);
            }
        }
        for feed in &feeds {
            put_feed(&mut tx, feed).await?;
        }
        if changes > 0 {
            let mut set = new_change_set(&computed, job.received, sealed_at);
            set.created_seq = sealed.first().map_or(0, |s| s.seq);
            set.state = state;
            set.applied = selection;
            set.roster_version = version;
            put_change_set(&mut tx, &set).await?;
        }
        engine
            .put_upload_state(
                &mut tx,
                org,
                job.received.upload,
                state,
                (changes > 0).then_some(job.change_set),
                compared.counts,
            )
            .await?;
        crash::point("before_commit");
        tx.commit().await?;
        crash::point("after_commit");
        stages.done("commit");
        report.roster_version = version;
        Ok(report)
    }
}

impl Job<'_> {
    /// Member numbers in the order of the payload.
    fn order(&self, compared: &mut Compared, known: &Known, effects: &crate::apply::Effects) -> Vec<u32> {
        let mut by_line = ByLine::default();
        known.seen().for_each(|(no, line)| by_line.put(line, no));
        for (line, named) in compared.order.drain(..) {
            if let Some(no) = number(named, effects) {
                by_line.put(line, no);
            }
        }
        by_line.in_order()
    }

    /// Remembers the fingerprints of rows that say what the roster now holds.
    async fn remember(
        &self,
        tx: &mut Tx,
        compared: &Compared,
        known: &Known,
        effects: &crate::apply::Effects,
        selection: &Selection,
        layout: u64,
    ) -> Result<()> {
        let fresh =
            compared.fingerprints.iter().filter(|(_, _, ordinal)| ordinal.is_none_or(|o| selection.contains(o)));
        let fresh: Vec<(u128, u32)> = fresh.filter_map(|(f, named, _)| Some((*f, number(*named, effects)?))).collect();
        let layout = layout.to_le_bytes();
        let newer = known.newer() + effects.touched.len() + fresh.len();
        if known.is_empty() || newer * 4 > known.len() || known.deltas() >= MOST_DELTAS {
            let mut dead = resolve::Bits::default();
            effects.touched.iter().chain(fresh.iter().map(|f| &f.1)).for_each(|no| dead.set(*no, true));
            let mut all = known.entries().filter(|(_, no)| !dead.contains(*no)).collect::<Vec<_>>();
            all.extend(fresh);
            tx.put_fingerprints(self.feed.no, &layout, pack_pages(all)).await?;
        } else if !fresh.is_empty() || !effects.touched.is_empty() {
            tx.add_fingerprint_delta(self.feed.no, pack_delta(&effects.touched, &fresh)).await?;
        }
        Ok(())
    }
}

/// Members by the line of the payload that names them. Lines are dense, so that a table does without sorting; should
/// they not be, they are sorted.
#[derive(Default)]
struct ByLine {
    table: Vec<Option<std::num::NonZeroU32>>,
    beside: Vec<(u32, u32)>,
}

impl ByLine {
    /// Up to this line there is a table.
    const DENSE: u32 = 16 << 20;

    fn put(&mut self, line: u32, no: u32) {
        let word = no.checked_add(1).and_then(std::num::NonZeroU32::new);
        if line >= Self::DENSE || word.is_none() {
            return self.beside.push((line, no));
        }
        let at = line as usize;
        if at >= self.table.len() {
            self.table.resize((at + 1).next_power_of_two(), None);
        }
        match self.table[at] {
            None => self.table[at] = word,
            // Two members on one line: an ambiguous key. Both were named.
            Some(_) => self.beside.push((line, no)),
        }
    }

    fn in_order(mut self) -> Vec<u32> {
        if self.beside.is_empty() {
            return self.table.iter().flatten().map(|no| no.get() - 1).collect();
        }
        let table = self.table.iter().enumerate();
        self.beside.extend(table.filter_map(|(line, no)| Some((line as u32, no.as_ref()?.get() - 1))));
        self.beside.sort_unstable();
        self.beside.iter().map(|(_, no)| *no).collect()
    }
}

fn number(named: Named, effects: &crate::apply::Effects) -> Option<u32> {
    match named {
        Named::Member(no) => Some(no),
        Named::Added(ordinal) => {
            let at = effects.numbers.binary_search_by_key(&ordinal, |n| n.0).ok()?;
            Some(effects.numbers[at].1)
        }
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

fn new_change_set(computed: &Computed, received: &Received, at: DateTime<Utc>) -> ChangeSet {
    ChangeSet::new(computed, received, at)
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
        doc: serde_json::to_vec(set)?,
    };
    Ok(tx.put_change_set(&row).await?)
}
