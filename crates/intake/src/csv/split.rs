//! Splits a stream into records through one buffer, aware of quotes, without looking at cells.

use std::io::Read;

use memchr::{memchr, memchr2_iter, memchr3};

use super::Dialect;
use crate::error::IntakeError;

/// The longest record, in bytes. What is longer is no person but a quotation mark that never closes,
/// and reading on would take memory without end.
pub const MAX_RECORD: usize = 1 << 20;

const BUFFER: usize = 512 * 1024;

/// One record: a row of cells as it stands in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Its bytes, without the line end.
    pub bytes: &'a [u8],
    /// The physical line on which it starts; the first line of a payload is 1.
    pub line: u64,
    /// Where in the payload it starts, in bytes.
    pub offset: u64,
    /// Where it ends with its line end, in bytes.
    pub end: u64,
}

/// Where a record stands among bytes read together.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its first byte.
    pub start: usize,
    /// Its end, without the line end.
    pub end: usize,
    /// As in [`Raw`].
    pub line: u64,
    /// As in [`Raw`].
    pub offset: u64,
}

/// How the payload ended: whether it proves to have been read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Every quotation mark that opened a cell was closed.
    pub balanced: bool,
    /// The last row ended with a line break.
    pub line_break: bool,
    /// How many bytes were read, from the beginning of the payload.
    pub bytes: u64,
    /// How many physical lines there are.
    pub lines: u64,
}

/// Records of a stream. LF, CRLF and CR end a record; inside quotation marks they belong to the cell.
/// Empty lines, and lines of nothing but delimiters, blanks and quotation marks, are passed over.
pub struct Records<R> {
    reader: R,
    buffer: Vec<u8>,
    /// `buffer[start..filled]` is read and not yet given out.
    start: usize,
    filled: usize,
    /// Up to here the record that begins at `start` has been looked through.
    scan: usize,
    state: State,
    /// Whether the record that begins at `start` has a quoted cell, and so perhaps several lines.
    has_quotes: bool,
    delimiter: u8,
    /// Whether each record is one row of the original, however many lines it takes up here.
    counts_rows: bool,
    /// How many more records are taken.
    left: u64,
    most: u64,
    /// Position of `buffer[0]` in the payload.
    base: u64,
    line: u64,
    is_at_end: bool,
    ends_with_line_break: bool,
    is_balanced: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Plain,
    Quoted,
}

/// A record's place in the buffer.
struct Found {
    /// Its end, without the line end.
    end: usize,
    /// Where the next one begins.
    next: usize,
    terminated: bool,
}

impl<R: Read> Records<R> {
    /// Records of a payload from its beginning. Before [`speak`](Self::speak) the delimiter is a comma.
    pub fn new(reader: R) -> Self {
        Self::from(reader, 0, 1, b',')
    }

    /// Records of a payload from a record's offset and line, as an earlier [`Raw`] gave them.
    /// The reader must stand at that offset.
    pub fn from(reader: R, offset: u64, line: u64, delimiter: u8) -> Self {
        Records {
            reader,
            buffer: vec![0; BUFFER],
            start: 0,
            filled: 0,
            scan: 0,
            state: State::Plain,
            has_quotes: false,
            delimiter,
            counts_rows: false,
            left: u64::MAX,
            most: u64::MAX,
            base: offset,
            line,
            is_at_end: false,
            ends_with_line_break: true,
            is_balanced: true,
        }
    }

    /// Records in the plain form of [`rows`](crate::rows), of which the first is number `first` of the original.
    pub(crate) fn rows(reader: R, first: u64) -> Self {
        Records { counts_rows: true, ..Self::from(reader, 0, first, b',') }
    }

    /// Whether each record counts as one line, as in the plain form of [`rows`](crate::rows).
    pub(crate) fn counting_rows(self, counts_rows: bool) -> Self {
        Records { counts_rows, ..self }
    }

    /// Refuses a payload with more records than this.
    pub fn at_most(&mut self, rows: u64) {
        (self.left, self.most) = (rows, rows);
    }

    /// The beginning of the payload, as much as detection wants to see, and whether that is all of it.
    /// It is not used up.
    pub(super) fn head(&mut self) -> Result<(&[u8], bool), IntakeError> {
        while !self.is_at_end && self.filled < super::dialect::HEAD {
            self.fill()?;
        }
        let seen = self.filled.min(super::dialect::HEAD);
        Ok((&self.buffer[..seen], self.is_at_end && seen == self.filled))
    }

    /// Takes on a dialect: its delimiter, and what stands before the header row.
    pub(super) fn speak(&mut self, dialect: &Dialect) {
        self.delimiter = dialect.delimiter;
        self.start = dialect.preamble.min(self.filled);
        self.scan = self.start;
        self.line += dialect.preamble_lines;
    }

    /// The next record, or `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "a record borrows the buffer, so this cannot be an Iterator")]
    pub fn next(&mut self) -> Result<Option<Raw<'_>>, IntakeError> {
        loop {
            let Some(found) = self.find()? else {
                return Ok(None);
            };
            let (start, line) = (self.start, self.line);
            self.pass(&found);
            let bytes = &self.buffer[start..found.end];
            // An unfinished last line is given out whatever is in it: it may be a row that was cut.
            if found.terminated && is_blank(bytes, self.delimiter) {
                continue;
            }
            self.count()?;
            // Sliced a second time, because the borrow checker does not yet see that `continue` gives it back.
            let (offset, end) = (self.base + start as u64, self.base + found.next as u64);
            return Ok(Some(Raw { bytes: &self.buffer[start..found.end], line, offset, end }));
        }
    }

    /// The next records, up to so many: their places in the bytes that are given back. No places: the end.
    pub fn next_some(&mut self, most: usize, places: &mut Vec<Place>) -> Result<&[u8], IntakeError> {
        places.clear();
        while places.len() < most {
            // Only the first may move what is in the buffer.
            let found = if places.is_empty() { self.find()? } else { self.scan() };
            let Some(found) = found else { break };
            let (start, line) = (self.start, self.line);
            self.pass(&found);
            if !found.terminated || !is_blank(&self.buffer[start..found.end], self.delimiter) {
                self.count()?;
                places.push(Place { start, end: found.end, line, offset: self.base + start as u64 });
            }
        }
        Ok(&self.buffer)
    }

    /// Steps over records until the next one begins on this line or below it; `false` at the end.
    pub fn skip_to_line(&mut self, line: u64) -> Result<bool, IntakeError> {
        while self.line < line {
            match self.find()? {
                Some(found) => self.pass(&found),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The line that is read next.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// How the payload ended, once [`next`](Self::next) has given `None`.
    pub fn ending(&self) -> Ending {
        Ending {
            balanced: self.is_balanced,
            line_break: self.ends_with_line_break,
            bytes: self.base + self.filled as u64,
            lines: self.line - u64::from(self.ends_with_line_break),
        }
    }

    /// One record more, as long as there may be one.
    fn count(&mut self) -> Result<(), IntakeError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            let what = format!("has more than {} rows", self.most);
            IntakeError::Limit { what, key: "limits.rows", most: self.most }
        })?;
        Ok(())
    }

    /// Counts the lines of a record and steps over it.
    fn pass(&mut self, found: &Found) {
        if self.has_quotes && !self.counts_rows {
            self.line += line_breaks(&self.buffer[self.start..found.end]);
        }
        self.line += u64::from(found.terminated);
        self.ends_with_line_break = found.terminated;
        self.start = found.next;
        self.scan = found.next;
        self.state = State::Plain;
        self.has_quotes = false;
    }

    /// Finds the end of the record that begins at `start`, reading more as needed.
    fn find(&mut self) -> Result<Option<Found>, IntakeError> {
        loop {
            if let Some(found) = self.scan() {
                return Ok(Some(found));
            }
            if self.is_at_end {
                return Ok(self.rest());
            }
            self.make_room()?;
            self.fill()?;
        }
    }

    /// Looks through what is in the buffer; `None` if the record does not end in it.
    fn scan(&mut self) -> Option<Found> {
        let data = &self.buffer[..self.filled];
        loop {
            let rest = &data[self.scan..];
            if self.state == State::Quoted {
                let at = self.scan + memchr(b'"', rest)?;
                // `""` stands for one quotation mark; whether this is one shows in the byte that follows.
                match data.get(at + 1) {
                    Some(b'"') => self.scan = at + 2,
                    None if !self.is_at_end => {
                        self.scan = at;
                        return None;
                    }
                    _ => (self.scan, self.state) = (at + 1, State::Plain),
                }
                continue;
            }
            let Some(at) = memchr3(b'\n', b'\r', b'"', rest).map(|i| self.scan + i) else {
                self.scan = self.filled;
                return None;
            };
            match data[at] {
                b'\n' => return Some(Found { end: at, next: at + 1, terminated: true }),
                b'\r' => {
                    let next = match data.get(at + 1) {
                        Some(b'\n') => at + 2,
                        None if !self.is_at_end => {
                            self.scan = at;
                            return None;
                        }
                        _ => at + 1,
                    };
                    return Some(Found { end: at, next, terminated: true });
                }
                _ => {
                    // Elsewhere than at the beginning of a cell a quotation mark is text.
                    if at == self.start || data[at - 1] == self.delimiter {
                        self.state = State::Quoted;
                        self.has_quotes = true;
                    }
                    self.scan = at + 1;
                }
            }
        }
    }

    /// The last record, if the payload does not end with a line break.
    fn rest(&mut self) -> Option<Found> {
        if self.state == State::Quoted {
            self.is_balanced = false;
        }
        (self.start < self.filled).then_some(Found { end: self.filled, next: self.filled, terminated: false })
    }

    /// Makes sure that there is room behind what is in the buffer.
    fn make_room(&mut self) -> Result<(), IntakeError> {
        let pending = self.filled - self.start;
        if pending > MAX_RECORD {
            return Err(IntakeError::RecordTooLong { line: self.line, in_quotes: self.state == State::Quoted });
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.base += self.start as u64;
            self.scan -= self.start;
            self.filled = pending;
            self.start = 0;
        }
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), IntakeError> {
        loop {
            match self.reader.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.is_at_end = true,
                Ok(n) => self.filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            }
            return Ok(());
        }
    }
}

/// Whether there is nothing in a record but delimiters, blanks and quotation marks.
fn is_blank(record: &[u8], delimiter: u8) -> bool {
    record.iter().all(|b| *b == delimiter || matches!(b, b' ' | b'\t' | b'"' | b'\r' | b'\n'))
}

/// Line breaks in the bytes; CRLF counts once.
fn line_breaks(bytes: &[u8]) -> u64 {
    memchr2_iter(b'\n', b'\r', bytes).filter(|at| bytes[*at] == b'\n' || bytes.get(at + 1) != Some(&b'\n')).count()
        as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out a few bytes at a time, so that records meet the edge of the buffer.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(buf.len()).min(self.0.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn split(input: &str) -> (Vec<(String, u64, u64)>, Ending) {
        let mut all = Vec::new();
        for step in [1, 2, 7, 1 << 20] {
            let mut records = Records::new(Drip(input.as_bytes(), step));
            let mut found = Vec::new();
            while let Some(r) = records.next().unwrap() {
                found.push((String::from_utf8(r.bytes.to_vec()).unwrap(), r.line, r.offset));
            }
            all.push((found, records.ending()));
        }
        assert!(all.windows(2).all(|w| w[0] == w[1]), "the size of the reads shows: {all:?}");
        all.pop().unwrap()
    }

    fn rows(input: &str) -> Vec<(String, u64, u64)> {
        split(input).0
    }

    fn row(text: &str, line: u64, offset: u64) -> (String, u64, u64) {
        (text.to_owned(), line, offset)
    }

    #[test]
    fn every_kind_of_line_end_ends_a_record() {
        assert_eq!(rows("a,b\nc\r\nd\re"), [row("a,b", 1, 0), row("c", 2, 4), row("d", 3, 7), row("e", 4, 9)]);
    }

    #[test]
    fn a_line_break_in_quotation_marks_belongs_to_the_cell() {
        assert_eq!(
            rows("\"a\nb\",c\r\nd,\"x\r\ny\"\"\n\"\ne\n"),
            [row("\"a\nb\",c", 1, 0), row("d,\"x\r\ny\"\"\n\"", 3, 9), row("e", 6, 21)]
        );
    }

    #[test]
    fn a_quotation_mark_inside_a_cell_is_text() {
        assert_eq!(rows("5\" pipe,x\ny\n"), [row("5\" pipe,x", 1, 0), row("y", 2, 10)]);
        assert_eq!(rows("\"a\"b\"c\n\"d\n"), [row("\"a\"b\"c", 1, 0), row("\"d\n", 2, 7)]);
    }

    #[test]
    fn blank_lines_are_passed_over_and_counted() {
        assert_eq!(rows("\n\na\r\n\r\n , ,\"\"\nb"), [row("a", 3, 2), row("b", 6, 14)]);
        // Unless it is the last one and not finished: that may be a row that was cut.
        assert_eq!(rows("a\n,,"), [row("a", 1, 0), row(",,", 2, 2)]);
    }

    #[test]
    fn the_ending_tells_whether_the_payload_is_whole() {
        assert_eq!(split("a\nb\n").1, Ending { balanced: true, line_break: true, bytes: 4, lines: 2 });
        assert_eq!(split("a\nb").1, Ending { balanced: true, line_break: false, bytes: 3, lines: 2 });
        assert_eq!(split("a\n\"b\nc\n").1, Ending { balanced: false, line_break: false, bytes: 7, lines: 4 });
        assert!(split("a,\"b\"").1.balanced);
        assert!(!split("a,\"b\"\"").1.balanced);
        assert_eq!(split("").1.bytes, 0);
    }

    #[test]
    fn reading_goes_on_from_any_record() {
        let input = "id,x\n1,\"a\nb\"\n2,c\n3,d\n";
        for (text, line, offset) in rows(input) {
            let mut records = Records::from(&input.as_bytes()[offset as usize..], offset, line, b',');
            let again = records.next().unwrap().unwrap();
            assert_eq!((again.bytes, again.line, again.offset), (text.as_bytes(), line, offset));
            while records.next().unwrap().is_some() {}
            assert_eq!(records.ending(), split(input).1);
        }
    }

    #[test]
    fn skipping_leads_to_the_record_on_a_line_or_the_next_one() {
        let input = "id,x\n1,\"a\nb\"\n\n2,c\r\n3,d\n";
        let all = rows(input);
        for step in [1, 3, 1 << 20] {
            for to in 0..=8 {
                let mut records = Records::new(Drip(input.as_bytes(), step));
                let there = records.skip_to_line(to).unwrap();
                let next = records.next().unwrap().map(|r| (r.offset, r.line));
                let expected = all.iter().find(|(_, line, _)| *line >= to).map(|r| (r.2, r.1));
                assert_eq!(next, expected, "to {to} by {step}");
                assert!(there || next.is_none());
            }
        }
    }

    #[test]
    fn skipping_goes_on_from_where_reading_stopped() {
        let mut records = Records::new(&b"a\nb\nc\nd\n"[..]);
        records.next().unwrap();
        assert!(records.skip_to_line(3).unwrap());
        assert_eq!(records.next().unwrap().map(|r| (r.bytes, r.line)), Some((&b"c"[..], 3)));
        // There is no way back: it stays where it is.
        assert!(records.skip_to_line(0).unwrap());
        assert_eq!(records.next().unwrap().map(|r| r.bytes), Some(&b"d"[..]));
        assert!(!records.skip_to_line(9).unwrap());
    }

    #[test]
    fn more_records_than_allowed_are_refused() {
        let mut records = Records::new(&b"id\n\n1\n2\n"[..]);
        records.at_most(2);
        assert!(records.next().unwrap().is_some() && records.next().unwrap().is_some());
        assert!(records.next().unwrap_err().to_string().contains("limits.rows is 2"));
    }

    #[test]
    fn a_record_without_end_is_refused_before_it_takes_the_memory() {
        let endless = std::io::Read::chain(&b"id\n\""[..], std::io::repeat(b'x'));
        let mut records = Records::new(endless);
        records.next().unwrap();
        let error = records.next().unwrap_err();
        assert!(matches!(error, IntakeError::RecordTooLong { line: 2, in_quotes: true }));
        assert!(records.buffer.len() <= 4 * MAX_RECORD);
    }
}
