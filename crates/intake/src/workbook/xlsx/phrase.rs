//! The text of a cell as the XML of a workbook has it: in one piece or in several of different looks, with letters written as
//! `&amp;`, and as `_x000D_` what XML has no letter for.

use std::{borrow::Cow, io::Read};

use memchr::{memchr, memchr2, memmem};
use quick_xml::escape::unescape;

use super::scan::{Scan, Token};
use crate::{csv::MAX_RECORD, error::IntakeError, workbook::archive::broken};

/// A text on its way out of the XML.
#[derive(Default)]
pub(super) struct Phrase {
    text: String,
    piece: String,
    is_too_long: bool,
}

impl Phrase {
    /// Reads the pieces of a text, to the end of the element that has them. How it is pronounced is no part of it.
    pub(super) fn read<R: Read>(&mut self, scan: &mut Scan<R>, within: &[u8]) -> Result<(), IntakeError> {
        self.clear();
        let mut is_sound = false;
        loop {
            match scan.next()? {
                Token::Open(tag) => match tag.name {
                    b"rPh" => is_sound = true,
                    b"t" if !is_sound => {
                        let mut keeps_space = false;
                        for attribute in tag.attributes() {
                            keeps_space |= attribute? == (b"xml:space", b"preserve");
                        }
                        self.read_piece(scan, keeps_space)?;
                    }
                    _ => {}
                },
                Token::Close(b"rPh") => is_sound = false,
                Token::Close(name) if name == within => return Ok(()),
                Token::End => return Err(broken()),
                _ => {}
            }
        }
    }

    fn read_piece<R: Read>(&mut self, scan: &mut Scan<R>, keeps_space: bool) -> Result<(), IntakeError> {
        self.piece.clear();
        self.read_raw(scan, b"t")?;
        self.end_piece(keeps_space);
        Ok(())
    }

    fn end_piece(&mut self, keeps_space: bool) {
        let piece = if keeps_space { &self.piece } else { self.piece.trim_matches([' ', '\t', '\r', '\n']) };
        self.text.push_str(&written(piece));
        self.is_too_long |= self.text.len() > MAX_RECORD;
    }

    /// Takes a text in one piece, as it stands in the XML.
    pub(super) fn take(&mut self, raw: &[u8]) -> Result<(), IntakeError> {
        self.clear();
        push_text(raw, true, &mut self.piece)?;
        self.end_piece(false);
        Ok(())
    }

    /// Takes a value, as it stands in the XML.
    pub(super) fn take_value(&mut self, raw: &[u8]) -> Result<(), IntakeError> {
        self.clear();
        push_text(raw, true, &mut self.text)?;
        self.is_too_long = self.text.len() > MAX_RECORD;
        Ok(())
    }

    /// Reads a value, to the end of its element; nothing is cut off its ends, nor does anything in it stand for something else.
    pub(super) fn read_value<R: Read>(&mut self, scan: &mut Scan<R>) -> Result<(), IntakeError> {
        self.clear();
        self.read_raw(scan, b"v")?;
        std::mem::swap(&mut self.text, &mut self.piece);
        Ok(())
    }

    /// Adds what stands in an element to the piece.
    fn read_raw<R: Read>(&mut self, scan: &mut Scan<R>, within: &[u8]) -> Result<(), IntakeError> {
        loop {
            match scan.next()? {
                Token::Text(raw) => push_text(raw, true, &mut self.piece)?,
                Token::Verbatim(raw) => push_text(raw, false, &mut self.piece)?,
                Token::Close(name) if name == within => break,
                Token::End => return Err(broken()),
                _ => {}
            }
            if self.piece.len() + self.text.len() > MAX_RECORD {
                // The rest of it is passed over: nobody can use so long a text.
                self.is_too_long = true;
                self.piece.clear();
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.text.clear();
        self.piece.clear();
        self.is_too_long = false;
    }

    /// The text that was read; `None` if it is longer than any row may be.
    pub(super) fn text(&self) -> Option<&str> {
        (!self.is_too_long).then_some(self.text.as_str())
    }
}

/// Adds text as XML has it: line ends are one letter, and references are what they stand for.
fn push_text(raw: &[u8], has_references: bool, text: &mut String) -> Result<(), IntakeError> {
    let raw = std::str::from_utf8(raw).map_err(|_| broken())?;
    if memchr2(b'&', b'\r', raw.as_bytes()).is_none() {
        text.push_str(raw);
        return Ok(());
    }
    let lines: Cow<'_, str> = match memchr(b'\r', raw.as_bytes()) {
        Some(_) => raw.replace("\r\n", "\n").replace('\r', "\n").into(),
        None => raw.into(),
    };
    match has_references {
        true => text.push_str(&unescape(&lines).map_err(|_| broken())?),
        false => text.push_str(&lines),
    }
    Ok(())
}

/// Text in which `_x000D_` stands for the letter with that number, and `_x005F_` for the line that would make it seem so.
/// Letters beyond the first 65,536 are written as two.
pub(super) fn written(text: &str) -> Cow<'_, str> {
    if memmem::find(text.as_bytes(), b"_x").is_none() {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(unit) = unit(rest) else {
            out.push('_');
            rest = &rest[1..];
            continue;
        };
        rest = &rest[LENGTH..];
        let second = unit_if(rest, (0xD800..0xDC00).contains(&unit));
        let units = [Some(unit), second];
        out.extend(char::decode_utf16(units.into_iter().flatten()).map(|l| l.unwrap_or(char::REPLACEMENT_CHARACTER)));
        rest = &rest[second.map_or(0, |_| LENGTH)..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Of `_x000D_`.
const LENGTH: usize = 7;

/// The number that stands at the beginning of a text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.as_bytes().get(..LENGTH)?.strip_prefix(b"_x")?.strip_suffix(b"_")?;
    let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

/// The second half of a letter, if the first was one.
fn unit_if(text: &str, is_half: bool) -> Option<u16> {
    unit(text).filter(|second| is_half && (0xDC00..0xE000).contains(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_xml_has_not_are_written_as_numbers() {
        for (text, read) in [
            ("_x000D_", "\r"),
            ("a_x000d_b_x005F_x000D_", "a\rb_x000D_"),
            ("_xD83D__xDCF7_", "📷"),
            ("_xD83D_x", "\u{fffd}x"),
            ("_xD83D__x0041_", "\u{fffd}A"),
            ("_xDCF7_", "\u{fffd}"),
            ("__x0041_", "_A"),
            ("_x00ZZ_ _x000 _x é_x00½_", "_x00ZZ_ _x000 _x é_x00½_"),
            ("snake_case", "snake_case"),
        ] {
            assert_eq!(written(text), read, "{text}");
        }
    }

    #[test]
    fn text_is_what_its_xml_says() {
        let read = |raw: &str, has_references| {
            let mut text = String::new();
            push_text(raw.as_bytes(), has_references, &mut text).map(|()| text).map_err(|e| e.to_string())
        };
        assert_eq!(read("R&amp;D &lt;&#xE9;&#233;&gt; &quot;&apos;", true).unwrap(), "R&D <éé> \"'");
        assert_eq!(read("a\r\nb\rc&#13;", true).unwrap(), "a\nb\nc\r");
        assert_eq!(read("&amp;\r\n", false).unwrap(), "&amp;\n");
        for damaged in ["&none;", "&amp", "&#0;", "a & b"] {
            assert!(read(damaged, true).unwrap_err().contains("damaged"), "{damaged}");
        }
    }
}
