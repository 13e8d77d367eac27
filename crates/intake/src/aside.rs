//! Rows that are no person: totals and remarks below a list, and the header row once more in the middle of it.

use muster_domain::{field::FieldId, normalise};

use crate::{csv::Cells, headers::Columns, row::RowIssue};

/// What a row is that is no person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// The header row again, as where two exports were put together.
    Header,
    /// A total or a remark. That it is one is certain only below the last person.
    Total,
}

/// With what a total or a remark begins, in lower case.
const WORDS: [&str; 22] = [
    "total", "grand total", "subtotal", "sum", "summe", "gesamt", "gesamtsumme", "count", "record count", "row count",
    "rows", "records", "number of", "anzahl", "headcount", "totale", "totaal", "suma", "report generated", "generated",
    "printed", "end of report",
];

/// Says whether a row is no person, by its cells.
pub fn aside(cells: &Cells<'_>, columns: &Columns) -> Option<Aside> {
    if is_header(cells, columns) {
        return Some(Aside::Header);
    }
    is_total(cells, columns).then_some(Aside::Total)
}

impl Aside {
    /// A note that the row on this line was passed over.
    pub fn note(self, line: u64) -> RowIssue {
        let reason = match self {
            Aside::Header => "The header row stands here once more, and was passed over.",
            Aside::Total => "A total or a remark below the list, which was passed over.",
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

fn is_header(cells: &Cells<'_>, columns: &Columns) -> bool {
    let same = |i: usize| {
        let (cell, name) = (cells.get(i).unwrap_or_default(), columns.header[i].as_str());
        !name.is_empty() && normalise::trim(cell).eq_ignore_ascii_case(name)
    };
    same(columns.key) && (0..columns.header.len()).filter(|i| same(*i)).count() * 2 > columns.header.len()
}

fn is_total(cells: &Cells<'_>, columns: &Columns) -> bool {
    let Some(first) = cells.iter().map(normalise::trim).find(|cell| !cell.is_empty() && *cell != crate::rows::ABSENT)
    else {
        return false;
    };
    let initial = first.as_bytes()[0].to_ascii_lowercase();
    let begins = |word: &&str| {
        word.as_bytes()[0] == initial
            && first.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && !first[word.len()..].starts_with(|c: char| c.is_alphanumeric())
    };
    if !WORDS.iter().any(begins) {
        return false;
    }
    // Somebody called Sum has a name, an address, or a day on which they began.
    let says = |field: FieldId| {
        let cell = columns.column_of(field).and_then(|i| cells.get(i)).map(normalise::trim).unwrap_or_default();
        !cell.is_empty() && cell != crate::rows::ABSENT && cell != first
    };
    ![FieldId::EMAIL, FieldId::LAST_NAME, FieldId::FIRST_NAME, FieldId::DATE_OF_BIRTH, FieldId::START_DATE]
        .into_iter()
        .any(says)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use muster_domain::field::Fields;

    use super::*;
    use crate::{csv::CellBuffer, headers::resolve};

    fn of(record: &str) -> Option<Aside> {
        let header = ["Employee ID", "Last Name", "Email", "Start Date", "Pay"].map(str::to_owned);
        let columns = resolve(&header, &Fields::default(), FieldId::EMPLOYEE_ID, &BTreeMap::new()).unwrap();
        let mut buffer = CellBuffer::default();
        aside(&buffer.split(record.as_bytes(), b',').unwrap(), &columns)
    }

    #[test]
    fn totals_and_remarks_are_no_person() {
        for total in [
            "Total,,,,1200", "Total: 3", "GRAND TOTAL,,,,", ",,,,\n", "Report generated 2026-03-01", "Summe:,,,,5",
            ",Total,,,9",
        ] {
            let expected = if total.starts_with(",,") { None } else { Some(Aside::Total) };
            assert_eq!(of(total), expected, "{total}");
        }
    }

    #[test]
    fn people_are_people_whatever_they_are_called() {
        for person in
            ["1001,Total,t@x.example,2020-01-01,5", "Sum,Sum,sum@x.example,,", "Totals1,,,,", "Countess,,,,", "1,,,,"]
        {
            assert_eq!(of(person), None, "{person}");
        }
    }

    #[test]
    fn the_header_again_is_known() {
        assert_eq!(of("employee id,LAST NAME, Email ,Start Date,Pay"), Some(Aside::Header));
        assert_eq!(of("Employee ID,Lee,a@x.example,2020-01-01,5"), None);
    }
}
