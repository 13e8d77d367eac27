//! The sheets of a workbook, whatever its format: their names, and their rows one after the other.

use std::{
    io::{BufReader, Read, Seek},
    ops::ControlFlow,
};

use calamine::{DataType, Reader as _, Sheet, SheetType, SheetVisible, Xlsx, XlsxError};

use super::{archive::broken, cell, ods, password, xls};
use crate::error::IntakeError;

/// What is done with a row: its number from 1 and its cells.
pub(super) type Take<'a> = &'a mut dyn FnMut(u64, &[String]) -> Result<ControlFlow<()>, IntakeError>;

/// An open workbook.
pub(super) enum Sheets<R: Read + Seek> {
    Xlsx(Box<Xlsx<BufReader<R>>>),
    Xls(Box<xls::Book>),
    Ods(Box<ods::Book<R>>),
}

impl<R: Read + Seek> Sheets<R> {
    pub(super) fn xlsx(file: R) -> Result<Self, IntakeError> {
        Ok(Sheets::Xlsx(Box::new(Xlsx::new(BufReader::new(file)).map_err(xlsx_error)?)))
    }

    pub(super) fn ods(file: R) -> Result<Self, IntakeError> {
        Ok(Sheets::Ods(Box::new(ods::Book::open(file)?)))
    }

    pub(super) fn xls(file: R) -> Result<Self, IntakeError> {
        Ok(Sheets::Xls(Box::new(xls::Book::open(file)?)))
    }

    /// Sheets that may hold rows, with whether they are shown.
    pub(super) fn names(&self) -> Vec<(String, bool)> {
        let sheets: &[Sheet] = match self {
            Sheets::Xlsx(book) => book.sheets_metadata(),
            Sheets::Xls(book) => return book.sheets(),
            Sheets::Ods(book) => return book.sheets().to_vec(),
        };
        let holds_rows = sheets.iter().filter(|s| s.typ == SheetType::WorkSheet);
        holds_rows.map(|s| (s.name.clone(), s.visible == SheetVisible::Visible)).collect()
    }

    /// Walks the rows of a sheet in which anything is, until `take` has had enough.
    pub(super) fn rows(&mut self, sheet: &str, most_columns: usize, take: Take<'_>) -> Result<(), IntakeError> {
        match self {
            Sheets::Xlsx(book) => stream(book, sheet, most_columns, take),
            Sheets::Xls(book) => book.rows(sheet, most_columns, take),
            Sheets::Ods(book) => book.rows(sheet, most_columns, take),
        }
    }
}

fn xlsx_error(error: XlsxError) -> IntakeError {
    if matches!(error, XlsxError::Password) { password() } else { broken() }
}

/// A row that is being put together.
pub(super) struct Line {
    number: u64,
    cells: Vec<String>,
    used: usize,
    most_columns: usize,
}

impl Line {
    pub(super) fn new(most_columns: usize) -> Self {
        Line { number: 0, cells: Vec::new(), used: 0, most_columns }
    }

    pub(super) fn begin(&mut self, number: u64) {
        self.number = number;
        self.used = 0;
    }

    /// Gives the same cells another number.
    pub(super) fn renumber(&mut self, number: u64) {
        self.number = number;
    }

    /// The number of the row; 0 before there is one.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn is_blank(&self) -> bool {
        self.used == 0
    }

    pub(super) fn put(&mut self, column: usize, value: &impl DataType, zeros: usize) -> Result<(), IntakeError> {
        if value.is_empty() {
            return Ok(());
        }
        if column >= self.most_columns {
            let what = format!("has something in column {}", column + 1);
            return Err(IntakeError::Limit { what, key: "limits.columns", most: self.most_columns as u64 });
        }
        while self.used <= column {
            match self.cells.get_mut(self.used) {
                Some(cell) => cell.clear(),
                None => self.cells.push(String::new()),
            }
            self.used += 1;
        }
        self.cells[column].clear();
        cell::push(value, zeros, &mut self.cells[column]);
        Ok(())
    }

    pub(super) fn give(&mut self, take: Take<'_>) -> Result<ControlFlow<()>, IntakeError> {
        if self.used == 0 { Ok(ControlFlow::Continue(())) } else { take(self.number, &self.cells[..self.used]) }
    }
}

/// Cells as the file has them, without holding the sheet in memory.
fn stream<R: Read + Seek>(
    book: &mut Xlsx<R>,
    sheet: &str,
    most_columns: usize,
    take: Take<'_>,
) -> Result<(), IntakeError> {
    let mut reader = book.worksheet_cells_reader(sheet).map_err(xlsx_error)?;
    let format = |style: &calamine::Style| style.number_format.as_ref().map_or(0, |f| cell::zeros(&f.format_code));
    let zeros: Vec<usize> = reader.styles().iter().map(format).collect();
    let mut line = Line::new(most_columns);
    while let Some((found, style)) = reader.next_cell_with_style_id().map_err(xlsx_error)? {
        let (row, column) = found.get_position();
        let number = u64::from(row) + 1;
        if number != line.number {
            if number < line.number {
                return Err(broken());
            }
            if line.give(take)?.is_break() {
                return Ok(());
            }
            line.begin(number);
        }
        line.put(column as usize, found.get_value(), zeros.get(style).copied().unwrap_or_default())?;
    }
    line.give(take).map(|_| ())
}
