//! The clock. A test build can be told another time, so that a log of another year can be made.

use chrono::{DateTime, SubsecRound, Utc};

/// Now, in microseconds, which is what both databases keep. `MUSTER_NOW` counts in test builds alone.
pub fn now() -> DateTime<Utc> {
    let told = || DateTime::parse_from_rfc3339(&std::env::var("MUSTER_NOW").ok()?).ok();
    let now = if cfg!(debug_assertions) { told().map(|t| t.to_utc()) } else { None };
    now.unwrap_or_else(Utc::now).trunc_subsecs(6)
}
