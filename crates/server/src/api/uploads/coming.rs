//! A payload on its way in: read as it comes, or put down first where what is said of it may stand behind it.

use std::{
    io::{self, BufReader, Read, Seek, Write},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    extract::{
        FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::{HeaderMap, header},
};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use muster_domain::{guard::Asked, settings::Mode};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    SendParameters,
    declared::{XLSX, charset, check_coding, in_utf8, is_coded, is_declared},
    source::{Expected, Source, counted, scratch, spool, too_large},
};
use crate::{
    api::{
        body::{asked, media_type},
        caller::Caller,
    },
    problem::{INVALID, MEDIA_TYPE, Problem, Result, TOO_LARGE, UNREADABLE},
};

/// The longest text of a form's field, in bytes; the file is another matter.
const LONGEST_FIELD: usize = 4 << 10;
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

impl TryFrom<SendParameters> for Said {
    type Error = Problem;

    fn try_from(given: SendParameters) -> Result<Said> {
        let asked = asked(given.apply.unwrap_or(false), given.hold.unwrap_or(false))?;
        Ok(Said {
            mode: given.mode,
            feed: given.feed,
            asked,
            dry_run: given.dry_run.unwrap_or(false),
            expected_rows: given.expected_rows,
            as_of: given.as_of,
            sheet: given.sheet,
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
        let said = Said::try_from(parameters)?;
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
            "multipart/form-data" => return multipart(caller, said, request, &headers, most).await,
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
                let read = serde_json::from_reader(BufReader::with_capacity(1 << 18, &file));
                return read.map(|IgnoredAny| None).map_err(no_json);
            }
            _ => return Err(Problem::new(&UNREADABLE, "The body is no JSON list or object of rows.")),
        }
        let read = serde_json::from_reader(BufReader::with_capacity(1 << 18, &file));
        read.map(Some).map_err(no_json)
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
        };
        let asked = said.asked;
        said = Said::try_from(parameters)?;
        said.asked = asked.or(said.asked);
    }
    file.rewind().map_err(|e| Problem::internal(&e))?;
    let source = Source::Spooled(BufReader::with_capacity(1 << 18, file));
    Ok(Coming { said, format: Some("json"), file_name: None, now: false, source })
}

fn no_json(e: serde_json::Error) -> Problem {
    let why = format!("The body cannot be read as JSON, line {}, column {}.", e.line(), e.column());
    Problem::new(&UNREADABLE, why)
}

/// A form with the payload as `file`; its other fields say what the address can say.
async fn multipart(caller: &Caller, said: Said, request: Request, headers: &HeaderMap, most: u64) -> Result<Coming> {
    let digest = Expected::of(headers)?;
    let (parts, body) = request.into_parts();
    let failed = Arc::new(Mutex::new(None));
    let kept = failed.clone();
    let pieces = counted(body, most + (1 << 20), digest).map(move |piece| {
        piece.map_err(|problem| {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
            io::Error::other("the body failed")
        })
    });
    let request = Request::from_parts(parts, Body::from_stream(pieces));
    let read = form(caller, said, request, most).await;
    match failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(problem) => Err(problem),
        None => read,
    }
}

fn no_form(_: MultipartError) -> Problem {
    Problem::new(&UNREADABLE, "The form cannot be read, or was cut off: each part needs its boundary and a name.")
}

async fn form(caller: &Caller, mut said: Said, request: Request, most: u64) -> Result<Coming> {
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|_| Problem::new(&MEDIA_TYPE, "multipart/form-data needs a boundary."))?;
    let mut found = None;
    while let Some(mut field) = form.next_field().await.map_err(no_form)? {
        let name = field.name().unwrap_or("").to_owned();
        if name == "file" {
            if found.is_some() {
                return Err(Problem::new(&INVALID, "A form has one `file`."));
            }
            let file_name = field.file_name().map(str::to_owned);
            let mut size = 0;
            let pieces = futures_util::stream::poll_fn(move |cx| field.poll_next_unpin(cx)).map(move |piece| {
                let piece = piece.map_err(no_form)?;
                size += piece.len() as u64;
                if size > most { Err(too_large(most)) } else { Ok(piece) }
            });
            found = Some((spool(caller, Box::pin(pieces)).await?, file_name));
            continue;
        }
        let text = text_of(&mut field, &name).await?;
        take_field(&mut said, &name, text.trim())?;
    }
    let Some((file, file_name)) = found else {
        return Err(Problem::new(&INVALID, "The form has no part named `file`."));
    };
    let source = Source::Spooled(BufReader::with_capacity(1 << 18, file));
    Ok(Coming { said, format: None, file_name, now: false, source })
}

/// The text of a field, of which there is never more in memory than a field may have.
async fn text_of(field: &mut Field<'_>, name: &str) -> Result<String> {
    let mut text = Vec::new();
    while let Some(piece) = field.chunk().await.map_err(no_form)? {
        if text.len() + piece.len() > LONGEST_FIELD {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
            return Err(Problem::new(&TOO_LARGE, format!("The form's {shown:?} is longer than 4 KiB.")));
        }
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).map_err(|_| Problem::new(&UNREADABLE, "The form has a field that is not written in UTF-8."))
}

fn take_field(said: &mut Said, name: &str, text: &str) -> Result<()> {
    let invalid = || Problem::new(&INVALID, format!("The form's `{name}` has no such value."));
    let yes = || text.parse::<bool>().map_err(|_| invalid());
    match name {
        "mode" => said.mode = Some(Mode::from_word(text).ok_or_else(invalid)?),
        "feed" => said.feed = Some(text.to_owned()),
        "sheet" => said.sheet = Some(text.to_owned()),
        "dry_run" => said.dry_run = yes()?,
        "apply" if yes()? => said.asked = Some(Asked::Apply),
        "hold" if yes()? => said.asked = Some(Asked::Hold),
        "apply" | "hold" => {}
        "expected_rows" => said.expected_rows = Some(text.parse().map_err(|_| invalid())?),
        "as_of" => {
            said.as_of = Some(DateTime::parse_from_rfc3339(text).map_err(|_| invalid())?.with_timezone(&Utc));
        }
        _ => {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
            return Err(Problem::new(
                &INVALID,
                format!(
                    "The form has a part {shown:?}, which is not taken here; there are: file, mode, feed, apply, hold, dry_run, \
                     expected_rows, as_of and sheet."
                ),
            ));
        }
    }
    Ok(())
}
