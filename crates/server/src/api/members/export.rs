//! The roster as a file, read while it is sent: a million people are never held at once. A workbook lies on the disk first.

use std::{fs::File, io};

use axum::{
    Extension,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Method, header},
    response::Response,
};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _, stream};
use muster_domain::{
    access::{Action, Resource},
    field::FieldSet,
    member::Member,
};
use muster_engine::{
    members::{At, Filled, MOST_PEOPLE, Roster, Table},
    turns::Unread,
};
use serde::Deserialize;
use tokio::task::block_in_place;
use utoipa::{IntoParams, ToSchema};

use super::{Caller, MemberDocument, Query};
use crate::{
    api::{
        gate::Again,
        stream::{still_may, while_let_in},
        uploads::source::read_file,
    },
    problem::{MISSING_RIGHT, Problem, ProblemDocument, Result, UNREADABLE},
};

/// What is asked for again while it is given.
const RIGHT: (Resource, Action) = (Resource::Members, Action::Download);
const WORKBOOK: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// Of which time, and how it is written.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParameters {
    /// The roster as it was known at that time.
    pub at: Option<DateTime<Utc>>,
    /// The roster as of that version.
    pub roster_version: Option<u64>,
    /// The format; if it is not given, what `Accept` says, else CSV.
    #[param(inline)]
    pub format: Option<Format>,
    /// In CSV, put no apostrophe in front of what looks like a formula.
    pub raw: Option<bool>,
}

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A record each.
    Csv,
    /// A JSON document each, a line long.
    Ndjson,
    /// A workbook of one sheet, with a row each.
    Xlsx,
}

impl Format {
    /// What is asked for.
    fn of(parameters: &ExportParameters, headers: &HeaderMap) -> Format {
        let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
        parameters.format.unwrap_or(match accepts {
            text if text.contains("x-ndjson") => Format::Ndjson,
            text if text.contains(WORKBOOK) => Format::Xlsx,
            _ => Format::Csv,
        })
    }

    /// An answer of that format.
    fn answer(self, body: Body) -> Response {
        let (kind, disposition) = match self {
            Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"members.csv\""),
            Format::Ndjson => ("application/x-ndjson", "attachment; filename=\"members.ndjson\""),
            Format::Xlsx => (WORKBOOK, "attachment; filename=\"members.xlsx\""),
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
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

    /// The table of all of them, of the fields that the caller sees.
    async fn table(&mut self, readable: Option<&FieldSet>) -> Result<Table> {
        let org = self.caller.organisation.clone();
        let mut filled = Filled::new(&org.settings);
        while let Some(people) = self.next().await? {
            people.iter().for_each(|member| filled.take(member));
        }
        self.next = 0;
        Ok(filled.table(&org.settings, readable))
    }

    /// All of them in a workbook, which lies on the disk without a name.
    async fn workbook(mut self, table: Table) -> Result<File> {
        let mut book = block_in_place(|| self.caller.engine.workbook(&self.caller.organisation, table))?;
        while let Some(people) = self.next().await? {
            block_in_place(|| people.iter().try_for_each(|member| book.add(member)))?;
        }
        Ok(block_in_place(|| book.finish())?)
    }
}

/// How people are written into an answer that is under way.
enum Form {
    /// A record each.
    Csv { table: Table, raw: bool },
    /// A JSON document each.
    Lines { readable: Option<FieldSet> },
}

impl Form {
    /// What stands in front of the first of them.
    fn head(&self) -> String {
        match self {
            Form::Csv { table, .. } => table.head(),
            Form::Lines { .. } => String::new(),
        }
    }

    fn write(&self, people: &[Member], caller: &Caller) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(people.len() * 128);
        for member in people {
            match self {
                Form::Csv { table, raw } => out.extend_from_slice(table.record(member, *raw).as_bytes()),
                Form::Lines { readable } => {
                    serde_json::to_writer(&mut out, &MemberDocument::of(member, caller, readable.as_ref()))?;
                    out.push(b'\n');
                }
            }
        }
        Ok(out)
    }
}

/// Get the roster as a file
///
/// Everybody on the roster: in CSV, with a column for each field that somebody has a value in; with `format=ndjson` or
/// `Accept: application/x-ndjson` a member a line; with `format=xlsx` or the media type of a workbook in `Accept` a workbook of one
/// sheet, which has room for 1,048,575 people. In CSV, what a spreadsheet would take for a formula gets an apostrophe in front, unless
/// `raw=true`; in a workbook dates are dates and all else is text. A key that sees some people or fields gets these alone; of another
/// time, those people who are among them both then and now. An answer that breaks off is not whole. A workbook is begun to be sent
/// when it is written, which takes a while where there are many people; only a few are written at once, and an
/// organisation has at most two that are not read to their end yet.
#[utoipa::path(get, path = "/api/v1/members/export", tag = "members", params(ExportParameters),
    responses(
        (status = 200, content((String = "text/csv"), (MemberDocument = "application/x-ndjson"),
            (String = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"))),
        (status = 404, description = "There is no such version", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
pub async fn export(
    caller: Caller,
    Extension(again): Extension<Again>,
    method: Method,
    Query(parameters): Query<ExportParameters>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.needs(RIGHT.0, RIGHT.1)?;
    let (at, format) = (parameters.at()?, Format::of(&parameters, &headers));
    let readable = caller.readable(Resource::Members);
    if method == Method::HEAD {
        return head(&caller, at, format, readable.as_ref()).await;
    }
    let roster = caller.engine.roster_at(&caller.organisation, at).await?;
    let mut people = People { caller: caller.clone(), roster, next: 0 };
    let form = match format {
        Format::Xlsx => return workbook(people, again, readable.as_ref()).await,
        Format::Ndjson => Form::Lines { readable },
        Format::Csv => {
            Form::Csv { table: people.table(readable.as_ref()).await?, raw: parameters.raw.unwrap_or(false) }
        }
    };
    Ok(format.answer(Body::from_stream(while_let_in(pieces(people, form), caller, again, RIGHT))))
}

/// What would be answered, without its body: nobody is read for that, unless there may be more people than a sheet has room for.
async fn head(caller: &Caller, at: At, format: Format, readable: Option<&FieldSet>) -> Result<Response> {
    let most = caller.engine.at_most_at(&caller.organisation, at).await?;
    if format == Format::Xlsx && most > MOST_PEOPLE {
        let roster = caller.engine.roster_at(&caller.organisation, at).await?;
        People { caller: caller.clone(), roster, next: 0 }.table(readable).await?.fits_a_sheet()?;
    }
    // An empty body would say that there is nothing to be had.
    Ok(format.answer(Body::from_stream(stream::empty::<io::Result<Bytes>>())))
}

/// A workbook is written before anything of it is sent: what goes wrong is a problem then, and not half a file.
async fn workbook(mut people: People, again: Again, readable: Option<&FieldSet>) -> Result<Response> {
    let caller = people.caller.clone();
    let unread = caller.engine.one_more_unread(caller.organisation.row.id)?;
    let turn = caller.engine.turn_to_write().await?;
    let table = people.table(readable).await?;
    let file = tokio::fs::File::from_std(people.workbook(table).await?);
    // Others' workbooks do not wait for whoever reads this one slowly.
    drop(turn);
    if !still_may(&caller, &again, RIGHT).await {
        let why = "What the key may do was changed while the workbook was written; ask for it again.";
        return Err(Problem::new(&MISSING_RIGHT, why));
    }
    let length = file.metadata().await.map_err(|e| Problem::internal(&e))?.len();
    let pieces = read_file(file).map(move |piece| held(piece, &unread));
    let mut response = Format::Xlsx.answer(Body::from_stream(while_let_in(pieces, caller, again, RIGHT)));
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    Ok(response)
}

/// It counts until the file has gone from the disk, whether it was read or not.
fn held<T>(piece: T, _: &Unread) -> T {
    piece
}

/// The file, read as fast as it is taken.
fn pieces(people: People, form: Form) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let head = form.head();
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
