//! The recorded year: what every payload came to then, and the roster at the end of every month.

use std::{collections::BTreeMap, fs, path::Path};

use muster_domain::{
    fact::Fact,
    replay::{log::read_event, read_log},
};
use serde_json::{Value, json};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/logs").join(name)).unwrap()
}

fn results(what: &str) -> Vec<Value> {
    let all: Value = serde_json::from_slice(&fixture("year.results.json")).unwrap();
    all[what].as_array().unwrap().clone()
}

#[test]
fn every_month_ends_with_the_roster_that_was_recorded() {
    let log = fixture("year.ndjson");
    let months = results("months");
    assert_eq!(months.len(), 12);
    for month in months {
        let folded = read_log(log.as_slice(), month["last_seq"].as_u64()).unwrap();
        let mut report = serde_json::to_value(folded.report()).unwrap();
        report["month"] = month["month"].clone();
        assert_eq!(report, month);
    }
}

#[test]
fn every_payload_came_to_what_was_recorded() {
    let (mut arrivals, mut came_to) = (BTreeMap::new(), BTreeMap::new());
    for line in fixture("year.ndjson").split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        match Fact::read(&read_event(line).unwrap().meta).unwrap() {
            Fact::UploadReceived(received) => drop(arrivals.insert(received.upload, received.arrival)),
            Fact::Computed(c) => {
                let guards: Vec<&str> = c.holds.iter().map(|h| h.guard.as_str()).collect();
                came_to.insert(arrivals[&c.upload], json!([c.state, c.counts, guards]));
            }
            Fact::UploadDecided { upload, state, counts, .. } => {
                came_to.insert(arrivals[&upload], json!([state, counts, []]));
            }
            _ => {}
        }
    }
    let uploads = results("uploads");
    assert!(uploads.len() > 300);
    for upload in uploads {
        let told = json!([upload["state"], upload["counts"], upload["guards"]]);
        assert_eq!(came_to[&upload["arrival"].as_u64().unwrap()], told, "{upload}");
    }
}
