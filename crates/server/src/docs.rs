//! The documentation: the OpenAPI document, a page to try the API, and the guide. All of it is in the binary.

use axum::Router;
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::openapi::Api;

/// The routes.
pub fn routes() -> Router {
    let page = SwaggerUi::new("/api-docs/try")
        .url("/openapi.json", Api::openapi())
        .config(Config::default().try_it_out_enabled(true).persist_authorization(false).with_credentials(false));
    Router::new().merge(page)
}
