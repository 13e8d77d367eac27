//! The way through the house: receive, parse, normalise, diff, decide, append. Each stage's output is the next one's input.

use std::{collections::BTreeMap, io::Read};

use chrono::{DateTime, Utc};
use muster_domain::{
    documents::{ChangeSet, Feed, Upload},
    eligibility,
    event::{Body, NewEvent},
    fact::{Applied, Baseline, Computed, Counts, Fact, Received, State},
    guard::{self, Asked, Decision, Hold},
    ids::{ChangeSetId, OrganisationId, UploadId},
    member::Reason,
    selection::Selection,
    settings::{Channel, Guards, InvalidRows, Mode, Settings},
};
use muster_intake::{IntakeError, RowIssue, payload::UpTo};
use muster_store::{ChangeSetRow, Lease, Prepared, Tx, UploadRow};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Engine, Error, Organisation, Result,
    apply::{Application, Chunks, Deed, Spoken},
    census::Census,
    compare::{Compared, Comparison, Input, Job, Named},
    crash, event,
    known::{Known, pack_delta, pack_pages},
    opening::{Taken, take},
    organisation::put_feed,
    recorder::{Recorder, Spills},
    resolve,
    roster::in_parallel,
    supersede::{Naming, Standing},
};

/// Says how long each stage took, at debug level.
pub(crate) struct Stages(std::time::Instant);

impl Stages {
    pub(crate) fn start() -> Self {
        Stages(std::time::Instant::now())
    }

    pub(crate) fn done(&mut self, stage: &'static str) {
        tracing::debug!(stage, ms = self.0.elapsed().as_millis() as u64, "stage done");
        self.0 = std::time::Instant::now();
    }
}

/// What the caller says about a payload.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The feed; `main` if none is named.
    pub feed: Option<String>,
    /// The mode; the feed's if none is named.
    pub mode: Option<Mode>,
    /// The channel.
    pub channel: Option<Channel>,
    /// `--apply` or `--hold`.
    pub asked: Option<Asked>,
    /// Change nothing, store nothing.
    pub dry_run: bool,
    /// The format by its name; it is found out otherwise.
    pub format: Option<String>,
    /// The sheet of a workbook.
    pub sheet: Option<String>,
    /// Column names by field, for this payload alone.
    pub mapping: BTreeMap<String, String>,
    /// How many rows there should be.
    pub expect_rows: Option<u64>,
    /// The SHA-256 that the payload should have, hexadecimal.
    pub expect_sha256: Option<String>,
    /// The moment whose truth the payload tells.
    pub as_of: Option<DateTime<Utc>>,
    /// The same key with the same payload gives the same answer.
    pub idempotency_key: Option<String>,
    /// The name of the file, for people.
    pub file_name: Option<String>,
}

/// What an upload came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The upload; none for one that was never accepted.
    pub upload_id: Option<UploadId>,
    /// Its change set, if it has one.
    pub change_set_id: Option<ChangeSetId>,
    /// What it came to.
    pub state: State,
    /// Digest of the changes, if there are any.
    pub digest: Option<String>,
    /// Counts of rows.
    pub counts: Counts,
    /// Guards that tripped.
    pub holds: Vec<Hold>,
    /// The first hundred row issues.
    pub issues: Vec<Issue>,
    /// What was assumed in reading the payload: its encoding, its sheet, where the header row is.
    pub read_as: Vec<String>,
    /// The roster version now.
    pub roster_version: u64,
}

/// A row issue as people and machines read it.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Issue {
    /// Line of the payload.
    pub line: u64,
    /// Column by header; empty for the whole row.
    pub column: String,
    /// What was read.
    pub value: String,
    /// Why it was refused and what to do.
    pub reason: String,
}

/// How many issues a report shows.
const SHOWN_ISSUES: usize = 100;
/// With so many deltas, a feed's fingerprints are written anew.
const MOST_DELTAS: usize = 30;
/// From so many full chunks on, they are recorded ahead of the rest, inert until the change set is sealed.
const SPILL: usize = 50;

impl Engine {
    /// Takes a payload the whole way.
    ///
    /// # Errors
    /// If it makes no sense, cannot be read, or the store refuses; then nothing was taken from it.
    pub async fn sync(&self, slug: &str, request: Request, source: &mut dyn Read) -> Result<Report> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        let id = org.row.id;
        let outcome = self.sync_leased(&lease, org, request, source).await;
        if outcome.is_ok() {
            self.tidy(&lease, id).await;
        }
        self.store.release_lease(&lease).await?;
        outcome
    }

    /// What only keeps the store quick is done afterwards; if that fails, nothing of the outcome changes.
    async fn tidy(&self, lease: &Lease, org: OrganisationId) {
        let mut stages = Stages::start();
        if let Err(e) = self.fold_if_due(lease, org).await {
            tracing::warn!(error = %e, "newer rows could not be folded into pages");
        }
        stages.done("tidy");
    }

    async fn sync_leased(
        &self,
        lease: &Lease,
        org: Organisation,
        request: Request,
        source: &mut dyn Read,
    ) -> Result<Report> {
        self.finish_pending(lease, &org).await?;
        let org = self.load(org.row).await?;
        let received = self.receive(lease, &org, &request, source).await?;
        let (received, taken) = match received {
            Arrival::New(received, taken) => (received, *taken),
            Arrival::Answered(report) => return Ok(*report),
        };
        if !request.dry_run {
            crash::point("received");
        }
        let worked = self.work(lease, &org, &received, Some(taken), request.dry_run).await;
        if request.dry_run {
            self.payloads.discard(org.row.id, received.upload);
        }
        worked
    }

    /// Works on uploads that were accepted and never finished, in order of arrival.
    async fn finish_pending(&self, lease: &Lease, org: &Organisation) -> Result<()> {
        for row in self.store.uploads_in_state(org.row.id, State::Received.word()).await? {
            let upload: Upload = serde_json::from_slice(&row.doc)?;
            let org = self.load(org.row.clone()).await?;
            match self.work(lease, &org, &upload.received, None, false).await {
                Ok(_) | Err(Error::Refused(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Parse, normalise, diff, decide, append: everything after the bytes are safe. `taken` is the census, if it was
    /// taken while the payload came in.
    async fn work(
        &self,
        lease: &Lease,
        org: &Organisation,
        received: &Received,
        taken: Option<Result<Taken>>,
        dry_run: bool,
    ) -> Result<Report> {
        let spills = Spills::default();
        let computed = self.compute(lease, org, received, taken, dry_run, &spills).await;
        // Nothing may reach the log behind what is said of a failure.
        spills.settle().await?;
        match computed {
            Ok(report) => Ok(report),
            Err(Error::Refused(why)) if !dry_run => self.refuse(lease, org, received, &why).await,
            Err(e) => Err(e),
        }
    }

    async fn compute(
        &self,
        lease: &Lease,
        org: &Organisation,
        received: &Received,
        taken: Option<Result<Taken>>,
        dry_run: bool,
        spills: &Spills,
    ) -> Result<Report> {
        let mut stages = Stages::start();
        let feed = org
            .feeds
            .iter()
            .find(|f| f.no == received.feed)
            .ok_or_else(|| Error::Damaged("the upload's feed is gone".into()))?;
        let settings = org.settings.for_feed(&feed.settings);
        if let Some(report) = self.same_as_before(org, feed, received).await? {
            if !dry_run {
                self.decide_without_changes(lease, org, received, State::NoChanges, report.counts).await?;
            }
            return Ok(Report { upload_id: Some(received.upload), ..report });
        }
        let head = self.store.head(org.row.id).await?;
        let (priorities, speaks) = (org.priorities(), org.speaks());
        let job = Job {
            engine: self,
            org: org.row.id,
            keys: &org.keys,
            settings: &settings,
            feed,
            priorities: &priorities,
            speaks: &speaks,
            received,
            today: received.day,
            has_members: head.next_member > 0,
            change_set: ChangeSetId(Uuid::now_v7()),
        };
        let mut run = Run::new(&job, lease, dry_run);
        run.recorder.spills = spills.clone();
        let spoken = Spoken::unpack(&self.store.feed_order(org.row.id, feed.no).await?);
        let Taken { input, known, census } = match taken {
            Some(taken) => taken?,
            None => {
                let stored = self.store.fingerprints(org.row.id, feed.no).await?;
                let file = self.payloads.path(org.row.id, received.upload);
                let payload = std::fs::File::open(&file)?;
                tokio::task::block_in_place(|| take(org, feed, &settings, received, stored, payload, &file))?
            }
        };
        stages.done("census");
        let keys = self.resolve_keys(org, &census).await?;
        let mut resolved = resolve::resolve(&census, &known, keys, settings.duplicates, input.reader.columns());
        stages.done("resolve");
        let wholeness = wholeness(&job, &census, &input, &settings);
        let tail = tail_missing(&spoken, &resolved, received.mode);
        let comparison =
            Comparison::new(&job, &census, &mut resolved, &mut run.recorder, &input, org.row.secret.bytes());
        let mut compared = comparison.run(&spoken.named, wholeness.is_empty()).await?;
        stages.done("compare");
        run.naming = Naming {
            members: std::mem::take(&mut resolved.present),
            keys: census.misses.iter().map(|m| m.key).collect(),
        };
        run.naming.keys.sort_unstable();
        compared.figures.incomplete = wholeness;
        compared.figures.tail_missing = tail;
        self.measure(&job, &mut compared, &input).await?;
        if settings.invalid_rows(received.channel) == InvalidRows::Refuse && compared.counts.invalid > 0 {
            return Err(Error::Refused(format!(
                "{} rows cannot be taken and invalid_rows=refuse, so nothing was taken; the first: line {}: {}",
                compared.counts.invalid,
                compared.issues.first().map_or(0, |i| i.line),
                compared.issues.first().map_or("", |i| i.reason.as_str()),
            )));
        }
        let holds = Guards::judge(&settings, &compared.figures, received.channel);
        let decision =
            guard::decide(settings.policy(received.channel), received.asked, &holds, settings.guards.on_trip);
        run.seal(org, compared, holds, decision, &known, &input).await
    }

    /// A payload identical to the feed's last decided one says nothing; a retry while held gives the held one back.
    async fn same_as_before(&self, org: &Organisation, feed: &Feed, received: &Received) -> Result<Option<Report>> {
        let Some(decided) = &feed.decided else { return Ok(None) };
        let same = decided.blake3 == received.blake3
            && decided.mapping_version == feed.settings.mapping_version
            && decided.mode == received.mode
            && received.mapping.is_empty();
        if !same {
            return Ok(None);
        }
        let before = self.store.upload(org.row.id, decided.upload).await?;
        let before: Upload = serde_json::from_slice(&before.doc)?;
        if before.received.sheet != received.sheet || before.received.format != received.format {
            return Ok(None);
        }
        let rows = before.counts.rows;
        let counts = Counts {
            rows,
            unchanged: rows - before.counts.invalid,
            invalid: before.counts.invalid,
            ..Counts::default()
        };
        Ok(Some(Report {
            upload_id: None,
            change_set_id: None,
            state: State::NoChanges,
            digest: None,
            counts,
            holds: Vec::new(),
            issues: Vec::new(),
            read_as: Vec::new(),
            roster_version: self.store.head(org.row.id).await?.roster_version,
        }))
    }

    /// The members whom unknown rows may name, by hash, and whether that goes for all that they may be known by.
    async fn resolve_keys(&self, org: &Organisation, census: &Census) -> Result<(Vec<(u64, u32)>, bool)> {
        let all = census.identifiers();
        let knows_all = all.is_some();
        let hashes = all.unwrap_or_else(|| {
            let mut hashes: Vec<u64> = census.misses.iter().map(|m| m.key).collect();
            hashes.sort_unstable();
            hashes.dedup();
            hashes
        });
        if hashes.is_empty() || self.store.head(org.row.id).await?.next_member == 0 {
            return Ok((Vec::new(), knows_all));
        }
        let mut keys = self.store.idents(org.row.id, &hashes).await?;
        keys.sort_unstable();
        Ok((keys, knows_all))
    }

    /// Figures that rows do not tell.
    async fn measure(&self, job: &Job<'_>, compared: &mut Compared, input: &Input) -> Result<()> {
        let figures = &mut compared.figures;
        figures.first_import = job.feed.baseline.is_none() && job.received.mode == Mode::Full;
        if job.received.mode == Mode::Full {
            figures.rows_last = job.feed.baseline.as_ref().map(|b| b.rows);
            if let Some(baseline) = &job.feed.baseline {
                let here = &input.reader.columns().header;
                figures.missing_columns = baseline.columns.iter().filter(|c| !here.contains(c)).cloned().collect();
            }
        } else {
            figures.removals_24h = self.removals_of_a_day(job).await?;
        }
        Ok(())
    }

    /// Single deletes and partial removals add up over 24 hours.
    async fn removals_of_a_day(&self, job: &Job<'_>) -> Result<u64> {
        let since = self.now() - chrono::Duration::hours(24);
        let filter = muster_store::Filter { feed: Some(job.feed.no), limit: 10_000, ..Default::default() };
        let mut sum = 0;
        for row in self.store.change_sets(job.org, &filter).await? {
            let set: ChangeSet = serde_json::from_slice(&row.doc)?;
            if set.computed_at < since {
                break;
            }
            if set.mode != Mode::Full
                && matches!(set.state, State::Applied | State::PartlyApplied)
                && set.undoes.is_empty()
            {
                sum += set.figures.removals;
            }
        }
        Ok(sum)
    }

    /// Stores full chunks ahead of the rest once there are many.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn spill(&self, job: &Job<'_>, recorder: &mut Recorder) -> Result<()> {
        if recorder.full_chunks() < SPILL || recorder.stays_in_memory {
            if recorder.stays_in_memory {
                drop(recorder.take_full());
            }
            return Ok(());
        }
        let chunks = recorder.take_full();
        recorder.spilled = true;
        let (store, org, change_set) = (self.store.clone(), job.org, job.change_set);
        let who = self.who(job.received.upload.0);
        let stored = async move {
            let events = tokio::task::block_in_place(|| prepare(change_set, &chunks))?;
            drop(chunks);
            let mut tx = store.begin(org, None).await?;
            tx.append_prepared(events, &who).await?;
            tx.commit().await?;
            crash::point("chunk");
            Ok(())
        };
        recorder.spills.send(stored).await
    }

    /// Records that nothing was taken from an upload.
    async fn refuse(&self, lease: &Lease, org: &Organisation, received: &Received, why: &str) -> Result<Report> {
        let counts = Counts::default();
        self.decide_without_changes(lease, org, received, State::Refused, counts).await?;
        Ok(Report {
            upload_id: Some(received.upload),
            change_set_id: None,
            state: State::Refused,
            digest: None,
            counts,
            holds: Vec::new(),
            issues: vec![Issue { line: 0, column: String::new(), value: String::new(), reason: why.to_owned() }],
            read_as: Vec::new(),
            roster_version: self.store.head(org.row.id).await?.roster_version,
        })
    }

    async fn decide_without_changes(
        &self,
        lease: &Lease,
        org: &Organisation,
        received: &Received,
        state: State,
        counts: Counts,
    ) -> Result<()> {
        let roster_version = self.store.head(org.row.id).await?.roster_version;
        let fact = Fact::UploadDecided { upload: received.upload, state, counts, roster_version };
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        tx.append(vec![event(&fact, None)], &self.who(received.upload.0)).await?;
        self.put_upload_state(&mut tx, org, received.upload, state, None, counts).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Writes an upload's new state into its document.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn put_upload_state(
        &self,
        tx: &mut Tx,
        org: &Organisation,
        upload: UploadId,
        state: State,
        change_set: Option<ChangeSetId>,
        counts: Counts,
    ) -> Result<()> {
        let mut row = self.store.upload(org.row.id, upload).await?;
        let mut doc: Upload = serde_json::from_slice(&row.doc)?;
        doc.state = state;
        doc.change_set = change_set.or(doc.change_set);
        doc.counts = counts;
        row.state = state.word().to_owned();
        row.doc = serde_json::to_vec(&doc)?;
        Ok(tx.put_upload(&row).await?)
    }
}

/// A payload that was refused while it came in says so; anything else is the disk's or the sender's fault.
fn too_large(error: std::io::Error) -> Error {
    match error.downcast::<IntakeError>() {
        Ok(refused) => refused.into(),
        Err(error) => error.into(),
    }
}

/// What receiving gives.
enum Arrival {
    /// An upload to be worked on, with the census that was taken while it came in.
    New(Box<Received>, Box<Result<Taken>>),
    /// The answer to an earlier upload with the same key.
    Answered(Box<Report>),
}

impl Engine {
    /// Receive: the bytes are durable before the log says so.
    async fn receive(
        &self,
        lease: &Lease,
        org: &Organisation,
        request: &Request,
        source: &mut dyn Read,
    ) -> Result<Arrival> {
        let feed = org.feed(request.feed.as_deref().unwrap_or("main"))?;
        let mode = request.mode.or(feed.settings.mode).ok_or_else(|| {
            Error::Wrong(
                "Say what absence means: --mode full (who is missing leaves), partial (only those named change) or leavers \
                 (those named leave); or give the feed a mode with `muster feeds set`."
                    .to_owned(),
            )
        })?;
        let mut stages = Stages::start();
        if let (Some(as_of), Some(last)) = (request.as_of, feed.baseline.as_ref().and_then(|b| b.as_of))
            && as_of < last
        {
            return Err(Error::Refused(format!(
                "The payload tells the truth of {}, and one of {} was accepted before: nothing was taken from the older one.",
                as_of.to_rfc3339(),
                last.to_rfc3339(),
            )));
        }
        let upload = UploadId(Uuid::now_v7());
        let mut received = Received {
            upload,
            arrival: 0,
            feed: feed.no,
            channel: request.channel.unwrap_or(Channel::Upload),
            mode,
            size: 0,
            blake3: String::new(),
            day: eligibility::today(&org.settings, self.now()),
            asked: request.asked,
            as_of: request.as_of,
            expect_rows: request.expect_rows,
            format: request.format.clone(),
            sheet: request.sheet.clone(),
            mapping: request.mapping.clone(),
            undoes: Vec::new(),
            hands_over: None,
        };
        let settings = org.settings.for_feed(&feed.settings);
        let known = self.store.fingerprints(org.row.id, feed.no).await?;
        stages.done("read known");
        let file = self.payloads.path(org.row.id, upload);
        let mut source = UpTo::new(source, settings.limits);
        let (stored, taken) = tokio::task::block_in_place(|| {
            self.payloads.store_while(org.row.id, upload, &mut source, request.expect_sha256.is_some(), |payload| {
                take(org, feed, &settings, &received, known, payload, &file)
            })
        })
        .map_err(too_large)?;
        crash::point("payload");
        stages.done("store payload");
        if let (Some(expected), Some(found)) = (&request.expect_sha256, &stored.sha256)
            && !expected.eq_ignore_ascii_case(found)
        {
            self.payloads.discard(org.row.id, upload);
            return Err(Error::Refused(
                "The payload's SHA-256 is not the one expected: it was changed or cut on its way. Send it again."
                    .to_owned(),
            ));
        }
        (received.size, received.blake3) = (stored.size, stored.blake3);
        if let Some(key) = &request.idempotency_key
            && let Some(report) = self.answered(org, key, &received).await?
        {
            self.payloads.discard(org.row.id, upload);
            return Ok(Arrival::Answered(Box::new(report)));
        }
        if let Some(report) = self.held_already(org, &received).await? {
            self.payloads.discard(org.row.id, upload);
            return Ok(Arrival::Answered(Box::new(report)));
        }
        if !request.dry_run {
            self.accept(lease, org, request, &mut received).await?;
        }
        stages.done("accept");
        Ok(Arrival::New(Box::new(received), Box::new(taken)))
    }

    async fn accept(
        &self,
        lease: &Lease,
        org: &Organisation,
        request: &Request,
        received: &mut Received,
    ) -> Result<()> {
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        received.arrival = tx.next_arrival().await?;
        let mut body = Body::default();
        let mut salt = [0; 16];
        rand::Rng::fill_bytes(&mut rand::rng(), &mut salt);
        body.push(salt, serde_json::json!({ "file": request.file_name }).to_string().as_bytes());
        let new = event(&Fact::UploadReceived(Box::new(received.clone())), Some(body));
        let who = self.who(received.upload.0);
        tx.append(vec![new], &who).await?;
        let doc = Upload {
            received: received.clone(),
            received_at: tx.head().await?.last_recorded_at,
            actor: who.actor.clone(),
            state: State::Received,
            change_set: None,
            counts: Counts::default(),
        };
        tx.put_upload(&UploadRow {
            id: received.upload,
            arrival: received.arrival,
            feed: received.feed,
            state: State::Received.word().to_owned(),
            idempotency_key: request.idempotency_key.clone(),
            doc: serde_json::to_vec(&doc)?,
        })
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The same key again: the first answer if it came with the same payload, a conflict if not.
    async fn answered(&self, org: &Organisation, key: &str, received: &Received) -> Result<Option<Report>> {
        let Some(row) = self.store.upload_by_key(org.row.id, key).await? else { return Ok(None) };
        let upload: Upload = serde_json::from_slice(&row.doc)?;
        let before = &upload.received;
        let same = before.blake3 == received.blake3
            && before.feed == received.feed
            && before.mode == received.mode
            && before.sheet == received.sheet;
        if !same {
            return Err(Error::Wrong(
                "This idempotency key came with another payload, feed or mode before; use a new key for a new payload."
                    .to_owned(),
            ));
        }
        Ok(Some(self.report(org, &upload).await?))
    }

    /// A retry of a payload that waits for review gives the waiting change set back.
    async fn held_already(&self, org: &Organisation, received: &Received) -> Result<Option<Report>> {
        for row in self.store.uploads_in_state(org.row.id, State::Held.word()).await? {
            let upload: Upload = serde_json::from_slice(&row.doc)?;
            let before = &upload.received;
            if before.blake3 == received.blake3
                && before.feed == received.feed
                && before.mode == received.mode
                && before.mapping == received.mapping
                && before.sheet == received.sheet
            {
                return Ok(Some(self.report(org, &upload).await?));
            }
        }
        Ok(None)
    }

    /// What an upload came to, as it stands now.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn report(&self, org: &Organisation, upload: &Upload) -> Result<Report> {
        let mut report = Report {
            upload_id: Some(upload.received.upload),
            change_set_id: upload.change_set,
            state: upload.state,
            digest: None,
            counts: upload.counts,
            holds: Vec::new(),
            issues: Vec::new(),
            read_as: Vec::new(),
            roster_version: self.store.head(org.row.id).await?.roster_version,
        };
        if let Some(id) = upload.change_set {
            let set: ChangeSet = serde_json::from_slice(&self.store.change_set(org.row.id, id).await?.doc)?;
            report.digest = Some(set.digest);
            report.holds = set.holds;
        }
        Ok(report)
    }
}

/// A change set on its way into the log.
struct Run<'a> {
    job: &'a Job<'a>,
    lease: &'a Lease,
    dry_run: bool,
    recorder: Recorder,
    naming: Naming,
}

impl<'a> Run<'a> {
    fn new(job: &'a Job<'a>, lease: &'a Lease, dry_run: bool) -> Self {
        let mut recorder = Recorder::new(job.keys);
        recorder.stays_in_memory = dry_run;
        Run { job, lease, dry_run, recorder, naming: Naming::default() }
    }

    /// Append: the change set is sealed and, as decided, applied, in one transaction.
    async fn seal(
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
        // What was refused before waits, even if nobody would see it happen.
        let silent = silent && compared.figures.ask_again == 0;
        let (digest, unproven) = self.recorder.finish();
        let head = engine.store.head(job.org).await?;
        let baseline = baseline(job, &compared, input);
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

/// Why absence from this payload proves nothing; empty if it is whole.
fn wholeness(job: &Job, census: &Census, input: &Input, settings: &Settings) -> Vec<String> {
    let mut why = Vec::new();
    if job.received.mode != Mode::Full {
        return why;
    }
    why.extend(input.unfinished.clone());
    if let Some(ending) = census.ending.filter(|e| !e.balanced) {
        why.push(format!("ends inside a quoted cell (line {})", ending.lines));
    }
    let broken_off = census.ending.is_some_and(|e| !e.line_break);
    if broken_off && job.feed.baseline.as_ref().is_some_and(|b| b.line_break) {
        why.push("ends without a line break, unlike last time, and so perhaps inside a row".to_owned());
    }
    match census.unreadable.len() {
        0 => {}
        1 => why.push(format!(
            "has a row that cannot be read and could hide somebody (line {})",
            census.unreadable[0].line
        )),
        n => why.push(format!("has {n} rows that cannot be read and could hide somebody")),
    }
    if let Some(expected) = job.received.expect_rows.filter(|n| *n != census.rows) {
        why.push(format!("has {} rows where {expected} were expected", census.rows));
    }
    if let Some(baseline) = &job.feed.baseline {
        let here = &input.reader.columns().header;
        let missing: Vec<&str> = baseline.columns.iter().filter(|c| !here.contains(c)).map(String::as_str).collect();
        if !missing.is_empty() {
            why.push(format!("lacks columns of last time: {}", missing.join(", ")));
        }
    }
    let _ = settings;
    why
}

/// How many are missing, if they are exactly the tail (two or more) of the last payload's order.
fn tail_missing(spoken: &Spoken, resolved: &resolve::Resolved, mode: Mode) -> Option<u64> {
    if mode != Mode::Full || spoken.order.is_empty() {
        return None;
    }
    let missing = spoken.order.iter().rev().take_while(|no| !resolved.present.contains(**no)).count();
    let all = spoken.named.minus(&resolved.present).count();
    (missing >= 2 && missing == all).then_some(missing as u64)
}

/// What the next payload is measured against, once this one is accepted.
fn baseline(job: &Job, compared: &Compared, input: &Input) -> Baseline {
    let mut filled = job.feed.baseline.as_ref().map(|b| b.filled.clone()).unwrap_or_default();
    for (field, delta) in &compared.filled {
        let name = job.settings.fields.name(*field).to_owned();
        let total = filled.entry(name).or_default();
        *total = total.saturating_add_signed(*delta);
    }
    Baseline {
        rows: compared.counts.rows,
        columns: input.reader.columns().header.clone(),
        line_break: compared.line_break,
        filled,
        as_of: job.received.as_of,
        blake3: job.received.blake3.clone(),
        mapping_version: job.feed.settings.mapping_version,
    }
}

/// Chunk events with their bodies hashed and packed, on both cores.
pub fn prepare(change_set: ChangeSetId, chunks: &[(u32, Body)]) -> Result<Vec<Prepared>> {
    in_parallel(chunks, |(first, body)| {
        let fact = Fact::Chunk { change_set, first: *first, count: body.len() as u32 };
        let NewEvent { id, stream, expected_version, kind, schema, data, .. } = event(&fact, None);
        Ok(Prepared { id, stream, expected_version, kind, schema, data, body: Some(muster_store::encode(body)?) })
    })
}

fn issue(issue: &RowIssue) -> Issue {
    Issue { line: issue.line, column: issue.column.clone(), value: issue.value.clone(), reason: issue.reason.clone() }
}

/// Row issues may hold personal data, so they are lines of the body. The first 10,000 are kept.
fn issue_body(issues: &[RowIssue]) -> Option<Body> {
    let mut body = Body::default();
    for row in issues.iter().take(10_000) {
        let mut salt = [0; 16];
        rand::Rng::fill_bytes(&mut rand::rng(), &mut salt);
        body.push(salt, &serde_json::to_vec(&issue(row)).unwrap_or_default());
    }
    (!body.is_empty()).then_some(body)
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
