//! The scheduler: looks after what is to happen at its time and not because something came. One process at a time does.
//!
//! What it records is judged again under the organisation's lease, so two of them at once would record nothing twice.

use std::time::Duration;

use chrono::{DateTime, Utc};
use muster_store::OrganisationRow;
use tokio::sync::watch;

use super::{Serving, duty::OnDuty, pause};
use crate::{Result, watch::FeedWatch};

/// The longest wait between two looks at all feeds: settings may have changed.
const AT_LATEST: Duration = Duration::from_secs(60);
/// The wait before the next look where a feed is overdue, that it is soon known when its payload has come, or where an
/// organisation could not be looked at.
const SOON: Duration = Duration::from_secs(5);

pub(super) async fn run(serving: Serving, mut stop: watch::Receiver<bool>) {
    while let Some(duty) = OnDuty::wait(&serving, "scheduler", &mut stop).await {
        while duty.is_ours() {
            let wait = round(&serving, &duty).await.unwrap_or_else(|e| {
                tracing::warn!(error = %e, "the scheduler could not read the database; it tries again");
                SOON
            });
            if !pause(wait, &mut stop).await {
                return duty.leave().await;
            }
        }
    }
}

/// Looks at the feeds of all organisations once. Says how long to wait before the next look.
async fn round(serving: &Serving, duty: &OnDuty) -> Result<Duration> {
    let mut wait = AT_LATEST;
    for row in serving.engine.store.organisations().await? {
        if !duty.is_ours() {
            break;
        }
        let slug = row.slug.clone();
        wait = wait.min(match look(serving, row).await {
            Ok(wait) => wait,
            Err(e) => {
                tracing::warn!(organisation = %slug, error = %e, "the feeds could not be watched; it is tried again");
                SOON
            }
        });
    }
    Ok(wait)
}

async fn look(serving: &Serving, row: OrganisationRow) -> Result<Duration> {
    let engine = &serving.engine;
    let now = engine.now();
    let Some(watches) = engine.watch_feeds_if_free(&row, now).await? else { return Ok(SOON) };
    for watch in &watches {
        for recorded in &watch.recorded {
            tracing::info!(organisation = %row.slug, feed = %watch.feed, "feed {recorded}");
        }
    }
    Ok(watches.iter().map(|watch| wait(watch, now)).min().unwrap_or(AT_LATEST))
}

fn wait(watch: &FeedWatch, now: DateTime<Utc>) -> Duration {
    if watch.overdue.is_some() {
        return SOON;
    }
    // A little behind the moment, so that it has come by every clock of this machine.
    watch.due.and_then(|due| (due - now).to_std().ok()).map_or(AT_LATEST, |left| left + Duration::from_millis(50))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_look_is_at_the_moment_when_a_feed_would_be_overdue() {
        let now = DateTime::UNIX_EPOCH;
        let mut watch = FeedWatch::unexpected("main");
        assert_eq!(wait(&watch, now), AT_LATEST);
        watch.due = Some(now + chrono::Duration::seconds(30));
        assert_eq!(wait(&watch, now), Duration::from_millis(30_050));
    }
}
