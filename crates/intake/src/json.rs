//! JSON: a list of objects, an object that holds such a list, or one object a line; brought into rows while it is read.

use std::io::{BufRead, BufReader, Read, Write};

use muster_domain::settings::Limits;

use crate::{csv::MAX_RECORD, error::IntakeError, format::Format, payload::Brought, rows::RowWriter};

use object::{Columns, Object};
use scan::{Progress, Scan, Seen};

mod object;
mod scan;
mod wrapper;

/// Writes a document's objects as rows.
pub(crate) fn bring<R: Read, W: Write>(
    document: R,
    head: &[u8],
    format: Option<Format>,
    limits: Limits,
    out: W,
) -> Result<Brought, IntakeError> {
    let depth = limits.depth as usize;
    let mut bringing = Bringing {
        writer: RowWriter::new(out),
        columns: Columns::default(),
        object: Object::default(),
        limits,
        rows: 0,
        refused: None,
    };
    let several = several_objects(head, depth);
    let is_lines = match format {
        Some(Format::Ndjson) => several != Some(Several::Spread),
        Some(Format::Json) => false,
        _ => several == Some(Several::Lines),
    };
    let mut brought = match is_lines {
        true => bringing.lines(document)?,
        false => wrapper::bring(&mut |object: &[u8]| bringing.row(object), document, depth)?,
    };
    let ends_with_line_break = !std::mem::take(&mut brought.lacks_line_break);
    bringing.writer.finish(ends_with_line_break)?;
    brought.header = bringing.columns.names;
    brought.first = 1;
    if brought.header.is_empty() {
        return Err(nobody(bringing.rows, bringing.refused));
    }
    Ok(brought)
}

/// Why a document without columns is no list of people. A list of nobody is a payload too, but which columns it has nobody
/// knows, and whoever sent rows is not to be told how to say that there is nobody.
fn nobody(rows: u64, refused: Option<(u64, String)>) -> IntakeError {
    IntakeError::damaged(match refused {
        Some((row, reason)) => format!("No row of the JSON document can be read; the first is row {row}: {reason}"),
        None if rows > 0 => {
            "The objects of the JSON document say nothing of anybody; correct it at the source and send it again.".to_owned()
        }
        None => "The JSON document has no row, so which fields it would have is not known; send a CSV with a header row to say \
                 that there is nobody."
            .to_owned(),
    })
}

/// Gives every object of a document, as it is written.
pub(crate) fn pick_objects(
    document: impl Read,
    depth: usize,
    take: &mut dyn FnMut(&[u8]) -> Result<(), IntakeError>,
) -> Result<(), IntakeError> {
    wrapper::bring(&mut |object: &[u8]| take(object), document, depth).map(drop)
}

/// Gives the lines of those numbers, as they are written.
pub(crate) fn pick_lines(
    document: impl Read,
    numbers: &[u64],
    take: &mut dyn FnMut(&[u8]) -> Result<(), IntakeError>,
) -> Result<(), IntakeError> {
    let mut reader = BufReader::with_capacity(1 << 18, document);
    let (mut line, mut number) = (Vec::new(), 0);
    while reader.read_until(b'\n', &mut line)? > 0 {
        number += 1;
        if numbers.binary_search(&number).is_ok() {
            take(&line)?;
        }
        line.clear();
    }
    Ok(())
}

/// How objects follow one another that are in no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Several {
    /// One a line.
    Lines,
    /// Each over several lines.
    Spread,
}

/// Whether the first object is followed by another, or is the only one and holds no list.
fn several_objects(head: &[u8], depth: usize) -> Option<Several> {
    let body = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    if !body.starts_with(b"{") {
        return None;
    }
    let Seen::Whole(len) = Progress::default().look(body, depth) else { return None };
    let are_several = match body[len..].trim_ascii_start().first() {
        Some(next) => *next == b'{',
        None => !wrapper::holds_list(&body[..len]),
    };
    are_several.then(|| if body[..len].contains(&b'\n') { Several::Spread } else { Several::Lines })
}

/// A document on its way into rows.
struct Bringing<W> {
    writer: RowWriter<W>,
    columns: Columns,
    object: Object,
    limits: Limits,
    rows: u64,
    /// The first row from which nothing could be read, and why.
    refused: Option<(u64, String)>,
}

impl<W: Write> Bringing<W> {
    /// Writes one object, or why it is none.
    fn row(&mut self, json: &[u8]) -> Result<(), IntakeError> {
        self.rows += 1;
        match self.object.read(json, &mut self.columns) {
            Ok(()) => self.writer.row(self.object.cells())?,
            Err(reason) => {
                self.writer.broken(&reason)?;
                self.refused.get_or_insert((self.rows, reason));
            }
        }
        if self.columns.names.len() > self.limits.columns as usize {
            let most = self.limits.columns.into();
            return Err(IntakeError::Limit { what: "has too many columns".to_owned(), key: "limits.columns", most });
        }
        Ok(())
    }

    /// One object a line. A line that is none is a row that cannot be read, for the next one begins anew.
    fn lines(&mut self, document: impl Read) -> Result<Brought, IntakeError> {
        let mut reader = BufReader::with_capacity(1 << 18, document);
        let (mut line, mut number, mut ended) = (Vec::new(), 0, true);
        loop {
            line.clear();
            if reader.by_ref().take(MAX_RECORD as u64 + 1).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            number += 1;
            ended = line.ends_with(b"\n");
            if !ended && line.len() > MAX_RECORD {
                return Err(scan::too_long(number));
            }
            let text = if number == 1 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line) } else { &line };
            let text = text.trim_ascii();
            let depth = self.limits.depth as usize;
            if Progress::default().look(text, depth) == Seen::TooDeep {
                return Err(scan::too_deep(depth));
            }
            if text.is_empty() { self.writer.blank()? } else { self.row(text)? }
        }
        Ok(Brought { written: " ndjson", lacks_line_break: !ended, is_lines: true, ..Brought::default() })
    }
}

#[cfg(test)]
mod tests;
