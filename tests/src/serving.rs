//! Uploads are taken in by one process and worked on by another that serves, with a broker and without.

use muster_testkit::{postgres::Server, rabbitmq::Broker};

use crate::{
    muster::{Muster, On, feed},
    served::{Served, prefix, until},
};

impl Muster {
    /// Takes a payload in, and leaves the work to whoever serves.
    pub fn take_in(&self, department: &str) {
        let file = self.file("next.csv", &feed(0..20, department));
        let report = self.ok(&["sync", &file, "--org", "acme", "--mode", "full", "--no-wait"]);
        assert_eq!(report["state"], "received");
    }

    /// How many uploads are in a state.
    pub fn uploads(&self, state: &str) -> u64 {
        let document = self.ok(&["uploads", "list", "--org", "acme", "--state", state]);
        document["total"].as_u64().unwrap()
    }

    pub fn worked_off(&self) {
        until("the work on all uploads", || self.uploads("received") == 0);
    }

    /// The arrival numbers of applied change sets, in the order in which they were applied.
    pub fn applied(&self) -> Vec<u64> {
        let log = String::from_utf8(self.log()).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let metas: Vec<serde_json::Value> = lines.map(|line| line["meta"].clone()).collect();
        let of = |kind: &str| -> Vec<&serde_json::Value> { metas.iter().filter(|meta| meta["type"] == kind).collect() };
        let arrivals = of("upload.received");
        let arrival = |applied: &&serde_json::Value| {
            let is_of = |received: &&&serde_json::Value| received["correlation"] == applied["correlation"];
            arrivals.iter().find(is_of).expect("an upload")["data"]["arrival"].as_u64().unwrap()
        };
        of("change_set.applied").iter().map(arrival).collect()
    }
}

fn works_in_order_of_arrival(on: On, amqp: Option<&str>) {
    let muster = Muster::new(on);
    let prefix = prefix();
    let broker: Vec<&str> = amqp.map_or(vec![], |url| vec!["--amqp", url, "--amqp-prefix", &prefix]);
    muster.take_in("Before");
    let served = Served::start(&muster, &broker);
    for team in 1..=5 {
        muster.take_in(&format!("Team {team}"));
    }
    muster.worked_off();
    assert_eq!(muster.applied(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(muster.roster().matches("Team 5").count(), 20);
    until("the last upload in the figures", || {
        served.metric(r#"muster_upload_seconds_count{outcome="applied"}"#) == 6.0
    });
    assert_eq!(served.metric(r#"muster_upload_seconds_bucket{le="+Inf",outcome="applied"}"#), 6.0);
    if amqp.is_some() {
        until("bells over the broker", || served.metric("muster_bus_done_total") > 0.0);
    }
    assert!(served.end().success());
    muster.take_in("After");
    assert_eq!(muster.uploads("received"), 1, "nobody serves any more");
    muster.verify();
}

#[test]
fn uploads_are_worked_on_in_order_of_arrival_on_sqlite() {
    works_in_order_of_arrival(On::Sqlite, None);
}

#[test]
fn uploads_are_worked_on_in_order_of_arrival_on_postgres_without_a_broker() {
    works_in_order_of_arrival(On::Postgres, None);
}

#[test]
fn uploads_are_worked_on_in_order_of_arrival_on_postgres_with_a_broker() {
    works_in_order_of_arrival(On::Postgres, Some(&muster_testkit::rabbitmq::address().unwrap()));
}

#[test]
fn whoever_runs_it_can_ask_whether_it_lives_is_ready_and_what_happened() {
    let muster = Muster::new(On::Sqlite);
    let served = Served::start(&muster, &["--roles", "relay"]);
    let lives = served.get("/livez");
    assert_eq!((lives.status, lives.body.as_str()), (200, "ok\n"));
    let ready = served.get("/readyz");
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ok")));
    let metrics = served.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.headers.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        metrics.headers
    );
    assert!(metrics.body.ends_with("# EOF\n"), "{}", metrics.body);
    assert_eq!(served.metric("muster_bus_connected"), 1.0);
    until("a bell for acme", || served.metric("muster_relay_rung_total") >= 1.0);
    muster.take_in("Sales");
    assert_eq!(served.metric("muster_organisations_waiting"), 1.0, "no worker is here");
    assert_eq!(served.get("/elsewhere").status, 404);
}

#[test]
fn with_the_broker_away_it_is_ready_and_degraded_and_uploads_are_worked_on_all_the_same() {
    let mut broker = Broker::start().unwrap();
    let muster = Muster::new(On::Postgres);
    let served = Served::start(&muster, &["--amqp", broker.url()]);
    until("the broker", || served.get("/readyz").json()["status"] == "ok");
    broker.stop().unwrap();
    until("the loss of the broker", || served.get("/readyz").json()["status"] == "degraded");
    let ready = served.get("/readyz");
    assert_eq!((ready.status, ready.json()["database"].as_str()), (200, Some("ok")));
    assert!(!ready.body.contains(broker.password()));
    muster.take_in("Sales");
    muster.worked_off();
    broker.start_again().unwrap();
    until("the broker", || served.get("/readyz").json()["status"] == "ok");
    let before = served.metric("muster_bus_done_total");
    muster.take_in("Service");
    until("a bell over the broker", || served.metric("muster_bus_done_total") > before);
    muster.worked_off();
    assert!(!served.log().contains(broker.password()));
    assert!(served.end().success());
    muster.verify();
}

#[test]
fn with_the_database_away_it_is_not_ready_and_comes_back_by_itself() {
    let server = Server::start().unwrap();
    let muster = Muster::on_server(&server);
    let served = Served::start(&muster, &[]);
    muster.take_in("Sales");
    muster.worked_off();
    server.stop().unwrap();
    until("the loss of the database", || served.get("/readyz").status == 503);
    assert_eq!(served.get("/readyz").json()["status"], "unavailable");
    assert_eq!(served.get("/livez").status, 200);
    assert_eq!(served.get("/metrics").status, 200);
    server.start_again().unwrap();
    until("the database", || served.get("/readyz").status == 200);
    muster.take_in("Service");
    muster.worked_off();
    assert_eq!(muster.roster().matches("Service").count(), 20);
    assert!(served.end().success());
    muster.verify();
}
