//! Any bytes at all, in any format or nearly in one, end in rows or in one sentence.

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read, Write},
    path::Path,
};

use muster_domain::{
    field::{FieldId, Fields},
    normalise::DateOrder,
    settings::Limits,
};
use muster_intake::{
    How, IntakeError, Reader, Row,
    csv::CellBuffer,
    headers::{known, resolve},
    payload::open,
};
use proptest::prelude::*;

/// Reads a payload as the engine does, to its end; gives how many rows there are, and how many of them can be read.
fn read_all(payload: &[u8]) -> Result<(u64, u64), IntakeError> {
    let fields = Fields::default();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("payload");
    fs::write(&file, payload).unwrap();
    let how = How {
        format: None,
        sheet: None,
        limits: Limits { unpacked_mb: 64, rows: 100_000, ..Limits::default() },
        knows: &|header| known(header, &fields, FieldId::EMPLOYEE_ID, &BTreeMap::new()),
        file: &file,
        scratch: directory.path(),
        older_text: false,
    };
    let mut opened = open(Cursor::new(payload.to_vec()), &how)?;
    let columns = resolve(&opened.header, &fields, FieldId::EMPLOYEE_ID, &BTreeMap::new())?;
    let reader = Reader::new(columns, &fields, "", DateOrder::Iso).marked(opened.marked);
    let (mut cells, mut row, mut first) = (CellBuffer::default(), Row::default(), None);
    let (mut rows, mut readable) = (0, 0);
    while let Some(raw) = opened.records.next()? {
        first.get_or_insert((raw.offset, raw.line, raw.bytes.to_vec()));
        rows += 1;
        let read = cells.split(raw.bytes, opened.delimiter).and_then(|c| reader.read(&c, raw.line, &mut row));
        readable += u64::from(read.is_ok());
    }
    if let (Some(plain), Some((offset, line, bytes))) = (&opened.plain, first) {
        let mut again = plain.records_from(offset, line, opened.delimiter).unwrap();
        assert_eq!(again.next()?.map(|raw| (raw.offset, raw.line, raw.bytes.to_vec())), Some((offset, line, bytes)));
    }
    Ok((rows, readable))
}

fn ends_well(payload: &[u8]) {
    if let Err(error) = read_all(payload) {
        let said = error.to_string();
        assert!(said.ends_with('.') && !said.contains('\n'), "{said}");
    }
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/feeds").join(name)).unwrap()
}

const WHOLE: [&str; 8] = [
    "workbooks/plain.xlsx", "workbooks/old.xls", "workbooks/open.ods", "packed/people.csv.gz", "packed/people.xlsx.gz",
    "packed/utf16.csv.gz", "json/list.json", "json/people.ndjson",
];

/// A workbook with one of its parts changed: damage that no checksum of the archive gives away.
fn with_part(book: &str, part: &str, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(Cursor::new(fixture(book))).unwrap();
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for i in 0..archive.len() {
        let mut file = archive.by_index(i).unwrap();
        let name = file.name().unwrap().into_owned();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        if name == part {
            change(&mut bytes);
        }
        out.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        out.write_all(&bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

/// Parts of workbooks that are read.
const PARTS: [(&str, &str); 6] = [
    ("workbooks/plain.xlsx", "xl/worksheets/sheet1.xml"),
    ("workbooks/plain.xlsx", "xl/sharedStrings.xml"),
    ("workbooks/plain.xlsx", "xl/styles.xml"),
    ("workbooks/plain.xlsx", "xl/workbook.xml"),
    ("workbooks/plain.xlsx", "xl/_rels/workbook.xml.rels"),
    ("workbooks/open.ods", "content.xml"),
];

/// Text that means something in a workbook, put where it does not belong.
const SNIPPETS: [&str; 14] = [
    "99999999999",
    "-1",
    "r=\"XFD1048576\"",
    "r=\"A0\"",
    "t=\"s\"",
    "t=\"e\"",
    "<v>1e999</v>",
    "<c><v>9</v></c>",
    "</row>",
    "<row r=\"4294967295\">",
    "&#0;",
    "&undefined;",
    "table:number-columns-repeated=\"4000000000\"",
    "s=\"65535\"",
];

/// What formats begin with.
const BEGINNINGS: [&[u8]; 8] = [
    b"PK\x03\x04",
    b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1",
    b"\x1F\x8B\x08",
    b"[{",
    b"{\"rows\":[",
    b"\xFF\xFE",
    b"\xFE\xFF",
    b"{\"id\":",
];

#[test]
fn a_payload_cut_anywhere_ends_well() {
    for name in WHOLE {
        let whole = fixture(name);
        let step = (whole.len() / 60).max(1);
        for end in (0..whole.len()).step_by(step) {
            ends_well(&whole[..end]);
        }
        assert!(read_all(&whole).unwrap().1 >= 2, "{name}");
    }
}

#[test]
fn a_cut_workbook_or_archive_gives_no_row_at_all() {
    for name in ["workbooks/plain.xlsx", "workbooks/open.ods", "packed/people.csv.gz", "packed/people.xlsx.gz"] {
        let whole = fixture(name);
        for part in 1..20 {
            assert!(read_all(&whole[..whole.len() * part / 20]).is_err(), "{name}, {part} of 20 parts");
        }
    }
}

#[test]
fn a_table_without_end_ends_well() {
    // Found by the test below: the parser looked for the end of the table for ever.
    for tag in ["</table:table>", "</table:table-row>", "</office:spreadsheet>", "</text:p>"] {
        let open = with_part("workbooks/open.ods", "content.xml", |bytes| {
            let text = String::from_utf8_lossy(bytes).replace(tag, "");
            *bytes = text.into_bytes();
        });
        let cut = with_part("workbooks/open.ods", "content.xml", |bytes| {
            let at = String::from_utf8_lossy(bytes).rfind(tag).unwrap();
            bytes.truncate(at);
        });
        for payload in [open, cut] {
            assert!(read_all(&payload).unwrap_err().to_string().contains("damaged"), "{tag}");
        }
    }
}

#[test]
fn a_cell_repeated_without_measure_is_refused_before_it_takes_the_memory() {
    for (from, to) in [
        ("<table:table-row>", "<table:table-row table:number-rows-repeated=\"9000000\">"),
        (
            "<table:table-cell office:value-type",
            "<table:table-cell table:number-columns-repeated=\"16000000\" office:value-type",
        ),
    ] {
        let bomb = with_part("workbooks/open.ods", "content.xml", |bytes| {
            let text = String::from_utf8_lossy(bytes);
            assert!(text.contains(from), "{text}");
            *bytes = text.replace(from, to).into_bytes();
        });
        assert!(read_all(&bomb).unwrap_err().to_string().contains("30 million cells"), "{to}");
    }
}

proptest! {
    #[test]
    fn any_bytes_behind_any_beginning_end_well(begin in 0usize..8, rest in prop::collection::vec(any::<u8>(), 0..300)) {
        ends_well(&[BEGINNINGS[begin], &rest].concat());
    }

    #[test]
    fn anything_like_json_ends_well(text in "[\\[\\]{}\",:0-9a-z\\\\ntrue\n ]{0,120}", begin in 3usize..8) {
        ends_well(&[BEGINNINGS[begin], text.as_bytes()].concat());
        ends_well(format!("[{{\"employee_id\":\"1\",{text}").as_bytes());
    }

    #[test]
    fn damage_ends_well(which in 0usize..8, places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut payload = fixture(WHOLE[which]);
        for (at, byte) in places {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        ends_well(&payload);
    }

    #[test]
    fn damage_within_a_workbook_ends_well(
        which in 0usize..6,
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        (at, snippet, takes) in (any::<prop::sample::Index>(), 0usize..14, 0usize..30),
    ) {
        let (book, part) = PARTS[which];
        ends_well(&with_part(book, part, |bytes| {
            for (at, byte) in &places {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            let from = at.index(bytes.len());
            let to = (from + takes).min(bytes.len());
            bytes.splice(from..to, SNIPPETS[snippet].bytes());
        }));
    }

    #[test]
    fn objects_come_back_as_they_were(people in prop::collection::vec(("[a-z0-9]{1,8}", any::<String>(), any::<bool>()), 1..20)) {
        let rows: Vec<String> = people
            .iter()
            .map(|(id, name, null)| match null {
                true => format!("{{\"employee_id\":\"{id}\",\"last_name\":null}}"),
                false => format!("{{\"employee_id\":\"{id}\",\"last_name\":{}}}", serde_json::to_string(name).unwrap()),
            })
            .collect();
        let (list, lines) = (format!("[{}]", rows.join(",")), rows.join("\n"));
        let expected = (rows.len() as u64, rows.len() as u64);
        prop_assert_eq!(read_all(list.as_bytes()).unwrap(), expected);
        prop_assert_eq!(read_all(lines.as_bytes()).unwrap(), expected);
    }
}
