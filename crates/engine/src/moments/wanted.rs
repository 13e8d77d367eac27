//! Which differences somebody wants to see, and how many of them there are.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::{Difference, Field, What};
use crate::Organisation;

/// Which differences are wanted. What is not named limits nothing.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only people known by one of these match keys, at either moment or before.
    pub keys: Vec<String>,
    /// Only these members.
    pub members: Vec<Uuid>,
    /// Only people of whom one of these fields differs, and no other fields of them.
    pub fields: Vec<String>,
    /// Only these.
    pub only: Vec<What>,
}

impl Wanted {
    /// The fields of a person that are wanted; none if the person is not.
    pub fn of<'a>(&self, difference: &'a Difference, org: &'a Organisation) -> Option<Vec<Field<'a>>> {
        let asked = self.only.is_empty() || self.only.contains(&difference.what);
        let meant = self.keys.is_empty() || self.keys.iter().any(|key| difference.is_about(key));
        let is_one = |m: &muster_domain::member::Member| self.members.contains(&m.uuid);
        let among = self.members.is_empty() || difference.member().is_some_and(is_one);
        if !asked || !meant || !among {
            return None;
        }
        let mut fields = difference.fields(org);
        if !self.fields.is_empty() {
            fields.retain(|(name, ..)| self.fields.iter().any(|f| f == name));
            if fields.is_empty() {
                return None;
            }
        }
        Some(fields)
    }
}

/// How many differences there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// People listed at the second moment alone.
    pub joined: u64,
    /// People listed at the first moment alone.
    pub left: u64,
    /// People listed at both, of whom something is different.
    pub changed: u64,
    /// Of how many people each field is different.
    #[serde(skip)]
    pub fields: BTreeMap<String, u64>,
}

impl Counted {
    /// Counts one more.
    pub fn add(&mut self, what: What, fields: &[Field<'_>]) {
        match what {
            What::Joined => self.joined += 1,
            What::Left => self.left += 1,
            What::Changed => self.changed += 1,
        }
        for (name, ..) in fields {
            *self.fields.entry((*name).to_owned()).or_default() += 1;
        }
    }

    /// How many people.
    pub fn all(&self) -> u64 {
        self.joined + self.left + self.changed
    }
}
