//! The OpenAPI document, made from the handlers.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::{api, problem};

mod named;
mod rights;
pub mod said;
mod unsigned;

use named::Named;
use rights::Needed;
use unsigned::Unsigned;

/// The API as it is documented.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Muster",
        description = "Keep an organisation's list of eligible people in step with its HR systems, and ask who is eligible. \
            The guide is at /api-docs.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        api::uploads::send, api::uploads::list, api::uploads::show, api::uploads::issues::show, api::uploads::original,
        api::uploads::give_up::give_up,
        api::members::write::put, api::members::list, api::members::search, api::members::lookup, api::members::show,
        api::members::write::patch, api::members::write::delete, api::members::history::show,
        api::members::export::export, api::members::blame::show, api::members::compared::show, api::members::by_hand::add,
        api::members::by_hand::set, api::members::by_hand::remove, api::members::by_hand::rekey, api::members::by_hand::link,
        api::members::forget::one, api::members::forget::anybody, api::members::forget::lift,
        api::eligibility::check,
        api::change_sets::list, api::change_sets::rejected::list, api::change_sets::overview::list, api::change_sets::show, api::change_sets::changes::changes,
        api::change_sets::decide::approve, api::change_sets::decide::reject, api::change_sets::undo::undo,
        api::change_sets::undo::several,
        api::events::show, api::activity::list, api::dashboard::show,
        api::organisation::show, api::organisation::set,
        api::feeds::list, api::feeds::create, api::feeds::show, api::feeds::change,
        api::feeds::runs::list, api::feeds::known::show, api::feeds::map::show, api::feeds::restore::restore,
        api::feeds::handover::hand_over,
        api::keys::list, api::keys::create, api::keys::show, api::keys::change, api::keys::delete, api::keys::rotate,
        api::keys::revoke_all, api::keys::access_log::list,
        api::public::members, api::public::upload,
    ),
    tags(
        (name = "uploads", description = "Payloads that are sent, and what they came to."),
        (name = "members", description = "People: looked at, found, and brought up to date one by one."),
        (name = "eligibility", description = "Is this person eligible?"),
        (name = "change sets", description = "What waits for a decision, what is decided, and what is taken back."),
        (name = "events", description = "What happened, for whoever keeps a copy in step."),
        (name = "organisation", description = "The organisation that the key is of, and its settings."),
        (name = "feeds", description = "The named sources of payloads."),
        (name = "keys", description = "Keys that make, change and take away keys: never a stronger one than themselves."),
        (name = "public contract", description = "For clients that were written against the widespread \"eligibility upload\" contract, in its camelCase."),
    ),
    components(schemas(problem::ProblemDocument, said::FieldValue, said::MatchKey)),
    modifiers(&Keys, &Named, &ExactlyOne, &Optional, &Unsigned, &Needed, &Problems),
)]
pub struct Api;

/// The three places of a key.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let header = |name: &str| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(name)));
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("access_key", header("accessKey"));
        components.add_security_scheme("secret_key", header("secretKey"));
        let none: [&str; 0] = [];
        document.security = Some(vec![
            SecurityRequirement::new("bearer", none),
            SecurityRequirement::new("access_key", none).add("secret_key", none),
        ]);
    }
}

/// What is asked about by one of several names.
struct ExactlyOne;

impl Modify for ExactlyOne {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        for (schema, names) in [("Question", &["unique_id", "email", "id"][..]), ("Lookup", &["unique_id", "email"])] {
            if let Some(object) = components.schemas.remove(schema) {
                components.schemas.insert(schema.to_owned(), said::exactly_one(object, names));
            }
        }
    }
}

/// Bodies that may be left out: nothing said is what is usually meant.
struct Optional;

impl Modify for Optional {
    fn modify(&self, document: &mut openapi::OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let may_be_left_out =
                ["/approve", "/reject", "{id}/undo", "/rotate", "/remove"].iter().any(|end| path.ends_with(end));
            let body = item.post.as_mut().and_then(|post| post.request_body.as_mut());
            if let Some(openapi::RefOr::T(body)) = body.filter(|_| may_be_left_out) {
                body.required = Some(openapi::Required::False);
            }
        }
    }
}

/// What every address may answer besides.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let mut all = std::collections::BTreeMap::<u16, Vec<&str>>::new();
        for kind in problem::KINDS {
            all.entry(kind.status).or_default().push(kind.title);
        }
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            for operation in operations.into_iter().flatten() {
                for (status, titles) in &all {
                    let code = status.to_string();
                    if operation.responses.responses.contains_key(&code) {
                        continue;
                    }
                    let content = openapi::content::ContentBuilder::new()
                        .schema(Some(openapi::Ref::from_schema_name("ProblemDocument")))
                        .build();
                    let response = openapi::ResponseBuilder::new()
                        .description(titles.join("; "))
                        .content("application/problem+json", content)
                        .build();
                    operation.responses.responses.insert(code, response.into());
                }
            }
        }
    }
}
