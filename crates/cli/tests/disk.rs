//! A disk that takes no more: the sentence is about that, and nothing is in the way once there is room.

use std::process::Command;

use crate::support::{Place, text};

#[test]
fn the_first_failure_is_told_and_once_there_is_room_all_goes_on() {
    let place = Place::new();
    let rows: String =
        (100_000..120_000).map(|n| format!("{n},First{},Last{}\n", n * 7919 % 100_003, n * 31)).collect();
    place.file("many.csv", &format!("Employee ID,First Name,Last Name\n{rows}"));
    place.expect(0, "org create acme --name Acme");
    place.expect(0, "org set acme guard.first_import=off policy.upload=apply");
    // No file may grow past a megabyte: the payload does not, the database would.
    let line = "trap '' XFSZ; ulimit -f 2000; exec \"$0\" sync many.csv --org acme --mode full --json";
    let mut shell = Command::new("sh");
    shell.args(["-c", line, env!("CARGO_BIN_EXE_muster")]).current_dir(place.path()).env_clear();
    let output = shell.output().expect("a shell");
    let said = text(&output.stdout);
    let error: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(error["error"]["message"], "The database refused: disk I/O error.");
    let report = place.json(0, "sync many.csv --org acme --mode full");
    assert_eq!(report["roster_version"], 1, "{report}");
    place.expect(0, "verify --org acme");
}
