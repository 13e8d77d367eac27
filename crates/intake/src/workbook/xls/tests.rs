//! Streams of records as Excel and other programs write them.

use std::ops::ControlFlow;

use super::*;

fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &(data.len() as u16).to_le_bytes(), data].concat()
}

fn numbers(of: &[u16]) -> Vec<u8> {
    of.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// A workbook of one sheet: what is said of it before, and its cells.
fn book(version: u16, globals: &[u8], cells: &[u8]) -> Result<Book, IntakeError> {
    let begin = |kind: u16| record(0x0809, &numbers(&[version, kind, 0, 0]));
    let name: &[u8] = if version == 0x0600 { b"\x01\x00A" } else { b"\x01A" };
    let length = begin(5).len() + globals.len() + 4 + 6 + name.len() + 4;
    let sheet = record(0x0085, &[&(length as u32).to_le_bytes()[..], &[0, 0], name].concat());
    let end = record(0x000A, &[]);
    Book::read([&begin(5)[..], globals, &sheet, &end, &begin(16), cells, &end].concat())
}

fn rows(version: u16, globals: &[u8], cells: &[u8]) -> Result<Vec<(u64, Vec<String>)>, String> {
    let book = book(version, globals, cells).map_err(|e| e.to_string())?;
    let mut rows = Vec::new();
    let read = book.rows("A", 40, &mut |number, cells| {
        rows.push((number, cells.to_vec()));
        Ok(ControlFlow::Continue(()))
    });
    read.map(|()| rows).map_err(|e| e.to_string())
}

fn row(number: u64, cells: &[&str]) -> (u64, Vec<String>) {
    (number, cells.iter().map(|c| (*c).to_owned()).collect())
}

/// A cell: row, column, style, and what is in it.
fn cell(kind: u16, at: [u16; 3], data: &[u8]) -> Vec<u8> {
    record(kind, &[&numbers(&at)[..], data].concat())
}

#[test]
fn numbers_come_in_many_forms() {
    let whole = |n: i32| ((n << 2) as u32 | 2).to_le_bytes();
    let hundredth = |n: i32| ((n << 2) as u32 | 3).to_le_bytes();
    let fraction = ((1.5_f64.to_bits() >> 32) as u32 & !3).to_le_bytes();
    let cells = [
        cell(0x0203, [0, 0, 0], &1001_f64.to_le_bytes()),
        cell(0x027E, [0, 1, 0], &whole(-7)),
        cell(0x027E, [0, 2, 0], &hundredth(3725)),
        cell(0x027E, [0, 4, 0], &fraction),
        record(
            0x00BD,
            &[&numbers(&[2, 0])[..], &numbers(&[0]), &whole(1), &numbers(&[0]), &whole(2), &numbers(&[1])].concat(),
        ),
        cell(0x0205, [3, 0, 0], &[1, 0]),
        cell(0x0205, [3, 1, 0], &[0x2A, 1]),
    ];
    let expected = [row(1, &["1001", "-7", "37.25", "", "1.5"]), row(3, &["1", "2"]), row(4, &["true", "#N/A"])];
    assert_eq!(rows(0x0600, &[], &cells.concat()).unwrap(), expected);
}

#[test]
fn number_formats_make_dates_and_zeros() {
    let format = |number: u16, code: &str| {
        record(0x041E, &[&numbers(&[number, code.len() as u16])[..], &[0], code.as_bytes()].concat())
    };
    let style = |format: u16| record(0x00E0, &numbers(&[0, format, 0, 0]));
    let globals = [
        format(164, "[$-407]d. mmmm yyyy;@"),
        format(165, "00000"),
        format(166, "0.00\"days\"\\d"),
        format(167, "[hh]:mm"),
        style(0),
        style(14),
        style(164),
        style(165),
        style(166),
        style(167),
    ];
    let at = |style: u16| cell(0x0203, [0, style, style], &44289_f64.to_le_bytes());
    let cells: Vec<u8> = (0..6).flat_map(at).collect();
    let read = rows(0x0600, &globals.concat(), &cells).unwrap();
    assert_eq!(read, [row(1, &["44289", "2021-04-03", "2021-04-03", "44289", "44289", "44289"])]);
    let cells = cell(0x0203, [0, 0, 3], &123_f64.to_le_bytes());
    assert_eq!(rows(0x0600, &globals.concat(), &cells).unwrap(), [row(1, &["00123"])]);
    let cells = cell(0x0203, [0, 0, 1], &42827_f64.to_le_bytes());
    let with_1904 = [&globals.concat()[..], &record(0x0022, &numbers(&[1]))].concat();
    assert_eq!(rows(0x0600, &with_1904, &cells).unwrap(), [row(1, &["2021-04-03"])]);
}

#[test]
fn shared_texts_go_on_in_the_next_record_with_letters_of_another_width() {
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let table = [
        record(0x00FC, &[&[3, 0, 0, 0, 3, 0, 0, 0][..], &[6, 0, 0], b"Aoi"].concat()),
        record(0x003C, &[&[1][..], &wide("fe🦀")[..6]].concat()),
        // Formats of parts of a text, and how it is pronounced, are passed over.
        record(0x003C, &[&[1, 0, 0x0D][..], &[1, 0], &[2, 0, 0, 0], &wide("山"), &[9, 9, 9, 9], &[8, 8]].concat()),
        record(0x003C, &[2, 0, 0, b'o', 0xE9]),
    ];
    let named = |i: u16| cell(0x00FD, [0, i, 0], &u32::from(i).to_le_bytes());
    let read = rows(0x0600, &table.concat(), &[named(0), named(1), named(2)].concat()).unwrap();
    assert_eq!(read, [row(1, &["Aoife\u{fffd}", "山", "oé"])]);
    assert!(rows(0x0600, &table.concat(), &named(9)).unwrap_err().contains("damaged"));
}

#[test]
fn formulas_are_what_they_came_to() {
    let formula = |column: u16, value: [u8; 8]| cell(0x0006, [0, column, 0], &[&value[..], &[0; 8]].concat());
    let cells = [
        formula(0, 2.5_f64.to_le_bytes()),
        formula(1, [0, 0, 0, 0, 0, 0, 0xFF, 0xFF]),
        record(0x0207, &[2, 0, 0, b'o', b'k']),
        formula(2, [1, 0, 1, 0, 0, 0, 0xFF, 0xFF]),
        formula(3, [2, 0, 7, 0, 0, 0, 0xFF, 0xFF]),
        formula(4, [3, 0, 0, 0, 0, 0, 0xFF, 0xFF]),
    ];
    assert_eq!(rows(0x0600, &[], &cells.concat()).unwrap(), [row(1, &["2.5", "ok", "true", "#DIV/0!"])]);
}

#[test]
fn texts_of_excel_95_are_bytes() {
    let label = cell(0x0204, [0, 0, 0], &[4, 0, b'R', b'e', b'n', 0xE9]);
    assert_eq!(rows(0x0500, &record(0x0042, &numbers(&[1252])), &label).unwrap(), [row(1, &["René"])]);
    let refused = rows(0x0500, &record(0x0042, &numbers(&[1251])), &label).unwrap_err();
    assert!(refused.contains("another part of the world"), "{refused}");
    let label = cell(0x0204, [0, 0, 0], &[1, 0, 1, 0x71, 0x5C]);
    assert_eq!(rows(0x0600, &[], &label).unwrap(), [row(1, &["山"])]);
}

#[test]
fn charts_within_a_sheet_are_no_cells_and_damage_is_said() {
    let one = |row: u16| cell(0x0203, [row, 0, 0], &1_f64.to_le_bytes());
    let chart = [record(0x0809, &numbers(&[0x0600, 0x20])), one(9), record(0x000A, &[])].concat();
    assert_eq!(rows(0x0600, &[], &[one(0), chart, one(1)].concat()).unwrap().len(), 2);
    assert!(rows(0x0600, &[], &[one(1), one(0)].concat()).unwrap_err().contains("damaged"));
    assert!(rows(0x0600, &record(0x002F, &[1, 0]), &[]).unwrap_err().contains("password"));
    assert!(book(0x0200, &[], &[]).err().unwrap().to_string().contains("before Excel 5"));
}

#[test]
fn a_text_that_a_row_repeats_without_measure_is_refused() {
    let long = "x".repeat(8000);
    let table =
        record(0x00FC, &[&[1, 0, 0, 0, 1, 0, 0, 0][..], &8000_u16.to_le_bytes(), &[0], long.as_bytes()].concat());
    let cells: Vec<u8> = (0..30000).flat_map(|i| cell(0x00FD, [0, i % 40, 0], &[0; 4])).collect();
    assert!(rows(0x0600, &table, &cells).unwrap_err().contains("longer than 1 MiB"));
}
