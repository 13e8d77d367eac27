//! The plain form into which other formats are brought: CSV records in UTF-8, one to a row, without a header row.
//!
//! Commas stand between cells and LF ends a record. A cell that the row does not have is [`ABSENT`], one that it says is
//! nothing is [`NULL`]; cells missing at the end are absent too. A row from which nothing can be read is one cell that begins
//! with [`BROKEN`] and goes on with the reason. An empty line stands for a line or row of the original in which nothing
//! is, so that the number of a line here and there differ by no more than where counting begins.

use std::{
    borrow::Cow,
    io::{self, Write},
};

/// A cell that the row does not have.
pub const ABSENT: &str = "\u{1}";
/// A cell that says that there is nothing.
pub const NULL: &str = "\u{2}";
/// Begins a row that cannot be read.
pub const BROKEN: char = '\u{3}';

/// What a row says of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    /// Nothing at all.
    Absent,
    /// That there is nothing.
    Null,
    /// This.
    Text(&'a str),
}

/// Writes rows in the plain form.
pub(crate) struct RowWriter<W> {
    out: W,
    record: Vec<u8>,
    /// Whether the last record still wants its line end.
    is_open: bool,
}

impl<W: Write> RowWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        RowWriter { out, record: Vec::new(), is_open: false }
    }

    /// Writes a row.
    pub(crate) fn row<'a>(&mut self, cells: impl IntoIterator<Item = Cell<'a>>) -> io::Result<()> {
        self.record.clear();
        for cell in cells {
            match cell {
                Cell::Absent => self.record.extend_from_slice(ABSENT.as_bytes()),
                Cell::Null => self.record.extend_from_slice(NULL.as_bytes()),
                // It stays a control character, and is refused as one.
                Cell::Text(text) => push_text(&guarded(text), &mut self.record),
            }
            self.record.push(b',');
        }
        if self.record.pop().is_none() {
            self.record.extend_from_slice(ABSENT.as_bytes());
        }
        self.end_record()
    }

    /// Writes a row from which nothing can be read.
    pub(crate) fn broken(&mut self, reason: &str) -> io::Result<()> {
        self.record.clear();
        let mut cell = String::from(BROKEN);
        cell.push_str(reason);
        push_text(&cell, &mut self.record);
        self.end_record()
    }

    /// Passes over a line or row in which nothing is.
    pub(crate) fn blank(&mut self) -> io::Result<()> {
        self.record.clear();
        self.end_record()
    }

    fn end_record(&mut self) -> io::Result<()> {
        if self.is_open {
            self.out.write_all(b"\n")?;
        }
        self.is_open = true;
        self.out.write_all(&self.record)
    }

    /// Ends the last row, unless it is to show that the original ended without a line break.
    pub(crate) fn finish(mut self, line_break: bool) -> io::Result<W> {
        if self.is_open && line_break {
            self.out.write_all(b"\n")?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Writes a cell, in quotation marks if it needs them.
fn push_text(text: &str, record: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let is_plain = bytes.iter().all(|b| !matches!(b, b',' | b'"' | b'\n' | b'\r'));
    if is_plain {
        record.extend_from_slice(bytes);
        return;
    }
    record.push(b'"');
    for byte in bytes {
        if *byte == b'"' {
            record.push(b'"');
        }
        record.push(*byte);
    }
    record.push(b'"');
}

/// Text of the original that would be taken for one of the marks.
fn guarded(text: &str) -> Cow<'_, str> {
    if text.starts_with(BROKEN) || matches!(text, ABSENT | NULL) { [ABSENT, text].concat().into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::{CellBuffer, Records};

    #[test]
    fn rows_come_back_with_their_numbers() {
        let mut writer = RowWriter::new(Vec::new());
        writer.row([Cell::Text("a,\"b\""), Cell::Absent, Cell::Null, Cell::Text("")]).unwrap();
        writer.blank().unwrap();
        writer.row([Cell::Text("two\nlines"), Cell::Text(ABSENT), Cell::Text(NULL)]).unwrap();
        writer.row([]).unwrap();
        writer.broken("No, not \"this\".").unwrap();
        let bytes = writer.finish(true).unwrap();
        let mut records = Records::rows(&bytes[..], 1);
        let mut cells = CellBuffer::default();
        let mut found = Vec::new();
        while let Some(raw) = records.next().unwrap() {
            let cells: Vec<String> = cells.split(raw.bytes, b',').unwrap().iter().map(str::to_owned).collect();
            found.push((raw.line, cells));
        }
        let expected: [(u64, &[&str]); 4] = [
            (1, &["a,\"b\"", "\u{1}", "\u{2}", ""]),
            (3, &["two\nlines", "\u{1}\u{1}", "\u{1}\u{2}"]),
            (4, &["\u{1}"]),
            (5, &["\u{3}No, not \"this\"."]),
        ];
        let expected: Vec<(u64, Vec<String>)> =
            expected.iter().map(|(n, c)| (*n, c.iter().map(|c| (*c).to_owned()).collect())).collect();
        assert_eq!(found, expected);
        assert!(records.ending().line_break);
    }
}
