//! The rows of a payload that are not known by their bytes: what the census found out of each, and their bytes once more.

use std::{fs::File, path::PathBuf};

use muster_intake::{csv::Records, payload::Plain};

use crate::{Error, Result, bits::Bits, census::Census};

/// A row that is not known: whom it names, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Miss {
    /// The line on which it begins.
    pub line: u32,
    /// The fingerprint of its bytes.
    pub fingerprint: u128,
    /// Hash of the match key.
    pub key: u64,
    /// Hash of the other identifier (e-mail or employee id); 0 without one.
    pub other: u64,
    /// Hash of what the row says.
    pub content: u64,
    /// Whether a value of the row was refused, so that the row says more than its content.
    pub flawed: bool,
}

/// Misses in the order of the payload, kept side by side: there may be as many as people, and each stage lets go of what it
/// needed last.
#[derive(Default)]
pub struct Misses {
    /// The lines on which they begin, ascending.
    pub lines: Vec<u32>,
    /// Fingerprints of their bytes.
    pub fingerprints: Vec<u128>,
    /// Hashes of the match keys, until it is resolved whom they name.
    pub keys: Vec<u64>,
    /// Hashes of the other identifiers, until it is resolved which stand in several rows.
    pub others: Vec<u64>,
    /// Hashes of what the rows say, until the roster was held against them.
    pub contents: Vec<u64>,
    /// Those of which a value was refused.
    pub flawed: Bits,
    /// Where the first begins, in bytes.
    offset: u64,
}

impl Misses {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether every row was known.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds one that begins at this offset.
    pub fn push(&mut self, miss: Miss, offset: u64) {
        if self.is_empty() {
            self.offset = offset;
        }
        if miss.flawed {
            self.flawed.set(self.len() as u32, true);
        }
        self.lines.push(miss.line);
        self.fingerprints.push(miss.fingerprint);
        self.keys.push(miss.key);
        self.others.push(miss.other);
        self.contents.push(miss.content);
    }

    /// Takes the last one out again.
    pub fn pop(&mut self) {
        self.lines.pop();
        self.fingerprints.pop();
        self.keys.pop();
        self.others.pop();
        self.contents.pop();
        self.flawed.set(self.len() as u32, false);
    }
}

/// Reads the misses of a census once more, in order: from the bytes that it kept, or from the payload.
pub struct MissRows<'a> {
    census: &'a Census,
    payload: PathBuf,
    /// The payload's plain text, if it is written in another way.
    plain: Option<&'a Plain>,
    delimiter: u8,
    records: Option<Records<File>>,
}

impl<'a> MissRows<'a> {
    /// Begins before the first.
    pub fn new(census: &'a Census, payload: PathBuf, plain: Option<&'a Plain>, delimiter: u8) -> Self {
        MissRows { census, payload, plain, delimiter, records: None }
    }

    /// The bytes of the miss of that index, which is higher than that of the one before.
    ///
    /// # Errors
    /// If the payload cannot be read again, or is not as it was.
    pub fn bytes(&mut self, index: usize) -> Result<&[u8]> {
        let changed = || Error::Damaged("the stored payload is not what it was a moment ago".to_owned());
        if self.census.keeps_bytes() {
            return self.census.bytes(index).ok_or_else(changed);
        }
        let line = u64::from(*self.census.misses.lines.get(index).ok_or_else(changed)?);
        if self.records.is_none() {
            self.records = Some(self.reopen()?);
        }
        let records = self.records.as_mut().ok_or_else(changed)?;
        records.skip_to_line(line)?;
        records.next()?.filter(|raw| raw.line == line).map(|raw| raw.bytes).ok_or_else(changed)
    }

    fn reopen(&self) -> Result<Records<File>> {
        use std::io::{Seek, SeekFrom};
        let misses = &self.census.misses;
        let (offset, line) = (misses.offset, misses.lines.first().copied().unwrap_or_default().into());
        if let Some(plain) = self.plain {
            return Ok(plain.records_from(offset, line, self.delimiter)?);
        }
        let mut file = File::open(&self.payload)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Records::from(file, offset, line, self.delimiter))
    }
}
