//! Receive: the bytes are durable before the log says that they came, and nobody's answer is given twice.

use std::{collections::BTreeMap, io::Read};

use chrono::{DateTime, Utc};
use muster_domain::{
    documents::{Feed, Upload},
    eligibility,
    event::Body,
    fact::{Counts, Fact, Received, State},
    guard::Asked,
    ids::UploadId,
    member::Member,
    settings::{Channel, Mode},
};
use muster_intake::{IntakeError, payload::UpTo};
use muster_store::{Lease, StoreError, UploadRow};
use uuid::Uuid;

use crate::{
    Engine, Error, Organisation, Result, crash, event, known,
    mapping::for_one_payload,
    opening::{Opening, Taken},
    payload::Stored,
    pipeline::Stages,
    report::Report,
};

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
    /// Column names by field, for this payload alone; a blank one where no column holds the field.
    pub mapping: BTreeMap<String, String>,
    /// How many rows there should be.
    pub expect_rows: Option<u64>,
    /// The SHA-256 that the payload should have, hexadecimal.
    pub expect_sha256: Option<String>,
    /// The moment whose truth the payload tells.
    pub as_of: Option<DateTime<Utc>>,
    /// The same key with the same payload gives the same answer, for 24 hours.
    pub idempotency_key: Option<String>,
    /// The name of the file, for people.
    pub file_name: Option<String>,
    /// Nothing is taken unless this member is as they were seen.
    pub seen: Option<Box<Member>>,
}

/// A payload that was refused while it came in says so; anything else is the disk's or the sender's fault.
fn too_large(error: std::io::Error) -> Error {
    match error.downcast::<IntakeError>() {
        Ok(refused) => refused.into(),
        Err(error) => error.into(),
    }
}

/// A payload that tells the truth of an earlier moment than the last accepted one says nothing.
pub(crate) fn check_as_of(feed: &Feed, as_of: Option<DateTime<Utc>>) -> Result<()> {
    match (as_of, feed.baseline.as_ref().and_then(|b| b.as_of)) {
        (Some(as_of), Some(last)) if as_of < last => Err(Error::Refused(format!(
            "The payload tells the truth of {}, and one of {} was accepted before: nothing was taken from the older one.",
            as_of.to_rfc3339(),
            last.to_rfc3339(),
        ))),
        _ => Ok(()),
    }
}

/// What receiving gives.
pub(crate) enum Arrival {
    /// An upload to be worked on, with the census that was taken while it came in.
    New(Box<Received>, Box<Result<Taken>>),
    /// The answer to an earlier upload with the same key, or of the same payload; this one is not kept.
    Answered(Box<Report>, Box<Received>, Box<Result<Taken>>),
}

impl Engine {
    /// Receive: the bytes are durable before the log says so.
    pub(crate) async fn receive(
        &self,
        lease: &Lease,
        org: &Organisation,
        request: &Request,
        source: &mut (dyn Read + Send),
    ) -> Result<Arrival> {
        let mut stages = Stages::start();
        let (feed, mut received) = self.arriving(org, request)?;
        let upload = received.upload;
        let settings = org.settings.for_feed(&feed.settings);
        let file = self.payloads.path(org.row.id, upload);
        let mut source = UpTo::new(source, settings.limits);
        let opening = Opening {
            org,
            feed,
            settings: &settings,
            received: &received,
            stored: Some(known::Stored::of(&self.store, org.row.id, feed.no)),
            file: &file,
            kept_bytes: self.sizes.kept_bytes,
            small_bytes: self.sizes.small_bytes,
        };
        let (stored, taken) = tokio::task::block_in_place(|| {
            self.payloads.store_while(org.row.id, upload, &mut source, request.expect_sha256.is_some(), |payload| {
                opening.read(payload)
            })
        })
        .map_err(too_large)?;
        crash::point("payload");
        stages.done("store payload");
        let answer = self.settle_arrival(Some(lease), org, request, &mut received, stored).await?;
        stages.done("accept");
        Ok(match answer {
            Some(report) => Arrival::Answered(Box::new(report), Box::new(received), Box::new(taken)),
            None => Arrival::New(Box::new(received), Box::new(taken)),
        })
    }

    /// Takes a payload in for whoever works: it is durable, and has its place in the order of arrival, before the answer.
    /// Nothing of the organisation is waited for but an append.
    ///
    /// # Errors
    /// If it makes no sense, is not what was expected, or the store refuses; then nothing of it is kept.
    pub async fn take_in(&self, slug: &str, request: Request, source: &mut (dyn Read + Send)) -> Result<Report> {
        if request.dry_run {
            return Err(Error::Wrong("A dry run leaves nothing to be worked on later.".to_owned()));
        }
        let org = self.organisation(slug).await?;
        let (feed, mut received) = self.arriving(&org, &request)?;
        let (id, upload) = (org.row.id, received.upload);
        let mut source = UpTo::new(source, org.settings.for_feed(&feed.settings).limits);
        let stored = tokio::task::block_in_place(|| {
            self.payloads.store_coming(id, upload, &mut source, request.expect_sha256.is_some())
        })
        .map_err(too_large)?;
        crash::point("payload");
        let answer = self.settle_arrival(None, &org, &request, &mut received, stored).await;
        // Where the database failed, the upload may be accepted all the same: then its payload must be there. If it is not
        // accepted, the file is found to be a leftover later.
        if let Ok(Some(_)) | Err(Error::Refused(_) | Error::Wrong(_) | Error::Reused(_)) = &answer {
            self.payloads.discard(id, upload);
        }
        if let Some(report) = answer? {
            return Ok(report);
        }
        crash::point("received");
        tracing::info!(organisation = %slug, correlation = %upload.0, "an upload was taken in");
        Ok(Report { upload_id: Some(upload), ..self.nothing_yet(&org, State::Received).await? })
    }

    /// What is known of a payload before its first byte.
    fn arriving<'a>(&self, org: &'a Organisation, request: &Request) -> Result<(&'a Feed, Received)> {
        let feed = org.feed(request.feed.as_deref().unwrap_or("main"))?;
        let mode = request.mode.or(feed.settings.mode).ok_or_else(|| {
            Error::Wrong(
                "Say what absence means: --mode full (who is missing leaves), partial (only those named change) or leavers \
                 (those named leave); or give the feed a mode with `muster feeds set`."
                    .to_owned(),
            )
        })?;
        check_as_of(feed, request.as_of)?;
        let mapping = for_one_payload(&request.mapping, &org.settings).map_err(|e| Error::Wrong(e.why))?;
        let received = Received {
            upload: UploadId(Uuid::now_v7()),
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
            mapping,
            undoes: Vec::new(),
            hands_over: None,
        };
        Ok((feed, received))
    }

    /// A stored payload is accepted, or gets the answer that it had before.
    async fn settle_arrival(
        &self,
        lease: Option<&Lease>,
        org: &Organisation,
        request: &Request,
        received: &mut Received,
        stored: Stored,
    ) -> Result<Option<Report>> {
        if let (Some(expected), Some(found)) = (&request.expect_sha256, &stored.sha256)
            && !expected.eq_ignore_ascii_case(found)
        {
            self.payloads.discard(org.row.id, received.upload);
            return Err(Error::Refused(
                "The payload's SHA-256 is not the one expected: it was changed or cut on its way. Send it again."
                    .to_owned(),
            ));
        }
        (received.size, received.blake3) = (stored.size, stored.blake3);
        let key = request.idempotency_key.as_deref();
        if let Some(report) = self.answered(org, key, received).await? {
            return Ok(Some(report));
        }
        if let Some(report) = self.held_already(org, received).await? {
            return Ok(Some(report));
        }
        if request.dry_run {
            return Ok(None);
        }
        match self.accept(lease, org, request, received).await {
            Ok(()) => Ok(None),
            // Another came with the same key at the same time, and was quicker.
            Err(Error::Store(StoreError::KeyConflict)) => self.answered(org, key, received).await,
            Err(e) => Err(e),
        }
    }

    async fn accept(
        &self,
        lease: Option<&Lease>,
        org: &Organisation,
        request: &Request,
        received: &mut Received,
    ) -> Result<()> {
        let mut tx = self.store.begin(org.row.id, lease).await?;
        received.arrival = tx.next_arrival().await?;
        if let Some(key) = &request.idempotency_key
            && let Some(before) = tx.upload_by_key(key).await?
            && !serde_json::from_slice::<Upload>(&before.doc)?.keeps_its_key(self.now())
        {
            tx.free_upload_key(before.id).await?;
        }
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
            destroyed: None,
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
        if lease.is_none() {
            self.payloads.arrive(org.row.id, received.upload)?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The same key again within 24 hours: the first answer if it came with the same payload, a conflict if not.
    async fn answered(&self, org: &Organisation, key: Option<&str>, received: &Received) -> Result<Option<Report>> {
        let Some(key) = key else { return Ok(None) };
        let Some(row) = self.store.upload_by_key(org.row.id, key).await? else { return Ok(None) };
        let upload: Upload = serde_json::from_slice(&row.doc)?;
        if !upload.keeps_its_key(self.now()) {
            return Ok(None);
        }
        let before = &upload.received;
        let same = before.blake3 == received.blake3
            && before.feed == received.feed
            && before.mode == received.mode
            && before.mapping == received.mapping
            && before.sheet == received.sheet;
        if !same {
            return Err(Error::Reused(
                "This idempotency key came with another payload, feed, mode, sheet or mapping within 24 hours; use a new key for a \
                 new payload."
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
                // Somebody in it was forgotten since: that is to be seen.
                && upload.destroyed.is_none()
            {
                return Ok(Some(self.report(org, &upload).await?));
            }
        }
        Ok(None)
    }
}
