//! The archive that a workbook is: what kind it is, and whether unpacking it can do harm. Asked before anything else opens it.

use std::io::{BufReader, Read, Seek};

use muster_domain::settings::Limits;
use quick_xml::events::{BytesStart, Event};
use zip::{ZipArchive, result::ZipError};

use crate::{error::IntakeError, gzip::Unpacking};

/// What lies in a ZIP archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Xlsx,
    Ods,
}

/// A workbook has some dozens of parts; an archive of so many is none.
const MOST_PARTS: usize = 20_000;

/// Unpacks every part that will be read, keeps nothing of it, and says what kind of workbook it is.
pub(super) fn check(file: impl Read + Seek, limits: Limits) -> Result<Kind, IntakeError> {
    let mut archive = ZipArchive::new(file).map_err(|e| damaged(&e))?;
    let kind = kind(&archive)?;
    if archive.len() > MOST_PARTS {
        return Err(IntakeError::damaged(
            "The workbook has more parts than any workbook has; save it anew and send that.",
        ));
    }
    let (mut declared, mut packed) = (0_u64, 0_u64);
    for i in 0..archive.len() {
        let part = archive.by_index_raw(i).map_err(|e| damaged(&e))?;
        declared = declared.saturating_add(part.size());
        packed = packed.saturating_add(part.compressed_size());
    }
    Unpacking::new(limits).add(declared, packed)?;
    let mut real = Unpacking::new(limits);
    let mut buffer = vec![0; 1 << 17];
    let mut packed = 0;
    for i in 0..archive.len() {
        let mut part = archive.by_index(i).map_err(|e| damaged(&e))?;
        if !part.name().is_ok_and(|name| is_read(&name)) {
            continue;
        }
        packed += part.compressed_size();
        let mut is_first = true;
        loop {
            let n = part.read(&mut buffer).map_err(|_| broken())?;
            if n == 0 {
                break;
            }
            real.add(n as u64, packed)?;
            if std::mem::take(&mut is_first) {
                refuse_entities(&buffer[..n])?;
            }
        }
    }
    if kind == Kind::Ods {
        super::ods::check(&mut archive)?;
        check_closed(&mut archive)?;
    }
    Ok(kind)
}

/// Every element of an ODS is closed, so that nothing is taken from a sheet that breaks off.
fn check_closed<R: Read + Seek>(archive: &mut ZipArchive<R>) -> Result<(), IntakeError> {
    for i in 0..archive.len() {
        let part = archive.by_index(i).map_err(|e| damaged(&e))?;
        if !part.name().is_ok_and(|name| is_read(&name)) {
            continue;
        }
        let mut reader = quick_xml::Reader::from_reader(BufReader::new(part));
        reader.config_mut().expand_empty_elements = false;
        let (mut depth, mut buffer) = (0_u64, Vec::new());
        let mut extent = Extent::default();
        loop {
            buffer.clear();
            match reader.read_event_into(&mut buffer) {
                Ok(Event::Start(e)) => {
                    extent.see(&e)?;
                    depth += 1;
                }
                Ok(Event::Empty(e)) => extent.see(&e)?,
                Ok(Event::End(_)) => depth = depth.checked_sub(1).ok_or_else(broken)?,
                Ok(Event::Eof) if depth == 0 => break,
                Ok(Event::Eof) | Err(_) => return Err(broken()),
                Ok(_) => {}
            }
        }
    }
    Ok(())
}

/// How large the tables of an ODS become: a few bytes can say that a cell stands there a million times.
#[derive(Default)]
struct Extent {
    /// How often the row stands there.
    rows: u64,
    /// Cells with something in them that nobody wrote.
    repeated: u64,
}

/// More cells than this that only repeat others are no list of people.
const MOST_REPEATED: u64 = 30_000_000;

impl Extent {
    fn see(&mut self, element: &BytesStart<'_>) -> Result<(), IntakeError> {
        let said = |name: &str| {
            let found = element.try_get_attribute(name).ok().flatten();
            found.map(|a| String::from_utf8_lossy(a.value.as_bytes()).trim().parse::<u64>().unwrap_or(u64::MAX))
        };
        match element.name().as_ref() {
            "table:table-row" => self.rows = said("table:number-rows-repeated").unwrap_or(1),
            "table:table-cell" | "table:covered-table-cell" if said("office:value-type").is_some() => {
                let cells = said("table:number-columns-repeated").unwrap_or(1).saturating_mul(self.rows);
                self.repeated = self.repeated.saturating_add(cells.saturating_sub(1));
                if self.repeated > MOST_REPEATED {
                    return Err(IntakeError::damaged(
                        "The spreadsheet has more than 30 million cells that only repeat others; save the list of people as CSV and send that.",
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn kind<R: Read + Seek>(archive: &ZipArchive<R>) -> Result<Kind, IntakeError> {
    let names: Vec<_> =
        archive.file_names().flatten().map(|n| n.trim_start_matches('/').to_ascii_lowercase()).collect();
    let has = |name: &str| names.iter().any(|n| n == name);
    if has("xl/workbook.bin") {
        let advice = "save it as .xlsx and send that.";
        return Err(IntakeError::NotText { what: "a binary Excel workbook (.xlsb)", advice });
    }
    if has("word/document.xml") || has("ppt/presentation.xml") {
        let advice = "export the list of people as an Excel workbook or as CSV and send that.";
        return Err(IntakeError::NotText { what: "a text document or a presentation", advice });
    }
    if has("[content_types].xml") || names.iter().any(|n| n.starts_with("xl/")) {
        return Ok(Kind::Xlsx);
    }
    if has("content.xml") {
        return Ok(Kind::Ods);
    }
    Err(IntakeError::NotText { what: "a ZIP archive", advice: "unpack it and send the file that is inside." })
}

/// Parts that reading takes in: not pictures and the like.
fn is_read(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".xml") || name.ends_with(".rels")
}

/// No office program declares entities, and one that stands for others grows without measure.
pub(super) fn refuse_entities(part: &[u8]) -> Result<(), IntakeError> {
    let head = &part[..part.len().min(4096)];
    let declares = |mark: &[u8]| head.windows(mark.len()).any(|w| w.eq_ignore_ascii_case(mark));
    if declares(b"<!ENTITY") {
        return Err(IntakeError::damaged(
            "The workbook declares XML entities, as no office program does; save it anew and send that.",
        ));
    }
    Ok(())
}

fn damaged(error: &ZipError) -> IntakeError {
    match error {
        ZipError::UnsupportedArchive(why) if why.contains("assword") => super::password(),
        _ => broken(),
    }
}

pub(super) fn broken() -> IntakeError {
    IntakeError::damaged("The workbook is damaged or was cut on its way; save it anew and send that.")
}
