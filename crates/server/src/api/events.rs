//! The log, event by event, for whoever keeps a copy in step: lines of JSON, or server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
    routing::get,
};
use muster_domain::{
    access::{Action, Resource},
    event::StoredEvent,
    replay::log::write_event,
};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::{Api, body::Query, caller::Caller, gate::Again, page};
use crate::problem::{Problem, ProblemDocument, Result, UNREADABLE};

/// How often is looked whether there is more.
const LOOK: Duration = Duration::from_millis(250);
/// How often is looked whether whoever reads a stream in which nothing happens may still do so.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
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
pub async fn show(
    caller: Caller,
    Extension(again): Extension<Again>,
    Query(parameters): Query<EventParameters>,
    headers: HeaderMap,
) -> Result<Response> {
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
        return Ok(response("text/event-stream", lines(Reader::new(caller, again), after, None), None));
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
    Ok(response("application/x-ndjson", lines(Reader::new(caller, again), after, Some(last)), Some(next)))
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

/// Whoever reads, for as long as they are let in.
struct Reader {
    caller: Caller,
    again: Again,
    looked: Instant,
}

impl Reader {
    /// Somebody who was let in just now.
    fn new(caller: Caller, again: Again) -> Reader {
        Reader { caller, again, looked: Instant::now() }
    }

    /// Looks whether they may still read, and what; whoever may not reads no more.
    async fn look_again(&mut self) -> Option<()> {
        let caller = self.again.caller().await?;
        caller.needs(Resource::Events, Action::Read).ok()?;
        self.caller = caller;
        self.looked = Instant::now();
        Some(())
    }

    /// Whether they get events with their bodies.
    fn sees_bodies(&self) -> bool {
        self.caller.grant.sees_all(Resource::Events)
    }
}

/// Events up to one of them as lines of JSON, or without end as server-sent events. What fails ends the stream: whoever
/// reads goes on from the last that they have. Events are sent to whoever may read them when they are sent: a key that is
/// revoked meanwhile gets none of them.
fn lines(
    reader: Reader,
    after: u64,
    until: Option<u64>,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    futures_util::stream::unfold((reader, after, Instant::now()), move |(mut reader, after, spoke)| async move {
        if until.is_some_and(|until| after >= until) {
            return None;
        }
        let left = until.map_or(TOGETHER, |until| (until - after).min(u64::from(TOGETHER)) as u32);
        let (engine, org) = (&reader.caller.engine, reader.caller.organisation.row.id);
        let events = engine.store.events(org, after, left).await;
        let events = events.inspect_err(|e| tracing::warn!(error = %e, "a stream of events ends")).ok()?;
        if events.is_empty() {
            if until.is_some() {
                return None;
            }
            tokio::time::sleep(LOOK).await;
            if reader.looked.elapsed() > LOOK_AGAIN {
                reader.look_again().await?;
            }
            // A line now and then, so that nobody between takes the connection for dead.
            let quiet = spoke.elapsed() > Duration::from_secs(15);
            let (piece, spoke) = if quiet { (&b": nothing new\n\n"[..], Instant::now()) } else { (&b""[..], spoke) };
            return Some((Ok(Bytes::from_static(piece)), (reader, after, spoke)));
        }
        reader.look_again().await?;
        let last = events.last().map_or(after, |event| event.meta.seq);
        let out = written(&reader, events, until.is_none()).await?;
        Some((Ok(Bytes::from(out)), (reader, last, Instant::now())))
    })
}

/// Events as they are sent.
async fn written(reader: &Reader, events: Vec<StoredEvent>, with_ids: bool) -> Option<Vec<u8>> {
    let (caller, whole) = (&reader.caller, reader.sees_bodies());
    let mut out = Vec::new();
    for mut event in events {
        if !whole {
            event.body = None;
        }
        if with_ids {
            let id = caller.engine.cursor(&caller.organisation, event.meta.seq).await.ok()?;
            out.extend_from_slice(format!("id: {id}\nevent: {}\ndata: ", event.meta.kind).as_bytes());
        }
        write_event(&event, &mut out).ok()?;
        if with_ids {
            out.push(b'\n');
        }
    }
    Some(out)
}
