//! What was applied is told to other systems, which hear it once and in order by the example in `docs/examples/listen.py`.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use muster_testkit::rabbitmq::{Broker, address};
use serde_json::Value;

use crate::{
    muster::{Muster, On, feed},
    served::{PATIENCE, Served, prefix, until},
};

/// The example, listening.
struct Listener {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<Value>,
}

impl Listener {
    fn start(url: &str, prefix: &str) -> Listener {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/listen.py");
        // Debian's, which has Debian's pika.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(example).args([
            url,
            "--exchange",
            &format!("{prefix}.events"),
            "--queue",
            &format!("{prefix}.test"),
        ]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("Debian's python3");
        let mut said = String::new();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        errors.read_line(&mut said).unwrap();
        assert_eq!(said, "listening\n");
        let (tell, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Listener { child, lines, heard: Vec::new() }
    }

    /// Waits until it has heard of an event of this type.
    fn hear(&mut self, what: &str) {
        while !self.heard.iter().any(|event| event["type"] == what) {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{what} was not heard: {e}"));
            self.heard.push(serde_json::from_str(&line).unwrap());
        }
    }

    /// Hears so many parts of change sets.
    fn parts(&mut self, count: usize) -> Vec<&Value> {
        while self.heard.iter().filter(|event| event["type"] == "muster.change_set.applied").count() < count {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("too few were heard: {e}"));
            self.heard.push(serde_json::from_str(&line).unwrap());
        }
        self.heard.iter().filter(|event| event["type"] == "muster.change_set.applied").map(|e| &e["data"]).collect()
    }

    fn seqs(&self) -> Vec<(u64, u64)> {
        let place = |data: &Value| (data["seq"].as_u64().unwrap(), data["first"].as_u64().unwrap_or(0));
        self.heard.iter().map(|event| place(&event["data"])).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sync(muster: &Muster, people: u32, department: &str) {
    let file = muster.file("next.csv", &feed(0..people, department));
    muster.ok(&["sync", &file, "--org", "acme", "--mode", "full"]);
}

fn tells_in_chunks(on: On) {
    let (url, prefix) = (address().unwrap(), prefix());
    let mut listener = Listener::start(&url, &prefix);
    let muster = Muster::new(on);
    let served = Served::start(&muster, &["--roles", "relay,projector", "--amqp", &url, "--amqp-prefix", &prefix]);
    listener.hear("muster.organisation.settings_changed");
    sync(&muster, 2_500, "Sales");
    let parts = listener.parts(3);
    assert_eq!(parts.iter().map(|part| part["first"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1000, 2000]);
    assert_eq!(parts.iter().map(|part| part["changes"].as_array().unwrap().len()).sum::<usize>(), 2_500);
    let said = format!("{:?}", listener.heard);
    assert!(!said.contains("Last1") && !said.contains("example.com") && !said.contains("E0001"), "no person");
    assert!(said.contains("last_name"), "but which fields");
    // Rebuilding what people look at is not heard of; what comes after it is the next that is.
    let heard = listener.heard.len();
    muster.ok(&["projections", "rebuild", "activity", "--org", "acme"]);
    muster.ok(&["org", "set", "acme", "events.values=on"]);
    sync(&muster, 2_500, "Service");
    let parts = listener.parts(6);
    assert_eq!(parts[3]["changes"][0]["after"]["department"], "Service");
    assert_eq!(listener.heard.len(), heard + 4, "the setting and three parts");
    assert!(listener.seqs().is_sorted_by(|a, b| a < b));
    muster.projected();
    assert!(served.end().success());
    muster.is_whole();
}

#[test]
fn what_was_applied_is_told_in_its_chunks_on_sqlite() {
    tells_in_chunks(On::Sqlite);
}

#[test]
fn what_was_applied_is_told_in_its_chunks_on_postgres() {
    tells_in_chunks(On::Postgres);
}

#[test]
fn who_dies_while_telling_tells_again_and_the_example_hears_it_once() {
    let (url, prefix) = (address().unwrap(), prefix());
    let muster = Muster::new(On::Postgres);
    let serve = ["--roles", "relay,projector", "--amqp", &url, "--amqp-prefix", &prefix];
    let mut listener = Listener::start(&url, &prefix);
    for point in ["events_before_confirm", "events_before_mark"] {
        let before = listener.heard.len();
        sync(&muster, 2_500, point);
        let mut dying = Served::begin(&muster, &serve, |command| {
            command.env("MUSTER_CRASH_AT", point);
        });
        assert!(!dying.ended().success(), "{point}");
        let served = Served::start(&muster, &serve);
        let parts = listener.heard.iter().filter(|e| e["type"] == "muster.change_set.applied").count() + 3;
        listener.parts(parts);
        assert!(listener.heard.len() > before);
        muster.projected();
        assert!(served.end().success());
    }
    let parts = listener.parts(6);
    assert_eq!(parts.iter().map(|part| part["changes"].as_array().unwrap().len()).sum::<usize>(), 5_000);
    assert!(listener.seqs().is_sorted_by(|a, b| a < b));
    muster.is_whole();
}

#[test]
fn of_two_who_relay_one_tells_and_the_other_goes_on_when_it_dies_or_freezes() {
    let (url, prefix) = (address().unwrap(), prefix());
    let muster = Muster::new(On::Postgres);
    let serve = || Served::start(&muster, &["--roles", "relay,projector", "--amqp", &url, "--amqp-prefix", &prefix]);
    let mut listener = Listener::start(&url, &prefix);
    let first = serve();
    listener.hear("muster.organisation.settings_changed");
    let second = serve();
    sync(&muster, 1_500, "One");
    listener.parts(2);
    assert_eq!(second.metric("muster_events_told_total"), 0.0, "one at a time");
    first.signal("STOP");
    sync(&muster, 1_500, "Two");
    listener.parts(4);
    until("the second to count what it told", || second.metric("muster_events_told_total") >= 2.0);
    first.signal("CONT");
    let third = serve();
    second.kill();
    sync(&muster, 1_500, "Three");
    let parts = listener.parts(6);
    assert_eq!(parts.iter().map(|part| part["changes"].as_array().unwrap().len()).sum::<usize>(), 4_500);
    assert!(listener.seqs().is_sorted_by(|a, b| a < b));
    muster.projected();
    for served in [first, third] {
        assert!(served.end().success());
    }
    muster.is_whole();
}

#[test]
fn what_was_applied_while_the_broker_was_away_is_told_when_it_is_back() {
    let mut broker = Broker::start().unwrap();
    let muster = Muster::new(On::Postgres);
    // The queue is durable, and keeps what comes while the example does not listen.
    let mut listener = Listener::start(broker.url(), "muster");
    let served = Served::start(&muster, &["--roles", "relay,projector", "--amqp", broker.url()]);
    listener.hear("muster.organisation.settings_changed");
    drop(listener);
    broker.stop().unwrap();
    until("the loss of the broker", || served.get("/readyz").json()["status"] == "degraded");
    sync(&muster, 1_500, "Sales");
    until("an attempt to tell", || served.metric("muster_events_failures_total") > 0.0);
    broker.start_again().unwrap();
    let mut listener = Listener::start(broker.url(), "muster");
    let parts = listener.parts(2);
    assert_eq!(parts.iter().map(|part| part["changes"].as_array().unwrap().len()).sum::<usize>(), 1_500);
    muster.projected();
    assert!(served.end().success());
    muster.is_whole();
}
