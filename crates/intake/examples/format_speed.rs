//! Times the way from a payload to its last row beside what the parsers need by themselves:
//! `cargo run --release -p muster-intake --example format_speed people.xlsx people.json`

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    io::{BufReader, Read},
    path::Path,
    time::Instant,
};

use calamine::{Reader as _, Xlsx};
use muster_domain::{
    field::{FieldId, Fields},
    settings::Limits,
};
use muster_intake::{How, headers::known, payload::open};

fn main() {
    for path in env::args().skip(1) {
        let (ours, rows) = timed(|| ours(Path::new(&path)));
        let (theirs, _) = timed(|| if path.ends_with(".xlsx") { cells(&path) } else { objects(&path) });
        println!(
            "{path}: {rows} rows, {ours} ms; the parser by itself {theirs} ms; {:.2} times",
            ours as f64 / theirs as f64
        );
    }
}

fn timed(work: impl FnOnce() -> u64) -> (u128, u64) {
    let start = Instant::now();
    let rows = work();
    (start.elapsed().as_millis().max(1), rows)
}

fn ours(path: &Path) -> u64 {
    let fields = Fields::default();
    let how = How {
        format: None,
        sheet: None,
        limits: Limits::default(),
        knows: &|header| known(header, &fields, FieldId::EMPLOYEE_ID, &BTreeMap::new()),
        file: path,
        scratch: &env::temp_dir(),
        older_text: false,
    };
    let mut opened = open(File::open(path).expect("the payload"), &how).expect("a payload that can be read");
    let mut rows = 0;
    while opened.records.next().expect("records").is_some() {
        rows += 1;
    }
    rows
}

/// Every cell of the first sheet, as `calamine` streams them.
fn cells(path: &str) -> u64 {
    let mut book: Xlsx<_> = Xlsx::new(BufReader::new(File::open(path).expect("the payload"))).expect("a workbook");
    let sheet = book.sheet_names()[0].clone();
    let mut reader = book.worksheet_cells_reader(&sheet).expect("a sheet");
    let mut cells = 0;
    while reader.next_cell().expect("cells").is_some() {
        cells += 1;
    }
    cells
}

/// Every object of a list, parsed into borrowed members, one after the other.
fn objects(path: &str) -> u64 {
    let mut text = String::new();
    File::open(path).and_then(|mut f| f.read_to_string(&mut text)).expect("the payload");
    let list: Vec<&serde_json::value::RawValue> = serde_json::from_str(&text).expect("a list");
    let objects = list.iter().map(|o| serde_json::from_str::<BTreeMap<&str, &serde_json::value::RawValue>>(o.get()));
    objects.filter(Result::is_ok).count() as u64
}
