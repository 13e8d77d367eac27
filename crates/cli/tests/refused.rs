//! Row issues as a file, and refused rows in the shape they came in, to be corrected and sent again.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use calamine::{Data, Reader, Xlsx, open_workbook};

use crate::support::Place;

const FAULTY: &str = "Employee ID;Last Name;Email;Start Date\r\n1;Lee;a@x.example;2024-01-08\r\n\
    2;\"Roe; Bo\";nobody;2024-01-08\r\n;Nameless;c@x.example;2024-01-08\r\n4;Björn;=cmd|' /C calc'!A0;31.31.2024\r\n";

fn acme() -> Place {
    let place = Place::new();
    place.expect(0, "org create acme --name Acme");
    place.expect(0, "org set acme guard.first_import=off policy.upload=apply invalid_rows=skip");
    place
}

fn read(place: &Place, name: &str) -> String {
    fs::read_to_string(place.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/feeds").join(name).display().to_string()
}

#[test]
fn every_issue_is_written_with_what_to_do() {
    let place = acme();
    place.file("people.csv", FAULTY);
    let said = place.expect(0, "sync people.csv --org acme --mode partial --issues issues.csv");
    assert!(said.contains("Wrote 4 issues to issues.csv."), "{said}");
    let issues = read(&place, "issues.csv");
    let lines: Vec<&str> = issues.lines().collect();
    assert_eq!(lines[0], "line,column,value,reason,what_to_do");
    assert_eq!(
        lines[1],
        "3,Email,nobody,Expected one e-mail address such as ann@example.com,correct it at the source."
    );
    assert!(lines[2].starts_with("4,Employee ID,,\"The match key is blank, so the row names nobody\",fill it in"));
    assert!(issues.contains(",'=cmd|' /C calc'!A0,"), "a spreadsheet runs nothing: {issues}");
    let mode = fs::metadata(place.path().join("issues.csv")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds personal data");
    let rows: String = (0..300).map(|i| format!("{i},x\n")).collect();
    place.file("many.csv", &format!("Employee ID,Email\n{rows}900,z@x.example\n"));
    let report = place.json(0, "sync many.csv --org acme --mode partial --issues issues.csv");
    assert_eq!((&report["issues_file"]["issues"], report["issues"].as_array().map(Vec::len)), (&300.into(), Some(100)));
    assert_eq!(read(&place, "issues.csv").lines().count(), 301);
    place.file("umlaut.csv", "Employee ID,Email\n1,Bjö\n");
    place.expect(4, "sync umlaut.csv --org acme --mode partial --issues issues.csv");
    assert!(read(&place, "issues.csv").starts_with("\u{feff}line,"), "spreadsheets need the mark for other letters");
    place.file("good.csv", "Employee ID,Last Name\n1,Lee\n");
    place.expect(0, "sync good.csv --org acme --mode partial --issues issues.csv");
    assert_eq!(read(&place, "issues.csv"), "line,column,value,reason,what_to_do\r\n", "no stale issues stay");
}

#[test]
fn refused_rows_are_corrected_and_sent_again() {
    let place = acme();
    place.file("people.csv", FAULTY);
    let said = place.expect(0, "sync people.csv --org acme --mode partial --refused again.csv");
    assert!(said.contains("Wrote 3 rows to again.csv, as they came"), "{said}");
    assert!(
        said.contains("muster sync again.csv --org acme --mode partial") || said.contains("sync again.csv"),
        "{said}"
    );
    let rows = read(&place, "again.csv");
    let kept: Vec<&str> = FAULTY.split_inclusive("\r\n").enumerate().filter(|(i, _)| *i != 1).map(|(_, l)| l).collect();
    assert_eq!(rows, kept.concat(), "byte for byte");
    let corrected = rows.replace(";nobody;", ";bo@x.example;").replace("\n;Name", "\n3;Name");
    place.file("again.csv", &corrected.replace("=cmd|' /C calc'!A0;31.31.2024", "bjorn@x.example;2024-02-01"));
    let report = place.json(0, "sync again.csv --org acme --mode partial --refused rest.csv");
    assert_eq!((&report["state"], &report["counts"]["invalid"]), (&"applied".into(), &0.into()), "{report}");
    assert_eq!((&report["counts"]["added"], &report["counts"]["updated"]), (&3.into(), &0.into()), "{report}");
    assert_eq!(report["refused_file"]["rows"], 0);
    assert_eq!(place.json(0, "members show 2 --org acme")["fields"]["email"], "bo@x.example");
    place.expect(0, "verify --org acme");
}

#[test]
fn rows_keep_the_encoding_and_the_format_they_came_in() {
    let place = acme();
    let wide: Vec<u8> = format!("\u{feff}{FAULTY}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(place.path().join("wide.csv"), &wide).expect("a file");
    place.expect(0, "sync wide.csv --org acme --mode partial --refused again.csv");
    let again = fs::read(place.path().join("again.csv")).expect("a file");
    assert!(again.starts_with(b"\xFF\xFEE\0m\0") && again.len() < wide.len());
    let report = place.json(4, "sync again.csv --org acme --mode partial --refused rest.csv");
    assert_eq!(report["refused_file"]["rows"], 3, "{report}");
    place.file("people.ndjson", "{\"employee_id\":\"8\",\"email\": \"no\"}\n{\"employee_id\":\"9\"}\n{broken\n");
    place.expect(0, "sync people.ndjson --org acme --mode partial --refused again.ndjson");
    assert_eq!(read(&place, "again.ndjson"), "{\"employee_id\":\"8\",\"email\": \"no\"}\n{broken\n");
    place.file("people.json", "{\"mode\":\"partial\",\"rows\":[{\"employee_id\":\"5\"},{\"email\":\"y@x.example\"}]}");
    place.expect(0, "sync people.json --org acme --mode partial --refused again.json");
    place.file("again.json", &read(&place, "again.json").replace("{\"email\"", "{\"employee_id\":\"6\",\"email\""));
    assert_eq!(place.json(0, "sync again.json --org acme --mode partial")["counts"]["added"], 1);
}

#[test]
fn rows_of_a_workbook_come_as_a_workbook_of_text_or_as_csv() {
    let place = acme();
    place.expect(0, "org set acme match_key=email");
    let book = fixture("workbooks/several-sheets.xlsx");
    place.expect(4, &format!("sync {book} --org acme --mode partial --map email=department --refused again.xlsx"));
    let mut again: Xlsx<_> = open_workbook(place.path().join("again.xlsx")).expect("a workbook");
    let sheet = again.worksheet_range("Refused").expect("a sheet");
    assert!(sheet.rows().count() >= 2);
    assert!(sheet.rows().flatten().all(|c| matches!(c, Data::String(_) | Data::Empty)), "ids stay text");
    place.expect(4, &format!("sync {book} --org acme --mode partial --map email=department --refused again.csv"));
    for again in ["again.xlsx", "again.csv"] {
        let report = place.json(0, &format!("sync {again} --org acme --mode partial"));
        assert_eq!(report["counts"]["invalid"], 0, "{report}");
        assert_eq!(report["counts"]["rows"], sheet.rows().count() as u64 - 1, "{report}");
    }
}

#[test]
fn a_dry_run_and_a_payload_seen_before_tell_the_same() {
    let place = acme();
    place.file("people.csv", FAULTY);
    place.expect(0, "sync people.csv --org acme --mode partial --dry-run --issues dry.csv --refused dry-again.csv");
    place.expect(0, "sync people.csv --org acme --mode partial --issues first.csv --refused again.csv");
    let report = place.json(0, "sync people.csv --org acme --mode partial --issues second.csv");
    assert_eq!((&report["state"], &report["issues_file"]["issues"]), (&"no_changes".into(), &4.into()));
    assert_eq!(read(&place, "dry.csv"), read(&place, "first.csv"));
    assert_eq!(read(&place, "second.csv"), read(&place, "first.csv"));
    assert_eq!(read(&place, "dry-again.csv"), read(&place, "again.csv"));
    place.file("held.csv", &FAULTY.replace(";Lee;", ";Li;"));
    place.expect(3, "sync held.csv --org acme --mode partial --hold --issues held-first.csv");
    place.expect(3, "sync held.csv --org acme --mode partial --hold --issues held-second.csv");
    assert_eq!(read(&place, "held-second.csv"), read(&place, "held-first.csv"));
    place.expect(0, "verify --org acme");
}

#[test]
fn a_payload_refused_as_a_whole_has_one_issue_and_no_rows() {
    let place = acme();
    place.file("people.csv", "Shoe size,Name\n43,Ann\n");
    let said = place.expect(4, "sync people.csv --org acme --mode full --issues issues.csv --refused again.csv");
    assert!(said.contains("again.csv was not written"), "{said}");
    let issues = read(&place, "issues.csv");
    assert!(issues.contains("\r\n,,,\"No column holds the match key"), "{issues}");
    assert!(!place.path().join("again.csv").exists());
    place.expect(0, "org set acme invalid_rows=refuse");
    place.file("people.csv", FAULTY);
    let refused = place.json(4, "sync people.csv --org acme --mode full --issues issues.csv --refused again.csv");
    assert_eq!((&refused["issues_file"]["issues"], &refused["refused_file"]["rows"]), (&4.into(), &3.into()));
}

#[test]
fn a_list_of_leavers_is_sent_again_as_one() {
    let place = acme();
    place.file("leavers.csv", "Employee ID,End Date\n1,2024-99-99\n2,\n");
    let said = place.expect(0, "sync leavers.csv --org acme --mode leavers --refused again.csv");
    assert!(said.contains("sync again.csv --org acme --mode leavers"), "{said}");
}

#[test]
fn a_file_that_cannot_be_written_is_said_before_anything_is_done() {
    let place = acme();
    place.file("people.csv", FAULTY);
    for (files, code, why) in [
        ("--issues no/such.csv", 1, "The file no/such.csv cannot be written"),
        ("--refused people.csv", 2, "The file people.csv is named twice"),
        ("--issues a.csv --refused ./a.csv", 2, "named twice"),
        ("--issues .", 2, "is no file"),
        ("--refused /dev/null", 2, "is no file"),
    ] {
        let error = place.json(code, &format!("sync people.csv --org acme --mode full {files}"));
        assert!(error["error"]["message"].as_str().is_some_and(|m| m.contains(why)), "{files}: {error}");
    }
    assert_eq!(read(&place, "people.csv"), FAULTY);
    assert_eq!(place.json(0, "feeds list --org acme")["feeds"][0]["last_payload"], serde_json::Value::Null);
    let left: Vec<_> = fs::read_dir(place.path()).expect("a directory").map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
