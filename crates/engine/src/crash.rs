//! Named points at which a test build dies on demand, so that recovery is tried where it matters.

/// Ends the process as a kill would, if `MUSTER_CRASH_AT` names this point. Nothing in release builds.
pub fn point(name: &str) {
    if cfg!(debug_assertions) && std::env::var("MUSTER_CRASH_AT").is_ok_and(|at| at == name) {
        std::process::abort();
    }
}
