//! The scheduler: looks after what is to happen at its time and not because something came. One process at a time does.
//!
//! What it records is judged again under the organisation's lease, so two of them at once would record nothing twice.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use muster_domain::ids::OrganisationId;
use tokio::sync::watch;

use super::{Serving, daily::Daily, duty::OnDuty, pause};
use crate::{Result, watch::FeedWatch};

/// The longest wait until an organisation is looked at again in whose log there is something new: settings may have changed.
const AT_LATEST: Duration = Duration::from_secs(60);
/// The same where a feed is overdue, that it is soon known when its payload has come; and the wait before an organisation is
/// looked at again that could not be looked at.
const SOON: Duration = Duration::from_secs(5);

pub(super) async fn run(serving: Serving, mut stop: watch::Receiver<bool>) {
    let mut daily = Daily::default();
    while let Some(duty) = OnDuty::wait(&serving, "scheduler", &mut stop).await {
        let mut looks = HashMap::new();
        while duty.is_ours() {
            daily.tidy(&serving.engine).await;
            let wait = round(&serving, &duty, &mut looks).await.unwrap_or_else(|e| {
                tracing::warn!(error = %e, "the scheduler could not read the database; it tries again");
                SOON
            });
            if !pause(wait, &mut stop).await {
                return duty.leave().await;
            }
        }
    }
}

/// Looks at the feeds of those organisations where something may have changed. Says how long to wait before the next round.
async fn round(serving: &Serving, duty: &OnDuty, looks: &mut HashMap<OrganisationId, Look>) -> Result<Duration> {
    let engine = &serving.engine;
    let mut before = std::mem::take(looks);
    let mut wait = AT_LATEST;
    for (org, end) in engine.store.ends().await? {
        let now = engine.now();
        let look = match before.remove(&org) {
            Some(look) if !look.is_over(end, now) => look,
            _ if duty.is_ours() => look_at(serving, org, end).await,
            _ => continue,
        };
        wait = wait.min(look.left(end, engine.now()));
        looks.insert(org, look);
    }
    Ok(wait)
}

/// How the feeds of an organisation stood when they were looked at.
struct Look {
    at: DateTime<Utc>,
    /// The organisation's last event by then: whatever changes without one changes at a time that is known.
    end: u64,
    /// When one will be overdue if nothing comes, or another attempt is made.
    next: Option<DateTime<Utc>>,
    /// Whether one is overdue.
    overdue: bool,
}

impl Look {
    fn new(end: u64, watches: &[FeedWatch], at: DateTime<Utc>) -> Look {
        // A little behind the moment, so that it has come by every clock of this machine.
        let next = watches.iter().filter_map(|watch| watch.due).min().map(|due| due + Duration::from_millis(50));
        Look { at, end, next, overdue: watches.iter().any(|watch| watch.overdue.is_some()) }
    }

    fn failed(end: u64, at: DateTime<Utc>) -> Look {
        Look { at, end, next: Some(at + SOON), overdue: false }
    }

    /// How long something new in the log may wait to be looked at.
    fn patience(&self) -> Duration {
        if self.overdue { SOON } else { AT_LATEST }
    }

    /// When the organisation is to be looked at again, if its last event is this one.
    fn until(&self, end: u64) -> Option<DateTime<Utc>> {
        let news = (end != self.end).then(|| self.at + self.patience());
        self.next.into_iter().chain(news).min()
    }

    fn is_over(&self, end: u64, now: DateTime<Utc>) -> bool {
        // Where the clock was put back, nothing that it said counts.
        now < self.at || self.until(end).is_some_and(|until| until <= now)
    }

    /// How long to wait before the log is asked for news again, or the moment has come.
    fn left(&self, end: u64, now: DateTime<Utc>) -> Duration {
        let left = self.until(end).map(|until| (until - now).to_std().unwrap_or_default());
        left.map_or(self.patience(), |left| left.min(self.patience()))
    }
}

async fn look_at(serving: &Serving, org: OrganisationId, end: u64) -> Look {
    let now = serving.engine.now();
    match watched(serving, org, now).await {
        Ok(Some(watches)) => Look::new(end, &watches, now),
        Ok(None) => Look::failed(end, now),
        Err(e) => {
            let organisation = org.0;
            tracing::warn!(%organisation, error = %e, "the feeds could not be watched; it is tried again");
            Look::failed(end, now)
        }
    }
}

async fn watched(serving: &Serving, org: OrganisationId, now: DateTime<Utc>) -> Result<Option<Vec<FeedWatch>>> {
    let row = serving.engine.store.organisation_by_id(org).await?;
    let watches = serving.engine.watch_feeds_if_free(&row, now).await?;
    for watch in watches.iter().flatten() {
        for recorded in &watch.recorded {
            tracing::info!(organisation = %row.slug, feed = %watch.feed, "feed {recorded}");
        }
    }
    Ok(watches)
}

#[cfg(test)]
mod tests {
    use muster_domain::liveness::Overdue;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::Duration::seconds(seconds)
    }

    fn quiet() -> FeedWatch {
        FeedWatch::unexpected("main")
    }

    fn overdue() -> FeedWatch {
        FeedWatch { overdue: Some(Overdue { missed: at(-90), since: at(-30) }), ..quiet() }
    }

    #[test]
    fn the_next_look_is_at_the_moment_when_a_feed_would_be_overdue() {
        let look = Look::new(7, &[quiet(), FeedWatch { due: Some(at(30)), ..quiet() }], at(0));
        assert_eq!(look.left(7, at(0)), Duration::from_millis(30_050));
        assert!(!look.is_over(7, at(30)) && look.is_over(7, at(31)));
        assert_eq!(look.left(7, at(31)), Duration::ZERO);
    }

    #[test]
    fn an_organisation_without_news_is_not_looked_at_again() {
        for watches in [vec![], vec![quiet()], vec![overdue()]] {
            let look = Look::new(7, &watches, at(0));
            assert!(!look.is_over(7, at(1_000_000)));
        }
    }

    #[test]
    fn news_are_looked_at_within_a_minute_and_within_seconds_where_a_feed_is_overdue() {
        let look = Look::new(7, &[quiet()], at(0));
        assert_eq!((look.left(7, at(0)), look.left(8, at(20))), (AT_LATEST, Duration::from_secs(40)));
        assert!(!look.is_over(8, at(59)) && look.is_over(8, at(60)));
        let look = Look::new(7, &[quiet(), overdue()], at(0));
        assert_eq!((look.left(7, at(0)), look.left(7, at(900))), (SOON, SOON));
        assert!(!look.is_over(8, at(4)) && look.is_over(8, at(5)));
    }

    #[test]
    fn one_that_could_not_be_looked_at_is_tried_again_soon() {
        let look = Look::failed(7, at(0));
        assert_eq!(look.left(7, at(0)), SOON);
        assert!(look.is_over(7, at(5)));
    }

    #[test]
    fn a_clock_that_was_put_back_delays_nothing() {
        assert!(Look::new(7, &[quiet()], at(0)).is_over(7, at(-1)));
    }
}
