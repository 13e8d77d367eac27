//! Workbooks that are written: one sheet, in which dates are dates and everything else is text and never a formula. Rows go to a
//! file without a name as they come, so that a million of them are not in memory.

use std::{
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use chrono::{Datelike, NaiveDate};
use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, Worksheet, XlsxError};

use crate::{Error, Result};

/// Rows that a sheet can have.
pub const MOST_ROWS: u64 = 1_048_576;
/// Width of a column below a head, in letters.
const WIDTH: u32 = 18;

/// What stands in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// A text, whatever it looks like.
    Text(&'a str),
    /// A day; one that Excel does not know, because it begins to count in 1900, is written as text.
    Day(NaiveDate),
}

/// A workbook of one sheet that is being written.
pub struct Sheet {
    book: Workbook,
    sheet: Worksheet,
    text: Format,
    date: Format,
    rows: u32,
}

impl Sheet {
    /// An empty one, whose rows lie in a directory until it is finished; without one where the system has its temporary files.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn begin(name: &str, dir: Option<&Path>) -> Result<Sheet> {
        let begun = || -> Result<Sheet, XlsxError> {
            let mut book = Workbook::new();
            if let Some(dir) = dir {
                book.set_tempdir(dir)?;
            }
            let mut sheet = book.new_worksheet_with_constant_memory()?;
            sheet.set_name(name)?;
            let (text, date) = (Format::new().set_num_format("@"), Format::new().set_num_format("yyyy-mm-dd"));
            Ok(Sheet { book, sheet, text, date, rows: 0 })
        };
        begun().map_err(failed)
    }

    /// It may have 4 GiB and more, which only readers of ZIP64 can take.
    pub fn make_large(&mut self) {
        self.book.use_zip_large_file(true);
    }

    /// Adds the head, which stays in sight.
    ///
    /// # Errors
    /// As [`Sheet::row`].
    pub fn head<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Result<()> {
        let bold = Format::new().set_bold();
        let row = self.rows;
        self.rows += 1;
        let sheet = &mut self.sheet;
        written(|| {
            sheet.set_freeze_panes(row + 1, 0)?;
            for (name, column) in names.zip(0u16..) {
                sheet.set_column_width(column, WIDTH)?;
                sheet.write_string_with_format(row, column, name, &bold)?;
            }
            Ok(())
        })
    }

    /// Adds a row: what stands in its cells from the left, `None` for nothing. After an error the workbook is of no use any more.
    ///
    /// # Errors
    /// If there is no room for it, or the disk refuses.
    pub fn row<'a>(&mut self, cells: impl Iterator<Item = Option<Cell<'a>>>) -> Result<()> {
        let row = self.rows;
        self.rows = self.rows.saturating_add(1);
        let Sheet { sheet, text, date, .. } = self;
        written(|| {
            for (cell, column) in cells.zip(0u16..) {
                match cell {
                    None => {}
                    Some(Cell::Text(value)) => drop(sheet.write_string_with_format(row, column, value, text)?),
                    Some(Cell::Day(day)) => match known(day) {
                        Some(day) => drop(sheet.write_datetime_with_format(row, column, &day, date)?),
                        None => drop(sheet.write_string_with_format(row, column, day.to_string(), text)?),
                    },
                }
            }
            Ok(())
        })
    }

    /// Writes the whole workbook, which takes a while where there are many rows.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn finish(self, out: &mut (impl Write + Send)) -> Result<()> {
        let Sheet { mut book, sheet, .. } = self;
        written(|| {
            book.push_worksheet(sheet);
            book.save_to_writer(out)
        })
    }
}

/// The day, if Excel knows it.
fn known(day: NaiveDate) -> Option<ExcelDateTime> {
    let year = u16::try_from(day.year()).ok().filter(|year| (1900..=9999).contains(year))?;
    ExcelDateTime::from_ymd(year, day.month() as u8, day.day() as u8).ok()
}

/// What writes rows panics where the disk refuses, instead of saying so: that must end nothing but the workbook.
fn written(write: impl FnOnce() -> Result<(), XlsxError>) -> Result<()> {
    match catch_unwind(AssertUnwindSafe(write)) {
        Ok(outcome) => outcome.map_err(failed),
        Err(_) => Err(Error::File("The workbook cannot be written: the disk may be full.".to_owned())),
    }
}

fn failed(error: XlsxError) -> Error {
    match error {
        XlsxError::MaxStringLengthExceeded => {
            Error::Wrong("A text is longer than a cell of a workbook can be; ask for csv.".to_owned())
        }
        XlsxError::RowColumnLimitError => {
            Error::Wrong(format!("A sheet has room for {MOST_ROWS} rows, and there are more; ask for csv."))
        }
        error => Error::File(format!("The workbook cannot be written: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_has_no_more_rows_than_spreadsheets_can_read() {
        let mut sheet = Sheet::begin("Members", None).unwrap();
        sheet.rows = MOST_ROWS as u32 - 1;
        sheet.row([Some(Cell::Text("last"))].into_iter()).unwrap();
        let refused = sheet.row([Some(Cell::Text("one more"))].into_iter());
        assert!(matches!(&refused, Err(Error::Wrong(why)) if why.contains("ask for csv")), "{refused:?}");
    }

    #[test]
    fn a_text_that_no_cell_can_have_is_told_without_it() {
        let mut sheet = Sheet::begin("Members", None).unwrap();
        let long = "x".repeat(32_768);
        let refused = sheet.row([None, Some(Cell::Text(&long))].into_iter());
        assert!(matches!(&refused, Err(Error::Wrong(why)) if !why.contains("xx")), "{refused:?}");
    }

    #[test]
    fn what_writes_rows_and_panics_ends_the_workbook_alone() {
        let ended = written(|| panic!("the disk is full"));
        assert!(matches!(&ended, Err(Error::File(why)) if why.contains("disk")), "{ended:?}");
    }
}
