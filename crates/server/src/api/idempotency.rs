//! `Idempotency-Key`: a request that was answered and comes again gets the answer that it had, for 24 hours. Uploads are told apart
//! by what is in them, by the engine; every other write by its method, address, `If-Match` and body, here.

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, response},
    middleware::Next,
    response::{IntoResponse, Response},
};
use muster_domain::{
    access::{Grant, Resource},
    event::Hash,
};
use muster_store::access::{Answer, ClaimedAnswer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

use super::{body, caller::Caller, gate::to_its_end};
use crate::problem::{CONFLICT, IDEMPOTENCY_MISMATCH, IN_FLIGHT, Problem, Result, UNREADABLE};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// That an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// How often a request that is worked on says so.
const PROLONG: Duration = Duration::from_secs(20);
/// What only reads, though it is POSTed since addresses end in logs. It is answered anew each time: by the rights and the roster
/// of now, with its line in the log of reads, and nothing of it is kept.
const READS: [&str; 4] =
    ["/api/v1/members/search", "/api/v1/members/lookup", "/api/v1/eligibility", "/api/v1/feeds/{name}/map"];
/// The headers of an answer that are given again with it.
const GIVEN_AGAIN: [HeaderName; 4] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG, header::CACHE_CONTROL];

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

/// Whether what is sent there only reads, though it is POSTed.
pub fn only_reads(route: &str) -> bool {
    READS.contains(&route)
}

/// Whether a request is told apart here.
pub fn is_ours(method: &Method, route: &str, headers: &HeaderMap) -> bool {
    let is_upload = matches!(route, "/api/v1/uploads" | "/api/public/upload");
    is_write(method, route) && !is_upload && headers.contains_key(KEY)
}

/// Whether a request may change something.
pub fn is_write(method: &Method, route: &str) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE) && !only_reads(route)
}

/// Runs a request once: whoever comes again with the same key gets the same answer. `until_done` is let go of when it has been
/// worked on, which may be after whoever asked has gone.
pub async fn once(
    caller: &Caller,
    route: &str,
    request: Request,
    next: Next,
    until_done: impl Send + 'static,
) -> Response {
    let asked = match Asked::read(caller.organisation.row.secret.bytes(), route, request).await {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let caller = caller.clone();
    // Whoever hangs up finds the answer when they come again.
    to_its_end(async move { asked.answer(&caller, next).await }, until_done).await
}

/// A request, with all of its body.
struct Asked {
    key: String,
    route: String,
    /// What tells it from others.
    content: Hash,
    request: Request,
}

impl Asked {
    async fn read(secret: &[u8; 32], route: &str, request: Request) -> Result<Asked> {
        let key = key_of(request.headers())?.unwrap_or_default();
        let (parts, coming) = request.into_parts();
        let bytes = body::collect(coming).await?;
        let uri = parts.uri.to_string();
        // Keyed: it outlives what is forgotten, and must not tell it to whoever tries names out.
        let mut hash = blake3::Hasher::new_keyed(secret);
        let mut take = |part: &[u8]| {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part);
        };
        // The route too: the same path stands below more than one beginning.
        [parts.method.as_str().as_bytes(), route.as_bytes(), uri.as_bytes(), &bytes].into_iter().for_each(&mut take);
        // What was seen is part of what is asked for: a decision on something else is another decision.
        parts.headers.get_all(header::IF_MATCH).iter().for_each(|tags| take(tags.as_bytes()));
        // The same bytes, said to be something else, are something else.
        for said in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
            take(parts.headers.get(said).map_or(b"", HeaderValue::as_bytes));
        }
        let content = *hash.finalize().as_bytes();
        let request = Request::from_parts(parts, Body::from(bytes));
        Ok(Asked { key, route: route.to_owned(), content, request })
    }

    async fn answer(self, caller: &Caller, next: Next) -> Response {
        let (org, id) = (caller.organisation.row.id, &caller.grant.key.id);
        match caller.engine.claim_answer(org, id, &self.key, &self.content).await {
            Err(e) => Problem::from(e).into_response(),
            Ok(Answer::InFlight) => Problem::new(&IN_FLIGHT, "The same request has not been answered yet.")
                .header(header::RETRY_AFTER, "1")
                .into_response(),
            Ok(Answer::OtherContent) => {
                let why = "Another request came with this Idempotency-Key within 24 hours.";
                Problem::new(&IDEMPOTENCY_MISMATCH, why).into_response()
            }
            Ok(Answer::Given { status, body }) => again(&caller.grant, status, &body),
            Ok(Answer::New(claim)) => run(caller, &self.route, claim, self.request, next).await,
        }
    }
}

/// The answer that was given before, to whoever may do what they could do then.
fn again(grant: &Grant, status: u16, kept: &[u8]) -> Response {
    let kept = Kept::unpack(kept).filter(|(kept, _)| kept.rights == rights_of(grant));
    let Some((kept, body)) = kept else {
        let why = "This request was done before, and what the key may do is something else since then: so its answer is not \
            given again. Look at what it did, and send what is still to be done with a new Idempotency-Key.";
        return Problem::new(&CONFLICT, why).into_response();
    };
    let mut response = Response::new(Body::from(body.to_vec()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    kept.put(response.headers_mut());
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
    let kept = if is_kept(parts.status, &parts.headers) {
        let packed = Kept::of(&caller.grant, &parts).pack(&without_secret(route, &bytes));
        caller.engine.keep_answer(&claim, parts.status.as_u16(), &packed).await.map(drop)
    } else {
        caller.engine.drop_answer(&claim).await
    };
    if let Err(e) = kept {
        tracing::warn!(error = %e, "an answer could not be kept for whoever asks again");
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Whether an answer is given again: what was done, and what was refused for what it asks. What says who may ask (401, 403), or
/// that the same may be tried again (408, 429, `Retry-After`, every fault of ours), is about this attempt alone.
fn is_kept(status: StatusCode, headers: &HeaderMap) -> bool {
    let of_this_attempt =
        [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_success()
        || status.is_client_error() && !of_this_attempt.contains(&status) && !headers.contains_key(header::RETRY_AFTER)
}

/// What is kept of an answer beside its status and its body: a line of JSON in front of that.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// What the caller could do.
    rights: String,
    /// Headers, by name.
    headers: Vec<(String, String)>,
}

impl Kept {
    fn of(grant: &Grant, parts: &response::Parts) -> Kept {
        let said = |name: &HeaderName| Some((name.to_string(), parts.headers.get(name)?.to_str().ok()?.to_owned()));
        Kept { rights: rights_of(grant), headers: GIVEN_AGAIN.iter().filter_map(said).collect() }
    }

    fn pack(&self, body: &[u8]) -> Vec<u8> {
        let mut packed = json!(self).to_string().into_bytes();
        packed.push(b'\n');
        packed.extend_from_slice(body);
        packed
    }

    fn unpack(packed: &[u8]) -> Option<(Kept, &[u8])> {
        let end = packed.iter().position(|byte| *byte == b'\n')?;
        Some((serde_json::from_slice(&packed[..end]).ok()?, &packed[end + 1..]))
    }

    fn put(self, headers: &mut HeaderMap) {
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
    }
}

/// What a caller may do, as a hash: on whose behalf, and what, on which fields, on whom and for which feed.
fn rights_of(grant: &Grant) -> String {
    let (user, key) = (&grant.user, &grant.key);
    let fields = Resource::ALL.map(|resource| (key.fields.readable(resource), key.fields.writable(resource)));
    let all = json!([user.id, user.operator, grant.role, grant.rights, fields, key.rows, key.feed]);
    blake3::hash(all.to_string().as_bytes()).to_hex().to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_beside_an_answer_is_had_again() {
        let headers = [("etag", "\"7\""), ("location", "/api/v1/uploads/1")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        for body in [&b""[..], b"{}", b"{\n}\n"] {
            let packed = Kept { rights: "r".to_owned(), headers: headers.clone() }.pack(body);
            let (kept, rest) = Kept::unpack(&packed).unwrap();
            assert_eq!((kept.rights.as_str(), rest), ("r", body));
            let mut given = HeaderMap::new();
            kept.put(&mut given);
            assert!(
                given.len() == 2 && given[header::ETAG] == "\"7\"" && given[header::LOCATION] == "/api/v1/uploads/1"
            );
        }
        assert_eq!(Kept::unpack(b"{\"total\":1}"), None);
        assert_eq!(Kept::unpack(b"{\"total\":1}\n"), None);
    }

    #[test]
    fn what_was_done_or_refused_is_kept_and_what_may_be_tried_again_is_not() {
        let kept = |status: u16, headers: &HeaderMap| is_kept(StatusCode::from_u16(status).unwrap(), headers);
        let none = HeaderMap::new();
        for status in [200, 201, 202, 204, 400, 404, 405, 409, 412, 413, 415, 422, 428] {
            assert!(kept(status, &none), "{status}");
        }
        for status in [401, 403, 408, 429, 500, 503] {
            assert!(!kept(status, &none), "{status}");
        }
        let later = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("1"))]);
        assert!(!kept(409, &later) && kept(202, &later));
    }

    #[test]
    fn what_only_reads_is_answered_anew() {
        let headers = HeaderMap::from_iter([(KEY, HeaderValue::from_static("k"))]);
        for route in READS {
            assert!(!is_ours(&Method::POST, route, &headers), "{route}");
        }
        assert!(is_ours(&Method::PUT, "/api/v1/members", &headers));
        assert!(!is_ours(&Method::GET, "/api/v1/members", &headers));
    }
}
