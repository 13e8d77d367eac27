//! The way through the house: receive, parse, normalise, diff, decide, append. Each stage's output is the next one's input.

use std::io::Read;

use muster_domain::{
    documents::{Feed, Upload},
    event::Body,
    fact::{Counts, Fact, Received, Refusal, State},
    guard,
    ids::{ChangeSetId, OrganisationId, UploadId},
    settings::{Guards, InvalidRows, Mode},
};
use muster_store::{Lease, Tx};
use uuid::Uuid;

use crate::{
    Engine, Error, Organisation, Result,
    bits::Bits,
    compare::{Compared, Comparison, Input, Job, Rows},
    crash, event, known,
    opening::{Opening, Taken},
    receive::{Arrival, check_as_of},
    recorder::Spills,
    refused::{self, Asked, Witness},
    report::issues_body,
    roster::is_look_due,
    seal::Run,
    sizes::Sizes,
    supersede::Naming,
    wholeness::wholeness,
};
pub use crate::{
    receive::Request,
    report::{Issue, Report},
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

impl Engine {
    /// Takes a payload the whole way.
    ///
    /// # Errors
    /// If it makes no sense, cannot be read, or the store refuses; then nothing was taken from it.
    pub async fn sync(&self, slug: &str, request: Request, source: &mut (dyn Read + Send)) -> Result<Report> {
        self.sync_witnessed(slug, request, source, None).await
    }

    /// The same, with a witness of all that could not be taken.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub async fn sync_witnessed(
        &self,
        slug: &str,
        request: Request,
        source: &mut (dyn Read + Send),
        witness: Option<&mut dyn Witness>,
    ) -> Result<Report> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        let id = org.row.id;
        // On the heap: whoever waits for this holds all that it works with on their stack.
        let outcome = Box::pin(self.sync_leased(&lease, org, request, source, witness)).await;
        if let Ok(Report { counts, roster_version, .. }) = &outcome {
            let Counts { added, updated, removed, reinstated, rekeyed, .. } = counts;
            if is_look_due(added + updated + removed + reinstated + rekeyed, *roster_version) {
                self.tidy(&lease, id).await;
            }
        }
        self.give_back(&lease, outcome).await
    }

    /// What only keeps the store quick is done afterwards; if that fails, nothing of the outcome changes.
    pub(crate) async fn tidy(&self, lease: &Lease, org: OrganisationId) {
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
        source: &mut (dyn Read + Send),
        witness: Asked<'_>,
    ) -> Result<Report> {
        self.finish_pending(lease, &org.row, None).await?;
        let mut org = self.load(org.row).await?;
        let received = self.receive(lease, &org, &request, source).await?;
        let (received, mut taken) = match received {
            Arrival::New(received, taken) => (received, Some(*taken)),
            Arrival::Answered(report, received, taken) => {
                let told = self.tell_again(lease, &org, &received, Some(*taken), witness).await;
                self.payloads.discard(org.row.id, received.upload);
                return told.map(|()| *report);
            }
        };
        if !request.dry_run {
            crash::point("received");
            if self.finish_pending(lease, &org.row, Some(received.arrival)).await? > 0 {
                // What was taken in beside us came first, and our census was of the time before it.
                (org, taken) = (self.load(org.row).await?, None);
            }
        }
        let as_seen = match &request.seen {
            Some(seen) => self.expect_as_seen(&org, seen).await.map(drop),
            None => Ok(()),
        };
        let worked = match as_seen {
            Ok(()) => self.work(lease, &org, &received, taken, request.dry_run, witness).await,
            Err(Error::Stale(why)) if !request.dry_run => {
                self.refuse(lease, &org, &received, &why).await.and(Err(Error::Stale(why)))
            }
            Err(e) => Err(e),
        };
        if request.dry_run {
            self.payloads.discard(org.row.id, received.upload);
        }
        worked
    }

    /// Parse, normalise, diff, decide, append: everything after the bytes are safe. `taken` is the census, if it was
    /// taken while the payload came in.
    pub(crate) async fn work(
        &self,
        lease: &Lease,
        org: &Organisation,
        received: &Received,
        taken: Option<Result<Taken>>,
        dry_run: bool,
        witness: Asked<'_>,
    ) -> Result<Report> {
        let spills = Spills::default();
        if let Err(Error::Refused(why)) = check_as_of(feed_of(org, received)?, received.as_of)
            && !dry_run
        {
            return self.refuse(lease, org, received, &why).await;
        }
        let computed = match self.same_as_before(org, received).await? {
            Some(report) => self.same_again(lease, org, received, taken, dry_run, (report, witness)).await,
            None => self.compute(lease, org, received, taken, dry_run, (&spills, witness)).await,
        };
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
        (spills, witness): (&Spills, Asked<'_>),
    ) -> Result<Report> {
        let mut stages = Stages::start();
        let feed = feed_of(org, received)?;
        let settings = org.settings.for_feed(&feed.settings);
        let head = self.store.head(org.row.id).await?;
        let (priorities, speaks) = (org.priorities(), org.speaks());
        let forgotten = self.blocked(org).await?;
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
            forgotten: &forgotten,
        };
        let mut run = Run::new(&job, lease, dry_run);
        run.recorder.spills = spills.clone();
        let Taken { input, known, mut census } = match taken {
            Some(taken) => taken?,
            None => {
                let stored = Some(known::Stored::of(&self.store, org.row.id, feed.no));
                let file = self.payloads.path(org.row.id, received.upload);
                let payload = self.open_payload(org, received)?;
                let Sizes { kept_bytes, small_bytes, .. } = self.sizes;
                let settings = &settings;
                let opening = Opening { org, feed, settings, received, stored, file: &file, kept_bytes, small_bytes };
                tokio::task::block_in_place(|| opening.read(payload))?
            }
        };
        stages.done("census");
        let mut resolved = self.resolve(org, &mut census, &known, settings.duplicates, input.reader.columns()).await?;
        stages.done("resolve");
        let wholeness = wholeness(&job, &census, &input);
        // Only a payload that speaks of everybody says something of those whom it does not name.
        let named = match received.mode {
            Mode::Full => self.named(org.row.id, feed.no).await?,
            Mode::Partial | Mode::Leavers => Bits::default(),
        };
        // What grows with the payload is kept no longer than it is needed.
        let contents = std::mem::take(&mut census.misses.contents);
        let mut keys = std::mem::take(&mut census.misses.keys);
        let gives_way_in_part = received.mode != Mode::Full || !wholeness.is_empty();
        if !gives_way_in_part {
            keys = Vec::new();
        }
        let comparison =
            Comparison::new(&job, &census, &mut resolved, &mut run.recorder, &input, org.row.secret.bytes());
        let mut compared = comparison.run(contents, &named, wholeness.is_empty()).await?;
        // Only now is everybody with a new key recognised.
        let tail = self.tail_missing(&job, &named, &resolved.present).await?;
        let misses = census.misses;
        compared.rows =
            Rows { lines: misses.lines, fingerprints: misses.fingerprints, named: resolved.named, ..compared.rows };
        stages.done("compare");
        if gives_way_in_part {
            run.naming = Naming::new(resolved.present, keys);
        }
        compared.figures.incomplete = wholeness;
        compared.figures.tail_missing = tail;
        self.measure(&job, &mut compared, &input).await?;
        if let Some(witness) = witness {
            let file = self.payloads.path(org.row.id, received.upload);
            refused::tell(witness, &compared.issues, &input, &file)?;
        }
        refuse_invalid(&compared, run.recorder.changes, settings.invalid_rows(received.channel))?;
        let holds = Guards::judge(&settings, &compared.figures, received.channel);
        let decision = guard::decide(
            settings.policy(received.channel),
            settings.review.lets(received.asked, compared.figures.removals, compared.figures.alone_24h),
            &holds,
            settings.guards.on_trip,
        );
        run.seal(org, compared, holds, decision, &known, &input).await
    }

    /// Answers a payload that says nothing anew.
    async fn same_again(
        &self,
        lease: &Lease,
        org: &Organisation,
        received: &Received,
        taken: Option<Result<Taken>>,
        dry_run: bool,
        (report, witness): (Report, Asked<'_>),
    ) -> Result<Report> {
        self.tell_again(lease, org, received, taken, witness).await?;
        if !dry_run {
            self.decide_without_changes(lease, org, received.upload, State::NoChanges, report.counts, None).await?;
        }
        let seq = self.store.head(org.row.id).await?.last_seq;
        Ok(Report { upload_id: Some(received.upload), seq, ..report })
    }

    /// Tells a witness of a payload that has its answer already, by comparing it once more without taking anything.
    async fn tell_again(
        &self,
        lease: &Lease,
        org: &Organisation,
        received: &Received,
        taken: Option<Result<Taken>>,
        witness: Asked<'_>,
    ) -> Result<()> {
        if witness.is_none() {
            return Ok(());
        }
        match self.compute(lease, org, received, taken, true, (&Spills::default(), witness)).await {
            Ok(_) | Err(Error::Refused(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// A payload identical to the feed's last decided one says nothing; a retry while held gives the held one back.
    async fn same_as_before(&self, org: &Organisation, received: &Received) -> Result<Option<Report>> {
        let feed = feed_of(org, received)?;
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
            unchanged: rows - before.counts.invalid - before.counts.forgotten,
            invalid: before.counts.invalid,
            forgotten: before.counts.forgotten,
            ..Counts::default()
        };
        Ok(Some(Report {
            counts,
            mapping_version: Some(decided.mapping_version),
            ..self.nothing_yet(org, State::NoChanges).await?
        }))
    }

    /// Figures that rows do not tell.
    async fn measure(&self, job: &Job<'_>, compared: &mut Compared, input: &Input) -> Result<()> {
        let figures = &mut compared.figures;
        figures.alone_24h = self.alone_before(job.org, job.change_set, job.received.asked, figures.removals).await?;
        figures.first_import = job.feed.baseline.is_none() && job.received.mode == Mode::Full;
        if job.received.mode == Mode::Full {
            figures.rows_last = job.feed.baseline.as_ref().map(|b| b.rows);
            if let Some(baseline) = &job.feed.baseline {
                let here = &input.reader.columns().header;
                figures.missing_columns = baseline.columns.iter().filter(|c| !here.contains(c)).cloned().collect();
            }
        } else {
            figures.removals_24h = self.removals_of_a_day(job.org, Some(job.feed.no)).await?;
        }
        Ok(())
    }

    /// Records that nothing was taken from an upload.
    async fn refuse(&self, lease: &Lease, org: &Organisation, received: &Received, why: &str) -> Result<Report> {
        let whole = Issue { line: 0, column: String::new(), value: String::new(), reason: why.to_owned() };
        let fact = Fact::UploadDecided {
            upload: received.upload,
            state: State::Refused,
            counts: Counts::default(),
            roster_version: self.store.head(org.row.id).await?.roster_version,
            reason: None,
        };
        self.record_decided(lease, org, &fact, issues_body(std::slice::from_ref(&whole))).await?;
        Ok(Report {
            upload_id: Some(received.upload),
            issues: vec![whole],
            mapping_version: Some(feed_of(org, received)?.settings.mapping_version),
            ..self.nothing_yet(org, State::Refused).await?
        })
    }

    /// Records what an upload came to that changes nothing.
    pub(crate) async fn decide_without_changes(
        &self,
        lease: &Lease,
        org: &Organisation,
        upload: UploadId,
        state: State,
        counts: Counts,
        reason: Option<Refusal>,
    ) -> Result<()> {
        let roster_version = self.store.head(org.row.id).await?.roster_version;
        let fact = Fact::UploadDecided { upload, state, counts, roster_version, reason };
        self.record_decided(lease, org, &fact, None).await
    }

    /// Records what an upload came to; the body says why, where that may quote the payload.
    async fn record_decided(&self, lease: &Lease, org: &Organisation, fact: &Fact, body: Option<Body>) -> Result<()> {
        let Fact::UploadDecided { upload, state, counts, .. } = *fact else { return Ok(()) };
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        tx.append(vec![event(fact, body)], &self.who(upload.0)).await?;
        self.put_upload_state(&mut tx, org, upload, state, None, counts).await?;
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

fn feed_of<'a>(org: &'a Organisation, received: &Received) -> Result<&'a Feed> {
    let feed = org.feeds.iter().find(|f| f.no == received.feed);
    feed.ok_or_else(|| Error::Damaged("the upload's feed is gone".into()))
}

/// Nothing is taken if any row may not be invalid, or none is anything else and there is nothing to be changed.
fn refuse_invalid(compared: &Compared, changes: u32, rule: InvalidRows) -> Result<()> {
    let Counts { rows, invalid, .. } = compared.counts;
    let first = || {
        let first = compared.issues.iter().find(|i| i.lost).or(compared.issues.first());
        first.map_or(String::new(), |i| format!("; the first: line {}: {}", i.line, i.reason))
    };
    if rule == InvalidRows::Refuse && invalid > 0 {
        let why = format!("{invalid} rows cannot be taken and invalid_rows=refuse, so nothing was taken{}", first());
        return Err(Error::Refused(why));
    }
    if invalid > 0 && invalid == rows && changes == 0 {
        let what = if rows == 1 { "The only row".to_owned() } else { format!("None of the {rows} rows") };
        let verb = if rows == 1 { "cannot" } else { "can" };
        return Err(Error::Refused(format!("{what} {verb} be taken{}", first())));
    }
    Ok(())
}
