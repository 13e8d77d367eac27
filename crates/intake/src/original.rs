//! Rows of a payload in the shape in which they came, so that they can be corrected and sent again.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use crate::{
    csv::{CellBuffer, Records},
    encoding::{self, Encoding},
    error::IntakeError,
    json,
    payload::Plain,
};

/// How a payload lies in its file, as far as its rows are to be found there again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Whether it is packed with gzip.
    pub packed: bool,
    /// The encoding of its text.
    pub encoding: Encoding,
    /// What it is.
    pub kind: Kind,
}

impl Original {
    /// Whether it is a workbook, of which there are cells and no text.
    pub fn is_workbook(&self) -> bool {
        matches!(self.kind, Kind::Workbook { .. })
    }
}

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Delimiter-separated text.
    Delimited {
        /// What stands between cells.
        delimiter: u8,
        /// The line behind the header row.
        first_line: u64,
    },
    /// A JSON document.
    Json {
        /// How deeply its values may lie in one another.
        depth: usize,
    },
    /// One JSON object a line.
    Ndjson,
    /// A workbook.
    Workbook {
        /// The row behind the header row.
        first_row: u64,
        /// Its format's name.
        written: &'static str,
    },
}

/// Where rows go: bytes as they came, or the cells of a workbook's row.
pub trait Picked: Send {
    /// Bytes to follow those before.
    ///
    /// # Errors
    /// If they cannot be written.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// A row of a workbook; the first is its header row.
    ///
    /// # Errors
    /// If it cannot be written.
    fn cells(&mut self, cells: &[&str]) -> io::Result<()>;
}

/// The payload whose rows are wanted.
pub struct Picking<'a> {
    /// How it lies in its file.
    pub original: &'a Original,
    /// Its file.
    pub file: &'a Path,
    /// Its plain text, if it is written in another way.
    pub plain: Option<&'a Plain>,
    /// Its header row.
    pub header: &'a [String],
    /// The lines on which the rows begin, in order; numbers of rows where rows are no lines.
    pub lines: &'a [u64],
}

impl Picking<'_> {
    /// Gives the rows, with all that stands in front of the first row of the payload: its header row, titles, marks.
    ///
    /// # Errors
    /// If the payload cannot be read, or what is picked not be written.
    pub fn pick(&self, out: &mut dyn Picked) -> Result<(), IntakeError> {
        match self.original.kind {
            Kind::Delimited { delimiter, first_line } => self.delimited(delimiter, first_line, out),
            Kind::Json { depth } => self.json(depth, out),
            Kind::Ndjson => json::pick_lines(self.utf8()?, self.lines, &mut |line| Ok(out.bytes(line)?)),
            Kind::Workbook { first_row, .. } => self.workbook(first_row, out),
        }
    }

    fn wants(&self, line: u64) -> bool {
        self.lines.binary_search(&line).is_ok()
    }

    /// The payload's bytes, unpacked.
    fn unpacked(&self) -> io::Result<Box<dyn Read>> {
        let file = BufReader::with_capacity(1 << 17, File::open(self.file)?);
        Ok(if self.original.packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
    }

    /// The payload's text, whatever its encoding was.
    fn utf8(&self) -> Result<Box<dyn Read>, IntakeError> {
        if self.original.encoding == Encoding::Utf8 {
            return Ok(Box::new(self.unpacked()?));
        }
        let directory = self.file.parent().unwrap_or(self.file);
        let mut text = tempfile::tempfile_in(directory)?;
        encoding::to_utf8(self.unpacked()?, self.original.encoding, &mut text)?;
        io::Seek::rewind(&mut text)?;
        Ok(Box::new(BufReader::new(text)))
    }

    /// Records are found in a likeness of the text in which each unit is one byte, and their bytes in the text itself.
    fn delimited(&self, delimiter: u8, first_line: u64, out: &mut dyn Picked) -> Result<(), IntakeError> {
        let (likeness, mark) = Likeness::of(self.unpacked()?, self.original.encoding)?;
        let unit = likeness.unit;
        let at = |units: u64| mark + units * unit;
        let mut records = Records::from(likeness, 0, 1, delimiter);
        let mut text = Cutter { text: self.unpacked()?, at: 0 };
        let mut is_below = false;
        while let Some(raw) = records.next()? {
            if raw.line >= first_line && !std::mem::replace(&mut is_below, true) {
                text.cut(0, at(raw.offset), out)?;
            }
            if raw.line >= first_line && self.wants(raw.line) {
                text.cut(at(raw.offset), at(raw.end), out)?;
            }
        }
        if is_below { Ok(()) } else { text.cut(0, u64::MAX, out) }
    }

    fn json(&self, depth: usize, out: &mut dyn Picked) -> Result<(), IntakeError> {
        let mut before: &[u8] = b"[\n";
        let (mut number, lines) = (0, self.lines);
        json::pick_objects(self.utf8()?, depth, &mut |object| {
            number += 1;
            if lines.binary_search(&number).is_ok() {
                out.bytes(std::mem::replace(&mut before, b",\n"))?;
                out.bytes(object)?;
            }
            Ok(())
        })?;
        Ok(out.bytes(if before == b"[\n" { b"[]\n" } else { b"\n]\n" })?)
    }

    fn workbook(&self, first_row: u64, out: &mut dyn Picked) -> Result<(), IntakeError> {
        let names: Vec<&str> = self.header.iter().map(String::as_str).collect();
        out.cells(&names)?;
        let Some(plain) = self.plain else { return Ok(()) };
        let mut records = plain.records_from(0, first_row, b',')?;
        let mut buffer = CellBuffer::default();
        while let Some(raw) = records.next()? {
            if self.wants(raw.line)
                && let Ok(cells) = buffer.split(raw.bytes, b',')
            {
                let cells: Vec<&str> = cells.iter().collect();
                out.cells(&cells)?;
            }
        }
        Ok(())
    }
}

/// Gives pieces of a text, one behind the other.
struct Cutter {
    text: Box<dyn Read>,
    at: u64,
}

impl Cutter {
    fn cut(&mut self, from: u64, to: u64, out: &mut dyn Picked) -> Result<(), IntakeError> {
        io::copy(&mut self.text.by_ref().take(from.saturating_sub(self.at)), &mut io::sink())?;
        let mut piece = self.text.by_ref().take(to.saturating_sub(from));
        let mut buffer = [0; 1 << 13];
        loop {
            match piece.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => out.bytes(&buffer[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.at = to;
        Ok(())
    }
}

/// A text in which each unit of its encoding is one byte: itself if it is ASCII, and some letter if not. Its records begin and
/// end where those of the text do, and so do its lines.
struct Likeness {
    text: Box<dyn Read>,
    encoding: Encoding,
    /// Bytes of the text for one of the likeness.
    unit: u64,
    /// Bytes of the text that were read and are not used up.
    ahead: Vec<u8>,
    buffer: Vec<u8>,
}

impl Likeness {
    /// With the length of the mark at the text's beginning, which is left out.
    fn of(mut text: Box<dyn Read>, encoding: Encoding) -> io::Result<(Likeness, u64)> {
        let mut ahead = Vec::new();
        text.by_ref().take(3).read_to_end(&mut ahead)?;
        let (unit, mark): (u64, &[u8]) = match encoding {
            Encoding::Utf8 => (1, b"\xEF\xBB\xBF"),
            Encoding::Windows1252 => (1, b""),
            Encoding::Utf16Le => (2, b"\xFF\xFE"),
            Encoding::Utf16Be => (2, b"\xFE\xFF"),
        };
        let mark = if ahead.starts_with(mark) { mark.len() } else { 0 };
        ahead.drain(..mark);
        Ok((Likeness { text, encoding, unit, ahead, buffer: vec![0; 1 << 16] }, mark as u64))
    }

    fn byte(&self, unit: &[u8]) -> u8 {
        let (high, low) = match (self.encoding, unit) {
            (Encoding::Utf16Le, [low, high]) | (Encoding::Utf16Be, [high, low]) => (*high, *low),
            // Half a unit at the end is damage, and no letter.
            _ => (1, 0),
        };
        if high == 0 && low.is_ascii() { low } else { b'x' }
    }
}

impl Read for Likeness {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.unit == 1 {
            let n = self.ahead.len().min(out.len());
            out[..n].copy_from_slice(&self.ahead[..n]);
            self.ahead.drain(..n);
            return if n > 0 { Ok(n) } else { self.text.read(out) };
        }
        let wanted = (out.len() * 2).saturating_sub(self.ahead.len()).min(self.buffer.len());
        let mut is_at_end = false;
        while self.ahead.len() < 2 && !is_at_end {
            match self.text.read(&mut self.buffer[..wanted]) {
                Ok(n) => {
                    is_at_end = n == 0;
                    self.ahead.extend_from_slice(&self.buffer[..n]);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let units = if is_at_end { self.ahead.len().div_ceil(2) } else { self.ahead.len() / 2 }.min(out.len());
        for (byte, unit) in out.iter_mut().zip(self.ahead.chunks(2)) {
            *byte = self.byte(unit);
        }
        let used = (units * 2).min(self.ahead.len());
        self.ahead.drain(..used);
        Ok(units)
    }
}

#[cfg(test)]
mod tests;
