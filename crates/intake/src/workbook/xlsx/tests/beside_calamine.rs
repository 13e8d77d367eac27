//! Every cell is what `calamine` reads there: in the workbooks among the fixtures, and in sheets with anything in them.

use std::{fs, path::Path};

use calamine::{DataRef, Reader as _, SheetType, Xlsx};
use proptest::prelude::*;

use super::*;
use crate::workbook::cell::Value;

/// The rows of every sheet, as `calamine` reads them.
fn theirs(file: &[u8]) -> Result<Vec<(String, Found)>, String> {
    let mut book = Xlsx::new(Cursor::new(file.to_vec())).map_err(|e| e.to_string())?;
    let sheets = book.sheets_metadata().iter().filter(|s| s.typ == SheetType::WorkSheet);
    let names: Vec<String> = sheets.map(|s| s.name.clone()).collect();
    let mut found = Vec::new();
    for name in names {
        let mut rows: Found = Vec::new();
        let mut reader = book.worksheet_cells_reader(&name).map_err(|e| e.to_string())?;
        let code = |style: &calamine::Style| style.number_format.as_ref().map(|f| f.format_code.clone());
        let codes: Vec<Option<String>> = reader.styles().iter().map(code).collect();
        while let Some((cell, style)) = reader.next_cell_with_style_id().map_err(|e| e.to_string())? {
            let Some(text) = text(cell.get_value(), codes.get(style).cloned().flatten()) else { continue };
            let (row, column) = cell.get_position();
            if rows.last().is_none_or(|(number, _)| *number != u64::from(row) + 1) {
                rows.push((u64::from(row) + 1, Vec::new()));
            }
            let cells = &mut rows.last_mut().unwrap().1;
            cells.resize(cells.len().max(column as usize + 1), String::new());
            cells[column as usize] = text;
        }
        found.push((name, rows));
    }
    Ok(found)
}

fn text(value: &DataRef<'_>, code: Option<String>) -> Option<String> {
    let zeros = code.filter(|c| c.len() > 1 && c.bytes().all(|b| b == b'0')).map_or(0, |c| c.len());
    let mut text = String::new();
    match value {
        DataRef::Empty => return None,
        DataRef::String(said) | DataRef::DateTimeIso(said) | DataRef::DurationIso(said) => text.push_str(said),
        DataRef::SharedString(said) => text.push_str(said),
        DataRef::Int(number) => text = number.to_string(),
        DataRef::Float(number) => Value::Filled(*number, zeros).push_to(&mut text),
        DataRef::Bool(is_true) => text = is_true.to_string(),
        DataRef::Error(error) => text = error.to_string(),
        DataRef::DateTime(moment) if moment.is_duration() => Value::Number(moment.as_f64()).push_to(&mut text),
        DataRef::DateTime(moment) => {
            let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
            text = format!("{year:04}-{month:02}-{day:02}");
            if (hour, minute, second) != (0, 0, 0) {
                text += &format!(" {hour:02}:{minute:02}:{second:02}");
            }
        }
    }
    Some(text)
}

#[test]
fn every_workbook_among_the_fixtures() {
    let mut read = 0;
    for folder in ["workbooks", "hr"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/feeds").join(folder);
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for path in files.filter(|p| p.extension().is_some_and(|e| e == "xlsx")) {
            let file = fs::read(&path).unwrap();
            // What is refused is for other tests to look at.
            let Ok(found) = ours(&file) else { continue };
            assert_eq!(found, theirs(&file).unwrap(), "{}", path.display());
            read += 1;
        }
    }
    assert!(read >= 8, "{read}");
}

/// Text with everything in it that is written in another way in XML or in workbooks.
fn texts() -> impl Strategy<Value = String> {
    let pieces = vec![
        "a", "Zoë", " ", "\n", "\r\n", "\t", "&amp;", "&lt;", "\"", "&#13;", "&#x1F980;", "_x000D_", "_x005F_x000D_",
        "_xD83D__xDE00_", "_xD83D_", "_x", "_", "山", "\u{a0}", "1", "]]>", "=1+1",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..6).prop_map(|pieces| pieces.concat())
}

/// The pieces of a shared or inline text.
fn phrases() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", " xml:space=\"preserve\"", " xml:space=\"default\""]);
    (texts(), texts(), space, 0..5).prop_map(|(one, two, space, form)| match form {
        0 => format!("<N:r><N:rPr><N:b/></N:rPr><N:t{space}>{one}</N:t></N:r><N:r><N:t>{two}</N:t></N:r>"),
        1 => format!(
            "<N:t{space}>{one}</N:t><N:rPh sb=\"0\" eb=\"1\"><N:t>{two}</N:t></N:rPh><N:phoneticPr fontId=\"1\"/>"
        ),
        2 => format!("<N:t><![CDATA[{}]]></N:t>", one.replace("]]>", "")),
        _ => format!("<N:t{space}>{one}</N:t>"),
    })
}

/// What stands in a cell and behind its place.
fn cells() -> impl Strategy<Value = String> {
    let numbers = prop::sample::select(vec![
        "0", "1001", "-7", "37.25", "1e3", "0.1", "123456789012345", "1234567890123456789", "44289", "44289.75",
        "00123", "1E+20", "1e999", ".5", "5.", "-0", "60", "59.999999999", "366", "2958466", "-3.5", "",
    ]);
    let errors = vec!["#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"];
    let texts = prop_oneof![
        phrases().prop_map(|text| format!(" t=\"inlineStr\"><N:is>{text}</N:is>")),
        texts().prop_map(|text| format!(" t=\"str\"><N:f>1&amp;2</N:f><N:v>{text}</N:v>")),
        (0..SHARED).prop_map(|i| format!(" t=\"s\"><N:v>{i}</N:v>")),
    ];
    let number = (0..12_u32, numbers, prop::bool::ANY);
    prop_oneof![
        4 => texts,
        4 => number.prop_map(|(style, number, said)| {
            format!(" s=\"{style}\"{}><N:v>{number}</N:v>", if said { " t=\"n\"" } else { "" })
        }),
        1 => prop::sample::select(vec!["0", "1", "true", "False", " 1 ", ""]).prop_map(|v| format!(" t=\"b\"><N:v>{v}</N:v>")),
        1 => prop::sample::select(errors).prop_map(|e| format!(" t=\"e\"><N:f>x</N:f><N:v>{e}</N:v>")),
        1 => prop::sample::select(vec!["2021-04-03", "2021-04-03T12:00:00Z"]).prop_map(|d| format!(" t=\"d\"><N:v>{d}</N:v>")),
        1 => prop::sample::select(vec!["", "<N:v/>", "<N:f/>", "<N:v>text</N:v>"]).prop_map(|x| format!(" s=\"1\">{x}")),
    ]
}

const SHARED: usize = 6;

/// How a workbook is written.
#[derive(Clone, Debug)]
struct Manner {
    prefix: &'static str,
    target: &'static str,
    says_rows: bool,
    says_cells: bool,
    is_1904: bool,
}

fn manners() -> impl Strategy<Value = Manner> {
    let targets =
        prop::sample::select(vec!["worksheets/sheet1.xml", "/xl/worksheets/sheet1.xml", "Worksheets/Sheet1.xml"]);
    let prefixes = prop::sample::select(vec!["", "x:"]);
    (prefixes, targets, any::<[bool; 3]>()).prop_map(|(prefix, target, [says_rows, says_cells, is_1904])| Manner {
        prefix,
        target,
        says_rows,
        says_cells,
        is_1904,
    })
}

/// A sheet: before each row and each cell so many others are left out.
fn sheet(rows: &[(u32, Vec<(u8, String)>)], manner: &Manner) -> String {
    let (mut xml, mut number) = (String::from("<N:worksheet><N:dimension ref=\"A1:B2\"/><N:cols/><N:sheetData>"), 0);
    for (gap, cells) in rows {
        number += 1 + if manner.says_rows { *gap } else { 0 };
        xml += &if manner.says_rows { format!("<N:row r=\"{number}\">") } else { "<N:row spans='1:9'>\n".to_owned() };
        let mut column = 0;
        for (gap, cell) in cells {
            column += if manner.says_cells { *gap } else { 0 };
            let place = format!(" r=\"{}{number}\"", char::from(b'A' + column));
            xml += &format!("<N:c{}{cell}</N:c>", if manner.says_cells { &place } else { "" });
            column += 1;
        }
        xml += "</N:row>";
    }
    xml + "</N:sheetData><N:pageMargins left=\"0.7\"/></N:worksheet>"
}

fn workbook(shared: &[String], sheet: &str, manner: &Manner) -> Vec<u8> {
    let texts: String = shared.iter().map(|text| format!("<N:si>{text}</N:si>")).collect();
    let codes = ["yyyy\\-mm\\-dd", "00000", "[h]:mm", "0.00\" days\"", "@", "d/m/yy h:mm;@", "[Red]0;[Blue]\\-0"];
    let own = codes
        .iter()
        .zip(164..)
        .map(|(code, n)| format!("<N:numFmt numFmtId=\"{n}\" formatCode=\"{}\"/>", code.replace('"', "&quot;")));
    let styles = [0, 14, 46, 22].into_iter().chain(164..171).map(|n| format!("<N:xf numFmtId=\"{n}\" fontId=\"0\"/>"));
    let (own, styles) = (own.collect::<String>(), styles.collect::<String>());
    let book = format!(
        "<N:workbook><N:workbookPr date1904=\"{}\"/><N:sheets><N:sheet name=\"R&amp;D\" sheetId=\"1\" r:id=\"s1\"/></N:sheets></N:workbook>",
        u8::from(manner.is_1904)
    );
    let named = |text: String| text.replace("N:", manner.prefix);
    archived([
        ("[Content_Types].xml", "<Types/>".to_owned()),
        ("_rels/.rels", relations([("a", "officeDocument", "xl/workbook.xml")])),
        ("xl/workbook.xml", named(book)),
        ("xl/_rels/workbook.xml.rels", relations([("s1", "worksheet", manner.target)])),
        ("xl/worksheets/sheet1.xml", format!("\u{feff}<?xml version=\"1.0\"?>\r\n{}", named(sheet.to_owned()))),
        ("xl/sharedStrings.xml", named(format!("<N:sst count=\"9\" uniqueCount=\"{SHARED}\">{texts}</N:sst>"))),
        (
            "xl/styles.xml",
            named(format!("<N:styleSheet><N:numFmts>{own}</N:numFmts><N:cellXfs>{styles}</N:cellXfs></N:styleSheet>")),
        ),
    ])
}

proptest! {
    #[test]
    fn sheets_with_anything_in_them(
        shared in prop::collection::vec(phrases(), SHARED),
        rows in prop::collection::vec((0..4_u32, prop::collection::vec((0..3_u8, cells()), 0..6)), 0..6),
        manner in manners(),
    ) {
        let file = workbook(&shared, &sheet(&rows, &manner), &manner);
        prop_assert_eq!(ours(&file), theirs(&file));
    }
}
