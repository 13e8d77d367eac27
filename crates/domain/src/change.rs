//! A change: one member's part of a change set, and its line of JSON in the log.
//!
//! The line is written once and hashed as it stands; it is never serialised again. Its form is
//! documented in `docs/events.md`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{Day, FeedNo, MemberNo};
use crate::member::Reason;

mod owned;
mod plain;

/// What a change does, as a reviewer counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A person comes onto the roster for the first time.
    Add,
    /// Fields of a listed person change.
    Update,
    /// The last claim ends: the person leaves the roster.
    Remove,
    /// A former member comes back, with the same identity.
    Reinstate,
    /// The person's match key changes (fields may change with it).
    Rekey,
    /// The feed says something that changes nothing on the roster now: a claim begins, or a word is kept.
    Say,
    /// The feed's claim ends and others go on: nothing changes on the roster now.
    Release,
}

impl Kind {
    /// Every kind, in the order in which people read them.
    pub const ALL: [Kind; 7] =
        [Kind::Add, Kind::Update, Kind::Remove, Kind::Reinstate, Kind::Rekey, Kind::Say, Kind::Release];

    /// The word for it in the log and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Add => "add",
            Kind::Update => "update",
            Kind::Remove => "remove",
            Kind::Reinstate => "reinstate",
            Kind::Rekey => "rekey",
            Kind::Say => "say",
            Kind::Release => "release",
        }
    }

    /// Whether the roster that people see stays the same.
    pub fn is_silent(self) -> bool {
        matches!(self, Kind::Say | Kind::Release)
    }
}

/// A list of fields by name with their values; `None` is blank.
pub type Named<'a> = Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>;

/// One change, as its line says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change<'a> {
    /// What it does.
    pub kind: Kind,
    /// The member's number; none for a person who is new to the organisation (numbers are given on applying, in order).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no: Option<MemberNo>,
    /// The member's identity.
    pub member: Uuid,
    /// The match key after the change.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// The match key before, if it changes.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub old_key: Option<Cow<'a, str>>,
    /// The line of the payload on which the row begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Values before, of the fields in `to`.
    #[serde(default, borrow, with = "named", skip_serializing_if = "Vec::is_empty")]
    pub from: Named<'a>,
    /// Values after.
    #[serde(default, borrow, with = "named", skip_serializing_if = "Vec::is_empty")]
    pub to: Named<'a>,
    /// What the feed says of fields on which the roster follows another word.
    #[serde(default, borrow, with = "named", skip_serializing_if = "Vec::is_empty")]
    pub said: Named<'a>,
    /// The text as it was read, where normalising changed it.
    #[serde(default, borrow, with = "named", skip_serializing_if = "Vec::is_empty")]
    pub raw: Named<'a>,
    /// An absence that the payload does not prove: never part of "approve all".
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
    /// The feed's claim ends with this change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends: bool,
    /// How the person was recognised, where not by match key: `email`, `employee_id`, `by_hand`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Cow<'a, str>>,
    /// The day from which it counts for eligibility, where that is not the day of application (`YYYY-MM-DD`).
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub effective_on: Option<Cow<'a, str>>,
    /// The claim spells after the change, by value (undo, handover, link).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spells: Option<Vec<(FeedNo, Day, Option<Day>)>>,
    /// The claim spells before the change, where they are set by value: a change that waited overwrites no newer ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_spells: Option<Vec<(FeedNo, Day, Option<Day>)>>,
    /// Old match keys after the change, by value (undo, link).
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub aliases: Option<Vec<Cow<'a, str>>>,
    /// Last words to keep, by value (undo): feed, field name, value, reason.
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<SaidWord<'a>>,
    /// All that the row says, where it gives a known person another key: if that is rejected, the row is somebody
    /// else's, and this is what the feed said of them.
    #[serde(default, borrow, with = "named", skip_serializing_if = "Vec::is_empty")]
    pub row: Named<'a>,
}

/// A last word by value in a change's line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SaidWord<'a> {
    /// Whose.
    pub feed: FeedNo,
    /// Field name; `absent` and `named` for the feed's word on the person as a whole.
    #[serde(borrow)]
    pub field: Cow<'a, str>,
    /// The value; none is blank.
    #[serde(borrow)]
    pub value: Option<Cow<'a, str>>,
    /// Why it is not the roster's value; none drops the word.
    pub reason: Option<Reason>,
}

impl<'a> Change<'a> {
    /// A change of that kind with nothing in it yet.
    pub fn new(kind: Kind, no: Option<MemberNo>, member: Uuid, key: impl Into<Cow<'a, str>>) -> Self {
        Change {
            kind,
            no,
            member,
            key: key.into(),
            old_key: None,
            line: None,
            from: Vec::new(),
            to: Vec::new(),
            said: Vec::new(),
            raw: Vec::new(),
            unproven: false,
            ends: false,
            evidence: None,
            effective_on: None,
            spells: None,
            old_spells: None,
            aliases: None,
            words: Vec::new(),
            row: Vec::new(),
        }
    }

    /// The change as it is applied where these fields are left out of it.
    #[must_use]
    pub fn without(mut self, fields: &[String]) -> Self {
        self.to.retain(|(name, _)| !fields.iter().any(|field| field == name));
        self
    }

    /// Writes the change's line, without a line break.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing to memory what holds only text and numbers cannot fail.
        let _ = serde_json::to_writer(out, self);
    }

    /// Reads a line.
    ///
    /// # Errors
    /// If it is not the JSON of a change.
    pub fn read(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        match plain::read(line) {
            Some(change) => Ok(change),
            None => serde_json::from_slice(line),
        }
    }

    /// Only the member's number, of a line that is known to be a change: most lines need not be read to their end for it.
    ///
    /// # Errors
    /// If it is not the JSON of a change, as far as it is read.
    pub fn number(line: &[u8]) -> Result<Option<MemberNo>, serde_json::Error> {
        match plain::number(line) {
            Some(no) => Ok(no),
            None => Change::read(line).map(|change| change.no),
        }
    }
}

/// Fields and values as a JSON object, in the order of the list, strings borrowed where they hold no escapes.
mod named {
    use std::borrow::Cow;
    use std::fmt;

    use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
    use serde::ser::{SerializeMap, Serializer};

    use super::Named;

    /// Borrows through `Cow` (serde's own `Cow` always copies inside an `Option`).
    struct Text<'a>(Cow<'a, str>);

    impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            struct V;
            impl<'de> Visitor<'de> for V {
                type Value = Text<'de>;
                fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                    f.write_str("a text")
                }
                fn visit_borrowed_str<E>(self, s: &'de str) -> Result<Self::Value, E> {
                    Ok(Text(Cow::Borrowed(s)))
                }
                fn visit_str<E>(self, s: &str) -> Result<Self::Value, E> {
                    Ok(Text(Cow::Owned(s.to_owned())))
                }
            }
            d.deserialize_str(V)
        }
    }

    pub fn serialize<S: Serializer>(list: &Named, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        for (name, value) in list {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }

    pub fn deserialize<'de: 'a, 'a, D: Deserializer<'de>>(d: D) -> Result<Named<'a>, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Named<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("fields and values")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::with_capacity(12);
                while let Some(name) = map.next_key::<Text>()? {
                    list.push((name.0, map.next_value::<Option<Text>>()?.map(|t| t.0)));
                }
                Ok(list)
            }
        }
        d.deserialize_map(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let mut change = Change::new(Kind::Update, Some(7), Uuid::nil(), "E1");
        change.line = Some(3);
        change.from = vec![("department".into(), None)];
        change.to = vec![("department".into(), Some("R \"&\" D\n".into()))];
        change.spells = Some(vec![(FeedNo::MAIN, 10, None)]);
        let mut line = Vec::new();
        change.write(&mut line);
        assert!(!line.contains(&b'\n'));
        assert_eq!(Change::read(&line).unwrap(), change);
    }

    #[test]
    fn plain_texts_are_borrowed_from_the_line() {
        let line = br#"{"kind":"add","member":"00000000-0000-0000-0000-000000000000","key":"E1","to":{"email":"a@x"}}"#;
        let change = Change::read(line).unwrap();
        assert!(matches!(change.to[0], (Cow::Borrowed("email"), Some(Cow::Borrowed("a@x")))));
    }
}
