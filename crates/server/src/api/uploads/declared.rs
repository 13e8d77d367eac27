//! What a body is said to be, and whether it is that.

use axum::{
    body::Bytes,
    http::{HeaderMap, header},
};
use futures_util::{Stream, StreamExt};

use crate::problem::{MEDIA_TYPE, Problem, Result, UNREADABLE};

/// The media type of a workbook.
pub const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// Refuses what is packed in a way that is not taken.
pub fn check_coding(headers: &HeaderMap) -> Result<()> {
    match headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?").trim().to_ascii_lowercase()) {
        None => Ok(()),
        Some(coding) if matches!(coding.as_str(), "gzip" | "x-gzip" | "identity") => Ok(()),
        Some(_) => Err(Problem::new(&MEDIA_TYPE, "Content-Encoding may be gzip, and nothing else.")),
    }
}

/// Whether a body is packed.
pub fn is_coded(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity")
}

/// Whether the first bytes are of the type that was declared.
pub fn is_declared(kind: &str, headers: &HeaderMap, first: &[u8]) -> Result<()> {
    let packed = first.starts_with(&[0x1f, 0x8b]);
    let coded = is_coded(headers);
    let zip = first.starts_with(b"PK\x03\x04");
    let old_workbook = first.starts_with(&[0xd0, 0xcf, 0x11, 0xe0]);
    let letter = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start().first();
    let is_so = match kind {
        "application/octet-stream" => true,
        _ if coded => packed,
        "application/gzip" => packed,
        XLSX => zip || old_workbook,
        _ if packed || zip || old_workbook => false,
        // A header row does not begin like this, and a list in JSON does.
        "text/csv" => !matches!(letter, Some(b'{' | b'[')),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => letter.is_none_or(|l| *l == b'{'),
        _ => true,
    };
    let why = "The body is not what Content-Type and Content-Encoding say that it is.";
    if is_so || first.is_empty() { Ok(()) } else { Err(Problem::new(&MEDIA_TYPE, why)) }
}

/// The `charset` of a body, if it is said, in lower case.
///
/// # Errors
/// If it is none that is taken.
pub fn charset(kind: &str, headers: &HeaderMap) -> Result<Option<String>> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let said = text.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    let older = ["iso-8859-1", "windows-1252", "utf-16", "utf-16le", "utf-16be"];
    match said.as_deref() {
        None | Some("utf-8" | "us-ascii") => Ok(said),
        Some(charset) if kind == "text/csv" && older.contains(&charset) => Ok(said),
        Some(_) => Err(Problem::new(&MEDIA_TYPE, "The charset that Content-Type names is not taken; send UTF-8.")),
    }
}

/// Whether pieces are UTF-8, one after the other.
#[derive(Default)]
struct Utf8 {
    /// The beginning of a letter whose end has not come yet.
    begun: Vec<u8>,
}

impl Utf8 {
    fn takes(&mut self, mut piece: &[u8]) -> bool {
        while !self.begun.is_empty() {
            let Some((byte, rest)) = piece.split_first() else { return true };
            self.begun.push(*byte);
            piece = rest;
            match std::str::from_utf8(&self.begun) {
                Ok(_) => self.begun.clear(),
                Err(e) if e.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(piece) {
            Ok(_) => true,
            Err(e) if e.error_len().is_some() => false,
            Err(e) => {
                self.begun.extend_from_slice(&piece[e.valid_up_to()..]);
                true
            }
        }
    }
}

/// The pieces of a body of which is said that it is UTF-8.
pub fn in_utf8(pieces: impl Stream<Item = Result<Bytes>> + Send) -> impl Stream<Item = Result<Bytes>> + Send {
    let mut utf8 = Utf8::default();
    pieces.map(move |piece| match piece {
        Ok(piece) if !utf8.takes(&piece) => {
            Err(Problem::new(&UNREADABLE, "Content-Type says that the body is UTF-8, and it is not."))
        }
        piece => piece,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_may_be_cut_between_pieces_and_must_be_whole() {
        let text = "Zoë, 山田, \u{1f600}".as_bytes();
        for length in 1..6 {
            let mut utf8 = Utf8::default();
            assert!(text.chunks(length).all(|piece| utf8.takes(piece)), "{length}");
        }
        for wrong in [&b"a\xe9b"[..], b"\xc3(", b"\xed\xa0\x80"] {
            for length in 1..4 {
                let mut utf8 = Utf8::default();
                assert!(!wrong.chunks(length).all(|piece| utf8.takes(piece)), "{wrong:?} {length}");
            }
        }
    }
}
