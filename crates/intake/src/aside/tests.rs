use std::collections::BTreeMap;

use muster_domain::field::{FieldId, Fields};

use super::*;
use crate::{csv::CellBuffer, headers::resolve};

fn columns() -> Columns {
    let header = ["Employee ID", "Last Name", "Email", "Start Date", "Pay"].map(str::to_owned);
    resolve(&header, &Fields::default(), FieldId::EMPLOYEE_ID, &BTreeMap::new()).unwrap()
}

fn usual(records: &[&str]) -> Usual {
    Usual::of(records.iter().map(|r| r.as_bytes()), b',', &columns())
}

fn below(people: &[&str], record: &str) -> Option<Aside> {
    let mut buffer = CellBuffer::default();
    aside(&buffer.split(record.as_bytes(), b',').unwrap(), &columns(), usual(people))
}

fn of(record: &str) -> Option<Aside> {
    below(&[], record)
}

const PEOPLE: [&str; 3] = ["E1,Lee,l@x.example,,", "E2,Ray,,,5", "E3,Poe,,,"];

#[test]
fn totals_and_remarks_are_no_person() {
    for total in [
        "Total,,,,1200", "Total: 3", "GRAND TOTAL,,,,", "Report generated 2026-03-01", "Summe:,,,,5", ",Total,,,9",
        "Total,6,,,", ",,Total:,6,", "Total,\"1,200\",,,", "End of report,,,,", "Page 1 of 1,,,,", "Seite 2,,,,",
        "(40 rows affected)", "(2 rows)", "2 records", "40 rows selected.", "Rows: 6", "Employees: 40,,,,",
        "Exported from HR,,,,",
    ] {
        assert_eq!(of(total), Some(Aside::Total), "{total}");
    }
    assert_eq!(of(",,,,\n"), None);
}

#[test]
fn people_are_people_whatever_they_are_called() {
    for person in [
        "1001,Total,t@x.example,2020-01-01,5",
        "Sum,Sum,sum@x.example,,",
        "Totals1,,,,",
        "Countess,Lee,,,",
        "1,,,,",
        "Total,,,2020-01-01,",
        "Total,,,20200101,",
        "Total,,,1.4.2020,",
        "Page,Page,,,",
        "Page 1,Page,,,",
        "2 records,Lee,,,",
        "E1,---,,,",
        "Sales,Lee,,,",
    ] {
        assert_eq!(below(&PEOPLE, person).filter(|a| !matches!(a, Aside::Count(_))), None, "{person}");
    }
}

#[test]
fn a_line_of_dashes_is_no_person() {
    for line in ["-----------,----------,-----,----,--", "---,-,-,-,-", "--,---,,,", "-----+------+----"] {
        assert_eq!(of(line), Some(Aside::Line), "{line}");
    }
    for person in ["-,-,-,-,-", "---,Lee,,,", "****,****,****,,"] {
        assert_eq!(of(person), None, "{person}");
    }
}

#[test]
fn a_word_alone_is_a_heading_where_match_keys_have_digits() {
    assert_eq!(below(&PEOPLE, "Sales,,,,"), Some(Aside::Heading));
    assert_eq!(below(&["Sales,,,,", PEOPLE[0], PEOPLE[1]], "Research & Development,,,,"), Some(Aside::Heading));
    // Where keys are names, where there is one person only or somebody of whom only the key is said, and with a digit in it.
    assert_eq!(below(&["lee,Lee,,,", "ray,Ray,,,"], "Sales,,,,"), None);
    assert_eq!(below(&PEOPLE[..1], "Sales,,,,"), None);
    assert_eq!(below(&["E1,,,,", "E2,,,,", PEOPLE[0], PEOPLE[1]], "Sales,,,,"), None);
    assert_eq!(below(&PEOPLE, "E4,,,,"), None);
    // Neither a row that was cut, nor an object that says no more than the key.
    assert_eq!(below(&PEOPLE, "Sales"), None);
    assert_eq!(below(&PEOPLE, "Sales,\u{1},\u{1},\u{1},\u{1}"), None);
}

#[test]
fn a_number_alone_may_be_the_number_of_rows() {
    assert_eq!(below(&PEOPLE, "3,,,,"), Some(Aside::Count(3)));
    assert_eq!(below(&PEOPLE, ",,,,3"), Some(Aside::Count(3)));
    for person in ["3", "003,,,,", "3,Lee,,,", "3,\u{1}"] {
        assert_eq!(below(&PEOPLE, person), None, "{person}");
    }
    assert_eq!(below(&["1,,,,", "2,,,,", PEOPLE[0], PEOPLE[1]], "3,,,,"), None);
}

#[test]
fn the_header_again_is_known() {
    assert_eq!(of("employee id,LAST NAME, Email ,Start Date,Pay"), Some(Aside::Header));
    assert_eq!(of("Employee ID,Lee,a@x.example,2020-01-01,5"), None);
}
