//! What a header row seems to say, told column by column with the reason, also where it does not lead to all that is needed.

use std::collections::BTreeMap;

use muster_domain::field::{FieldId, Fields};

use super::{MappingError, Search, listed, synonyms::Rank};

/// Why a column is taken for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The mapping says so.
    Said,
    /// It has the field's own name, or `unique_id`.
    OwnName,
    /// It has a name that is used for nothing else.
    KnownName,
    /// It has a name that may mean the field, and no other column has a better one.
    PossibleName,
}

/// What a header row seems to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// The field of each column, and why.
    pub columns: Vec<Option<(FieldId, Because)>>,
    /// What must be settled before the payload can be read.
    pub problems: Vec<MappingError>,
}

/// As [`resolve`](super::resolve), but whatever is wrong leaves the rest to be seen.
pub fn guess(header: &[String], fields: &Fields, match_key: FieldId, saved: &BTreeMap<String, String>) -> Guess {
    let mut search = Search { header, fields, by_index: vec![None; header.len()], settled: Vec::new() };
    let mut problems: Vec<MappingError> =
        saved.iter().filter_map(|(name, column)| search.take_saved(name, column, match_key).err()).collect();
    let said = search.by_index.clone();
    problems.append(&mut search.take_named(match_key));
    if !search.by_index.contains(&Some(match_key)) && problems.is_empty() {
        problems.push(MappingError::NoKeyColumn { field: fields.name(match_key).to_owned(), found: listed(header) });
    }
    let because = |i: usize, field: FieldId| match search.meaning(&header[i], match_key) {
        _ if said[i].is_some() => Because::Said,
        Some((found, Rank::Exact | Rank::UniqueId)) if found == field => Because::OwnName,
        Some((found, Rank::Synonym)) if found == field => Because::KnownName,
        _ => Because::PossibleName,
    };
    let columns = search.by_index.iter().enumerate().map(|(i, field)| field.map(|f| (f, because(i, f)))).collect();
    Guess { columns, problems }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessed(names: &[&str], saved: &[(&str, &str)]) -> Guess {
        let header: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let saved = saved.iter().map(|(f, c)| ((*f).to_owned(), (*c).to_owned())).collect();
        guess(&header, &Fields::default(), FieldId::EMPLOYEE_ID, &saved)
    }

    #[test]
    fn each_column_has_its_reason() {
        let guess = guessed(&["Worker ID", "email", "Title", "Ort", "Shoe"], &[("location", "Ort")]);
        let because: Vec<Option<Because>> = guess.columns.iter().map(|c| c.map(|(_, b)| b)).collect();
        assert_eq!(
            because,
            [Some(Because::KnownName), Some(Because::OwnName), Some(Because::PossibleName), Some(Because::Said), None]
        );
        assert!(guess.problems.is_empty());
    }

    #[test]
    fn what_is_wrong_leaves_the_rest_to_be_seen() {
        let guess = guessed(&["社員番号", "Email"], &[("department", "部署")]);
        assert_eq!(guess.columns[1], Some((FieldId::EMAIL, Because::OwnName)));
        assert!(matches!(guess.problems[..], [MappingError::NoSuchColumn { .. }]));
        assert!(matches!(guessed(&["社員番号"], &[]).problems[..], [MappingError::NoKeyColumn { .. }]));
        let rivals = guessed(&["Worker ID", "Staff No", "Email"], &[]);
        assert!(matches!(rivals.problems[..], [MappingError::TwoColumns { .. }]));
        assert_eq!(rivals.columns[0], None);
    }
}
