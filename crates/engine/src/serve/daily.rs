//! What the scheduler does once a day: it takes away what has been kept for long enough, and warns of keys that end soon.

use chrono::{DateTime, Duration, Utc};

use crate::Engine;

/// When that was last done, by this process.
#[derive(Default)]
pub(super) struct Daily(Option<DateTime<Utc>>);

impl Daily {
    /// Does it, unless that was less than a day ago. What fails is said, and tried again the next day.
    pub(super) async fn tidy(&mut self, engine: &Engine) {
        let now = engine.now();
        if self.0.is_some_and(|at| now - at < Duration::days(1)) {
            return;
        }
        self.0 = Some(now);
        for row in engine.store.organisations().await.unwrap_or_default() {
            if let Err(e) = engine.tidy_access(row.id, now).await {
                tracing::warn!(organisation = %row.slug, error = %e, "old entries of the log of reads could not be deleted");
            }
            for (key, days) in engine.keys_ending(row.id, now).await.unwrap_or_default() {
                tracing::warn!(organisation = %row.slug, key = %key.id, days, "an API key ends soon");
            }
        }
    }
}
