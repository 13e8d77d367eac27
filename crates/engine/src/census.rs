//! The census: a first reading of the payload that finds out who is in it, before anything is compared.
//!
//! Rows whose bytes are known are ticked off. The others are read far enough to know whom they name, so that
//! duplicates, absences and identities can be judged with the whole payload in view.

use std::io::Read;

use muster_domain::{
    digest::{Identifier, Keys},
    field::FieldId,
    settings::MatchKey,
    values::Values,
};
use muster_intake::{
    Columns, IntakeError, Reader, Row, RowIssue,
    aside::{self, Aside},
    csv::{CellBuffer, Ending, Place, Records},
};

use crate::known::Known;

/// A row that is not known: whom it names, and where it stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Miss {
    /// Hash of the match key.
    pub key: u64,
    /// Hash of the other identifier (e-mail or employee id); 0 without one.
    pub other: u64,
    /// Hash of what the row says.
    pub content: u64,
    /// Where the record begins, in bytes.
    pub offset: u64,
    /// The line on which it begins.
    pub line: u32,
    /// Whether a value of the row was refused, so that the row says more than its content.
    pub flawed: bool,
}

/// Who is in the payload.
#[derive(Default)]
pub struct Census {
    /// Rows, readable or not.
    pub rows: u64,
    /// Rows whose bytes are known.
    pub hits: u64,
    /// Known rows that appear again, byte for byte.
    pub repeated: u64,
    /// Rows that are not known, in the order of the payload.
    pub misses: Vec<Miss>,
    /// Rows from which nothing can be taken.
    pub unreadable: Vec<RowIssue>,
    /// Notes on rows that repeat another.
    pub notes: Vec<RowIssue>,
    /// How the payload ended.
    pub ending: Option<Ending>,
    /// Bytes of the misses, as long as they are few.
    kept: Vec<u8>,
    kept_ends: Vec<u32>,
    /// Hashes of name with birth date of the misses that are kept.
    persons: Vec<u64>,
}

/// Bytes of unknown rows that are kept rather than read again.
const KEEP: usize = 16 << 20;

/// Up to so many unknown rows, all that may tell who they are is looked up at once.
const FEW: usize = 65_536;

/// Rows looked up together, so that memory answers for many at once.
const BATCH: usize = 256;

/// How the payload is read.
pub struct Reading<'a> {
    /// What stands between cells.
    pub delimiter: u8,
    /// Reads rows.
    pub reader: &'a Reader,
    /// The organisation's keys.
    pub keys: &'a Keys,
    /// Seeds the fingerprints.
    pub layout: u64,
    /// Which identifier is the match key.
    pub match_key: MatchKey,
}

/// Reads the payload once.
///
/// # Errors
/// If the payload as a whole cannot be read.
pub fn take<R: Read>(records: &mut Records<R>, how: &Reading, known: &mut Known) -> Result<Census, IntakeError> {
    let mut taking = Taking {
        how,
        census: Census::default(),
        cells: CellBuffer::default(),
        row: Row::default(),
        keeping: true,
        totals: Vec::new(),
    };
    if known.is_empty() {
        while let Some(raw) = records.next()? {
            taking.census.rows += 1;
            taking.miss(raw.bytes, raw.line, raw.offset);
        }
    } else {
        let mut batch = Batch::default();
        loop {
            let bytes = records.next_some(BATCH, &mut batch.places)?;
            if batch.places.is_empty() {
                break;
            }
            taking.batch(bytes, &mut batch, known);
        }
    }
    taking.pass_totals();
    let mut census = taking.census;
    if !taking.keeping {
        (census.kept, census.kept_ends, census.persons) = Default::default();
    }
    census.ending = Some(records.ending());
    Ok(census)
}

/// Some rows with their fingerprints.
#[derive(Default)]
struct Batch {
    places: Vec<Place>,
    fingerprints: Vec<u128>,
    found: Vec<Option<usize>>,
}

/// A census in the making.
struct Taking<'a> {
    how: &'a Reading<'a>,
    census: Census,
    cells: CellBuffer,
    row: Row,
    keeping: bool,
    /// Rows at the end, so far, that look like totals: where they stand in the misses or the unreadable.
    totals: Vec<(u64, Found)>,
}

/// What a row that looks like a total was found to be.
#[derive(Clone, Copy)]
enum Found {
    Miss,
    Unreadable,
}

impl Taking<'_> {
    fn batch(&mut self, bytes: &[u8], batch: &mut Batch, known: &mut Known) {
        let how = self.how;
        batch.fingerprints.clear();
        batch
            .fingerprints
            .extend(batch.places.iter().map(|p| how.keys.fingerprint(how.layout, &bytes[p.start..p.end])));
        known.find_all(&batch.fingerprints, &mut batch.found);
        self.census.rows += batch.places.len() as u64;
        for (place, found) in batch.places.iter().zip(&batch.found) {
            match found {
                Some(at) => self.hit(*at, place.line, known),
                None => self.miss(&bytes[place.start..place.end], place.line, place.offset),
            }
        }
    }

    fn hit(&mut self, at: usize, line: u64, known: &mut Known) {
        self.census.hits += 1;
        self.totals.clear();
        if let Some(first) = known.see(at, short(line)) {
            self.census.repeated += 1;
            self.census.notes.push(repeats(line, first.into(), self.how.reader.columns()));
        }
    }

    fn miss(&mut self, bytes: &[u8], line: u64, offset: u64) {
        let Taking { how, census, row, .. } = self;
        let mut aside = None;
        let read = self.cells.split(bytes, how.delimiter).and_then(|cells| {
            aside = aside::aside(&cells, how.reader.columns());
            how.reader.read(&cells, line, row)
        });
        match aside {
            None => self.totals.clear(),
            Some(Aside::Total) => self.totals.push((line, if read.is_ok() { Found::Miss } else { Found::Unreadable })),
            Some(Aside::Header) => {
                census.rows -= 1;
                return census.notes.push(Aside::Header.note(line));
            }
        }
        if let Err(problem) = read {
            census.unreadable.push(problem.issue(line, how.reader.columns()));
            return;
        }
        self.keeping = self.keeping && census.kept.len() + bytes.len() <= KEEP;
        if self.keeping {
            census.kept.extend_from_slice(bytes);
            census.kept_ends.push(census.kept.len() as u32);
            census.persons.extend(person(&row.values, how.keys));
        }
        let at = Miss { offset, line: short(line), flawed: !row.issues.is_empty(), ..Miss::default() };
        census.misses.push(miss_of(row, how.keys, how.match_key, at));
    }
}

impl Taking<'_> {
    /// Takes totals below the last person out again.
    fn pass_totals(&mut self) {
        for (line, found) in self.totals.drain(..).rev() {
            match found {
                Found::Miss => {
                    self.census.misses.pop();
                    self.census.kept_ends.truncate(self.census.misses.len());
                }
                Found::Unreadable => drop(self.census.unreadable.pop()),
            }
            self.census.rows -= 1;
            self.census.notes.push(Aside::Total.note(line));
        }
    }
}

fn short(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

impl Census {
    /// The bytes of the unknown row of that index, if they were kept.
    pub fn bytes(&self, miss: usize) -> Option<&[u8]> {
        let end = *self.kept_ends.get(miss)? as usize;
        let start = miss.checked_sub(1).map_or(0, |before| self.kept_ends[before] as usize);
        self.kept.get(start..end)
    }

    /// Every hash by which somebody in an unknown row may be found, sorted, if the rows are few.
    pub fn identifiers(&self) -> Option<Vec<u64>> {
        if !self.keeps_bytes() || self.misses.len() > FEW {
            return None;
        }
        let own = self.misses.iter().flat_map(|m| [m.key, m.other]);
        let mut hashes: Vec<u64> = own.filter(|h| *h != 0).chain(self.persons.iter().copied()).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Some(hashes)
    }

    /// Whether the bytes of every unknown row were kept.
    pub fn keeps_bytes(&self) -> bool {
        self.kept_ends.len() == self.misses.len()
    }
}

/// A hash of everything that a row says, to tell rows that repeat from rows that contradict.
pub fn content(row: &Row, keys: &Keys) -> u64 {
    thread_local! {
        static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|bytes| {
        bytes.clear();
        bytes.extend_from_slice(row.key_norm.as_bytes());
        for (field, value) in row.values.iter() {
            bytes.extend_from_slice(&[0, field.0]);
            bytes.extend_from_slice(value.as_bytes());
        }
        keys.seeded(7, bytes)
    })
}

fn miss_of(row: &Row, keys: &Keys, match_key: MatchKey, at: Miss) -> Miss {
    let (kind, field) = other_identifier(match_key);
    let other = row.values.get(field).map_or(0, |value| keys.identifier(kind, value));
    Miss { key: keys.identifier(Identifier::Key, &row.key_norm), other, content: content(row, keys), ..at }
}

/// The hash of name with birth date, where all of it is there.
pub fn person(values: &Values, keys: &Keys) -> Option<u64> {
    let [first, last, born] = [FieldId::FIRST_NAME, FieldId::LAST_NAME, FieldId::DATE_OF_BIRTH].map(|f| values.get(f));
    Some(keys.person(first?, last?, born?))
}

/// The identifier that is not the match key.
pub fn other_identifier(match_key: MatchKey) -> (Identifier, FieldId) {
    match match_key {
        MatchKey::EmployeeId => (Identifier::Email, FieldId::EMAIL),
        MatchKey::Email => (Identifier::EmployeeId, FieldId::EMPLOYEE_ID),
    }
}

fn repeats(line: u64, first: u64, columns: &Columns) -> RowIssue {
    RowIssue {
        line,
        column: columns.header.get(columns.key).cloned().unwrap_or_default(),
        value: String::new(),
        reason: format!("The row says the same as line {first}; it is counted once."),
        decides: false,
    }
}
