//! Takes a JSON document apart, value by value, through one buffer: how large the document is does not matter.

use std::io::{self, Read};

use memchr::memchr2;

use crate::{csv::MAX_RECORD, error::IntakeError};

const BUFFER: usize = 256 * 1024;

/// A value of which a part has been looked through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    at: usize,
    depth: usize,
    in_string: bool,
}

/// What looking through a part of a value came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The value has so many bytes.
    Whole(usize),
    /// It goes on.
    Part,
    /// It lies too deep.
    TooDeep,
}

impl Progress {
    /// Looks for the end of the value with which `bytes` begins, from where it left off. Whether it is well-formed
    /// within is for a parser to say.
    pub(super) fn look(&mut self, bytes: &[u8], most_depth: usize) -> Seen {
        while let Some(byte) = bytes.get(self.at) {
            if self.in_string {
                let Some(found) = memchr2(b'"', b'\\', &bytes[self.at..]) else {
                    self.at = bytes.len();
                    break;
                };
                self.at += found;
                if bytes[self.at] == b'\\' {
                    if self.at + 1 == bytes.len() {
                        break;
                    }
                    self.at += 2;
                    continue;
                }
                self.in_string = false;
                self.at += 1;
                if self.depth == 0 {
                    return Seen::Whole(self.at);
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth > most_depth {
                        return Seen::TooDeep;
                    }
                }
                b'}' | b']' if self.depth <= 1 => {
                    return Seen::Whole(self.at + self.depth);
                }
                b'}' | b']' => self.depth -= 1,
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if self.depth == 0 => return Seen::Whole(self.at),
                _ => {}
            }
            self.at += 1;
        }
        Seen::Part
    }
}

/// A document on its way through.
pub(super) struct Scan<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    is_at_end: bool,
    last: u8,
    most_depth: usize,
    /// Rows taken so far, to say where something is wrong.
    pub(super) rows: u64,
}

impl<R: Read> Scan<R> {
    pub(super) fn new(reader: R, most_depth: usize) -> Self {
        Scan { reader, buffer: vec![0; BUFFER], start: 0, filled: 0, is_at_end: false, last: 0, most_depth, rows: 0 }
    }

    /// The next byte that is not blank, without taking it; `None` at the end.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, IntakeError> {
        loop {
            let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
            let ahead = &self.buffer[self.start..self.filled];
            if let Some(at) = ahead.iter().position(|b| !blank(b)) {
                self.start += at;
                return Ok(Some(self.buffer[self.start]));
            }
            self.start = self.filled;
            if self.is_at_end {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// What was read and not yet taken.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.buffer[self.start..self.filled]
    }

    /// Whether the document, which is read to its end, ended with a line break.
    pub(super) fn ended_with_line_break(&self) -> bool {
        self.last == b'\n'
    }

    /// Takes this byte; anything else is an error.
    pub(super) fn expect(&mut self, wanted: u8) -> Result<(), IntakeError> {
        match self.peek()? {
            Some(byte) if byte == wanted => {
                self.start += 1;
                Ok(())
            }
            Some(_) => Err(self.malformed()),
            None => Err(self.cut()),
        }
    }

    /// Takes this byte if it is the next.
    pub(super) fn take_if(&mut self, wanted: u8) -> Result<bool, IntakeError> {
        let is_next = self.peek()?.ok_or_else(|| self.cut())? == wanted;
        self.start += usize::from(is_next);
        Ok(is_next)
    }

    /// The bytes of the next value.
    pub(super) fn value(&mut self) -> Result<&[u8], IntakeError> {
        self.peek()?.ok_or_else(|| self.cut())?;
        let mut progress = Progress::default();
        loop {
            match progress.look(&self.buffer[self.start..self.filled], self.most_depth) {
                Seen::Whole(0) => return Err(self.malformed()),
                Seen::Whole(len) => {
                    let from = self.start;
                    self.start += len;
                    return Ok(&self.buffer[from..from + len]);
                }
                Seen::TooDeep => return Err(too_deep(self.most_depth)),
                Seen::Part if self.is_at_end => return Err(self.cut()),
                Seen::Part => {}
            }
            if self.filled - self.start > MAX_RECORD {
                return Err(too_long(self.rows + 1));
            }
            self.fill()?;
        }
    }

    /// Passes over a byte order mark.
    pub(super) fn pass_mark(&mut self) -> Result<(), IntakeError> {
        while self.filled < 3 && !self.is_at_end {
            self.fill()?;
        }
        if self.buffer[..self.filled].starts_with(b"\xEF\xBB\xBF") {
            self.start = 3;
        }
        Ok(())
    }

    pub(super) fn cut(&self) -> IntakeError {
        IntakeError::damaged(format!(
            "The JSON document breaks off after row {}, so something was lost on its way; send it again.",
            self.rows
        ))
    }

    pub(super) fn malformed(&self) -> IntakeError {
        IntakeError::damaged(format!(
            "The JSON document is not well-formed behind row {}; correct it at the source and send it again.",
            self.rows
        ))
    }

    fn fill(&mut self) -> Result<(), IntakeError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        }
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.is_at_end = true,
                Ok(n) => {
                    self.filled += n;
                    self.last = self.buffer[self.filled - 1];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            }
            return Ok(());
        }
    }
}

pub(super) fn too_deep(most: usize) -> IntakeError {
    let what = "has objects or lists that lie too deep in one another".to_owned();
    IntakeError::Limit { what, key: "limits.depth", most: most as u64 }
}

pub(super) fn too_long(row: u64) -> IntakeError {
    IntakeError::damaged(format!(
        "Row {row} is longer than 1 MiB, so this is no list of people; correct it and send the file again."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_in_parts_of_any_size() {
        for value in ["{\"a\":\"}\\\"]\\\\\",\"b\":[1,{\"c\":null}]}", "[]", "\"x\\\\\"", "{}"] {
            for follow in ["", ",1", " ", "]"] {
                let text = format!("{value}{follow}");
                let mut progress = Progress::default();
                let found = (1..=text.len()).find_map(|n| match progress.look(&text.as_bytes()[..n], 9) {
                    Seen::Whole(len) => Some(len),
                    _ => None,
                });
                assert_eq!(found, Some(value.len()), "{text}");
            }
        }
        assert_eq!(Progress::default().look(b"12.50,", 9), Seen::Whole(5));
        assert_eq!(Progress::default().look(b"[[[1]]]", 2), Seen::TooDeep);
    }

    #[test]
    fn a_value_without_end_is_refused_before_it_takes_the_memory() {
        let mut scan = Scan::new(io::Read::chain(&b"\""[..], io::repeat(b'x')), 9);
        assert!(scan.value().unwrap_err().to_string().contains("longer than 1 MiB"));
        assert!(scan.buffer.len() <= 4 * MAX_RECORD);
    }
}
