//! Refused rows of a workbook as a workbook: every cell is text, so that no spreadsheet makes anything else of it.

use muster_engine::workbook::{Cell, Sheet};

use crate::{fail::Failure, whole::Whole};

/// A workbook of one sheet in the making.
pub struct Book {
    file: Whole,
    sheet: Sheet,
}

impl Book {
    /// An empty one.
    pub fn begin(file: Whole) -> Result<Book, Failure> {
        Ok(Book { file, sheet: Sheet::begin("Refused", None)? })
    }

    /// Adds a row; the first is the header row.
    pub fn row(&mut self, cells: &[&str]) -> Result<(), Failure> {
        Ok(self.sheet.row(cells.iter().map(|text| (!text.is_empty()).then_some(Cell::Text(text))))?)
    }

    /// Puts it in its place.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.sheet.finish(self.file.file())?;
        self.file.finish()
    }
}
