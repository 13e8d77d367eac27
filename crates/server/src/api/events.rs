//! The log, event by event, for whoever keeps a copy in step: lines of JSON, or server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
    routing::get,
};
use muster_domain::{
    access::{Action, Resource},
    replay::log::write_event,
};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::{Api, body::Query, caller::Caller, page};
use crate::problem::{Problem, ProblemDocument, Result, UNREADABLE};

/// How often is looked whether there is more.
const LOOK: Duration = Duration::from_millis(250);
/// The longest that new events are waited for.
const LONGEST_WAIT: u64 = 60;
/// So many events are read at a time: each may hold a thousand changes.
const TOGETHER: u32 = 16;
const MOST: u32 = 10_000;
/// Where the next page begins.
const NEXT: HeaderName = HeaderName::from_static("x-next-cursor");

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new().route("/events", get(show))
}

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventParameters {
    /// Behind this cursor, as `X-Next-Cursor` or the identity of a server-sent event gave it. `start` for the beginning.
    pub after: Option<String>,
    /// At most so many, 1 to 10,000. A stream of server-sent events has no end.
    #[param(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
    /// If there is nothing new, wait so many seconds for it, at most 60.
    #[param(maximum = 60)]
    pub wait: Option<u64>,
}

/// Read events
///
/// Lines of JSON as `muster events export` writes them; `X-Next-Cursor` says where to go on. With `Accept: text/event-stream` a
/// stream that goes on with what happens. A key that sees only some people, fields or one feed gets events without their bodies.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventParameters),
    responses(
        (status = 200, content((String = "application/x-ndjson"), (String = "text/event-stream"))),
        (status = 400, body = ProblemDocument, content_type = "application/problem+json"),
    ))]
pub async fn show(caller: Caller, Query(parameters): Query<EventParameters>, headers: HeaderMap) -> Result<Response> {
    caller.needs(Resource::Events, Action::Read)?;
    let given = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let streams = given("accept").is_some_and(|a| a.contains("text/event-stream"));
    let cursor = given("last-event-id").filter(|_| streams).or(parameters.after).unwrap_or_else(|| "start".to_owned());
    let (engine, org) = (&caller.engine, &caller.organisation);
    let after = engine.after(org, &cursor).await.map_err(|e| match e {
        muster_engine::Error::Wrong(_) => page::bad_cursor(),
        e => e.into(),
    })?;
    let limit = match parameters.limit {
        None => 1000,
        Some(n) if (1..=MOST).contains(&n) => n,
        Some(_) => return Err(Problem::new(&UNREADABLE, format!("`limit` is between 1 and {MOST}."))),
    };
    let wait = parameters.wait.unwrap_or(0);
    if wait > LONGEST_WAIT {
        return Err(Problem::new(&UNREADABLE, format!("`wait` is at most {LONGEST_WAIT}.")));
    }
    if streams {
        return Ok(response("text/event-stream", lines(caller, after, None), None));
    }
    let deadline = Instant::now() + Duration::from_secs(wait);
    let last = loop {
        let last = engine.store.head(org.row.id).await?.last_seq;
        if last > after || Instant::now() >= deadline {
            break last.min(after + u64::from(limit));
        }
        tokio::time::sleep(LOOK).await;
    };
    // Numbers have no gaps, so where this ends is known before it is read.
    let next = engine.cursor(org, last.max(after)).await?;
    Ok(response("application/x-ndjson", lines(caller, after, Some(last)), Some(next)))
}

fn response(
    kind: &'static str,
    lines: impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
    next: Option<String>,
) -> Response {
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(next) = next.and_then(|n| HeaderValue::try_from(n).ok()) {
        response.headers_mut().insert(NEXT, next);
    }
    response
}

/// Events up to one of them as lines of JSON, or without end as server-sent events. What fails ends the stream: whoever
/// reads goes on from the last that they have.
fn lines(
    caller: Caller,
    after: u64,
    until: Option<u64>,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    let whole = caller.grant.key.rows.is_empty()
        && caller.readable(Resource::Events).is_none()
        && caller.grant.key.feed.is_none();
    futures_util::stream::unfold((caller, after, Instant::now()), move |(caller, after, spoke)| async move {
        if until.is_some_and(|until| after >= until) {
            return None;
        }
        let (engine, org) = (&caller.engine, &caller.organisation);
        let left = until.map_or(TOGETHER, |until| (until - after).min(u64::from(TOGETHER)) as u32);
        let events = engine.store.events(org.row.id, after, left).await;
        let events = events.inspect_err(|e| tracing::warn!(error = %e, "a stream of events ends")).ok()?;
        let mut out = Vec::new();
        let mut last = after;
        for mut event in events {
            last = event.meta.seq;
            if !whole {
                event.body = None;
            }
            if until.is_none() {
                let id = engine.cursor(org, last).await.ok()?;
                out.extend_from_slice(format!("id: {id}\nevent: {}\ndata: ", event.meta.kind).as_bytes());
            }
            write_event(&event, &mut out).ok()?;
            if until.is_none() {
                out.push(b'\n');
            }
        }
        if last == after {
            if until.is_some() {
                return None;
            }
            tokio::time::sleep(LOOK).await;
            // A line now and then, so that nobody between takes the connection for dead.
            let quiet = spoke.elapsed() > Duration::from_secs(15);
            let (piece, spoke) = if quiet { (&b": nothing new\n\n"[..], Instant::now()) } else { (&b""[..], spoke) };
            return Some((Ok(Bytes::from_static(piece)), (caller, after, spoke)));
        }
        Some((Ok(Bytes::from(out)), (caller, last, Instant::now())))
    })
}
