//! Does it live, and is it ready: for load balancers and supervisors.

use axum::{Json, extract, http::StatusCode};
use muster_bus::Health;
use serde_json::{Value, json};

use crate::{PATIENCE, State};

/// The process answers, so it lives.
pub async fn lives() -> &'static str {
    "ok\n"
}

/// 200 while the database answers, also while the broker is away or refuses something: uploads are taken and worked on all
/// the same. 503 else.
pub async fn is_ready(extract::State(state): extract::State<State>) -> (StatusCode, Json<Value>) {
    let database = tokio::time::timeout(PATIENCE, state.engine.store.ping()).await;
    let (is_there, database) = match database {
        Ok(Ok(())) => (true, "ok"),
        Ok(Err(_)) => (false, "it cannot be reached"),
        Err(_) => (false, "it does not answer within two seconds"),
    };
    let bus = match &*state.bus.health().borrow() {
        Health::Connected => json!({ "status": "ok" }),
        Health::Degraded { since, why } => {
            let seconds = since.elapsed().unwrap_or_default().as_secs();
            json!({ "status": "degraded", "for_seconds": seconds, "why": why })
        }
    };
    let events = match state.figures.read().held {
        0 => json!({ "status": "ok" }),
        held => {
            let why = format!("messages about {held} organisations are not taken, or cannot be made: see the log");
            json!({ "status": "degraded", "why": why })
        }
    };
    let status = match (is_there, bus["status"] == "ok" && events["status"] == "ok") {
        (false, _) => "unavailable",
        (true, false) => "degraded",
        (true, true) => "ok",
    };
    let code = if is_there { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "status": status, "database": database, "bus": bus, "events": events })))
}
