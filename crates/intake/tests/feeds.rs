//! Each feed under `fixtures/feeds/csv` gives the rows, issues and refusals written down beside it.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use muster_domain::{
    field::{FieldId, Fields},
    normalise::DateOrder,
};
use muster_intake::{
    IntakeError, Reader, Row, RowProblem,
    csv::{CellBuffer, Raw, open},
    headers::resolve,
};

/// A feed's settings.
struct Settings {
    file: &'static str,
    match_key: FieldId,
    dates: DateOrder,
    prefix: &'static str,
    map: &'static [(&'static str, &'static str)],
}

const PLAIN: Settings =
    Settings { file: "", match_key: FieldId::EMPLOYEE_ID, dates: DateOrder::Iso, prefix: "", map: &[] };

const FEEDS: &[Settings] = &[
    Settings { file: "workday.csv", ..PLAIN },
    Settings { file: "bamboo.csv", map: &[("subcompany", "")], ..PLAIN },
    Settings { file: "adp.csv", dates: DateOrder::MonthFirst, ..PLAIN },
    Settings {
        file: "sap.csv",
        dates: DateOrder::DayFirst,
        prefix: "DE-",
        map: &[("employee_id", "Pers.No.")],
        ..PLAIN
    },
    Settings { file: "line_breaks.csv", ..PLAIN },
    Settings { file: "people.tsv", match_key: FieldId::EMAIL, ..PLAIN },
    Settings { file: "excel_sep.csv", ..PLAIN },
    Settings { file: "damaged_utf8.csv", ..PLAIN },
    Settings { file: "windows_1252.csv", ..PLAIN },
    Settings { file: "utf16.csv", ..PLAIN },
    Settings { file: "header_only.csv", ..PLAIN },
];

#[test]
fn every_feed_gives_what_is_written_beside_it() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/feeds/csv"));
    let mut wrong = Vec::new();
    for settings in FEEDS {
        let payload = fs::read(folder.join(settings.file)).unwrap();
        let mut given = String::new();
        if let Err(error) = describe(&payload, settings, &mut given) {
            writeln!(given, "refused: {error}").unwrap();
        }
        let beside = folder.join(format!("{}.expected.txt", settings.file));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&beside, &given).unwrap();
        }
        if fs::read_to_string(&beside).unwrap_or_default() != given {
            wrong.push(format!("{}:\n{given}", settings.file));
        }
    }
    assert!(wrong.is_empty(), "not what is written beside it:\n{}", wrong.join("\n"));
}

#[test]
fn every_fixture_is_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/feeds/csv");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_feed = name.ends_with(".csv") || name.ends_with(".tsv");
        assert!(!is_feed || FEEDS.iter().any(|f| f.file == name), "{name} is in no test");
    }
}

fn describe(payload: &[u8], settings: &Settings, out: &mut String) -> Result<(), IntakeError> {
    let fields = Fields::default();
    let map: BTreeMap<String, String> = settings.map.iter().map(|(f, c)| ((*f).into(), (*c).into())).collect();
    let mut opened = open(payload, None)?;
    let columns = resolve(&opened.header, &fields, settings.match_key, &map)?;
    let delimiter = opened.dialect.delimiter;
    writeln!(out, "delimiter {:?}, ignored {:?}", delimiter as char, columns.ignored).unwrap();
    let reader = Reader::new(columns, &fields, settings.prefix, settings.dates);
    let (mut cells, mut row) = (CellBuffer::default(), Row::default());
    while let Some(raw) = opened.records.next()? {
        match read(&reader, raw, delimiter, &mut cells, &mut row) {
            Ok(()) => describe_row(&row, &fields, out),
            Err(problem) => {
                let issue = problem.issue(raw.line, reader.columns());
                writeln!(out, "line {}: unreadable {:?} {:?}: {}", issue.line, issue.column, issue.value, issue.reason)
                    .unwrap();
            }
        }
    }
    writeln!(out, "{:?}", opened.records.ending()).unwrap();
    Ok(())
}

fn read(reader: &Reader, raw: Raw<'_>, delimiter: u8, cells: &mut CellBuffer, row: &mut Row) -> Result<(), RowProblem> {
    reader.read(&cells.split(raw.bytes, delimiter)?, raw.line, row)
}

fn describe_row(row: &Row, fields: &Fields, out: &mut String) {
    writeln!(out, "line {}: key {:?}", row.line, row.key).unwrap();
    for (field, value) in row.values.iter() {
        let raw = row.raw.get(field).map_or(String::new(), |raw| format!(" from {raw:?}"));
        writeln!(out, "    {} {value:?}{raw}", fields.name(field)).unwrap();
    }
    let empty: Vec<&str> = row.empty.iter().map(|f| fields.name(f)).collect();
    writeln!(out, "    empty: {}", empty.join(", ")).unwrap();
    let null: Vec<&str> = row.null.iter().map(|f| fields.name(f)).collect();
    if !null.is_empty() {
        writeln!(out, "    null: {}", null.join(", ")).unwrap();
    }
    for issue in &row.issues {
        let decides = if issue.decides { " (decides)" } else { "" };
        writeln!(out, "    issue{decides} {:?} {:?}: {}", issue.column, issue.value, issue.reason).unwrap();
    }
}
