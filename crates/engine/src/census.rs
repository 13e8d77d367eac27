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
    Columns, IntakeError, Reader, Row, RowIssue, RowProblem,
    aside::{self, Aside, Usual},
    csv::{CellBuffer, Ending, Place, Records},
};

use crate::{
    known::Known,
    misses::{Miss, Misses},
};

mod wholesale;

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
    pub misses: Misses,
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
    /// Up to so many bytes of unknown rows are kept.
    pub kept_bytes: usize,
}

/// Reads the payload once.
///
/// # Errors
/// If the payload as a whole cannot be read.
pub fn take<R: Read>(records: &mut Records<R>, how: &Reading, known: &mut Known) -> Result<Census, IntakeError> {
    let mut taking = Taking { how, census: Census::default(), keeping: true, usual: None, totals: Vec::new() };
    match known.is_empty() {
        true => taking.wholesale(records)?,
        false => taking.by_fingerprint(records, known)?,
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
    unknown: Vec<Place>,
}

/// A census in the making.
struct Taking<'a> {
    how: &'a Reading<'a>,
    census: Census,
    keeping: bool,
    /// What the first rows look like, known or not, so that fingerprints make no difference to it.
    usual: Option<Usual>,
    /// Rows at the end, so far, that look like totals.
    totals: Vec<Total>,
}

/// A row that looks like a total.
struct Total {
    line: u64,
    what: Aside,
    /// Whether it stands in the misses or the unreadable.
    found: Found,
}

/// What a row that looks like a total was found to be.
#[derive(Clone, Copy)]
enum Found {
    Miss,
    Unreadable,
}

impl Taking<'_> {
    /// Learns from the first rows what people's rows look like.
    fn learn(&mut self, bytes: &[u8], places: &[Place]) {
        let how = self.how;
        let first = places.iter().map(|place| &bytes[place.start..place.end]);
        self.usual.get_or_insert_with(|| Usual::of(first, how.delimiter, how.reader.columns()));
    }

    /// Ticks off the rows that are known, and reads the others.
    fn by_fingerprint<R: Read>(&mut self, records: &mut Records<R>, known: &mut Known) -> Result<(), IntakeError> {
        let mut batch = Batch::default();
        loop {
            let bytes = records.next_some(BATCH, &mut batch.places)?;
            if batch.places.is_empty() {
                return Ok(());
            }
            self.census.rows += batch.places.len() as u64;
            self.learn(bytes, &batch.places);
            self.batch(bytes, &mut batch, known);
        }
    }

    fn batch(&mut self, bytes: &[u8], batch: &mut Batch, known: &mut Known) {
        let how = self.how;
        batch.fingerprints.clear();
        batch
            .fingerprints
            .extend(batch.places.iter().map(|p| how.keys.fingerprint(how.layout, &bytes[p.start..p.end])));
        known.find_all(&batch.fingerprints, &mut batch.found);
        batch.unknown.clear();
        let mut last_hit = 0;
        for (place, found) in batch.places.iter().zip(&batch.found) {
            match found {
                Some(at) => {
                    last_hit = place.line;
                    self.hit(*at, place.line, known);
                }
                None => batch.unknown.push(*place),
            }
        }
        if !batch.unknown.is_empty() {
            self.misses(bytes, &batch.unknown);
        }
        // A person below it shows that a row was no total of all.
        self.totals.retain(|total| total.line > last_hit);
    }

    fn hit(&mut self, at: usize, line: u64, known: &mut Known) {
        self.census.hits += 1;
        if let Some(first) = known.see(at, short(line)) {
            self.census.repeated += 1;
            self.census.notes.push(repeats(line, first.into(), self.how.reader.columns()));
        }
    }

    /// Reads rows that are not known, and notes them in order.
    fn misses(&mut self, bytes: &[u8], places: &[Place]) {
        let read = read_rows(self.how, self.usual.unwrap_or_default(), bytes, places, self.keeping);
        self.note_all(bytes, places, read);
    }

    fn note_all(&mut self, bytes: &[u8], places: &[Place], read: Vec<Looked>) {
        for (place, looked) in places.iter().zip(read) {
            self.note(place, &bytes[place.start..place.end], looked);
        }
    }

    fn note(&mut self, place: &Place, bytes: &[u8], Looked { aside, read }: Looked) {
        let Taking { how, census, .. } = self;
        match aside {
            None => self.totals.clear(),
            Some(what @ (Aside::Total | Aside::Count(_))) => {
                let found = if read.is_ok() { Found::Miss } else { Found::Unreadable };
                self.totals.push(Total { line: place.line, what, found });
            }
            Some(what) => {
                census.rows -= 1;
                return census.notes.push(what.note(place.line));
            }
        }
        let (miss, person) = match read {
            Ok(read) => read,
            Err(problem) => return census.unreadable.push(problem.issue(place.line, how.reader.columns())),
        };
        self.keeping = self.keeping && census.kept.len() + bytes.len() <= how.kept_bytes;
        if self.keeping {
            census.kept.extend_from_slice(bytes);
            census.kept_ends.push(census.kept.len() as u32);
            census.persons.extend(person);
        }
        census.misses.push(miss, place.offset);
    }
}

/// What an unknown row was found to be.
struct Looked {
    aside: Option<Aside>,
    /// Whom it names, and the hash of name with birth date, where that is asked for.
    read: Result<(Miss, Option<u64>), RowProblem>,
}

fn read_rows(how: &Reading, usual: Usual, bytes: &[u8], places: &[Place], keeping: bool) -> Vec<Looked> {
    let (mut cells, mut row) = (CellBuffer::default(), Row::default());
    let look = |place: &Place| {
        let mut aside = None;
        let raw = &bytes[place.start..place.end];
        let read = cells.split(raw, how.delimiter).and_then(|cells| {
            aside = aside::aside(&cells, how.reader.columns(), usual);
            how.reader.read(&cells, place.line, &mut row)
        });
        let read = read.map(|()| {
            let person = if keeping { person(&row.values, how.keys) } else { None };
            (miss_of(&row, short(place.line), raw, how), person)
        });
        Looked { aside, read }
    };
    places.iter().map(look).collect()
}

impl Taking<'_> {
    /// Takes totals below the last person out again.
    fn pass_totals(&mut self) {
        let from = self.first_total();
        for Total { line, what, found } in self.totals.drain(from..).rev() {
            match found {
                Found::Miss => {
                    self.census.misses.pop();
                    self.census.kept_ends.truncate(self.census.misses.len());
                }
                Found::Unreadable => drop(self.census.unreadable.pop()),
            }
            self.census.rows -= 1;
            self.census.notes.push(what.note(line));
        }
    }

    /// From which of them on they are totals: a number alone that is not the number of rows above may be somebody.
    fn first_total(&self) -> usize {
        let mut from = 0;
        loop {
            let people = self.census.rows - (self.totals.len() - from) as u64;
            let counts_wrong = |total: &Total| matches!(total.what, Aside::Count(number) if number != people);
            match self.totals[from..].iter().rposition(counts_wrong) {
                Some(at) => from += at + 1,
                None => return from,
            }
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

    /// Every hash by which somebody in an unknown row may be found, sorted, if the rows are no more than that.
    pub fn identifiers(&self, most: usize) -> Option<Vec<u64>> {
        if !self.keeps_bytes() || self.misses.len() > most {
            return None;
        }
        let own = self.misses.keys.iter().chain(&self.misses.others).copied();
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
        row.values.iter().for_each(|(field, value)| add_value(bytes, field, value.as_bytes()));
        content_of(bytes, &row.key_norm, keys)
    })
}

/// Adds a value to what is said. Values come in the order of their fields.
pub fn add_value(said: &mut Vec<u8>, field: FieldId, value: &[u8]) {
    said.extend_from_slice(&[0, field.0]);
    said.extend_from_slice(value);
}

/// The hash of all that is said, once the values are there.
pub fn content_of(said: &mut Vec<u8>, key_norm: &str, keys: &Keys) -> u64 {
    said.extend_from_slice(&[0, u8::MAX]);
    said.extend_from_slice(key_norm.as_bytes());
    keys.seeded(7, said)
}

fn miss_of(row: &Row, line: u32, raw: &[u8], how: &Reading) -> Miss {
    Miss {
        line,
        fingerprint: how.keys.fingerprint(how.layout, raw),
        key: how.keys.identifier(Identifier::Key, &row.key_norm),
        other: other(row, how.keys, how.match_key),
        content: content(row, how.keys),
        flawed: !row.issues.is_empty(),
    }
}

/// Hash of the row's identifier that is not the match key; 0 without one.
pub fn other(row: &Row, keys: &Keys, match_key: MatchKey) -> u64 {
    let (kind, field) = other_identifier(match_key);
    row.values.get(field).map_or(0, |value| keys.identifier(kind, value))
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
        reason: format!("The row says the same as line {first}, and is counted once."),
        decides: false,
        lost: false,
    }
}
