//! Encodings: which one a text is in, and any of them into UTF-8.

use std::io::{self, Read, Write};

use encoding_rs::{DecoderResult, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::error::IntakeError;

/// How text is put into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    Utf8,
    /// UTF-16, the low byte first.
    Utf16Le,
    /// UTF-16, the high byte first.
    Utf16Be,
    /// The encoding of western Windows.
    Windows1252,
}

impl Encoding {
    /// Its name, as it goes into a layout's fingerprint.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf-8",
            Encoding::Utf16Le => "utf-16le",
            Encoding::Utf16Be => "utf-16be",
            Encoding::Windows1252 => "windows-1252",
        }
    }
}

/// An encoding, and for people how it was found out unless it is the usual one.
pub(crate) struct Detected {
    pub(crate) encoding: Encoding,
    pub(crate) note: Option<String>,
}

impl Detected {
    fn of(encoding: Encoding, note: impl Into<String>) -> Self {
        Detected { encoding, note: Some(note.into()) }
    }
}

/// Says in which encoding a text is, by its first bytes; `is_all` if there are no more.
pub(crate) fn detect(head: &[u8], is_all: bool) -> Result<Detected, IntakeError> {
    const BY_MARK: &str = "The text was read as UTF-16: it begins with that mark.";
    match head {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => {
            let evidence = "it begins with that mark".to_owned();
            return Err(IntakeError::Unreadable { encoding: "UTF-32", evidence });
        }
        [0xFF, 0xFE, ..] => return Ok(Detected::of(Encoding::Utf16Le, BY_MARK)),
        [0xFE, 0xFF, ..] => return Ok(Detected::of(Encoding::Utf16Be, BY_MARK)),
        _ => {}
    }
    if let Some(first) = head.iter().position(|b| *b == 0) {
        if let Some(encoding) = utf16_without_mark(head) {
            return Ok(Detected::of(encoding, "The text was read as UTF-16: every other byte is zero."));
        }
        // A few further down are damage in single rows.
        if first < 512 {
            let advice = "export the list of people as CSV or as an Excel workbook and send that.";
            return Err(IntakeError::NotText { what: "binary", advice });
        }
    }
    Ok(single_byte(head, is_all).unwrap_or(Detected { encoding: Encoding::Utf8, note: None }))
}

/// ASCII in UTF-16 is every other byte a zero; which one tells the order.
fn utf16_without_mark(head: &[u8]) -> Option<Encoding> {
    let (mut even, mut odd) = (0, 0);
    for (i, _) in head.iter().enumerate().filter(|(_, b)| **b == 0) {
        *(if i % 2 == 0 { &mut even } else { &mut odd }) += 1;
    }
    if (even + odd) * 3 <= head.len() {
        return None;
    }
    (even != odd).then_some(if odd > even { Encoding::Utf16Le } else { Encoding::Utf16Be })
}

/// A head with letters beyond ASCII none of which are UTF-8 is in an older encoding; a head with
/// some of either is UTF-8 with damaged rows, and those are issues of their own.
fn single_byte(head: &[u8], is_all: bool) -> Option<Detected> {
    let error = std::str::from_utf8(head).err()?;
    let first = error.valid_up_to();
    let is_cut = error.error_len().is_none() && !is_all;
    if is_cut || has_utf8_letters(head) || head.starts_with(b"\xEF\xBB\xBF") {
        return None;
    }
    let line = 1 + head[..first].iter().filter(|b| **b == b'\n').count();
    Some(windows_1252(head.get(first).copied().unwrap_or_default(), line))
}

fn windows_1252(byte: u8, line: usize) -> Detected {
    Detected::of(
        Encoding::Windows1252,
        format!(
            "The text was read as Windows-1252, because byte 0x{byte:02X} on line {line} is not UTF-8; if letters look wrong, \
             save the file as UTF-8 and send it again."
        ),
    )
}

fn has_utf8_letters(bytes: &[u8]) -> bool {
    bytes.utf8_chunks().any(|chunk| chunk.valid().chars().any(|c| !c.is_ascii() && c != '\u{FEFF}'))
}

/// Looks through a whole text whose first part was nothing but ASCII, after rows further down turned out not to be
/// UTF-8: `Some` if no letter in it is UTF-8, so that all of it is in an older encoding.
pub(crate) fn judge_all(mut text: impl Read) -> io::Result<Option<Detected>> {
    let (mut buffer, mut kept, mut line) = (vec![0; 1 << 16], 0, 1);
    let mut found = None;
    loop {
        let n = text.read(&mut buffer[kept..])?;
        let seen = &buffer[..kept + n];
        // A character may go on in the next part.
        let whole = match std::str::from_utf8(seen) {
            Err(e) if e.error_len().is_none() && n > 0 => e.valid_up_to(),
            _ => seen.len(),
        };
        let part = &seen[..whole];
        if has_utf8_letters(part) {
            return Ok(None);
        }
        if found.is_none()
            && let Some(at) = part.iter().position(|b| !b.is_ascii())
        {
            found = Some(windows_1252(part[at], line + part[..at].iter().filter(|b| **b == b'\n').count()));
        }
        line += part.iter().filter(|b| **b == b'\n').count();
        if n == 0 {
            return Ok(found);
        }
        let end = kept + n;
        buffer.copy_within(whole..end, 0);
        kept = end - whole;
    }
}

/// Writes a text as UTF-8, without a byte order mark. What is damaged stays recognisable as such: it becomes a byte that
/// is not UTF-8, and so an issue of its row.
pub(crate) fn to_utf8(mut text: impl Read, encoding: Encoding, out: &mut impl Write) -> Result<(), IntakeError> {
    let from = match encoding {
        Encoding::Utf8 => return io::copy(&mut text, out).map(|_| ()).map_err(IntakeError::from),
        Encoding::Utf16Le => UTF_16LE,
        Encoding::Utf16Be => UTF_16BE,
        Encoding::Windows1252 => WINDOWS_1252,
    };
    let mut decoder = from.new_decoder_with_bom_removal();
    let (mut buffer, mut decoded) = (vec![0; 1 << 16], vec![0; 1 << 18]);
    loop {
        let n = match text.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let mut rest = &buffer[..n];
        loop {
            let (result, read, written) = decoder.decode_to_utf8_without_replacement(rest, &mut decoded, n == 0);
            out.write_all(&decoded[..written])?;
            rest = &rest[read..];
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => out.write_all(&[0xFF])?,
            }
        }
        if n == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(bytes: &[u8]) -> Encoding {
        detect(bytes, true).unwrap().encoding
    }

    fn note(bytes: &[u8]) -> String {
        detect(bytes, true).unwrap().note.unwrap()
    }

    fn utf8(bytes: &[u8], encoding: Encoding) -> Vec<u8> {
        let mut out = Vec::new();
        to_utf8(bytes, encoding, &mut out).unwrap();
        out
    }

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    }

    #[test]
    fn utf16_is_known_with_and_without_its_mark() {
        let text = "id,Näme 🦀\r\n1,Ann\r\n";
        for (big, expected) in [(false, Encoding::Utf16Le), (true, Encoding::Utf16Be)] {
            for marked in [utf16(&format!("\u{feff}{text}"), big), utf16(text, big)] {
                assert_eq!(encoding(&marked), expected);
                assert_eq!(String::from_utf8(utf8(&marked, expected)).unwrap(), text);
            }
        }
    }

    #[test]
    fn windows_1252_is_known_and_said() {
        let bytes = b"id,name\n1,Ren\xe9 \x80\n";
        assert_eq!(encoding(bytes), Encoding::Windows1252);
        assert!(note(bytes).contains("0xE9 on line 2"));
        assert_eq!(utf8(bytes, Encoding::Windows1252), "id,name\n1,René €\n".as_bytes());
    }

    #[test]
    fn utf8_with_damage_stays_utf8() {
        for bytes in [&b"id\nRen\xc3\xa9\nRen\xe9\n"[..], b"\xEF\xBB\xBFid\nRen\xe9\n", b"plain", "René".as_bytes()] {
            assert_eq!(encoding(bytes), Encoding::Utf8);
        }
        // A character cut by the end of the head is no fault.
        assert_eq!(detect(b"id,name\n1,Ren\xc3", false).unwrap().encoding, Encoding::Utf8);
    }

    #[test]
    fn what_is_no_text_or_utf32_is_refused() {
        assert!(detect(b"id,name\n\x00\x01\x02", true).err().unwrap().to_string().contains("binary"));
        assert!(detect(b"\xFF\xFE\0\0", true).err().unwrap().to_string().contains("UTF-32"));
    }

    #[test]
    fn damage_stays_damage() {
        let mut cut = utf16("id\nAnn\n", false);
        cut.pop();
        assert!(std::str::from_utf8(&utf8(&cut, Encoding::Utf16Le)).is_err());
        let lone = [utf16("a", true), vec![0xD8, 0x00], utf16("b", true)].concat();
        assert_eq!(utf8(&lone, Encoding::Utf16Be), b"a\xFFb");
    }

    #[test]
    fn a_late_letter_is_judged_with_the_whole_text() {
        let ascii = b"1,Ann\n".repeat(30_000);
        let judge = |tail: &[u8]| judge_all([&ascii, tail].concat().as_slice()).unwrap().map(|d| d.note.unwrap());
        assert!(judge(b"2,Ren\xe9\n").unwrap().contains("on line 30001"));
        assert!(judge("2,René\n3,Ren".as_bytes()).is_none());
        assert!(judge(b"2,Ren\xc3\xa9\n3,Ren\xe9\n").is_none());
        assert!(judge(b"").is_none());
    }
}
