//! A payload on its way in: read as it comes, or put down first where what is said of it may stand behind it.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read, Seek, Write},
};

use axum::{
    extract::Request,
    http::{HeaderMap, header},
};
use chrono::{DateTime, Utc};
use muster_domain::{guard::Asked, settings::Mode};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    SendParameters,
    declared::{XLSX, charset, check_coding, in_utf8, is_coded, is_declared},
    form,
    mapping::{self, Columns},
    source::{Expected, Source, counted, scratch, spool, too_large},
};
use crate::{
    api::{
        body::{asked, media_type, read_from},
        caller::Caller,
    },
    problem::{INVALID, MEDIA_TYPE, Problem, Result, UNREADABLE},
};

const TYPES: &str = "text/csv, application/json, application/x-ndjson, multipart/form-data, application/gzip, \
    application/octet-stream or the type of XLSX";

/// What is said of a payload.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// What absence means.
    pub mode: Option<Mode>,
    /// The feed.
    pub feed: Option<String>,
    /// Apply or hold.
    pub asked: Option<Asked>,
    /// Change nothing.
    pub dry_run: bool,
    /// How many rows there should be.
    pub expected_rows: Option<u64>,
    /// The moment whose truth it tells.
    pub as_of: Option<DateTime<Utc>>,
    /// The sheet of a workbook.
    pub sheet: Option<String>,
    /// Column names by field, for it alone.
    pub mapping: BTreeMap<String, String>,
}

/// A payload that can be read.
pub struct Coming {
    /// What is said of it.
    pub said: Said,
    /// Its format, where its type names one that its bytes do not tell.
    pub format: Option<&'static str>,
    /// The name of the file.
    pub file_name: Option<String>,
    /// Whether it is worked on before the answer.
    pub now: bool,
    /// Its bytes.
    pub source: Source,
}

impl Said {
    fn of(given: SendParameters, caller: &Caller) -> Result<Said> {
        let asked = asked(given.apply.unwrap_or(false), given.hold.unwrap_or(false))?;
        let mapping = given.mapping.map(|text| mapping::from_text(&text, caller)).transpose()?;
        Ok(Said {
            mode: given.mode,
            feed: given.feed,
            asked,
            dry_run: given.dry_run.unwrap_or(false),
            expected_rows: given.expected_rows,
            as_of: given.as_of,
            sheet: given.sheet,
            mapping: mapping.unwrap_or_default(),
        })
    }
}

impl Coming {
    /// Lines of JSON that are there already.
    ///
    /// # Errors
    /// If the disk does not take them.
    pub fn whole(caller: &Caller, lines: Vec<u8>, mode: Mode) -> Result<Coming> {
        let mut file = scratch(caller)?;
        let put = tokio::task::block_in_place(|| file.write_all(&lines).and_then(|()| file.rewind()));
        put.map_err(|e| Problem::internal(&e))?;
        let source = Source::Spooled(BufReader::with_capacity(1 << 18, file));
        let said = Said { mode: Some(mode), ..Said::default() };
        Ok(Coming { said, format: Some("ndjson"), file_name: None, now: true, source })
    }

    /// Takes a request apart.
    ///
    /// # Errors
    /// If its type is none that is taken, or it says what makes no sense.
    pub async fn take(caller: &Caller, parameters: SendParameters, request: Request) -> Result<Coming> {
        let said = Said::of(parameters, caller)?;
        let most = u64::from(caller.organisation.settings.limits.payload_mb) << 20;
        let headers = request.headers().clone();
        check_coding(&headers)?;
        let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|n| n > most) {
            return Err(too_large(most));
        }
        let kind = media_type(&headers);
        let charset = charset(&kind, &headers)?;
        let format = match kind.as_str() {
            "text/csv" | "application/octet-stream" | "application/gzip" | XLSX => None,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some("ndjson"),
            "application/json" => return json(caller, said, request, &headers, most).await,
            "multipart/form-data" => return form::multipart(caller, said, request, &headers, most).await,
            _ => return Err(Problem::new(&MEDIA_TYPE, format!("Content-Type must be {TYPES}."))),
        };
        let digest = Expected::of(&headers)?;
        let pieces = counted(request.into_body(), most, digest);
        let look = |first: &[u8]| is_declared(&kind, &headers, first);
        let source = match is_coded(&headers) {
            false if charset.as_deref() == Some("utf-8") => Source::piped(Box::pin(in_utf8(pieces)), look).await?,
            _ => Source::piped(Box::pin(pieces), look).await?,
        };
        Ok(Coming { said, format, file_name: None, now: false, source })
    }
}

/// `{"mode": …, "feed": …, "rows": […]}`, or a list of rows.
async fn json(caller: &Caller, mut said: Said, request: Request, headers: &HeaderMap, most: u64) -> Result<Coming> {
    #[derive(Deserialize)]
    struct Head {
        mode: Option<Mode>,
        feed: Option<String>,
        dry_run: Option<bool>,
        apply: Option<bool>,
        hold: Option<bool>,
        expected_rows: Option<u64>,
        as_of: Option<DateTime<Utc>>,
        mapping: Option<Columns>,
        #[allow(dead_code)]
        rows: Option<IgnoredAny>,
    }
    let digest = Expected::of(headers)?;
    let pieces = counted(request.into_body(), most, digest);
    if is_coded(headers) {
        // What is said of it must then stand in the address: it is not unpacked twice.
        let source = Source::piped(Box::pin(pieces), |first| is_declared("application/json", headers, first)).await?;
        return Ok(Coming { said, format: Some("json"), file_name: None, now: false, source });
    }
    let mut file = spool(caller, Box::pin(pieces)).await?;
    let head = tokio::task::block_in_place(|| -> Result<Option<Head>> {
        let mut first = [0; 64];
        let n = file.read(&mut first).map_err(|e| Problem::internal(&e))?;
        file.rewind().map_err(|e| Problem::internal(&e))?;
        match first[..n].trim_ascii_start().first() {
            Some(b'{') => {}
            Some(b'[') => {
                return read_from(BufReader::with_capacity(1 << 18, &file)).map(|IgnoredAny| None);
            }
            _ => return Err(Problem::new(&UNREADABLE, "The body is no JSON list or object of rows.")),
        }
        read_from(BufReader::with_capacity(1 << 18, &file)).map(Some)
    })?;
    if let Some(head) = head {
        if head.rows.is_none() {
            return Err(Problem::new(&INVALID, "The body has no `rows`.").at("/rows", "Give the list of rows."));
        }
        let parameters = SendParameters {
            mode: said.mode.or(head.mode),
            feed: said.feed.take().or(head.feed),
            apply: head.apply,
            hold: head.hold,
            dry_run: Some(said.dry_run || head.dry_run.unwrap_or(false)),
            expected_rows: said.expected_rows.or(head.expected_rows),
            as_of: said.as_of.or(head.as_of),
            sheet: None,
            mapping: None,
        };
        let Said { asked, mapping, .. } = said;
        said = Said::of(parameters, caller)?;
        said.asked = asked.or(said.asked);
        // What the address says counts for more than the body, here too.
        said.mapping = match head.mapping {
            Some(columns) if mapping.is_empty() => columns.checked(caller)?,
            _ => mapping,
        };
    }
    file.rewind().map_err(|e| Problem::internal(&e))?;
    let source = Source::Spooled(BufReader::with_capacity(1 << 18, file));
    Ok(Coming { said, format: Some("json"), file_name: None, now: false, source })
}
