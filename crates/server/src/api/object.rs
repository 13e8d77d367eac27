//! Objects in JSON, which are nothing else: serde takes a list of the fields' values for one as well.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Something that is written as an object.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        one(deserializer).map(Object)
    }
}

/// Reads something that is written as an object.
///
/// # Errors
/// If it is not, or cannot be taken.
pub fn one<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Fields<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(fields))
        }
    }

    deserializer.deserialize_map(Fields(PhantomData))
}

/// The same where `null` is nothing.
///
/// # Errors
/// As [`one`].
pub fn one_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::<Object<T>>::deserialize(deserializer).map(|object| object.map(|object| object.0))
}

/// The same by name.
///
/// # Errors
/// As [`one`].
pub fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error> {
    let objects = BTreeMap::<String, Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|(name, object)| (name, object.0)).collect())
}

/// The same where `null` is nothing.
///
/// # Errors
/// As [`one`].
pub fn named_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, T>>, D::Error> {
    let objects = Option::<BTreeMap<String, Object<T>>>::deserialize(deserializer)?;
    Ok(objects.map(|all| all.into_iter().map(|(name, object)| (name, object.0)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Pair {
        a: Option<u8>,
        #[serde(deserialize_with = "one_or_null")]
        b: Option<Box<Pair>>,
        #[serde(deserialize_with = "named")]
        c: BTreeMap<String, Pair>,
    }

    #[test]
    fn a_list_is_no_object_however_deep_it_stands() {
        let read = |text: &str| serde_json::from_str::<Object<Pair>>(text).map(|object| object.0);
        let whole = read(r#"{"a":1,"b":{"a":2},"c":{"x":{"a":3}}}"#).unwrap();
        assert_eq!((whole.a, whole.b.unwrap().a, whole.c["x"].a), (Some(1), Some(2), Some(3)));
        assert_eq!(read(r#"{"b":null}"#).unwrap(), Pair::default());
        for wrong in ["[]", "[1,null]", r#"{"b":[2]}"#, r#"{"c":{"x":[3]}}"#, r#"{"d":1}"#, "null"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Pair>("[1,null,{}]").is_ok(), "what this is for");
    }
}
