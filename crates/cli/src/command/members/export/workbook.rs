//! The roster as a workbook: dates are dates, everything else is text and never a formula.

use std::io::Write;

use chrono::{Datelike, NaiveDate};
use muster_domain::field::FieldKind;
use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, Worksheet, XlsxError};

use super::Listed;
use crate::fail::{Exit, Failure};

/// Rows that a sheet can have below its head.
const MOST_PEOPLE: u64 = 1_048_575;
/// Width of a column, in letters.
const WIDTH: u32 = 18;

/// Writes a workbook of one sheet. Rows go to a nameless temporary file as they come, not to memory.
pub async fn write(listed: &Listed<'_>, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    if listed.people > MOST_PEOPLE {
        return Err(Failure::wrong(format!(
            "A sheet has room for {MOST_PEOPLE} people and these are {}; use --format csv.",
            listed.people
        )));
    }
    let mut book = Workbook::new();
    let sheet = book.add_worksheet_with_constant_memory().map_err(failed)?;
    head(sheet, listed).map_err(failed)?;
    let (text, date) = (Format::new().set_num_format("@"), Format::new().set_num_format("yyyy-mm-dd"));
    let (mut row, mut written) = (0, Ok(()));
    listed
        .roster
        .each(|member| {
            if !member.is_listed() || written.is_err() {
                return;
            }
            row += 1;
            let cells = listed.columns.iter().enumerate();
            let mut cells = cells.filter_map(|(i, f)| Some((i as u16, *f, member.values.get(*f)?)));
            written =
                cells.try_for_each(|(column, field, value)| match day(listed.org.settings.fields.kind(field), value) {
                    Some(day) => sheet.write_datetime_with_format(row, column, &day, &date).map(drop),
                    None => sheet.write_string_with_format(row, column, value, &text).map(drop),
                });
        })
        .await?;
    written.map_err(failed)?;
    let bytes = book.save_to_buffer().map_err(failed)?;
    Ok(out.write_all(&bytes)?)
}

fn head(sheet: &mut Worksheet, listed: &Listed<'_>) -> Result<(), XlsxError> {
    let bold = Format::new().set_bold();
    sheet.set_name("Members")?.set_freeze_panes(1, 0)?;
    for (column, name) in listed.heads().enumerate() {
        sheet.set_column_width(column as u16, WIDTH)?;
        sheet.write_string_with_format(0, column as u16, name, &bold)?;
    }
    Ok(())
}

/// The day in a date field, if Excel knows it: it begins to count in 1900.
fn day(kind: FieldKind, value: &str) -> Option<ExcelDateTime> {
    let day: NaiveDate = Some(value).filter(|_| kind == FieldKind::Date)?.parse().ok()?;
    let known = (1900..=9999).contains(&day.year());
    ExcelDateTime::from_ymd(u16::try_from(day.year()).ok().filter(|_| known)?, day.month() as u8, day.day() as u8).ok()
}

fn failed(error: XlsxError) -> Failure {
    Failure::new("io", Exit::Failed, format!("The workbook cannot be written: {error}"))
}
