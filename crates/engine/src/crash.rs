//! Named points at which a test build dies or freezes on demand, so that recovery is tried where it matters.

/// Ends the process as a kill would if `MUSTER_CRASH_AT` names this point, and stops it where it stands if
/// `MUSTER_FREEZE_AT` does. Nothing in release builds.
pub fn point(name: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    if std::env::var("MUSTER_CRASH_AT").is_ok_and(|at| at == name) {
        std::process::abort();
    }
    if std::env::var("MUSTER_FREEZE_AT").is_ok_and(|at| at == name) {
        let id = std::process::id().to_string();
        // Should it fail, the test that waits for it says so.
        let _ = std::process::Command::new("kill").args(["-STOP", &id]).status();
    }
}
