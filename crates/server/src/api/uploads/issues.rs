//! Row issues: what could not be taken from a payload, as JSON or CSV.

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use muster_domain::{
    access::{Action, Resource},
    documents::Upload,
    field::FieldSet,
};
use muster_engine::report::Issue;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{
        body::Path,
        caller::{About, Caller, Noted},
    },
    problem::{Problem, ProblemDocument, Result},
};

/// A row issue.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IssueDocument {
    /// Line of the payload; 0 for the whole of it.
    pub line: u64,
    /// Column by header; empty for the whole row.
    pub column: String,
    /// What was read; nothing if the key does not see that.
    pub value: Option<String>,
    /// Why it was refused and what to do.
    pub reason: String,
}

/// All issues that are kept of an upload.
#[derive(Debug, Serialize, ToSchema)]
pub struct Issues {
    /// At most the first 10,000.
    pub issues: Vec<IssueDocument>,
}

/// As the caller sees them. A reason may quote what was read, so with a limit on fields it gives way to a plain one.
pub fn shown(issues: Vec<Issue>, readable: Option<FieldSet>, caller: &Caller) -> Vec<IssueDocument> {
    let rows_limited = !caller.grant.key.rows.is_empty();
    let all = issues.into_iter().map(|issue| {
        let hidden = rows_limited || readable.is_some();
        let sees = !rows_limited && caller.is_among(readable.as_ref(), &issue.column);
        IssueDocument {
            line: issue.line,
            value: sees.then_some(issue.value),
            reason: if hidden && !sees && !issue.column.is_empty() {
                "The value cannot be taken.".to_owned()
            } else if hidden && !sees {
                "Nothing can be taken from this row, or from the payload.".to_owned()
            } else {
                issue.reason
            },
            column: issue.column,
        }
    });
    all.collect()
}

/// All issues that are kept of an upload.
pub async fn all(caller: &Caller, upload: &Upload) -> Result<Vec<Issue>> {
    Ok(caller.engine.issues(&caller.organisation, upload).await?)
}

/// List the rows that could not be taken
///
/// As JSON, or as CSV with `Accept: text/csv`. The first 10,000 are kept.
#[utoipa::path(get, path = "/api/v1/uploads/{id}/issues", tag = "uploads", params(("id" = Uuid, Path)),
    responses(
        (status = 200, content((Issues = "application/json"), (String = "text/csv"))),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
    ))]
pub async fn show(caller: Caller, noted: Noted, Path(id): Path<String>, headers: HeaderMap) -> Result<Response> {
    caller.needs(Resource::Uploads, Action::Read)?;
    let upload = super::find(&caller, &id).await?;
    noted.keep(About::upload(upload.received.upload));
    let issues = shown(all(&caller, &upload).await?, caller.readable(Resource::Uploads), &caller);
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    if !accept.split(',').any(|kind| kind.trim().starts_with("text/csv")) {
        return Ok(Json(Issues { issues }).into_response());
    }
    let mut out = csv::Writer::from_writer(Vec::new());
    let written = out.write_record(["line", "column", "value", "reason"]).and_then(|()| {
        issues.iter().try_for_each(|i| {
            let line = i.line.to_string();
            out.write_record([&line, &i.column, i.value.as_deref().unwrap_or(""), &i.reason])
        })
    });
    written.map_err(|e| Problem::internal(&e))?;
    let bytes = out.into_inner().map_err(|_| Problem::internal(&std::io::Error::other("CSV could not be written")))?;
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}
