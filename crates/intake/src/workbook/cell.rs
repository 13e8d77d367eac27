//! One cell of a workbook as text: what a person would have typed for it.

use std::fmt::Write as _;

use calamine::DataType;

/// Adds a cell's text. `zeros` is the number of digits to which its number format fills up, as `00000` does.
pub(super) fn push(cell: &impl DataType, zeros: usize, text: &mut String) {
    if let Some(said) = cell.get_string() {
        text.push_str(said);
    } else if let Some(number) = cell.get_int() {
        let _ = write!(text, "{number:0zeros$}");
    } else if let Some(number) = cell.get_float() {
        push_number(number, zeros, text);
    } else if let Some(is_true) = cell.get_bool() {
        text.push_str(if is_true { "true" } else { "false" });
    } else if let Some(moment) = cell.get_datetime() {
        if moment.is_duration() {
            push_number(moment.as_f64(), 0, text);
        } else {
            push_date(moment.to_ymd_hms_milli(), text);
        }
    } else if let Some(iso) = cell.get_datetime_iso().or_else(|| cell.get_duration_iso()) {
        text.push_str(iso);
    } else if let Some(error) = cell.get_error() {
        let _ = write!(text, "{error}");
    }
}

/// A whole number has no decimals. From 16 digits on a workbook does not hold the last ones, and then the text says so in
/// the form in which spreadsheets do.
fn push_number(number: f64, zeros: usize, text: &mut String) {
    const EXACT: f64 = 1e15;
    let _ = if number.abs() >= EXACT {
        let plain = format!("{number:E}");
        write!(text, "{}", plain.replace('E', "E+"))
    } else if number.fract() == 0.0 {
        write!(text, "{:0zeros$}", number as i64)
    } else {
        write!(text, "{number}")
    };
}

fn push_date((year, month, day, hour, minute, second, _): (u16, u8, u8, u8, u8, u8, u16), text: &mut String) {
    let _ = write!(text, "{year:04}-{month:02}-{day:02}");
    if (hour, minute, second) != (0, 0, 0) {
        let _ = write!(text, " {hour:02}:{minute:02}:{second:02}");
    }
}

/// To how many digits a number format fills up; 0 if it does not.
pub(super) fn zeros(format: &str) -> usize {
    let fills = format.len() > 1 && format.len() <= 32 && format.bytes().all(|b| b == b'0');
    if fills { format.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use calamine::{CellErrorType, Data, ExcelDateTime, ExcelDateTimeType};

    use super::*;

    fn text(cell: Data) -> String {
        let mut text = String::new();
        push(&cell, 0, &mut text);
        text
    }

    #[test]
    fn numbers_are_what_was_typed() {
        for (number, typed) in [
            (1001.0, "1001"),
            (-3.0, "-3"),
            (37.5, "37.5"),
            (0.1, "0.1"),
            (123456789012345.0, "123456789012345"),
            (1.2345678901234567e19, "1.2345678901234567E+19"),
        ] {
            assert_eq!(text(Data::Float(number)), typed);
        }
        let mut filled = String::new();
        push(&Data::Float(123.0), zeros("00000"), &mut filled);
        assert_eq!(filled, "00123");
        assert_eq!([zeros("0"), zeros("0.00"), zeros("General"), zeros("000")], [0, 0, 0, 3]);
    }

    #[test]
    fn both_date_systems_give_the_day() {
        let date =
            |serial, is_1904| text(Data::DateTime(ExcelDateTime::new(serial, ExcelDateTimeType::DateTime, is_1904)));
        assert_eq!(date(44289.0, false), "2021-04-03");
        assert_eq!(date(42827.0, true), "2021-04-03");
        assert_eq!(date(44289.5, false), "2021-04-03 12:00:00");
        assert_eq!(date(2958465.0, false), "9999-12-31");
        // A day that only spreadsheets know; whoever reads it says that the calendar has none such.
        assert_eq!(date(60.0, false), "1900-02-29");
    }

    #[test]
    fn the_rest_is_text() {
        assert_eq!(text(Data::Bool(true)), "true");
        assert_eq!(text(Data::Error(CellErrorType::NA)), "#N/A");
        assert_eq!(text(Data::DateTimeIso("2021-04-03".into())), "2021-04-03");
        assert_eq!(text(Data::Empty), "");
    }
}
