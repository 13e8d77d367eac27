//! OpenDocument spreadsheets: their sheets, and the rows of one, read from `content.xml` as it is unpacked. What is in memory
//! is one row, however long the sheet is.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{BufReader, Read, Seek},
};

use quick_xml::{
    Reader,
    events::{BytesRef, BytesStart, Event},
};
use zip::{ZipArchive, read::ZipFile, result::ZipError};

use super::{
    archive::broken,
    cell::Value,
    password,
    sheets::{Line, Take},
};
use crate::{csv::MAX_RECORD, error::IntakeError};

/// An open spreadsheet.
pub(super) struct Book<R: Read + Seek> {
    archive: ZipArchive<BufReader<R>>,
    sheets: Vec<(String, bool)>,
}

type Xml<'a, R> = Reader<BufReader<ZipFile<'a, BufReader<R>>>>;

impl<R: Read + Seek> Book<R> {
    pub(super) fn open(file: R) -> Result<Self, IntakeError> {
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|_| broken())?;
        let mut book = Book { archive, sheets: Vec::new() };
        book.sheets = names(&mut content(&mut book.archive)?)?;
        Ok(book)
    }

    /// The sheets, with whether they are shown.
    pub(super) fn sheets(&self) -> &[(String, bool)] {
        &self.sheets
    }

    /// Walks the rows of a sheet in which anything is.
    pub(super) fn rows(&mut self, sheet: &str, most_columns: usize, take: Take<'_>) -> Result<(), IntakeError> {
        let mut xml = content(&mut self.archive)?;
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            match next(&mut xml, &mut buffer)? {
                Event::Start(e) if e.name().as_ref() == "table:table" => {
                    if attribute(&e, "table:name")?.as_deref() == Some(sheet) {
                        return Table { line: Line::new(most_columns), next: 1 }.rows(&mut xml, take);
                    }
                    pass(&mut xml, &e)?;
                }
                Event::Eof => return Err(broken()),
                _ => {}
            }
        }
    }
}

/// Refuses what is no spreadsheet, and what nobody can read without its password.
pub(super) fn check<R: Read + Seek>(archive: &mut ZipArchive<R>) -> Result<(), IntakeError> {
    let mut kind = String::new();
    match archive.by_name("mimetype") {
        Ok(part) => part.take(200).read_to_string(&mut kind).map_err(|_| broken())?,
        Err(_) => return Err(broken()),
    };
    if !kind.starts_with("application/vnd.oasis.opendocument.spreadsheet") {
        let advice = "export the list of people as a spreadsheet or as CSV and send that.";
        return Err(IntakeError::NotText { what: "an OpenDocument that is no spreadsheet", advice });
    }
    let manifest = match archive.by_name("META-INF/manifest.xml") {
        Ok(part) => part,
        Err(ZipError::FileNotFound) => return Ok(()),
        Err(_) => return Err(broken()),
    };
    let mut xml = Reader::from_reader(BufReader::new(manifest));
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match xml.read_event_into(&mut buffer) {
            Ok(Event::Start(e) | Event::Empty(e)) if e.name().as_ref() == "manifest:encryption-data" => {
                return Err(password());
            }
            Ok(Event::Eof) => return Ok(()),
            Ok(_) => {}
            Err(_) => return Err(broken()),
        }
    }
}

fn content<R: Read + Seek>(archive: &mut ZipArchive<BufReader<R>>) -> Result<Xml<'_, R>, IntakeError> {
    let part = archive.by_name("content.xml").map_err(|_| broken())?;
    let mut xml = Reader::from_reader(BufReader::with_capacity(1 << 16, part));
    xml.config_mut().expand_empty_elements = true;
    Ok(xml)
}

fn next<'b, R: Read + Seek>(xml: &mut Xml<'_, R>, buffer: &'b mut Vec<u8>) -> Result<Event<'b>, IntakeError> {
    xml.read_event_into(buffer).map_err(|_| broken())
}

/// Passes over the rest of an element.
fn pass<R: Read + Seek>(xml: &mut Xml<'_, R>, element: &BytesStart<'_>) -> Result<(), IntakeError> {
    let end = element.to_end().into_owned();
    xml.read_to_end_into(end.name(), &mut Vec::new()).map(drop).map_err(|_| broken())
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, IntakeError> {
    let found = element.try_get_attribute(name).map_err(|_| broken())?;
    found.map(|a| quick_xml::escape::unescape(&a.value).map(|v| v.into_owned()).map_err(|_| broken())).transpose()
}

/// The names of all tables, and by their styles whether they are shown.
fn names<R: Read + Seek>(xml: &mut Xml<'_, R>) -> Result<Vec<(String, bool)>, IntakeError> {
    let (mut buffer, mut names, mut hidden) = (Vec::new(), Vec::new(), HashMap::new());
    let mut style = String::new();
    loop {
        buffer.clear();
        match next(xml, &mut buffer)? {
            Event::Start(e) => match e.name().as_ref() {
                "style:style" => style = attribute(&e, "style:name")?.unwrap_or_default(),
                "style:table-properties" => {
                    let is_hidden = attribute(&e, "table:display")?.is_some_and(|shown| shown == "false");
                    hidden.insert(std::mem::take(&mut style), is_hidden);
                }
                "table:table" => {
                    if let Some(name) = attribute(&e, "table:name")? {
                        let style = attribute(&e, "table:style-name")?.unwrap_or_default();
                        names.push((name, !hidden.get(&style).copied().unwrap_or_default()));
                    }
                    pass(xml, &e)?;
                }
                _ => {}
            },
            Event::Eof => return Ok(names),
            _ => {}
        }
    }
}

/// A table on its way into rows.
struct Table {
    line: Line,
    /// The number of the row that comes next.
    next: u64,
}

impl Table {
    fn rows<R: Read + Seek>(mut self, xml: &mut Xml<'_, R>, take: Take<'_>) -> Result<(), IntakeError> {
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            match next(xml, &mut buffer)? {
                Event::Start(e) if e.name().as_ref() == "table:table-row" => {
                    let repeated = times(&e, "table:number-rows-repeated")?;
                    self.line.begin(self.next);
                    self.cells(xml)?;
                    if !self.line.is_blank() {
                        for _ in 0..repeated {
                            self.line.renumber(self.next);
                            self.next += 1;
                            if self.line.give(take)?.is_break() {
                                return Ok(());
                            }
                        }
                        continue;
                    }
                    self.next = self.next.saturating_add(repeated);
                }
                // A table within a cell or a drawing is not this one.
                Event::Start(e) if e.name().as_ref() == "table:table" => pass(xml, &e)?,
                Event::End(e) if e.name().as_ref() == "table:table" => return Ok(()),
                Event::Eof => return Err(broken()),
                _ => {}
            }
        }
    }

    /// The cells of a row, to its end.
    fn cells<R: Read + Seek>(&mut self, xml: &mut Xml<'_, R>) -> Result<(), IntakeError> {
        let (mut buffer, mut column) = (Vec::new(), 0_usize);
        loop {
            buffer.clear();
            match next(xml, &mut buffer)? {
                Event::Start(e) if matches!(e.name().as_ref(), "table:table-cell" | "table:covered-table-cell") => {
                    let repeated = usize::try_from(times(&e, "table:number-columns-repeated")?).unwrap_or(usize::MAX);
                    let value = value(xml, &e)?;
                    let after = column.saturating_add(repeated);
                    let is_filled =
                        !matches!(&value, Value::Empty) && !matches!(&value, Value::Text(s) if s.is_empty());
                    while is_filled && column < after {
                        self.line.put(column, &value)?;
                        column += 1;
                    }
                    column = after;
                }
                Event::End(e) if e.name().as_ref() == "table:table-row" => return Ok(()),
                Event::Eof => return Err(broken()),
                _ => {}
            }
        }
    }
}

fn times(element: &BytesStart<'_>, name: &str) -> Result<u64, IntakeError> {
    let said = attribute(element, name)?;
    said.map_or(Ok(1), |n| n.trim().parse().map_err(|_| broken()))
}

/// What a cell holds: the value that stands in its attributes, or else its text; read to its end.
fn value<R: Read + Seek>(xml: &mut Xml<'_, R>, cell: &BytesStart<'_>) -> Result<Value<'static>, IntakeError> {
    let said = |name: &str| attribute(cell, name);
    let owned = |text: String| Value::Text(Cow::Owned(text));
    let kind = said("office:value-type")?.unwrap_or_default();
    let is_error = said("calcext:value-type")?.is_some_and(|kind| kind == "error");
    let stated = match kind.as_str() {
        "" => Some(Value::Empty),
        "float" | "percentage" | "currency" => {
            let number = said("office:value")?.map(|n| n.trim().parse().map_err(|_| broken())).transpose()?;
            number.map(Value::Number)
        }
        "date" => said("office:date-value")?.map(owned),
        "time" => said("office:time-value")?.map(owned),
        "boolean" => said("office:boolean-value")?.map(|b| Value::Truth(b.eq_ignore_ascii_case("true"))),
        _ => said("office:string-value")?.filter(|text| !text.is_empty() || !is_error).map(owned),
    };
    match stated {
        Some(value) if !is_error => pass(xml, cell).map(|()| value),
        _ => text(xml).map(owned),
    }
}

/// The paragraphs of a cell, without what is noted on it.
fn text<R: Read + Seek>(xml: &mut Xml<'_, R>) -> Result<String, IntakeError> {
    let (mut buffer, mut text, mut paragraphs, mut within) = (Vec::new(), String::new(), 0, 0_u32);
    loop {
        buffer.clear();
        match next(xml, &mut buffer)? {
            Event::Start(e) => match e.name().as_ref() {
                "office:annotation" | "table:table" => pass(xml, &e)?,
                "text:p" => {
                    text.push_str(if paragraphs > 0 { "\n" } else { "" });
                    (paragraphs, within) = (paragraphs + 1, within + 1);
                }
                "text:s" => {
                    let spaces = usize::try_from(times(&e, "text:c")?).unwrap_or(usize::MAX);
                    text.extend(std::iter::repeat_n(' ', spaces.min(MAX_RECORD)));
                }
                "text:tab" => text.push('\t'),
                "text:line-break" => text.push('\n'),
                _ => {}
            },
            Event::End(e) => match e.name().as_ref() {
                "table:table-cell" | "table:covered-table-cell" => return Ok(text),
                "text:p" => within = within.saturating_sub(1),
                _ => {}
            },
            Event::Text(t) if within > 0 => text.push_str(&t.xml10_content()),
            Event::CData(t) if within > 0 => text.push_str(&t.xml10_content()),
            Event::GeneralRef(e) if within > 0 => text.push_str(&referred(&e)?),
            Event::Eof => return Err(broken()),
            _ => {}
        }
        if text.len() > 2 * MAX_RECORD {
            return Err(IntakeError::damaged(
                "A cell of the spreadsheet is longer than 1 MiB, so this is no list of people; correct it and send the file again.",
            ));
        }
    }
}

/// The letter that a reference such as `&amp;` or `&#xA0;` stands for.
fn referred(reference: &BytesRef<'_>) -> Result<String, IntakeError> {
    if let Some(letter) = reference.resolve_char_ref().map_err(|_| broken())? {
        return Ok(letter.to_string());
    }
    let known = quick_xml::escape::resolve_xml_entity(reference);
    known.map(str::to_owned).ok_or_else(broken)
}

#[cfg(test)]
mod tests;
