//! Totals and remarks below a list, by what they begin with.

use muster_domain::{field::FieldId, normalise};

use super::says;
use crate::{csv::Cells, headers::Columns};

/// With what a total or a remark begins, in lower case.
const WORDS: [&str; 22] = [
    "total", "grand total", "subtotal", "sum", "summe", "gesamt", "gesamtsumme", "count", "record count", "row count",
    "rows", "records", "number of", "anzahl", "headcount", "totale", "totaal", "suma", "report generated", "generated",
    "printed", "end of report",
];

/// With what a remark begins that has its row for itself.
const REMARKS: [&str; 8] =
    ["end of", "exported", "created on", "created by", "created at", "confidential", "run date", "report date"];

/// How those words begin. Nearly every row is asked, and begins otherwise.
const BEGINNINGS: [u16; WORDS.len()] = {
    let mut beginnings = [0; WORDS.len()];
    let mut i = 0;
    while i < WORDS.len() {
        let word = WORDS[i].as_bytes();
        beginnings[i] = beginning(word[0], word[1]);
        i += 1;
    }
    beginnings
};

/// Two bytes, letters in lower case. Some others become alike, too, so that this only says who need not be asked.
const fn beginning(first: u8, second: u8) -> u16 {
    u16::from_be_bytes([first | 0x20, second | 0x20])
}

/// What is counted below a list: "(40 rows affected)", "2 records".
const COUNTED: [&str; 16] = [
    "row", "rows", "row(s)", "record", "records", "record(s)", "employees", "people", "persons", "members", "entries",
    "zeilen", "datensätze", "mitarbeiter", "lignes", "filas",
];

/// Pages are numbered: "Page 1 of 1".
const PAGES: [&str; 4] = ["page", "seite", "página", "pagina"];

/// Whether the row begins as a total does, and says of nobody who they are.
pub(super) fn is_total(first: &str, cells: &Cells<'_>, columns: &Columns) -> bool {
    let [one, two, ..] = first.as_bytes() else { return false };
    if !BEGINNINGS.contains(&beginning(*one, *two)) || !WORDS.iter().any(|word| begins(first, word)) {
        return false;
    }
    // Somebody called Sum has a name, an address, or a day on which they began. A number is none of these.
    let says_who = |field: FieldId| {
        let cell = columns.column_of(field).and_then(|i| cells.get(i)).map(normalise::trim).unwrap_or_default();
        says(cell) && cell != first && !is_amount(cell)
    };
    ![FieldId::EMAIL, FieldId::LAST_NAME, FieldId::FIRST_NAME, FieldId::DATE_OF_BIRTH, FieldId::START_DATE]
        .into_iter()
        .any(says_who)
}

/// Whether a text that has its row for itself is a remark.
pub(super) fn is_remark(text: &str) -> bool {
    REMARKS.iter().any(|word| begins(text, word)) || is_page(text) || is_counted(text)
}

fn begins(text: &str, word: &str) -> bool {
    text.as_bytes()[0].eq_ignore_ascii_case(&word.as_bytes()[0])
        && text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
        && !text[word.len()..].starts_with(|c: char| c.is_alphanumeric())
}

/// A number that is no date: "6", "1,200.50".
fn is_amount(cell: &str) -> bool {
    let mut groups = cell.split(['.', ',']);
    let is_number = |group: &str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    let (first, second) = (groups.next().unwrap_or_default(), groups.next());
    // Eight digits are a day without dashes.
    let whole = is_number(first) && first.len() < 8;
    whole && second.is_none_or(is_number) && groups.all(|group| group.len() == 3 && is_number(group))
}

fn is_page(text: &str) -> bool {
    let mut words = text.split_whitespace();
    words.next().is_some_and(|word| PAGES.iter().any(|page| word.eq_ignore_ascii_case(page)))
        && words.next().is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

/// A number and what it counts, in either order.
fn is_counted(text: &str) -> bool {
    if !text.bytes().any(|b| b.is_ascii_digit()) || !text.contains([' ', ':']) {
        return false;
    }
    let inner = text.strip_prefix('(').map_or(text, |inner| inner.strip_suffix(')').unwrap_or(inner));
    let mut words = inner.split([' ', ':', '\u{a0}']).filter(|word| !word.is_empty());
    let is_name = |word: &str| COUNTED.contains(&word.trim_end_matches('.').to_lowercase().as_str());
    match (words.next(), words.next()) {
        (Some(number), Some(name)) if is_amount(number) => is_name(name),
        (Some(name), Some(number)) => is_name(name) && is_amount(number) && words.next().is_none(),
        _ => false,
    }
}
