//! The file system within a file, in which workbooks of before 2007 lie: one stream is taken out of it by its name.

use std::io::{Read, Seek, SeekFrom};

use super::archive::broken;
use crate::error::IntakeError;

/// From here on numbers of sectors are marks.
const MARKS: u32 = 0xFFFF_FFFA;
/// The sector size of small streams.
const MINI: usize = 64;
/// Streams below this size lie among the small ones.
const SMALL: u64 = 4096;

/// A compound file.
pub(super) struct Compound<R> {
    file: R,
    size: usize,
    /// More sectors than this are not in the file, and so in no chain.
    most: usize,
    next: Vec<u32>,
    mini_start: u32,
    entries: Vec<Entry>,
}

/// A stream by its name.
struct Entry {
    name: String,
    start: u32,
    length: u64,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|b| u32_at(b, 0))
}

impl<R: Read + Seek> Compound<R> {
    /// Reads where what lies.
    pub(super) fn open(mut file: R) -> Result<Self, IntakeError> {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let mut head = [0; 512];
        file.read_exact(&mut head).map_err(|_| broken())?;
        let size = match u16_at(&head, 30) {
            9 => 512,
            12 => 4096,
            _ => return Err(broken()),
        };
        let most = usize::try_from(length).unwrap_or(usize::MAX) / size + 1;
        let mini_start = u32_at(&head, 60);
        let mut compound = Compound { file, size, most, next: Vec::new(), mini_start, entries: Vec::new() };
        let mut tables: Vec<u32> = numbers(&head[76..]).collect();
        let mut more = u32_at(&head, 68);
        for _ in 0..most {
            if more >= MARKS {
                break;
            }
            let sector = compound.sector(more)?;
            tables.extend(numbers(&sector));
            more = tables.pop().unwrap_or(MARKS);
        }
        for table in tables.into_iter().filter(|t| *t < MARKS).take(most) {
            let sector = compound.sector(table)?;
            compound.next.extend(numbers(&sector));
        }
        let directory = compound.chain(u32_at(&head, 48), u64::MAX)?;
        compound.entries = directory.chunks_exact(128).map(Entry::read).collect();
        Ok(compound)
    }

    /// Whether there is a stream of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// The bytes of a stream; never more than the file has.
    pub(super) fn stream(&mut self, name: &str) -> Result<Option<Vec<u8>>, IntakeError> {
        let Some(&Entry { start, length, .. }) = self.entry(name) else { return Ok(None) };
        if length >= SMALL {
            return self.chain(start, length).map(Some);
        }
        let Some(&Entry { start: root, length: all, .. }) = self.entries.first() else { return Err(broken()) };
        let small = self.chain(root, all)?;
        let next: Vec<u32> = numbers(&self.chain(self.mini_start, u64::MAX)?).collect();
        let (mut bytes, mut at) = (Vec::new(), start);
        for _ in 0..small.len() / MINI + 1 {
            if at >= MARKS || bytes.len() as u64 >= length {
                break;
            }
            let from = at as usize * MINI;
            bytes.extend_from_slice(small.get(from..from + MINI).ok_or_else(broken)?);
            at = next.get(at as usize).copied().ok_or_else(broken)?;
        }
        bytes.truncate(length as usize);
        Ok(Some(bytes))
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name.eq_ignore_ascii_case(name))
    }

    fn sector(&mut self, number: u32) -> Result<Vec<u8>, IntakeError> {
        self.file.seek(SeekFrom::Start((u64::from(number) + 1) * self.size as u64))?;
        let mut bytes = Vec::with_capacity(self.size);
        let size = self.size as u64;
        // The last one may be cut short.
        if self.file.by_ref().take(size).read_to_end(&mut bytes)? == 0 {
            return Err(broken());
        }
        Ok(bytes)
    }

    fn chain(&mut self, start: u32, length: u64) -> Result<Vec<u8>, IntakeError> {
        let (mut bytes, mut at) = (Vec::new(), start);
        for _ in 0..=self.most {
            if at >= MARKS || bytes.len() as u64 >= length {
                bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
                return Ok(bytes);
            }
            bytes.extend(self.sector(at)?);
            at = self.next.get(at as usize).copied().ok_or_else(broken)?;
        }
        // It leads back to itself.
        Err(broken())
    }
}

impl Entry {
    fn read(bytes: &[u8]) -> Entry {
        let name = char::decode_utf16((0..32).map(|i| u16_at(bytes, i * 2)).take_while(|unit| *unit != 0));
        Entry {
            name: name.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
            start: u32_at(bytes, 116),
            // The upper half means something in files of 4 KiB sectors only, and is never used by a workbook.
            length: u64::from(u32_at(bytes, 120)),
        }
    }
}
