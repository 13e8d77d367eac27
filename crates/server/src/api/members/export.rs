//! The roster as a file, read while it is sent: a million people are never held at once.

use std::io;

use axum::{
    Extension,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use chrono::{DateTime, Utc};
use futures_util::{Stream, stream};
use muster_domain::{
    access::{Action, Resource},
    field::{FieldId, FieldSet},
    member::Member,
    spreadsheet::record,
};
use muster_engine::members::{At, Roster};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Caller, MemberDocument, Query};
use crate::{
    api::{gate::Again, stream::while_let_in},
    problem::{Problem, ProblemDocument, Result, UNREADABLE},
};

/// Of which time, and how it is written.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParameters {
    /// The roster as it was known at that time.
    pub at: Option<DateTime<Utc>>,
    /// The roster as of that version.
    pub roster_version: Option<u64>,
    /// In CSV, put no apostrophe in front of what looks like a formula.
    pub raw: Option<bool>,
}

impl ExportParameters {
    fn at(&self) -> Result<At> {
        match (self.at, self.roster_version) {
            (None, None) => Ok(At::Now),
            (Some(time), None) => Ok(At::Time(time)),
            (None, Some(version)) => Ok(At::Version(version)),
            (Some(_), Some(_)) => Err(Problem::new(&UNREADABLE, "Give `at` or `roster_version`, and not both.")),
        }
    }
}

/// Everybody listed whom the caller sees, read part by part.
struct People {
    caller: Caller,
    roster: Roster,
    /// The part that is read next.
    next: u32,
}

impl People {
    /// The next of them, perhaps nobody; `None` after the last.
    async fn next(&mut self) -> Result<Option<Vec<Member>>> {
        let Some(mut people) = self.roster.part(self.next).await? else { return Ok(None) };
        self.next += 1;
        people.retain(|m| m.is_listed() && self.caller.sees(m));
        // Of another time, whoever sees only some people sees those who are among them both then and now.
        if self.roster.is_past() && !self.caller.grant.key.rows.is_empty() {
            let numbers: Vec<_> = people.iter().map(|m| m.no).collect();
            let now = self.caller.engine.members(self.caller.organisation.row.id, &numbers).await?;
            people.retain(|m| now.get(&m.no).is_some_and(|n| n.uuid == m.uuid && self.caller.sees(n)));
        }
        Ok(Some(people))
    }

    /// A column for each field that the caller sees and one of these people has a value in, the match key's among them.
    async fn columns(&mut self, readable: Option<&FieldSet>) -> Result<Vec<FieldId>> {
        let org = self.caller.organisation.clone();
        let settings = &org.settings;
        let mut used = FieldSet::default();
        used.insert(settings.match_key.field());
        while let Some(people) = self.next().await? {
            people.iter().flat_map(|m| m.values.iter()).for_each(|(field, _)| used.insert(field));
        }
        self.next = 0;
        let sees = |field: &FieldId| used.contains(*field) && readable.is_none_or(|fields| fields.contains(*field));
        Ok(settings.fields.all().filter(sees).collect())
    }
}

/// How people are written.
enum Form {
    /// A record each.
    Csv { columns: Vec<FieldId>, raw: bool },
    /// A JSON document each.
    Lines { readable: Option<FieldSet> },
}

impl Form {
    /// What stands in front of the first of them.
    fn head(&self, caller: &Caller) -> String {
        let fields = &caller.organisation.settings.fields;
        match self {
            Form::Csv { columns, .. } => record(columns.iter().map(|field| fields.name(*field)), true),
            Form::Lines { .. } => String::new(),
        }
    }

    fn write(&self, people: &[Member], caller: &Caller) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(people.len() * 128);
        for member in people {
            match self {
                Form::Csv { columns, raw } => {
                    let values = columns.iter().map(|field| member.values.get(*field).unwrap_or_default());
                    out.extend_from_slice(record(values, *raw).as_bytes());
                }
                Form::Lines { readable } => {
                    serde_json::to_writer(&mut out, &MemberDocument::of(member, caller, readable.as_ref()))?;
                    out.push(b'\n');
                }
            }
        }
        Ok(out)
    }

    fn media_type(&self) -> (&'static str, &'static str) {
        match self {
            Form::Csv { .. } => ("text/csv; charset=utf-8", "attachment; filename=\"members.csv\""),
            Form::Lines { .. } => ("application/x-ndjson", "attachment; filename=\"members.ndjson\""),
        }
    }
}

/// Get the roster as a file
///
/// Everybody on the roster: in CSV, with a column for each field that somebody has a value in, or with
/// `Accept: application/x-ndjson` a member a line. In CSV, what a spreadsheet would take for a formula gets an apostrophe in
/// front, unless `raw=true`. A key that sees some people or fields gets these alone; of another time, those people who are
/// among them both then and now. An answer that breaks off is not whole.
#[utoipa::path(get, path = "/api/v1/members/export", tag = "members", params(ExportParameters),
    responses(
        (status = 200, content((String = "text/csv"), (MemberDocument = "application/x-ndjson"))),
        (status = 404, description = "There is no such version", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
pub async fn export(
    caller: Caller,
    Extension(again): Extension<Again>,
    Query(parameters): Query<ExportParameters>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.needs(Resource::Members, Action::Download)?;
    let at = parameters.at()?;
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let readable = caller.readable(Resource::Members);
    let roster = caller.engine.roster_at(&caller.organisation, at).await?;
    let mut people = People { caller: caller.clone(), roster, next: 0 };
    let form = match accepts.contains("x-ndjson") {
        true => Form::Lines { readable },
        false => Form::Csv { columns: people.columns(readable.as_ref()).await?, raw: parameters.raw.unwrap_or(false) },
    };
    let (kind, disposition) = form.media_type();
    let pieces = while_let_in(pieces(people, form), caller, again, (Resource::Members, Action::Download));
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// The file, read as fast as it is taken.
fn pieces(people: People, form: Form) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let head = form.head(&people.caller);
    stream::try_unfold((people, form, Some(head)), |(mut people, form, head)| async move {
        if let Some(head) = head {
            return Ok(Some((Bytes::from(head), (people, form, None))));
        }
        let next = people.next().await.map_err(|_| io::Error::other("the roster could not be read to its end"))?;
        let Some(some) = next else { return Ok(None) };
        let text = form.write(&some, &people.caller)?;
        Ok(Some((Bytes::from(text), (people, form, None))))
    })
}
