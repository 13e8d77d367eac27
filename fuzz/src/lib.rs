//! Reads a payload to its end, as the engine does: whatever is in it, that gives rows with issues or one sentence.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fs,
    io::Cursor,
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
    Format, How, IntakeError, Reader, Row,
    csv::CellBuffer,
    headers::{known, resolve},
    payload::open,
};

thread_local! {
    static SCRATCH: OnceCell<(tempfile::TempDir, PathBuf)> = const { OnceCell::new() };
}

static QUIET: Once = Once::new();

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
    while let Some(raw) = opened.records.next()? {
        if let Ok(cells) = cells.split(raw.bytes, opened.delimiter) {
            muster_intake::aside::aside(&cells, reader.columns());
            let _ = reader.read(&cells, raw.line, &mut row);
        }
    }
    Ok(())
}
