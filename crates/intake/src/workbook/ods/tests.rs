//! What OpenDocument has that other sheets have not: repetition, several paragraphs, notes, spaces by number.

use std::{
    io::{Cursor, Write},
    ops::ControlFlow,
};

use muster_domain::settings::Limits;

use super::*;
use crate::workbook::archive;

const MIMETYPE: &str = "application/vnd.oasis.opendocument.spreadsheet";

fn archive(mimetype: &str, content: &str, manifest: &str) -> Cursor<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in [("mimetype", mimetype), ("content.xml", content), ("META-INF/manifest.xml", manifest)] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap()
}

fn document(tables: &str) -> String {
    format!(
        r#"<d><styles><style:style style:name="h"><style:table-properties table:display="false"/></style:style></styles>
        <office:spreadsheet>{tables}</office:spreadsheet></d>"#
    )
}

fn rows(tables: &str, sheet: &str) -> Result<Vec<(u64, Vec<String>)>, String> {
    let file = archive(MIMETYPE, &document(tables), "<manifest/>");
    archive::check(file.clone(), Limits::default()).map_err(|e| e.to_string())?;
    let mut rows = Vec::new();
    let mut book = Book::open(file).map_err(|e| e.to_string())?;
    let read = book.rows(sheet, 50, &mut |number, cells| {
        rows.push((number, cells.to_vec()));
        Ok(ControlFlow::Continue(()))
    });
    read.map(|()| rows).map_err(|e| e.to_string())
}

fn table(rows: &str) -> String {
    format!(r#"<table:table table:name="A">{rows}</table:table>"#)
}

fn string(content: &str) -> String {
    format!(r#"<table:table-cell office:value-type="string">{content}</table:table-cell>"#)
}

fn row(cells: &str) -> String {
    format!("<table:table-row>{cells}</table:table-row>")
}

#[test]
fn rows_and_cells_that_repeat_stand_there_as_often() {
    let cells = r#"<table:table-cell table:number-columns-repeated="2"/><table:table-cell table:number-columns-repeated="2"
        office:value-type="float" office:value="7"/><table:table-cell table:number-columns-repeated="16000"/>"#;
    let repeated = format!(
        r#"<table:table-row table:number-rows-repeated="3"><table:table-cell/></table:table-row>
        <table:table-row table:number-rows-repeated="2">{cells}</table:table-row>
        <table:table-row-group>{}</table:table-row-group>
        <table:table-row table:number-rows-repeated="1048000"><table:table-cell/></table:table-row>"#,
        row(&string("<text:p>end</text:p>"))
    );
    let seven = ["", "", "7", "7"].map(str::to_owned).to_vec();
    let expected = vec![(4, seven.clone()), (5, seven), (6, vec!["end".to_owned()])];
    assert_eq!(rows(&table(&repeated), "A").unwrap(), expected);
}

#[test]
fn the_text_of_a_cell_is_what_people_see_in_it() {
    for (content, read) in [
        ("<text:p>one</text:p><text:p>two</text:p>", "one\ntwo"),
        ("<text:p>a<text:s text:c=\"3\"/>b<text:tab/>c<text:line-break/>d</text:p>", "a   b\tc\nd"),
        ("<text:p>R&amp;D &lt;&#xE9;&#233;&gt;</text:p>", "R&D <éé>"),
        ("\n  <text:p><text:span>bold</text:span> plain</text:p>\n  ", "bold plain"),
        ("<office:annotation><text:p>a note</text:p></office:annotation><text:p>x</text:p>", "x"),
        ("<text:p><![CDATA[<x>]]></text:p>", "<x>"),
    ] {
        assert_eq!(rows(&table(&row(&string(content))), "A").unwrap(), [(1, vec![read.to_owned()])], "{content}");
    }
}

#[test]
fn values_go_before_what_is_shown() {
    for (cell, read) in [
        (r#"office:value-type="float" office:value="37.50"><text:p>37,5 €</text:p"#, "37.5"),
        (r#"office:value-type="percentage" office:value="0.5"><text:p>50 %</text:p"#, "0.5"),
        (r#"office:value-type="date" office:date-value="2024-01-08"><text:p>8. Januar</text:p"#, "2024-01-08"),
        (r#"office:value-type="boolean" office:boolean-value="true"><text:p>WAHR</text:p"#, "true"),
        (r#"office:value-type="string" office:string-value="said"><text:p>shown</text:p"#, "said"),
        (
            r##"office:value-type="string" calcext:value-type="error" office:string-value=""><text:p>#N/A</text:p"##,
            "#N/A",
        ),
    ] {
        let cell = row(&format!("<table:table-cell {cell}></table:table-cell>"));
        assert_eq!(rows(&table(&cell), "A").unwrap(), [(1, vec![read.to_owned()])], "{cell}");
    }
}

#[test]
fn each_table_is_found_by_its_name_and_hidden_ones_are_known() {
    let one = |name: &str, style: &str, text: &str| {
        let row = row(&string(&format!("<text:p>{text}</text:p>")));
        format!(r#"<table:table table:name="{name}" table:style-name="{style}">{row}</table:table>"#)
    };
    let both = one("R&amp;D", "x", "first") + &one("Old", "h", "second");
    assert_eq!(rows(&both, "Old").unwrap(), [(1, vec!["second".to_owned()])]);
    let book = Book::open(archive(MIMETYPE, &document(&both), "<manifest/>")).unwrap();
    assert_eq!(book.sheets(), [("R&D".to_owned(), true), ("Old".to_owned(), false)]);
    assert!(rows(&both, "None").is_err());
}

#[test]
fn what_is_too_much_or_no_spreadsheet_is_one_sentence() {
    let endless = string("<text:p><text:s text:c=\"99999999999\"/></text:p>").repeat(3);
    assert!(rows(&table(&row(&endless)), "A").unwrap_err().contains("longer than 1 MiB"));
    let wide = r#"<table:table-cell table:number-columns-repeated="60" office:value-type="string"><text:p>x</text:p></table:table-cell>"#;
    assert!(rows(&table(&row(wide)), "A").unwrap_err().contains("limits.columns"));
    let said = |mimetype: &str, manifest: &str| {
        let file = archive(mimetype, &document(""), manifest);
        archive::check(file, Limits::default()).unwrap_err().to_string()
    };
    assert!(said("application/vnd.oasis.opendocument.text", "<m/>").contains("no spreadsheet"));
    assert!(said(MIMETYPE, "<m><manifest:encryption-data/></m>").contains("password"));
}
