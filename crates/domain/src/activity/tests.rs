//! Every event of the recorded logs in words.

use std::collections::BTreeSet;

use super::*;
use crate::{
    change::Change,
    replay::{Replay, log::each_event},
};

const LOGS: [&[u8]; 4] = [
    include_bytes!("../../../../fixtures/logs/year.ndjson"),
    include_bytes!("../../../../fixtures/logs/forgotten.ndjson"),
    include_bytes!("../../../../fixtures/logs/liveness.ndjson"),
    include_bytes!("../../../../fixtures/logs/second.ndjson"),
];

/// Every event of a log that has words, as it is told right after it was recorded, and the values that people have in it.
fn told(log: &[u8]) -> (Vec<Activity>, BTreeSet<String>) {
    let (mut replay, mut all, mut values) = (Replay::new(), Vec::new(), BTreeSet::new());
    each_event(log, |event| {
        let (meta, body) = (event.event().meta.clone(), event.event().body.clone());
        replay.take(event)?;
        let fact = Fact::read(&meta).unwrap();
        if let (Fact::Chunk { .. }, Some(body)) = (&fact, body) {
            for change in body.iter().flatten().map(|line| Change::read(line).unwrap()) {
                values.extend(change.to.iter().filter_map(|(_, v)| v.as_deref().map(str::to_owned)));
                values.insert(change.key.into_owned());
            }
        }
        let docs = replay.documents();
        let feeds = docs.feeds().values().map(|f| (f.no, f.settings.name.clone())).collect();
        let about = about(&fact);
        let change_set = about.change_set.and_then(|id| docs.change_sets().get(&id));
        let upload = about.upload.or(change_set.map(|s| s.upload)).and_then(|id| docs.uploads().get(&id));
        all.extend(tell(&meta, &fact, &Known { feeds: Some(&feeds), upload, change_set }));
        Ok(true)
    })
    .unwrap();
    (all, values)
}

/// A sentence with ids and times, which differ from recording to recording, left out.
fn plain(sentence: &str) -> String {
    let word = |word: &str| {
        let inner = word.trim_end_matches([':', ')']);
        match inner {
            _ if uuid::Uuid::parse_str(inner).is_ok() => word.replace(inner, "ID"),
            _ if inner.len() == 10 && inner.starts_with("20") => "DAY".to_owned(),
            _ if inner.len() == 5 && inner.as_bytes()[2] == b':' => "TIME".to_owned(),
            _ => word.to_owned(),
        }
    };
    sentence.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_event_is_told_in_one_sentence() {
    for log in LOGS {
        let (all, _) = told(log);
        assert!(!all.is_empty());
        for activity in &all {
            let said = &activity.sentence;
            assert!(!said.contains('\n') && !said.ends_with('.') && said.len() < 400, "{said}");
            assert!(!said.contains("  ") && !said.contains("feed no."), "{said}");
            assert!(activity.kind.contains('.') && activity.seq > 0);
            if !activity.kind.starts_with("organisation")
                && !activity.kind.starts_with("member")
                && activity.kind != "payloads.destroyed"
            {
                assert!(activity.about.feed.is_some(), "{activity:?}");
            }
        }
    }
}

#[test]
fn an_upload_that_was_given_up_is_told_with_who_did_it() {
    let json = r#"{"type":"upload.decided","data":{"upload":"00000000-0000-0000-0000-000000000001","state":"refused",
        "counts":{"rows":0,"added":0,"updated":0,"removed":0,"reinstated":0,"rekeyed":0,"unchanged":0,"suppressed":0,
        "invalid":0},"roster_version":4}}"#;
    let given_up = json.replace("\"roster_version\":4", "\"roster_version\":4,\"reason\":\"given_up\"");
    let said = |json: &str| sentence("os:ann@hr", &serde_json::from_str(json).unwrap(), &Known::default()).unwrap();
    assert!(said(json).ends_with("was refused, and nothing was taken from it"), "{}", said(json));
    assert!(said(&given_up).starts_with("os:ann@hr gave up "), "{}", said(&given_up));
}

#[test]
fn nobodys_values_are_in_any_sentence() {
    for log in LOGS {
        let (all, values) = told(log);
        for activity in &all {
            let said = activity.sentence.replace(&activity.actor, "");
            // A number or a short word may be there by chance.
            let words = said.split([' ', ',', ':', '(', ')']).filter(|w| w.len() > 3 && w.parse::<u32>().is_err());
            let found: Vec<&str> = words.filter(|w| values.contains(*w)).collect();
            assert!(found.is_empty(), "{found:?} in {said}");
        }
    }
}

#[test]
fn events_are_told_as_people_would() {
    let said: BTreeSet<String> = LOGS.iter().flat_map(|log| told(log).0).map(|a| plain(&a.sentence)).collect();
    for sentence in [
        "os:fixture@muster created the organisation fernhill",
        "os:fixture@muster created the feed agency",
        "os:fixture@muster changed the settings of the feed bikes",
        "os:fixture@muster set eligibility.grace_days",
        "os:fixture@muster uploaded a full payload to the feed main (no. 1)",
        "os:fixture@muster sent a full payload to the feed main on schedule (no. 2)",
        "os:fixture@muster pushed a list of leavers to the feed main (no. 10)",
        "the payload no. 4 of the feed main changed nothing (6 rows)",
        "change set ID of the payload no. 1 of the feed main waits for review because of first_import: 300 added",
        "change set ID was worked out from the payload no. 2 of the feed bikes: 2 added, 1 updated",
        "os:fixture@muster approved change set ID of the feed main: 300 added",
        "os:fixture@muster approved 1 of 6 changes of change set ID of the feed main",
        "os:fixture@muster approved change set ID of the feed main as the first of two: 2 added, 1 updated; somebody else must \
         approve the same",
        "os:second@muster approved change set ID of the feed main as the second of two: 2 added, 1 updated",
        "change set ID of the feed bikes was applied: 2 added, 1 updated",
        "os:fixture@muster edited by hand (change set ID): 1 updated",
        "os:fixture@muster asked to undo change set ID",
        "os:fixture@muster undid change set ID (change set ID): 1 removed",
        "os:fixture@muster handed the claims of the feed bikes over to the feed agency",
        "os:fixture@muster rejected 1 of 6 changes of change set ID of the feed main",
        "os:fixture@muster rejected change set ID of the feed main as wrong: 1 updated",
        "change set ID of the feed main gave way to a newer payload",
        "change set ID of the feed main was compared with the roster as it is now: 1 in conflict",
        "os:fixture@muster had 1 person forgotten: 8 lines of 8 events erased",
        "os:fixture@muster let somebody who was forgotten come back",
        "os:fixture@muster had the originals of 10 payloads destroyed, because somebody in them was forgotten",
        "the feed main is overdue: the payload of DAY TIME UTC had not come 30m later",
        "the feed main sent a payload again, after the run of DAY TIME UTC was missed",
        "the feed main is expected at other times now or not at all, so it is overdue no longer",
    ] {
        assert!(said.contains(sentence), "{sentence}\n{said:#?}");
    }
}
