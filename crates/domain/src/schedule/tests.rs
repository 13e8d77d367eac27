//! Schedules held against a plain reading of them, minute by minute over years.

use std::{collections::BTreeMap, sync::LazyLock};

use chrono::{Datelike, Timelike};
use proptest::{prelude::*, sample::select};

use super::*;

fn expected(text: &str, zone: &str) -> Expected {
    Expected::parse(text, zone.parse().unwrap(), Duration::zero()).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

/// The runs after an instant, as local times with their offsets.
fn runs(text: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
    let expected = expected(text, zone);
    let next = |t: &DateTime<Utc>| expected.next_after(*t);
    std::iter::successors(next(&at(after)), next)
        .take(n)
        .map(|t| t.with_timezone(&expected.zone).to_rfc3339())
        .collect()
}

fn sentence(text: &str) -> String {
    Expected::parse(text, chrono_tz::UTC, Duration::zero()).unwrap_err().to_string()
}

#[test]
fn sunday_is_0_and_7_and_every_day_has_its_name() {
    for text in ["0 9 * * 0", "0 9 * * 7", "0 9 * * SUN", "0 9 * * Sun-sun/7"] {
        assert_eq!(runs(text, "UTC", "2026-11-18T00:00:00Z", 1), ["2026-11-22T09:00:00+00:00"], "{text}");
    }
    for text in ["0 9 * * 1-5", "0 9 * jan-dec mon-fri", "0 9 * * mon,tue,wed,thu,fri"] {
        let days = runs(text, "UTC", "2026-11-20T00:00:00Z", 2);
        assert_eq!(days, ["2026-11-20T09:00:00+00:00", "2026-11-23T09:00:00+00:00"], "{text}");
    }
    assert_eq!(runs("0 9 * * sat-sun", "UTC", "2026-11-21T09:00:00Z", 1), ["2026-11-22T09:00:00+00:00"]);
}

#[test]
fn names_of_schedules_are_what_unix_cron_means_by_them() {
    for (name, first) in [
        ("@hourly", "2026-11-18T13:00:00+00:00"),
        ("@Daily", "2026-11-19T00:00:00+00:00"),
        ("@midnight", "2026-11-19T00:00:00+00:00"),
        ("@weekly", "2026-11-22T00:00:00+00:00"),
        ("@monthly", "2026-12-01T00:00:00+00:00"),
        ("@yearly", "2027-01-01T00:00:00+00:00"),
    ] {
        assert_eq!(runs(name, "UTC", "2026-11-18T12:30:00Z", 1), [first], "{name}");
    }
}

#[test]
fn both_days_restricted_means_either_of_them() {
    let days = runs("0 0 13 * 5", "UTC", "2026-11-01T00:00:00Z", 3);
    assert_eq!(days, ["2026-11-06T00:00:00+00:00", "2026-11-13T00:00:00+00:00", "2026-11-20T00:00:00+00:00"]);
    // A day that begins with a star does not count as restricted: both must hold.
    assert_eq!(runs("0 0 */2 * 5", "UTC", "2026-11-01T00:00:00Z", 1), ["2026-11-13T00:00:00+00:00"]);
}

#[test]
fn a_local_time_that_does_not_exist_runs_at_the_next_instant_that_does() {
    let berlin = runs("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
    assert_eq!(berlin, ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]);
    let half = runs("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 1);
    assert_eq!(half, ["2026-10-04T02:30:00+11:00"]);
    // The 30th of December 2011 was left out.
    let samoa = runs("0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3);
    assert_eq!(samoa, ["2011-12-29T09:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T09:00:00+14:00"]);
}

#[test]
fn a_local_time_that_happens_twice_runs_once_the_first_time() {
    let berlin = runs("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
    assert_eq!(berlin, ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]);
    let hours = runs("0 * * * *", "America/New_York", "2026-11-01T04:30:00Z", 3);
    assert_eq!(hours, ["2026-11-01T01:00:00-04:00", "2026-11-01T02:00:00-05:00", "2026-11-01T03:00:00-05:00"]);
    let expected = expected("30 2 * * *", "Europe/Berlin");
    assert_eq!(expected.last_before(at("2026-10-25T01:10:00Z")), Some(at("2026-10-25T00:30:00Z")));
}

#[test]
fn what_cannot_be_read_is_one_sentence() {
    assert!(sentence("30 2 * *").starts_with("`30 2 * *` is no schedule: write five fields"));
    assert!(sentence("@reboot").contains("or one of @yearly"));
    for (text, part) in [
        ("60 2 * * *", "the minute `60`"),
        ("0 24 * * *", "the hour `24`"),
        ("0 0 0 * *", "the day of month `0`"),
        ("0 0 * 13 *", "the month `13`"),
        ("0 0 * * 8", "the day of week `8`"),
        ("0 0 * * fri-mon", "the day of week `fri-mon`"),
        ("5/15 * * * *", "the minute `5/15`"),
        ("*/0 * * * *", "the minute `*/0`"),
        ("1,,2 * * * *", "the minute `1,,2`"),
        ("0 0 L * *", "the day of month `L`"),
        ("0 0 * * 1#2", "the day of week `1#2`"),
        ("0 0 ? * *", "the day of month `?`"),
        ("-1 0 * * *", "the minute `-1`"),
    ] {
        let said = sentence(text);
        assert!(said.contains(part) && said.ends_with('.') && !said.contains('\n'), "{text}: {said}");
    }
}

#[test]
fn a_day_that_never_comes_is_one_sentence() {
    assert_eq!(
        sentence("0 0 30 2 *"),
        "The schedule `0 0 30 2 *` never happens: no month that it names has such a day."
    );
    assert!(sentence("0 0 31 2,4,6,9,11 *").contains("never happens"));
    // Leap days come, and with a day of the week beside it the day does not matter.
    assert_eq!(runs("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2028-02-29T00:00:00+00:00"]);
    assert_eq!(runs("0 0 30 2 1", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-02-02T00:00:00+00:00"]);
}

#[test]
fn what_is_expected_is_set_in_parts_and_taken_away() {
    let mut feed = FeedSettings::default();
    feed.expect(Some(" 30  2 * * 1-5 "), Some("europe/berlin"), Some("90m")).unwrap();
    assert_eq!(feed.expected.as_deref(), Some("30 2 * * 1-5"));
    assert_eq!(feed.expected_timezone.as_deref(), Some("Europe/Berlin"));
    assert_eq!(feed.expected_grace_minutes, Some(90));
    feed.expect(None, Some(""), Some("2h")).unwrap();
    assert_eq!((feed.expected_timezone.as_deref(), feed.expected_grace_minutes), (None, Some(120)));
    let settings = Settings { timezone: "Asia/Kathmandu".to_owned(), ..Settings::default() };
    assert_eq!(Expected::of(&feed, &settings).unwrap().zone(), chrono_tz::Asia::Kathmandu);
    let before = feed.clone();
    for (schedule, zone, grace) in [(Some("soon"), None, None), (None, Some("Mars"), None), (None, None, Some("31d"))] {
        let said = feed.expect(schedule, zone, grace).unwrap_err().to_string();
        assert!(said.ends_with('.') && feed == before, "{said}");
    }
    feed.expect(Some(""), None, None).unwrap();
    assert_eq!(feed, FeedSettings::default());
    assert_eq!(feed.expect(None, None, Some("2h")), Err(ScheduleError::Alone));
}

#[test]
fn a_grace_is_written_as_people_write_it() {
    for (text, shown) in [("90", "90m"), ("2h", "2h"), ("120 min", "2h"), ("1d", "1d"), ("0", "0m")] {
        assert_eq!(Minutes(minutes(text).unwrap()).to_string(), shown);
    }
    assert!(["", "h", "-1", "2 weeks", "99999999999", "9999999d"].iter().all(|text| minutes(text).is_err()));
}

/// A minute of local time and what it falls on.
#[derive(Clone, Copy)]
struct Local {
    instant: i64,
    fields: [u8; 5],
}

/// Two years of a zone: every local minute in order, with the instant at which it runs.
fn years(zone: &str, first: i32) -> Vec<Local> {
    let zone: Tz = zone.parse().unwrap();
    let from = Utc.with_ymd_and_hms(first, 1, 1, 0, 0, 0).unwrap();
    let (mut all, mut reached) = (Vec::with_capacity(1_060_000), None::<NaiveDateTime>);
    for minute in 0..2 * 365 * 24 * 60 {
        let instant = from + Duration::minutes(minute);
        let local = instant.with_timezone(&zone).naive_local();
        // What the clock leaps over runs now; what it shows again ran before.
        let mut next = reached.map_or(local, |last| last + Duration::minutes(1));
        while next <= local {
            let date = next.weekday().num_days_from_sunday();
            let fields = [next.minute(), next.hour(), next.day(), next.month(), date].map(|n| n as u8);
            all.push(Local { instant: instant.timestamp(), fields });
            next += Duration::minutes(1);
        }
        reached = reached.max(Some(local));
    }
    all
}

static YEARS: LazyLock<BTreeMap<&str, Vec<Local>>> = LazyLock::new(|| {
    let zones = [
        ("Europe/Berlin", 2025),
        ("America/New_York", 2026),
        ("Australia/Lord_Howe", 2025),
        ("Pacific/Apia", 2011),
        ("Asia/Kathmandu", 2027),
    ];
    zones.into_iter().map(|(zone, first)| (zone, years(zone, first))).collect()
});

/// Whether a value is in a field, read plainly.
fn is_in(text: &str, value: u32, least: u32, names: &[&str]) -> bool {
    let read = |text: &str| match names.iter().position(|n| *n == text) {
        Some(at) => at as u32 + least,
        None => text.parse().unwrap(),
    };
    text.split(',').any(|item| {
        let (range, step) = item.split_once('/').map_or((item, 1), |(range, step)| (range, step.parse().unwrap()));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (read(from), read(to)),
            None if range == "*" => (least, 99),
            None => (read(range), read(range)),
        };
        (from..=to).contains(&value) && (value - from).is_multiple_of(step)
    })
}

/// The instants at which an expression runs, read plainly.
fn plain(text: &str, minutes: &[Local]) -> Vec<i64> {
    let fields: Vec<&str> = text.split(' ').collect();
    let names: [&[&str]; 5] = [
        &[],
        &[],
        &[],
        &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    ];
    let table: Vec<Vec<bool>> = (0..5)
        .map(|i| {
            let least = u32::from(matches!(i, 2 | 3));
            let found = |n| n >= least && is_in(fields[i], n, least, names[i]);
            (0..60)
                .map(|n| found(n) || (i == 4 && n == 0 && fields[4] != "*" && found(7) && !fields[4].contains('*')))
                .collect()
        })
        .collect();
    let either = !fields[2].starts_with('*') && !fields[4].starts_with('*');
    let mut runs: Vec<i64> = Vec::new();
    for minute in minutes {
        let [m, h, day, month, weekday] = std::array::from_fn(|i| table[i][minute.fields[i] as usize]);
        let days = if either { day || weekday } else { day && weekday };
        if m && h && month && days && runs.last() != Some(&minute.instant) {
            runs.push(minute.instant);
        }
    }
    runs
}

fn field(least: u32, most: u32, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let one = (least..=most).prop_map(move |n| match names.get(n.wrapping_sub(least) as usize) {
        Some(name) if n % 2 == 0 => (*name).to_owned(),
        _ => n.to_string(),
    });
    let range = (least..=most, 0..20u32, 1..7u32).prop_map(move |(from, more, step)| match step {
        1 => format!("{from}-{}", (from + more).min(most)),
        _ => format!("{from}-{}/{step}", (from + more).min(most)),
    });
    let item = prop_oneof![3 => one, 2 => range];
    let list = prop::collection::vec(item, 1..4).prop_map(|items| items.join(","));
    prop_oneof![4 => Just("*".to_owned()), 1 => (2..9u32).prop_map(|n| format!("*/{n}")), 5 => list]
}

fn any_expression() -> impl Strategy<Value = String> {
    let months = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let days = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    (field(0, 59, &[]), field(0, 23, &[]), field(1, 31, &[]), field(1, 12, months), field(0, 7, days))
        .prop_map(|(m, h, day, month, weekday)| format!("{m} {h} {day} {month} {weekday}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn runs_are_those_of_a_plain_reading(
        text in any_expression(),
        zone in select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"]),
        moments in prop::collection::vec((0.05..0.95f64, -90..90i64), 60),
    ) {
        let minutes = &YEARS[zone];
        let runs = plain(&text, minutes);
        let expected = match Expected::parse(&text, zone.parse().unwrap(), Duration::zero()) {
            Ok(expected) => expected,
            Err(e) => {
                prop_assert!(matches!(e, ScheduleError::Never { .. }), "{e}");
                prop_assert!(runs.is_empty());
                return Ok(());
            }
        };
        // Leaps of the clock are where it is hard: half of the moments are near one.
        let leaps: Vec<i64> = minutes.windows(2).filter(|w| w[1].instant - w[0].instant != 60).map(|w| w[1].instant).collect();
        let near = |part: f64| (!leaps.is_empty()).then(|| leaps[(part * leaps.len() as f64) as usize]);
        for (i, (part, seconds)) in moments.iter().enumerate() {
            let anywhere = minutes[(part * minutes.len() as f64) as usize].instant;
            let moment = if i % 2 == 0 { near(*part).map_or(anywhere, |t| t + seconds * 60) } else { anywhere + seconds };
            let instant = DateTime::from_timestamp(moment, 500 * (i as u32 % 2)).unwrap();
            let upto = runs.partition_point(|run| *run <= moment);
            let (next, last) = (expected.next_after(instant), expected.last_before(instant));
            if let Some(run) = runs.get(upto) {
                prop_assert_eq!(next.map(|t| t.timestamp()), Some(*run), "after {} in {}: {}", instant, zone, text);
            }
            if let Some(run) = upto.checked_sub(1).map(|at| runs[at]) {
                prop_assert_eq!(last.map(|t| t.timestamp()), Some(run), "before {} in {}: {}", instant, zone, text);
            }
        }
    }

    #[test]
    fn any_text_is_a_schedule_or_a_sentence(text in ".{0,40}") {
        if let Err(e) = Expected::parse(&text, chrono_tz::UTC, Duration::zero()) {
            prop_assert!(e.to_string().ends_with('.'));
        }
    }
}
