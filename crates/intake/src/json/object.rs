//! One JSON object as the cells of a row. Numbers keep the digits with which they were written.

use std::{collections::HashMap, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::rows::Cell;

/// The columns met so far, in the order in which they came: `name.first` for a member of a member.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    by_name: HashMap<String, usize>,
}

impl Columns {
    /// The column of that name. `likely` is where it would be if this object is like those before it.
    fn of(&mut self, name: &str, likely: usize) -> usize {
        if self.names.get(likely).is_some_and(|n| n == name) {
            return likely;
        }
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        self.names.push(name.to_owned());
        self.by_name.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Absent,
    Null,
    Text { from: usize, to: usize },
}

/// Reads objects, one after the other, and keeps its memory.
#[derive(Debug, Default)]
pub(super) struct Object {
    said: Vec<Said>,
    text: String,
    path: String,
    last: usize,
}

impl Object {
    /// Reads an object. The error is a sentence that says why it is no row.
    pub(super) fn read(&mut self, json: &[u8], columns: &mut Columns) -> Result<(), String> {
        self.said.clear();
        self.text.clear();
        self.path.clear();
        self.last = usize::MAX;
        let json = std::str::from_utf8(json)
            .map_err(|_| "Expected UTF-8 text; save the file in UTF-8 and send it again.".to_owned())?;
        if json.starts_with('[') {
            return Err(
                "Expected an object such as {\"employee_id\": \"1001\"} and found a list; send objects, or CSV."
                    .to_owned(),
            );
        }
        if !json.starts_with('{') {
            return Err(
                "Expected an object such as {\"employee_id\": \"1001\"}; correct the row at the source.".to_owned()
            );
        }
        self.members(json, columns).map_err(|e| reason(&e))
    }

    /// The cells, up to the last that the object has.
    pub(super) fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        self.said.iter().map(|said| match said {
            Said::Absent => Cell::Absent,
            Said::Null => Cell::Null,
            Said::Text { from, to } => Cell::Text(&self.text[*from..*to]),
        })
    }

    fn members(&mut self, json: &str, columns: &mut Columns) -> Result<(), serde_json::Error> {
        let mut parser = serde_json::Deserializer::from_str(json);
        Members { object: self, columns }.deserialize(&mut parser)?;
        parser.end()
    }

    fn member(&mut self, name: &str, raw: &str, columns: &mut Columns) -> Result<(), serde_json::Error> {
        let outer = self.path.len();
        if raw.starts_with('{') {
            self.path.push_str(name);
            self.path.push('.');
            self.members(raw, columns)?;
            self.path.truncate(outer);
            return Ok(());
        }
        let at = match outer {
            0 => columns.of(name, self.last.wrapping_add(1)),
            _ => {
                self.path.push_str(name);
                let at = columns.of(&self.path, self.last.wrapping_add(1));
                self.path.truncate(outer);
                at
            }
        };
        self.last = at;
        let said = self.said_of(raw)?;
        if self.said.len() <= at {
            self.said.resize(at + 1, Said::Absent);
        }
        if self.said[at] != Said::Absent {
            return Err(serde_json::Error::custom(TWICE));
        }
        self.said[at] = said;
        Ok(())
    }

    /// A number, or whatever is no string, as it is written; a power of ten in the form in which ids are known to be rounded.
    fn push_number(&mut self, raw: &str) {
        match raw.split_once(['e', 'E']) {
            Some((number, power)) if raw.starts_with(|c: char| c.is_ascii_digit()) && !power.starts_with('-') => {
                let power = power.trim_start_matches('+');
                let zero = if power.len() < 2 { "0" } else { "" };
                self.text.extend([number, "E+", zero, power]);
            }
            _ => self.text.push_str(raw),
        }
    }

    /// A string as it reads, anything else as it is written.
    fn said_of(&mut self, raw: &str) -> Result<Said, serde_json::Error> {
        let from = self.text.len();
        match raw.strip_prefix('"').and_then(|s| s.strip_suffix('"')) {
            _ if raw == "null" => return Ok(Said::Null),
            Some(plain) if !plain.contains('\\') => self.text.push_str(plain),
            Some(_) => self.text.push_str(&serde_json::from_str::<String>(raw)?),
            None => self.push_number(raw),
        }
        Ok(Said::Text { from, to: self.text.len() })
    }
}

const TWICE: &str = "a member twice";

fn reason(error: &serde_json::Error) -> String {
    if error.to_string().starts_with(TWICE) {
        return "The object names the same member twice; leave one of them out at the source.".to_owned();
    }
    // What the parser says could repeat the person's data.
    format!("The object is not well-formed JSON at its character {}; correct it at the source.", error.column())
}

/// The members of one object, walked without making a tree of them.
struct Members<'a> {
    object: &'a mut Object,
    columns: &'a mut Columns,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let raw: &'de RawValue = map.next_value()?;
            self.object.member(&name, raw.get(), self.columns).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// A member's name, borrowed unless something in it is escaped.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = std::borrow::Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = std::borrow::Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(name.into())
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(name.to_owned().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, columns: &mut Columns) -> Result<Vec<String>, String> {
        let mut object = Object::default();
        object.read(json.as_bytes(), columns)?;
        Ok(object.cells().map(|c| format!("{c:?}")).collect())
    }

    #[test]
    fn values_are_taken_as_they_are_written() {
        let mut columns = Columns::default();
        let json = r#"{"id":00,"x":1}"#;
        assert!(read(json, &mut columns).unwrap_err().contains("not well-formed"));
        let mut columns = Columns::default();
        let json = r#"{"id":12345678901234567890,"pay":1.50,"on":true,"gone":null,"name":"Ren\u00e9 \"R\"","tags":[1, 2],"at":{"site":"Bonn","room":{"no":7}}}"#;
        let cells = read(json, &mut columns).unwrap();
        assert_eq!(columns.names, ["id", "pay", "on", "gone", "name", "tags", "at.site", "at.room.no"]);
        assert_eq!(
            cells,
            [
                "Text(\"12345678901234567890\")", "Text(\"1.50\")", "Text(\"true\")", "Null",
                "Text(\"René \\\"R\\\"\")", "Text(\"[1, 2]\")", "Text(\"Bonn\")", "Text(\"7\")"
            ]
        );
    }

    #[test]
    fn a_number_with_a_power_of_ten_is_seen_to_be_one() {
        let mut columns = Columns::default();
        let cells = read(r#"{"a":1e3,"b":1.5E+16,"c":1e-7,"d":true,"e":"1e3","f":[1e3]}"#, &mut columns).unwrap();
        let expected = ["1E+03", "1.5E+16", "1e-7", "true", "1e3", "[1e3]"].map(|text| format!("Text({text:?})"));
        assert_eq!(cells, expected);
    }

    #[test]
    fn members_in_another_order_and_missing_ones_find_their_columns() {
        let mut columns = Columns::default();
        read(r#"{"a":1,"b":2,"c":3}"#, &mut columns).unwrap();
        assert_eq!(read(r#"{"c":"x","a":""}"#, &mut columns).unwrap(), ["Text(\"\")", "Absent", "Text(\"x\")"]);
        assert_eq!(read("{}", &mut columns).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_row_says_why_without_repeating_it() {
        let mut columns = Columns::default();
        for (json, why) in [
            ("[1]", "Expected an object"),
            ("7", "Expected an object"),
            (r#"{"a":1,"a":2}"#, "twice"),
            (r#"{"a":{"b":1,"b":2}}"#, "twice"),
            (r#"{"secret":tru}"#, "not well-formed"),
            (r#"{"a":"\ud800"}"#, "not well-formed"),
            ("{\"a\":\"tab\tinside\"}", "not well-formed"),
            (r#"{"a":1]"#, "not well-formed"),
        ] {
            let said = read(json, &mut columns).unwrap_err();
            assert!(said.contains(why) && !said.contains("secret"), "{json}: {said}");
        }
    }
}
