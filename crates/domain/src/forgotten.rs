//! Forgetting: what the log says of people who were erased from it, and of payload originals that were destroyed.
//!
//! None of it says who: members by their numbers, and [`Block`]s, by which whoever has the organisation's secret knows
//! a forgotten person again who comes back in a feed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{
    digest::{Identifier, Keys},
    field::FieldId,
    ids::{MemberNo, UploadId},
    replay::log::hex,
    values::Values,
};

/// Somebody was forgotten: erased from the roster and from the lines of every earlier event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The members erased, by number; none for somebody who was only proposed.
    pub members: Vec<MemberNo>,
    /// How many events lost lines.
    pub events: u64,
    /// How many lines those were.
    pub lines: u64,
    /// By these identifiers nobody new is taken from now on.
    pub blocked: Vec<Block>,
    /// The roster version from now on.
    pub roster_version: u64,
}

/// Originals of payloads were destroyed; what they said of everybody is in the log all the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PayloadsDestroyed {
    /// Of which uploads.
    pub uploads: Vec<UploadId>,
    /// Why.
    pub why: Why,
}

/// Why an original was destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Somebody in it was forgotten.
    Forgotten,
    /// It had been kept for as long as the organisation keeps originals.
    Retention,
}

impl Why {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Why::Forgotten => "forgotten",
            Why::Retention => "retention",
        }
    }
}

/// When and why an upload's original was destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destroyed {
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub why: Why,
}

/// A keyed hash of an identifier of somebody who was forgotten. Without the organisation's secret nobody can tell whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block(pub [u8; 16]);

impl Block {
    /// The blocks that a row, or a person, of these identifiers would meet.
    pub fn all_of<'a>(keys: &'a Keys, key: &str, values: &'a Values) -> impl Iterator<Item = Block> + 'a {
        let own = keys.block(Identifier::Key, key);
        let of = |field, kind| values.get(field).map(|text| keys.block(kind, text));
        let others =
            [of(FieldId::EMAIL, Identifier::Email), of(FieldId::EMPLOYEE_ID, Identifier::EmployeeId)].into_iter();
        std::iter::once(own).chain(others.flatten())
    }

    /// The blocks that a text by which a person asks may stand for.
    pub fn meant_by(keys: &Keys, text: &str) -> [Block; 3] {
        [Identifier::Key, Identifier::Email, Identifier::EmployeeId].map(|kind| keys.block(kind, text))
    }
}

impl Serialize for Block {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let number = u128::from_str_radix(&text, 16).ok().filter(|_| text.len() == 32);
        number.map(|n| Block(n.to_be_bytes())).ok_or_else(|| D::Error::custom("a block has 32 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_the_same_whatever_the_case_and_another_with_another_secret() {
        let (keys, others) = (Keys::derive(b"one"), Keys::derive(b"two"));
        let block = keys.block(Identifier::Email, "ann@x.org");
        assert_eq!(block, keys.block(Identifier::Email, " ANN@x.org "));
        assert_ne!(block, keys.block(Identifier::Key, "ann@x.org"));
        assert_ne!(block, others.block(Identifier::Email, "ann@x.org"));
        let json = serde_json::to_string(&block).unwrap();
        assert_eq!(serde_json::from_str::<Block>(&json).unwrap(), block);
        assert!(serde_json::from_str::<Block>("\"12\"").is_err());
    }
}
