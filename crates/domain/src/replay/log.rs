//! The exported form of a log: one event a line of JSON, the stored bytes verbatim. `docs/events.md` documents it.
//!
//! Every stored line stands behind a tab. JSON as it is stored holds no tab (in a text it is written `\t`), so a log
//! is cut into its lines without being parsed, and what was hashed is there byte for byte.

use std::io::{BufRead, Read, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Checked, Replay, ReplayError, roster::in_parallel};
use crate::{
    event::{Body, Hash, Meta, StoredEvent},
    in_order::in_order,
};

/// Bytes of a log that [`LogReader`] reads before they are hashed: enough to be shared out.
const BATCH: usize = 8 << 20;
/// Bytes of a log that one thread hashes at a time.
const BLOCK: usize = 2 << 20;
/// Stands in the place of an erased line.
const ERASED: &str = "null";

/// Folds an exported log, up to and with an event if one is named.
///
/// # Errors
/// If a line is not an event, or the event does not follow from those before it.
pub fn read_log(reader: impl BufRead + Send, until: Option<u64>) -> Result<Replay, ReplayError> {
    let until = until.unwrap_or(u64::MAX);
    let mut replay = Replay::new();
    each_event(reader, |event| {
        if replay.last_seq() >= until {
            return Ok(false);
        }
        replay.take(event).map(|()| true)
    })?;
    Ok(replay)
}

/// Calls a function with every event of an exported log whose lines are those that were hashed, until it says that it has
/// seen enough.
///
/// # Errors
/// If a line is not an event, or the function fails.
pub fn each_event<R: BufRead + Send, F: FnMut(Checked) -> Result<bool, ReplayError>>(
    reader: R,
    take: F,
) -> Result<(), ReplayError> {
    let hash = |block: &mut Block| block.events = block.batch.lines().map(checked).collect();
    let mut reading = Reading { reader, rest: Vec::new(), take, line: 0, has_seen_enough: false };
    in_order(&mut reading, Reading::fill, hash, Reading::take)
}

/// A log on its way through [`each_event`].
struct Reading<R, F> {
    reader: R,
    rest: Vec<u8>,
    take: F,
    line: u64,
    has_seen_enough: bool,
}

impl<R: BufRead, F: FnMut(Checked) -> Result<bool, ReplayError>> Reading<R, F> {
    fn fill(&mut self, block: &mut Block) -> Result<bool, ReplayError> {
        if self.has_seen_enough {
            return Ok(false);
        }
        block.batch.fill(&mut self.reader, &mut self.rest, BLOCK)?;
        Ok(!block.batch.is_empty())
    }

    fn take(&mut self, block: &mut Block) -> Result<(), ReplayError> {
        for event in block.events.drain(..) {
            if self.has_seen_enough {
                return Ok(());
            }
            self.line += 1;
            let event = event.map_err(|why| ReplayError::Line { line: self.line, why })?;
            self.has_seen_enough = !(self.take)(event?)?;
        }
        Ok(())
    }
}

/// Some lines of a log, and the events that they are.
#[derive(Default)]
struct Block {
    batch: Batch,
    events: Vec<ReadLine>,
}

/// An event of which the lines are those that were hashed, or not; or no event.
type ReadLine = Result<Result<Checked, ReplayError>, String>;

fn checked(line: &[u8]) -> ReadLine {
    read_event(line).map(Checked::new)
}

/// An exported log, read some events at a time: for whoever does more with them than to fold them.
pub struct LogReader<R> {
    reader: R,
    batch: Batch,
    rest: Vec<u8>,
    line: u64,
}

impl<R: BufRead> LogReader<R> {
    /// Reads from the beginning.
    pub fn new(reader: R) -> Self {
        LogReader { reader, batch: Batch::default(), rest: Vec::new(), line: 0 }
    }

    /// The next events, their lines checked; none at the end. What stands behind one that cannot be read is not to be
    /// looked at.
    ///
    /// # Errors
    /// What reading says.
    pub fn next_events(&mut self) -> Result<Vec<Result<Checked, ReplayError>>, ReplayError> {
        self.batch.fill(&mut self.reader, &mut self.rest, BATCH)?;
        let lines: Vec<&[u8]> = self.batch.lines().collect();
        let numbered = in_parallel(&lines, |line| checked(line)).into_iter().map(|event| {
            self.line += 1;
            event.map_err(|why| ReplayError::Line { line: self.line, why })?
        });
        Ok(numbered.collect())
    }
}

/// Lines of a log that are looked at together, as they stand there, in memory that is used again.
#[derive(Default)]
struct Batch(Vec<u8>);

impl Batch {
    /// Reads the next whole lines; none at the end. `rest` is what was read of the line behind them, then and now.
    fn fill(&mut self, reader: &mut impl BufRead, rest: &mut Vec<u8>, size: usize) -> Result<(), ReplayError> {
        self.0.clear();
        self.0.reserve(size + size / 8);
        self.0.append(rest);
        loop {
            let known = self.0.len();
            if reader.by_ref().take(size as u64).read_to_end(&mut self.0)? == 0 {
                return Ok(());
            }
            if let Some(end) = memchr::memrchr(b'\n', &self.0[known..]) {
                rest.extend_from_slice(&self.0[known + end + 1..]);
                self.0.truncate(known + end + 1);
                return Ok(());
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.0.strip_suffix(b"\n").unwrap_or(&self.0);
        let mut start = 0;
        let ends = memchr::memchr_iter(b'\n', lines).chain((!self.is_empty()).then_some(lines.len()));
        ends.map(move |end| &lines[std::mem::replace(&mut start, end + 1)..end])
    }
}

/// Writes an event as a line, its line break included.
///
/// # Errors
/// What writing says; `InvalidData` if a stored line is no compact JSON, so that it could not be read back.
pub fn write_event(event: &StoredEvent, out: &mut (impl Write + ?Sized)) -> std::io::Result<()> {
    out.write_all(b"{\"meta\":")?;
    out.write_all(compact(&event.meta_bytes)?)?;
    write!(out, ",\"root\":\"{}\",\"hash\":\"{}\"", hex(&event.root), hex(&event.hash))?;
    if let Some(body) = &event.body {
        write_body(body, out)?;
    }
    out.write_all(b"}\n")
}

fn write_body(body: &Body, out: &mut (impl Write + ?Sized)) -> std::io::Result<()> {
    write!(out, ",\"salts\":\"{}\"", STANDARD.encode(body.salts.as_flattened()))?;
    if !body.erased.is_empty() {
        let erased: Vec<String> = body.erased.iter().map(|(i, leaf)| format!("[{i},\"{}\"]", hex(leaf))).collect();
        write!(out, ",\"erased\":[{}]", erased.join(","))?;
    }
    out.write_all(b",\"lines\":[")?;
    for (i, line) in body.iter().enumerate() {
        out.write_all(if i == 0 { b"\t" } else { b",\t" })?;
        out.write_all(line.map_or(Ok(ERASED.as_bytes()), compact)?)?;
    }
    out.write_all(b"]")
}

/// Stored JSON has no line breaks and no tabs.
fn compact(json: &[u8]) -> std::io::Result<&[u8]> {
    let fits = !json.is_empty() && !json.iter().any(|b| matches!(b, b'\t' | b'\n' | b'\r'));
    fits.then_some(json)
        .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::InvalidData, "a stored line is no compact JSON"))
}

/// Everything of an exported event but its lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<'a> {
    #[serde(borrow)]
    meta: &'a RawValue,
    root: &'a str,
    hash: &'a str,
    salts: Option<&'a str>,
    #[serde(default, borrow)]
    erased: Vec<(u32, &'a str)>,
    /// Cut off before the head is read.
    lines: Option<[(); 0]>,
}

/// Reads an exported event, without its line break. The hashes are not looked at here.
///
/// # Errors
/// What is wrong with it, as part of a sentence.
pub fn read_event(line: &[u8]) -> Result<StoredEvent, String> {
    let line = std::str::from_utf8(line).map_err(|_| "it is no UTF-8")?;
    let mut pieces = line.split('\t');
    let first = pieces.next().unwrap_or_default();
    // Without lines the head is all there is; else it ends where the array of lines begins.
    let whole = first.len() == line.len();
    let head = if whole { first.to_owned() } else { [first, "]}"].concat() };
    let head: Head = serde_json::from_str(&head).map_err(|e| e.to_string())?;
    let meta: Meta = serde_json::from_str(head.meta.get()).map_err(|e| e.to_string())?;
    let body = match (head.salts, head.lines) {
        (Some(salts), Some([])) => Some(read_body(salts, &head.erased, pieces, line.len())?),
        (None, None) if whole && head.erased.is_empty() => None,
        _ => return Err("salts and lines belong together".to_owned()),
    };
    Ok(StoredEvent {
        meta_bytes: head.meta.get().as_bytes().to_vec(),
        meta,
        body,
        root: unhex(head.root).ok_or("its root is no hash")?,
        hash: unhex(head.hash).ok_or("its hash is no hash")?,
    })
}

fn read_body<'a>(
    salts: &str,
    erased: &[(u32, &str)],
    pieces: impl Iterator<Item = &'a str>,
    size: usize,
) -> Result<Body, String> {
    let salts = STANDARD.decode(salts).map_err(|_| "its salts are no base64")?;
    let (salts, []) = salts.as_chunks::<16>() else { return Err("its salts are cut short".to_owned()) };
    let erased = erased.iter().map(|(i, leaf)| Some((*i, unhex(leaf)?))).collect::<Option<Vec<_>>>();
    let mut body =
        Body { salts: salts.to_vec(), lines: Vec::with_capacity(size), erased: erased.ok_or("a leaf is no hash")? };
    let mut gone = body.erased.iter().map(|(i, _)| *i as usize).peekable();
    let mut count = 0;
    for piece in pieces {
        let last = count + 1 == body.salts.len();
        let line = piece.strip_suffix(if last { "]}" } else { "," }).ok_or("its lines are cut short")?;
        if gone.next_if_eq(&count).is_none() {
            body.lines.extend_from_slice(line.as_bytes());
        } else if line != ERASED {
            return Err(format!("its line {count} is erased and there all the same"));
        }
        body.lines.push(b'\n');
        count += 1;
    }
    if count != body.salts.len() || gone.next().is_some() {
        return Err(format!("it has {count} lines for {} salts", body.salts.len()));
    }
    drop(gone);
    body.lines.shrink_to(body.lines.len());
    Ok(body)
}

/// Hexadecimal, lower case.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

/// What [`hex`] wrote of a hash.
pub fn unhex(text: &str) -> Option<Hash> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[a, b]| Some(digit(*a)? << 4 | digit(*b)?)).collect();
    bytes?.try_into().ok()
}
