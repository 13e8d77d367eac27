//! Workbooks: XLSX, XLS and ODS. The sheet that holds people is found, and its rows are brought into the plain form.
//! Cells are taken as they come: what is in memory is a row, texts that rows name by number, and of XLS its stream.

use std::{
    io::{Read, Seek, SeekFrom, Write},
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
};

use muster_domain::normalise;

use crate::{
    error::IntakeError,
    format::{Format, Packing},
    headers::{self, Place},
    payload::{Brought, How},
    rows::{Cell, RowWriter},
};

use archive::Kind;
use sheets::Sheets;

mod archive;
mod cell;
mod compound;
mod ods;
mod sheets;
mod style;
mod xls;
mod xlsx;

/// From how many known names on, the match key counted twice, a sheet looks like a list of people.
const LIKE_PEOPLE: usize = 3;

/// Writes the rows of the sheet that holds people.
pub(crate) fn bring<R: Read + Seek, W: Write>(
    mut file: R,
    packing: Packing,
    how: &How<'_>,
    out: W,
) -> Result<Brought, IntakeError> {
    if matches!(how.format, Some(Format::Csv | Format::Tsv | Format::Json | Format::Ndjson)) {
        return Err(IntakeError::damaged(
            "The file is a workbook and no text; leave the format out, or send the right file.",
        ));
    }
    // Workbooks are made by programs; whatever else is in a file may break the readers below, but nothing beyond them.
    catch_unwind(AssertUnwindSafe(|| match packing {
        Packing::Compound => compound(file, how, out),
        _ => {
            let kind = archive::check(std::io::BufReader::new(&mut file), how.limits)?;
            file.seek(SeekFrom::Start(0))?;
            match kind {
                Kind::Xlsx => sheet(Sheets::xlsx(file, how.scratch)?, "xlsx", how, out),
                Kind::Ods => sheet(Sheets::ods(file)?, "ods", how, out),
            }
        }
    }))
    .unwrap_or_else(|_| Err(archive::broken()))
}

fn compound<R: Read + Seek, W: Write>(mut file: R, how: &How<'_>, out: W) -> Result<Brought, IntakeError> {
    let most = u64::from(how.limits.xls_mb);
    if file.seek(SeekFrom::End(0))? > most << 20 {
        let what = format!("is in the format of before 2007 and larger than {most} MiB (.xlsx has no such limit)");
        return Err(IntakeError::Limit { what, key: "limits.xls_mb", most });
    }
    sheet(Sheets::xls(file)?, "xls", how, out)
}

fn too_long(row: u64) -> IntakeError {
    IntakeError::damaged(format!(
        "Row {row} is longer than 1 MiB, so this is no list of people; correct it and send the file again."
    ))
}

fn password() -> IntakeError {
    IntakeError::damaged(
        "The workbook is protected by a password; save it without one, or save the sheet as CSV, and send that.",
    )
}

/// A sheet with its first rows and what of them is the header row.
struct Candidate {
    name: String,
    /// Which of the sheets it is, counted from 1.
    number: u32,
    rows: Vec<(u64, Vec<String>)>,
    place: Place,
    known: usize,
}

impl Candidate {
    fn header(&self) -> Vec<String> {
        let row = || self.rows.get(self.place.index).map(|(_, names)| names.clone());
        self.place.names.clone().or_else(row).unwrap_or_default()
    }
}

fn sheet<R: Read + Seek, W: Write>(
    mut sheets: Sheets<R>,
    written: &'static str,
    how: &How<'_>,
    out: W,
) -> Result<Brought, IntakeError> {
    let (chosen, is_only) = choose(&mut sheets, how)?;
    let header = chosen.header();
    let row_number = |index: usize| chosen.rows.get(index).map_or(0, |(number, _)| *number);
    let (named_in, header_row) = (row_number(chosen.place.index), row_number(chosen.place.index + chosen.place.below));
    let width = header.len();
    let mut writer = RowWriter::new(out);
    let mut next = header_row + 1;
    sheets.rows(&chosen.name, how.limits.columns as usize, &mut |number, cells| {
        if number <= header_row {
            return Ok(ControlFlow::Continue(()));
        }
        if number - header_row > u64::from(how.limits.rows) {
            // Rows that are blank count here too: a sheet as long as that is not looked through.
            let most = how.limits.rows.into();
            return Err(IntakeError::Limit { what: format!("has more than {most} rows"), key: "limits.rows", most });
        }
        for _ in next..number {
            writer.blank()?;
        }
        next = number + 1;
        let cell = |i: usize| Cell::Text(cells.get(i).map_or("", String::as_str));
        writer.row((0..width).map(cell))?;
        Ok(ControlFlow::Continue(()))
    })?;
    writer.finish(true)?;
    let mut read_as = Vec::new();
    if !is_only {
        read_as.push(format!("The sheet \"{}\" was read.", shown(&chosen.name)));
    }
    if chosen.place.index > 0 {
        read_as.push(format!("The header row was found in row {named_in}; what stands above it was passed over."));
    }
    let (header_line, sheet) = (Some(named_in), Some(chosen.number));
    Ok(Brought { header, first: header_row + 1, written, read_as, header_line, sheet, ..Brought::default() })
}

/// The sheet that was named, or the only one that looks like a list of people; and whether there is no other.
fn choose<R: Read + Seek>(sheets: &mut Sheets<R>, how: &How<'_>) -> Result<(Candidate, bool), IntakeError> {
    let names = sheets.names();
    if let Some(wanted) = how.sheet {
        let plain = normalise::key(wanted);
        let found = names.iter().zip(1..).find(|((name, _), _)| normalise::key(name) == plain);
        let ((name, _), number) = found.ok_or_else(|| no_such_sheet(wanted, &names))?;
        let chosen = look(sheets, name.clone(), number, how)?.ok_or(IntakeError::Empty)?;
        return Ok((chosen, names.len() == 1));
    }
    let mut filled = Vec::new();
    for ((name, _), number) in names.into_iter().zip(1..).filter(|((_, is_shown), _)| *is_shown) {
        filled.extend(look(sheets, name, number, how)?);
    }
    if filled.len() <= 1 {
        return Ok((filled.pop().ok_or(IntakeError::Empty)?, true));
    }
    let is_like = |c: &&Candidate| c.known >= LIKE_PEOPLE;
    let like: Vec<&str> = filled.iter().filter(is_like).map(|c| c.name.as_str()).collect();
    match like.as_slice() {
        [_] => {}
        [] => {
            let all: Vec<&str> = filled.iter().map(|c| c.name.as_str()).collect();
            return Err(which(&all, "None of the sheets looks like a list of people"));
        }
        several => return Err(which(several, "Several sheets look like a list of people")),
    }
    let at = filled.iter().position(|c| is_like(&c)).unwrap_or_default();
    Ok((filled.swap_remove(at), false))
}

/// The first rows of a sheet; `None` if nothing is in it.
fn look<R: Read + Seek>(
    sheets: &mut Sheets<R>,
    name: String,
    number: u32,
    how: &How<'_>,
) -> Result<Option<Candidate>, IntakeError> {
    let mut rows: Vec<(u64, Vec<String>)> = Vec::new();
    sheets.rows(&name, how.limits.columns as usize, &mut |number, cells| {
        if cells.iter().any(|cell| !normalise::is_blank(cell)) {
            rows.push((number, cells.iter().map(|cell| normalise::trim(cell).to_owned()).collect()));
        }
        Ok(if rows.len() < headers::LOOKED_AT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if rows.is_empty() {
        return Ok(None);
    }
    let names: Vec<Vec<String>> = rows.iter().map(|(_, cells)| cells.clone()).collect();
    let place = headers::find(&names, how.knows);
    let mut candidate = Candidate { name, number, rows, place, known: 0 };
    candidate.known = (how.knows)(&candidate.header());
    Ok(Some(candidate))
}

fn which(names: &[&str], what: &str) -> IntakeError {
    let names: Vec<String> = names.iter().take(10).map(|n| format!("\"{}\"", shown(n))).collect();
    IntakeError::damaged(format!("{what} ({}); name the one to read with --sheet.", names.join(", ")))
}

fn no_such_sheet(wanted: &str, names: &[(String, bool)]) -> IntakeError {
    let names: Vec<String> = names.iter().take(10).map(|(n, _)| format!("\"{}\"", shown(n))).collect();
    IntakeError::damaged(format!("The workbook has no sheet \"{}\"; it has {}.", shown(wanted), names.join(", ")))
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}
