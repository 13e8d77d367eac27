//! Which columns hold which fields, for one payload alone: said in the address, in JSON or in a form, everywhere as the same
//! object. The rules are the engine's, the same as for `--map` on the command line.

use std::{collections::BTreeMap, fmt};

use muster_engine::mapping::for_one_payload;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Unexpected, Visitor},
};
use utoipa::openapi::{
    Object, ObjectBuilder,
    schema::{AdditionalProperties, SchemaType, Type},
};

use crate::{
    api::{
        body::{escaped, read_at},
        caller::Caller,
    },
    problem::{INVALID, Problem, Result},
};

/// No organisation has as many fields: whoever names more is not read any further.
const MOST: usize = 1_000;
/// No field and no column has a name of so many bytes: it would be kept with the upload for good.
const LONGEST: usize = 1_000;
/// Where a mapping stands in what is sent.
const PLACE: &str = "/mapping";

/// Column names by field; blank where no column holds the field.
#[derive(Debug)]
pub struct Columns(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Columns, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Columns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of column names by field")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Columns, A::Error> {
                let mut columns = BTreeMap::new();
                while let Some((field, column)) = fields.next_entry::<String, Option<String>>()? {
                    if columns.len() >= MOST {
                        return Err(de::Error::invalid_length(MOST + 1, &"a mapping of at most 1,000 fields"));
                    }
                    if field.len() > LONGEST || column.as_ref().is_some_and(|column| column.len() > LONGEST) {
                        let long = Unexpected::Other("a longer name");
                        return Err(de::Error::invalid_value(long, &"names of at most 1,000 bytes"));
                    }
                    if columns.insert(field, column.unwrap_or_default()).is_some() {
                        let twice = Unexpected::Other("a field that is named twice");
                        return Err(de::Error::invalid_value(twice, &"an object that names each field once"));
                    }
                }
                Ok(Columns(columns))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl Columns {
    /// What is said, by the fields' own names.
    ///
    /// # Errors
    /// If it makes no sense whatever the payload; it is pointed to.
    pub fn checked(self, caller: &Caller) -> Result<BTreeMap<String, String>> {
        for_one_payload(&self.0, &caller.organisation.settings).map_err(|bad| {
            let pointer = format!("{PLACE}/{}", escaped(&bad.field));
            Problem::new(&INVALID, "The mapping makes no sense.").at(pointer, bad.why)
        })
    }
}

/// The same where it came as a text: as a parameter of the address, or a part of a form.
///
/// # Errors
/// As [`Columns::checked`], and if it is no such object.
pub fn from_text(text: &str, caller: &Caller) -> Result<BTreeMap<String, String>> {
    // What the address or a form may have is a text, so whatever is wrong with it can be read, and makes no sense.
    if serde_json::from_str::<de::IgnoredAny>(text).is_err() {
        let why = "This must be an object of column names by field, in JSON.";
        return Err(Problem::new(&INVALID, "The mapping is no JSON.").at(PLACE, why));
    }
    read_at::<Columns>(text.as_bytes(), "The mapping", PLACE)?.checked(caller)
}

/// An object of column names by field, as the document has it.
pub fn columns() -> Object {
    let column = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null]));
    let mut columns = ObjectBuilder::new()
        .description(Some(
            "Column names by field, for this payload alone: they count for more than the feed's mapping; `null` says that no \
             column holds the field.",
        ))
        .additional_properties(Some(AdditionalProperties::RefOr(column.into())))
        .build();
    columns.schema_type = SchemaType::from_iter([Type::Object, Type::Null]);
    columns
}

/// The same as a text.
pub fn columns_in_text() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .content_media_type("application/json")
        .examples([serde_json::json!("{\"employee_id\": \"Badge No\"}")])
        .description(Some(
            "Column names by field, for this payload alone, as an object in JSON: they count for more than the feed's mapping; \
             `null` says that no column holds the field.",
        ))
        .build()
}
