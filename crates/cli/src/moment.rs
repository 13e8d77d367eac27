//! Moments as people read them: in UTC, and marked as that.

use chrono::{DateTime, Utc};

/// To the second.
pub fn to_the_second(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// To the minute.
pub fn to_the_minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%MZ").to_string()
}
