//! The way from a payload to its last row, or what the parser needs by itself for the same file, as one whole process:
//! `cargo run --release -p muster-intake --example format_speed -- muster|parser FILE.xlsx|FILE.json`. Prints the rows.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    env,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use calamine::{Reader as _, Xlsx};
use muster_domain::{
    field::{FieldId, Fields},
    settings::Limits,
};
use muster_intake::{How, headers::known, payload::open};
use serde::{
    Deserialize, Deserializer as _,
    de::{SeqAccess, Visitor},
};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [who, path] = arguments.as_slice() else { panic!("format_speed muster|parser FILE") };
    let rows = match who.as_str() {
        "muster" => ours(Path::new(path)),
        _ if path.ends_with(".xlsx") => cells(path),
        _ => objects(path),
    };
    println!("{rows}");
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

/// Every cell of the first sheet, as `calamine` streams them; the rows without the header.
fn cells(path: &str) -> u64 {
    let mut book: Xlsx<_> = Xlsx::new(BufReader::new(File::open(path).expect("the payload"))).expect("a workbook");
    let sheet = book.sheet_names()[0].clone();
    let mut reader = book.worksheet_cells_reader(&sheet).expect("a sheet");
    let mut last = 0;
    while let Some(cell) = reader.next_cell().expect("cells") {
        last = cell.get_position().0;
    }
    last.into()
}

/// A row with borrowed fields; what cannot be borrowed, because it is escaped, is owned.
#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed and dropped")]
struct Person<'a> {
    #[serde(borrow)]
    employee_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    first_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    last_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    date_of_birth: Option<Cow<'a, str>>,
    #[serde(borrow)]
    department: Option<Cow<'a, str>>,
    #[serde(borrow)]
    job_title: Option<Cow<'a, str>>,
    #[serde(borrow)]
    location: Option<Cow<'a, str>>,
    #[serde(borrow)]
    employment_status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    start_date: Option<Cow<'a, str>>,
    #[serde(borrow)]
    end_date: Option<Cow<'a, str>>,
    #[serde(borrow)]
    manager_id: Option<Cow<'a, str>>,
}

/// Every object of a list, parsed into borrowed members, one after the other and never all at once.
fn objects(path: &str) -> u64 {
    struct Each;
    impl<'de> Visitor<'de> for Each {
        type Value = u64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of people")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<u64, A::Error> {
            let mut rows = 0;
            while list.next_element::<Person<'de>>()?.is_some() {
                rows += 1;
            }
            Ok(rows)
        }
    }
    let mut text = Vec::new();
    File::open(path).and_then(|mut f| f.read_to_end(&mut text)).expect("the payload");
    serde_json::Deserializer::from_slice(&text).deserialize_seq(Each).expect("a list of people")
}
