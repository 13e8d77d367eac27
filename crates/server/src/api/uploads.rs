//! Uploads: payloads that are sent, what they came to, their issues, and the bytes as they came.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use muster_domain::{
    access::{Action, Resource},
    documents::Upload,
    fact::{self, Counts},
    guard::Hold,
    ids::UploadId,
    settings::{Channel, Mode},
};
use muster_engine::{Error, originals::Original, pipeline::Request as Arriving, report::Report};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Api,
    body::{Path, Query},
    caller::{About, Caller, Noted},
    idempotency,
    page::{self, ListParameters},
};
use crate::{
    openapi::said::{JsonPayload, UploadForm, words},
    problem::{
        FULL_NOT_ALLOWED, IDEMPOTENCY_MISMATCH, IN_FLIGHT, INVALID, MISSING_RIGHT, NOT_FOUND, Problem, ProblemDocument,
        Result,
    },
};

mod coming;
mod declared;
mod form;
pub(crate) mod give_up;
pub(crate) mod issues;
pub(crate) mod mapping;
pub(super) mod source;

pub use coming::Coming;

/// The longest that an answer is waited for.
const LONGEST_WAIT: u64 = 60;

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/uploads", get(list).post(send))
        .route("/uploads/{id}", get(show))
        .route("/uploads/{id}/issues", get(issues::show))
        .route("/uploads/{id}/original", get(original))
        .route("/uploads/{id}/give-up", post(give_up::give_up))
}

/// What is said of a payload in the address.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SendParameters {
    /// What absence means: `full` (who is missing leaves), `partial` (only those named change), `leavers` (those named leave).
    /// The feed's own mode if it is not given.
    #[param(inline, schema_with = modes)]
    pub mode: Option<Mode>,
    /// The feed that the payload speaks for. The key's own, or `main`, if it is not given.
    pub feed: Option<String>,
    /// Apply it whatever the organisation's policy; guards hold all the same.
    pub apply: Option<bool>,
    /// Hold it for review whatever the organisation's policy.
    pub hold: Option<bool>,
    /// Work out what would change, and change nothing.
    pub dry_run: Option<bool>,
    /// How many rows there should be.
    pub expected_rows: Option<u64>,
    /// The moment whose truth the payload tells. One that is older than the last accepted is refused.
    pub as_of: Option<DateTime<Utc>>,
    /// The sheet of a workbook.
    pub sheet: Option<String>,
    /// Column names by field, for this payload alone, as an object in JSON: they count for more than the feed's mapping; `null`
    /// says that no column holds the field.
    #[param(inline, schema_with = mapping::columns_in_text)]
    pub mapping: Option<String>,
}

fn modes() -> utoipa::openapi::schema::Object {
    let what = "What absence means: `full` (who is missing leaves), `partial` (only those named change), `leavers` (those named \
        leave). The feed's own mode if it is not given.";
    words(what, Mode::ALL.iter().map(|m| m.word()))
}

/// An upload, and what it came to: the same words as on the command line.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadDocument {
    /// Identity; none for a dry run.
    pub upload_id: Option<Uuid>,
    /// Its change set, if it has one.
    pub change_set_id: Option<Uuid>,
    /// What it came to: `received` until it is worked on.
    #[schema(example = "applied")]
    pub state: String,
    /// Digest of the changes: what an approval must name.
    pub digest: Option<String>,
    /// Counts of rows.
    #[schema(value_type = Object)]
    pub counts: Counts,
    /// Guards that tripped. To a key that sees only some people or fields `blanked_field` does not say which field it is.
    #[schema(value_type = Vec<Object>)]
    pub holds: Vec<Hold>,
    /// The first hundred row issues. `GET /uploads/{id}/issues` has all that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issues: Option<Vec<issues::IssueDocument>>,
    /// What was assumed in reading the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_as: Option<Vec<String>>,
    /// The version of the feed's mapping that it was read by.
    pub mapping_version: Option<u32>,
    /// The roster version now.
    pub roster_version: u64,
    /// The organisation's last event when this was written: what reads can wait for.
    pub seq: u64,
    /// The feed that it speaks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<String>,
    /// How it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What absence meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// When it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_at: Option<DateTime<Utc>>,
    /// Its place in the order of arrival.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival: Option<u64>,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Column names by field that were said for it alone, if any were; a blank one where no column held the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<BTreeMap<String, String>>,
}

impl UploadDocument {
    /// What an upload came to, as the caller sees it.
    pub fn of_report(report: Report, caller: &Caller) -> UploadDocument {
        let limited = caller.readable(Resource::Uploads);
        UploadDocument {
            upload_id: report.upload_id.map(|u| u.0),
            change_set_id: report.change_set_id.map(|c| c.0),
            state: report.state.word().to_owned(),
            digest: report.digest,
            counts: report.counts,
            holds: caller.holds(Resource::Uploads, report.holds),
            issues: Some(issues::shown(report.issues, limited, caller)),
            read_as: Some(report.read_as),
            mapping_version: report.mapping_version,
            roster_version: report.roster_version,
            seq: report.seq,
            feed: None,
            channel: None,
            mode: None,
            received_at: None,
            arrival: None,
            bytes: None,
            mapping: None,
        }
    }

    fn with(mut self, upload: &Upload, caller: &Caller) -> UploadDocument {
        let received = &upload.received;
        self.feed = Some(caller.organisation.feed_name(received.feed).to_owned());
        self.channel = Some(received.channel.to_string());
        self.mode = Some(received.mode.word().to_owned());
        self.received_at = Some(upload.received_at);
        self.arrival = Some(received.arrival);
        self.bytes = Some(received.size);
        self.mapping = Some(received.mapping.clone()).filter(|mapping| !mapping.is_empty());
        self
    }
}

/// Send a payload
///
/// The bytes are durable before the answer. Without `Prefer: wait=N` the answer is 202 with a `Location` where the outcome will
/// be; with it the outcome is answered if it is there within N seconds (at most 60).
///
/// A `mapping` is for this payload alone. A field that there is none of, or a column that is given to two fields, is refused at
/// once; a column that the payload does not have only once it is read: then the outcome is `refused`.
#[utoipa::path(
    post, path = "/api/v1/uploads", tag = "uploads", params(SendParameters),
    request_body(content(
        ("text/csv"), (JsonPayload = "application/json"), ("application/x-ndjson"), (UploadForm = "multipart/form-data"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"), ("application/gzip")
    )),
    responses(
        (status = 200, description = "The outcome", body = UploadDocument),
        (status = 202, description = "Accepted; it is worked on in order of arrival", body = UploadDocument),
        (status = "4XX", description = "Nothing was taken", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn send(
    caller: Caller,
    State(_): State<Api>,
    Query(parameters): Query<SendParameters>,
    request: Request,
) -> Result<Response> {
    caller.needs(Resource::Uploads, Action::Create)?;
    let headers = request.headers().clone();
    let coming = Coming::take(&caller, parameters, request).await?;
    let report = take(&caller, coming, &headers).await?;
    answer(&caller, report, &headers).await
}

/// Takes a payload in, or tries it.
pub async fn take(caller: &Caller, coming: Coming, headers: &HeaderMap) -> Result<Report> {
    let said = coming.said.clone();
    let feed = caller.feed(said.feed.as_deref())?;
    let mode = said.mode.or(feed.settings.mode).ok_or_else(|| {
        Problem::new(
            &INVALID,
            "Say what absence means with `mode`: full (who is missing leaves), partial (only those named change) or leavers \
             (those named leave).",
        )
    })?;
    if !caller.grant.may_send(mode, feed.no) {
        return Err(Problem::new(&FULL_NOT_ALLOWED, FULL_NOT_ALLOWED.cause));
    }
    if !caller.grant.key.rows.is_empty() && caller.grant.key.feed != Some(feed.no) {
        let why = "The key sees only some people, and a payload may name anybody: send the members to PUT /members, or bind the \
            key to a feed of its own.";
        return Err(Problem::new(&MISSING_RIGHT, why));
    }
    if caller.writable(Resource::Uploads).is_some() {
        return Err(Problem::new(
            &MISSING_RIGHT,
            "The key may write some fields only, and a payload may have any: send the members to PUT /members instead.",
        ));
    }
    let key = idempotency::key_of(headers)?.map(|key| format!("{}:{key}", caller.grant.key.id));
    let request = Arriving {
        feed: Some(feed.settings.name.clone()),
        mode: Some(mode),
        channel: Some(Channel::Api),
        asked: said.asked,
        dry_run: said.dry_run,
        format: coming.format.map(str::to_owned),
        sheet: said.sheet,
        mapping: said.mapping,
        expect_rows: said.expected_rows,
        as_of: said.as_of,
        idempotency_key: key.clone(),
        file_name: coming.file_name.clone(),
        ..Arriving::default()
    };
    let mut source = coming.source;
    let taken = match request.dry_run || coming.now {
        true => caller.engine.sync(caller.slug(), request, &mut source).await,
        false => caller.engine.take_in(caller.slug(), request, &mut source).await,
    };
    match (taken, source.failure()) {
        (_, Some(problem)) => Err(problem),
        (Err(Error::Reused(why)), _) => Err(Problem::new(&IDEMPOTENCY_MISMATCH, why)),
        (Err(Error::Store(muster_store::StoreError::KeyConflict)), _) if key.is_some() => {
            Err(Problem::new(&IN_FLIGHT, "The same request has not been answered yet.")
                .header(header::RETRY_AFTER, "1"))
        }
        (taken, None) => Ok(taken?),
    }
}

/// The answer, waited for as long as the caller would.
async fn answer(caller: &Caller, report: Report, headers: &HeaderMap) -> Result<Response> {
    let wait = preferred_wait(headers);
    let Some(id) = report.upload_id.filter(|_| report.state == fact::State::Received) else {
        let location = report.upload_id.map(|id| format!("/api/v1/uploads/{id}"));
        let document = match report.upload_id {
            // What was answered before comes without its issues.
            Some(id) if report.issues.is_empty() && report.counts.invalid > 0 => {
                whole(caller, &caller.engine.find_upload(&caller.organisation, &id.to_string()).await?).await?
            }
            _ => UploadDocument::of_report(report, caller),
        };
        let mut response = Json(document).into_response();
        put(&mut response, header::LOCATION, location);
        return Ok(response);
    };
    let deadline = Instant::now() + Duration::from_secs(wait.unwrap_or(0));
    let mut pause = Duration::from_millis(10);
    let upload = loop {
        let upload = caller.engine.upload(&caller.organisation, id).await?;
        if upload.state != fact::State::Received || Instant::now() >= deadline {
            break upload;
        }
        tokio::time::sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    };
    let done = upload.state != fact::State::Received;
    let document = whole(caller, &upload).await?;
    let status = if done { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, Json(document)).into_response();
    put(&mut response, header::LOCATION, Some(format!("/api/v1/uploads/{id}")));
    if let (Some(wait), true) = (wait, done) {
        put(&mut response, HeaderName::from_static("preference-applied"), Some(format!("wait={wait}")));
    }
    if !done {
        put(&mut response, header::RETRY_AFTER, Some("1".to_owned()));
    }
    Ok(response)
}

fn put(response: &mut Response, name: HeaderName, value: Option<String>) {
    if let Some(value) = value.and_then(|v| HeaderValue::try_from(v).ok()) {
        response.headers_mut().insert(name, value);
    }
}

/// `Prefer: wait=N` (RFC 7240, section 4.3).
fn preferred_wait(headers: &HeaderMap) -> Option<u64> {
    let all = headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok());
    let mut preferences = all.flat_map(|line| line.split([',', ';'])).map(str::trim);
    let wait = preferences.find_map(|p| p.strip_prefix("wait=")?.trim_matches('"').parse::<u64>().ok())?;
    Some(wait.min(LONGEST_WAIT))
}

/// A page of uploads, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadPage {
    /// The uploads.
    pub uploads: Vec<UploadDocument>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// List uploads, newest first
#[utoipa::path(get, path = "/api/v1/uploads", tag = "uploads", params(ListParameters),
    responses((status = 200, body = UploadPage)))]
pub async fn list(caller: Caller, Query(parameters): Query<ListParameters>) -> Result<Json<UploadPage>> {
    caller.needs(Resource::Uploads, Action::Read)?;
    let which = parameters.which(&caller)?;
    let mut found = caller.engine.uploads(&caller.organisation, which).await?;
    let next = page::cut(&mut found, which, |upload| upload.received.arrival);
    let mut uploads = Vec::with_capacity(found.len());
    for upload in &found {
        let report = caller.engine.report(&caller.organisation, upload).await?;
        let mut document = UploadDocument::of_report(report, &caller).with(upload, &caller);
        (document.issues, document.read_as) = (None, None);
        uploads.push(document);
    }
    Ok(Json(UploadPage { uploads, next }))
}

/// A key that is bound to a feed sees that feed's uploads alone.
fn sees(caller: &Caller, upload: &Upload) -> bool {
    caller.grant.key.feed.is_none_or(|feed| feed == upload.received.feed)
}

/// The upload of an identity, if the caller sees it.
pub async fn find(caller: &Caller, id: &str) -> Result<Upload> {
    let nothing = || Problem::new(&NOT_FOUND, "There is no such upload in your organisation.");
    let id = id.parse::<Uuid>().map_err(|_| nothing())?;
    let found = caller.engine.upload(&caller.organisation, UploadId(id)).await;
    let upload = found.map_err(|e| if matches!(e, Error::Unknown(_)) { nothing() } else { e.into() })?;
    if sees(caller, &upload) { Ok(upload) } else { Err(nothing()) }
}

/// Show an upload
#[utoipa::path(get, path = "/api/v1/uploads/{id}", tag = "uploads", params(("id" = Uuid, Path)),
    responses((status = 200, body = UploadDocument), (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn show(caller: Caller, noted: Noted, Path(id): Path<String>) -> Result<Json<UploadDocument>> {
    caller.needs(Resource::Uploads, Action::Read)?;
    let upload = find(&caller, &id).await?;
    noted.keep(About::upload(upload.received.upload));
    whole(&caller, &upload).await.map(Json)
}

/// An upload with the first of its issues.
async fn whole(caller: &Caller, upload: &Upload) -> Result<UploadDocument> {
    let mut report = caller.engine.report(&caller.organisation, upload).await?;
    report.issues = issues::all(caller, upload).await?.into_iter().take(100).collect();
    Ok(UploadDocument::of_report(report, caller).with(upload, caller))
}

/// Get the payload as it came
#[utoipa::path(get, path = "/api/v1/uploads/{id}/original", tag = "uploads", params(("id" = Uuid, Path)),
    responses((status = 200, content_type = "application/octet-stream")))]
pub async fn original(caller: Caller, noted: Noted, Path(id): Path<String>) -> Result<Response> {
    caller.needs(Resource::Uploads, Action::Download)?;
    if !caller.grant.sees_everything() {
        let why = "The key sees some people or some fields only, and a payload cannot be shown in part.";
        return Err(Problem::new(&MISSING_RIGHT, why));
    }
    let upload = find(&caller, &id).await?;
    let id = upload.received.upload;
    noted.keep(About::upload(id));
    let gone = || Problem::new(&NOT_FOUND, "The payload is not kept any more, or there never was one.");
    if caller.engine.original(&caller.organisation, id).await? != Original::Kept {
        return Err(gone());
    }
    let path = caller.engine.payloads.path(caller.organisation.row.id, id);
    let file = tokio::fs::File::open(path).await.map_err(|e| match e.kind() {
        // It may be destroyed just now, or somebody lost the directory of payloads.
        std::io::ErrorKind::NotFound => gone(),
        _ => Problem::internal(&e),
    })?;
    let mut response = Response::new(Body::from_stream(source::read_file(file)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(upload.received.size));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let name = format!("attachment; filename=\"{id}\"");
    if let Ok(value) = HeaderValue::try_from(name) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
