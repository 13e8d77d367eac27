//! The fields that a member can have: fifteen standard ones and typed custom ones of an organisation.

use serde::{Deserialize, Serialize};

/// A field by number: 0 to 14 are the standard fields, 32 to 254 the organisation's custom fields
/// in the order in which they were added. Numbers are internal; the log writes names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldId(pub u8);

macro_rules! standard_fields {
    ($($konst:ident = $no:literal, $name:literal, $kind:ident;)*) => {
        impl FieldId {
            $(#[doc = concat!("The standard field `", $name, "`.")] pub const $konst: FieldId = FieldId($no);)*
        }
        /// Every standard field: its number, its name, and the type of its values.
        pub const STANDARD: &[(FieldId, &str, FieldKind)] = &[$((FieldId($no), $name, FieldKind::$kind),)*];

        fn standard(name: &str) -> Option<FieldId> {
            Some(match name {
                $($name => FieldId($no),)*
                _ => return None,
            })
        }
    };
}

standard_fields! {
    EMPLOYEE_ID = 0, "employee_id", Text;
    EMAIL = 1, "email", Email;
    FIRST_NAME = 2, "first_name", Text;
    LAST_NAME = 3, "last_name", Text;
    PREFERRED_NAME = 4, "preferred_name", Text;
    DATE_OF_BIRTH = 5, "date_of_birth", Date;
    DEPARTMENT = 6, "department", Text;
    JOB_TITLE = 7, "job_title", Text;
    LOCATION = 8, "location", Text;
    SUBCOMPANY = 9, "subcompany", Text;
    MANAGER_ID = 10, "manager_id", Text;
    EMPLOYMENT_TYPE = 11, "employment_type", Text;
    EMPLOYMENT_STATUS = 12, "employment_status", Text;
    START_DATE = 13, "start_date", Date;
    END_DATE = 14, "end_date", Date;
}

/// The first number of a custom field.
pub const FIRST_CUSTOM: u8 = 32;

/// The type of a field's values. Values are kept as canonical text: dates as `YYYY-MM-DD`,
/// numbers in plain decimal notation, booleans as `true` or `false`, e-mails in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Any text.
    Text,
    /// An e-mail address, compared without case.
    Email,
    /// A calendar day.
    Date,
    /// A decimal number.
    Number,
    /// Yes or no.
    Boolean,
}

/// The fields of one organisation: the standard ones and its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fields {
    /// Custom fields; the first has number [`FIRST_CUSTOM`]. Never reordered, never removed.
    pub custom: Vec<CustomField>,
}

/// A field that an organisation added to the standard ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomField {
    /// Its name: lower case letters, digits and underscores, not that of a standard field.
    pub name: String,
    /// The type of its values.
    pub kind: FieldKind,
}

impl Fields {
    /// The field of that name, if the organisation has it.
    pub fn by_name(&self, name: &str) -> Option<FieldId> {
        if let Some(id) = standard(name) {
            return Some(id);
        }
        self.custom.iter().position(|c| c.name == name).map(|i| FieldId(FIRST_CUSTOM + i as u8))
    }

    /// The name of a field; `"unknown"` for a number that the organisation does not have.
    pub fn name(&self, field: FieldId) -> &str {
        match STANDARD.get(field.0 as usize) {
            Some((_, name, _)) => name,
            None => self.custom_field(field).map_or("unknown", |c| c.name.as_str()),
        }
    }

    /// The type of a field's values.
    pub fn kind(&self, field: FieldId) -> FieldKind {
        match STANDARD.get(field.0 as usize) {
            Some((_, _, kind)) => *kind,
            None => self.custom_field(field).map_or(FieldKind::Text, |c| c.kind),
        }
    }

    /// Every field, standard ones first.
    pub fn all(&self) -> impl Iterator<Item = FieldId> + '_ {
        let custom = (0..self.custom.len()).map(|i| FieldId(FIRST_CUSTOM + i as u8));
        STANDARD.iter().map(|(id, _, _)| *id).chain(custom)
    }

    fn custom_field(&self, field: FieldId) -> Option<&CustomField> {
        self.custom.get((field.0 as usize).checked_sub(FIRST_CUSTOM as usize)?)
    }
}

/// A small set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldSet([u64; 4]);

impl FieldSet {
    /// Adds a field.
    pub fn insert(&mut self, field: FieldId) {
        self.0[field.0 as usize / 64] |= 1 << (field.0 % 64);
    }
    /// Takes a field out.
    pub fn remove(&mut self, field: FieldId) {
        self.0[field.0 as usize / 64] &= !(1 << (field.0 % 64));
    }
    /// Whether the field is in the set.
    pub fn contains(&self, field: FieldId) -> bool {
        self.0[field.0 as usize / 64] >> (field.0 % 64) & 1 == 1
    }
    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
    /// The fields in the set, in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = FieldId> + '_ {
        (0..=255u8).map(FieldId).filter(|f| self.contains(*f))
    }
}

impl FromIterator<FieldId> for FieldSet {
    fn from_iter<T: IntoIterator<Item = FieldId>>(iter: T) -> Self {
        let mut set = FieldSet::default();
        iter.into_iter().for_each(|f| set.insert(f));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_fields_stand_at_their_numbers() {
        for (i, (id, name, _)) in STANDARD.iter().enumerate() {
            assert_eq!(id.0 as usize, i);
            assert_eq!(Fields::default().by_name(name), Some(*id));
            assert_eq!(Fields::default().name(*id), *name);
        }
    }

    #[test]
    fn custom_fields_follow_in_their_own_range() {
        let fields = Fields { custom: vec![CustomField { name: "badge".into(), kind: FieldKind::Number }] };
        let badge = fields.by_name("badge").unwrap();
        assert_eq!((badge.0, fields.name(badge), fields.kind(badge)), (FIRST_CUSTOM, "badge", FieldKind::Number));
        assert_eq!(fields.by_name("other"), None);
    }

    #[test]
    fn a_field_set_holds_what_was_put_in() {
        let mut set: FieldSet = [FieldId(3), FieldId(200)].into_iter().collect();
        set.insert(FieldId(64));
        set.remove(FieldId(3));
        assert_eq!(set.iter().map(|f| f.0).collect::<Vec<_>>(), [64, 200]);
    }
}
