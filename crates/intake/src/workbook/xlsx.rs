//! Workbooks of Excel since 2007: their sheets, and the rows of one, read as its part is unpacked. What is in memory is one
//! row, and of the texts that cells name by number no more than a few MiB, however many there are.

use std::{
    collections::{BTreeMap, HashMap},
    io::{Read, Seek},
    path::Path,
};

use super::{
    archive::broken,
    sheets::{Line, Take},
    style::{Style, style},
};
use crate::error::IntakeError;
use parts::{Parts, Relation};
use scan::Token;
use shared::Shared;

mod parts;
mod phrase;
mod rows;
mod scan;
mod shared;

/// More sheets, formats or relations than this no workbook has.
const MOST_ENTRIES: usize = 1 << 17;

/// An open workbook.
pub(super) struct Book<R: Read + Seek> {
    parts: Parts<R>,
    sheets: Vec<Sheet>,
    shared: Shared,
    /// By the number of a style, what its number format makes of a number.
    styles: Vec<Style>,
    is_1904: bool,
}

struct Sheet {
    name: String,
    is_shown: bool,
    /// Whether it has cells, as a chart has not.
    holds_rows: bool,
    path: String,
}

impl<R: Read + Seek> Book<R> {
    /// Opens a workbook; `scratch` is a directory for texts that are too many for the memory.
    pub(super) fn open(file: R, scratch: &Path) -> Result<Self, IntakeError> {
        let mut parts = Parts::open(file)?;
        let path = parts.workbook()?;
        let relations = parts.relations(&path)?;
        let beside = |kind: &str, name: &str| {
            let said = relations.values().find(|r| r.kind == kind).map(|r| r.path.clone());
            said.unwrap_or_else(|| parts::resolve(&path, name))
        };
        let shared = shared::read(parts.part(&beside("sharedStrings", "sharedStrings.xml"))?, scratch)?;
        let styles = styles(&mut parts, &beside("styles", "styles.xml"))?;
        let mut book = Book { parts, sheets: Vec::new(), shared, styles, is_1904: false };
        book.read_workbook(&path, &relations)?;
        Ok(book)
    }

    /// Sheets that may hold rows, with whether they are shown.
    pub(super) fn sheets(&self) -> Vec<(String, bool)> {
        self.sheets.iter().filter(|s| s.holds_rows).map(|s| (s.name.clone(), s.is_shown)).collect()
    }

    /// Walks the rows of a sheet in which anything is.
    pub(super) fn rows(&mut self, sheet: &str, most_columns: usize, take: Take<'_>) -> Result<(), IntakeError> {
        let sheet = self.sheets.iter().find(|s| s.name == sheet).ok_or_else(broken)?;
        let scan = self.parts.part(&sheet.path)?.ok_or_else(broken)?;
        let meaning = rows::Meaning { shared: &mut self.shared, styles: &self.styles, is_1904: self.is_1904 };
        rows::Rows::new(scan, meaning, Line::new(most_columns)).walk(take)
    }

    fn read_workbook(&mut self, path: &str, relations: &BTreeMap<String, Relation>) -> Result<(), IntakeError> {
        let mut scan = self.parts.part(path)?.ok_or_else(broken)?;
        loop {
            match scan.next()? {
                Token::Open(tag) if tag.name == b"sheet" => {
                    let id = tag.local(b"id")?.unwrap_or_default();
                    let relation = relations.get(&id).ok_or_else(broken)?;
                    let is_shown = match tag.attribute(b"state")?.as_deref() {
                        None | Some("visible") => true,
                        Some("hidden" | "veryHidden") => false,
                        Some(_) => return Err(broken()),
                    };
                    let name = tag.attribute(b"name")?.unwrap_or_default();
                    let holds_rows = relation.kind == "worksheet";
                    self.sheets.push(Sheet { name, is_shown, holds_rows, path: relation.path.clone() });
                    if self.sheets.len() > MOST_ENTRIES {
                        return Err(broken());
                    }
                }
                Token::Open(tag) if tag.name == b"workbookPr" => {
                    // An extension has an element of the same name, without it.
                    if let Some(said) = tag.attribute(b"date1904")? {
                        self.is_1904 = said == "1" || said == "true";
                    }
                }
                Token::Close(b"workbook") => return Ok(()),
                Token::End => return Err(broken()),
                _ => {}
            }
        }
    }
}

/// The styles that cells name by number.
fn styles<R: Read + Seek>(parts: &mut Parts<R>, path: &str) -> Result<Vec<Style>, IntakeError> {
    let Some(mut scan) = parts.part(path)? else { return Ok(Vec::new()) };
    let (mut codes, mut numbers) = (HashMap::new(), Vec::new());
    let mut within = None;
    loop {
        match scan.next()? {
            Token::Open(tag) => match (tag.name, within) {
                (b"numFmts", _) => within = Some("numFmts"),
                (b"cellXfs", _) => within = Some("cellXfs"),
                (b"numFmt", Some("numFmts")) => {
                    let number = tag.attribute(b"numFmtId")?.and_then(|n| n.parse::<u32>().ok());
                    if let (Some(number), Some(code)) = (number, tag.attribute(b"formatCode")?) {
                        codes.insert(number, style(number, Some(&code)));
                    }
                }
                (b"xf", Some("cellXfs")) => {
                    numbers.push(tag.attribute(b"numFmtId")?.and_then(|n| n.parse::<u32>().ok()));
                }
                _ => {}
            },
            Token::Close(b"numFmts" | b"cellXfs") => within = None,
            Token::Close(b"styleSheet") => break,
            Token::End => return Err(broken()),
            _ => {}
        }
        if codes.len().max(numbers.len()) > MOST_ENTRIES {
            return Err(broken());
        }
    }
    let known = |number: u32| codes.get(&number).copied().unwrap_or_else(|| style(number, None));
    Ok(numbers.into_iter().map(|number| number.map(known).unwrap_or_default()).collect())
}

#[cfg(test)]
mod tests;
