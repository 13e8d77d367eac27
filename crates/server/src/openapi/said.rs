//! What bodies may say where their handlers read them by hand: the document has to promise no more and no less than they take.

use muster_domain::settings::Mode;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        AllOfBuilder, Object, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema,
        schema::{AdditionalProperties, SchemaType, Type},
    },
};

use crate::api::uploads::mapping::columns;

/// A text that is one of some words.
pub fn words(what: &str, words: impl IntoIterator<Item = &'static str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).description(Some(what)).enum_values(Some(words)).build()
}

/// The same where `null` says as much as nothing.
pub fn words_or_null(what: &str, all: impl IntoIterator<Item = &'static str>) -> Object {
    let mut object = words(what, all);
    object.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    object.enum_values.get_or_insert_default().push(serde_json::Value::Null);
    object
}

fn one_of(types: &[Type]) -> Object {
    ObjectBuilder::new().schema_type(SchemaType::from_iter(types.iter().cloned())).build()
}

/// The value of a field: a text, a number, true or false; `null` clears.
#[derive(Debug)]
pub struct FieldValue;

impl PartialSchema for FieldValue {
    fn schema() -> RefOr<Schema> {
        one_of(&[Type::String, Type::Number, Type::Boolean, Type::Null]).into()
    }
}

impl ToSchema for FieldValue {}

/// A match key: a text that is not blank, or a number.
#[derive(Debug)]
pub struct MatchKey;

impl PartialSchema for MatchKey {
    fn schema() -> RefOr<Schema> {
        let mut key = one_of(&[Type::String, Type::Number]);
        key.pattern = Some("\\S".to_owned());
        key.into()
    }
}

impl ToSchema for MatchKey {}

/// The fields of a member that change, by name.
#[derive(Debug)]
pub struct MemberChange;

impl PartialSchema for MemberChange {
    fn schema() -> RefOr<Schema> {
        fields().description(Some("The fields that change, by name; `null` clears.")).into()
    }
}

impl ToSchema for MemberChange {}

/// A member by match key, with the fields that change.
#[derive(Debug)]
pub struct MemberRow;

impl PartialSchema for MemberRow {
    fn schema() -> RefOr<Schema> {
        let row = fields().property("unique_id", Ref::from_schema_name("MatchKey")).required("unique_id");
        row.description(Some("A member by match key, with the fields that change; `null` clears.")).into()
    }
}

impl ToSchema for MemberRow {}

fn fields() -> ObjectBuilder {
    let value = RefOr::from(Ref::from_schema_name("FieldValue"));
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::RefOr(value)))
}

/// One member or several.
#[derive(Debug, ToSchema)]
#[allow(dead_code)]
#[serde(untagged)]
pub enum MemberRows {
    /// One.
    One(MemberRow),
    /// Several, at most 1,000.
    Several(Vec<MemberRow>),
}

/// What a form may have.
#[derive(Debug, ToSchema)]
#[allow(dead_code)]
#[serde(deny_unknown_fields)]
pub struct UploadForm {
    /// The payload.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// What absence means.
    #[schema(schema_with = modes)]
    mode: Option<String>,
    /// The feed that the payload speaks for.
    feed: Option<String>,
    /// Apply it whatever the organisation's policy.
    apply: Option<bool>,
    /// Hold it for review whatever the organisation's policy.
    hold: Option<bool>,
    /// Work out what would change, and change nothing.
    dry_run: Option<bool>,
    /// How many rows there should be.
    expected_rows: Option<u64>,
    /// The moment whose truth the payload tells.
    as_of: Option<chrono::DateTime<chrono::Utc>>,
    /// The sheet of a workbook.
    sheet: Option<String>,
    /// Column names by field, for this payload alone.
    #[schema(schema_with = columns_in_form)]
    mapping: Option<String>,
}

/// A part of a form is not `null`.
fn columns_in_form() -> Object {
    let mut object = columns();
    object.schema_type = SchemaType::new(Type::Object);
    object
}

/// A payload in JSON.
#[derive(Debug, ToSchema)]
#[allow(dead_code)]
#[serde(untagged)]
pub enum JsonPayload {
    /// The rows, and what is said of them.
    Said(JsonUpload),
    /// The rows alone.
    Rows(Vec<MemberChange>),
}

/// Rows, and what is said of them.
#[derive(Debug, ToSchema)]
#[allow(dead_code)]
pub struct JsonUpload {
    /// What absence means.
    #[schema(schema_with = modes)]
    mode: Option<String>,
    /// The feed that the rows speak for.
    feed: Option<String>,
    /// Apply it whatever the organisation's policy.
    apply: Option<bool>,
    /// Hold it for review whatever the organisation's policy.
    hold: Option<bool>,
    /// Work out what would change, and change nothing.
    dry_run: Option<bool>,
    /// How many rows there should be.
    expected_rows: Option<u64>,
    /// The moment whose truth the rows tell.
    as_of: Option<chrono::DateTime<chrono::Utc>>,
    /// Column names by field, for this payload alone.
    #[schema(schema_with = columns)]
    mapping: Option<String>,
    /// The rows: values by column.
    rows: Vec<MemberChange>,
}

/// What absence can mean, or nothing.
pub fn modes() -> Object {
    words_or_null(
        "What absence means: `full` (who is missing leaves), `partial` (only those named change), `leavers` (those named leave).",
        Mode::ALL.iter().map(|m| m.word()),
    )
}

/// What absence means, where it must be said.
pub fn mode() -> Object {
    words("What absence means.", Mode::ALL.iter().map(|m| m.word()))
}

/// An object of which exactly one of some texts must be given.
pub fn exactly_one(object: RefOr<Schema>, names: &[&str]) -> RefOr<Schema> {
    let given = |name: &&str| {
        let text = ObjectBuilder::new().schema_type(Type::String);
        ObjectBuilder::new().property(*name, text).required(*name).build()
    };
    let one = names.iter().fold(OneOfBuilder::new(), |one, name| one.item(given(name)));
    Schema::AllOf(AllOfBuilder::new().item(object).item(Schema::OneOf(one.build())).build()).into()
}
