//! The roster at two moments held against each other.

use std::{collections::BTreeMap, io};

use axum::{
    Extension,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};
use muster_domain::access::{Action, Resource};
use muster_engine::{
    Error,
    moments::{Counted, Difference, Field, Moment, Moments, Named, Wanted, What},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{About, Caller, MemberDocument, Noted, Query};
use crate::{
    api::{gate::Again, stream::while_let_in},
    openapi::said::words,
    problem::{Problem, ProblemDocument, Result, UNREADABLE},
};

/// Why a key with limits compares nothing.
const EVERYBODY: &str = "The key sees some people or some fields only, and who came and went cannot be told in part.";
/// So many bytes are sent together.
const PIECE: usize = 64 << 10;
/// So many pieces are ahead of whoever takes them.
const AHEAD: usize = 4;

/// Which moments, and which differences.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiffParameters {
    /// The first moment: a time, a day in the organisation's time zone (from its beginning), a roster version such as `12`, an
    /// event such as `event:340`, or `now`.
    #[param(required = true)]
    pub from: Option<String>,
    /// The second, written likewise; of a day its end is meant. `now`, if it is not given.
    pub to: Option<String>,
    /// Only this member.
    pub id: Option<Uuid>,
    /// Only people of whom this field differs, and only this field of them.
    pub field: Option<String>,
    /// Only who `joined`, `left` or `changed`.
    #[param(inline, schema_with = whats)]
    pub only: Option<What>,
    /// Only the counts.
    pub summary: Option<bool>,
}

fn whats() -> utoipa::openapi::schema::Object {
    words("Only who joined, left or changed; all, if it is not given.", ["joined", "left", "changed"])
}

/// A moment as it was found in the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct MomentDocument {
    /// The last event before it; 0 if there is none.
    pub event: u64,
    /// When that was recorded.
    pub at: Option<DateTime<Utc>>,
    /// The roster version.
    pub roster_version: u64,
    /// How many people were on the roster.
    pub members: u64,
}

impl From<&Moment> for MomentDocument {
    fn from(moment: &Moment) -> Self {
        let Moment { event, at, roster_version, members } = *moment;
        MomentDocument { event, at, roster_version, members }
    }
}

/// A value at both moments.
#[derive(Debug, Serialize, ToSchema)]
pub struct FromTo {
    /// At the first; none is blank.
    pub from: Option<String>,
    /// At the second; none is blank.
    pub to: Option<String>,
}

/// Somebody who is not the same at both moments.
#[derive(Debug, Serialize, ToSchema)]
pub struct DifferingPerson {
    /// `joined`, `left` or `changed`.
    #[schema(value_type = String)]
    pub what: What,
    /// Identity.
    pub id: Uuid,
    /// The match key: at the second moment, or at the first of somebody who left.
    pub unique_id: String,
    /// Of somebody who stayed, the fields that differ, `unique_id` for the match key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<BTreeMap<String, FromTo>>,
    /// Of somebody who joined or left, the values of their fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub fields: Option<Map<String, Value>>,
}

impl DifferingPerson {
    fn of(difference: &Difference, fields: &[Field<'_>], caller: &Caller) -> Option<DifferingPerson> {
        let member = difference.member()?;
        let text = |value: Option<&str>| value.map(str::to_owned);
        let pair = |(name, from, to): &Field<'_>| ((*name).to_owned(), FromTo { from: text(*from), to: text(*to) });
        let stayed = difference.what == What::Changed;
        Some(DifferingPerson {
            what: difference.what,
            id: member.uuid,
            unique_id: member.key.clone(),
            changes: stayed.then(|| fields.iter().map(pair).collect()),
            fields: (!stayed).then(|| MemberDocument::of(member, caller, None).fields),
        })
    }
}

/// How many people.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code)]
pub struct DifferenceCounts {
    /// On the roster at the second moment alone.
    pub joined: u64,
    /// On the roster at the first moment alone.
    pub left: u64,
    /// On it at both, and something is different.
    pub changed: u64,
}

/// The roster at two moments. It is written while it is read, in this order.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code)]
pub struct DifferenceDocument {
    /// The first moment.
    pub from: MomentDocument,
    /// The second.
    pub to: MomentDocument,
    /// Everybody who is not the same, in the order in which they first came.
    pub people: Vec<DifferingPerson>,
    /// How many they are.
    pub counts: DifferenceCounts,
    /// Of how many people each field is different.
    pub fields: BTreeMap<String, u64>,
}

/// Compare the roster at two moments
///
/// Who joined, who left, and what changed of those who stayed; or with `Accept: application/x-ndjson` these people alone, one a
/// line. Claims, and what feeds said beside the roster, are not compared. Only for keys that see everybody and every field. An
/// answer that breaks off is not whole.
#[utoipa::path(get, path = "/api/v1/roster/diff", tag = "members", params(DiffParameters),
    responses(
        (status = 200, content((DifferenceDocument = "application/json"), (DifferingPerson = "application/x-ndjson"))),
        (status = 404, description = "The log does not reach that moment", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
pub async fn show(
    caller: Caller,
    noted: Noted,
    Extension(again): Extension<Again>,
    Query(parameters): Query<DiffParameters>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.needs(Resource::Members, Action::Download)?;
    caller.shows_everybody(EVERYBODY)?;
    let from = moment("from", parameters.from.as_deref().unwrap_or_default())?;
    let to = moment("to", parameters.to.as_deref().unwrap_or("now"))?;
    let wanted = wanted(&caller, &parameters)?;
    if let Some(id) = parameters.id {
        noted.keep(About { member: Some(id), ..About::default() });
    }
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let as_lines = accepts.contains("x-ndjson");
    let moments = caller.engine.moments(&caller.organisation, from, to).await?;
    let summary = parameters.summary.unwrap_or(false);
    let writing = Writing { caller: caller.clone(), moments, wanted, as_lines, summary };
    let pieces = while_let_in(writing.pieces(), caller, again, (Resource::Members, Action::Download));
    let mut response = Response::new(Body::from_stream(pieces));
    let kind = if as_lines { "application/x-ndjson" } else { "application/json" };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn moment(name: &str, text: &str) -> Result<Named> {
    text.parse().map_err(|why| Problem::new(&UNREADABLE, format!("`{name}` names no moment: {why}.")))
}

fn wanted(caller: &Caller, parameters: &DiffParameters) -> Result<Wanted> {
    let is_field = |name: &String| name == "unique_id" || caller.organisation.settings.fields.by_name(name).is_some();
    if !parameters.field.iter().all(is_field) {
        return Err(Problem::new(&UNREADABLE, "`field` names a field that there is none of."));
    }
    Ok(Wanted {
        members: parameters.id.into_iter().collect(),
        fields: parameters.field.iter().cloned().collect(),
        only: parameters.only.into_iter().collect(),
        ..Wanted::default()
    })
}

/// What is written of two moments.
struct Writing {
    caller: Caller,
    moments: Moments,
    wanted: Wanted,
    as_lines: bool,
    summary: bool,
}

impl Writing {
    /// Written on a thread of its own, as fast as it is taken: the people are unpacked one by one.
    fn pieces(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let (send, receive) = mpsc::channel(AHEAD);
        let writing = tokio::task::spawn_blocking(move || self.write(&mut Pieces { out: Vec::new(), send }));
        stream::try_unfold((receive, Some(writing)), |(mut receive, mut writing)| async move {
            if let Some(piece) = receive.recv().await {
                return Ok(Some((piece, (receive, writing))));
            }
            let failed = || io::Error::other("the two moments could not be compared to their end");
            match writing.take() {
                Some(writing) => writing.await.map_err(|_| failed())?.map_err(|_| failed())?,
                None => return Err(failed()),
            }
            Ok(None)
        })
    }

    fn write(self, pieces: &mut Pieces) -> Result<(), Error> {
        if !self.as_lines {
            let (from, to) = (MomentDocument::from(&self.moments.from), MomentDocument::from(&self.moments.to));
            pieces.put(&format!("{{\"from\":{},\"to\":{},\"people\":[", json!(from), json!(to)))?;
        }
        let mut counted = Counted::default();
        let mut separator = "";
        self.moments.each(|difference| {
            let Some(fields) = self.wanted.of(&difference, &self.caller.organisation) else { return Ok(()) };
            counted.add(difference.what, &fields);
            let person = DifferingPerson::of(&difference, &fields, &self.caller).filter(|_| !self.summary);
            let Some(person) = person else { return Ok(()) };
            pieces.put(separator)?;
            separator = if self.as_lines { "" } else { "," };
            pieces.put(&serde_json::to_string(&person)?)?;
            if self.as_lines { pieces.put("\n") } else { Ok(()) }
        })?;
        if !self.as_lines {
            pieces.put(&format!("],\"counts\":{},\"fields\":{}}}", json!(counted), json!(counted.fields)))?;
        }
        pieces.send()
    }
}

/// Text on its way to whoever takes it.
struct Pieces {
    out: Vec<u8>,
    send: mpsc::Sender<Bytes>,
}

impl Pieces {
    fn put(&mut self, text: &str) -> Result<(), Error> {
        self.out.extend_from_slice(text.as_bytes());
        if self.out.len() < PIECE { Ok(()) } else { self.send() }
    }

    /// Fails where nobody takes it any more.
    fn send(&mut self) -> Result<(), Error> {
        let piece = Bytes::from(std::mem::take(&mut self.out));
        self.send.blocking_send(piece).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe).into())
    }
}
