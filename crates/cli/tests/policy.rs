//! Another policy tried on the past, as a person does it with the binary.

use std::path::Path;

use crate::support::Place;

/// A place with a recorded log in it.
fn story() -> Place {
    let place = Place::new();
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/logs/story.ndjson");
    std::fs::copy(log, place.path().join("log.ndjson")).expect("the log");
    place
}

#[test]
fn every_upload_is_judged_beside_what_happened() {
    let place = story();
    place.file("strict.toml", "invalid_rows = \"hold\"\n[guard]\nfirst_import = true\nmin_rows_percent = 100\n");
    let said = place.expect(0, "replay log.ndjson --policy strict.toml");
    for part in [
        "with this policy",
        "held: first_import",
        "held: invalid_rows 1 (limit 0)",
        "Of 10 uploads 2 would have been held instead of applied.",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    let document = place.json(0, "replay log.ndjson --policy strict.toml");
    let uploads = document["uploads"].as_array().expect("uploads");
    assert_eq!((uploads.len(), &document["summary"]["differ"]), (10, &2.into()));
    assert_eq!((&uploads[0]["happened"]["state"], &uploads[0]["tried"]["state"]), (&"applied".into(), &"held".into()));
    assert_eq!(
        (&uploads[0]["tried"]["holds"][0]["guard"], &uploads[0]["differs"]),
        (&"first_import".into(), &true.into())
    );
    place.file("same.toml", "");
    let said = place.expect(0, "replay log.ndjson --policy same.toml");
    assert!(said.ends_with("Of 10 uploads none would have come to something else.\n"), "{said}");
    assert_eq!(place.json(0, "replay log.ndjson --policy same.toml --until 7")["summary"]["uploads"], 1);
}

#[test]
fn a_feed_has_a_policy_of_its_own() {
    let place = story();
    place.file("feeds.toml", "[feeds.bikes]\npolicy = \"hold\"\n");
    let document = place.json(0, "replay log.ndjson --policy feeds.toml");
    let differ: Vec<_> =
        document["uploads"].as_array().expect("uploads").iter().filter(|u| u["differs"] == true).collect();
    assert!(!differ.is_empty() && differ.iter().all(|u| u["feed"] == "bikes"), "{differ:?}");
    place.file("feeds.toml", "[feeds.trains]\npolicy = \"hold\"\n");
    let failed = place.json(2, "replay log.ndjson --policy feeds.toml");
    assert_eq!(
        failed["error"]["message"],
        "The policy feeds.toml speaks of a feed trains, and the log has only bikes, main."
    );
}

#[test]
fn what_is_no_policy_is_refused_in_one_sentence() {
    let place = story();
    for (text, sentence) in [
        ("guard.removals.max_percnt = 5", "did you mean"),
        ("dates = \"iso\"", "cannot be tried on the past"),
        ("guard.removals.max_percent = 500", "allowed is a percentage from 0 to 100, or off"),
        ("guard.removals.max_percent = [5]", "takes one value"),
        ("feeds = 3", "below [feeds.NAME]"),
        ("[guard", "line 1"),
    ] {
        place.file("policy.toml", text);
        let failed = place.json(2, "replay log.ndjson --policy policy.toml");
        let message = failed["error"]["message"].as_str().expect("a sentence");
        assert!(message.starts_with("The policy policy.toml") && message.contains(sentence), "{text}: {message}");
    }
    place.json(2, "replay log.ndjson --policy missing.toml");
    place.file("empty.ndjson", "");
    place.file("policy.toml", "");
    assert_eq!(place.json(1, "replay empty.ndjson --policy policy.toml")["error"]["kind"], "damaged");
}
