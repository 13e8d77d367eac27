//! What is said of the columns of one payload: with it, and by a feed's saved mapping of which it lacks some.

use std::collections::BTreeMap;

use muster_domain::settings::{SettingError, Settings};
use muster_intake::headers;

/// What is wrong with a mapping before any payload is read by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMapping {
    /// The field, as the caller called it.
    pub field: String,
    /// What is wrong, in a sentence.
    pub why: String,
}

/// What is said of one payload's columns, by the fields' own names (`unique_id` is another one of the match key's); a blank
/// column says that none holds the field.
///
/// # Errors
/// If there is no such field, or a field or a column is named twice.
pub fn for_one_payload(
    said: &BTreeMap<String, String>,
    settings: &Settings,
) -> Result<BTreeMap<String, String>, BadMapping> {
    let mut by_own_name = BTreeMap::<String, String>::new();
    for (called, column) in said {
        let bad = |why: String| BadMapping { field: called.clone(), why };
        // The camelCase of other contracts is a name of it too.
        let name = if called.trim() == "uniqueId" { "unique_id" } else { called.trim() };
        let column = column.trim();
        let Some(field) = settings.field(name) else {
            let fields = settings.fields.all().map(|f| settings.fields.name(f).to_owned()).collect();
            return Err(bad(SettingError::UnknownField { name: shown(name), fields }.to_string()));
        };
        let own = settings.fields.name(field);
        if let Some((other, _)) = by_own_name.iter().find(|(_, c)| !column.is_empty() && *c == column) {
            let column = shown(column);
            return Err(bad(format!(
                "The column \"{column}\" is given to {other} too; a column can hold one field only."
            )));
        }
        if by_own_name.insert(own.to_owned(), column.to_owned()).is_some() {
            return Err(bad(format!("The field {own} is named twice, by two names of it; name it once.")));
        }
    }
    Ok(by_own_name)
}

/// A saved mapping is of all columns that a feed ever had, and a payload with fewer of them is one too: what it lacks is left
/// out, and said. Without the match key nothing can be read, and what is asked for with this payload must be in it.
pub(crate) fn leave_out_lacking(
    mapping: &mut BTreeMap<String, String>,
    header: &[String],
    asked: &BTreeMap<String, String>,
    settings: &Settings,
) -> Vec<String> {
    let key = settings.fields.name(settings.match_key.field());
    let mut lacking = Vec::new();
    for (field, column) in mapping.iter_mut().filter(|(field, column)| !column.is_empty() && field.as_str() != key) {
        if !asked.contains_key(field) && !headers::has(header, column) {
            lacking.push(format!("The feed's mapping has {field} in a column that is not here: {}.", shown(column)));
            column.clear();
        }
    }
    lacking
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}
