//! Refused rows of a workbook as a workbook: every cell is text, so that no spreadsheet makes anything else of it.

use rust_xlsxwriter::{Format, Workbook, XlsxError};

use crate::{
    fail::{Exit, Failure},
    whole::Whole,
};

/// A workbook of one sheet in the making. Rows go to a nameless temporary file as they come, not to memory.
pub struct Book {
    file: Whole,
    book: Workbook,
    text: Format,
    rows: u32,
}

impl Book {
    /// An empty one.
    pub fn begin(file: Whole) -> Result<Book, Failure> {
        let mut book = Workbook::new();
        book.add_worksheet_with_constant_memory().map_err(failed)?.set_name("Refused").map_err(failed)?;
        Ok(Book { file, book, text: Format::new().set_num_format("@"), rows: 0 })
    }

    /// Adds a row; the first is the header row.
    pub fn row(&mut self, cells: &[&str]) -> Result<(), Failure> {
        let sheet = self.book.worksheet_from_index(0).map_err(failed)?;
        for (column, text) in cells.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            sheet.write_string_with_format(self.rows, column as u16, *text, &self.text).map_err(failed)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Puts it in its place.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.book.save_to_writer(self.file.file()).map_err(failed)?;
        self.file.finish()
    }
}

fn failed(error: XlsxError) -> Failure {
    Failure::new("io", Exit::Failed, format!("The workbook of refused rows cannot be written: {error}"))
}
