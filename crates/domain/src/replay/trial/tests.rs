//! Recorded logs judged anew: by the policy of the time as it happened, by another one as it must be.

use std::{fs::File, io::BufReader, path::PathBuf};

use super::*;
use crate::replay::log::each_event;

fn logs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/logs")
}

fn try_on(log: &str, policy: OtherPolicy) -> (Vec<Tried>, Trial) {
    let (mut trial, mut all) = (Trial::new(policy), Vec::new());
    let reader = BufReader::new(File::open(logs().join(log)).unwrap());
    each_event(reader, |event| {
        all.extend(trial.take(event)?);
        Ok(true)
    })
    .unwrap();
    (all, trial)
}

fn policy(pairs: &[(&str, &str)]) -> OtherPolicy {
    let mut policy = OtherPolicy::default();
    pairs.iter().for_each(|(key, value)| policy.set(key, value).unwrap());
    policy
}

/// A state, and each guard with threshold and figure.
fn told(verdict: &Verdict) -> String {
    let holds = verdict.holds.iter().map(|h| format!(" {} {}/{}", h.guard, h.figure, h.threshold));
    format!("{}{}", verdict.state.word(), holds.collect::<String>())
}

#[test]
fn judged_by_the_policy_of_the_time_everything_comes_to_what_happened() {
    let mut judged = 0;
    for entry in std::fs::read_dir(logs()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".ndjson") {
            continue;
        }
        let (all, trial) = try_on(&name, OtherPolicy::default());
        for one in &all {
            let tried = one.tried.as_ref().map(told);
            assert!(tried.is_none_or(|t| t == told(&one.happened)), "{name}, upload {}: {one:#?}", one.arrival);
        }
        assert_eq!((trial.summary().uploads, trial.summary().differ), (all.len() as u64, 0), "{name}");
        judged += trial.summary().judged;
    }
    assert!(judged > 40, "{judged}");
}

#[test]
fn what_another_policy_would_have_done_is_what_was_recorded() {
    let tried = |pairs: &[(&str, &str)]| {
        let (all, trial) = try_on("story.ndjson", policy(pairs));
        let lines = all.iter().map(|one| {
            let tried = one.tried.as_ref().map_or_else(|| "-".to_owned(), told);
            format!("{} {} {}: {} -> {tried}", one.arrival, one.feed, one.mode, told(&one.happened))
        });
        (lines.collect::<Vec<_>>(), trial.summary().clone())
    };
    let (lines, summary) = tried(&[("policy.api", "hold"), ("policy.hand", "hold")]);
    assert_eq!(lines, HELD_BY_POLICY);
    assert_eq!(summary.by_outcome, BTreeMap::from([("held instead of applied".to_owned(), 3)]));
    let (lines, _) =
        tried(&[("guard.first_import", "on"), ("guard.min_rows_percent", "100"), ("invalid_rows", "refuse")]);
    assert_eq!(lines, HELD_BY_GUARDS);
}

const HELD_BY_POLICY: &[&str] = &[
    "1 main full: applied -> held",
    "2 bikes partial: applied -> held",
    "3 main full: applied -> held",
    "4 main full: no_changes -> no_changes",
    "5 hand partial: applied -> applied",
    "6 main full: held -> held",
    "7 hand partial: applied -> applied",
    "8 hand partial: applied -> applied",
    "9 hand partial: applied -> applied",
    "10 main leavers: no_changes -> no_changes",
];
const HELD_BY_GUARDS: &[&str] = &[
    "1 main full: applied -> held first_import 6/\"on\"",
    "2 bikes partial: applied -> applied",
    "3 main full: applied -> refused",
    "4 main full: no_changes -> no_changes",
    "5 hand partial: applied -> applied",
    "6 main full: held -> held",
    "7 hand partial: applied -> applied",
    "8 hand partial: applied -> applied",
    "9 hand partial: applied -> applied",
    "10 main leavers: no_changes -> no_changes",
];

#[test]
fn what_a_feed_overrides_stays_unless_the_policy_speaks_of_the_feed() {
    let settings = Settings::default();
    let mut feed = FeedSettings { name: "main".into(), ..FeedSettings::default() };
    feed.set_override("guard.updates.max_percent", "7").unwrap();
    let mut other = policy(&[("guard.updates.max_percent", "3"), ("guard.removals.max_percent", "2")]);
    let of = |other: &OtherPolicy| {
        let guards = other.settings(&settings, &feed).guards;
        (guards.updates.max_percent, guards.removals.max_percent)
    };
    assert_eq!(of(&other), (Some(7.0), Some(2.0)));
    other.set_for_feed("main", "guard.removals.max_percent", "50").unwrap();
    assert_eq!(of(&other), (Some(3.0), Some(50.0)));
    other.set_for_feed("main", "policy", "hold").unwrap();
    assert_eq!(other.settings(&settings, &feed).policy(Channel::Api), Policy::Hold);
}

#[test]
fn what_judges_nothing_or_is_no_setting_is_refused() {
    let refused = |key, value| OtherPolicy::default().set(key, value).unwrap_err().to_string();
    assert!(refused("guard.removal.max_percent", "5").contains("did you mean one of `guard.removals.max_percent`"));
    assert!(refused("dates", "iso").contains("cannot be tried on the past"));
    assert!(refused("policy.api", "maybe").contains("allowed is hold or apply"));
    let feed = |key, value| OtherPolicy::default().set_for_feed("main", key, value).unwrap_err().to_string();
    assert!(feed("duplicates", "first").contains("cannot be tried") && feed("timezone", "UTC").contains("one feed"));
    assert!(feed("policy", "maybe").contains("allowed is hold or apply"));
}

#[test]
fn a_log_that_was_changed_or_has_a_gap_is_not_judged() {
    let log = std::fs::read_to_string(logs().join("story.ndjson")).unwrap();
    let run = |log: &str| {
        let mut trial = Trial::new(OtherPolicy::default());
        each_event(log.as_bytes(), |event| trial.take(event).map(|_| true)).map(|()| trial.last_seq())
    };
    assert!(run(&log).is_ok_and(|last| last > 20));
    assert!(matches!(run(&log.replacen("fernhill", "fernhell", 1)), Err(ReplayError::Chain { seq: 1 })));
    let without: Vec<&str> = log.lines().enumerate().filter(|(i, _)| *i != 4).map(|(_, l)| l).collect();
    assert!(matches!(run(&without.join("\n")), Err(ReplayError::Sequence { expected: 5, .. })));
}
