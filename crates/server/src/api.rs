//! The API: `/api/v1`, and `/api/public` for clients of the widespread "eligibility upload" contract. Every request has a key,
//! and the organisation is the key's.

use std::sync::Arc;

use axum::{Router, extract, middleware, response::IntoResponse};

use crate::{
    State,
    problem::{METHOD, NOT_FOUND, Problem},
};

pub(crate) mod activity;
mod body;
mod caller;
pub(crate) mod change_sets;
pub(crate) mod dashboard;
pub(crate) mod eligibility;
pub(crate) mod events;
pub(crate) mod feeds;
mod gate;
mod idempotency;
pub(crate) mod keys;
pub(crate) mod members;
mod object;
pub(crate) mod organisation;
mod page;
pub(crate) mod public;
mod rate;
mod stream;
pub(crate) mod uploads;

pub use gate::{REQUEST_ID, identified};
pub use rate::Buckets;

/// The largest body that is read into memory, in bytes.
pub(crate) const SMALL: usize = 4 << 20;

/// What the API works with.
#[derive(Clone)]
pub struct Api {
    /// What the process serves.
    pub state: State,
    /// Who may ask how often.
    pub buckets: Arc<Buckets>,
}

impl extract::FromRef<Api> for State {
    fn from_ref(api: &Api) -> State {
        api.state.clone()
    }
}

/// The routes, behind the gate.
pub fn routes(state: State) -> Router {
    let api = Api { state, buckets: Arc::default() };
    let v1 = Router::new()
        .merge(uploads::routes())
        .merge(members::routes())
        .merge(eligibility::routes())
        .merge(change_sets::routes())
        .merge(events::routes())
        .merge(activity::routes())
        .merge(dashboard::routes())
        .merge(organisation::routes())
        .merge(feeds::routes())
        .merge(keys::routes());
    let within = |routes: Router<Api>| {
        routes
            .fallback(nothing_here)
            .method_not_allowed_fallback(not_that)
            .layer(middleware::from_fn_with_state(api.clone(), gate::pass))
    };
    Router::new()
        .nest("/api/v1", within(v1))
        .nest("/api/public", within(public::routes()))
        // Bodies are limited where they are read: what a payload may have is a setting of the organisation.
        .layer(extract::DefaultBodyLimit::disable())
        .with_state(api)
}

async fn nothing_here() -> impl IntoResponse {
    Problem::new(&NOT_FOUND, "There is no such address in this API; /api-docs lists those there are.")
}

async fn not_that() -> impl IntoResponse {
    Problem::new(&METHOD, "This address does not take that method.")
}
