//! What was applied is told to other systems, which hear it once and in order by the example in `docs/examples/listen.py`,
//! also where a queue of one organisation is full.

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
pub struct Listener {
    child: Child,
    lines: Receiver<String>,
    /// What it has heard, each message once.
    pub heard: Vec<Value>,
}

impl Listener {
    /// Hears everything.
    pub fn start(url: &str, prefix: &str) -> Listener {
        Listener::to(url, prefix, &format!("{prefix}.test"), "#")
    }

    /// The same with a queue that has a name, and hears what has this key.
    pub fn to(url: &str, prefix: &str, queue: &str, key: &str) -> Listener {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/listen.py");
        // Debian's, which has Debian's pika.
        let mut command = Command::new("/usr/bin/python3");
        let exchange = format!("{prefix}.events");
        command.arg(example).args([url, "--exchange", &exchange, "--queue", queue, "--key", key]);
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
    pub fn parts(&mut self, count: usize) -> Vec<&Value> {
        while self.heard.iter().filter(|event| event["type"] == "muster.change_set.applied").count() < count {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("too few were heard: {e}"));
            self.heard.push(serde_json::from_str(&line).unwrap());
        }
        self.heard.iter().filter(|event| event["type"] == "muster.change_set.applied").map(|e| &e["data"]).collect()
    }

    /// Hears so many messages.
    pub fn hear_so_many(&mut self, count: usize) {
        while self.heard.len() < count {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("too few were heard: {e}"));
            self.heard.push(serde_json::from_str(&line).unwrap());
        }
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
    sync_of(muster, "acme", people, department);
}

fn sync_of(muster: &Muster, slug: &str, people: u32, department: &str) {
    let file = muster.file("next.csv", &feed(0..people, department));
    muster.ok(&["sync", &file, "--org", slug, "--mode", "full"]);
}

/// Makes a second organisation, which comes after acme wherever both are gone through.
fn with_beta(muster: &Muster) {
    muster.ok(&["org", "create", "beta", "--name", "Beta"]);
    muster.ok(&["org", "set", "beta", "guard.first_import=off", "policy.upload=apply"]);
    assert!(id_of(muster, "acme") < id_of(muster, "beta"));
}

/// The identity of an organisation, with which the keys of its messages begin.
fn id_of(muster: &Muster, slug: &str) -> String {
    let log = String::from_utf8(muster.log_of(slug)).unwrap();
    log.split_once(r#""organisation":""#).unwrap().1.split_once('"').unwrap().0.to_owned()
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

#[test]
fn a_full_queue_of_one_organisation_keeps_nobody_else_from_hearing_and_gets_all_of_it_in_order() {
    let broker = Broker::start().unwrap();
    let muster = Muster::new(On::Postgres);
    with_beta(&muster);
    let [acme, beta] = ["acme", "beta"].map(|slug| format!("{}.#", id_of(&muster, slug)));
    let one = r#"{"max-length":1,"overflow":"reject-publish"}"#;
    broker.ctl(["set_policy", "--apply-to", "queues", "one", "^small$", one]).unwrap();
    // The queue stays when its listener has gone.
    drop(Listener::to(broker.url(), "muster", "small", &acme));
    let mut other = Listener::to(broker.url(), "muster", "other", &beta);
    for department in ["Sales", "Service", "Law"] {
        sync(&muster, 2_500, department);
    }
    let served = Served::start(&muster, &["--roles", "relay,projector", "--amqp", broker.url()]);
    for (parts, department) in [(1, "Sales"), (2, "Law")] {
        sync_of(&muster, "beta", 20, department);
        other.parts(parts);
    }
    until("the refusal to be said", || served.get("/readyz").json()["events"]["status"] == "degraded");
    let ready = served.get("/readyz");
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("degraded")));
    assert!(!ready.body.contains(&id_of(&muster, "acme")), "{}", ready.body);
    assert_eq!(served.metric("muster_events_held_organisations"), 1.0);
    let said = served.log();
    let warned: Vec<_> = said.lines().filter(|line| line.contains("is not taken")).collect();
    assert!(warned.len() == 1 && warned[0].contains(&id_of(&muster, "acme")), "{warned:?}");
    let mut listener = Listener::to(broker.url(), "muster", "small", &acme);
    let parts = listener.parts(9);
    assert_eq!(parts.iter().map(|part| part["changes"].as_array().unwrap().len()).sum::<usize>(), 7_500);
    assert!(listener.seqs().is_sorted_by(|a, b| a < b));
    until("nobody to wait", || served.metric("muster_events_held_organisations") == 0.0);
    assert_eq!(served.get("/readyz").json()["events"]["status"], "ok");
    muster.projected();
    assert!(served.end().success());
    muster.is_whole();
}

#[test]
fn a_message_larger_than_the_broker_allows_keeps_nobody_else_from_hearing() {
    let broker = Broker::start().unwrap();
    let muster = Muster::new(On::Postgres);
    with_beta(&muster);
    let limit = |bytes: u32| {
        let set = format!("application:set_env(rabbit, max_message_size, {bytes}).");
        broker.ctl(["eval", &set]).unwrap();
    };
    // It holds for channels that are opened from then on.
    limit(20_000);
    let mut listener = Listener::start(broker.url(), "muster");
    let served = Served::start(&muster, &["--roles", "relay,projector", "--amqp", broker.url()]);
    listener.hear("muster.organisation.settings_changed");
    sync(&muster, 1_000, "Sales");
    until("the refusal to be said", || served.log().contains("larger than configured max size"));
    for (parts, department) in [(1, "Sales"), (2, "Law")] {
        sync_of(&muster, "beta", 20, department);
        assert_eq!(listener.parts(parts).last().unwrap()["changes"].as_array().unwrap().len(), 20);
    }
    limit(1 << 27);
    assert_eq!(listener.parts(3)[2]["changes"].as_array().unwrap().len(), 1_000);
    until("nobody to wait", || served.metric("muster_events_held_organisations") == 0.0);
    muster.projected();
    assert!(served.end().success());
    muster.is_whole();
}
