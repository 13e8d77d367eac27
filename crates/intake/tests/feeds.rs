//! Each feed under `fixtures/feeds/csv` gives the rows, issues and refusals written down beside it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
};

use muster_domain::{
    field::{FieldId, Fields},
    normalise::DateOrder,
    settings::Limits,
};
use muster_intake::{
    IntakeError, Reader, Row, RowProblem,
    csv::{CellBuffer, Raw},
    headers::{known, resolve},
    payload::{How, open},
};

/// A feed's settings.
struct Settings {
    file: &'static str,
    match_key: FieldId,
    dates: DateOrder,
    prefix: &'static str,
    sheet: Option<&'static str>,
    map: &'static [(&'static str, &'static str)],
}

const PLAIN: Settings =
    Settings { file: "", match_key: FieldId::EMPLOYEE_ID, dates: DateOrder::Iso, prefix: "", sheet: None, map: &[] };

const FEEDS: &[Settings] = &[
    Settings { file: "csv/workday.csv", ..PLAIN },
    Settings { file: "csv/bamboo.csv", map: &[("subcompany", "")], ..PLAIN },
    Settings { file: "csv/adp.csv", dates: DateOrder::MonthFirst, ..PLAIN },
    Settings {
        file: "csv/sap.csv",
        dates: DateOrder::DayFirst,
        prefix: "DE-",
        map: &[("employee_id", "Pers.No.")],
        ..PLAIN
    },
    Settings { file: "csv/line_breaks.csv", ..PLAIN },
    Settings { file: "csv/people.tsv", match_key: FieldId::EMAIL, ..PLAIN },
    Settings { file: "csv/excel_sep.csv", ..PLAIN },
    Settings { file: "csv/damaged_utf8.csv", ..PLAIN },
    Settings { file: "csv/windows_1252.csv", ..PLAIN },
    Settings { file: "csv/utf16.csv", ..PLAIN },
    Settings { file: "csv/header_only.csv", ..PLAIN },
];

/// Folders of which every feed is read; those without settings of their own are read as they come.
const FOLDERS: [&str; 5] = ["csv", "json", "workbooks", "packed", "hr"];

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/feeds"))
}

/// Every feed, with its settings.
fn feeds() -> Vec<(String, &'static Settings)> {
    let mut feeds = Vec::new();
    for place in FOLDERS {
        for entry in fs::read_dir(folder().join(place)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !name.ends_with(".expected.txt") && !name.ends_with(".md") {
                let file = format!("{place}/{name}");
                let own = FEEDS.iter().find(|f| f.file == file).unwrap_or(&PLAIN);
                feeds.push((file, own));
            }
        }
    }
    feeds.sort_by(|a, b| a.0.cmp(&b.0));
    feeds
}

#[test]
fn every_feed_gives_what_is_written_beside_it() {
    let mut wrong = Vec::new();
    for (file, settings) in feeds() {
        let mut given = String::new();
        if let Err(error) = describe(&folder().join(&file), settings, &mut given) {
            writeln!(given, "refused: {error}").unwrap();
        }
        let beside = folder().join(format!("{file}.expected.txt"));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&beside, &given).unwrap();
        }
        if fs::read_to_string(&beside).unwrap_or_default() != given {
            wrong.push(format!("{file}:\n{given}"));
        }
    }
    assert!(wrong.is_empty(), "not what is written beside it:\n{}", wrong.join("\n"));
}

#[test]
fn every_feed_with_settings_is_there() {
    for settings in FEEDS {
        assert!(folder().join(settings.file).is_file(), "{}", settings.file);
    }
}

fn describe(file: &Path, settings: &Settings, out: &mut String) -> Result<(), IntakeError> {
    let fields = Fields::default();
    let map: BTreeMap<String, String> = settings.map.iter().map(|(f, c)| ((*f).into(), (*c).into())).collect();
    let scratch = std::env::temp_dir();
    let how = How {
        format: None,
        sheet: settings.sheet,
        limits: Limits::default(),
        knows: &|header| known(header, &fields, settings.match_key, &map),
        file,
        scratch: &scratch,
        older_text: false,
    };
    let mut opened = open(File::open(file).unwrap(), &how)?;
    let columns = resolve(&opened.header, &fields, settings.match_key, &map)?;
    let delimiter = opened.delimiter;
    writeln!(out, "{}, delimiter {:?}, ignored {:?}", opened.written, delimiter as char, columns.ignored).unwrap();
    opened.read_as.iter().for_each(|note| writeln!(out, "{note}").unwrap());
    opened.unfinished.iter().for_each(|why| writeln!(out, "not whole: it {why}").unwrap());
    let reader = Reader::new(columns, &fields, settings.prefix, settings.dates).marked(opened.marked);
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
