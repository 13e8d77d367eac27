//! Members as a table, for files: a column for each field that somebody has a value in, and a row for each member.

use muster_domain::{
    field::{FieldId, FieldKind, FieldSet},
    member::Member,
    settings::Settings,
    spreadsheet::record,
};

mod workbook;

pub use workbook::{Book, MOST_PEOPLE};

/// Gathers from members which columns their table has.
pub struct Filled {
    used: FieldSet,
    people: u64,
}

impl Filled {
    /// Of nobody yet: there is only the match key's column.
    pub fn new(settings: &Settings) -> Filled {
        Filled { used: FieldSet::from_iter([settings.match_key.field()]), people: 0 }
    }

    /// Takes in one of those who are to stand in the table.
    pub fn take(&mut self, member: &Member) {
        self.people += 1;
        member.values.iter().for_each(|(field, _)| self.used.insert(field));
    }

    /// The table of all who were taken in, with no more than the readable fields; none for all.
    pub fn table(&self, settings: &Settings, readable: Option<&FieldSet>) -> Table {
        let fields = &settings.fields;
        let has = |field: &FieldId| self.used.contains(*field) && readable.is_none_or(|some| some.contains(*field));
        let column = |field| Column { field, head: fields.name(field).to_owned(), kind: fields.kind(field) };
        Table { columns: fields.all().filter(has).map(column).collect(), people: self.people }
    }
}

/// The columns of a table of members.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    people: u64,
}

#[derive(Clone, Debug)]
struct Column {
    field: FieldId,
    head: String,
    kind: FieldKind,
}

impl Table {
    /// How many people are to stand in it.
    pub fn people(&self) -> u64 {
        self.people
    }

    /// Its head as a record of CSV.
    pub fn head(&self) -> String {
        record(self.columns.iter().map(|column| &*column.head), true)
    }

    /// A member as a record of CSV, harmless in a spreadsheet unless values are to stay as they are.
    pub fn record(&self, member: &Member, raw: bool) -> String {
        record(self.columns.iter().map(|column| member.values.get(column.field).unwrap_or_default()), raw)
    }
}
