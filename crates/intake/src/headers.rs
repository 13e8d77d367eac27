//! Leads header names to fields: the field's own name, a saved mapping, or the usual HR synonyms.

use std::collections::BTreeMap;

use muster_domain::{
    field::{FieldId, Fields},
    normalise,
};
use unicode_normalization::UnicodeNormalization;

use self::synonyms::Rank;

mod content;
mod guess;
mod place;
mod synonyms;

pub use content::Content;
pub use guess::{Because, Guess, guess};
pub use place::{Knows, LOOKED_AT, Place, find};

/// Which column holds which field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The field of each column; `None` if the column is not taken.
    pub by_index: Vec<Option<FieldId>>,
    /// The column of the match key.
    pub key: usize,
    /// The header row as written.
    pub header: Vec<String>,
    /// Headers of the columns that are not taken; a column without a name is not among them.
    pub ignored: Vec<String>,
}

impl Columns {
    /// How many cells a row must have: nameless columns at the right end are not needed.
    pub fn width(&self) -> usize {
        self.header.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1)
    }

    /// The column that holds a field.
    pub fn column_of(&self, field: FieldId) -> Option<usize> {
        self.by_index.iter().position(|f| *f == Some(field))
    }
}

/// Why a header row does not lead to the fields: each is a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The match key has no column.
    #[error("No column holds the match key {field}; the header row has: {found}. Use --map {field}=Column to name it.")]
    NoKeyColumn {
        /// The match key.
        field: String,
        /// The header row.
        found: String,
    },
    /// Two columns are equally good for one field.
    #[error(
        "Both column {first} and column {second} could be {field}; use --map {field}=Column to choose, or rename one."
    )]
    TwoColumns {
        /// The field.
        field: String,
        /// One column: its name and place.
        first: String,
        /// The other.
        second: String,
    },
    /// The mapping names a column that is not there.
    #[error(
        "The mapping says that {field} is in column \"{column}\", but the header row has: {found}. Correct the mapping."
    )]
    NoSuchColumn {
        /// The field.
        field: String,
        /// The column that the mapping names.
        column: String,
        /// The header row.
        found: String,
    },
    /// The mapping names a field that the organisation does not have.
    #[error("The mapping names the field \"{field}\", which does not exist; the fields are: {fields}.")]
    NoSuchField {
        /// What the mapping names.
        field: String,
        /// The organisation's fields.
        fields: String,
    },
    /// The mapping gives one column to two fields.
    #[error("The mapping gives column \"{column}\" to both {first} and {second}; a column can hold one field only.")]
    ColumnUsedTwice {
        /// The column.
        column: String,
        /// One field.
        first: String,
        /// The other.
        second: String,
    },
}

/// Finds the column of each field. `saved` leads from field names to headers and wins over
/// everything else; an empty header there says that the field has no column. `unique_id` is
/// another name of the match key.
pub fn resolve(
    header: &[String],
    fields: &Fields,
    match_key: FieldId,
    saved: &BTreeMap<String, String>,
) -> Result<Columns, MappingError> {
    let mut search = Search { header, fields, by_index: vec![None; header.len()], settled: Vec::new() };
    for (name, column) in saved {
        search.take_saved(name, column, match_key)?;
    }
    if let Some(rivals) = search.take_named(match_key).into_iter().next() {
        return Err(rivals);
    }
    let Some(key) = search.by_index.iter().position(|f| *f == Some(match_key)) else {
        return Err(MappingError::NoKeyColumn { field: fields.name(match_key).to_owned(), found: listed(header) });
    };
    let unused = header.iter().zip(&search.by_index).filter(|(name, field)| field.is_none() && !name.is_empty());
    let ignored = unused.map(|(name, _)| name.clone()).collect();
    Ok(Columns { key, header: header.to_vec(), ignored, by_index: search.by_index })
}

/// Whether a column of that name is there: as it is written, or without regard to case and punctuation.
pub fn has(header: &[String], column: &str) -> bool {
    let wanted = plain(column);
    header.iter().any(|name| name == normalise::trim(column) || !wanted.is_empty() && plain(name) == wanted)
}

/// Of how many of these names the meaning is known, by the saved mapping or by themselves; twice as much for the match key,
/// without which nothing is a list of people.
pub fn known(header: &[String], fields: &Fields, match_key: FieldId, saved: &BTreeMap<String, String>) -> usize {
    let search = Search { header, fields, by_index: Vec::new(), settled: Vec::new() };
    let mut found: Vec<FieldId> = header.iter().filter_map(|name| Some(search.meaning(name, match_key)?.0)).collect();
    for (name, column) in saved.iter().filter(|(_, column)| !column.is_empty()) {
        let field =
            if matches!(name.trim(), "unique_id" | "uniqueId") { Some(match_key) } else { fields.by_name(name.trim()) };
        let is_here = header.iter().any(|h| plain(h) == plain(column) && !plain(h).is_empty());
        found.extend(field.filter(|_| is_here));
    }
    found.sort_unstable();
    found.dedup();
    found.len() + usize::from(found.contains(&match_key))
}

/// A name without case, spaces and punctuation: `E-mail (Work)` is `emailwork`, `Emp #` is `empno`.
pub fn plain(name: &str) -> String {
    let spelled = name.nfkc().flat_map(|c| match c {
        '#' | '№' => vec!['n', 'o'],
        c if c.is_alphanumeric() => c.to_lowercase().collect(),
        _ => Vec::new(),
    });
    spelled.collect()
}

/// Before the names of fields in objects that have all of them in one member, as in our own export.
const OF_FIELDS: &str = "fields.";

/// Whether these are the columns of `members export --format ndjson`.
fn is_own_export(header: &[String]) -> bool {
    let has = |name: &str| header.iter().any(|column| column == name);
    has("key") && has("id") && has("listed") && header.iter().any(|column| column.starts_with(OF_FIELDS))
}

struct Search<'a> {
    header: &'a [String],
    fields: &'a Fields,
    by_index: Vec<Option<FieldId>>,
    /// Fields that the saved mapping decides.
    settled: Vec<FieldId>,
}

impl Search<'_> {
    fn take_saved(&mut self, name: &str, column: &str, match_key: FieldId) -> Result<(), MappingError> {
        let field = match name.trim() {
            "unique_id" | "uniqueId" => match_key,
            name => self.fields.by_name(name).ok_or_else(|| self.no_such_field(name))?,
        };
        self.settled.push(field);
        let wanted = normalise::trim(column);
        if wanted.is_empty() {
            return Ok(());
        }
        let index = self.find(field, wanted)?;
        match self.by_index[index] {
            Some(other) if other != field => Err(MappingError::ColumnUsedTwice {
                column: self.header[index].clone(),
                first: self.fields.name(other).to_owned(),
                second: self.fields.name(field).to_owned(),
            }),
            _ => {
                self.by_index[index] = Some(field);
                Ok(())
            }
        }
    }

    /// The column of that name: as it is written, or failing that without regard to case and punctuation.
    fn find(&self, field: FieldId, wanted: &str) -> Result<usize, MappingError> {
        let plain_wanted = plain(wanted);
        let tests: [&dyn Fn(&str) -> bool; 2] =
            [&|name| name == wanted, &|name| !plain_wanted.is_empty() && plain(name) == plain_wanted];
        for test in tests {
            let mut matching = (0..self.header.len()).filter(|i| test(&self.header[*i]));
            match (matching.next(), matching.next()) {
                (Some(only), None) => return Ok(only),
                (Some(first), Some(second)) => return Err(self.two_columns(field, first, second)),
                _ => {}
            }
        }
        Err(MappingError::NoSuchColumn {
            field: self.fields.name(field).to_owned(),
            column: wanted.to_owned(),
            found: listed(self.header),
        })
    }

    /// Gives each field that the mapping leaves open the column with the best name, unless two are equally good.
    fn take_named(&mut self, match_key: FieldId) -> Vec<MappingError> {
        let mut rivals = Vec::new();
        let is_export = is_own_export(self.header);
        let mut best: BTreeMap<FieldId, (Rank, usize, Option<usize>)> = BTreeMap::new();
        for index in 0..self.header.len() {
            if self.by_index[index].is_some() {
                continue;
            }
            let Some((field, rank)) = self.meaning(&self.header[index], match_key) else { continue };
            // Of our own export the other names are of the member, and no field's.
            if is_export && !self.header[index].starts_with(OF_FIELDS) {
                continue;
            }
            if self.settled.contains(&field) {
                continue;
            }
            let entry = best.entry(field).or_insert((rank, index, None));
            if rank < entry.0 {
                *entry = (rank, index, None);
            } else if rank == entry.0 && index != entry.1 {
                entry.2.get_or_insert(index);
            }
        }
        for (field, (_, index, rival)) in best {
            match rival {
                Some(rival) => rivals.push(self.two_columns(field, index, rival)),
                None => self.by_index[index] = Some(field),
            }
        }
        rivals
    }

    /// The field that a name stands for, and how well: as a whole, or failing that without a remark in brackets.
    fn meaning(&self, name: &str, match_key: FieldId) -> Option<(FieldId, Rank)> {
        let name = name.strip_prefix(OF_FIELDS).unwrap_or(name);
        let whole = self.meaning_of(&plain(name), match_key);
        let shorter = || {
            let (outside, inside) = name.split_once(['[', '('])?;
            let is_remark = synonyms::REMARKS.contains(&plain(inside).as_str());
            self.meaning_of(&plain(outside), match_key).filter(|_| is_remark).map(|(field, _)| (field, Rank::Weak))
        };
        whole.or_else(shorter)
    }

    /// The field that a plain name stands for, and how well.
    fn meaning_of(&self, name: &str, match_key: FieldId) -> Option<(FieldId, Rank)> {
        if name.is_empty() {
            return None;
        }
        if let Some(field) = self.fields.all().find(|f| plain(self.fields.name(*f)) == name) {
            return Some((field, Rank::Exact));
        }
        if name == "uniqueid" {
            return Some((match_key, Rank::UniqueId));
        }
        synonyms::NAMES.iter().find_map(|(field, synonyms, weak)| {
            if synonyms.contains(&name) {
                Some((*field, Rank::Synonym))
            } else {
                weak.contains(&name).then_some((*field, Rank::Weak))
            }
        })
    }

    fn two_columns(&self, field: FieldId, first: usize, second: usize) -> MappingError {
        let describe = |index: usize| format!("{} (\"{}\")", index + 1, cut(&self.header[index]));
        MappingError::TwoColumns {
            field: self.fields.name(field).to_owned(),
            first: describe(first),
            second: describe(second),
        }
    }

    fn no_such_field(&self, name: &str) -> MappingError {
        let known: Vec<&str> = self.fields.all().map(|f| self.fields.name(f)).collect();
        MappingError::NoSuchField { field: cut(name), fields: known.join(", ") }
    }
}

/// The header row in a sentence: as much of it as can be taken in.
fn listed(header: &[String]) -> String {
    const SHOWN: usize = 30;
    let mut names: Vec<String> = header.iter().filter(|n| !n.is_empty()).take(SHOWN).map(|n| cut(n)).collect();
    if header.len() > SHOWN {
        names.push("…".to_owned());
    }
    if names.is_empty() { "no names".to_owned() } else { names.join(", ") }
}

fn cut(name: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = name.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if name.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
