//! A payload on its way in: read as it comes, or put down first where what is said of it may stand behind it.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Multipart, Request},
    http::{HeaderMap, header},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use muster_domain::{guard::Asked, settings::Mode};
use serde::{Deserialize, de::IgnoredAny};
use sha2::{Digest, Sha256};
use tokio::{io::AsyncReadExt, sync::mpsc};

use super::{super::body::media_type, SendParameters};
use crate::{
    api::caller::Caller,
    problem::{INVALID, MEDIA_TYPE, Problem, REFUSED, Result, TIMEOUT, TOO_LARGE, UNREADABLE},
};

/// For how long the next bytes of a body are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many pieces of a body may wait to be read.
const AHEAD: usize = 16;

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
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
        let asked = match (given.apply.unwrap_or(false), given.hold.unwrap_or(false)) {
            (true, true) => return Err(Problem::new(&INVALID, "`apply` and `hold` cannot both be true.")),
            (true, _) => Some(Asked::Apply),
            (_, true) => Some(Asked::Hold),
            _ => None,
        };
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
    pub fn whole(lines: Vec<u8>, mode: Mode) -> Result<Coming> {
        let mut file = tempfile::tempfile_in(spool_dir()).map_err(|e| Problem::internal(&e))?;
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
        let format = match kind.as_str() {
            "text/csv" | "application/octet-stream" | "application/gzip" | XLSX => None,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some("ndjson"),
            "application/json" => return json(said, request, &headers, most).await,
            "multipart/form-data" => return multipart(said, request, &headers, most).await,
            _ => return Err(Problem::new(&MEDIA_TYPE, format!("Content-Type must be {TYPES}."))),
        };
        let digest = Expected::of(&headers)?;
        let pieces = counted(request.into_body(), most, digest);
        let source = Source::piped(Box::pin(pieces), |first| is_declared(&kind, &headers, first)).await?;
        Ok(Coming { said, format, file_name: None, now: false, source })
    }
}

fn check_coding(headers: &HeaderMap) -> Result<()> {
    match headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?").trim().to_ascii_lowercase()) {
        None => Ok(()),
        Some(coding) if matches!(coding.as_str(), "gzip" | "x-gzip" | "identity") => Ok(()),
        Some(_) => Err(Problem::new(&MEDIA_TYPE, "Content-Encoding may be gzip, and nothing else.")),
    }
}

/// Whether the first bytes are of the type that was declared.
fn is_declared(kind: &str, headers: &HeaderMap, first: &[u8]) -> Result<()> {
    let packed = first.starts_with(&[0x1f, 0x8b]);
    let coded = headers.get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity");
    let zip = first.starts_with(b"PK\x03\x04");
    let old_workbook = first.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]);
    let is_so = match kind {
        "application/octet-stream" => true,
        _ if coded => packed,
        "application/gzip" => packed,
        XLSX => zip || old_workbook,
        _ => !packed && !zip && !old_workbook,
    };
    let why = "The body is not what Content-Type and Content-Encoding say that it is.";
    if is_so || first.is_empty() { Ok(()) } else { Err(Problem::new(&MEDIA_TYPE, why)) }
}

fn too_large(most: u64) -> Problem {
    Problem::new(
        &TOO_LARGE,
        format!("A payload of this organisation has at most {} MiB (`limits.payload_mb`).", most >> 20),
    )
}

/// The digest that a body should have: `Content-Digest` (RFC 9530), of which SHA-256 is looked at.
struct Expected {
    hash: Sha256,
    bytes: Vec<u8>,
}

impl Expected {
    fn of(headers: &HeaderMap) -> Result<Option<Expected>> {
        let Some(value) = headers.get("content-digest") else { return Ok(None) };
        let text = value.to_str().unwrap_or("");
        let bad = || {
            Problem::new(&UNREADABLE, "Content-Digest must have `sha-256=:BASE64:`; other digests may stand beside it.")
        };
        let sha256 = text.split(',').find_map(|part| part.trim().strip_prefix("sha-256=")).ok_or_else(bad)?;
        let inner = sha256.strip_prefix(':').and_then(|s| s.strip_suffix(':')).ok_or_else(bad)?;
        let bytes = BASE64_STANDARD.decode(inner).map_err(|_| bad())?;
        if bytes.len() != 32 {
            return Err(bad());
        }
        Ok(Some(Expected { hash: Sha256::new(), bytes }))
    }
}

/// The pieces of a body: counted, hashed if a digest is expected, and each waited for only so long.
fn counted(body: Body, most: u64, expected: Option<Expected>) -> impl Stream<Item = Result<Bytes>> + Send {
    let pieces = body.into_data_stream();
    futures_util::stream::unfold(
        (pieces, 0u64, expected, false),
        move |(mut pieces, mut size, mut expected, ended)| async move {
            if ended {
                return None;
            }
            let outcome = match tokio::time::timeout(PATIENCE, pieces.next()).await {
                Err(_) => Err(Problem::new(&TIMEOUT, "No more of the body came for 30 seconds.")),
                Ok(Some(Err(_))) => {
                    Err(Problem::new(&UNREADABLE, "The body was cut off on its way; nothing was taken from it."))
                }
                Ok(Some(Ok(piece))) => {
                    size += piece.len() as u64;
                    if let Some(expected) = &mut expected {
                        expected.hash.update(&piece);
                    }
                    if size > most { Err(too_large(most)) } else { Ok(piece) }
                }
                Ok(None) => {
                    let expected = expected.take()?;
                    if expected.hash.finalize()[..] == expected.bytes[..] {
                        return None;
                    }
                    let why = "The body is not the one that Content-Digest is of: it was changed or cut on its way. Send it again.";
                    return Some((Err(Problem::new(&REFUSED, why)), (pieces, size, None, true)));
                }
            };
            let failed = outcome.is_err();
            Some((outcome, (pieces, size, expected, failed)))
        },
    )
    // Of an empty body the end is met by whoever looks at its first bytes, and again by whoever reads on.
    .fuse()
}

/// The bytes of a payload, for whoever reads them on a thread of its own.
pub enum Source {
    /// As they come.
    Pipe {
        /// What comes next.
        pieces: mpsc::Receiver<Option<Bytes>>,
        /// What came and was not read yet.
        rest: Bytes,
        /// Why no more comes.
        failure: Arc<Mutex<Option<Problem>>>,
        /// Whether its end was seen.
        ended: bool,
    },
    /// Put down first.
    Spooled(BufReader<File>),
}

impl Source {
    /// Reads pieces as they come; what comes first is looked at before anything is done with it.
    async fn piped(
        mut pieces: std::pin::Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
        look: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<Source> {
        let mut rest = Bytes::new();
        while rest.is_empty() {
            match pieces.next().await {
                Some(piece) => rest = piece?,
                None => break,
            }
        }
        look(&rest)?;
        let (send, receive) = mpsc::channel(AHEAD);
        let failure = Arc::new(Mutex::new(None));
        let told = failure.clone();
        tokio::spawn(async move {
            while let Some(piece) = pieces.next().await {
                match piece {
                    Ok(piece) => {
                        // Whoever read has what they wanted, or failed.
                        if send.send(Some(piece)).await.is_err() {
                            return;
                        }
                    }
                    Err(problem) => {
                        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
                        return;
                    }
                }
            }
            let _ = send.send(None).await;
        });
        Ok(Source::Pipe { pieces: receive, rest, failure, ended: false })
    }

    /// Why not all of it came, if it did not.
    pub fn failure(&self) -> Option<Problem> {
        match self {
            Source::Pipe { failure, .. } => failure.lock().unwrap_or_else(PoisonError::into_inner).take(),
            Source::Spooled(_) => None,
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Spooled(file) => file.read(buffer),
            Source::Pipe { pieces, rest, ended, .. } => {
                while rest.is_empty() && !*ended {
                    match pieces.blocking_recv() {
                        Some(Some(piece)) => *rest = piece,
                        Some(None) => *ended = true,
                        None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body was cut off")),
                    }
                }
                let n = rest.len().min(buffer.len());
                buffer[..n].copy_from_slice(&rest.split_to(n));
                Ok(n)
            }
        }
    }
}

/// Puts pieces down in a file that has no name.
async fn spool(caller_dir: &std::path::Path, mut pieces: impl Stream<Item = Result<Bytes>> + Unpin) -> Result<File> {
    let mut file = tempfile::tempfile_in(caller_dir).map_err(|e| Problem::internal(&e))?;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        tokio::task::block_in_place(|| file.write_all(&piece)).map_err(|e| Problem::internal(&e))?;
    }
    file.rewind().map_err(|e| Problem::internal(&e))?;
    Ok(file)
}

fn spool_dir() -> std::path::PathBuf {
    std::env::temp_dir()
}

/// `{"mode": …, "feed": …, "rows": […]}`, or a list of rows.
async fn json(mut said: Said, request: Request, headers: &HeaderMap, most: u64) -> Result<Coming> {
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
    let coded = headers.get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity");
    let digest = Expected::of(headers)?;
    let pieces = counted(request.into_body(), most, digest);
    if coded {
        // What is said of it must then stand in the address: it is not unpacked twice.
        let source = Source::piped(Box::pin(pieces), |first| is_declared("application/json", headers, first)).await?;
        return Ok(Coming { said, format: Some("json"), file_name: None, now: false, source });
    }
    let mut file = spool(&spool_dir(), Box::pin(pieces)).await?;
    let head = tokio::task::block_in_place(|| -> Result<Option<Head>> {
        let mut first = [0; 64];
        let n = file.read(&mut first).map_err(|e| Problem::internal(&e))?;
        file.rewind().map_err(|e| Problem::internal(&e))?;
        if first[..n].trim_ascii_start().first() != Some(&b'{') {
            return Ok(None);
        }
        let read = serde_json::from_reader(BufReader::with_capacity(1 << 18, &file));
        read.map(Some).map_err(|e: serde_json::Error| {
            Problem::new(
                &UNREADABLE,
                format!("The body cannot be read as JSON, line {}, column {}.", e.line(), e.column()),
            )
        })
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

/// A form with the payload as `file`; its other fields say what the address can say.
async fn multipart(said: Said, request: Request, headers: &HeaderMap, most: u64) -> Result<Coming> {
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
    let read = form(said, request, most).await;
    match failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(problem) => Err(problem),
        None => read,
    }
}

async fn form(mut said: Said, request: Request, most: u64) -> Result<Coming> {
    let bad = |_| {
        Problem::new(&UNREADABLE, "The form cannot be read, or was cut off: each part needs its boundary and a name.")
    };
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|_| Problem::new(&MEDIA_TYPE, "multipart/form-data needs a boundary."))?;
    let mut found = None;
    while let Some(mut field) = form.next_field().await.map_err(bad)? {
        let name = field.name().unwrap_or("").to_owned();
        if name == "file" {
            if found.is_some() {
                return Err(Problem::new(&INVALID, "A form has one `file`."));
            }
            let file_name = field.file_name().map(str::to_owned);
            let mut size = 0;
            let pieces = futures_util::stream::poll_fn(move |cx| field.poll_next_unpin(cx)).map(move |piece| {
                let piece = piece.map_err(bad)?;
                size += piece.len() as u64;
                if size > most { Err(too_large(most)) } else { Ok(piece) }
            });
            found = Some((spool(&spool_dir(), Box::pin(pieces)).await?, file_name));
            continue;
        }
        let text = field.text().await.map_err(bad)?;
        take_field(&mut said, &name, text.trim())?;
    }
    let Some((file, file_name)) = found else {
        return Err(Problem::new(&INVALID, "The form has no part named `file`."));
    };
    let source = Source::Spooled(BufReader::with_capacity(1 << 18, file));
    Ok(Coming { said, format: None, file_name, now: false, source })
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

/// The bytes of a file, piece by piece.
pub fn read_file(file: tokio::fs::File) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures_util::stream::unfold(file, |mut file| async move {
        let mut piece = vec![0; 1 << 17];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(n) => {
                piece.truncate(n);
                Some((Ok(Bytes::from(piece)), file))
            }
            Err(e) => Some((Err(e), file)),
        }
    })
}
