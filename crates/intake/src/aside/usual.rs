//! What the first rows of a payload look like, against which a row that has only one cell is held.

use muster_domain::normalise;

use super::{aside, says};
use crate::{
    csv::{CellBuffer, Cells},
    headers::Columns,
};

/// What people's rows look like. Without any, no row is held against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usual {
    /// Whether every person has a match key and something else.
    says_more_than_a_key: bool,
    /// Whether moreover there are digits in every match key.
    has_digits: bool,
}

impl Usual {
    /// So many rows are enough to know.
    pub const LOOKED_AT: usize = 25;

    /// What these records look like, which are the first of a payload.
    pub fn of<'r>(records: impl Iterator<Item = &'r [u8]>, delimiter: u8, columns: &Columns) -> Usual {
        let (mut people, mut headings, mut alone, mut has_digits) = (0, 0, 0, true);
        let mut buffer = CellBuffer::default();
        for record in records.take(Self::LOOKED_AT) {
            let Ok(cells) = buffer.split(record, delimiter) else { continue };
            let key = cells.get(columns.key).map(normalise::trim).unwrap_or_default();
            if !says(key) || aside(&cells, columns, Usual::default()).is_some() {
                continue;
            }
            match cells.iter().map(normalise::trim).filter(|cell| says(cell)).nth(1) {
                Some(_) => {
                    people += 1;
                    has_digits &= digits(key);
                }
                None if digits(key) => alone += 1,
                None => headings += 1,
            }
        }
        // One number alone may be the count of a short list.
        let says_more_than_a_key = people >= 2 && alone <= 1 && headings <= people;
        Usual { says_more_than_a_key, has_digits: has_digits && says_more_than_a_key }
    }

    /// Whether a text that is alone in its row is a heading: a word without digits where match keys have some.
    pub(super) fn is_heading(self, at: usize, text: &str, cells: &Cells<'_>, columns: &Columns) -> bool {
        self.has_digits
            && at == columns.key
            && is_whole(cells, columns)
            && !digits(text)
            && text.contains(char::is_alphabetic)
    }

    /// The number that is alone in its row, if it may say how many rows there are.
    pub(super) fn count(self, at: usize, text: &str, cells: &Cells<'_>, columns: &Columns) -> Option<u64> {
        let may_be = self.says_more_than_a_key && at < columns.width() && is_whole(cells, columns);
        if !may_be || text.starts_with(['0', '+']) { None } else { text.parse().ok() }
    }
}

/// Whether the row has all its cells, so that it was neither cut nor written as an object that says little.
fn is_whole(cells: &Cells<'_>, columns: &Columns) -> bool {
    let width = columns.width();
    width >= 3 && cells.len() >= width && cells.iter().all(|cell| !cell.starts_with(['\u{1}', '\u{2}']))
}

fn digits(text: &str) -> bool {
    text.contains(char::is_numeric)
}
