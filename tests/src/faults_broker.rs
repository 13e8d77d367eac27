//! Uploads come through whatever happens to the broker: none is lost, none is applied twice, none out of order, and what
//! people look at is what a rebuild would come to.

use std::process::Command;

use muster_testkit::rabbitmq::Broker;

use crate::{
    muster::{Muster, On},
    served::{Served, until},
};

/// As many as the uploads that were taken in, each applied once and in order of arrival; and projected by whoever serves
/// to what a rebuild comes to.
pub fn all_applied(muster: &Muster, count: u64) {
    muster.worked_off();
    let applied = muster.applied();
    assert!(applied.iter().copied().eq(1..=count), "{applied:?}");
    muster.projected();
    muster.is_whole();
}

/// The queues of doorbells.
pub const QUEUES: [&str; 2] = ["muster.worker", "muster.projector"];

#[test]
fn a_broker_stopped_and_started_in_the_middle_of_fifty_uploads() {
    let mut broker = Broker::start().unwrap();
    let muster = Muster::new(On::Postgres);
    let url = broker.url().to_owned();
    let served = [(); 2].map(|()| Served::start(&muster, &["--amqp", &url]));
    for n in 0..50 {
        match n {
            15 => broker.stop().unwrap(),
            35 => broker.start_again().unwrap(),
            _ => {}
        }
        muster.take_in(&format!("Team {n}"));
    }
    all_applied(&muster, 50);
    until("the broker", || served.iter().all(|s| s.get("/readyz").json()["status"] == "ok"));
    for served in served {
        assert!(served.end().success());
    }
}

#[test]
fn purged_queues_cost_only_time() {
    let broker = Broker::start().unwrap();
    let muster = Muster::new(On::Postgres);
    let relay = Served::start(&muster, &["--amqp", broker.url(), "--roles", "relay"]);
    for n in 0..3 {
        muster.take_in(&format!("Team {n}"));
    }
    until("the bells in both queues", || {
        let waiting = broker.ctl(["list_queues", "name", "messages"]).unwrap();
        QUEUES.iter().all(|queue| waiting.lines().any(|line| line.starts_with(queue) && !line.ends_with("\t0")))
    });
    relay.kill();
    for queue in QUEUES {
        broker.ctl(["purge_queue", queue]).unwrap();
    }
    let served = Served::start(&muster, &["--amqp", broker.url(), "--roles", "worker,projector"]);
    all_applied(&muster, 3);
    assert!(served.end().success());
}

/// Rings for an organisation what it is told to, as the relay would.
const RING: &str = "
import json, pika, sys
url, queue, organisation, *numbers = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
# Each is confirmed: what is on its way when a process ends may be lost.
channel.confirm_delivery()
for number in numbers:
    bell = {'v': 1, 'organisation': organisation, 'up_to': int(number)}
    channel.basic_publish('', queue, json.dumps(bell))
connection.close()
";

#[test]
fn bells_that_come_twice_and_in_reverse_do_no_harm() {
    let broker = Broker::start().unwrap();
    let muster = Muster::new(On::Postgres);
    let log = String::from_utf8(muster.log()).unwrap();
    let organisation = log.split_once(r#""organisation":""#).unwrap().1.split_once('"').unwrap().0;
    let served = [(); 2].map(|()| Served::start(&muster, &["--amqp", broker.url(), "--roles", "worker,projector"]));
    until("the broker", || served.iter().all(|s| s.get("/readyz").json()["status"] == "ok"));
    for n in 0..10 {
        muster.take_in(&format!("Team {n}"));
    }
    let numbers: Vec<String> = (1..=40).rev().flat_map(|n| [n, n]).map(|n: u32| n.to_string()).collect();
    for queue in QUEUES {
        let mut ring = Command::new("/usr/bin/python3");
        let ring = ring.args(["-c", RING, broker.url(), queue, organisation]).args(&numbers).status().unwrap();
        assert!(ring.success());
    }
    all_applied(&muster, 10);
    until("all bells", || served.iter().map(|s| s.metric("muster_bus_done_total")).sum::<f64>() >= 160.0);
    assert_eq!(muster.applied().len(), 10);
    muster.is_whole();
    for served in served {
        assert!(served.end().success());
    }
}
