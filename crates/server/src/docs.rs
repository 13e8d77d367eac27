//! The documentation below `/api-docs`: the guide, the reference, a page for every kind of problem, and a page to try the API.
//! All of it is in the binary, made once, and asks no network.

use std::{collections::HashMap, sync::LazyLock};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware,
    response::Response,
    routing::get,
};
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{openapi::Api, problem::KINDS};

mod frame;
mod markdown;
mod problems;
mod reference;
mod schemas;

/// Where the documentation begins.
const ROOT: &str = "/api-docs";
const TRY: &str = "/api-docs/try";
const OPENAPI: &str = "/openapi.json";
const STYLE: &str = include_str!("docs/style.css");

/// Texts that are pages: where each is served, its name in the repository, and its Markdown.
const TEXTS: [(&str, &str, &str); 4] = [
    ("/api-docs", "api.md", include_str!("../../../docs/api.md")),
    ("/api-docs/keys", "keys.md", include_str!("../../../docs/keys.md")),
    ("/api-docs/events", "events.md", include_str!("../../../docs/events.md")),
    ("/api-docs/changelog", "api/changelog.md", include_str!("../../../docs/api/changelog.md")),
];
/// Files that are served as they are.
const FILES: [(&str, &str, &str); 1] =
    [("/api-docs/keep-in-step.sh", "examples/keep-in-step.sh", include_str!("../../../docs/examples/keep-in-step.sh"))];

/// Nothing is loaded but from here, and no script runs.
const NO_SCRIPT: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
/// Swagger UI is scripts of our own, which set styles and speak with this server alone.
const OWN_SCRIPTS: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes.
pub fn routes() -> Router {
    let try_it = SwaggerUi::new(TRY)
        .config(Config::new([OPENAPI]).try_it_out_enabled(true).persist_authorization(false).with_credentials(false));
    Router::new()
        .merge(try_it)
        .layer(middleware::map_response(|response: Response| async { guarded(response, OWN_SCRIPTS) }))
        .route(ROOT, get(show))
        .route("/api-docs/", get(show))
        .route("/api-docs/{*page}", get(show))
        .route(OPENAPI, get(show))
}

/// What is served under one address.
struct Page {
    kind: &'static str,
    body: Bytes,
    tag: HeaderValue,
}

impl Page {
    fn new(kind: &'static str, body: impl Into<Bytes>) -> Page {
        let body = body.into();
        let tag = format!("\"{}\"", &blake3::hash(&body).to_hex()[..32]);
        Page { kind, body, tag: HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\"")) }
    }

    fn html(body: String) -> Page {
        Page::new("text/html; charset=utf-8", body)
    }
}

/// Every page by its address, and the one for addresses where nothing is.
struct Pages {
    by_path: HashMap<String, Page>,
    nothing: Page,
}

static PAGES: LazyLock<Pages> = LazyLock::new(|| {
    let openapi = Api::openapi();
    let document = serde_json::to_value(&openapi).unwrap_or_default();
    let mut by_path = HashMap::new();
    for (path, _, text) in TEXTS {
        by_path.insert(path.to_owned(), Page::html(frame::page(path, &markdown::render(text))));
    }
    for (path, _, text) in FILES {
        by_path.insert(path.to_owned(), Page::new("text/plain; charset=utf-8", text));
    }
    by_path.insert(reference::PATH.to_owned(), Page::html(frame::page(reference::PATH, &reference::page(&document))));
    by_path.insert(problems::PATH.to_owned(), Page::html(frame::page(problems::PATH, &problems::all())));
    for kind in KINDS {
        let path = problems::path(kind);
        by_path.insert(path.clone(), Page::html(frame::page(&path, &problems::one(kind))));
    }
    by_path.insert(OPENAPI.to_owned(), Page::new("application/json", document.to_string()));
    by_path.insert(frame::STYLE_PATH.to_owned(), Page::new("text/css; charset=utf-8", STYLE));
    let nothing = "# There is no such page\n\nThe [guide](/api-docs) leads to all there are.\n";
    Pages { by_path, nothing: Page::html(frame::page("", &markdown::render(nothing))) }
});

async fn show(request: Request) -> Response {
    let path = request.uri().path().trim_end_matches('/');
    let (status, page) = match PAGES.by_path.get(path) {
        Some(page) => (StatusCode::OK, page),
        None => (StatusCode::NOT_FOUND, &PAGES.nothing),
    };
    if status == StatusCode::OK && has(request.headers(), &page.tag) {
        return answer(StatusCode::NOT_MODIFIED, page, Body::empty());
    }
    let mut response = answer(status, page, Body::from(page.body.clone()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(page.kind));
    response
}

/// Whether the caller has this state of a page already.
fn has(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    let mut tags = given.flat_map(|line| line.split(',')).map(|t| t.trim().trim_start_matches("W/"));
    tags.any(|t| t == "*" || t.as_bytes() == tag.as_bytes())
}

fn answer(status: StatusCode, page: &Page, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if status != StatusCode::NOT_FOUND {
        response.headers_mut().insert(header::ETAG, page.tag.clone());
    }
    guarded(response, NO_SCRIPT)
}

/// With what a browser is to keep to. Nothing is taken from a cache unasked: another version of the server has other pages.
fn guarded(mut response: Response, policy: &'static str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
