//! The event log: appends in order of the organisation's head, and reads by sequence or stream.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use muster_domain::event::{self, Hash, Meta, NewEvent, StoredEvent};
use muster_domain::ids::OrganisationId;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::body::{self, EncodedBody};
use crate::bulk::{Column, Insert, Weight};
use crate::connect::{Conn, on};
use crate::error::{Result, StoreError};
use crate::organisation::{count, hash, micros, moment};

/// Who writes, why and when.
#[derive(Clone, Debug)]
pub struct Who {
    /// Who did it.
    pub actor: String,
    /// Shared by everything that one command or upload set off.
    pub correlation: Uuid,
    /// The event or command that led to it.
    pub causation: Option<Uuid>,
    /// Now.
    pub now: DateTime<Utc>,
}

/// A new event whose body is hashed and packed already.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Identity of the event.
    pub id: Uuid,
    /// The stream it belongs to.
    pub stream: String,
    /// Refuse unless the stream is at this version (0: the stream is new); `None` for no check.
    pub expected_version: Option<u64>,
    /// Type, as `noun.verb`.
    pub kind: String,
    /// Version of the form of `data`.
    pub schema: u32,
    /// JSON without personal data.
    pub data: Box<RawValue>,
    /// Lines that may hold personal data.
    pub body: Option<EncodedBody>,
}

impl TryFrom<NewEvent> for Prepared {
    type Error = StoreError;

    fn try_from(event: NewEvent) -> Result<Prepared> {
        let body = event.body.as_ref().map(body::encode).transpose()?;
        let NewEvent { id, stream, expected_version, kind, schema, data, .. } = event;
        Ok(Prepared { id, stream, expected_version, kind, schema, data, body })
    }
}

/// The place that an event got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Position in the organisation.
    pub seq: u64,
    /// Position in the stream.
    pub version: u64,
    /// Identity of the event.
    pub id: Uuid,
}

/// The answer to an append with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedAppend {
    /// The events, now or then.
    pub events: Vec<Appended>,
    /// Whether they had been appended before, under the same key.
    pub repeated: bool,
}

/// An event as it stands in the database: cheap to read, to be opened on whichever thread is free.
#[derive(Clone)]
pub struct RawEvent {
    /// Position in the organisation.
    pub seq: u64,
    meta: Vec<u8>,
    body: Option<Vec<u8>>,
    root: Vec<u8>,
    hash: Vec<u8>,
}

impl RawEvent {
    /// What happened, without opening the rest; nothing if the metadata cannot be read.
    pub fn kind(&self) -> Option<&str> {
        #[derive(serde::Deserialize)]
        struct Kind<'a> {
            #[serde(rename = "type", borrow)]
            kind: &'a str,
        }
        serde_json::from_slice::<Kind>(&self.meta).ok().map(|k| k.kind)
    }

    /// Its metadata, without unpacking the body.
    pub fn meta(&self) -> Result<Meta> {
        serde_json::from_slice(&self.meta).map_err(|_| StoreError::Corrupt("the metadata of an event cannot be read"))
    }

    /// Unpacks its body alone, if it has one.
    pub fn open_body(&self) -> Result<Option<event::Body>> {
        self.body.as_deref().map(body::decode).transpose()
    }

    /// Its hash in the chain.
    pub fn hash(&self) -> Result<Hash> {
        hash(self.hash.clone())
    }

    /// Opens it: reads the metadata and unpacks the body.
    pub fn open(self) -> Result<StoredEvent> {
        Ok(StoredEvent {
            meta: self.meta()?,
            body: self.open_body()?,
            meta_bytes: self.meta,
            root: hash(self.root)?,
            hash: hash(self.hash)?,
        })
    }
}

/// Appends events in the order given. The head row is taken first, so appends of one organisation queue here.
pub(crate) async fn append(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    events: Vec<Prepared>,
    who: &Who,
) -> Result<Vec<Appended>> {
    const TAKE: &str =
        "UPDATE head SET last_seq = last_seq + $2 WHERE org = $1 RETURNING last_seq, hash, last_recorded_at";
    const SET: &str = "UPDATE head SET hash = $2, last_recorded_at = $3 WHERE org = $1";
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let taken: Option<(i64, Vec<u8>, i64)> = on!(conn, c => {
        sqlx::query_as(TAKE).bind(org.0).bind(events.len() as i64).fetch_optional(&mut **c).await?
    });
    let (last_seq, previous, last_at) = taken.ok_or(StoreError::NotFound)?;
    let at = micros(who.now).max(last_at);
    let mut place = Place {
        org,
        seq: count(last_seq)?.checked_sub(events.len() as u64).ok_or(StoreError::Corrupt("the head is behind"))?,
        hash: hash(previous)?,
        at: moment(at)?,
        versions: versions(conn, org, &events).await?,
    };
    let mut rows = Rows::default();
    let mut appended = Vec::with_capacity(events.len());
    for event in events {
        appended.push(place.give(event, who, &mut rows)?);
    }
    rows.insert(org).run(conn).await?;
    on!(conn, c => sqlx::query(SET).bind(org.0).bind(&place.hash[..]).bind(at).execute(&mut **c).await.map(drop)?);
    Ok(appended)
}

/// Where the next event goes.
struct Place {
    org: OrganisationId,
    seq: u64,
    hash: Hash,
    at: DateTime<Utc>,
    versions: HashMap<String, u64>,
}

impl Place {
    fn give(&mut self, event: Prepared, who: &Who, rows: &mut Rows) -> Result<Appended> {
        let version = self.versions.entry(event.stream.clone()).or_default();
        if let Some(expected) = event.expected_version.filter(|e| e != version) {
            return Err(StoreError::VersionConflict { stream: event.stream, expected, actual: *version });
        }
        *version += 1;
        self.seq += 1;
        let appended = Appended { seq: self.seq, version: *version, id: event.id };
        let meta = Meta {
            id: event.id,
            organisation: self.org,
            seq: self.seq,
            stream: event.stream,
            version: *version,
            kind: event.kind,
            schema: event.schema,
            actor: who.actor.clone(),
            correlation: who.correlation,
            causation: who.causation,
            recorded_at: self.at,
            data: event.data,
        };
        let bytes = serde_json::to_vec(&meta).map_err(|_| StoreError::Corrupt("metadata cannot be written"))?;
        let root = event.body.as_ref().map_or([0; 32], |b| b.root);
        self.hash = event::chain(&self.hash, &bytes, &root);
        rows.push(meta, bytes, event.body.map(|b| b.bytes), root, self.hash);
        Ok(appended)
    }
}

/// An event of another log, to be kept as it is.
pub struct Imported {
    /// Its metadata.
    pub meta: Meta,
    /// The bytes of its metadata, as hashed.
    pub meta_bytes: Vec<u8>,
    /// Its lines, packed.
    pub body: Option<EncodedBody>,
    /// The hash in the chain.
    pub hash: Hash,
}

/// Takes over events of a log that was checked, byte for byte. The head is not moved: see [`crate::Tx::set_head`].
pub(crate) async fn import(conn: &mut Conn<'_>, org: OrganisationId, events: Vec<Imported>) -> Result<()> {
    let mut rows = Rows::default();
    for Imported { meta, meta_bytes, body, hash } in events {
        let root = body.as_ref().map_or([0; 32], |b| b.root);
        rows.push(meta, meta_bytes, body.map(|b| b.bytes), root, hash);
    }
    rows.insert(org).run(conn).await
}

/// Rows of the table `event`, by column.
#[derive(Default)]
struct Rows {
    at: Vec<i64>,
    seq: Vec<i64>,
    id: Vec<Uuid>,
    stream: Vec<String>,
    version: Vec<i64>,
    kind: Vec<String>,
    meta: Vec<Option<Vec<u8>>>,
    root: Vec<Option<Vec<u8>>>,
    hash: Vec<Option<Vec<u8>>>,
    body: Vec<Option<Vec<u8>>>,
}

impl Rows {
    fn push(&mut self, meta: Meta, bytes: Vec<u8>, body: Option<Vec<u8>>, root: Hash, hash: Hash) {
        self.at.push(micros(meta.recorded_at));
        self.seq.push(meta.seq as i64);
        self.id.push(meta.id);
        self.stream.push(meta.stream);
        self.version.push(meta.version as i64);
        self.kind.push(meta.kind);
        self.meta.push(Some(bytes));
        self.root.push(Some(root.to_vec()));
        self.hash.push(Some(hash.to_vec()));
        self.body.push(body);
    }

    fn insert(self, org: OrganisationId) -> Insert {
        let columns = vec![
            ("seq", Column::Int(self.seq.into_iter())),
            ("id", Column::Uuid(self.id.into_iter())),
            ("stream", Column::Text(self.stream.into_iter())),
            ("version", Column::Int(self.version.into_iter())),
            ("type", Column::Text(self.kind.into_iter())),
            ("recorded_at", Column::Int(self.at.into_iter())),
            ("meta", Column::Bytes(self.meta.into_iter())),
            ("root", Column::Bytes(self.root.into_iter())),
            ("hash", Column::Bytes(self.hash.into_iter())),
            ("body", Column::Bytes(self.body.into_iter())),
        ];
        Insert { table: "event", org, feed: None, columns, conflict: "", weight: Weight::Heavy }
    }
}

/// The versions that the streams of these events have now.
async fn versions(conn: &mut Conn<'_>, org: OrganisationId, events: &[Prepared]) -> Result<HashMap<String, u64>> {
    let mut versions = HashMap::new();
    for event in events {
        if !versions.contains_key(&event.stream) {
            let version = stream_version(conn, org, &event.stream).await?;
            versions.insert(event.stream.clone(), version);
        }
    }
    Ok(versions)
}

pub(crate) async fn stream_version(conn: &mut Conn<'_>, org: OrganisationId, stream: &str) -> Result<u64> {
    const SQL: &str = "SELECT version FROM event WHERE org = $1 AND stream = $2 ORDER BY version DESC LIMIT 1";
    let version: Option<i64> =
        on!(conn, c => sqlx::query_scalar(SQL).bind(org.0).bind(stream).fetch_optional(&mut **c).await?);
    count(version.unwrap_or(0))
}

/// Queues behind whoever is appending.
pub(crate) async fn take_head(conn: &mut Conn<'_>, org: OrganisationId) -> Result<()> {
    const SQL: &str = "UPDATE head SET last_seq = last_seq WHERE org = $1";
    let rows = on!(conn, c => sqlx::query(SQL).bind(org.0).execute(&mut **c).await?.rows_affected());
    if rows == 1 { Ok(()) } else { Err(StoreError::NotFound) }
}

pub(crate) async fn append_keyed(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    key: &str,
    content: &Hash,
    events: Vec<Prepared>,
    who: &Who,
) -> Result<KeyedAppend> {
    const FIND: &str = "SELECT content, first_seq, last_seq FROM append_key WHERE org = $1 AND key = $2";
    const KEEP: &str = "INSERT INTO append_key (org, key, content, first_seq, last_seq) VALUES ($1, $2, $3, $4, $5)";
    // The head is taken before looking: of two that come with one key at once, the second must see the first.
    take_head(conn, org).await?;
    let found: Option<(Vec<u8>, i64, i64)> =
        on!(conn, c => sqlx::query_as(FIND).bind(org.0).bind(key).fetch_optional(&mut **c).await?);
    if let Some((before, first, last)) = found {
        if before != content {
            return Err(StoreError::KeyConflict);
        }
        return Ok(KeyedAppend { events: places(conn, org, first, last).await?, repeated: true });
    }
    let events = append(conn, org, events, who).await?;
    // Nothing to append is an answer too: an empty range.
    let first = events.first().map_or(1, |e| e.seq as i64);
    let last = events.last().map_or(0, |e| e.seq as i64);
    on!(conn, c => {
        let query = sqlx::query(KEEP).bind(org.0).bind(key).bind(&content[..]).bind(first).bind(last);
        query.execute(&mut **c).await.map(drop)?
    });
    Ok(KeyedAppend { events, repeated: false })
}

async fn places(conn: &mut Conn<'_>, org: OrganisationId, first: i64, last: i64) -> Result<Vec<Appended>> {
    const SQL: &str = "SELECT seq, version, id FROM event WHERE org = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq";
    let rows: Vec<(i64, i64, Uuid)> =
        on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(first).bind(last).fetch_all(&mut **c).await?);
    rows.into_iter().map(|(seq, version, id)| Ok(Appended { seq: count(seq)?, version: count(version)?, id })).collect()
}

type Row = (i64, Vec<u8>, Option<Vec<u8>>, Vec<u8>, Vec<u8>);

fn raw_event((seq, meta, body, root, hash): Row) -> Result<RawEvent> {
    Ok(RawEvent { seq: count(seq)?, meta, body, root, hash })
}

pub(crate) async fn raw_events(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    after: u64,
    limit: u32,
) -> Result<Vec<RawEvent>> {
    const SQL: &str = "SELECT seq, meta, body, root, hash FROM event WHERE org = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    let rows: Vec<Row> = on!(conn, c => {
        sqlx::query_as(SQL).bind(org.0).bind(after as i64).bind(i64::from(limit)).fetch_all(&mut **c).await?
    });
    rows.into_iter().map(raw_event).collect()
}

/// Events without their bodies, for whoever looks at few of those.
pub(crate) async fn bare_events(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    after: u64,
    limit: u32,
) -> Result<Vec<RawEvent>> {
    const SQL: &str = "SELECT seq, meta, NULL, root, hash FROM event WHERE org = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    let rows: Vec<Row> = on!(conn, c => {
        sqlx::query_as(SQL).bind(org.0).bind(after as i64).bind(i64::from(limit)).fetch_all(&mut **c).await?
    });
    rows.into_iter().map(raw_event).collect()
}

/// The hash of an event in the chain, and when it was recorded; none if there is no such event.
pub(crate) async fn mark(conn: &mut Conn<'_>, org: OrganisationId, seq: u64) -> Result<Option<(Hash, DateTime<Utc>)>> {
    const SQL: &str = "SELECT hash, recorded_at FROM event WHERE org = $1 AND seq = $2";
    let row: Option<(Vec<u8>, i64)> =
        on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(seq as i64).fetch_optional(&mut **c).await?);
    row.map(|(bytes, at)| Ok((hash(bytes)?, moment(at)?))).transpose()
}

pub(crate) async fn events(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    after: u64,
    limit: u32,
) -> Result<Vec<StoredEvent>> {
    raw_events(conn, org, after, limit).await?.into_iter().map(RawEvent::open).collect()
}

pub(crate) async fn event(conn: &mut Conn<'_>, org: OrganisationId, seq: u64) -> Result<StoredEvent> {
    const SQL: &str = "SELECT seq, meta, body, root, hash FROM event WHERE org = $1 AND seq = $2";
    let row: Option<Row> =
        on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(seq as i64).fetch_optional(&mut **c).await?);
    raw_event(row.ok_or(StoreError::NotFound)?)?.open()
}

pub(crate) async fn raw_stream_events(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    stream: &str,
    after_version: u64,
    limit: u32,
) -> Result<Vec<RawEvent>> {
    const SQL: &str = "SELECT seq, meta, body, root, hash FROM event \
        WHERE org = $1 AND stream = $2 AND version > $3 ORDER BY version LIMIT $4";
    let rows: Vec<Row> = on!(conn, c => {
        let query = sqlx::query_as(SQL).bind(org.0).bind(stream).bind(after_version as i64).bind(i64::from(limit));
        query.fetch_all(&mut **c).await?
    });
    rows.into_iter().map(raw_event).collect()
}

pub(crate) async fn stream_events(conn: &mut Conn<'_>, org: OrganisationId, stream: &str) -> Result<Vec<StoredEvent>> {
    let raw = raw_stream_events(conn, org, stream, 0, u32::MAX).await?;
    raw.into_iter().map(RawEvent::open).collect()
}

pub(crate) async fn stream_events_from(
    conn: &mut Conn<'_>,
    org: OrganisationId,
    stream: &str,
    seq: u64,
) -> Result<Vec<StoredEvent>> {
    const SQL: &str = "SELECT seq, meta, body, root, hash FROM event \
        WHERE org = $1 AND stream = $2 AND seq >= $3 ORDER BY version";
    let rows: Vec<Row> =
        on!(conn, c => sqlx::query_as(SQL).bind(org.0).bind(stream).bind(seq as i64).fetch_all(&mut **c).await?);
    rows.into_iter().map(|row| raw_event(row)?.open()).collect()
}

/// Puts another body in place of an event's, of the same root: its lines, but for those that were erased.
pub(crate) async fn replace_body(conn: &mut Conn<'_>, org: OrganisationId, seq: u64, body: &EncodedBody) -> Result<()> {
    const SQL: &str = "UPDATE event SET body = $4 WHERE org = $1 AND seq = $2 AND root = $3";
    let rows = on!(conn, c => {
        let query = sqlx::query(SQL).bind(org.0).bind(seq as i64).bind(&body.root[..]).bind(&body.bytes[..]);
        query.execute(&mut **c).await?.rows_affected()
    });
    if rows == 1 { Ok(()) } else { Err(StoreError::NotFound) }
}
