//! One cell of a workbook as text: what a person would have typed for it.

use std::{borrow::Cow, fmt::Write as _};

use super::style::Style;

/// What is in a cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// Nothing; a text without letters is something.
    Empty,
    /// A text, or a day that is written out.
    Text(Cow<'a, str>),
    /// A number.
    Number(f64),
    /// A number filled up with zeros to so many digits.
    Filled(f64, usize),
    /// Days since the workbook's first day.
    Moment {
        /// The days, and the part of the last one.
        days: f64,
        /// Whether they count from 1904, as on old Macintoshes.
        is_1904: bool,
    },
    /// True or false.
    Truth(bool),
}

impl<'a> Value<'a> {
    /// A text that lies elsewhere.
    pub(super) fn text(text: &'a str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }

    /// A number as its number format has it.
    pub(super) fn number(number: f64, style: Style, is_1904: bool) -> Self {
        match style {
            Style::Plain => Value::Number(number),
            Style::Zeros(zeros) => Value::Filled(number, zeros),
            Style::Moment => Value::Moment { days: number, is_1904 },
        }
    }

    /// Adds what a person would have typed.
    pub(super) fn push_to(&self, text: &mut String) {
        match self {
            Value::Empty => {}
            Value::Text(said) => text.push_str(said),
            Value::Number(number) => push_number(*number, 0, text),
            Value::Filled(number, zeros) => push_number(*number, *zeros, text),
            Value::Moment { days, is_1904 } => push_moment(*days, *is_1904, text),
            Value::Truth(is_true) => text.push_str(if *is_true { "true" } else { "false" }),
        }
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

const SECONDS: u64 = 86_400;

fn push_moment(days: f64, is_1904: bool, text: &mut String) {
    // 9999-12-31. Casts saturate, so that what lies before the first day is the first day.
    let last = if is_1904 { 2_957_003 } else { 2_958_465 };
    let mut day = (days.floor() as u64).min(last);
    let time = days.fract() * SECONDS as f64;
    let mut seconds = time as u64 + u64::from((time.fract() * 1000.0).round() >= 1000.0);
    if seconds == SECONDS {
        (day, seconds) = ((day + 1).min(last), 0);
    }
    // 1970-01-01 is day 25,569 from 1900 on; 1900 has a 29 February in spreadsheets.
    let (year, month, date) = match (is_1904, day) {
        (true, _) => calendar(day as i64 + 1_462 - 25_569),
        (false, 0..60) => calendar(day as i64 + 1 - 25_569),
        (false, 60) => (1900, 2, 29),
        (false, _) => calendar(day as i64 - 25_569),
    };
    let _ = write!(text, "{year:04}-{month:02}-{date:02}");
    if seconds != 0 {
        let (minutes, second) = (seconds / 60, seconds % 60);
        let _ = write!(text, " {:02}:{:02}:{second:02}", minutes / 60, minutes % 60);
    }
}

/// The day of the calendar that is so many days after 1970-01-01. Years begin in March here, so that leap days end them.
fn calendar(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use calamine::{ExcelDateTime, ExcelDateTimeType};

    use super::*;

    fn text(value: Value<'_>) -> String {
        let mut text = String::new();
        value.push_to(&mut text);
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
            assert_eq!(text(Value::Number(number)), typed);
        }
        assert_eq!(text(Value::Filled(123.0, 5)), "00123");
    }

    #[test]
    fn both_date_systems_give_the_day() {
        let date = |days, is_1904| text(Value::Moment { days, is_1904 });
        assert_eq!(date(44289.0, false), "2021-04-03");
        assert_eq!(date(42827.0, true), "2021-04-03");
        assert_eq!(date(44289.5, false), "2021-04-03 12:00:00");
        assert_eq!(date(2958465.0, false), "9999-12-31");
        // A day that only spreadsheets know; whoever reads it says that the calendar has none such.
        assert_eq!(date(60.0, false), "1900-02-29");
    }

    #[test]
    fn every_day_is_the_one_that_others_read() {
        let same = |days: f64, is_1904: bool| {
            let moment = ExcelDateTime::new(days, ExcelDateTimeType::DateTime, is_1904).to_ymd_hms_milli();
            let (year, month, day, hour, minute, second, _) = moment;
            let mut expected = format!("{year:04}-{month:02}-{day:02}");
            if (hour, minute, second) != (0, 0, 0) {
                expected += &format!(" {hour:02}:{minute:02}:{second:02}");
            }
            assert_eq!(text(Value::Moment { days, is_1904 }), expected, "{days} {is_1904}");
        };
        for day in (0..2_958_470).step_by(61).chain(0..1_600).chain(43_000..45_000) {
            let time = f64::from(day % 1_000) / 1_000.0;
            for (time, is_1904) in [(0.0, false), (0.0, true), (time, false), (time, true), (0.999_999_999, false)] {
                same(f64::from(day) + time, is_1904);
            }
        }
        for days in [-1.0, -0.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            same(days, false);
        }
    }

    #[test]
    fn the_rest_is_text() {
        assert_eq!(text(Value::Truth(true)), "true");
        assert_eq!(text(Value::text("#N/A")), "#N/A");
        assert_eq!(text(Value::Empty), "");
    }
}
