//! When a feed's payload is expected: how that is set, shown, and checked (`muster feeds check`).

use clap::Args;
use muster_domain::{
    schedule::{DEFAULT_GRACE, Minutes},
    settings::FeedSettings,
};
use muster_engine::{Engine, watch::FeedWatch};
use serde_json::{Value, json};

use crate::{
    fail::{Exit, Failure},
    moment::to_the_minute,
    session::Session,
};

/// When a payload is expected.
#[derive(Debug, Args)]
pub struct Expectation {
    /// When a payload is expected: minute, hour, day of month, month, day of week, or @daily and its like; empty for never
    #[arg(long, value_name = "CRON")]
    expected: Option<String>,
    /// The time zone in which that is meant; empty for the organisation's
    #[arg(long, value_name = "TZ")]
    expected_timezone: Option<String>,
    /// How late it may be, in minutes or such as 2h; empty for the default of 2h
    #[arg(long, value_name = "TIME")]
    expected_grace: Option<String>,
}

impl Expectation {
    /// Puts it into a feed's settings.
    pub fn put(&self, feed: &mut FeedSettings) -> Result<(), Failure> {
        let [schedule, zone, grace] =
            [&self.expected, &self.expected_timezone, &self.expected_grace].map(Option::as_deref);
        if schedule.or(zone).or(grace).is_none() {
            return Ok(());
        }
        feed.expect(schedule, zone, grace).map_err(|e| Failure::wrong(e.to_string()))
    }
}

/// Runs `muster feeds check`.
pub async fn check(engine: &Engine, slug: Option<String>, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let slugs = match slug {
        Some(slug) => vec![slug],
        None => engine.store.organisations().await?.into_iter().map(|o| o.slug).collect(),
    };
    let (mut documents, mut failed) = (Vec::new(), None);
    for slug in slugs {
        // One organisation that is being worked on for long keeps nobody else's feeds from being looked at.
        match engine.watch_feeds(&slug, engine.now()).await {
            Ok(feeds) if session.out.json => {
                let seq = engine.last_seq(&slug).await?;
                documents.push(json!({ "slug": slug, "feeds": feeds, "seq": seq }));
            }
            Ok(feeds) => feeds.iter().for_each(|feed| session.out.line(told(&slug, feed))),
            Err(e) => failed = Some(e),
        }
    }
    if let Some(e) = failed {
        return Err(e.into());
    }
    if session.out.json {
        session.out.document(&json!({ "organisations": documents }));
    }
    Ok(Exit::Done)
}

fn told(slug: &str, feed: &FeedWatch) -> String {
    let name = format!("{slug}/{}", feed.feed);
    match (&feed.overdue, feed.recorded.is_empty()) {
        (Some(overdue), new) => {
            let known = if new { " (recorded before)" } else { "" };
            format!(
                "{name} is overdue since {}: the run of {} was missed{known}",
                to_the_minute(overdue.since),
                to_the_minute(overdue.missed)
            )
        }
        (None, false) => format!("{name} is overdue no longer"),
        (None, true) => match feed.next_run {
            Some(next) => format!("{name} is in time; its next run is {}", to_the_minute(next)),
            None => format!("{name} is in time"),
        },
    }
}

/// What the settings say is expected, in words.
pub fn told_expected(settings: &FeedSettings, organisations: &str) -> Option<String> {
    let schedule = settings.expected.as_deref()?;
    let zone = settings.expected_timezone.as_deref().unwrap_or(organisations);
    let grace = Minutes(settings.expected_grace_minutes.unwrap_or(DEFAULT_GRACE));
    Some(format!("{schedule} ({zone}), up to {grace} late"))
}

/// What is expected of a feed and how it stands, as JSON.
pub fn document(settings: &FeedSettings, organisations: &str, watch: Option<&FeedWatch>) -> Value {
    json!({
        "schedule": settings.expected,
        "timezone": settings.expected_timezone.as_deref().unwrap_or(organisations),
        "grace_minutes": settings.expected_grace_minutes.unwrap_or(DEFAULT_GRACE),
        "last_run": watch.and_then(|w| w.last_run),
        "came": watch.is_some_and(|w| w.came),
        "next_run": watch.and_then(|w| w.next_run),
        "overdue": watch.and_then(|w| w.overdue),
    })
}

/// The last run and whether a payload came for it.
pub fn last_run(watch: &FeedWatch) -> String {
    match (watch.last_run, &watch.overdue) {
        (None, None) => "none yet".to_owned(),
        (Some(run), None) => format!("{}, {}", to_the_minute(run), if watch.came { "came" } else { "not here yet" }),
        (_, Some(overdue)) => format!("overdue since {}", to_the_minute(overdue.since)),
    }
}

/// The next run.
pub fn next_run(watch: &FeedWatch) -> String {
    watch.next_run.map_or("none".to_owned(), to_the_minute)
}
