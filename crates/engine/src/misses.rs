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

#[cfg(test)]
mod tests {
    use super::*;

    /// A payload in which some rows are blank and some have several lines, with the lines and offsets of all.
    fn payload(dir: &std::path::Path) -> (PathBuf, Vec<(u32, u64, Vec<u8>)>) {
        let text: String = (0..500).map(|i| format!("{i},\"x\ny{i}\"\n{}\r\n{i}b,z\n", " ".repeat(i % 2))).collect();
        let path = dir.join("payload");
        std::fs::write(&path, &text).unwrap();
        let mut records = Records::new(text.as_bytes());
        let mut all = Vec::new();
        while let Some(raw) = records.next().unwrap() {
            all.push((raw.line as u32, raw.offset, raw.bytes.to_vec()));
        }
        (path, all)
    }

    fn missed(rows: &[(u32, u64, Vec<u8>)]) -> Census {
        let mut census = Census::default();
        for (line, offset, _) in rows {
            let miss = Miss { line: *line, fingerprint: 1, key: 2, other: 3, content: 4, flawed: line % 3 == 0 };
            census.misses.push(miss, *offset);
        }
        census
    }

    #[test]
    fn rows_that_were_not_kept_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, all) = payload(dir.path());
        for (first, every, asked) in [(0, 1, 1), (7, 1, 3), (1, 2, 1), (450, 5, 2), (999, 1, 1)] {
            let rows: Vec<_> = all.iter().skip(first).step_by(every).cloned().collect();
            let census = missed(&rows);
            assert!(!census.keeps_bytes());
            let mut again = MissRows::new(&census, path.clone(), None, b',');
            for (index, row) in rows.iter().enumerate().step_by(asked) {
                assert_eq!(again.bytes(index).unwrap(), row.2, "row {index} from {first} by {every}");
            }
            assert!(again.bytes(rows.len()).is_err());
        }
    }

    #[test]
    fn a_payload_that_is_not_what_it_was_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (path, all) = payload(dir.path());
        let census = missed(&all);
        std::fs::write(&path, "1,2\n").unwrap();
        let mut again = MissRows::new(&census, path, None, b',');
        assert!(again.bytes(0).is_ok() && again.bytes(1).is_err());
    }

    #[test]
    fn what_is_taken_out_again_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (_, all) = payload(dir.path());
        let mut misses = missed(&all).misses;
        let flawed = misses.flawed.len();
        let (line, offset, _) = all[all.len() - 1];
        misses.push(Miss { line: line + 1, fingerprint: 1, key: 2, other: 3, content: 4, flawed: true }, offset);
        misses.pop();
        assert_eq!((misses.len(), misses.flawed.len()), (all.len(), flawed));
        let sizes = [misses.fingerprints.len(), misses.keys.len(), misses.others.len(), misses.contents.len()];
        assert_eq!(sizes, [all.len(); 4]);
    }
}
