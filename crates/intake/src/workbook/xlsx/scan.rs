//! XML taken apart into tags and texts as it is unpacked: as much of it as workbooks have, and quickly. Names are without their
//! prefixes, and an empty element is one that is closed at once.

use std::io::{ErrorKind, Read};

use memchr::{memchr, memmem};
use quick_xml::escape::unescape;

use crate::{
    error::IntakeError,
    workbook::archive::{broken, refuse_entities},
};

/// How much is read at once.
const AT_ONCE: usize = 1 << 16;
/// The longest tag or text; every cell of a workbook is far shorter.
const LONGEST: usize = 8 << 20;

/// Reads the tokens of a part.
pub(super) struct Scan<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where what was not given out yet begins and ends.
    start: usize,
    filled: usize,
    /// The name of an empty element, which is closed next.
    closing: Option<(usize, usize)>,
}

/// What comes next in a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Open(Tag<'a>),
    /// The name of an element that ends.
    Close(&'a [u8]),
    /// Text as it is written.
    Text(&'a [u8]),
    /// Text in which nothing stands for anything else.
    Verbatim(&'a [u8]),
    /// Nothing.
    End,
}

/// The beginning of an element.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub(super) name: &'a [u8],
    attributes: &'a [u8],
}

impl<R: Read> Scan<R> {
    pub(super) fn new(source: R) -> Self {
        Scan { source, buffer: vec![0; AT_ONCE], start: 0, filled: 0, closing: None }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token<'_>, IntakeError> {
        if let Some((from, to)) = self.closing.take() {
            return Ok(Token::Close(&self.buffer[from..to]));
        }
        loop {
            if !self.has(1)? {
                return Ok(Token::End);
            }
            if self.buffer[self.start] != b'<' {
                return self.text();
            }
            self.must_have(2)?;
            match self.buffer[self.start + 1] {
                b'/' => return self.close(),
                b'?' => self.pass(b"?>")?,
                b'!' => {
                    if let Some((from, to)) = self.declaration()? {
                        return Ok(Token::Verbatim(&self.buffer[from..to]));
                    }
                }
                _ => return self.open(),
            }
        }
    }

    /// The text between marks, if exactly these come next: what cells mostly are, without a token for each tag. Otherwise
    /// nothing is given out, and tokens say what is there.
    pub(super) fn between(&mut self, begin: &[u8], end: &[u8]) -> Option<&[u8]> {
        let ahead = self.buffer[self.start..self.filled].strip_prefix(begin)?;
        let length = memchr(b'<', ahead)?;
        if self.closing.is_some() || !ahead[length..].starts_with(end) {
            return None;
        }
        let from = self.start + begin.len();
        self.start = from + length + end.len();
        Some(&self.buffer[from..from + length])
    }

    /// Passes over the rest of an element.
    pub(super) fn pass_element(&mut self) -> Result<(), IntakeError> {
        let mut depth = 1_u64;
        while depth > 0 {
            match self.next()? {
                Token::Open(_) => depth += 1,
                Token::Close(_) => depth -= 1,
                Token::End => return Err(broken()),
                _ => {}
            }
        }
        Ok(())
    }

    fn text(&mut self) -> Result<Token<'_>, IntakeError> {
        let end = match self.find(0, b'<')? {
            Some(end) => end,
            None => self.filled - self.start,
        };
        let from = self.start;
        self.start += end;
        Ok(Token::Text(&self.buffer[from..self.start]))
    }

    fn close(&mut self) -> Result<Token<'_>, IntakeError> {
        let end = self.find(2, b'>')?.ok_or_else(broken)?;
        let (from, to) = (self.start + 2, self.start + end);
        self.start = to + 1;
        let (from, to) = local(&self.buffer, from, to);
        Ok(Token::Close(&self.buffer[from..to]))
    }

    fn open(&mut self) -> Result<Token<'_>, IntakeError> {
        let end = self.tag_end()?;
        let (from, mut to) = (self.start + 1, self.start + end);
        self.start = to + 1;
        let is_empty = self.buffer[to - 1] == b'/';
        to -= usize::from(is_empty);
        let (name_from, name_to) = local(&self.buffer, from, to);
        if name_from == name_to {
            return Err(broken());
        }
        self.closing = is_empty.then_some((name_from, name_to));
        Ok(Token::Open(Tag { name: &self.buffer[name_from..name_to], attributes: &self.buffer[name_to..to] }))
    }

    /// Where a tag ends: a mark within quotation marks does not end it.
    fn tag_end(&mut self) -> Result<usize, IntakeError> {
        let (mut at, mut quote) = (1, 0);
        loop {
            for byte in &self.buffer[self.start + at..self.filled] {
                match *byte {
                    byte if byte == quote => quote = 0,
                    _ if quote != 0 => {}
                    b'>' => return Ok(at),
                    b'<' => return Err(broken()),
                    byte @ (b'"' | b'\'') => quote = byte,
                    _ => {}
                }
                at += 1;
            }
            if !self.more()? {
                return Err(broken());
            }
        }
    }

    /// A comment, text that is taken as it stands, or what says how the document is written; where the text lies.
    fn declaration(&mut self) -> Result<Option<(usize, usize)>, IntakeError> {
        const TEXT: &[u8] = b"<![CDATA[";
        self.must_have(TEXT.len())?;
        let begin = &self.buffer[self.start..self.start + TEXT.len()];
        if begin.starts_with(b"<!--") {
            self.start += 4;
            self.pass(b"-->")?;
            return Ok(None);
        }
        if begin == TEXT {
            let mut at = TEXT.len();
            while let Some(end) = self.find(at, b'>')? {
                at = end + 1;
                if self.buffer[self.start..self.start + at].ends_with(b"]]>") && at >= TEXT.len() + 3 {
                    let from = self.start + TEXT.len();
                    self.start += at;
                    return Ok(Some((from, self.start - 3)));
                }
            }
            return Err(broken());
        }
        let (mut at, mut depth) = (0, 0_i64);
        while let Some(end) = self.find(at, b'>')? {
            for byte in &self.buffer[self.start + at..self.start + end] {
                depth += i64::from(*byte == b'[') - i64::from(*byte == b']');
            }
            at = end + 1;
            if depth == 0 {
                refuse_entities(&self.buffer[self.start..self.start + at])?;
                self.start += at;
                return Ok(None);
            }
        }
        Err(broken())
    }

    /// Passes over everything up to and with a mark, holding nothing of it.
    fn pass(&mut self, mark: &[u8]) -> Result<(), IntakeError> {
        loop {
            if let Some(at) = memmem::find(&self.buffer[self.start..self.filled], mark) {
                self.start += at + mark.len();
                return Ok(());
            }
            // The mark may have begun.
            self.start = self.filled.saturating_sub(mark.len() - 1).max(self.start);
            if !self.more()? {
                return Err(broken());
            }
        }
    }

    /// How far it is to a byte, from `skip` on.
    fn find(&mut self, skip: usize, byte: u8) -> Result<Option<usize>, IntakeError> {
        let mut from = skip;
        loop {
            if let Some(at) = memchr(byte, &self.buffer[self.start + from..self.filled]) {
                return Ok(Some(from + at));
            }
            from = self.filled - self.start;
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    fn must_have(&mut self, bytes: usize) -> Result<(), IntakeError> {
        if self.has(bytes)? { Ok(()) } else { Err(broken()) }
    }

    fn has(&mut self, bytes: usize) -> Result<bool, IntakeError> {
        while self.filled - self.start < bytes {
            if !self.more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads on; false at the end.
    fn more(&mut self) -> Result<bool, IntakeError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            (self.start, self.filled) = (0, self.filled - self.start);
        }
        if self.filled == self.buffer.len() {
            if self.filled >= LONGEST {
                return Err(IntakeError::damaged(
                    "A cell of the workbook is longer than 1 MiB, so this is no list of people; correct it and send the file again.",
                ));
            }
            self.buffer.resize(self.filled * 2, 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Ok(n) => {
                    self.filled += n;
                    return Ok(n > 0);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(broken()),
            }
        }
    }
}

/// Where a name lies that begins a tag, without its prefix.
fn local(buffer: &[u8], mut from: usize, to: usize) -> (usize, usize) {
    for (at, byte) in (from..to).zip(&buffer[from..to]) {
        match byte {
            b':' => from = at + 1,
            b' ' | b'\t' | b'\r' | b'\n' => return (from, at),
            _ => {}
        }
    }
    (from, to)
}

impl<'a> Tag<'a> {
    /// The attributes, with their names as they are written.
    pub(super) fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.attributes }
    }

    /// The attribute of exactly this name.
    pub(super) fn attribute(&self, name: &[u8]) -> Result<Option<String>, IntakeError> {
        self.find(|found| found == name)
    }

    /// The attribute of this name, with whatever prefix.
    pub(super) fn local(&self, name: &[u8]) -> Result<Option<String>, IntakeError> {
        self.find(|found| found.rsplit(|b| *b == b':').next() == Some(name))
    }

    fn find(&self, is_it: impl Fn(&[u8]) -> bool) -> Result<Option<String>, IntakeError> {
        for attribute in self.attributes() {
            let (name, value) = attribute?;
            if is_it(name) {
                let text = std::str::from_utf8(value).map_err(|_| broken())?;
                return Ok(Some(unescape(text).map_err(|_| broken())?.into_owned()));
            }
        }
        Ok(None)
    }
}

/// Walks attributes: a name and a value as it is written.
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), IntakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.trim_ascii_start();
        if rest.is_empty() {
            return None;
        }
        let read = || {
            let equals = rest.iter().position(|b| *b == b'=')?;
            let value = rest[equals + 1..].trim_ascii_start();
            let quote = *value.first().filter(|q| matches!(q, b'"' | b'\''))?;
            let end = 1 + value[1..].iter().position(|b| *b == quote)?;
            Some((rest[..equals].trim_ascii_end(), &value[1..end], &value[end + 1..]))
        };
        match read() {
            Some((name, value, rest)) => {
                self.rest = rest;
                Some(Ok((name, value)))
            }
            None => {
                self.rest = &[];
                Some(Err(broken()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
