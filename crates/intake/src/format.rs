//! The formats of a payload, and how its first bytes tell which one it is.

use crate::error::IntakeError;

/// A format that the caller can name, and that is found out otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Delimiter-separated text; the delimiter is found out.
    Csv,
    /// Tab-separated text.
    Tsv,
    /// A JSON document: a list of objects, or an object that holds one.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// An Excel workbook.
    Xlsx,
    /// A workbook of Excel before 2007.
    Xls,
    /// An OpenDocument spreadsheet.
    Ods,
}

/// The names by which a caller asks for a format.
pub const FORMATS: [(&str, Format); 7] = [
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("json", Format::Json),
    ("ndjson", Format::Ndjson),
    ("xlsx", Format::Xlsx),
    ("xls", Format::Xls),
    ("ods", Format::Ods),
];

impl std::str::FromStr for Format {
    type Err = IntakeError;

    fn from_str(name: &str) -> Result<Self, IntakeError> {
        let found = FORMATS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, format)| *format).ok_or_else(|| IntakeError::UnknownFormat {
            name: name.chars().take(40).collect(),
            known: FORMATS.map(|(known, _)| known).join(", "),
        })
    }
}

/// How the bytes of a payload are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Text, as far as the first bytes tell.
    Text,
    /// Gzip.
    Gzip,
    /// A ZIP archive, as XLSX and ODS are.
    Zip,
    /// A compound file, as XLS is, and XLSX under a password.
    Compound,
}

/// Says by the first bytes how a payload is packed.
pub(crate) fn packing(head: &[u8]) -> Result<Packing, IntakeError> {
    const UNPACK: &str = "unpack it and send the file that is inside.";
    const EXPORT: &str = "export the list of people as CSV or as an Excel workbook and send that.";
    match head {
        [b'P', b'K', 3, 4, ..] => return Ok(Packing::Zip),
        [0xD0, 0xCF, 0x11, 0xE0, ..] => return Ok(Packing::Compound),
        [0x1F, 0x8B, ..] => return Ok(Packing::Gzip),
        _ => {}
    }
    let others: [(&[u8], &str, &str); 6] = [
        (b"PK\x05\x06", "an empty ZIP archive", EXPORT),
        (b"\x28\xB5\x2F\xFD", "a zstd archive", UNPACK),
        (b"7z\xBC\xAF", "a 7-Zip archive", UNPACK),
        (b"BZh", "a bzip2 archive", UNPACK),
        (b"%PDF-", "a PDF document", EXPORT),
        (b"PAR1", "a Parquet file", EXPORT),
    ];
    match others.iter().find(|(magic, _, _)| head.starts_with(magic)) {
        // "BZh" could begin a header; real bzip2 has a block mark behind it.
        Some((b"BZh", ..)) if head.get(4..7) != Some(b"1AY") => Ok(Packing::Text),
        Some((_, what, advice)) => Err(IntakeError::NotText { what, advice }),
        None => Ok(Packing::Text),
    }
}

/// Whether text begins as a JSON document does, or as a web page or XML; what else it may be is for CSV to say.
pub(crate) fn looks_like_json(head: &[u8]) -> Result<bool, IntakeError> {
    let body = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    let body = body.trim_ascii_start();
    let begins = |tag: &[u8]| body.get(..tag.len()).is_some_and(|b| b.eq_ignore_ascii_case(tag));
    if [&b"<!doctype"[..], b"<html", b"<?xml", b"<table", b"<head", b"<meta"].iter().any(|tag| begins(tag)) {
        return Err(IntakeError::NotText {
            what: "a web page or XML",
            advice: "some systems give that the name of a workbook; open it, save it as a real workbook or as CSV and send that.",
        });
    }
    Ok(match body {
        [b'{', ..] => true,
        [b'[', rest @ ..] => begins_a_list(rest.trim_ascii_start()),
        _ => false,
    })
}

/// Whether that is how a list goes on. A header row may begin with `[id]`, or `[1] id`.
fn begins_a_list(rest: &[u8]) -> bool {
    let is_in_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.');
    let word = rest.iter().position(|b| !is_in_word(b)).unwrap_or(rest.len());
    let is_value = matches!(&rest[..word], b"null" | b"true" | b"false")
        || matches!(rest, [b'-' | b'0'..=b'9', ..])
            && std::str::from_utf8(&rest[..word]).is_ok_and(|n| n.parse::<f64>().is_ok());
    match rest {
        [] | [b'{' | b']' | b'[' | b'"', ..] => true,
        _ if is_value => match rest[word..].trim_ascii_start() {
            [b']', behind @ ..] => behind.trim_ascii_start().is_empty(),
            behind => matches!(behind, [] | [b',', ..]),
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_goes_by_its_name() {
        assert_eq!("TSV".parse::<Format>().unwrap(), Format::Tsv);
        assert_eq!("xlsx".parse::<Format>().unwrap(), Format::Xlsx);
        assert!("xml".parse::<Format>().unwrap_err().to_string().contains("csv, tsv, json"));
    }

    #[test]
    fn the_first_bytes_tell_the_packing() {
        assert_eq!(packing(b"PK\x03\x04\x14\x00").unwrap(), Packing::Zip);
        assert_eq!(packing(b"\x1f\x8b\x08").unwrap(), Packing::Gzip);
        assert_eq!(packing(b"\xD0\xCF\x11\xE0").unwrap(), Packing::Compound);
        assert_eq!(packing(b"BZhours;id\n").unwrap(), Packing::Text);
        for (bytes, named) in [(&b"%PDF-1.7"[..], "PDF"), (b"BZh91AY&SY", "bzip2"), (b"PK\x05\x06", "empty ZIP")] {
            assert!(packing(bytes).unwrap_err().to_string().contains(named), "{named}");
        }
    }

    #[test]
    fn json_is_known_by_its_bracket() {
        for json in [
            "{\"a\":1}", " \n[{", "\u{feff}[ ]", "[", "[[\"id\"]]", "[\"a\", \"b\"]", "[null,{}]", "[ true , 1]",
            "[1, 2]", "[-1.5e3]\n", "[[[[",
        ] {
            assert!(looks_like_json(json.as_bytes()).unwrap(), "{json}");
        }
        for text in
            ["id,name", "[id],name", "", "[1],name", "[1] id,name", "[null] id,name", "[nullable],name", "[true]\tname"]
        {
            assert!(!looks_like_json(text.as_bytes()).unwrap(), "{text}");
        }
        assert!(looks_like_json(b"<HTML><body>").unwrap_err().to_string().contains("web page"));
    }
}
