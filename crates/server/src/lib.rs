//! HTTP: the API with its documentation, and three answers for whoever runs Muster: does it live, is it ready, what has happened.

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware, routing::get};
use ipnet::IpNet;
use muster_bus::Bus;
use muster_engine::{Engine, serve::Figures};
use tokio::{net::TcpListener, sync::watch};

mod api;
mod connections;
mod cors;
mod docs;
mod health;
mod metrics;
mod openapi;
mod problem;

pub use cors::Origin;

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the answers are made from.
#[derive(Clone)]
pub struct State {
    /// The engine.
    pub engine: Engine,
    /// The bus.
    pub bus: Bus,
    /// What the roles of this process have done.
    pub figures: Arc<Figures>,
    /// Proxies that are believed when they say from where a request comes.
    pub trusted: Arc<[IpNet]>,
    /// Origins of web pages that may ask the API.
    pub origins: Arc<[Origin]>,
    /// Whether this process answers the API and its documentation, and not only those who run it.
    pub answers_api: bool,
}

/// Every route.
pub fn routes(state: State) -> Router {
    let own = Router::new()
        .route("/livez", get(health::lives))
        .route("/readyz", get(health::is_ready))
        .route("/metrics", get(metrics::show))
        .with_state(state.clone());
    if !state.answers_api {
        return own;
    }
    let origins = state.origins.clone();
    let mut api = api::routes(state);
    if !origins.is_empty() {
        api = api.layer(cors::layer(&origins));
    }
    own.merge(docs::routes()).merge(api).layer(middleware::from_fn(api::identified))
}

/// Answers requests until `stop` is true; those under way are finished.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, state: State, stop: watch::Receiver<bool>) -> std::io::Result<()> {
    connections::serve(listener, routes(state), stop).await
}
