//! Finds out how a payload is written: encoding, delimiter, where the header row begins.

use super::{CellBuffer, Records};
use crate::error::IntakeError;

/// How much of a payload is looked at.
pub(super) const HEAD: usize = 64 * 1024;

/// How many records are compared to choose the delimiter.
const SAMPLE: usize = 200;

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A format that the caller can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Delimiter-separated text; the delimiter is found out.
    Csv,
    /// Tab-separated text.
    Tsv,
}

impl std::str::FromStr for Format {
    type Err = IntakeError;

    fn from_str(name: &str) -> Result<Self, IntakeError> {
        match name.to_ascii_lowercase().as_str() {
            "csv" => Ok(Format::Csv),
            "tsv" => Ok(Format::Tsv),
            _ => Err(IntakeError::UnknownFormat { name: name.chars().take(40).collect() }),
        }
    }
}

/// How text is put into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    Utf8,
}

impl Encoding {
    /// Its name, as it goes into a layout's fingerprint.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf-8",
        }
    }
}

/// How a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// How text is put into bytes.
    pub encoding: Encoding,
    /// What stands between cells.
    pub delimiter: u8,
    /// How many bytes stand before the header row: a byte order mark, and Excel's `sep=;` line.
    pub(super) preamble: usize,
    /// How many lines those are.
    pub(super) preamble_lines: u64,
}

impl Dialect {
    /// Looks at the first bytes of a payload; `is_all` if there are no more.
    pub fn detect(head: &[u8], is_all: bool, format: Option<Format>) -> Result<Dialect, IntakeError> {
        refuse_binary(head)?;
        let bom = if head.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        let body = &head[bom..];
        if body.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')) && is_all {
            return Err(IntakeError::Empty);
        }
        refuse_other_encodings(head, is_all)?;
        let named = named_delimiter(body);
        let (skip, preamble_lines) = named.map_or((0, 0), |(_, len)| (len, 1));
        let delimiter = match (format, named) {
            (Some(Format::Tsv), _) => b'\t',
            (_, Some((delimiter, _))) => delimiter,
            _ => likeliest_delimiter(&body[skip..], is_all),
        };
        Ok(Dialect { encoding: Encoding::Utf8, delimiter, preamble: bom + skip, preamble_lines })
    }
}

/// Excel writes `sep=;` on a first line of its own; gives the delimiter and the length of that line.
fn named_delimiter(body: &[u8]) -> Option<(u8, usize)> {
    let rest = match body.get(..4)? {
        sep if sep.eq_ignore_ascii_case(b"sep=") => &body[4..],
        _ => return None,
    };
    match rest {
        [d, b'\r', b'\n', ..] if DELIMITERS.contains(d) => Some((*d, 7)),
        [d, b'\r' | b'\n', ..] if DELIMITERS.contains(d) => Some((*d, 6)),
        _ => None,
    }
}

/// The delimiter that gives the header row the most cells, among those under which the rows below
/// it have as many; a comma if none does.
fn likeliest_delimiter(body: &[u8], is_all: bool) -> u8 {
    let mut best = (b',', false, 1);
    for delimiter in DELIMITERS {
        let (columns, agree, rows) = census(body, is_all, delimiter);
        let is_even = agree * 10 >= rows * 9;
        if columns > 1 && (is_even, columns) > (best.1, best.2) {
            best = (delimiter, is_even, columns);
        }
    }
    best.0
}

/// Cells in the header row, rows with as many, rows.
fn census(body: &[u8], is_all: bool, delimiter: u8) -> (usize, usize, usize) {
    let mut records = Records::from(body, 0, 1, delimiter);
    let mut cells = CellBuffer::default();
    let (mut columns, mut agree, mut rows) = (0, 0, 0);
    while let Ok(Some(record)) = records.next() {
        // The last record of the head may be cut in two.
        let is_cut = !is_all && record.offset as usize + record.bytes.len() >= body.len();
        if rows > SAMPLE || (is_cut && columns > 0) {
            break;
        }
        let count = cells.split(record.bytes, delimiter).map_or(0, |c| c.len());
        if columns == 0 {
            columns = count;
        } else {
            rows += 1;
            agree += usize::from(count == columns);
        }
    }
    (columns, agree, rows)
}

fn refuse_binary(head: &[u8]) -> Result<(), IntakeError> {
    const SAVE_AS_CSV: &str = "save the sheet as \"CSV UTF-8\" and send that.";
    const UNPACK: &str = "unpack it and send the file that is inside.";
    const EXPORT: &str = "export the list of people as CSV and send that.";
    let kinds: [(&[u8], &str, &str); 9] = [
        (b"PK\x03\x04", "an Excel workbook or a ZIP archive", SAVE_AS_CSV),
        (b"PK\x05\x06", "an empty ZIP archive", EXPORT),
        (b"\xD0\xCF\x11\xE0", "an old Excel workbook (.xls)", SAVE_AS_CSV),
        (b"\x1F\x8B", "a gzip archive", UNPACK),
        (b"\x28\xB5\x2F\xFD", "a zstd archive", UNPACK),
        (b"7z\xBC\xAF", "a 7-Zip archive", UNPACK),
        (b"BZh", "a bzip2 archive", UNPACK),
        (b"%PDF-", "a PDF document", EXPORT),
        (b"PAR1", "a Parquet file", EXPORT),
    ];
    match kinds.iter().find(|(magic, _, _)| head.starts_with(magic)) {
        // "BZh" could begin a header; real bzip2 has a block mark behind it.
        Some((b"BZh", ..)) if head.get(4..7) != Some(b"1AY") => Ok(()),
        Some((_, what, advice)) => Err(IntakeError::NotText { what, advice }),
        None => Ok(()),
    }
}

fn refuse_other_encodings(head: &[u8], is_all: bool) -> Result<(), IntakeError> {
    let unreadable =
        |encoding, evidence: &str| Err(IntakeError::Unreadable { encoding, evidence: evidence.to_owned() });
    match head {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => return unreadable("UTF-32", "it begins with that mark"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => return unreadable("UTF-16", "it begins with that mark"),
        _ => {}
    }
    if let Some(first) = head.iter().position(|b| *b == 0) {
        let zeros = head.iter().filter(|b| **b == 0).count();
        // ASCII in UTF-16 is every other byte a zero. A few are damage in single rows.
        if zeros * 3 > head.len() {
            return unreadable("UTF-16", "every other byte is zero");
        }
        if first < 512 {
            return Err(IntakeError::NotText {
                what: "binary",
                advice: "export the list of people as CSV and send that.",
            });
        }
    }
    refuse_single_byte_text(head, is_all)
}

/// A head with letters beyond ASCII none of which are UTF-8 is in an older encoding; a head with
/// some of either is UTF-8 with damaged rows, and those are issues of their own.
fn refuse_single_byte_text(head: &[u8], is_all: bool) -> Result<(), IntakeError> {
    let Err(error) = std::str::from_utf8(head) else {
        return Ok(());
    };
    let first = error.valid_up_to();
    let is_cut = error.error_len().is_none() && !is_all;
    let has_utf8_letters =
        head.utf8_chunks().any(|chunk| chunk.valid().chars().any(|c| !c.is_ascii() && c != '\u{FEFF}'));
    if is_cut || has_utf8_letters || head.starts_with(b"\xEF\xBB\xBF") {
        return Ok(());
    }
    let line = 1 + head[..first].iter().filter(|b| **b == b'\n').count();
    let byte = head.get(first).copied().unwrap_or_default();
    Err(IntakeError::Unreadable {
        encoding: "Windows-1252 or another older encoding",
        evidence: format!("byte 0x{byte:02X} on line {line} is not UTF-8"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delimiter(text: &str) -> u8 {
        Dialect::detect(text.as_bytes(), true, None).unwrap().delimiter
    }

    fn refusal(bytes: &[u8]) -> String {
        Dialect::detect(bytes, true, None).unwrap_err().to_string()
    }

    #[test]
    fn the_delimiter_is_the_one_under_which_rows_agree() {
        assert_eq!(delimiter("id,name\n1,Ann\n"), b',');
        assert_eq!(delimiter("id;name, full;x\n1;Ann;2\n"), b';');
        assert_eq!(delimiter("id\tname\n1\tLee, Ann\n"), b'\t');
        assert_eq!(delimiter("id|name\n1|\"a|b\"\n"), b'|');
        assert_eq!(delimiter("id\n1\n2\n"), b',');
        assert_eq!(delimiter("id;a;b\n1;2,5;3,5\n2;1,0;2,0\n"), b';');
        assert_eq!(delimiter("id;name"), b';');
    }

    #[test]
    fn a_named_format_or_a_sep_line_decides() {
        let text = b"a,b\n1,2\n";
        assert_eq!(Dialect::detect(text, true, Some(Format::Tsv)).unwrap().delimiter, b'\t');
        assert_eq!(Dialect::detect(text, true, Some(Format::Csv)).unwrap().delimiter, b',');
        let opened = super::super::open(&b"\xEF\xBB\xBFsep=|\r\nid|a,b\r\n1|2\r\n"[..], None).unwrap();
        assert_eq!((opened.header, opened.header_line), (vec!["id".to_owned(), "a,b".to_owned()], 2));
        assert_eq!("TSV".parse::<Format>().unwrap(), Format::Tsv);
        assert!("xml".parse::<Format>().unwrap_err().to_string().contains("csv or tsv"));
    }

    #[test]
    fn an_empty_file_is_refused_and_a_header_alone_is_not() {
        for empty in [&b""[..], b"\xEF\xBB\xBF", b"\n\r\n  \n"] {
            assert!(refusal(empty).starts_with("The file is empty"));
        }
        let mut opened = super::super::open(&b"employee_id,email\n"[..], None).unwrap();
        assert_eq!(opened.header, ["employee_id", "email"]);
        assert!(opened.records.next().unwrap().is_none());
        assert!(matches!(super::super::open(&b",,\n"[..], None), Err(IntakeError::Empty)));
    }

    #[test]
    fn what_is_not_text_is_named() {
        assert!(refusal(b"PK\x03\x04\x14\x00").contains("Excel workbook"));
        assert!(refusal(b"\x1f\x8b\x08").contains("gzip"));
        assert!(refusal(b"%PDF-1.7").contains("PDF"));
        assert!(refusal(b"id,name\n\x00\x01\x02").contains("binary"));
        assert_eq!(delimiter("BZhours;id\n"), b';');
    }

    #[test]
    fn other_encodings_are_named() {
        assert!(refusal(b"\xFF\xFEi\x00d\x00").contains("UTF-16"));
        assert!(refusal(b"i\x00d\x00,\x00a\x00\n\x00").contains("UTF-16"));
        assert!(refusal(b"id,name\n1,Ren\xe9\n").contains("Windows-1252"));
        assert!(refusal(b"id,name\n1,Ren\xe9\n").contains("0xE9 on line 2"));
        // Some letters are UTF-8: single rows are damaged, and rows are not refused here.
        assert!(Dialect::detect("id,name\n1,René\n".as_bytes(), true, None).is_ok());
        assert!(Dialect::detect(b"id\nRen\xc3\xa9\nRen\xe9\n", true, None).is_ok());
        // A character cut by the end of the head is no fault.
        assert!(Dialect::detect(b"id,name\n1,Ren\xc3", false, None).is_ok());
    }
}
