//! Rows that are no person: totals and remarks below a list, headings and lines within it, and the header row once more.

use muster_domain::normalise;

use crate::{csv::Cells, headers::Columns, row::RowIssue, rows};

mod remark;
mod usual;

pub use usual::Usual;

/// What a row is that is no person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// The header row again, as where two exports were put together.
    Header,
    /// A line of dashes, as database clients draw it below the header row.
    Line,
    /// A heading over some of the people: a word alone in the column of the match key, where keys look otherwise.
    Heading,
    /// A total or a remark. That it is one is certain only below the last person.
    Total,
    /// A number alone. It is the number of rows only if it stands below the last person and there are as many.
    Count(u64),
}

/// Says whether a row is no person, by its cells and by what the first rows of the payload look like.
pub fn aside(cells: &Cells<'_>, columns: &Columns, usual: Usual) -> Option<Aside> {
    if is_header(cells, columns) {
        return Some(Aside::Header);
    }
    let mut filled = cells.iter().enumerate().map(|(at, cell)| (at, normalise::trim(cell))).filter(|c| says(c.1));
    let (at, first) = filled.next()?;
    let is_alone = filled.next().is_none();
    if is_dashes(first) && is_line(cells) {
        return Some(Aside::Line);
    }
    if is_alone && usual.is_heading(at, first, cells, columns) {
        return Some(Aside::Heading);
    }
    if remark::is_total(first, cells, columns) || (is_alone && remark::is_remark(first)) {
        return Some(Aside::Total);
    }
    if is_alone { usual.count(at, first, cells, columns).map(Aside::Count) } else { None }
}

impl Aside {
    /// A note that the row on this line was passed over.
    pub fn note(self, line: u64) -> RowIssue {
        let reason = match self {
            Aside::Header => "The header row stands here once more, and was passed over.",
            Aside::Line => "A line of dashes, which was passed over.",
            Aside::Heading => {
                "A heading or a remark between the people, which is nobody's match key and was passed over."
            }
            Aside::Total | Aside::Count(_) => "A total or a remark below the list, which was passed over.",
        };
        RowIssue {
            line,
            column: String::new(),
            value: String::new(),
            reason: reason.to_owned(),
            decides: false,
            lost: false,
        }
    }
}

/// Whether anything is said in a trimmed cell.
fn says(cell: &str) -> bool {
    !cell.is_empty() && cell != rows::ABSENT
}

fn is_header(cells: &Cells<'_>, columns: &Columns) -> bool {
    let same = |i: usize| {
        let (cell, name) = (cells.get(i).unwrap_or_default(), columns.header[i].as_str());
        !name.is_empty() && normalise::trim(cell).eq_ignore_ascii_case(name)
    };
    same(columns.key) && (0..columns.header.len()).filter(|i| same(*i)).count() * 2 > columns.header.len()
}

/// A line is drawn with three strokes at least; over a narrow column it may have fewer.
fn is_line(cells: &Cells<'_>) -> bool {
    let mut cells = cells.iter().map(normalise::trim);
    cells.clone().all(is_dashes) && cells.any(|cell| cell.len() >= 3)
}

fn is_dashes(cell: &str) -> bool {
    cell.bytes().all(|b| matches!(b, b'-' | b'=' | b'_' | b'+' | b'|'))
}

#[cfg(test)]
mod tests;
