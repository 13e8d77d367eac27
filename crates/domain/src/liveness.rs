//! Liveness: whether a feed that is expected has sent its payload, and what is recorded when it has not.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use crate::schedule::Expected;

/// A payload that comes so little before a run is that run's: clocks differ.
const EARLY: Duration = Duration::minutes(5);

/// A feed that is overdue, as the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overdue {
    /// The run of which the payload did not come.
    pub missed: DateTime<Utc>,
    /// When its grace was over.
    pub since: DateTime<Utc>,
}

/// What is known of a feed when its liveness is judged.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// When its payload is expected, if it is.
    pub expected: Option<&'a Expected>,
    /// Since when that is so: runs up to then are nobody's fault.
    pub set_at: Option<DateTime<Utc>>,
    /// When its last payload came that could be read, whatever was decided about it.
    pub last: Option<DateTime<Utc>>,
    /// Whether it is overdue, by the log.
    pub overdue: Option<Overdue>,
}

/// What is to be recorded of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: all is as it was.
    Nothing,
    /// It is overdue from now on.
    Overdue(Overdue),
    /// It is overdue no longer.
    Recovered {
        /// The run that had been missed.
        missed: DateTime<Utc>,
        /// Whether a payload came; otherwise the feed is expected at other times now, or not at all.
        by_payload: bool,
    },
}

/// Judges a feed. Whoever recorded a verdict judges again: after a recovery another run may have been missed.
pub fn judge(feed: &Watched, now: DateTime<Utc>) -> Verdict {
    let Some((expected, set_at)) = feed.expected.zip(feed.set_at) else {
        return match feed.overdue {
            Some(Overdue { missed, .. }) => Verdict::Recovered { missed, by_payload: false },
            None => Verdict::Nothing,
        };
    };
    if let Some(Overdue { missed, .. }) = feed.overdue {
        return match came_for(feed.last, missed) {
            true => Verdict::Recovered { missed, by_payload: true },
            false if missed <= set_at => Verdict::Recovered { missed, by_payload: false },
            false => Verdict::Nothing,
        };
    }
    match next_missed(expected, set_at, feed.last) {
        Some(overdue) if overdue.since <= now => Verdict::Overdue(overdue),
        _ => Verdict::Nothing,
    }
}

/// When a feed that is not overdue will be, if nothing comes.
pub fn due(feed: &Watched) -> Option<DateTime<Utc>> {
    let (expected, set_at) = feed.expected.zip(feed.set_at)?;
    Some(next_missed(expected, set_at, feed.last)?.since)
}

fn next_missed(expected: &Expected, set_at: DateTime<Utc>, last: Option<DateTime<Utc>>) -> Option<Overdue> {
    let from = last.map_or(set_at, |last| set_at.max(last + EARLY));
    let missed = expected.next_after(from)?;
    Some(Overdue { missed, since: missed + expected.grace() })
}

/// Whether the last payload is one of that run or of a later one.
pub fn came_for(last: Option<DateTime<Utc>>, run: DateTime<Utc>) -> bool {
    last.is_some_and(|last| last + EARLY >= run)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(&format!("2026-11-{text}:00Z")).unwrap().with_timezone(&Utc)
    }

    fn nightly() -> Expected {
        Expected::parse("30 2 * * *", chrono_tz::UTC, Duration::hours(2)).unwrap()
    }

    fn watched(expected: &Expected) -> Watched<'_> {
        Watched { expected: Some(expected), set_at: Some(at("10T12:00")), last: None, overdue: None }
    }

    fn missed(day: u32) -> Overdue {
        Overdue { missed: at(&format!("{day}T02:30")), since: at(&format!("{day}T04:30")) }
    }

    #[test]
    fn given_no_payload_when_the_grace_is_over_then_the_feed_is_overdue_since_then() {
        let expected = nightly();
        let feed = watched(&expected);
        assert_eq!(due(&feed), Some(at("11T04:30")));
        assert_eq!(judge(&feed, at("11T04:29")), Verdict::Nothing);
        assert_eq!(judge(&feed, at("11T04:30")), Verdict::Overdue(missed(11)));
        // Looked at late, it is still the first run that was missed.
        assert_eq!(judge(&feed, at("15T00:00")), Verdict::Overdue(missed(11)));
    }

    #[test]
    fn given_a_payload_then_it_counts_for_its_run_early_in_time_or_late() {
        let expected = nightly();
        for came in ["11T02:26", "11T02:30", "11T09:00"] {
            let feed = Watched { last: Some(at(came)), ..watched(&expected) };
            assert_eq!(judge(&feed, at("12T04:29")), Verdict::Nothing, "{came}");
            assert_eq!(judge(&feed, at("12T04:30")), Verdict::Overdue(missed(12)), "{came}");
        }
        let feed = Watched { last: Some(at("11T02:24")), ..watched(&expected) };
        assert_eq!(judge(&feed, at("11T05:00")), Verdict::Overdue(missed(11)));
    }

    #[test]
    fn given_an_overdue_feed_then_it_is_recorded_once_and_recovers_with_its_payload() {
        let expected = nightly();
        let feed = Watched { overdue: Some(missed(11)), ..watched(&expected) };
        assert_eq!(judge(&feed, at("14T09:00")), Verdict::Nothing);
        let came = Watched { last: Some(at("14T10:00")), ..feed };
        let recovered = Verdict::Recovered { missed: at("11T02:30"), by_payload: true };
        assert_eq!(judge(&came, at("14T11:00")), recovered);
        // What came before the run that was missed does not help.
        let old = Watched { last: Some(at("10T23:00")), ..feed };
        assert_eq!(judge(&old, at("14T11:00")), Verdict::Nothing);
        // Judged again after a late look: another run has been missed since.
        let again = Watched { overdue: None, last: Some(at("11T10:00")), ..feed };
        assert_eq!(judge(&again, at("14T11:00")), Verdict::Overdue(missed(12)));
    }

    #[test]
    fn given_other_times_or_none_then_what_was_missed_before_counts_no_more() {
        let expected = nightly();
        let overdue = Watched { overdue: Some(missed(11)), ..watched(&expected) };
        let recovered = Verdict::Recovered { missed: at("11T02:30"), by_payload: false };
        assert_eq!(judge(&Watched { expected: None, set_at: None, ..overdue }, at("12T00:00")), recovered);
        assert_eq!(judge(&Watched { set_at: Some(at("12T00:00")), ..overdue }, at("12T00:00")), recovered);
        assert_eq!(judge(&Watched { expected: None, overdue: None, ..overdue }, at("12T00:00")), Verdict::Nothing);
    }

    proptest! {
        #[test]
        fn recording_what_is_judged_comes_to_rest(
            last in prop::option::of(0..20_000i64),
            set in 0..20_000i64,
            overdue in prop::option::of(0..20_000i64),
            now in 0..20_000i64,
            text in prop::sample::select(vec!["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 * * 1"]),
        ) {
            let minute = |m: i64| at("01T00:00") + Duration::minutes(m);
            let expected = Expected::parse(text, chrono_tz::UTC, Duration::minutes(30)).unwrap();
            let overdue = overdue.map(|m| Overdue { missed: minute(m), since: minute(m + 30) });
            let mut feed =
                Watched { expected: Some(&expected), set_at: Some(minute(set)), last: last.map(minute), overdue };
            let mut recorded = 0;
            loop {
                match judge(&feed, minute(now)) {
                    Verdict::Nothing => break,
                    Verdict::Overdue(overdue) => {
                        prop_assert!(overdue.since <= minute(now) && overdue.missed > minute(set));
                        feed.overdue = Some(overdue);
                    }
                    Verdict::Recovered { .. } => feed.overdue = None,
                }
                recorded += 1;
                prop_assert!(recorded <= 2);
            }
        }
    }
}
