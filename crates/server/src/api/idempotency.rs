//! `Idempotency-Key`: a request that comes again gets the answer that it had, for 24 hours. Uploads are told apart by what is in
//! them, by the engine; everything else by its method, address and body, here.

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use muster_store::access::{Answer, ClaimedAnswer};
use std::time::Duration;

use super::{body, caller::Caller};
use crate::problem::{IDEMPOTENCY_MISMATCH, IN_FLIGHT, Problem, Result, UNREADABLE};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// That an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// How often a request that is worked on says so.
const PROLONG: Duration = Duration::from_secs(20);

/// The key that a request has.
///
/// # Errors
/// If it is none.
pub fn key_of(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    let text = value.to_str().unwrap_or("").trim().trim_matches('"');
    if text.is_empty() || text.len() > 200 {
        return Err(Problem::new(&UNREADABLE, "An Idempotency-Key has between 1 and 200 visible letters."));
    }
    Ok(Some(text.to_owned()))
}

/// Whether a request is told apart here.
pub fn is_ours(method: &Method, route: &str, headers: &HeaderMap) -> bool {
    let writes = matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
    let is_upload = matches!(route, "/api/v1/uploads" | "/api/public/upload");
    writes && !is_upload && headers.contains_key(KEY)
}

/// Runs a request once: whoever comes again with the same key gets the same answer.
pub async fn once(caller: &Caller, route: &str, request: Request, next: Next) -> Response {
    match claimed(caller, request).await {
        Err(problem) => problem.into_response(),
        Ok((Answer::InFlight, _)) => Problem::new(&IN_FLIGHT, "The same request has not been answered yet.")
            .header(header::RETRY_AFTER, "1")
            .into_response(),
        Ok((Answer::OtherContent, _)) => {
            Problem::new(&IDEMPOTENCY_MISMATCH, "Another request came with this Idempotency-Key within 24 hours.")
                .into_response()
        }
        Ok((Answer::Given { status, body }, _)) => again(status, body),
        Ok((Answer::New(claim), request)) => run(caller, route, claim, request, next).await,
    }
}

async fn claimed(caller: &Caller, request: Request) -> Result<(Answer, Request)> {
    let key = key_of(request.headers())?.unwrap_or_default();
    let (parts, coming) = request.into_parts();
    let bytes = body::collect(coming).await?;
    let mut hash = blake3::Hasher::new();
    for part in [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &bytes] {
        hash.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let (org, id) = (caller.organisation.row.id, &caller.grant.key.id);
    let answer = caller.engine.claim_answer(org, id, &key, hash.finalize().as_bytes()).await?;
    Ok((answer, Request::from_parts(parts, Body::from(bytes))))
}

fn again(status: u16, body: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

async fn run(caller: &Caller, route: &str, claim: ClaimedAnswer, request: Request, next: Next) -> Response {
    let mut running = std::pin::pin!(next.run(request));
    let response = loop {
        tokio::select! {
            response = &mut running => break response,
            () = tokio::time::sleep(PROLONG) => {
                if let Err(e) = caller.engine.prolong_answer(&claim).await {
                    tracing::warn!(error = %e, "a request with an idempotency key could not be prolonged");
                }
            }
        }
    };
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    // What failed on our side, or came too early, may come again.
    let kept = match parts.status.as_u16() {
        429 | 500.. => caller.engine.drop_answer(&claim).await,
        status => caller.engine.keep_answer(&claim, status, &without_secret(route, &bytes)).await.map(drop),
    };
    if let Err(e) = kept {
        tracing::warn!(error = %e, "an answer could not be kept for whoever asks again");
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// A key's secret is answered once, and stored nowhere.
fn without_secret(route: &str, body: &Bytes) -> Vec<u8> {
    if !route.starts_with("/api/v1/keys") {
        return body.to_vec();
    }
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(serde_json::Value::Object(mut document)) if document.contains_key("key") => {
            document.insert("key".to_owned(), serde_json::Value::Null);
            serde_json::to_vec(&document).unwrap_or_default()
        }
        _ => body.to_vec(),
    }
}
