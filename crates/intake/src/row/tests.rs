//! Rows: what becomes a value, what an issue, and what makes the whole row unreadable.

use std::collections::BTreeMap;

use muster_domain::field::{CustomField, FIRST_CUSTOM};
use proptest::prelude::*;

use super::*;
use crate::headers::resolve;

const SHOE: FieldId = FieldId(FIRST_CUSTOM);

fn fields() -> Fields {
    Fields { custom: vec![CustomField { name: "shoe_size".into(), kind: FieldKind::Number }] }
}

fn reader(header: &str, match_key: FieldId, prefix: &str) -> Reader {
    let header: Vec<String> = header.split(',').map(str::to_owned).collect();
    let columns = resolve(&header, &fields(), match_key, &BTreeMap::new()).unwrap();
    Reader::new(columns, &fields(), prefix, DateOrder::Iso)
}

fn read_by(reader: &Reader, record: &str) -> Result<Row, RowProblem> {
    let mut row = Row::default();
    let mut buffer = CellBuffer::default();
    reader.read(&buffer.split(record.as_bytes(), b',')?, 7, &mut row)?;
    Ok(row)
}

fn read(record: &str) -> Result<Row, RowProblem> {
    read_by(&reader("last_name,Employee ID,Start Date,Shoe Size,Notes", FieldId::EMPLOYEE_ID, ""), record)
}

#[test]
fn a_row_has_canonical_values_and_keeps_the_raw_text_where_it_differs() {
    let row = read(" Díaz ,E-01,25/04/2021,42.50,x").unwrap();
    assert_eq!((row.line, row.key.as_str(), row.key_norm.as_str()), (7, "E-01", "e-01"));
    let values = [
        (FieldId::EMPLOYEE_ID, "E-01"),
        (FieldId::LAST_NAME, "Díaz"),
        (FieldId::START_DATE, "2021-04-25"),
        (SHOE, "42.5"),
    ];
    assert_eq!(row.values, values.into_iter().collect());
    assert_eq!(row.raw, [(FieldId::START_DATE, "25/04/2021"), (SHOE, "42.50")].into_iter().collect());
    assert!(row.issues.is_empty() && row.empty.is_empty());
}

#[test]
fn absent_and_empty_are_two_things() {
    let row = read("Díaz,1, \u{a0},,").unwrap();
    assert_eq!(row.empty, [FieldId::START_DATE, SHOE].into_iter().collect());
    assert!(row.mentions(FieldId::START_DATE) && row.mentions(FieldId::LAST_NAME) && !row.mentions(FieldId::EMAIL));
}

#[test]
fn an_end_date_of_never_says_that_there_is_none() {
    let reader = reader("Employee ID,Start Date,End Date", FieldId::EMPLOYEE_ID, "");
    for never in ["9999-12-31", "31.12.9999", "2958465"] {
        let row = read_by(&reader, &format!("1,2020-01-01,{never}")).unwrap();
        assert!(row.issues.is_empty() && row.values.get(FieldId::END_DATE).is_none(), "{never}");
        assert!(row.null.contains(FieldId::END_DATE) && !row.empty.contains(FieldId::END_DATE), "{never}");
    }
    // Nobody begins on that day.
    assert_eq!(read_by(&reader, "1,9999-12-31,").unwrap().issues[0].column, "Start Date");
}

#[test]
fn ids_that_a_spreadsheet_took_for_numbers_are_put_right_or_refused() {
    let reader = reader("Employee ID,Manager ID,Department", FieldId::EMPLOYEE_ID, "");
    let row = read_by(&reader, "1002.0,1001.0,2.0").unwrap();
    assert_eq!((row.key.as_str(), row.values.get(FieldId::MANAGER_ID)), ("1002", Some("1001")));
    assert_eq!(row.values.get(FieldId::DEPARTMENT), Some("2.0"));
    assert_eq!(row.raw.get(FieldId::MANAGER_ID), Some("1001.0"));
    let rounded = read_by(&reader, "1.23E+05,,").unwrap_err();
    assert!(matches!(rounded, RowProblem::BadKey { reason: Refusal::RoundedId, .. }));
    assert_eq!(read_by(&reader, "1,1.23E+05,#N/A").unwrap().issues.len(), 2);
}

#[test]
fn ids_that_were_kept_from_a_spreadsheet_are_what_they_were_and_words_for_none_are_nobody() {
    let reader = reader("Employee ID,Manager ID,Department", FieldId::EMPLOYEE_ID, "");
    for written in ["=\"00123\"", "\"=\"\"00123\"\"\"", "'00123", "00123"] {
        let row = read_by(&reader, &format!("{written},'007,'=1+1")).unwrap();
        let manager = row.values.get(FieldId::MANAGER_ID);
        assert_eq!(
            (row.key.as_str(), row.values.get(FieldId::EMPLOYEE_ID), manager),
            ("00123", Some("00123"), Some("007"))
        );
        assert_eq!(row.values.get(FieldId::DEPARTMENT), Some("=1+1"));
        let mut scratch = KeyScratch::default();
        reader.key(format!("{written},,").as_bytes(), b',', &mut scratch).unwrap();
        assert_eq!(scratch.key_norm(), "00123");
    }
    for nobody in ["N/A", "#N/A", "true", "FALSE", "null", "-"] {
        let refused = read_by(&reader, &format!("{nobody},,")).unwrap_err();
        assert!(matches!(refused, RowProblem::BadKey { .. }), "{nobody}");
    }
}

#[test]
fn look_alike_letters_are_taken_and_noticed() {
    let row = read_by(&reader("Employee ID,Last Name", FieldId::EMPLOYEE_ID, ""), "1\u{410}A,L\u{435}e").unwrap();
    assert_eq!((row.key.as_str(), row.values.get(FieldId::LAST_NAME)), ("1\u{410}A", Some("L\u{435}e")));
    let columns: Vec<&str> = row.notes.iter().map(|n| n.column.as_str()).collect();
    assert!(row.issues.is_empty() && columns == ["Employee ID", "Last Name"], "{columns:?}");
}

#[test]
fn a_bad_value_drops_only_its_field() {
    let row = read("Díaz,1,03/04/2021,big,").unwrap();
    assert!(!row.mentions(FieldId::START_DATE) && !row.mentions(SHOE));
    assert_eq!(row.values.get(FieldId::LAST_NAME), Some("Díaz"));
    let [date, shoe] = &row.issues[..] else { panic!("two issues, not {:?}", row.issues) };
    assert_eq!(
        (date.line, date.column.as_str(), date.value.as_str(), date.decides),
        (7, "Start Date", "03/04/2021", true)
    );
    assert!(date.reason.contains("dates=day_first"));
    assert_eq!((shoe.column.as_str(), shoe.value.as_str(), shoe.decides), ("Shoe Size", "big", false));
}

#[test]
fn an_issue_repeats_only_the_beginning_and_no_control_characters() {
    let row = read(&format!("{},1,,,", "x".repeat(normalise::MAX_VALUE_CHARS + 1))).unwrap();
    assert_eq!(row.issues[0].value.chars().count(), SHOWN + 1);
    assert_eq!(read("a\u{1b}[2J,1,,,").unwrap().issues[0].value, "a\\u{1b}[2J");
}

#[test]
fn the_cell_count_must_be_that_of_the_header() {
    assert!(read("Díaz,1,,,,, ,").is_ok(), "blank cells at the end are tolerated");
    assert_eq!(read("Díaz,1,,"), Err(RowProblem::WrongCellCount { found: 4, expected: 5 }));
    assert_eq!(read("Díaz,Ana,1,,,x"), Err(RowProblem::WrongCellCount { found: 6, expected: 5 }));
}

#[test]
fn a_row_without_readable_key_is_unreadable() {
    assert_eq!(read("Díaz,\u{a0} ,,,"), Err(RowProblem::BlankKey));
    assert!(matches!(read(&format!("Díaz,{},,,", "9".repeat(256))), Err(RowProblem::KeyTooLong { .. })));
    assert!(matches!(read("Díaz,\u{1},,,"), Err(RowProblem::BadKey { reason: Refusal::ControlCharacter, .. })));
    let by_email = reader("Email,last_name", FieldId::EMAIL, "");
    let problem = read_by(&by_email, "ann at x,Lee").unwrap_err();
    let issue = problem.issue(3, by_email.columns());
    assert_eq!(
        (issue.line, issue.column.as_str(), issue.value.as_str(), issue.decides),
        (3, "Email", "ann at x", true)
    );
    assert!(issue.reason.contains("ann@example.com"));
}

#[test]
fn a_prefix_stands_before_the_key_and_not_in_the_field() {
    let row = read_by(&reader("unique_id,Email", FieldId::EMPLOYEE_ID, " CON- "), "1001A,").unwrap();
    assert_eq!((row.key.as_str(), row.key_norm.as_str()), ("CON-1001A", "con-1001a"));
    assert_eq!(row.values.get(FieldId::EMPLOYEE_ID), Some("1001A"));
}

#[test]
fn an_email_key_is_canonical() {
    let row = read_by(&reader("Name,unique_id", FieldId::EMAIL, ""), "Ann, Ann@X.org ").unwrap();
    assert_eq!((row.key.as_str(), row.key_norm.as_str()), ("ann@x.org", "ann@x.org"));
    assert_eq!(row.values.get(FieldId::EMAIL), Some("ann@x.org"));
    assert_eq!(row.raw.get(FieldId::EMAIL), Some("Ann@X.org"));
}

#[test]
fn a_row_is_read_into_again() {
    let reader = reader("id,Email", FieldId::EMPLOYEE_ID, "");
    let (mut row, mut buffer) = (Row::default(), CellBuffer::default());
    reader.read(&buffer.split(b"1,bad", b',').unwrap(), 1, &mut row).unwrap();
    reader.read(&buffer.split(b"2,a@x", b',').unwrap(), 2, &mut row).unwrap();
    assert_eq!(row, read_by(&reader, "2,a@x").map(|r| Row { line: 2, ..r }).unwrap());
}

#[test]
fn the_first_look_sees_the_same_key_as_the_whole_row() {
    let reader = reader("Full name,Email,Staff ID,Notes", FieldId::EMPLOYEE_ID, "C-É");
    let mut scratch = KeyScratch::default();
    for record in ["Ann,A@X,\u{301}9,x", "\"Lee, Ann\",\"a@x\",\"E\"\"1\",", "Ann,bad,E1,", "Ann,,E1,", "Ann,a@x,E1"] {
        reader.identifiers(record.as_bytes(), b',', &mut scratch).unwrap();
        let Ok(row) = read_by(&reader, record) else { continue };
        assert_eq!(scratch.key_norm(), row.key_norm, "{record}");
        assert_eq!(scratch.other(), row.values.get(FieldId::EMAIL), "{record}");
    }
    assert!(matches!(reader.key(b"Ann,a@x", b',', &mut scratch), Err(RowProblem::WrongCellCount { found: 2, .. })));
    assert_eq!(reader.key(b"Ann,a@x, ,", b',', &mut scratch), Err(RowProblem::BlankKey));
    assert_eq!(reader.key(b"Ann,a@x,\xff,", b',', &mut scratch), Err(RowProblem::NotUtf8));
}

proptest! {
    #[test]
    fn any_record_gives_a_row_or_a_problem(record in prop::collection::vec(any::<u8>(), 0..80), prefix in ".{0,3}") {
        let reader = reader("id,Email,Start Date,Shoe Size", FieldId::EMPLOYEE_ID, &prefix);
        let (mut row, mut buffer, mut scratch) = (Row::default(), CellBuffer::default(), KeyScratch::default());
        let read = buffer.split(&record, b',').and_then(|cells| reader.read(&cells, 1, &mut row));
        let looked = reader.identifiers(&record, b',', &mut scratch);
        if read.is_ok() {
            prop_assert_eq!(looked, Ok(()));
            prop_assert_eq!(scratch.key_norm(), row.key_norm.as_str());
            prop_assert_eq!(normalise::key(&row.key), row.key_norm.as_str());
        }
    }

    #[test]
    fn any_cells_give_the_same_key_at_first_look(cells in prop::collection::vec("[a-zÀ-ÿ\"@ ]{0,5}|\u{301}.?", 4), prefix in ".{0,2}") {
        let quoted = |c: &String| if c.contains('"') { format!("\"{}\"", c.replace('"', "\"\"")) } else { c.clone() };
        let record = cells.iter().map(quoted).collect::<Vec<_>>().join(",");
        let reader = reader("Email,Start Date,id,Shoe Size", FieldId::EMPLOYEE_ID, &prefix);
        let mut scratch = KeyScratch::default();
        let looked = reader.identifiers(record.as_bytes(), b',', &mut scratch);
        match read_by(&reader, &record) {
            Ok(row) => {
                prop_assert_eq!(scratch.key_norm(), row.key_norm.as_str());
                prop_assert_eq!(normalise::key(&row.key), row.key_norm.as_str());
                prop_assert_eq!(scratch.other(), row.values.get(FieldId::EMAIL));
            }
            // The first look does not count cells.
            Err(RowProblem::WrongCellCount { .. }) => {}
            Err(problem) => prop_assert_eq!(looked, Err(problem)),
        }
    }
}

#[test]
fn every_reason_says_what_to_do() {
    use muster_domain::normalise::Refusal;
    let value = || "x".to_owned();
    let problems = [
        RowProblem::NotUtf8,
        RowProblem::UnclosedQuote,
        RowProblem::WrongCellCount { found: 1, expected: 2 },
        RowProblem::BlankKey,
        RowProblem::KeyTooLong { value: value() },
        RowProblem::BadKey { value: value(), reason: Refusal::RoundedId },
        RowProblem::BadKey { value: value(), reason: Refusal::ControlCharacter },
    ];
    let refusals = [
        Refusal::TooLong,
        Refusal::NotAnEmail,
        Refusal::NotADate,
        Refusal::NoSuchDay,
        Refusal::AmbiguousDate,
        Refusal::ShortYear,
        Refusal::YearOutOfRange,
        Refusal::NotANumber,
        Refusal::NotABoolean,
        Refusal::SpreadsheetError,
        Refusal::NoId,
    ];
    let all = problems.iter().map(ToString::to_string).chain(refusals.iter().map(ToString::to_string));
    for reason in all {
        let issue = RowIssue { line: 1, column: String::new(), value: value(), reason, decides: true, lost: true };
        let (why, advice) = issue.why_and_advice();
        assert!(why.len() > 10 && advice.len() > 10 && advice.ends_with('.'), "{why} | {advice}");
    }
    let note = crate::aside::Aside::Total.note(9);
    assert_eq!(note.why_and_advice(), (note.reason.as_str(), ""));
}
