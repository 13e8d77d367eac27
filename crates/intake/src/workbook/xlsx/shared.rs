//! The texts that cells name by number: those that come first in memory, and the others in a file that has no name, in blocks
//! of which those that were asked for last are at hand. Programs write them in the order in which cells first name them, so
//! that what a cell names is nearly always among the first, where often used texts are, or near what the last cell named.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{
    phrase::Phrase,
    scan::{Scan, Token},
};
use crate::{error::IntakeError, workbook::archive::broken};

/// Bytes in memory: texts, and where they end.
const IN_MEMORY: usize = 8 << 20;
/// Texts in a block of the file.
const TEXTS: usize = 64;
/// Blocks of the file at hand: 16 KiB each at most, and usually about one.
const AT_HAND: usize = 256;
/// A longer text does not lie in its block.
const LONGEST: usize = 255;
/// Says of where a text ends in its block that its place lies there, and the text elsewhere.
const ELSEWHERE: u16 = 1 << 15;

/// All shared texts of a workbook.
pub(super) struct Shared {
    first: First,
    /// Texts that are longer than any row may be, and are not kept.
    too_long: HashSet<usize>,
    count: usize,
    file: Option<File>,
    /// Where each block lies in the file, and in the last 16 bits how long it is.
    blocks: Vec<u64>,
    at_hand: Vec<Block>,
    long: Block,
}

/// The texts in memory, one behind the other.
#[derive(Default)]
struct First {
    texts: String,
    ends: Vec<u32>,
}

#[derive(Clone, Default)]
struct Block {
    /// Counted from 1.
    number: usize,
    ends: Vec<u16>,
    texts: String,
}

/// What a number names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    Text(&'a str),
    /// A text longer than any row may be.
    TooLong,
    Nothing,
}

/// Reads the table of texts, if the workbook has one.
pub(super) fn read<R: Read>(part: Option<Scan<R>>, scratch: &Path) -> Result<Shared, IntakeError> {
    let mut table = Table::new(scratch, IN_MEMORY);
    let Some(mut scan) = part else { return table.finish() };
    let mut phrase = Phrase::default();
    loop {
        match scan.next()? {
            Token::Open(tag) if tag.name == b"si" => {
                match scan.between(b"<t>", b"</t></si>") {
                    Some(raw) => phrase.take(raw)?,
                    None => phrase.read(&mut scan, b"si")?,
                }
                table.push(phrase.text())?;
            }
            Token::Close(b"sst") => return table.finish(),
            Token::End => return Err(broken()),
            _ => {}
        }
    }
}

/// A table in the making.
struct Table {
    scratch: PathBuf,
    most: usize,
    first: First,
    too_long: HashSet<usize>,
    count: usize,
    file: Option<BufWriter<File>>,
    /// How long the file is.
    written: u64,
    blocks: Vec<u64>,
    /// The block in the making.
    ends: Vec<u8>,
    texts: Vec<u8>,
}

impl Table {
    fn new(scratch: &Path, most: usize) -> Self {
        Table {
            scratch: scratch.to_owned(),
            most,
            first: First::default(),
            too_long: HashSet::new(),
            count: 0,
            file: None,
            written: 0,
            blocks: Vec::new(),
            ends: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// Adds a text; `None` is one that is too long.
    fn push(&mut self, text: Option<&str>) -> Result<(), IntakeError> {
        if text.is_none() {
            self.too_long.insert(self.count);
        }
        self.count += 1;
        let text = text.unwrap_or_default();
        let first = &mut self.first;
        let size = first.texts.len() + text.len() + (first.ends.len() + 1) * 4;
        // Behind a text that had no room, none goes into memory any more: they are counted.
        if size <= self.most && self.ends.is_empty() && self.file.is_none() {
            first.texts.push_str(text);
            first.ends.push(first.texts.len() as u32);
            return Ok(());
        }
        let mark = if text.len() > LONGEST {
            let at = self.append(text.as_bytes())?;
            self.texts.extend_from_slice(format!("{at:016x}{:08x}", text.len()).as_bytes());
            ELSEWHERE
        } else {
            self.texts.extend_from_slice(text.as_bytes());
            0
        };
        self.ends.extend_from_slice(&(self.texts.len() as u16 | mark).to_le_bytes());
        if self.ends.len() == TEXTS * 2 { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<(), IntakeError> {
        let (mut ends, mut texts) = (std::mem::take(&mut self.ends), std::mem::take(&mut self.texts));
        let at = self.append(&ends)?;
        self.append(&texts)?;
        self.blocks.push(at << 16 | (ends.len() + texts.len()) as u64);
        ends.clear();
        texts.clear();
        (self.ends, self.texts) = (ends, texts);
        Ok(())
    }

    /// Writes to the end of the file; says where that was.
    fn append(&mut self, bytes: &[u8]) -> Result<u64, IntakeError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(BufWriter::with_capacity(1 << 16, tempfile::tempfile_in(&self.scratch)?)),
        };
        file.write_all(bytes)?;
        let at = self.written;
        self.written += bytes.len() as u64;
        Ok(at)
    }

    fn finish(mut self) -> Result<Shared, IntakeError> {
        if !self.ends.is_empty() {
            self.end_block()?;
        }
        let file = self.file.map(BufWriter::into_inner).transpose().map_err(|e| IntakeError::from(e.into_error()))?;
        Ok(Shared {
            first: self.first,
            too_long: self.too_long,
            count: self.count,
            at_hand: vec![Block::default(); if file.is_some() { AT_HAND } else { 0 }],
            file,
            blocks: self.blocks,
            long: Block::default(),
        })
    }
}

impl Shared {
    /// The text that has this number.
    pub(super) fn named(&mut self, number: usize) -> Result<Named<'_>, IntakeError> {
        if let Some(end) = self.first.ends.get(number) {
            let begin = if number == 0 { 0 } else { self.first.ends[number - 1] };
            let text = self.first.texts.get(begin as usize..*end as usize).ok_or_else(broken)?;
            return Ok(if text.is_empty() { self.without_letters(number) } else { Named::Text(text) });
        }
        if number >= self.count {
            return Ok(Named::Nothing);
        }
        let behind = number - self.first.ends.len();
        self.fetch_block(behind / TEXTS)?;
        let block = &self.at_hand[behind / TEXTS % AT_HAND];
        let (end, mark) = (block.end(behind % TEXTS)?, block.ends[behind % TEXTS] & ELSEWHERE);
        let begin = if behind.is_multiple_of(TEXTS) { 0 } else { block.end(behind % TEXTS - 1)? };
        if mark != 0 {
            let place = block.texts.get(begin..end).and_then(|place| place.split_at_checked(16)).ok_or_else(broken)?;
            let at = u64::from_str_radix(place.0, 16).map_err(|_| broken())?;
            let length = usize::from_str_radix(place.1, 16).map_err(|_| broken())?;
            self.long.fetch(self.file.as_mut(), at, 0, length)?;
            return Ok(Named::Text(&self.long.texts));
        }
        match self.at_hand[behind / TEXTS % AT_HAND].texts.get(begin..end).ok_or_else(broken)? {
            "" => Ok(self.without_letters(number)),
            text => Ok(Named::Text(text)),
        }
    }

    fn without_letters(&self, number: usize) -> Named<'static> {
        if self.too_long.contains(&number) { Named::TooLong } else { Named::Text("") }
    }

    /// Has a block at hand.
    fn fetch_block(&mut self, number: usize) -> Result<(), IntakeError> {
        let block = &mut self.at_hand[number % AT_HAND];
        if block.number == number + 1 {
            return Ok(());
        }
        block.number = 0;
        let place = self.blocks[number];
        let texts = TEXTS.min(self.count - self.first.ends.len() - number * TEXTS);
        block.fetch(self.file.as_mut(), place >> 16, texts, (place & 0xFFFF) as usize)?;
        block.number = number + 1;
        Ok(())
    }
}

impl Block {
    /// Reads so many bytes: where texts end, and the texts.
    fn fetch(&mut self, file: Option<&mut File>, at: u64, texts: usize, length: usize) -> Result<(), IntakeError> {
        let file = file.ok_or_else(broken)?;
        let mut bytes = std::mem::take(&mut self.texts).into_bytes();
        bytes.resize(length, 0);
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut bytes)?;
        self.ends.clear();
        self.ends.extend(bytes.drain(..texts * 2).as_slice().chunks_exact(2).map(|e| u16::from_le_bytes([e[0], e[1]])));
        self.texts = String::from_utf8(bytes).map_err(|_| broken())?;
        Ok(())
    }

    fn end(&self, text: usize) -> Result<usize, IntakeError> {
        self.ends.get(text).map(|end| usize::from(end & !ELSEWHERE)).ok_or_else(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(number: usize) -> String {
        // Empty ones, short ones, some as long as a block has them, and some that lie elsewhere.
        let length = match number % 97 {
            0 => 0,
            13 => LONGEST,
            14 => LONGEST + 1,
            15 => 20_000,
            n if number.is_multiple_of(2) => n,
            n => n % 9,
        };
        let letter = if (13..15).contains(&(number % 97)) { "e" } else { "é" };
        format!("{number}{letter}").chars().cycle().take(length).collect()
    }

    #[test]
    fn every_text_comes_back_in_memory_and_from_the_file() {
        for most in [0, 200, 5_000, 300_000, IN_MEMORY] {
            let mut table = Table::new(&std::env::temp_dir(), most);
            let count = 64 * AT_HAND + 64 * 40 + 3;
            for number in 0..count {
                let text = texts(number);
                table.push((number % 500 != 499).then_some(&text)).unwrap();
            }
            let mut shared = table.finish().unwrap();
            assert_eq!(shared.file.is_some(), most != IN_MEMORY);
            assert!(shared.first.texts.len() + shared.first.ends.len() * 4 <= most);
            // In order, and from all over the place.
            for number in (0..count).chain((0..count).map(|n| n * 1_009 % count)) {
                let expected = texts(number);
                let expected = if number % 500 == 499 { Named::TooLong } else { Named::Text(&expected) };
                assert_eq!(shared.named(number).unwrap(), expected, "{number}");
            }
            assert_eq!(shared.named(count).unwrap(), Named::Nothing);
            assert_eq!(shared.named(usize::MAX).unwrap(), Named::Nothing);
        }
    }

    #[test]
    fn a_full_block_of_the_longest_texts_fits() {
        let mut table = Table::new(&std::env::temp_dir(), 0);
        let long = "x".repeat(LONGEST);
        (0..TEXTS).for_each(|_| table.push(Some(&long)).unwrap());
        let mut shared = table.finish().unwrap();
        assert_eq!(shared.named(TEXTS - 1).unwrap(), Named::Text(&long));
    }

    #[test]
    fn a_workbook_without_shared_texts_has_none() {
        let mut shared = read::<&[u8]>(None, &std::env::temp_dir()).unwrap();
        assert_eq!(shared.named(0).unwrap(), Named::Nothing);
    }
}
