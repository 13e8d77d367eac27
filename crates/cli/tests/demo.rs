//! The demo: the first thing that a person runs, and may run again.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use crate::support::Place;

#[test]
fn the_demo_shows_an_import_a_nightly_feed_and_a_held_one() {
    let place = Place::new();
    let said = place.expect(0, "demo --no-serve");
    for part in
        ["304 added", "3 added, 6 updated, 2 removed, 296 unchanged", "Held", "min_rows", "305 people", "Try next"]
    {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert!(place.path().join("muster-data/muster.db").exists());
}

#[test]
fn run_twice_it_neither_fails_nor_duplicates() {
    let place = Place::new();
    let first = place.json(0, "demo --no-serve");
    let second = place.json(0, "demo --no-serve");
    assert_eq!((&first["already_there"], &second["already_there"]), (&false.into(), &true.into()));
    for (a, b) in first["steps"].as_array().into_iter().flatten().zip(second["steps"].as_array().into_iter().flatten())
    {
        for name in ["upload_id", "change_set_id", "state", "counts", "holds"] {
            assert_eq!(a["report"][name], b["report"][name]);
        }
    }
    let states: Vec<_> = (0..3).map(|i| second["steps"][i]["report"]["state"].clone()).collect();
    assert_eq!(states, ["applied", "applied", "held"]);
    assert_eq!(place.json(0, "feeds show main --org demo")["claims"], 305);
    assert!(place.expect(0, "demo --no-serve").contains("made before"));
}

#[test]
fn a_demo_that_was_cut_short_goes_on() {
    let place = Place::new();
    let cut = place.command("demo --no-serve").env("MUSTER_CRASH_AT", "received").output().expect("muster runs");
    // In a release build there are no crash points, and the demo is simply whole.
    assert!(!cut.status.success() || !cfg!(debug_assertions));
    place.expect(0, "demo --no-serve");
    assert_eq!(place.json(0, "feeds show main --org demo")["claims"], 305);
}

#[test]
fn somebody_elses_organisation_is_left_alone() {
    let place = Place::new();
    place.expect(0, "org create demo --name Mine");
    let error = place.json(1, "demo --no-serve");
    assert_eq!(error["error"]["kind"], "conflict");
    assert_eq!(place.json(0, "feeds show main --org demo")["claims"], 0);
}

#[test]
fn the_demo_ends_by_serving_until_it_is_told_to_end() {
    let place = Place::new();
    let mut demo = place.command("demo");
    demo.env("MUSTER_LISTEN", "127.0.0.1:0").stdout(Stdio::piped());
    let mut demo = Ended(demo.spawn().unwrap());
    let said = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = said.filter_map(|line| Some(line.strip_prefix("Serving on http://")?.split(';').next()?.to_owned()));
    let address = address.take(1).next().expect("it says where it serves");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let told = Command::new("kill").arg(demo.0.id().to_string()).status().unwrap();
    assert!(told.success() && demo.0.wait().unwrap().success());
}

#[test]
fn a_demo_beside_something_else_that_listens_is_no_error() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut demo = place.command("demo");
    let ran = demo.env("MUSTER_LISTEN", taken.local_addr().unwrap().to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("Not serving") && said.contains("Try next"), "{said}");
}

/// Killed if the test ends before it does.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
