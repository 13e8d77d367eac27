//! The bytes of a payload: counted, hashed and waited for only so long as they come, and read as they come or put down first.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::HeaderMap,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::{io::AsyncReadExt, sync::mpsc};

use crate::{
    api::caller::Caller,
    problem::{Problem, REFUSED, Result, TIMEOUT, TOO_LARGE, UNREADABLE},
};

/// For how long `PROGRESS` bytes of a body are waited for: whoever sends a byte now and then is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// So much of a body must come within `PATIENCE`, or all that is left of it.
const PROGRESS: u64 = 16 << 10;
/// By so many bytes is told of what type a body is.
const LOOKED_AT: usize = 64;
/// So many pieces of a body may wait to be read.
const AHEAD: usize = 16;

/// Why a payload is not taken any further.
pub fn too_large(most: u64) -> Problem {
    Problem::new(
        &TOO_LARGE,
        format!("A payload of this organisation has at most {} MiB (`limits.payload_mb`).", most >> 20),
    )
}

/// The digest that a body should have: `Content-Digest` (RFC 9530), of which SHA-256 is looked at.
pub struct Expected {
    hash: Sha256,
    bytes: Vec<u8>,
}

impl Expected {
    /// What a request says.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn of(headers: &HeaderMap) -> Result<Option<Expected>> {
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

/// How fast a body comes: what is waited for is counted, and not what is done with it here.
#[derive(Default)]
struct Pace {
    waited: Duration,
    came: u64,
}

impl Pace {
    /// What comes next, if it comes in time.
    async fn next<T>(&mut self, next: impl Future<Output = T>) -> Result<T> {
        let began = tokio::time::Instant::now();
        let came = tokio::time::timeout(PATIENCE.saturating_sub(self.waited), next).await;
        self.waited += began.elapsed();
        came.map_err(|_| Problem::new(&TIMEOUT, "The body came too slowly: less than 16 KiB in 30 seconds."))
    }

    fn came(&mut self, bytes: u64) {
        self.came += bytes;
        if self.came >= PROGRESS {
            *self = Pace::default();
        }
    }
}

/// The pieces of a body: counted, hashed if a digest is expected, and waited for only so long.
pub fn counted(body: Body, most: u64, expected: Option<Expected>) -> impl Stream<Item = Result<Bytes>> + Send {
    let pieces = body.into_data_stream();
    futures_util::stream::unfold(
        (pieces, 0u64, expected, false, Pace::default()),
        move |(mut pieces, mut size, mut expected, ended, mut pace)| async move {
            if ended {
                return None;
            }
            let next = match pace.next(pieces.next()).await {
                Err(problem) => return Some((Err(problem), (pieces, size, None, true, pace))),
                Ok(next) => next,
            };
            let outcome = match next {
                Some(Err(_)) => {
                    Err(Problem::new(&UNREADABLE, "The body was cut off on its way; nothing was taken from it."))
                }
                Some(Ok(piece)) => {
                    size += piece.len() as u64;
                    pace.came(piece.len() as u64);
                    if let Some(expected) = &mut expected {
                        expected.hash.update(&piece);
                    }
                    if size > most { Err(too_large(most)) } else { Ok(piece) }
                }
                None => {
                    let expected = expected.take()?;
                    if expected.hash.finalize()[..] == expected.bytes[..] {
                        return None;
                    }
                    let why = "The body is not the one that Content-Digest is of: it was changed or cut on its way. Send it again.";
                    return Some((Err(Problem::new(&REFUSED, why)), (pieces, size, None, true, pace)));
                }
            };
            let failed = outcome.is_err();
            Some((outcome, (pieces, size, expected, failed, pace)))
        },
    )
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
    pub async fn piped(
        pieces: std::pin::Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
        look: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<Source> {
        // Its end is met twice where all of it is looked at first.
        let mut pieces = pieces.fuse();
        let mut rest = Bytes::new();
        while rest.len() < LOOKED_AT {
            match pieces.next().await {
                Some(piece) if rest.is_empty() => rest = piece?,
                Some(piece) => rest = [rest, piece?].concat().into(),
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
pub async fn spool(caller: &Caller, mut pieces: impl Stream<Item = Result<Bytes>> + Unpin) -> Result<File> {
    let mut file = scratch(caller)?;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        tokio::task::block_in_place(|| file.write_all(&piece)).map_err(|e| Problem::internal(&e))?;
    }
    file.rewind().map_err(|e| Problem::internal(&e))?;
    Ok(file)
}

/// Where payloads lie, so that people's data is nowhere else, and there is room for a payload twice.
pub fn scratch(caller: &Caller) -> Result<File> {
    let made = tokio::task::block_in_place(|| caller.engine.payloads.scratch(caller.organisation.row.id));
    made.map_err(|e| Problem::internal(&e))
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
