//! HTTP. Three answers for whoever runs Muster: does it live, is it ready, what has happened.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use muster_bus::Bus;
use muster_engine::{Engine, serve::Figures};
use tokio::{net::TcpListener, sync::watch};

mod health;
mod metrics;

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
}

/// Answers requests until `stop` is true; those under way are finished.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, state: State, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(health::lives))
        .route("/readyz", get(health::is_ready))
        .route("/metrics", get(metrics::show))
        .with_state(state);
    let stopped = async move {
        // An error means that nobody can tell us any more: the process is ending.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    axum::serve(listener, routes).with_graceful_shutdown(stopped).await
}
