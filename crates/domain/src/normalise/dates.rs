//! Dates as people and HR systems write them; an ambiguous one is refused, and no time zone shifts a day.

use std::borrow::Cow;

use chrono::NaiveDate;

use super::{DateOrder, Refusal};

/// The canonical form of a trimmed, non-empty cell. A time of day and a zone are cut off, never reckoned with.
pub(super) fn date(text: &str, order: DateOrder) -> Result<Cow<'_, str>, Refusal> {
    let day = without_time(text).ok_or(Refusal::NotADate)?;
    if let Some((year, month, dom)) = iso(day) {
        check(year, month, dom)?;
        return Ok(Cow::Borrowed(day));
    }
    let (year, month, dom) = as_written(day, order)?;
    check(year, month, dom)?;
    Ok(Cow::Owned(format!("{year:04}-{month:02}-{dom:02}")))
}

/// Year, month and day, whether or not the calendar has them.
fn as_written(day: &str, order: DateOrder) -> Result<(u32, u32, u32), Refusal> {
    match day.len() {
        8 if day.bytes().all(|b| b.is_ascii_digit()) => Ok((digits(&day[..4]), digits(&day[4..6]), digits(&day[6..]))),
        _ => in_parts(day, order),
    }
}

/// Whether a trimmed cell is the last day of the year 9999 or 4712: no setting is needed to tell its day from its month.
pub(super) fn is_last_day(text: &str) -> bool {
    let read = without_time(text).map(|day| iso(day).map_or_else(|| as_written(day, DateOrder::Iso), Ok));
    matches!(read, Some(Ok((9999 | 4712, 12, 31))))
}

/// `YYYY-MM-DD`, the common case, without looking for anything else.
fn iso(day: &str) -> Option<(u32, u32, u32)> {
    let b = day.as_bytes();
    if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        b[range].iter().try_fold(0, |n, d| d.is_ascii_digit().then(|| n * 10 + u32::from(d - b'0')))
    };
    Some((number(0..4)?, number(5..7)?, number(8..10)?))
}

fn check(year: u32, month: u32, dom: u32) -> Result<(), Refusal> {
    if !(1900..=2200).contains(&year) {
        return Err(Refusal::YearOutOfRange);
    }
    if (1..=12).contains(&month) && (1..=28).contains(&dom) {
        return Ok(());
    }
    NaiveDate::from_ymd_opt(year as i32, month, dom).map(|_| ()).ok_or(Refusal::NoSuchDay)
}

/// What stands before the time of day and the zone; `None` if what follows the date is neither.
fn without_time(text: &str) -> Option<&str> {
    let b = text.as_bytes();
    let compact = b.len() > 8 && b[..8].iter().all(u8::is_ascii_digit);
    let dashed = b.len() > 10 && text.get(..10).and_then(iso).is_some();
    let at = match (dashed, compact, text.find(':')) {
        (true, _, _) => 10,
        (_, true, _) => 8,
        // `April 3, 2021 00:00`: the time begins after the last space or T before the first colon.
        (_, _, Some(colon)) => text[..colon].rfind([' ', 'T', 't'])?,
        (_, _, None) => return Some(text),
    };
    let (day, rest) = (&text[..at], &text[at..]);
    let is_time = match rest.strip_prefix([' ', 'T', 't']) {
        Some(time) => is_time(time.trim_start()),
        None => is_zone(rest),
    };
    is_time.then(|| day.trim_end())
}

/// `08:30`, `00:00:00.000Z`, `120000+0100`, `12:00:00 AM`.
fn is_time(time: &str) -> bool {
    let end = time.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.' | ',')).unwrap_or(time.len());
    let (clock, rest) = time.split_at(end);
    let rest = rest.trim_start();
    let rest = match rest.get(..2) {
        Some(half) if half.eq_ignore_ascii_case("am") || half.eq_ignore_ascii_case("pm") => rest[2..].trim_start(),
        _ => rest,
    };
    clock.len() >= 4 && clock.starts_with(|c: char| c.is_ascii_digit()) && (rest.is_empty() || is_zone(rest))
}

/// `Z`, `UTC`, `GMT`, `+01:00`, `-0700`, `+01`.
fn is_zone(zone: &str) -> bool {
    if ["z", "utc", "gmt"].iter().any(|name| zone.eq_ignore_ascii_case(name)) {
        return true;
    }
    match zone.strip_prefix(['+', '-']).map(str::as_bytes) {
        Some([h, m]) => h.is_ascii_digit() && m.is_ascii_digit(),
        Some([a, b, c, d] | [a, b, b':', c, d]) => [a, b, c, d].iter().all(|x| x.is_ascii_digit()),
        _ => false,
    }
}

/// Three parts between dashes, slashes, dots, commas or spaces, one of which may be a month's name.
fn in_parts(day: &str, order: DateOrder) -> Result<(u32, u32, u32), Refusal> {
    let mut parts = day.split(['-', '/', '.', ',', ' ']).filter(|p| !p.is_empty());
    let (Some(a), Some(b), Some(c), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(Refusal::NotADate);
    };
    if let Some(month) = month_named(a) {
        return Ok((year(c)?, month, short(b)?));
    }
    if let Some(month) = month_named(b) {
        // `2021-Apr-03` or `03-Apr-2021`.
        return if a.len() == 4 { Ok((year(a)?, month, short(c)?)) } else { Ok((year(c)?, month, short(a)?)) };
    }
    if day.contains([' ', ',']) {
        return Err(Refusal::NotADate);
    }
    if a.len() == 4 {
        return Ok((year(a)?, short(b)?, short(c)?));
    }
    let (a, b) = (short(a)?, short(b)?);
    let year = year(c)?;
    match order {
        DateOrder::DayFirst => Ok((year, b, a)),
        DateOrder::MonthFirst => Ok((year, a, b)),
        DateOrder::Iso if a > 12 || a == b => Ok((year, b, a)),
        DateOrder::Iso if b > 12 => Ok((year, a, b)),
        DateOrder::Iso => Err(Refusal::AmbiguousDate),
    }
}

fn year(part: &str) -> Result<u32, Refusal> {
    match part.len() {
        _ if !part.bytes().all(|b| b.is_ascii_digit()) => Err(Refusal::NotADate),
        4 => Ok(digits(part)),
        1 | 2 => Err(Refusal::ShortYear),
        _ => Err(Refusal::NotADate),
    }
}

/// A day or a month: one or two digits.
fn short(part: &str) -> Result<u32, Refusal> {
    match part.len() {
        1 | 2 if part.bytes().all(|b| b.is_ascii_digit()) => Ok(digits(part)),
        _ => Err(Refusal::NotADate),
    }
}

/// The number that a few ASCII digits write.
fn digits(part: &str) -> u32 {
    part.bytes().fold(0, |n, d| n * 10 + u32::from(d.wrapping_sub(b'0')))
}

fn month_named(part: &str) -> Option<u32> {
    const NAMES: [&str; 12] = [
        "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
        "december",
    ];
    let is_name = |name: &&'static str| {
        part.eq_ignore_ascii_case(name)
            || part.eq_ignore_ascii_case(&name[..3])
            || (**name == *"september" && part.eq_ignore_ascii_case("sept"))
    };
    NAMES.iter().position(is_name).map(|i| i as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str, order: DateOrder) -> Result<String, Refusal> {
        date(raw, order).map(Cow::into_owned)
    }

    #[test]
    fn iso_dates_are_read_under_every_setting() {
        for raw in [
            "2021-04-03", "2021/04/03", "20210403", "2021-4-3", "2021.04.03", "2021-04-03T00:00:00",
            "2021-04-03 00:00:00", "2021-04-03T23:59:59.999Z", "2021-04-03T00:30:00+14:00", "2021-04-03-07:00",
            "2021-04-03Z", "20210403T000000Z", "2021/04/03 00:00", "2021-04-03 12:00:00 AM", "2021-04-03 00:00:00 UTC",
        ] {
            for order in [DateOrder::Iso, DateOrder::DayFirst, DateOrder::MonthFirst] {
                assert_eq!(read(raw, order).as_deref(), Ok("2021-04-03"), "{raw}");
            }
        }
        assert!(matches!(date("2021-04-03", DateOrder::Iso), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn an_ambiguous_date_is_refused_unless_the_setting_says_how() {
        for raw in ["03/04/2021", "3.4.2021", "03-04-2021", "3/4/2021 12:00:00 AM"] {
            assert_eq!(read(raw, DateOrder::Iso), Err(Refusal::AmbiguousDate), "{raw}");
            assert_eq!(read(raw, DateOrder::DayFirst).as_deref(), Ok("2021-04-03"), "{raw}");
            assert_eq!(read(raw, DateOrder::MonthFirst).as_deref(), Ok("2021-03-04"), "{raw}");
        }
    }

    #[test]
    fn a_date_with_one_reading_needs_no_setting() {
        assert_eq!(read("25/04/2021", DateOrder::Iso).as_deref(), Ok("2021-04-25"));
        assert_eq!(read("04/25/2021", DateOrder::Iso).as_deref(), Ok("2021-04-25"));
        assert_eq!(read("4.4.2021", DateOrder::Iso).as_deref(), Ok("2021-04-04"));
        assert_eq!(read("04/25/2021", DateOrder::DayFirst), Err(Refusal::NoSuchDay));
        assert_eq!(read("25/04/2021", DateOrder::MonthFirst), Err(Refusal::NoSuchDay));
    }

    #[test]
    fn english_months_are_read() {
        for raw in ["3 Apr 2021", "03-Apr-2021", "April 3, 2021", "apr 3 2021", "3 APRIL 2021", "2021-Apr-03"] {
            assert_eq!(read(raw, DateOrder::Iso).as_deref(), Ok("2021-04-03"), "{raw}");
        }
        assert_eq!(read("1 Sept 2020", DateOrder::Iso).as_deref(), Ok("2020-09-01"));
        assert_eq!(read("April 3, 2021 00:00", DateOrder::Iso).as_deref(), Ok("2021-04-03"));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for raw in [
            "soon", "44289", "2021", "2021-04", "1 2 3 4", "3 4 2021", "2021-04-03x", "2021-04-03 abc", "12:30",
            "é/é/é",
        ] {
            assert_eq!(read(raw, DateOrder::DayFirst), Err(Refusal::NotADate), "{raw}");
        }
        assert_eq!(read("03/04/21", DateOrder::DayFirst), Err(Refusal::ShortYear));
        assert_eq!(read("3-Apr-21", DateOrder::Iso), Err(Refusal::ShortYear));
        assert_eq!(read("2021-02-29", DateOrder::Iso), Err(Refusal::NoSuchDay));
        for raw in ["9999-12-31", "31.12.9999", "1899-12-31", "0000-00-00", "03042021"] {
            assert_eq!(read(raw, DateOrder::DayFirst), Err(Refusal::YearOutOfRange), "{raw}");
        }
    }
}
