//! What the cells of a column look like, told from the first rows.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use muster_domain::{
    field::FieldKind,
    normalise::{self, DateOrder},
};

/// How many different cells are kept to be shown.
const SAMPLES: usize = 3;
/// How much of a cell is.
const SHOWN: usize = 40;

/// The cells of one column, as far as they were looked at.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Cells in which something is.
    pub filled: u64,
    /// The first different ones, cut to 40 characters.
    pub samples: Vec<String>,
    emails: u64,
    dates: u64,
    numbers: u64,
    different: HashSet<u64>,
}

impl Content {
    /// Looks at a cell.
    pub fn see(&mut self, cell: &str) {
        let cell = normalise::trim(cell);
        if cell.is_empty() {
            return;
        }
        self.filled += 1;
        let is = |kind| normalise::value(kind, cell, DateOrder::DayFirst).is_ok();
        let is_date = is(FieldKind::Date) || normalise::value(FieldKind::Date, cell, DateOrder::MonthFirst).is_ok();
        self.emails += u64::from(is(FieldKind::Email));
        self.dates += u64::from(is_date);
        self.numbers += u64::from(is(FieldKind::Number));
        let mut hasher = DefaultHasher::new();
        cell.hash(&mut hasher);
        if self.different.insert(hasher.finish()) && self.samples.len() < SAMPLES {
            let mut shown: String = cell.chars().take(SHOWN).collect();
            if cell.chars().nth(SHOWN).is_some() {
                shown.push('…');
            }
            self.samples.push(shown);
        }
    }

    /// Whether nearly all of it is of that type; `None` if nothing is in it, or any text is.
    pub fn fits(&self, kind: FieldKind) -> Option<bool> {
        let fitting = match kind {
            FieldKind::Email => self.emails,
            FieldKind::Date => self.dates,
            FieldKind::Number => self.numbers,
            FieldKind::Text | FieldKind::Boolean => return None,
        };
        (self.filled > 0).then_some(fitting * 10 >= self.filled * 9)
    }

    /// What it looks like, if it looks like something: an e-mail address, a date, a key.
    pub fn looks_like(&self) -> Option<&'static str> {
        let is = |kind| self.fits(kind) == Some(true);
        if is(FieldKind::Email) {
            Some("e-mail addresses")
        } else if is(FieldKind::Date) {
            Some("dates")
        } else if self.filled > 1 && self.different.len() as u64 == self.filled && !self.has_spaces() {
            Some("ids: no two are the same")
        } else {
            None
        }
    }

    fn has_spaces(&self) -> bool {
        self.samples.iter().any(|s| s.contains(char::is_whitespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cells: &[&str]) -> Content {
        let mut content = Content::default();
        cells.iter().for_each(|cell| content.see(cell));
        content
    }

    #[test]
    fn cells_are_known_by_what_they_look_like() {
        assert_eq!(of(&["a@x.example", "b@x.example", ""]).looks_like(), Some("e-mail addresses"));
        assert_eq!(of(&["31.12.2024", "2024-01-02"]).looks_like(), Some("dates"));
        assert_eq!(of(&["P-1", "P-2"]).looks_like(), Some("ids: no two are the same"));
        assert_eq!(of(&["Sales", "Sales", "IT"]).looks_like(), None);
        assert_eq!(of(&[]).looks_like(), None);
    }

    #[test]
    fn samples_are_few_short_and_different() {
        let long = "x".repeat(100);
        let content = of(&["a", " a ", "b", &long, "c"]);
        assert_eq!((content.filled, content.samples.len()), (5, 3));
        assert_eq!(content.samples[2].chars().count(), 41);
        assert_eq!((content.fits(FieldKind::Date), content.fits(FieldKind::Text)), (Some(false), None));
    }
}
