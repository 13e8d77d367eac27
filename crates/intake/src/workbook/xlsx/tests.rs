//! What workbooks of Excel and of other programs have in them, and where it may lie.

use std::{
    io::{Cursor, Write},
    ops::ControlFlow,
};

use muster_domain::settings::Limits;

use super::*;
use crate::workbook::archive;

mod beside_calamine;

pub(super) const RELATED: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
pub(super) const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006/relationships";

/// Rows with their numbers.
pub(super) type Found = Vec<(u64, Vec<String>)>;

pub(super) fn archived<'a>(parts: impl IntoIterator<Item = (&'a str, String)>) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

pub(super) fn relations<'a>(said: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> String {
    let one = |(id, kind, target): (&str, &str, &str)| {
        format!("<Relationship Id=\"{id}\" Type=\"{RELATED}/{kind}\" Target=\"{target}\"/>")
    };
    format!("<Relationships xmlns=\"{PACKAGE}\">{}</Relationships>", said.into_iter().map(one).collect::<String>())
}

/// A workbook of one sheet with these cells and shared texts.
fn parts(cells: &str, shared: &str) -> Vec<(&'static str, String)> {
    let styles = r#"<styleSheet><numFmts count="3"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd"/><numFmt numFmtId="165"
        formatCode="00000"/><numFmt numFmtId="166" formatCode="0 &quot;days&quot;"/></numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>
        <cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"><alignment/></xf><xf numFmtId="165"/><xf numFmtId="166"/>
        <xf numFmtId="46"/><xf/></cellXfs><dxfs><dxf><numFmt numFmtId="165" formatCode="yyyy"/></dxf></dxfs></styleSheet>"#;
    let book = r#"<workbook><workbookPr date1904="0"/><sheets><sheet name="A&amp;B" sheetId="1" r:id="r1"/></sheets></workbook>"#;
    vec![
        ("[Content_Types].xml", "<Types/>".to_owned()),
        ("_rels/.rels", relations([("r1", "officeDocument", "xl/workbook.xml")])),
        ("xl/workbook.xml", book.to_owned()),
        ("xl/_rels/workbook.xml.rels", relations([("r1", "worksheet", "worksheets/sheet1.xml")])),
        ("xl/worksheets/sheet1.xml", format!("<worksheet><sheetData>{cells}</sheetData></worksheet>")),
        ("xl/sharedStrings.xml", format!("<sst>{shared}</sst>")),
        ("xl/styles.xml", styles.to_owned()),
    ]
}

/// The same parts with one of them written anew, or left out.
fn with(mut parts: Vec<(&'static str, String)>, name: &str, text: Option<&str>) -> Vec<u8> {
    match text {
        Some(text) => parts.iter_mut().filter(|(n, _)| *n == name).for_each(|(_, t)| text.clone_into(t)),
        None => parts.retain(|(n, _)| *n != name),
    }
    archived(parts)
}

/// The rows of every sheet that is shown, as they are read.
pub(super) fn ours(file: &[u8]) -> Result<Vec<(String, Found)>, String> {
    let file = Cursor::new(file.to_vec());
    archive::check(file.clone(), Limits::default()).map_err(|e| e.to_string())?;
    let mut book = Book::open(file, &std::env::temp_dir()).map_err(|e| e.to_string())?;
    let mut sheets = Vec::new();
    for (name, _) in book.sheets() {
        let mut rows = Vec::new();
        let read = book.rows(&name, 50, &mut |number, cells| {
            rows.push((number, cells.to_vec()));
            Ok(ControlFlow::Continue(()))
        });
        read.map_err(|e| e.to_string())?;
        sheets.push((name, rows));
    }
    Ok(sheets)
}

fn rows(cells: &str, shared: &str) -> Result<Found, String> {
    ours(&archived(parts(cells, shared))).map(|mut sheets| sheets.remove(0).1)
}

fn row(number: u64, cells: &[&str]) -> (u64, Vec<String>) {
    (number, cells.iter().map(|c| (*c).to_owned()).collect())
}

#[test]
fn cells_say_what_people_see_in_them() {
    for (cell, read) in [
        ("><v>1001</v>", "1001"),
        (" t=\"n\"><v>37.50</v>", "37.5"),
        ("><v>1.23E+05</v>", "123000"),
        ("><v>007</v>", "7"),
        ("><v>n/a</v>", "n/a"),
        (" s=\"1\"><v>44289</v>", "2021-04-03"),
        (" s=\"2\"><v>44289.5</v>", "2021-04-03 12:00:00"),
        (" s=\"3\"><v>123</v>", "00123"),
        (" s=\"4\"><v>3</v>", "3"),
        (" s=\"5\"><v>0.5</v>", "0.5"),
        (" s=\"6\"><v>44289</v>", "44289"),
        (" s=\"99\"><v>44289</v>", "44289"),
        (" t=\"s\"><v>1</v>", "one"),
        (" t=\"b\"><v>1</v>", "true"),
        (" t=\"b\"><v> FALSE </v>", "false"),
        (" t=\"e\"><v>#N/A</v>", "#N/A"),
        (" t=\"e\"><v>#FIELD!</v>", "#VALUE!"),
        (" t=\"d\"><v>2021-04-03</v>", "2021-04-03"),
        (" t=\"str\"><f>A1&amp;\"x\"</f><v>R&amp;D_x000D_</v>", "R&D\r"),
        (" t=\"str\"><v> <!-- no -->a<![CDATA[<]]>\r\nb </v>", " a<\nb "),
        (" t=\"inlineStr\"><is><t> one </t></is>", "one"),
        (" t=\"inlineStr\"><is><t xml:space=\"preserve\"> one </t></is><v>two</v>", " one "),
        ("><v>5</v><extLst><ext><v>6</v></ext></extLst>", "5"),
    ] {
        let cells = format!("<row r=\"1\"><c r=\"A1\"{cell}</c></row>");
        let shared = "<si><t>zero</t></si><si><t>one</t></si>";
        assert_eq!(rows(&cells, shared).unwrap(), [row(1, &[read])], "{cell}");
    }
    for nothing in ["/>", "></c>", "><v/></c>", " t=\"s\"><v></v></c>", " t=\"b\"><v> </v></c>", "><f>1+</f></c>"] {
        assert_eq!(rows(&format!("<row><c{nothing}</row>"), "").unwrap(), [], "{nothing}");
    }
}

#[test]
fn shared_texts_have_several_looks_and_no_sound() {
    let shared = "<si><r><rPr><b/></rPr><t>bold </t></r><r><t xml:space=\"preserve\"> plain</t></r></si>
        <si><t>山</t><rPh sb=\"0\" eb=\"1\"><t>やま</t></rPh><phoneticPr fontId=\"1\"/></si><si/><si><t/></si><si><t xml:space=\"preserve\"> _x0041_ </t></si>";
    let cells: String = (0..5).map(|i| format!("<c t=\"s\"><v>{i}</v></c>")).collect();
    let expected = [row(1, &["bold plain", "山", "", "", " A "])];
    assert_eq!(rows(&format!("<row>{cells}</row>"), shared).unwrap(), expected);
}

#[test]
fn cells_stand_where_they_say_or_behind_the_last() {
    let cells = r#"<row><c><v>1</v></c><c/><c><v>3</v></c></row><row/><row spans="1:3"/><row r="9"><c r="C9"><v>4</v></c><c><v>5</v></c></row>
        <row><c r="b10"><v>6</v></c></row><row r="4"><c r="A12"><v>7</v></c><c r="A12"><v>8</v></c></row>"#;
    let expected = [row(1, &["1", "", "3"]), row(9, &["", "", "4", "5"]), row(10, &["", "6"]), row(12, &["8"])];
    assert_eq!(rows(cells, "").unwrap(), expected);
}

#[test]
fn parts_are_found_by_what_points_to_them() {
    let book = format!(
        "<x:workbook xmlns:x=\"http://purl.oclc.org/ooxml/spreadsheetml/main\" xmlns:q=\"{RELATED}\"><x:workbookPr date1904=\"true\"/><x:sheets>\
        <x:sheet name=\"Chart\" q:id=\"c\"/><x:sheet name=\"Old\" state=\"veryHidden\" q:id=\"o\"/><x:sheet name=\"People\" q:id=\"p\"/>\
        </x:sheets></x:workbook>"
    );
    let related = [
        ("c", "chartsheet", "charts/one.xml"),
        ("o", "worksheet", "../Book/old.xml"),
        ("p", "worksheet", "/data/People.XML"),
        ("s", "sharedStrings", "texts.xml"),
        ("f", "styles", "/looks.xml"),
    ];
    let sheet = "<x:worksheet xmlns:x=\"m\"><x:dimension/><x:sheetData><x:row r=\"2\"><x:c r=\"A2\" t=\"s\"><x:v>0</x:v></x:c>\
        <x:c s=\"0\"><x:v>42827</x:v></x:c></x:row></x:sheetData></x:worksheet>";
    let file = archived([
        ("[Content_Types].xml", String::new()),
        ("_rels/.rels", relations([("a", "officeDocument", "/book/main.xml")])),
        ("Book\\main.xml", book),
        ("Book/_rels/main.xml.rels", relations(related)),
        ("Book/old.xml", "<worksheet><sheetData/></worksheet>".to_owned()),
        ("data/people.xml", sheet.to_owned()),
        ("book/texts.xml", "<x:sst xmlns:x=\"m\"><x:si><x:t>id</x:t></x:si></x:sst>".to_owned()),
        ("looks.xml", "<styleSheet><cellXfs><xf numFmtId=\"14\"/></cellXfs></styleSheet>".to_owned()),
    ]);
    let mut book = Book::open(Cursor::new(file.clone()), &std::env::temp_dir()).unwrap();
    assert_eq!(book.sheets(), [("Old".to_owned(), false), ("People".to_owned(), true)]);
    assert!(book.rows("Chart", 9, &mut |_, _| Ok(ControlFlow::Continue(()))).is_err());
    let expected = [("Old".to_owned(), vec![]), ("People".to_owned(), vec![row(2, &["id", "2021-04-03"])])];
    assert_eq!(ours(&file).unwrap(), expected);
}

#[test]
fn a_damaged_workbook_is_one_sentence() {
    let sheet = "xl/worksheets/sheet1.xml";
    for cells in [
        "<row><c t=\"s\"><v>7</v></c></row>",
        "<row><c t=\"s\"><v>-1</v></c></row>",
        "<row><c t=\"b\"><v>2</v></c></row>",
        "<row><c t=\"n\"><v>x</v></c></row>",
        "<row><c t=\"what\"><v>1</v></c></row>",
        "<row r=\"0\"/>",
        "<row r=\"99999999999\"/>",
        "<row><c r=\"5\"/></row>",
        "<row><c r=\"A\"/></row>",
        "<row><c r=\"ZZZZZZZZZZZZZZZZ1\"/></row>",
        "<row r=\"2\"><c/></row><row r=\"1\"><c/></row>",
        "<row><c><v>1</v><c><v>2</v></c></c></row>",
        "<row><c><v>1</c></row>",
        "<row><c r=\"A1",
        "<row><c r=A1/></row>",
    ] {
        assert!(rows(cells, "").unwrap_err().contains("damaged"), "{cells}");
    }
    let whole = || parts("<row><c><v>1</v></c></row>", "");
    for (name, text) in [
        (sheet, None),
        (sheet, Some("<worksheet/>")),
        (sheet, Some("<worksheet><sheetData><row><c><v>1</v></c></row>")),
        (sheet, Some("<worksheet><sheetData><row><c><v>1</v>")),
        ("_rels/.rels", None),
        ("_rels/.rels", Some("<Relationships/>")),
        ("xl/_rels/workbook.xml.rels", None),
        ("xl/_rels/workbook.xml.rels", Some("<Relationships/>")),
        ("xl/workbook.xml", None),
        ("xl/workbook.xml", Some("<workbook><sheets>")),
        (
            "xl/workbook.xml",
            Some("<workbook><sheets><sheet name=\"A\" state=\"odd\" r:id=\"r1\"/></sheets></workbook>"),
        ),
        ("xl/sharedStrings.xml", Some("<sst><si><t>cut")),
        ("xl/styles.xml", Some("<styleSheet>")),
    ] {
        assert!(ours(&with(whole(), name, text)).unwrap_err().contains("damaged"), "{name} {text:?}");
    }
    for name in ["xl/sharedStrings.xml", "xl/styles.xml"] {
        assert_eq!(ours(&with(whole(), name, None)).unwrap()[0].1, [row(1, &["1"])], "{name}");
    }
}

#[test]
fn what_is_too_much_is_refused_and_said() {
    let long = format!("<si><t>{}</t></si>", "x".repeat(40_000));
    let named: String = (0..30).map(|_| "<c t=\"s\"><v>0</v></c>").collect();
    let said = rows(&format!("<row r=\"3\">{named}</row>"), &long).unwrap_err();
    assert!(said.starts_with("Row 3 is longer than 1 MiB"), "{said}");
    // A text that nobody names does no harm, however long.
    let longer = format!("<si><t>one</t></si><si><t>{}</t></si>", "x".repeat(2 << 20));
    assert_eq!(rows("<row><c t=\"s\"><v>0</v></c></row>", &longer).unwrap(), [row(1, &["one"])]);
    assert!(rows("<row><c t=\"s\"><v>1</v></c></row>", &longer).unwrap_err().contains("Row 1 is longer than 1 MiB"));
    let inline = format!("<row><c><is><t>{}</t></is></c></row>", "x".repeat(2 << 20));
    assert!(rows(&inline, "").unwrap_err().contains("longer than 1 MiB"));
    let wide = "<row><c r=\"AY1\"><v>1</v></c></row>";
    assert!(rows(wide, "").unwrap_err().contains("limits.columns"));
}

#[test]
fn texts_that_are_too_many_for_the_memory_lie_in_a_file() {
    let count = 120_000;
    let text = |i: usize| format!("{i:07}é{}", "-".repeat(i % 200));
    let shared: String = (0..count).map(|i| format!("<si><t>{}</t></si>", text(i))).collect();
    let cell = |i: usize| format!("<row><c t=\"s\"><v>{i}</v></c><c t=\"s\"><v>{}</v></c></row>", i * 7_919 % count);
    let file = archived(parts(&(0..count).map(cell).collect::<String>(), &shared));
    let (mut book, mut next) = (Book::open(Cursor::new(file), &std::env::temp_dir()).unwrap(), 0);
    book.rows("A&B", 2, &mut |_, cells| {
        assert_eq!(cells, [text(next), text(next * 7_919 % count)]);
        next += 1;
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(next, count);
}
