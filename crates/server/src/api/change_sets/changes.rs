//! The changes of a change set: in pages, or all of them as lines.

use std::{collections::HashMap, io};

use axum::{
    Json,
    body::{Body, Bytes},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use futures_util::Stream;
use muster_domain::{
    access::{Action, Resource},
    change::{Change, Kind},
    documents::ChangeSet,
    field::{FieldId, FieldSet},
    ids::MemberNo,
    member::Member,
};
use muster_engine::{
    chunks::{ChangeReader, SomeChanges},
    review::Standing,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{
    IntoParams, ToSchema,
    openapi::{self, Array},
};
use uuid::Uuid;

use super::find;
use crate::{
    api::{
        body::{Path, Query},
        caller::{About, Caller, Noted},
        page,
    },
    openapi::said::words,
    problem::{Problem, ProblemDocument, Result, UNREADABLE},
};

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangesParameters {
    /// Only changes of this kind: `add`, `update`, `remove`, `reinstate`, `rekey`, `say` or `release`.
    #[param(inline, schema_with = kinds)]
    pub kind: Option<String>,
    /// At most so many, 1 to 200. A stream of lines has all.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A field before and after.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldChange {
    /// The field.
    pub field: String,
    /// Its value before; none is blank.
    pub before: Option<String>,
    /// Its value after; none is blank.
    pub after: Option<String>,
}

/// One member's part of a change set. Of somebody who was forgotten there is nothing but the place.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeDocument {
    /// Its place in the change set.
    pub ordinal: u32,
    /// How far it is decided: `waiting`, `applied`, `rejected`, `dropped` or `erased`.
    #[schema(value_type = String)]
    pub standing: Standing,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The member's identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<Uuid>,
    /// The match key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_id: Option<String>,
    /// The match key before, if it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_unique_id: Option<String>,
    /// The fields that change.
    pub fields: Vec<FieldChange>,
    /// The line of the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The day from which on it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_on: Option<String>,
    /// Whether the payload does not prove it.
    pub unproven: bool,
}

/// A page of changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangePage {
    /// The changes, in order.
    pub changes: Vec<ChangeDocument>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// The changes of a change set as the caller sees them, read as they are wanted: there may be a million.
struct Shown {
    caller: Caller,
    set: ChangeSet,
    reading: ChangeReader,
    readable: Option<FieldSet>,
    kind: Option<Kind>,
}

impl Shown {
    fn from(caller: Caller, set: ChangeSet, kind: Option<Kind>, from: u32) -> Shown {
        let reading = caller.engine.changes_from(&caller.organisation, &set, from);
        Shown { readable: caller.readable(Resource::ChangeSets), caller, set, reading, kind }
    }

    /// The next of them, at most so many and perhaps none; `None` after the last.
    async fn next(&mut self, most: usize) -> Result<Option<Vec<ChangeDocument>>> {
        let Some(some) = self.reading.next().await? else { return Ok(None) };
        let members = self.members(&some).await?;
        let mut shown = Vec::new();
        let everybody = self.caller.grant.key.rows.is_empty();
        for read in some.iter(&self.set) {
            let (ordinal, change, standing) = read?;
            let change = change.as_ref();
            let is_kind = self.kind.is_none_or(|kind| change.is_some_and(|c| c.kind == kind));
            if is_kind && (everybody || change.is_some_and(|c| self.has(c, &members))) {
                shown.push(self.show(ordinal, change, standing));
            }
            if shown.len() == most {
                break;
            }
        }
        Ok(Some(shown))
    }

    /// Whom the changes are about, where that decides what is shown.
    async fn members(&self, some: &SomeChanges) -> Result<HashMap<MemberNo, Member>> {
        let mut numbers = Vec::new();
        if !self.caller.grant.key.rows.is_empty() {
            for read in some.iter(&self.set) {
                numbers.extend(read?.1.and_then(|change| change.no));
            }
        }
        Ok(self.caller.engine.members(self.caller.organisation.row.id, &numbers).await?)
    }

    /// Whether a change is about somebody whom the caller sees: as they are, or, where they are new, as they will be.
    fn has(&self, change: &Change, members: &HashMap<MemberNo, Member>) -> bool {
        let limits = &self.caller.grant.key.rows;
        match change.no.and_then(|no| members.get(&no)) {
            Some(member) => limits.has(member),
            None => limits.take(
                |f| f == self.set.feed,
                |field| {
                    let said = change.to.iter().find(|(name, _)| self.caller.field(name) == Some(field));
                    said.and_then(|(_, value)| value.as_deref()).unwrap_or("")
                },
            ),
        }
    }

    fn reads(&self, field: FieldId) -> bool {
        self.readable.as_ref().is_none_or(|fields| fields.contains(field))
    }

    fn show(&self, ordinal: u32, change: Option<&Change>, standing: Standing) -> ChangeDocument {
        let empty = ChangeDocument {
            ordinal,
            standing,
            kind: None,
            member: None,
            unique_id: None,
            old_unique_id: None,
            fields: Vec::new(),
            line: None,
            effective_on: None,
            unproven: false,
        };
        let Some(change) = change else { return empty };
        let key = self.reads(self.caller.organisation.settings.match_key.field());
        let before = |name: &str| change.from.iter().find(|(f, _)| f == name).and_then(|(_, v)| v.as_deref());
        let fields = change.to.iter().filter(|(name, _)| self.caller.field(name).is_some_and(|f| self.reads(f)));
        ChangeDocument {
            kind: Some(change.kind.word().to_owned()),
            member: Some(change.member),
            unique_id: key.then(|| change.key.to_string()),
            old_unique_id: change.old_key.as_ref().filter(|_| key).map(ToString::to_string),
            fields: fields
                .map(|(name, after)| FieldChange {
                    field: name.to_string(),
                    before: before(name).map(str::to_owned),
                    after: after.as_deref().map(str::to_owned),
                })
                .collect(),
            line: change.line,
            effective_on: change.effective_on.as_ref().map(ToString::to_string),
            unproven: change.unproven,
            ..empty
        }
    }
}

/// List the changes of a change set
///
/// In pages, or with `Accept: application/x-ndjson` all of them, one a line.
#[utoipa::path(get, path = "/api/v1/change-sets/{id}/changes", tag = "change sets", params(("id" = Uuid, Path), ChangesParameters),
    responses(
        (status = 200, content((ChangePage = "application/json"), (ChangeDocument = "application/x-ndjson"))),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
    ))]
pub async fn changes(
    caller: Caller,
    noted: Noted,
    Path(id): Path<String>,
    Query(parameters): Query<ChangesParameters>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.needs(Resource::ChangeSets, Action::Read)?;
    let set = find(&caller, &id).await?;
    noted.keep(About::change_set(set.id));
    let kind = parameters.kind.as_deref().map(kind_of).transpose()?;
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let has_lines = accepts.contains("x-ndjson");
    let limit = if has_lines { usize::MAX } else { page::limit(parameters.limit)? };
    let from = page::number(parameters.cursor.as_deref())?.unwrap_or(0);
    let Ok(from) = u32::try_from(from) else { return Err(page::bad_cursor()) };
    let shown = Shown::from(caller, set, kind, from);
    if has_lines {
        return Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines(shown))).into_response());
    }
    Ok(Json(page_of(shown, limit).await?).into_response())
}

async fn page_of(mut shown: Shown, limit: usize) -> Result<ChangePage> {
    let mut changes = Vec::new();
    // One more than the page has: where the next begins.
    while changes.len() <= limit {
        match shown.next(limit + 1 - changes.len()).await? {
            Some(more) => changes.extend(more),
            None => break,
        }
    }
    let next = changes.get(limit).map(|change| change.ordinal.to_string());
    changes.truncate(limit);
    Ok(ChangePage { changes, next })
}

/// One a line. They are read as fast as they are taken. Where reading fails the connection breaks off, so that nobody takes the
/// beginning for the whole.
fn lines(shown: Shown) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures_util::stream::try_unfold(shown, |mut shown| async move {
        let next =
            shown.next(usize::MAX).await.map_err(|_| io::Error::other("the changes could not be read to their end"))?;
        let Some(changes) = next else { return Ok(None) };
        let mut text = Vec::with_capacity(changes.len() * 256);
        for change in &changes {
            serde_json::to_writer(&mut text, change)?;
            text.push(b'\n');
        }
        Ok(Some((Bytes::from(text), shown)))
    })
}

/// A kind by its word.
pub fn kind_of(word: &str) -> Result<Kind> {
    serde_json::from_value(json!(word)).map_err(|_| {
        Problem::new(
            &UNREADABLE,
            "There is no such kind; there are: add, update, remove, reinstate, rekey, say and release.",
        )
    })
}

fn kinds() -> openapi::Object {
    words("A kind of change.", ["add", "update", "remove", "reinstate", "rekey", "say", "release"])
}

/// A list of kinds, as the document has it.
pub fn many_kinds() -> Array {
    Array::new(kinds())
}
