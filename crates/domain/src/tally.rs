//! Tallies: how many changes of a change set are of each kind, and how many touch each field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::{Change, Kind};

/// Counts of the changes of a change set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Changes by kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// By field, of people already known: how many values change, are filled, become blank.
    pub fields: BTreeMap<String, FieldTally>,
    /// Absences that the payload does not prove.
    pub unproven: u64,
}

/// What happens to the values of one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldTally {
    /// One value for another.
    pub changed: u64,
    /// A value where there was none.
    pub filled: u64,
    /// No value where there was one.
    pub blanked: u64,
}

impl FieldTally {
    /// How many changes touch the field.
    pub fn touched(&self) -> u64 {
        self.changed + self.filled + self.blanked
    }
}

impl Tally {
    /// Counts a change in.
    pub fn add(&mut self, change: &Change) {
        *self.kinds.entry(change.kind).or_default() += 1;
        self.unproven += u64::from(change.unproven);
        if change.kind == Kind::Add {
            return;
        }
        for (field, after) in &change.to {
            let before = change.from.iter().find(|(f, _)| f == field).and_then(|(_, v)| v.as_deref());
            let tally = match self.fields.get_mut(field.as_ref()) {
                Some(tally) => tally,
                None => self.fields.entry(field.to_string()).or_default(),
            };
            match (before, after) {
                (Some(_), Some(_)) => tally.changed += 1,
                (None, _) => tally.filled += 1,
                (Some(_), None) => tally.blanked += 1,
            }
        }
    }
}
