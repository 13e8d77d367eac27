//! The unknown rows of a payload once more, in order: from the bytes kept by the census, or read again.

use std::{fs::File, path::PathBuf};

use muster_intake::{csv::Records, payload::Plain};

use crate::{Result, census::Census};

/// Walks the misses of a census with their bytes.
pub struct MissRows<'a> {
    census: &'a Census,
    payload: PathBuf,
    /// The payload's plain text, if it is written in another way.
    plain: Option<&'a Plain>,
    delimiter: u8,
    next: usize,
    records: Option<Records<File>>,
}

impl<'a> MissRows<'a> {
    /// From the first miss on.
    pub fn new(census: &'a Census, payload: PathBuf, plain: Option<&'a Plain>, delimiter: u8) -> Self {
        MissRows { census, payload, plain, delimiter, next: 0, records: None }
    }

    /// The next miss: its index and its bytes.
    ///
    /// # Errors
    /// If the payload cannot be read again.
    pub fn advance(&mut self) -> Result<Option<(usize, &[u8])>> {
        let Some(miss) = self.census.misses.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        if self.census.keeps_bytes() {
            return Ok(self.census.bytes(index).map(|bytes| (index, bytes)));
        }
        if self.records.is_none() {
            self.records = Some(self.reopen()?);
        }
        let Some(records) = &mut self.records else { return Ok(None) };
        records.skip_to(miss.offset)?;
        Ok(records.next()?.map(|raw| (index, raw.bytes)))
    }

    fn reopen(&self) -> Result<Records<File>> {
        use std::io::{Seek, SeekFrom};
        let first = self.census.misses[0];
        if let Some(plain) = self.plain {
            return Ok(plain.records_from(first.offset, first.line.into(), self.delimiter)?);
        }
        let mut file = File::open(&self.payload)?;
        file.seek(SeekFrom::Start(first.offset))?;
        Ok(Records::from(file, first.offset, first.line.into(), self.delimiter))
    }
}
