//! Rows are given back byte for byte, whatever they are written in.

use std::{collections::BTreeMap, io::Write as _};

use muster_domain::{
    field::{FieldId, Fields},
    settings::Limits,
};

use super::*;
use crate::{How, headers::known, payload::open};

#[derive(Default)]
struct Got {
    bytes: Vec<u8>,
    rows: Vec<Vec<String>>,
}

impl Picked for Got {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn cells(&mut self, cells: &[&str]) -> io::Result<()> {
        self.rows.push(cells.iter().map(|c| (*c).to_owned()).collect());
        Ok(())
    }
}

/// What is picked of a payload, and the lines of its rows.
fn picked(payload: &[u8], wanted: &[usize]) -> (Got, Vec<u64>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("payload");
    std::fs::write(&file, payload).unwrap();
    let fields = Fields::default();
    let how = How {
        format: None,
        sheet: None,
        limits: Limits::default(),
        knows: &|header| known(header, &fields, FieldId::EMPLOYEE_ID, &BTreeMap::new()),
        file: &file,
        scratch: directory.path(),
        older_text: false,
    };
    let mut opened = open(File::open(&file).unwrap(), &how).unwrap();
    let mut all = Vec::new();
    while let Some(raw) = opened.records.next().unwrap() {
        all.push(raw.line);
    }
    let lines: Vec<u64> = wanted.iter().map(|i| all[*i]).collect();
    let mut got = Got::default();
    let picking = Picking {
        original: &opened.original,
        file: &file,
        plain: opened.plain.as_ref(),
        header: &opened.header,
        lines: &lines,
    };
    picking.pick(&mut got).unwrap();
    (got, all)
}

const TEXT: &str = "Staff list\r\n\r\nEmployee ID;Last Name;Email\r\n1;\"Lee; \r\nAnn\";a@x\n\n2;Åse\u{a0}🦀;b@x\r3;\"\"\"\";c@x\r\n4;Ō;d";

fn bytes(text: &str, encoding: Encoding, mark: bool) -> Vec<u8> {
    let text = if mark { format!("\u{feff}{text}") } else { text.to_owned() };
    match encoding {
        Encoding::Utf8 => text.into_bytes(),
        Encoding::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Encoding::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        Encoding::Windows1252 => encoding_rs::WINDOWS_1252.encode(&text).0.into_owned(),
    }
}

#[test]
fn rows_of_delimited_text_are_given_byte_for_byte_in_any_encoding() {
    let western = TEXT.replace('🦀', "€").replace('Ō', "Ö");
    for (text, encoding, mark) in [
        (TEXT, Encoding::Utf8, false),
        (TEXT, Encoding::Utf8, true),
        (TEXT, Encoding::Utf16Le, true),
        (TEXT, Encoding::Utf16Le, false),
        (TEXT, Encoding::Utf16Be, true),
        (western.as_str(), Encoding::Windows1252, false),
    ] {
        let head_end = text.find("1;").unwrap();
        let second = text.find("2;").unwrap()..text.find("3;").unwrap();
        let last = text.find("4;").unwrap()..text.len();
        let payload = bytes(text, encoding, mark);
        let (got, lines) = picked(&payload, &[1, 3]);
        assert_eq!(lines, [4, 7, 8, 9], "{encoding:?}");
        let expected = [&text[..head_end], &text[second], &text[last]].concat();
        assert_eq!(got.bytes, bytes(&expected, encoding, mark), "{encoding:?}, mark {mark}");
        let (all, _) = picked(&payload, &[0, 1, 2, 3]);
        assert_eq!(all.bytes.len(), payload.len() - if unit(encoding) == 2 { 2 } else { 1 }, "all but the empty line");
        assert_eq!(picked(&payload, &[]).0.bytes, bytes(&text[..head_end], encoding, mark));
    }
}

fn unit(encoding: Encoding) -> usize {
    if matches!(encoding, Encoding::Utf16Le | Encoding::Utf16Be) { 2 } else { 1 }
}

#[test]
fn what_excel_writes_above_the_header_and_damage_stay() {
    let payload = b"\xEF\xBB\xBFsep=|\r\nEmployee ID|Email\r\n1|a\r\n2|\xFF\xFE\r\n";
    let (got, _) = picked(payload, &[1]);
    assert_eq!(got.bytes, b"\xEF\xBB\xBFsep=|\r\nEmployee ID|Email\r\n2|\xFF\xFE\r\n");
    let mut cut = bytes("employee_id\tEmail\n1\ta\n2\tb", Encoding::Utf16Le, true);
    cut.pop();
    let (got, _) = picked(&cut, &[1]);
    assert!(cut.ends_with(&got.bytes[got.bytes.len() - 7..]), "half a letter at the end is damage and stays");
}

#[test]
fn packed_text_is_given_unpacked() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"employee_id,email\n1,a\n2,b\n").unwrap();
    let (got, _) = picked(&encoder.finish().unwrap(), &[1]);
    assert_eq!(got.bytes, b"employee_id,email\n2,b\n");
}

#[test]
fn objects_are_given_as_they_are_written() {
    let wrapped = br#"{"mode":"full","rows":[ {"employee_id": 00}, {"employee_id":"2", "x":[1, {}]} ,3]}"#;
    let (got, lines) = picked(wrapped, &[1, 2]);
    assert_eq!(lines, [1, 2, 3]);
    assert_eq!(String::from_utf8(got.bytes).unwrap(), "[\n{\"employee_id\":\"2\", \"x\":[1, {}]},\n3\n]\n");
    assert_eq!(picked(wrapped, &[]).0.bytes, b"[]\n");
    let lines = "\u{feff}{\"employee_id\":\"1\"}\r\n\n {\"employee_id\": 2 }\n{broken\n";
    assert_eq!(picked(lines.as_bytes(), &[1, 2]).0.bytes, b" {\"employee_id\": 2 }\n{broken\n");
    let wide = bytes(lines, Encoding::Utf16Le, false);
    assert_eq!(picked(&wide, &[2]).0.bytes, b"{broken\n", "JSON is UTF-8");
}

#[test]
fn rows_of_a_workbook_are_given_by_their_cells() {
    let book =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/feeds/workbooks/several-sheets.xlsx"));
    let (got, lines) = picked(&book.unwrap(), &[1]);
    assert_eq!((got.rows.len(), got.bytes.len()), (2, 0));
    assert_eq!(got.rows[0].len(), got.rows[1].len());
    assert!(lines.len() >= 2 && !got.rows[1][0].is_empty(), "{:?}", got.rows);
}

/// The cells of every row.
fn cells_of(payload: &[u8]) -> Option<Vec<Vec<String>>> {
    let mut opened = crate::csv::open(payload, None).ok()?;
    let (mut buffer, mut rows) = (CellBuffer::default(), Vec::new());
    while let Some(raw) = opened.records.next().unwrap() {
        let cells = buffer.split(raw.bytes, opened.dialect.delimiter).ok();
        rows.push(cells.map(|c| c.iter().map(str::to_owned).collect()).unwrap_or_default());
    }
    Some(rows)
}

proptest::proptest! {
    #[test]
    fn all_rows_of_any_text_read_the_same_again(text in "[ab,\"\r\n é]{0,60}", form in 0usize..3) {
        let text = format!("employee_id,email\n1,x\n{text}");
        let form = [(Encoding::Utf8, true), (Encoding::Utf8, false), (Encoding::Utf16Le, true)][form];
        let all = cells_of(text.as_bytes()).unwrap();
        let (got, lines) = picked(&bytes(&text, form.0, form.1), &(0..all.len()).collect::<Vec<_>>());
        proptest::prop_assert_eq!(lines.len(), all.len());
        let again = match form.0 {
            Encoding::Utf16Le => {
                let units: Vec<u16> = got.bytes.chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
                String::from_utf16(&units).unwrap().replacen('\u{feff}', "", 1)
            }
            _ => String::from_utf8(got.bytes).unwrap(),
        };
        proptest::prop_assert_eq!(cells_of(again.as_bytes()).unwrap(), all);
    }
}
