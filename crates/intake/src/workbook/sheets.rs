//! The sheets of a workbook, whatever its format: their names, and their rows one after the other.

use std::{
    io::{Read, Seek},
    ops::ControlFlow,
    path::Path,
};

use super::{cell::Value, ods, too_long, xls, xlsx};
use crate::{csv::MAX_RECORD, error::IntakeError};

/// What is done with a row: its number from 1 and its cells.
pub(super) type Take<'a> = &'a mut dyn FnMut(u64, &[String]) -> Result<ControlFlow<()>, IntakeError>;

/// An open workbook.
pub(super) enum Sheets<R: Read + Seek> {
    Xlsx(Box<xlsx::Book<R>>),
    Xls(Box<xls::Book>),
    Ods(Box<ods::Book<R>>),
}

impl<R: Read + Seek> Sheets<R> {
    pub(super) fn xlsx(file: R, scratch: &Path) -> Result<Self, IntakeError> {
        Ok(Sheets::Xlsx(Box::new(xlsx::Book::open(file, scratch)?)))
    }

    pub(super) fn ods(file: R) -> Result<Self, IntakeError> {
        Ok(Sheets::Ods(Box::new(ods::Book::open(file)?)))
    }

    pub(super) fn xls(file: R) -> Result<Self, IntakeError> {
        Ok(Sheets::Xls(Box::new(xls::Book::open(file)?)))
    }

    /// Sheets that may hold rows, with whether they are shown.
    pub(super) fn names(&self) -> Vec<(String, bool)> {
        match self {
            Sheets::Xlsx(book) => book.sheets(),
            Sheets::Xls(book) => book.sheets(),
            Sheets::Ods(book) => book.sheets().to_vec(),
        }
    }

    /// Walks the rows of a sheet in which anything is, until `take` has had enough.
    pub(super) fn rows(&mut self, sheet: &str, most_columns: usize, take: Take<'_>) -> Result<(), IntakeError> {
        match self {
            Sheets::Xlsx(book) => book.rows(sheet, most_columns, take),
            Sheets::Xls(book) => book.rows(sheet, most_columns, take),
            Sheets::Ods(book) => book.rows(sheet, most_columns, take),
        }
    }
}

/// A row that is being put together.
pub(super) struct Line {
    number: u64,
    cells: Vec<String>,
    used: usize,
    most_columns: usize,
    /// Bytes of text in the row.
    length: usize,
}

impl Line {
    pub(super) fn new(most_columns: usize) -> Self {
        Line { number: 0, cells: Vec::new(), used: 0, most_columns, length: 0 }
    }

    pub(super) fn begin(&mut self, number: u64) {
        self.number = number;
        self.used = 0;
        self.length = 0;
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

    pub(super) fn put(&mut self, column: usize, value: &Value<'_>) -> Result<(), IntakeError> {
        if *value == Value::Empty {
            return Ok(());
        }
        if column >= self.most_columns {
            let what = format!("has something in column {}", column + 1);
            return Err(IntakeError::Limit { what, key: "limits.columns", most: self.most_columns as u64 });
        }
        // Known before the text is copied: a text can be named by every cell of a row.
        self.length += if let Value::Text(text) = value { text.len() } else { 0 };
        if self.length > MAX_RECORD {
            return Err(too_long(self.number));
        }
        while self.used <= column {
            match self.cells.get_mut(self.used) {
                Some(cell) => cell.clear(),
                None => self.cells.push(String::new()),
            }
            self.used += 1;
        }
        self.cells[column].clear();
        value.push_to(&mut self.cells[column]);
        Ok(())
    }

    pub(super) fn give(&mut self, take: Take<'_>) -> Result<ControlFlow<()>, IntakeError> {
        if self.used == 0 { Ok(ControlFlow::Continue(())) } else { take(self.number, &self.cells[..self.used]) }
    }
}
