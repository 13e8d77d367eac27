//! Workbooks of before 2007: a stream of records, of which texts are held in memory and cells are given as they come. The
//! stream itself is in memory too, and no larger than the file.

use std::{
    collections::HashMap,
    io::{Read, Seek},
};

use super::{
    archive::broken,
    cell::Value,
    compound::Compound,
    password,
    sheets::{Line, Take},
    style::{Style, style},
};
use crate::error::IntakeError;
use records::{Record, Records, Text};

mod records;

/// An open workbook.
pub(super) struct Book {
    stream: Vec<u8>,
    sheets: Vec<Sheet>,
    texts: Vec<String>,
    /// By the number of a style, what its number format makes of a number.
    styles: Vec<Style>,
    is_1904: bool,
    /// Whether texts are bytes, as up to Excel 95.
    is_old: bool,
}

struct Sheet {
    name: String,
    is_shown: bool,
    at: usize,
}

impl Book {
    pub(super) fn open(file: impl Read + Seek) -> Result<Self, IntakeError> {
        let mut file = Compound::open(file)?;
        if file.has("EncryptedPackage") || file.has("EncryptionInfo") {
            return Err(password());
        }
        let stream = match file.stream("Workbook")? {
            Some(stream) => stream,
            None => file.stream("Book")?.ok_or_else(broken)?,
        };
        Book::read(stream)
    }

    fn read(stream: Vec<u8>) -> Result<Self, IntakeError> {
        let mut book = Book {
            stream: Vec::new(),
            sheets: Vec::new(),
            texts: Vec::new(),
            styles: Vec::new(),
            is_1904: false,
            is_old: false,
        };
        let (mut formats, mut styles) = (HashMap::new(), Vec::new());
        let mut records = Records::new(&stream);
        while let Some(record) = records.next()? {
            match record.kind {
                0x0809 => book.is_old = old(&record)?,
                0x002F if record.u16(0) != 0 => return Err(password()),
                0x0042 if book.is_old && !matches!(record.u16(0), 0 | 367 | 1200 | 1252 | 0x8001) => {
                    return Err(IntakeError::damaged(
                        "The workbook is of before Excel 97 and in letters of another part of the world; save it as .xlsx and send that.",
                    ));
                }
                0x0022 => book.is_1904 = record.u16(0) == 1,
                0x041E => drop(formats.insert(record.u16(0), format_code(&record, book.is_old)?)),
                0x00E0 => styles.push(record.u16(2)),
                0x0085 if record.byte(5) == 0 => book.sheets.push(Sheet {
                    at: record.u32(0) as usize,
                    is_shown: record.byte(4) & 3 == 0,
                    name: if book.is_old { record.text(6).bytes(1)? } else { record.text(6).short()? },
                }),
                0x00FC => book.texts = shared(&record)?,
                0x000A => break,
                _ => {}
            }
        }
        book.styles = styles.iter().map(|f| style((*f).into(), formats.get(f).map(String::as_str))).collect();
        book.stream = stream;
        Ok(book)
    }

    /// The sheets, with whether they are shown.
    pub(super) fn sheets(&self) -> Vec<(String, bool)> {
        self.sheets.iter().map(|s| (s.name.clone(), s.is_shown)).collect()
    }

    /// Walks the rows of a sheet in which anything is.
    pub(super) fn rows(&self, sheet: &str, most_columns: usize, take: Take<'_>) -> Result<(), IntakeError> {
        let sheet = self.sheets.iter().find(|s| s.name == sheet).ok_or_else(broken)?;
        let mut records = Records::new(self.stream.get(sheet.at..).ok_or_else(broken)?);
        let mut rows = Rows { line: Line::new(most_columns), take };
        // Charts within a sheet are streams within the stream.
        let (mut depth, mut formula) = (0_usize, (0, 0));
        while let Some(record) = records.next()? {
            match record.kind {
                0x0809 => depth += 1,
                0x000A if depth <= 1 => break,
                0x000A => depth -= 1,
                _ if depth > 1 => {}
                0x0006 => formula = (record.u16(0), record.u16(2)),
                _ => {}
            }
            if depth > 1 {
                continue;
            }
            if rows.cells(self, &record, formula)? {
                return Ok(());
            }
        }
        rows.line.give(rows.take).map(|_| ())
    }

    fn number(&self, number: f64, style: u16) -> Value<'static> {
        let style = self.styles.get(usize::from(style)).copied().unwrap_or_default();
        Value::number(number, style, self.is_1904)
    }
}

/// Rows in the making.
struct Rows<'a> {
    line: Line,
    take: Take<'a>,
}

impl Rows<'_> {
    /// Takes the cells of a record, if it has any; whether that is enough.
    fn cells(&mut self, book: &Book, record: &Record<'_>, formula: (u16, u16)) -> Result<bool, IntakeError> {
        let at = (record.u16(0), record.u16(2));
        let style = record.u16(4);
        let value = match record.kind {
            0x0203 => book.number(record.f64(6), style),
            0x027E => book.number(compact(record.u32(6)), style),
            0x00BD => return self.several(book, record),
            0x00FD => {
                let text = book.texts.get(record.u32(6) as usize).ok_or_else(broken)?;
                return self.put(at, &Value::text(text));
            }
            0x0204 | 0x00D6 => {
                let text = if book.is_old { record.text(6).bytes(2)? } else { record.text(6).long()? };
                return self.put(at, &Value::text(&text));
            }
            0x0207 => {
                let text = if book.is_old { record.text(0).bytes(2)? } else { record.text(0).long()? };
                return self.put(formula, &Value::text(&text));
            }
            0x0205 => truth_or_error(record.byte(7) != 0, record.byte(6)),
            0x0006 => match (record.u16(12), record.byte(6)) {
                (0xFFFF, 1) => truth_or_error(false, record.byte(8)),
                (0xFFFF, 2) => truth_or_error(true, record.byte(8)),
                // A text follows in a record of its own, or there is none.
                (0xFFFF, _) => return Ok(false),
                _ => book.number(record.f64(6), style),
            },
            _ => return Ok(false),
        };
        self.put(at, &value)
    }

    /// Numbers in cells side by side.
    fn several(&mut self, book: &Book, record: &Record<'_>) -> Result<bool, IntakeError> {
        let (row, first) = (record.u16(0), record.u16(2));
        for (i, column) in (0..record.len().saturating_sub(6) / 6).zip(first..) {
            let value = book.number(compact(record.u32(6 + i * 6)), record.u16(4 + i * 6));
            if self.put((row, column), &value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn put(&mut self, (row, column): (u16, u16), value: &Value<'_>) -> Result<bool, IntakeError> {
        let number = u64::from(row) + 1;
        if number != self.line.number() {
            if number < self.line.number() {
                return Err(broken());
            }
            if self.line.give(self.take)?.is_break() {
                return Ok(true);
            }
            self.line.begin(number);
        }
        self.line.put(usize::from(column), value)?;
        Ok(false)
    }
}

/// Whether the workbook is of before Excel 97.
fn old(record: &Record<'_>) -> Result<bool, IntakeError> {
    match record.u16(0) {
        0x0600 => Ok(false),
        0x0500 => Ok(true),
        _ => Err(IntakeError::damaged("The workbook is of before Excel 5; save it as .xlsx and send that.")),
    }
}

fn format_code(record: &Record<'_>, is_old: bool) -> Result<String, IntakeError> {
    if is_old { record.text(2).bytes(1) } else { record.text(2).long() }
}

/// The texts that cells name by number.
fn shared(record: &Record<'_>) -> Result<Vec<String>, IntakeError> {
    let mut text: Text<'_, '_> = record.text(8);
    let mut texts = Vec::new();
    for _ in 0..record.u32(4) {
        if text.is_at_end() {
            break;
        }
        texts.push(text.long()?);
    }
    Ok(texts)
}

/// A number in four bytes: 30 bits of a whole number or of a fraction, perhaps of a hundred times as much.
fn compact(bits: u32) -> f64 {
    let number = match bits & 2 {
        0 => f64::from_bits(u64::from(bits & !3) << 32),
        _ => f64::from(bits as i32 >> 2),
    };
    if bits & 1 == 1 { number / 100.0 } else { number }
}

fn truth_or_error(is_error: bool, code: u8) -> Value<'static> {
    match (is_error, code) {
        (false, code) => Value::Truth(code != 0),
        (true, 0x00) => Value::text("#NULL!"),
        (true, 0x07) => Value::text("#DIV/0!"),
        (true, 0x0F) => Value::text("#VALUE!"),
        (true, 0x17) => Value::text("#REF!"),
        (true, 0x1D) => Value::text("#NAME?"),
        (true, 0x24) => Value::text("#NUM!"),
        (true, _) => Value::text("#N/A"),
    }
}

#[cfg(test)]
mod tests;
