//! Reads a payload to its end, as the engine does: whatever is in it, that gives rows with issues or one sentence.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fs,
    io::{self, Cursor, Write},
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::Once,
};

use muster_domain::{
    field::{FieldId, Fields},
    normalise::DateOrder,
    settings::Limits,
};
use muster_intake::{
    Format, How, IntakeError, Picked, Picking, Reader, Row,
    aside::Usual,
    csv::CellBuffer,
    headers::{known, resolve},
    payload::open,
};

thread_local! {
    static SCRATCH: OnceCell<(tempfile::TempDir, PathBuf)> = const { OnceCell::new() };
}

static QUIET: Once = Once::new();

struct Nowhere;

impl Picked for Nowhere {
    fn bytes(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn cells(&mut self, _: &[&str]) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a payload that is said to be of this format.
pub fn read(payload: &[u8], format: Option<Format>) {
    // The fuzzer's own hook ends the process at any panic, and those within a parser of workbooks are caught. What is not
    // caught still ends it, behind this.
    QUIET.call_once(|| panic::set_hook(Box::new(|_| {})));
    if let Err(cause) = panic::catch_unwind(AssertUnwindSafe(|| read_whole(payload, format))) {
        let text = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
        eprintln!("panicked: {}", text.unwrap_or("without a text"));
        panic::resume_unwind(cause);
    }
}

fn read_whole(payload: &[u8], format: Option<Format>) {
    SCRATCH.with(|scratch| {
        let (directory, file) = scratch.get_or_init(|| {
            let directory = tempfile::tempdir().expect("a directory for scratch files");
            let file = directory.path().join("payload");
            (directory, file)
        });
        fs::write(file, payload).expect("room for the payload");
        let limits = Limits { unpacked_mb: 16, rows: 100_000, ..Limits::default() };
        let fields = Fields::default();
        let how = How {
            format,
            sheet: None,
            limits,
            knows: &|header| known(header, &fields, FieldId::EMPLOYEE_ID, &BTreeMap::new()),
            file,
            scratch: directory.path(),
            older_text: false,
        };
        if let Err(error) = rows(payload, &how, &fields) {
            assert!(error.to_string().ends_with('.'));
        }
    });
}

fn rows(payload: &[u8], how: &How<'_>, fields: &Fields) -> Result<(), IntakeError> {
    let mut opened = open(Cursor::new(payload.to_vec()), how)?;
    let columns = resolve(&opened.header, fields, FieldId::EMPLOYEE_ID, &BTreeMap::new())?;
    let reader = Reader::new(columns, fields, "", DateOrder::Iso).marked(opened.marked);
    let (mut cells, mut row) = (CellBuffer::default(), Row::default());
    let mut lines = Vec::new();
    let mut usual = Usual::default();
    while let Some(raw) = opened.records.next()? {
        if usual == Usual::default() {
            usual = Usual::of([raw.bytes, raw.bytes].into_iter(), opened.delimiter, reader.columns());
        }
        if raw.line % 2 == 0 {
            lines.push(raw.line);
        }
        if let Ok(cells) = cells.split(raw.bytes, opened.delimiter) {
            muster_intake::aside::aside(&cells, reader.columns(), usual);
            let _ = reader.read(&cells, raw.line, &mut row);
        }
    }
    let picking = Picking {
        original: &opened.original,
        file: how.file,
        plain: opened.plain.as_ref(),
        header: reader.columns().header.as_slice(),
        lines: &lines,
    };
    // What could be read can be read again.
    picking.pick(&mut Nowhere).expect("the rows that were just there");
    Ok(())
}

/// Parts of a workbook that are in order, around a sheet that need not be.
const XLSX: [(&str, &str); 4] = [
    (
        "[Content_Types].xml",
        r#"<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>"#,
    ),
    (
        "_rels/.rels",
        r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#,
    ),
    (
        "xl/workbook.xml",
        r#"<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="One" sheetId="1" r:id="r1"/></sheets></workbook>"#,
    ),
    (
        "xl/_rels/workbook.xml.rels",
        r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#,
    ),
];

const ODS: [(&str, &str); 2] =
    [("mimetype", "application/vnd.oasis.opendocument.spreadsheet"), ("META-INF/manifest.xml", "<manifest/>")];

/// Reads a workbook whose sheet this is; the first byte says of which format.
pub fn read_sheet(payload: &[u8]) {
    let Some((kind, sheet)) = payload.split_first() else { return };
    let (parts, name) = if kind % 2 == 0 { (&XLSX[..], "xl/worksheets/sheet1.xml") } else { (&ODS[..], "content.xml") };
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let parts = parts.iter().map(|(name, text)| (*name, text.as_bytes())).chain([(name, sheet)]);
    for (name, bytes) in parts {
        archive.start_file(name, stored).expect("room for a part");
        archive.write_all(bytes).expect("room for a part");
    }
    read(&archive.finish().expect("an archive").into_inner(), None);
}
