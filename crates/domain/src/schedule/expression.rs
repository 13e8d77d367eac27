//! The five fields of a Unix cron expression: read, checked, and written as the `cron` crate wants them.

use std::{collections::BTreeSet, fmt};

use super::ScheduleError;

/// A field of an expression: what it is called, the least and the most, and names for its values.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const WEEKDAY: usize = 4;

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of month", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: MONTHS },
    // Sunday is 0 or 7.
    Field { name: "day of week", least: 0, most: 7, names: DAYS },
];

const NAMED: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The names of schedules, as part of a sentence.
pub(super) fn names() -> String {
    NAMED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// An expression that was read.
pub(super) struct Expression {
    text: String,
    values: [BTreeSet<u32>; 5],
    /// Whether the field begins with `*`.
    star: [bool; 5],
}

/// The text, with single spaces.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expression {
    pub fn parse(text: &str) -> Result<Expression, ScheduleError> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let named = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text));
        let parts: Vec<&str> = named.map_or(text.as_str(), |(_, meant)| meant).split(' ').collect();
        let Ok(parts) = <[&str; 5]>::try_from(parts) else { return Err(ScheduleError::Form { given: text }) };
        let mut values: [BTreeSet<u32>; 5] = Default::default();
        for ((field, part), values) in FIELDS.iter().zip(parts).zip(&mut values) {
            *values = field.read(part).ok_or_else(|| ScheduleError::Field {
                given: text.clone(),
                field: field.name,
                part: part.to_owned(),
                allowed: field.allowed(),
            })?;
        }
        if values[WEEKDAY].remove(&7) {
            values[WEEKDAY].insert(0);
        }
        let star = parts.map(|part| part.starts_with('*'));
        Ok(Expression { text, values, star })
    }

    /// The expression in the form of the `cron` crate, in which a minute has seconds and Sunday is 1. Where both days
    /// are restricted either is meant, so there are two. As in Unix cron, a day that begins with `*` (`*/2`) does not
    /// count as restricted.
    pub fn translated(&self) -> Vec<String> {
        let [minutes, hours, days, months, weekdays] = &self.values;
        let weekdays: BTreeSet<u32> = weekdays.iter().map(|d| d + 1).collect();
        let line = |days: &str, weekdays: &str| {
            format!("0 {} {} {days} {} {weekdays}", listed(minutes), listed(hours), listed(months))
        };
        let (day, weekday) = (listed(days), listed(&weekdays));
        match (self.star[2], self.star[WEEKDAY]) {
            (false, false) => vec![line(&day, "*"), line("*", &weekday)],
            _ => vec![line(&day, &weekday)],
        }
    }
}

fn listed(values: &BTreeSet<u32>) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl Field {
    /// The values that a field names; none if it cannot be read.
    fn read(&self, part: &str) -> Option<BTreeSet<u32>> {
        let mut values = BTreeSet::new();
        for item in part.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, Some(number(step).filter(|n| *n > 0)?)),
                None => (item, None),
            };
            let (from, to) = match (range, range.split_once('-')) {
                ("*", _) => (self.least, self.most),
                (_, Some((from, to))) => (self.value(from)?, self.end(to)?),
                // What a step from one number on should end with is read in two ways; a range says it.
                (_, None) if step.is_some() => return None,
                (one, None) => (self.value(one)?, self.value(one)?),
            };
            if from > to {
                return None;
            }
            // Sunday is both ends of the week, and a step counts it only at the beginning.
            let to = if range == "*" && self.most == 7 { 6 } else { to };
            values.extend((from..=to).step_by(step.unwrap_or(1) as usize));
        }
        Some(values)
    }

    fn value(&self, text: &str) -> Option<u32> {
        let name = self.names.iter().position(|n| n.eq_ignore_ascii_case(text));
        let value = match name {
            Some(at) => at as u32 + self.least,
            None => number(text)?,
        };
        (self.least..=self.most).contains(&value).then_some(value)
    }

    /// The end of a range: there Sunday is the last day of the week, whatever it begins with.
    fn end(&self, text: &str) -> Option<u32> {
        match text.eq_ignore_ascii_case("sun") && self.most == 7 {
            true => Some(7),
            false => self.value(text),
        }
    }

    fn allowed(&self) -> String {
        let names = match self.names {
            [first, .., last] => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        let (least, most) = (self.least, self.most);
        format!("*, {least} to {most}{names}, and lists (1,3), ranges (1-5) and steps (*/2, 1-5/2) of them")
    }
}

/// Up to four digits and nothing else.
fn number(text: &str) -> Option<u32> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
