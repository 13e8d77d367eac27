//! A relay killed between sending a message and its confirm: nobody knows whether the broker has it, so it is sent again.

use muster_engine::Engine;
use muster_testkit::rabbitmq::Broker;

use crate::{
    faults_broker::{QUEUES, all_applied},
    muster::{Muster, On},
    served::{Served, until},
    telling::Listener,
};

/// Freezes a relay where a message is on its way and its confirm is not awaited yet, and kills it once the broker has the
/// message: so it was sent, and whether it was confirmed nobody has noted.
fn killed_once_sent(muster: &Muster, broker: &Broker, point: &str, queues: &[&str]) {
    let relay = Served::begin(muster, &["--roles", "relay", "--amqp", broker.url()], |command| {
        command.env("MUSTER_FREEZE_AT", point);
    });
    until("the relay to be frozen", || relay.is_frozen());
    until("the message at the broker", || queues.iter().all(|queue| messages(broker, queue) == 1));
    relay.kill();
}

/// How many messages are in a queue.
pub fn messages(broker: &Broker, queue: &str) -> u64 {
    let queues = broker.ctl(["list_queues", "name", "messages"]).unwrap();
    let found = queues.lines().find_map(|line| line.strip_prefix(queue)?.strip_prefix('\t'));
    found.map_or(0, |count| count.trim().parse().unwrap())
}

/// Whether a mark stands before the end of a log.
fn is_untold(muster: &Muster, mark: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = Engine::open(&muster.database, muster.dir.path(), "test").await.unwrap();
        let untold = engine.store.untold(mark).await.unwrap();
        engine.store.close().await;
        !untold.is_empty()
    })
}

#[test]
fn a_relay_killed_between_sending_a_bell_and_its_confirm_rings_again() {
    let broker = Broker::start().unwrap();
    let muster = Muster::new(On::Postgres);
    muster.take_in("One");
    killed_once_sent(&muster, &broker, "doorbells_sent", &QUEUES);
    assert!(is_untold(&muster, "doorbells"), "the mark waits for the confirm");
    let relay = Served::start(&muster, &["--roles", "relay", "--amqp", broker.url()]);
    until("the mark", || !is_untold(&muster, "doorbells"));
    until("the bells once more", || QUEUES.iter().all(|queue| messages(&broker, queue) == 2));
    let served = Served::start(&muster, &["--roles", "worker,projector", "--amqp", broker.url()]);
    all_applied(&muster, 1);
    until("the end of all bells", || QUEUES.iter().all(|queue| messages(&broker, queue) == 0));
    for served in [relay, served] {
        assert!(served.end().success());
    }
}

#[test]
fn a_relay_killed_between_sending_an_event_and_its_confirm_tells_it_again() {
    let broker = Broker::start().unwrap();
    let muster = Muster::new(On::Postgres);
    // The queue stays when its listener has gone.
    drop(Listener::to(broker.url(), "muster", "kept", "#"));
    let worker = Served::start(&muster, &["--roles", "worker", "--amqp", broker.url()]);
    muster.take_in("One");
    muster.worked_off();
    killed_once_sent(&muster, &broker, "events_sent", &["kept"]);
    assert!(is_untold(&muster, "events"), "the mark waits for the confirm");
    let relay = Served::start(&muster, &["--roles", "relay,projector", "--amqp", broker.url()]);
    until("the mark", || !is_untold(&muster, "events"));
    until("the feed twice, then the settings and the people", || messages(&broker, "kept") == 4);
    let mut listener = Listener::to(broker.url(), "muster", "kept", "#");
    assert_eq!(listener.parts(1)[0]["changes"].as_array().unwrap().len(), 20);
    assert_eq!(listener.heard.len(), 3, "and the example takes each once");
    all_applied(&muster, 1);
    for served in [worker, relay] {
        assert!(served.end().success());
    }
}
