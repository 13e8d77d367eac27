//! Numbers that are never negative: they go up to where theirs end, and not to where those with a sign do.

use utoipa::{
    Modify, Number,
    openapi::{
        OpenApi, RefOr, Schema, SchemaFormat,
        schema::{AdditionalProperties, ArrayItems, KnownFormat, Object},
    },
};

/// Says so wherever the document has such a number.
pub struct Unsigned;

impl Modify for Unsigned {
    fn modify(&self, document: &mut OpenApi) {
        let schemas = document.components.iter_mut().flat_map(|components| components.schemas.values_mut());
        schemas.for_each(look);
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            let parameters = operations.into_iter().flatten().filter_map(|operation| operation.parameters.as_mut());
            for parameter in parameters.flatten() {
                if let RefOr::T(parameter) = parameter {
                    parameter.schema.iter_mut().for_each(look);
                }
            }
        }
    }
}

fn look(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => {
            number(object);
            object.properties.values_mut().for_each(look);
            if let Some(AdditionalProperties::RefOr(more)) = object.additional_properties.as_deref_mut() {
                look(more);
            }
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                look(items);
            }
        }
        Schema::OneOf(one) => one.items.iter_mut().for_each(look),
        Schema::AllOf(all) => all.items.iter_mut().for_each(look),
        Schema::AnyOf(any) => any.items.iter_mut().for_each(look),
        _ => {}
    }
}

fn number(object: &mut Object) {
    if object.maximum.is_some() || object.minimum.is_none() {
        return;
    }
    let (format, most) = match object.format {
        Some(SchemaFormat::KnownFormat(KnownFormat::Int32)) => ("uint32", u32::MAX as usize),
        Some(SchemaFormat::KnownFormat(KnownFormat::Int64)) => ("uint64", u64::MAX as usize),
        _ => return,
    };
    object.format = Some(SchemaFormat::Custom(format.to_owned()));
    object.maximum = Some(Number::UInt(most));
}

#[cfg(test)]
mod tests {
    use utoipa::OpenApi as _;

    use crate::openapi::Api;

    #[test]
    fn what_is_never_negative_ends_where_it_does() {
        let document = serde_json::to_value(Api::openapi()).unwrap();
        let parameters = document["paths"]["/api/v1/uploads"]["post"]["parameters"].as_array().unwrap();
        let rows = parameters.iter().find(|p| p["name"] == "expected_rows").unwrap();
        assert_eq!((&rows["schema"]["format"], &rows["schema"]["maximum"]), (&"uint64".into(), &u64::MAX.into()));
        let confirm = &document["components"]["schemas"]["SettingsChange"]["properties"]["confirm_removals"];
        assert_eq!(confirm["maximum"], u64::MAX);
    }
}
