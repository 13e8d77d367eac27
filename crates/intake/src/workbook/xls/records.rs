//! The records of a workbook's stream, and the texts in them, which go on from record to record.

use encoding_rs::WINDOWS_1252;

use crate::{error::IntakeError, workbook::archive::broken};

/// A record that goes on with the one before.
const CONTINUE: u16 = 0x003C;

/// A record, with all that continues it.
pub(super) struct Record<'a> {
    pub(super) kind: u16,
    parts: Vec<&'a [u8]>,
}

/// The records of a stream, one after the other.
pub(super) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(super) fn new(stream: &'a [u8]) -> Self {
        Records { rest: stream }
    }

    /// The next record. A stream that breaks off within one is damaged.
    pub(super) fn next(&mut self) -> Result<Option<Record<'a>>, IntakeError> {
        let Some((kind, data)) = self.one()? else { return Ok(None) };
        let mut record = Record { kind, parts: vec![data] };
        while self.rest.starts_with(&CONTINUE.to_le_bytes())
            && let Some((_, data)) = self.one()?
        {
            record.parts.push(data);
        }
        Ok(Some(record))
    }

    fn one(&mut self) -> Result<Option<(u16, &'a [u8])>, IntakeError> {
        // Behind the last record there may be nothing but zeros.
        let [a, b, c, d, rest @ ..] = self.rest else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes([*c, *d]));
        let (data, rest) = rest.split_at_checked(length).ok_or_else(broken)?;
        self.rest = rest;
        Ok(Some((u16::from_le_bytes([*a, *b]), data)))
    }
}

impl<'a> Record<'a> {
    pub(super) fn len(&self) -> usize {
        self.parts[0].len()
    }

    /// A number in the record itself; 0 behind its end.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.parts[0].get(at).copied().unwrap_or_default()
    }

    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.byte(at), self.byte(at + 1)])
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    pub(super) fn f64(&self, at: usize) -> f64 {
        f64::from_bits(u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32)
    }

    /// The texts that begin there.
    pub(super) fn text<'r>(&'r self, at: usize) -> Text<'a, 'r> {
        Text { parts: &self.parts, part: 0, at }
    }
}

/// Texts in a record and in those that continue it.
pub(super) struct Text<'a, 'r> {
    parts: &'r [&'a [u8]],
    part: usize,
    at: usize,
}

impl<'a> Text<'a, '_> {
    pub(super) fn is_at_end(&self) -> bool {
        self.here().is_empty() && self.part + 1 >= self.parts.len()
    }

    fn here(&self) -> &'a [u8] {
        self.parts.get(self.part).and_then(|part| part.get(self.at..)).unwrap_or_default()
    }

    fn byte(&mut self) -> Result<u8, IntakeError> {
        while self.here().is_empty() {
            self.next_part()?;
        }
        self.at += 1;
        Ok(self.parts[self.part][self.at - 1])
    }

    fn next_part(&mut self) -> Result<(), IntakeError> {
        (self.part, self.at) = (self.part + 1, 0);
        if self.part < self.parts.len() { Ok(()) } else { Err(broken()) }
    }

    fn number(&mut self, bytes: u32) -> Result<usize, IntakeError> {
        (0..bytes).try_fold(0, |sum, i| Ok(sum | usize::from(self.byte()?) << (8 * i)))
    }

    /// A text with its length in one byte.
    pub(super) fn short(&mut self) -> Result<String, IntakeError> {
        let length = self.number(1)?;
        let flags = self.byte()?;
        self.letters(length, flags)
    }

    /// A text with its length in two bytes, and perhaps with formats of its parts, which are passed over.
    pub(super) fn long(&mut self) -> Result<String, IntakeError> {
        let length = self.number(2)?;
        if length == 0 && self.is_at_end() {
            return Ok(String::new());
        }
        let flags = self.byte()?;
        let runs = if flags & 8 != 0 { self.number(2)? * 4 } else { 0 };
        let phonetic = if flags & 4 != 0 { self.number(4)? } else { 0 };
        let text = self.letters(length, flags)?;
        self.skip(runs.saturating_add(phonetic))?;
        Ok(text)
    }

    /// A text of bytes, as up to Excel 95, its length in so many bytes.
    pub(super) fn bytes(&mut self, width: u32) -> Result<String, IntakeError> {
        let length = self.number(width)?;
        let bytes: Vec<u8> = (0..length).map(|_| self.byte()).collect::<Result<_, _>>()?;
        Ok(WINDOWS_1252.decode_without_bom_handling(&bytes).0.into_owned())
    }

    /// Letters of one or two bytes each. In every record in which they go on it is said anew which.
    fn letters(&mut self, length: usize, flags: u8) -> Result<String, IntakeError> {
        let (mut text, mut left, mut is_wide) = (Vec::new(), length, flags & 1 == 1);
        while left > 0 {
            let width = if is_wide { 2 } else { 1 };
            let letters = (self.here().len() / width).min(left);
            let bytes = &self.here()[..letters * width];
            match is_wide {
                true => text.extend(bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]))),
                false => text.extend(bytes.iter().map(|b| u16::from(*b))),
            }
            self.at += bytes.len();
            left -= letters;
            if left > 0 {
                self.next_part()?;
                is_wide = self.byte()? & 1 == 1;
            }
        }
        Ok(String::from_utf16_lossy(&text))
    }

    fn skip(&mut self, bytes: usize) -> Result<(), IntakeError> {
        let mut left = bytes;
        loop {
            let here = self.here().len().min(left);
            self.at += here;
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.next_part()?;
        }
    }
}
