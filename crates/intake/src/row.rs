//! One row: cells to canonical values, with an issue for each value that could not be read.

use std::{borrow::Cow, fmt::Write as _};

use muster_domain::{
    field::{FieldId, FieldKind, FieldSet, Fields},
    normalise::{self, DateOrder, Refusal},
    values::Values,
};

use crate::{
    csv::{CellBuffer, Cells},
    headers::Columns,
    rows,
};

/// The longest match key, in characters; the store has an index over keys.
pub const MAX_KEY_CHARS: usize = 255;

/// How much of a refused value an issue repeats, in characters.
const SHOWN: usize = 200;

/// One person as the payload describes them. Read into again and again, it keeps its memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The physical line on which the row starts.
    pub line: u64,
    /// The match key as it is shown, with the feed's prefix in front.
    pub key: String,
    /// The match key as it is compared.
    pub key_norm: String,
    /// Canonical values of the fields that are not blank.
    pub values: Values,
    /// Fields with a column whose cell is blank.
    pub empty: FieldSet,
    /// Fields of which the payload says that there is nothing: a null, or an end date of 31.12.9999.
    pub null: FieldSet,
    /// What the payload wrote, without outer space, where that is not the canonical value.
    pub raw: Values,
    /// Values that could not be read. Such a field is neither set nor empty.
    pub issues: Vec<RowIssue>,
    /// Values that were taken, but of which somebody should know.
    pub notes: Vec<RowIssue>,
}

impl Row {
    /// Empties the row and keeps its memory.
    pub fn clear(&mut self) {
        self.line = 0;
        self.key.clear();
        self.key_norm.clear();
        self.values.clear();
        self.empty = FieldSet::default();
        self.null = FieldSet::default();
        self.raw.clear();
        self.issues.clear();
        self.notes.clear();
    }

    /// Whether the payload says something readable about the field, if only that it is blank.
    pub fn mentions(&self, field: FieldId) -> bool {
        self.empty.contains(field) || self.null.contains(field) || self.values.get(field).is_some()
    }
}

/// One value, or one row, that could not be taken: where it is, what was read, why it was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowIssue {
    /// The physical line on which the row starts.
    pub line: u64,
    /// The column by its header; empty if the whole row is meant.
    pub column: String,
    /// What was read, cut to 200 characters.
    pub value: String,
    /// What was expected and what to do.
    pub reason: String,
    /// Whether the field decides identity or eligibility, so that the row cannot do without it.
    pub decides: bool,
    /// Whether something was not taken that could be, once the row is corrected and sent again.
    pub lost: bool,
}

impl RowIssue {
    /// Why, and what to do. A reason is `Why; what to do.` or `Why. What to do.`; a note on something that needs nobody
    /// has no second part.
    pub fn why_and_advice(&self) -> (&str, &str) {
        let reason = self.reason.as_str();
        let end = |mark: &str| reason.rfind(mark).map(|at| (at, at + mark.len()));
        match end("; ").max(end(". ")) {
            Some((why, advice)) if advice < reason.len() => (&reason[..why], &reason[advice..]),
            _ => (reason, ""),
        }
    }
}

/// Why a row as a whole is unreadable. It could hide someone, so the payload proves no absence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowProblem {
    /// What stands there is no row.
    #[error("{reason}")]
    Broken {
        /// A sentence that says why, and what to do.
        reason: String,
    },
    /// Its bytes are not UTF-8.
    #[error("Expected UTF-8 text; save the file as \"CSV UTF-8\" and send it again.")]
    NotUtf8,
    /// A quotation mark opens a cell that never ends.
    #[error("A quotation mark opens a cell that never ends; close it, or double it if it is part of the text.")]
    UnclosedQuote,
    /// It has fewer cells than the header row, or more that are not blank.
    #[error(
        "Expected {expected} cells as in the header row and found {found}; check for a missing or an unquoted delimiter."
    )]
    WrongCellCount {
        /// Cells in the row.
        found: usize,
        /// Columns in the header row.
        expected: usize,
    },
    /// The match key is blank.
    #[error("The match key is blank, so the row names nobody; fill it in or take the row out.")]
    BlankKey,
    /// The match key is longer than [`MAX_KEY_CHARS`].
    #[error("The match key is longer than 255 characters; check that the right column is mapped.")]
    KeyTooLong {
        /// What was read.
        value: String,
    },
    /// The match key is no value of its type.
    #[error("The match key cannot be read. {reason}")]
    BadKey {
        /// What was read.
        value: String,
        /// Why it was refused.
        reason: Refusal,
    },
}

impl RowProblem {
    /// The problem as an issue of the row on that line.
    pub fn issue(&self, line: u64, columns: &Columns) -> RowIssue {
        let (column, value) = match self {
            RowProblem::BlankKey => (columns.header.get(columns.key), ""),
            RowProblem::KeyTooLong { value } | RowProblem::BadKey { value, .. } => {
                (columns.header.get(columns.key), value.as_str())
            }
            _ => (None, ""),
        };
        RowIssue {
            line,
            column: column.map(|name| shown(name)).unwrap_or_default(),
            value: value.to_owned(),
            reason: self.to_string(),
            decides: true,
            lost: true,
        }
    }
}

/// Reads the rows of one payload: knows its columns and the rules that its values are read by.
#[derive(Clone, Debug)]
pub struct Reader {
    columns: Columns,
    /// Mapped columns in the order of their fields, so that values are added at the end.
    plan: Vec<Planned>,
    key_kind: FieldKind,
    /// The column of the identifier that is not the match key.
    other: Option<(usize, FieldKind)>,
    prefix: String,
    prefix_norm: String,
    dates: DateOrder,
    /// Whether cells may carry the marks of [`rows`], and what is missing at the end of a row is absent.
    marked: bool,
    /// The longest cell, in characters.
    cell_chars: usize,
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    column: usize,
    field: FieldId,
    kind: FieldKind,
}

impl Reader {
    /// A reader of rows with these columns. `prefix` stands before every match key of the feed;
    /// outer space in it does not count.
    pub fn new(columns: Columns, fields: &Fields, prefix: &str, dates: DateOrder) -> Reader {
        let mapped = columns.by_index.iter().enumerate();
        let mut plan: Vec<Planned> = mapped
            .filter_map(|(column, field)| field.map(|field| Planned { column, field, kind: fields.kind(field) }))
            .collect();
        plan.sort_by_key(|p| p.field);
        let match_key = columns.by_index.get(columns.key).copied().flatten().unwrap_or(FieldId::EMPLOYEE_ID);
        let other = if match_key == FieldId::EMAIL { FieldId::EMPLOYEE_ID } else { FieldId::EMAIL };
        let prefix = normalise::trim(prefix);
        Reader {
            other: plan.iter().find(|p| p.field == other).map(|p| (p.column, p.kind)),
            key_kind: fields.kind(match_key),
            prefix: prefix.to_owned(),
            prefix_norm: normalise::key(prefix).into_owned(),
            plan,
            columns,
            dates,
            marked: false,
            cell_chars: usize::MAX,
        }
    }

    /// The same reader, of rows in the plain form of [`rows`] if `marked`.
    pub fn marked(self, marked: bool) -> Reader {
        Reader { marked, ..self }
    }

    /// The same reader, that refuses the value of a longer cell.
    pub fn cells_up_to(self, chars: u32) -> Reader {
        Reader { cell_chars: chars as usize, ..self }
    }

    /// The columns that it reads.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Reads a row. A bad value becomes an issue and drops only its field; an error means that the
    /// row as a whole is unreadable, and leaves nothing to be used in `row`.
    pub fn read(&self, cells: &Cells<'_>, line: u64, row: &mut Row) -> Result<(), RowProblem> {
        row.clear();
        row.line = line;
        if self.marked {
            self.check_not_broken(cells)?;
        } else {
            self.check_cell_count(cells)?;
        }
        let key_cell = self.said(cells.get(self.columns.key).unwrap_or_default());
        let key = self.key_value(key_cell)?;
        row.key.push_str(&self.prefix);
        row.key.push_str(&key);
        self.fold_key(&key, &mut row.key_norm);
        for planned in &self.plan {
            if planned.column == self.columns.key {
                keep(planned.field, &key, key_cell, row);
                self.notice(*planned, &key, row);
            } else {
                self.read_cell(*planned, cells.get(planned.column).unwrap_or(rows::ABSENT), row);
            }
        }
        Ok(())
    }

    fn check_not_broken(&self, cells: &Cells<'_>) -> Result<(), RowProblem> {
        match cells.get(0).and_then(|cell| cell.strip_prefix(rows::BROKEN)) {
            Some(reason) => Err(RowProblem::Broken { reason: reason.to_owned() }),
            None => Ok(()),
        }
    }

    /// A cell without a mark: for a key, absent and null are as good as blank.
    fn said<'c>(&self, cell: &'c str) -> &'c str {
        if self.marked && matches!(cell, rows::ABSENT | rows::NULL) { "" } else { cell }
    }

    fn check_cell_count(&self, cells: &Cells<'_>) -> Result<(), RowProblem> {
        let expected = self.columns.width();
        let too_many = || (expected..cells.len()).any(|i| cells.get(i).is_some_and(|c| !normalise::is_blank(c)));
        if cells.len() < expected || (cells.len() > expected && too_many()) {
            return Err(RowProblem::WrongCellCount { found: cells.len(), expected });
        }
        Ok(())
    }

    /// The canonical value of the match key, without the prefix.
    fn key_value<'c>(&self, cell: &'c str) -> Result<Cow<'c, str>, RowProblem> {
        let key = normalise::id(normalise::trim(cell))
            .and_then(|id| normalise::value(self.key_kind, id, self.dates))
            .map_err(|reason| RowProblem::BadKey { value: shown(cell), reason })?;
        if key.is_empty() {
            return Err(RowProblem::BlankKey);
        }
        if normalise::is_no_id(&key) {
            return Err(RowProblem::BadKey { value: shown(cell), reason: Refusal::NoId });
        }
        let bytes = self.prefix.len() + key.len();
        if bytes > MAX_KEY_CHARS && self.prefix.chars().count() + key.chars().count() > MAX_KEY_CHARS {
            return Err(RowProblem::KeyTooLong { value: shown(cell) });
        }
        Ok(key)
    }

    /// Adds the form in which the match key is compared.
    fn fold_key(&self, key: &str, out: &mut String) {
        if key.is_ascii() {
            let start = out.len();
            out.push_str(&self.prefix_norm);
            out.push_str(key);
            out[start + self.prefix_norm.len()..].make_ascii_lowercase();
        } else {
            // The first character of the key may combine with the last one of the prefix.
            normalise::key_into(&[self.prefix.as_str(), key].concat(), out);
        }
    }

    fn read_cell(&self, planned: Planned, cell: &str, row: &mut Row) {
        if self.marked && cell.len() == 1 {
            match cell {
                rows::ABSENT => return,
                rows::NULL => return row.null.insert(planned.field),
                _ => {}
            }
        }
        // Said in so many words that there is no end, which is more than leaving the cell blank.
        if planned.field == FieldId::END_DATE && normalise::is_never(cell) {
            row.null.insert(planned.field);
            return;
        }
        if cell.len() > self.cell_chars && normalise::trim(cell).chars().count() > self.cell_chars {
            let most = self.cell_chars;
            return row.issues.push(self.issue(planned, cell, row.line, format!(
                "Expected at most {most} characters, the limit limits.cell_chars; shorten the value or leave the column out."
            )));
        }
        let written = match planned.field {
            FieldId::EMPLOYEE_ID | FieldId::MANAGER_ID => normalise::id(normalise::trim(cell)),
            _ => Ok(cell),
        };
        match written.and_then(|written| normalise::value(planned.kind, written, self.dates)) {
            Ok(value) if value.is_empty() => row.empty.insert(planned.field),
            Ok(value) => {
                keep(planned.field, &value, cell, row);
                self.notice(planned, &value, row);
            }
            Err(reason) => row.issues.push(self.issue(planned, cell, row.line, reason.to_string())),
        }
    }

    /// Letters that look alike make two people of one, or one of two, without anybody seeing it.
    fn notice(&self, planned: Planned, value: &str, row: &mut Row) {
        let tells_who = [FieldId::EMPLOYEE_ID, FieldId::EMAIL, FieldId::FIRST_NAME, FieldId::LAST_NAME];
        if tells_who.contains(&planned.field) && normalise::mixes_alphabets(value) {
            let reason = "Letters of two alphabets that look alike stand in one word; the value is taken as it is. Check it at the source.";
            row.notes.push(RowIssue {
                decides: false,
                lost: false,
                ..self.issue(planned, value, row.line, reason.to_owned())
            });
        }
    }

    fn issue(&self, planned: Planned, cell: &str, line: u64, reason: String) -> RowIssue {
        RowIssue {
            line,
            column: self.columns.header.get(planned.column).map(|name| shown(name)).unwrap_or_default(),
            value: shown(cell),
            reason,
            decides: decides(planned.field),
            lost: true,
        }
    }

    /// Reads the match key of a record and nothing else, for a first look at a payload. It judges
    /// only what it reads: a row whose key is readable here can still turn out to be unreadable.
    pub fn key(&self, record: &[u8], delimiter: u8, scratch: &mut KeyScratch) -> Result<(), RowProblem> {
        self.look(record, delimiter, None, scratch)
    }

    /// Reads the match key and the other identifier (e-mail or employee id), if it has a column.
    pub fn identifiers(&self, record: &[u8], delimiter: u8, scratch: &mut KeyScratch) -> Result<(), RowProblem> {
        self.look(record, delimiter, self.other, scratch)
    }

    fn look(
        &self,
        record: &[u8],
        delimiter: u8,
        other: Option<(usize, FieldKind)>,
        scratch: &mut KeyScratch,
    ) -> Result<(), RowProblem> {
        scratch.key_norm.clear();
        scratch.other.clear();
        let at = self.columns.key;
        let [key, other_cell] = scratch.cells.pick(record, delimiter, [at, other.map_or(at, |(column, _)| column)])?;
        let key = key
            .map(|key| self.said(key))
            .ok_or(RowProblem::WrongCellCount { found: at, expected: self.columns.width() })?;
        self.fold_key(&self.key_value(key)?, &mut scratch.key_norm);
        if let (Some((_, kind)), Some(cell)) = (other, other_cell)
            && let Ok(id) = normalise::id(normalise::trim(self.said(cell)))
            && let Ok(value) = normalise::value(kind, id, self.dates)
        {
            normalise::key_into(&value, &mut scratch.other);
        }
        Ok(())
    }
}

/// Sets a field to its canonical value, and keeps what was written if that is not the same.
fn keep(field: FieldId, value: &str, cell: &str, row: &mut Row) {
    row.values.set(field, Some(value));
    // The very same text, as nearly always: not worth trimming and comparing.
    if value.as_ptr() == cell.as_ptr() && value.len() == cell.len() {
        return;
    }
    let written = normalise::trim(cell);
    if value != written {
        row.raw.set(field, Some(written));
    }
}

/// Memory for [`Reader::key`] and what it read last.
#[derive(Debug, Default)]
pub struct KeyScratch {
    key_norm: String,
    other: String,
    cells: CellBuffer,
}

impl KeyScratch {
    /// The match key as it is compared, with the feed's prefix.
    pub fn key_norm(&self) -> &str {
        &self.key_norm
    }

    /// The identifier that is not the match key, as it is compared; `None` if it is blank, cannot
    /// be read or has no column.
    pub fn other(&self) -> Option<&str> {
        Some(self.other.as_str()).filter(|o| !o.is_empty())
    }
}

/// Fields whose bad value cannot just be dropped: they say who someone is or whether they are eligible.
fn decides(field: FieldId) -> bool {
    matches!(
        field,
        FieldId::EMPLOYEE_ID
            | FieldId::EMAIL
            | FieldId::DATE_OF_BIRTH
            | FieldId::EMPLOYMENT_STATUS
            | FieldId::START_DATE
            | FieldId::END_DATE
    )
}

/// As much of a refused value, or of a header, as is repeated; control characters are written out, so that a
/// terminal does not obey them.
fn shown(cell: &str) -> String {
    let mut shown = String::new();
    for c in normalise::trim(cell).chars().take(SHOWN) {
        if c.is_control() {
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if normalise::trim(cell).chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
