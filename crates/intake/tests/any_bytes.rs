//! Any bytes at all end in rows or in one sentence, and well-formed CSV is read as the `csv` crate reads it.

use std::{collections::BTreeMap, io::Read};

use muster_domain::{
    field::{FieldId, Fields},
    normalise::DateOrder,
};
use muster_intake::{
    IntakeError, KeyScratch, Reader, Row,
    csv::{CellBuffer, Records, open},
    headers::resolve,
};
use proptest::prelude::*;

/// Gives out a few bytes at a time.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.1.min(buf.len()).min(self.0.len());
        buf[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

/// Reads a payload as the engine does, to its end.
fn read_all(payload: &[u8], step: usize) -> Result<usize, IntakeError> {
    let fields = Fields::default();
    let mut opened = open(Drip(payload, step), None)?;
    let columns = resolve(&opened.header, &fields, FieldId::EMPLOYEE_ID, &BTreeMap::new())?;
    let reader = Reader::new(columns, &fields, "", DateOrder::Iso);
    let (mut cells, mut row, mut scratch) = (CellBuffer::default(), Row::default(), KeyScratch::default());
    let mut rows = 0;
    while let Some(raw) = opened.records.next()? {
        let looked = reader.identifiers(raw.bytes, opened.dialect.delimiter, &mut scratch);
        let read = cells.split(raw.bytes, opened.dialect.delimiter).and_then(|c| reader.read(&c, raw.line, &mut row));
        assert!(read.is_err() || looked.is_ok());
        rows += 1;
    }
    let ending = opened.records.ending();
    assert_eq!(ending.bytes, payload.len() as u64);
    Ok(rows)
}

type Table = Vec<Vec<String>>;

fn is_blank(row: &[String], delimiter: char) -> bool {
    row.iter().all(|c| c.chars().all(|c| c == delimiter || matches!(c, ' ' | '\t' | '"' | '\r' | '\n')))
}

/// All rows that say anything, as we read them.
fn ours(input: &str, delimiter: u8, step: usize) -> Table {
    let mut records = Records::from(Drip(input.as_bytes(), step), 0, 1, delimiter);
    let (mut cells, mut table) = (CellBuffer::default(), Table::new());
    while let Some(raw) = records.next().unwrap() {
        match cells.split(raw.bytes, delimiter) {
            Ok(cells) => table.push(cells.iter().map(str::to_owned).collect()),
            Err(_) => assert!(!records.ending().balanced),
        }
    }
    table.retain(|row| !is_blank(row, delimiter as char));
    table
}

fn theirs(input: &str, delimiter: u8) -> Table {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(input.as_bytes());
    let rows = reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|row| !is_blank(row, delimiter as char)).collect()
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9é ]{0,8}", "[a,;\"\n\r |\t]{0,6}", any::<String>()]
}

proptest! {
    #[test]
    fn any_bytes_end_in_rows_or_one_sentence(payload in prop::collection::vec(any::<u8>(), 0..400), step in 1usize..50) {
        if let Err(error) = read_all(&payload, step) {
            prop_assert!(error.to_string().ends_with('.'));
        }
    }

    #[test]
    fn any_text_under_a_good_header_is_read(body in "[a,;\"\n\r\u{0}-\u{7f}é\u{feff}]{0,300}", step in 1usize..50) {
        let payload = format!("Employee ID,Email,Start Date,Notes\n{body}");
        if let Err(error) = read_all(payload.as_bytes(), step) {
            prop_assert!(error.to_string().ends_with('.'));
        }
    }

    #[test]
    fn any_table_comes_back(table in prop::collection::vec(prop::collection::vec(cell(), 1..6), 0..12), delimiter in 0usize..4, crlf: bool, step in 1usize..40) {
        let delimiter = b",;\t|"[delimiter];
        let ending = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer = csv::WriterBuilder::new().flexible(true).delimiter(delimiter).terminator(ending).from_writer(Vec::new());
        table.iter().for_each(|row| writer.write_record(row).unwrap());
        let input = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let said: Table = table.into_iter().filter(|row| !is_blank(row, delimiter as char)).collect();
        // The `csv` crate takes a byte order mark off the first cell; here that is the dialect's work.
        prop_assume!(!input.starts_with('\u{feff}'));
        prop_assert_eq!(&ours(&input, delimiter, step), &said);
        prop_assert_eq!(theirs(&input, delimiter), said);
    }

    #[test]
    fn odd_text_is_read_as_the_csv_crate_reads_it(input in "[ab,;\"\n\r ]{0,60}", step in 1usize..40) {
        let (ours, theirs) = (ours(&input, b',', step), theirs(&input, b','));
        // A quotation mark that never closes is unreadable here and a cell there: only the last row can have one.
        if ours.len() < theirs.len() {
            prop_assert_eq!(&ours[..], &theirs[..theirs.len() - 1]);
        } else {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn offsets_cover_the_payload(input in "[ab,\"\n\r]{0,80}") {
        let mut records = Records::new(input.as_bytes());
        let mut at = (0, 0);
        while let Some(raw) = records.next().unwrap() {
            let start = raw.offset as usize;
            prop_assert_eq!(&input.as_bytes()[start..start + raw.bytes.len()], raw.bytes);
            prop_assert!(raw.offset >= at.0 && raw.line > at.1);
            at = (raw.offset + raw.bytes.len() as u64, raw.line);
        }
        prop_assert_eq!(records.ending().bytes, input.len() as u64);
    }
}
