//! The roster as a file: CSV, workbook, lines of JSON; and long answers in one document.

use crate::support::{Place, text};
use calamine::{Data, Reader, Xlsx, open_workbook};

const PEOPLE: &str = "Employee ID,First Name,Last Name,Start Date,Date of Birth\n\
    007,=1+1,@cmd,2024-01-08,1900-03-01\n\
    +8,-2,\"Lee, Ann\",,\n\
    0009,\"=HYPERLINK(\"\"http://x.example\"\",\"\"y\"\")\",Ray,2023-02-28,1990-05-01\n";

fn acme() -> Place {
    let place = Place::new();
    place.file("people.csv", PEOPLE);
    place.expect(0, "org create acme --name Acme");
    place.expect(0, "org set acme guard.first_import=off policy.upload=apply");
    place.expect(0, "sync people.csv --org acme --mode full");
    place
}

#[test]
fn a_workbook_holds_texts_and_dates_and_no_formula() {
    let place = acme();
    let said = place.json(0, "members export --org acme --output people.xlsx");
    assert_eq!((&said["format"], &said["members"]), (&"xlsx".into(), &3.into()));
    let mut book: Xlsx<_> = open_workbook(place.path().join("people.xlsx")).expect("a workbook");
    assert!(book.worksheet_formula("Members").expect("a sheet").cells().all(|(_, _, f)| f.is_empty()));
    let sheet = book.worksheet_range("Members").expect("a sheet");
    let rows: Vec<&[Data]> = sheet.rows().collect();
    let texts = |row: &[Data]| row.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(rows[0]), ["employee_id", "first_name", "last_name", "date_of_birth", "start_date"]);
    assert_eq!(rows[1][0], Data::String("007".into()), "an id keeps its zeros");
    assert_eq!((&rows[1][1], &rows[1][2]), (&Data::String("=1+1".into()), &Data::String("@cmd".into())));
    assert_eq!((&rows[2][0], &rows[2][1]), (&Data::String("+8".into()), &Data::String("-2".into())));
    assert_eq!(rows[3][1], Data::String("=HYPERLINK(\"http://x.example\",\"y\")".into()));
    assert!(matches!(&rows[1][3], Data::DateTime(day) if day.as_f64() == 61.0), "{:?}", rows[1][3]);
    let Data::DateTime(day) = &rows[3][4] else { panic!("{:?} is no date", rows[3][4]) };
    assert_eq!(day.as_f64(), 44985.0, "2023-02-28");
    assert_eq!(rows[2][4], Data::Empty);
}

#[test]
fn a_workbook_goes_to_a_pipe_and_never_to_a_terminal_or_document() {
    let place = acme();
    let piped = place.run("members export --org acme --format xlsx").stdout;
    assert_eq!(&piped[..2], b"PK");
    let error = place.json(2, "members export --org acme --format xlsx");
    assert!(error["error"]["message"].as_str().is_some_and(|m| m.contains("--output")), "{error}");
}

#[test]
fn a_file_is_whole_or_not_there() {
    let place = acme();
    place.expect(0, "members export --org acme --output people.out");
    let written = std::fs::read_to_string(place.path().join("people.out")).expect("a file");
    assert_eq!(written, text(&place.run("members export --org acme --format csv").stdout));
    let error = place.expect(1, "members export --org acme --output no/such/people.csv");
    assert!(error.starts_with("muster: The file no/such/people.csv.partial cannot be written"), "{error}");
    place.expect(0, "members export --org acme -o people.ndjson");
    let lines = std::fs::read_to_string(place.path().join("people.ndjson")).expect("a file");
    assert_eq!(lines.lines().count(), 3);
    assert!(!place.path().join("people.out.partial").exists());
}

#[test]
fn in_csv_what_looks_like_a_formula_has_an_apostrophe_unless_it_is_raw() {
    let place = acme();
    let csv = text(&place.run("members export --org acme").stdout);
    assert!(csv.contains("007,'=1+1,'@cmd,") && csv.contains("+8,-2,\"Lee, Ann\""), "{csv}");
    let raw = text(&place.run("members export --org acme --raw").stdout);
    assert!(raw.contains("007,=1+1,@cmd,"), "{raw}");
}

#[test]
fn lists_are_one_document_in_whatever_part() {
    let place = acme();
    let all = place.json(0, "members list --org acme");
    assert_eq!((all["members"].as_array().map(Vec::len), &all["total"]), (Some(3), &3.into()));
    let part = place.json(0, "members list --org acme --offset 1 --limit 1");
    assert_eq!((&part["members"][0]["key"], &part["total"]), (&"+8".into(), &3.into()));
    assert_eq!(place.json(0, "members list --org acme --offset 9")["members"], serde_json::json!([]));
    let text = place.expect(0, "members list --org acme --limit 2");
    assert!(text.ends_with("1 to 2 of 3; --offset 2 shows the next.\n"), "{text}");
    let set = place.json(0, "changes list --org acme")["change_sets"][0]["change_set_id"].clone();
    let shown = place.json(0, &format!("changes show {} --org acme --limit 2", set.as_str().expect("an id")));
    assert_eq!((shown["changes"].as_array().map(Vec::len), &shown["shown"]), (Some(2), &2.into()));
    assert_eq!((&shown["matching"], &shown["kinds"]["add"]), (&3.into(), &3.into()));
}

#[test]
fn somebody_unknown_is_not_eligible_and_that_is_an_answer() {
    let place = acme();
    for when in ["", " --on 2020-01-01", " --at 2020-01-01T00:00:00Z"] {
        let answer = place.json(0, &format!("eligibility nobody --org acme{when}"));
        assert_eq!((&answer["eligible"], &answer["reason"]), (&false.into(), &"never_listed".into()), "{when}");
        assert_eq!((&answer["member"], &answer["since"]), (&().into(), &().into()));
    }
    assert_eq!(place.json(0, "eligibility 007 --org acme")["eligible"], true);
}

#[test]
fn a_log_that_breaks_off_is_one_document_too_and_says_why() {
    let place = acme();
    // A restored database is all in one file.
    let there = "--data-dir other --database sqlite:other/m.db";
    place.expect(0, "backup all.muster");
    place.expect(0, &format!("restore all.muster {there}"));
    let file = place.path().join("other/m.db");
    let mut database = std::fs::read(&file).expect("the database");
    let damaged = b"\"change_set.computed\"";
    let found: Vec<usize> =
        (0..database.len() - damaged.len()).filter(|at| database[*at..].starts_with(damaged)).collect();
    assert!(!found.is_empty());
    found.iter().for_each(|at| database[*at] = b'x');
    std::fs::write(&file, database).expect("damaged");
    let said = place.json(1, &format!("events export --org acme {there}"));
    assert!(said["events"].is_array());
    assert!(said["error"]["message"].as_str().expect("a sentence").ends_with('.'), "{said}");
    assert!(said.get("cursor").is_none());
}
