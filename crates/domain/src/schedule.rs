//! Schedules: when a payload of a feed is expected, by a Unix cron expression in a time zone.
//!
//! The `cron` crate is asked about local time as if it had no daylight saving (it would skip or double runs there); what
//! a local time means is decided here. A local time that does not exist runs at the next instant that does, and one that
//! happens twice runs once, the first time.

use std::fmt;

use chrono::{DateTime, Duration, NaiveDateTime, TimeZone, Utc, offset::LocalResult};
use chrono_tz::Tz;

use crate::settings::{FeedSettings, Settings};

mod expression;

use expression::Expression;

/// Minutes that a payload may be late, unless a feed says otherwise.
pub const DEFAULT_GRACE: u32 = 120;

/// Thirty days: the most minutes that a payload may be late.
const MOST_GRACE: u32 = 30 * 24 * 60;

/// When a feed's payload is expected.
#[derive(Clone, Debug)]
pub struct Expected {
    runs: Vec<cron::Schedule>,
    zone: Tz,
    grace: Duration,
}

/// Why a schedule was not taken; shows as one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It has not five fields and is no name for a schedule either.
    #[error(
        "`{given}` is no schedule: write five fields (minute, hour, day of month, month, day of week), such as \
         `30 2 * * 1-5`, or one of {}.",
        expression::names()
    )]
    Form {
        /// The schedule given.
        given: String,
    },
    /// One of its fields cannot be read.
    #[error("In the schedule `{given}` the {field} `{part}` cannot be read: allowed is {allowed}.")]
    Field {
        /// The schedule given.
        given: String,
        /// Which field it is.
        field: &'static str,
        /// The part of it that cannot be read.
        part: String,
        /// What it takes.
        allowed: String,
    },
    /// It names only days that do not exist.
    #[error("The schedule `{given}` never happens: no month that it names has such a day.")]
    Never {
        /// The schedule given.
        given: String,
    },
    /// There is no such time zone.
    #[error("`{given}` is no time zone; allowed is the IANA name of one, such as Europe/Berlin.")]
    Zone {
        /// The time zone given.
        given: String,
    },
    /// The grace is no span of time.
    #[error("`{given}` is no grace; allowed is a number of minutes, or one with m, h or d behind it, up to 30 days.")]
    Grace {
        /// The grace given.
        given: String,
    },
    /// A time zone or grace without a schedule.
    #[error("A time zone or grace of what is expected needs a schedule; set that too, such as `30 2 * * 1-5`.")]
    Alone,
}

impl Expected {
    /// Reads a schedule: five fields of Unix cron, or a name such as `@daily`.
    ///
    /// # Errors
    /// If it cannot be read or never happens.
    pub fn parse(text: &str, zone: Tz, grace: Duration) -> Result<Expected, ScheduleError> {
        let form = || ScheduleError::Form { given: text.trim().to_owned() };
        let runs = Expression::parse(text)?.translated();
        let runs = runs.iter().map(|line| line.parse().map_err(|_| form())).collect::<Result<_, _>>()?;
        let expected = Expected { runs, zone, grace };
        match expected.next_local(DateTime::UNIX_EPOCH.naive_utc()) {
            Some(_) => Ok(expected),
            None => Err(ScheduleError::Never { given: text.trim().to_owned() }),
        }
    }

    /// What the settings of a feed say, in the organisation's time zone if it has none of its own; none if nothing is
    /// expected. They were checked when they were set.
    pub fn of(feed: &FeedSettings, settings: &Settings) -> Option<Expected> {
        let text = feed.expected.as_deref()?;
        let own = feed.expected_timezone.as_deref().and_then(|zone| zone.parse().ok());
        let grace = Duration::minutes(i64::from(feed.expected_grace_minutes.unwrap_or(DEFAULT_GRACE)));
        Expected::parse(text, own.unwrap_or_else(|| settings.zone()), grace).ok()
    }

    /// How late a payload may be.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// The time zone in which it is meant.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first run after an instant; none past the year 2100.
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // No local time up to this one stands for a later instant.
        let mut local = instant.with_timezone(&self.zone).naive_local();
        loop {
            local = self.next_local(local)?;
            let run = self.instant_of(local)?;
            if run > instant {
                return Some(run);
            }
        }
    }

    /// The last run that is not after an instant; none before 1970.
    pub fn last_before(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let now = instant.with_timezone(&self.zone).naive_local();
        // In an hour that happens for the second time, all of its local times have been already.
        let repeated = match self.zone.from_local_datetime(&now) {
            LocalResult::Ambiguous(a, b) => (b - a).abs(),
            _ => Duration::zero(),
        };
        let mut local = now + repeated + Duration::seconds(1);
        loop {
            local = self.last_local(local)?;
            let run = self.instant_of(local)?;
            if run <= instant {
                return Some(run);
            }
        }
    }

    fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let next = |run: &cron::Schedule| run.after(&after.and_utc()).next();
        self.runs.iter().filter_map(next).min().map(|t| t.naive_utc())
    }

    fn last_local(&self, before: NaiveDateTime) -> Option<NaiveDateTime> {
        let last = |run: &cron::Schedule| run.after(&before.and_utc()).next_back();
        self.runs.iter().filter_map(last).max().map(|t| t.naive_utc())
    }

    /// The instant of a local time: the first if there are two, the next that exists if there is none.
    fn instant_of(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        // The longest time that any zone left out was a day (Samoa, 30 December 2011).
        let minutes = (0..=2 * 24 * 60).map(|m| local + Duration::minutes(m));
        let found = minutes.map(|local| self.zone.from_local_datetime(&local)).find_map(|found| match found {
            LocalResult::Single(t) => Some(t),
            LocalResult::Ambiguous(a, b) => Some(a.min(b)),
            LocalResult::None => None,
        });
        found.map(|t| t.with_timezone(&Utc))
    }
}

impl FeedSettings {
    /// Says when the feed's payload is expected; an empty text takes a part away again, and without a schedule nothing
    /// is expected.
    ///
    /// # Errors
    /// If a part cannot be read; the settings are then as before.
    pub fn expect(
        &mut self,
        schedule: Option<&str>,
        zone: Option<&str>,
        grace: Option<&str>,
    ) -> Result<(), ScheduleError> {
        let mut wanted = self.clone();
        if let Some(text) = schedule.map(str::trim) {
            wanted.expected = if text.is_empty() { None } else { Some(Expression::parse(text)?.to_string()) };
        }
        if let Some(text) = zone.map(str::trim) {
            wanted.expected_timezone = if text.is_empty() { None } else { Some(named_zone(text)?.name().to_owned()) };
        }
        if let Some(text) = grace.map(str::trim) {
            wanted.expected_grace_minutes = if text.is_empty() { None } else { Some(minutes(text)?) };
        }
        match &wanted.expected {
            Some(text) => drop(Expected::parse(text, chrono_tz::UTC, Duration::zero())?),
            None if zone.is_none_or(|z| z.trim().is_empty()) && grace.is_none_or(|g| g.trim().is_empty()) => {
                (wanted.expected_timezone, wanted.expected_grace_minutes) = (None, None);
            }
            None => return Err(ScheduleError::Alone),
        }
        *self = wanted;
        Ok(())
    }
}

fn named_zone(text: &str) -> Result<Tz, ScheduleError> {
    let found = chrono_tz::TZ_VARIANTS.iter().find(|z| z.name().eq_ignore_ascii_case(text));
    found.copied().ok_or_else(|| ScheduleError::Zone { given: text.to_owned() })
}

/// Reads a span of time: `90`, `90m`, `2h`, `1d`.
fn minutes(text: &str) -> Result<u32, ScheduleError> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "m" | "min" => Some(1),
        "h" => Some(60),
        "d" => Some(24 * 60),
        _ => None,
    };
    let number: Option<u32> = digits.trim().parse().ok();
    let minutes = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    minutes.filter(|m| *m <= MOST_GRACE).ok_or_else(|| ScheduleError::Grace { given: text.to_owned() })
}

/// Minutes as people write them: `2h`, `90m`, `1d`.
#[derive(Clone, Copy, Debug)]
pub struct Minutes(pub u32);

impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.pad("0m"),
            n if n % (24 * 60) == 0 => f.pad(&format!("{}d", n / (24 * 60))),
            n if n % 60 == 0 => f.pad(&format!("{}h", n / 60)),
            n => f.pad(&format!("{n}m")),
        }
    }
}

#[cfg(test)]
mod tests;
