//! The table as a workbook, which lies on the disk before anything of it is read.

use std::{
    fs::File,
    io::{BufWriter, Seek, Write},
};

use chrono::NaiveDate;
use muster_domain::{field::FieldKind, member::Member};

use super::{Column, Table};
use crate::{
    Engine, Error, Organisation, Result,
    workbook::{Cell, MOST_ROWS, Sheet},
};

/// So many people have room below the head of a sheet.
pub const MOST_PEOPLE: u64 = MOST_ROWS - 1;
/// From so many cells on a sheet may have 4 GiB.
const LARGE: u64 = 10_000_000;
const BUFFER: usize = 1 << 17;

/// A workbook of members that is being written.
pub struct Book {
    sheet: Sheet,
    table: Table,
    file: File,
}

impl Engine {
    /// A workbook of this table, which is written where payloads lie, to files that have no names. It works on the disk: not for
    /// a thread that others wait for.
    ///
    /// # Errors
    /// If more people are in the table than a sheet has room for, or the disk refuses.
    pub fn workbook(&self, org: &Organisation, table: Table) -> Result<Book> {
        table.fits_a_sheet()?;
        let file = self.payloads.scratch(org.row.id)?;
        let mut sheet = Sheet::begin("Members", Some(&self.payloads.dir(org.row.id)))?;
        if table.people * table.columns.len() as u64 > LARGE {
            sheet.make_large();
        }
        sheet.head(table.columns.iter().map(|column| &*column.head))?;
        Ok(Book { sheet, table, file })
    }
}

impl Table {
    /// Whether a sheet has room for all who are to stand in it.
    ///
    /// # Errors
    /// If it has not.
    pub fn fits_a_sheet(&self) -> Result<()> {
        let people = self.people;
        if people <= MOST_PEOPLE {
            return Ok(());
        }
        Err(Error::Wrong(format!("A sheet has room for {MOST_PEOPLE} people and these are {people}; ask for csv.")))
    }
}

impl Book {
    /// Writes a row. After an error the workbook is of no use any more.
    ///
    /// # Errors
    /// If there is no room for it, or the disk refuses.
    pub fn add(&mut self, member: &Member) -> Result<()> {
        let value = |column: &Column| Some(cell(column.kind, member.values.get(column.field)?));
        self.sheet.row(self.table.columns.iter().map(value))
    }

    /// The whole workbook, as a file without a name that is read from its beginning. It takes a while where there are many rows.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn finish(self) -> Result<File> {
        let mut out = BufWriter::with_capacity(BUFFER, self.file);
        self.sheet.finish(&mut out)?;
        out.flush()?;
        let mut file = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }
}

/// What is no day is a text, as in every other column.
fn cell(kind: FieldKind, value: &str) -> Cell<'_> {
    let day: Option<NaiveDate> = (kind == FieldKind::Date).then(|| value.parse().ok()).flatten();
    day.map_or(Cell::Text(value), Cell::Day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_people_than_a_sheet_has_room_for_are_told_before_anything_is_written() {
        let table = |people| Table { columns: Vec::new(), people };
        assert!(table(1_048_575).fits_a_sheet().is_ok());
        let refused = table(1_048_576).fits_a_sheet();
        assert!(
            matches!(&refused, Err(Error::Wrong(why)) if why.contains("1048576") && why.contains("csv")),
            "{refused:?}"
        );
    }
}
