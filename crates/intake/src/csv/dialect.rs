//! Finds out how a CSV payload is written: its delimiter, and what stands before the first row.

use std::cmp::Reverse;

use super::{CellBuffer, Records};
use crate::{error::IntakeError, format::Format};

/// How much of a payload is looked at.
pub(crate) const HEAD: usize = 64 * 1024;

/// How many records are compared to choose the delimiter.
const SAMPLE: usize = 200;

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// What stands between cells.
    pub delimiter: u8,
    /// How many bytes stand before the first row: a byte order mark, and Excel's `sep=;` line.
    pub(super) preamble: usize,
    /// How many lines those are.
    pub(super) preamble_lines: u64,
}

impl Dialect {
    /// Looks at the first bytes of a payload; `is_all` if there are no more.
    pub fn detect(head: &[u8], is_all: bool, format: Option<Format>) -> Result<Dialect, IntakeError> {
        let bom = if head.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        let body = &head[bom..];
        if body.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')) && is_all {
            return Err(IntakeError::Empty);
        }
        let named = named_delimiter(body);
        let (skip, preamble_lines) = named.map_or((0, 0), |(_, len)| (len, 1));
        let delimiter = match (format, named) {
            (Some(Format::Tsv), _) => b'\t',
            (_, Some((delimiter, _))) => delimiter,
            _ => likeliest_delimiter(&body[skip..], is_all),
        };
        Ok(Dialect { delimiter, preamble: bom + skip, preamble_lines })
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

/// The delimiter under which rows have the most cells and as many as one another; a comma if there is none.
fn likeliest_delimiter(body: &[u8], is_all: bool) -> u8 {
    let mut best = (b',', (false, Reverse(usize::MAX), 1));
    for delimiter in DELIMITERS {
        let shape = shape(&cell_counts(body, is_all, delimiter));
        if shape.2 > 1 && shape > best.1 {
            best = (delimiter, shape);
        }
    }
    best.0
}

/// Whether rows agree on how many cells they have, from which row on, and on how many. A title above the header row has
/// fewer, and does not count.
fn shape(counts: &[usize]) -> (bool, Reverse<usize>, usize) {
    let mut often = std::collections::BTreeMap::new();
    for count in counts.iter().filter(|c| **c > 1) {
        *often.entry(*count).or_insert(0_usize) += 1;
    }
    let Some((columns, _)) = often.into_iter().max_by_key(|(columns, times)| (*times, *columns)) else {
        return (false, Reverse(usize::MAX), 1);
    };
    let first = counts.iter().position(|c| *c == columns).unwrap_or_default();
    let rows = &counts[first + 1..];
    let agree = rows.iter().filter(|c| **c == columns).count();
    (agree * 10 >= rows.len() * 9, Reverse(first), columns)
}

/// How many cells each of the first records has.
fn cell_counts(body: &[u8], is_all: bool, delimiter: u8) -> Vec<usize> {
    let mut records = Records::from(body, 0, 1, delimiter);
    let mut cells = CellBuffer::default();
    let mut counts = Vec::new();
    while let Ok(Some(record)) = records.next() {
        // The last record of the head may be cut in two.
        let is_cut = !is_all && record.offset as usize + record.bytes.len() >= body.len();
        if counts.len() > SAMPLE || (is_cut && !counts.is_empty()) {
            break;
        }
        counts.push(cells.split(record.bytes, delimiter).map_or(0, |c| c.len()));
    }
    counts
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
    }

    #[test]
    fn a_title_above_the_header_does_not_hide_the_delimiter() {
        assert_eq!(delimiter("Staff, active, 2026\nid;name;from\n1;Ann;x\n2;Bo;y\n"), b';');
        assert_eq!(delimiter("Headcount report\n\nid\tname\n1\tLee, Ann\n2\tRoe, Bo\n"), b'\t');
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
}
