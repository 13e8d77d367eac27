//! What each column of a payload seems to hold, for whoever makes a feed's mapping. Nothing is stored.

use std::collections::BTreeMap;

use axum::{Json, extract::Request};
use muster_domain::access::{Action, Resource};
use muster_engine::mapping::{Column, Confidence, Guessed, MapRequest, Unfed};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema, openapi::Object};

use super::find;
use crate::{
    api::{
        body::{Path, Query},
        caller::{About, Caller, Noted},
        uploads::{Coming, SendParameters, mapping::columns_in_text},
    },
    openapi::said::{JsonPayload, UploadForm, words_or_null},
    problem::{INVALID, MISSING_RIGHT, Problem, ProblemDocument, Result},
};

/// What is said of the payload in the address.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MapParameters {
    /// The sheet of a workbook; the one that looks like a list of people, if it is not given.
    pub sheet: Option<String>,
    /// Column names by field that count for more than the feed's mapping and any name, as an object in JSON; `null` says that no
    /// column holds the field.
    #[param(inline, schema_with = columns_in_text)]
    pub mapping: Option<String>,
}

/// One column of a payload.
#[derive(Debug, Serialize, ToSchema)]
pub struct ColumnDocument {
    /// Its name in the header row.
    pub column: String,
    /// The field that it seems to hold; without one it is ignored.
    pub field: Option<String>,
    /// How sure that is: `said` by the feed's mapping or with the payload, `high`, `medium` or `low`.
    #[schema(schema_with = confidences)]
    pub confidence: Option<Confidence>,
    /// Why, or for an ignored column what it looks like.
    pub why: String,
    /// How many of the rows looked at have something in it.
    pub filled: u64,
    /// Some of what is in it.
    pub samples: Vec<String>,
}

fn confidences() -> Object {
    words_or_null("How sure it is that the column holds the field.", ["said", "high", "medium", "low"])
}

impl From<Column> for ColumnDocument {
    fn from(column: Column) -> ColumnDocument {
        let Column { column, field, confidence, why, filled, samples } = column;
        ColumnDocument { column, field, confidence, why, filled, samples }
    }
}

/// A field that the payload has no column for.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnfedDocument {
    /// The field.
    pub field: String,
    /// Other feeds that have one.
    pub fed_by: Vec<String>,
}

impl From<Unfed> for UnfedDocument {
    fn from(Unfed { field, fed_by }: Unfed) -> UnfedDocument {
        UnfedDocument { field, fed_by }
    }
}

/// What the columns of a payload seem to hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct MapDocument {
    /// The feed.
    pub feed: String,
    /// The version of its saved mapping by which it was looked at; 0 if there is none.
    pub mapping_version: u32,
    /// The line or row of the header row.
    pub header_line: Option<u64>,
    /// What was assumed in reading it.
    pub read_as: Vec<String>,
    /// How many rows were looked at.
    pub rows_looked_at: usize,
    /// The columns.
    pub columns: Vec<ColumnDocument>,
    /// Fields without a column.
    pub without_column: Vec<UnfedDocument>,
    /// What must be settled before it can be read.
    pub problems: Vec<String>,
    /// The mapping as it would be saved, column names by field: send it to `PATCH /feeds/{name}` as `mapping`.
    pub mapping: BTreeMap<String, String>,
}

impl From<Guessed> for MapDocument {
    fn from(guessed: Guessed) -> MapDocument {
        MapDocument {
            feed: guessed.feed,
            mapping_version: guessed.mapping_version,
            header_line: guessed.header_line,
            read_as: guessed.read_as,
            rows_looked_at: guessed.rows_looked_at,
            columns: guessed.columns.into_iter().map(Into::into).collect(),
            without_column: guessed.without_column.into_iter().map(Into::into).collect(),
            problems: guessed.problems,
            mapping: guessed.mapping,
        }
    }
}

/// Show what each column of a payload seems to hold
///
/// The payload is sent as to `POST /uploads`, and goes when this is answered: nothing of it is stored or applied, and what it says
/// of its mode is passed over. Counts as an upload. Only for keys that see all people and fields, since some of what is in the
/// columns is shown.
#[utoipa::path(
    post, path = "/api/v1/feeds/{name}/map", tag = "feeds", params(("name" = String, Path), MapParameters),
    request_body(content(
        ("text/csv"), (JsonPayload = "application/json"), ("application/x-ndjson"), (UploadForm = "multipart/form-data"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"), ("application/gzip")
    )),
    responses(
        (status = 200, body = MapDocument),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub async fn show(
    caller: Caller,
    noted: Noted,
    Path(name): Path<String>,
    Query(parameters): Query<MapParameters>,
    request: Request,
) -> Result<Json<MapDocument>> {
    caller.needs(Resource::Feeds, Action::Update)?;
    let feed = find(&caller, &name)?;
    if !caller.grant.key.rows.is_empty() || caller.readable(Resource::Feeds).is_some() {
        let why = "The key sees some people or some fields only, and some of what is in the columns is shown.";
        return Err(Problem::new(&MISSING_RIGHT, why));
    }
    let MapParameters { sheet, mapping } = parameters;
    let said = SendParameters { sheet, mapping, ..SendParameters::default() };
    let coming = Coming::take(&caller, said, request).await?;
    if coming.said.feed.as_ref().is_some_and(|said| *said != feed.settings.name) {
        return Err(Problem::new(&INVALID, "The payload names another feed than the address."));
    }
    noted.keep(About::feed(&feed.settings.name));
    let request = MapRequest {
        feed: Some(feed.settings.name.clone()),
        format: coming.format.map(str::to_owned),
        sheet: coming.said.sheet,
        mapping: coming.said.mapping,
    };
    let mut source = coming.source;
    let guessed = caller.engine.map_coming(caller.slug(), request, &mut source).await;
    // Why it did not come to its end says more than that it did not.
    match source.failure() {
        Some(problem) => Err(problem),
        None => {
            let mut document = MapDocument::from(guessed?);
            if caller.grant.key.feed.is_some() {
                // Which other feeds there are is not for a key of one.
                document.without_column.iter_mut().for_each(|unfed| unfed.fed_by.clear());
            }
            Ok(Json(document))
        }
    }
}
