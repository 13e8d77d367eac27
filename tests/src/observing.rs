//! What a process that serves writes and shows of itself: enough to follow an upload, and nothing of anybody in a feed.

use muster_domain::event::NewEvent;
use muster_engine::Engine;
use muster_testkit::{postgres::Server, rabbitmq::address};
use serde_json::{Value, value::RawValue};
use uuid::Uuid;

use crate::{
    muster::{Muster, On},
    served::{Served, prefix, until},
};

const PLANTED: [&str; 8] = ["zqkey", "zqfirst", "zqlast", "zqmail", "zqdept", "zqfile", "zqdatabase", "zqbroker"];

fn people(count: u32, department: &str) -> String {
    let row = |n| format!("ZQkey{n},zqmail{n}@x.example,ZQfirst{n},ZQlast{n},ZQdept {department}\n");
    let rows: String = (1..=count).map(row).collect();
    format!("Employee ID,Email,First Name,Last Name,Department\n{rows}")
}

/// The password in an address.
fn password(url: &str) -> &str {
    url.split_once("://").unwrap().1.split_once('@').unwrap().0.split_once(':').unwrap().1
}

#[test]
fn an_upload_can_be_followed_by_its_correlation_in_a_log_of_json() {
    let muster = Muster::new(On::Sqlite);
    let served = Served::start(&muster, &["-v", "-v", "--log-format", "json"]);
    let file = muster.file("people.csv", &people(20, "one"));
    let report = muster.ok(&["sync", &file, "--org", "acme", "--mode", "full", "--no-wait"]);
    let upload = report["upload_id"].as_str().unwrap();
    let lines = || -> Vec<Value> {
        let log = served.log();
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    };
    let of_upload = |line: &Value| {
        line["span"]["correlation"] == upload
            && line["message"] == "an upload was worked on"
            && line["state"] == "applied"
    };
    until("the upload in the log", || lines().iter().any(of_upload));
    // On to everything that people look at.
    for projection in muster_engine::projections::all() {
        let of_projection = |line: &Value| {
            line["span"]["correlation"] == upload
                && line["message"] == "an event was projected"
                && (&line["projection"], &line["kind"]) == (&projection.name().into(), &"change_set.applied".into())
        };
        until(projection.name(), || lines().iter().any(of_projection));
    }
    until("its events in the figures", || served.metric("muster_events_appended_total") >= 6.0);
    let config = muster.file("muster.toml", "log_format = 'json'");
    let other = Served::start(&muster, &["--roles", "worker", "--config", &config]);
    assert!(served.end().success());
    let file = muster.file("people.csv", &people(20, "two"));
    muster.ok(&["sync", &file, "--org", "acme", "--mode", "full", "--no-wait"]);
    until("JSON by the file", || other.log().lines().any(|line| serde_json::from_str::<Value>(line).is_ok()));
}

/// Lets every part that works on a log or a document meet something of which no error may quote what stands in it: an
/// event that no projection can take, and an upload that no worker can work on.
fn damage(muster: &Muster, served: &Served) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = Engine::open(&muster.database, muster.dir.path(), "test").await.unwrap();
        let acme = engine.organisation("acme").await.unwrap().row.id;
        let poison = NewEvent {
            id: Uuid::now_v7(),
            stream: "organisation".into(),
            expected_version: None,
            kind: "change_set.applied".into(),
            schema: 1,
            data: RawValue::from_string(r#"{"change_set":"ZQlast1","selection":"ZQkey1","state":"ZQdept"}"#.into())
                .unwrap(),
            body: None,
        };
        let mut tx = engine.store.begin(acme, None).await.unwrap();
        tx.append(vec![poison], &engine.who(Uuid::now_v7())).await.unwrap();
        tx.commit().await.unwrap();
        engine.store.close().await;
    });
    let parked = |projection| served.metric(&format!("muster_projection_parked_lanes{{projection=\"{projection}\"}}"));
    for projection in muster_engine::projections::all() {
        until(projection.name(), || parked(projection.name()) == 1.0);
    }
    until("what cannot be told", || served.log().contains("what was applied could not be told"));
    muster.ok(&["org", "create", "beta", "--name", "Beta"]);
    served.signal("STOP");
    until("it to stand", || served.is_frozen());
    let file = muster.file("zqfile.csv", &people(20, "six"));
    muster.ok(&["sync", &file, "--org", "beta", "--mode", "full", "--no-wait"]);
    let damage = r#"UPDATE upload SET doc = convert_to('{"state":"ZQlast1","received":{"upload":"ZQkey1"}}', 'UTF8')
        WHERE org = (SELECT id FROM organisation WHERE slug = 'beta')"#;
    let mut psql = muster_testkit::postgres::program("psql").unwrap();
    assert!(psql.args([&muster.database, "-qc", damage]).status().unwrap().success());
    served.signal("CONT");
    until("the worker's failure", || served.metric("muster_upload_failures_total") > 0.0);
}

#[test]
fn nothing_of_anybody_and_no_password_is_in_logs_and_metrics() {
    let server = Server::start().unwrap();
    let mut muster = Muster::on_server(&server);
    muster.database = server.url().replacen("postgres@localhost", "postgres:zqdatabase@localhost", 1);
    let (url, prefix) = (address().unwrap(), prefix());
    muster.ok(&["org", "set", "acme", "events.values=on"]);
    let wrong = url.replacen(password(&url), "zqbroker", 1);
    let broker = |url: &str| ["-v", "-v", "--amqp", url, "--amqp-prefix", &prefix].map(str::to_owned);
    let serve = |url: &str| {
        let args = broker(url);
        Served::start(&muster, &args.each_ref().map(String::as_str))
    };
    let (served, refused) = (serve(&url), serve(&wrong));
    until("the broker's refusal", || refused.get("/readyz").body.contains("does not let"));
    let bad = format!("{}ZQkey1,zqmail,ZQfirst\n,zqmail,\"ZQfirst", people(25, "three"));
    for text in [people(20, "one"), people(21, "two"), bad, people(1, "four"), people(22, "five")] {
        let file = muster.file("zqfile.csv", &text);
        muster.ok(&["sync", &file, "--org", "acme", "--mode", "full", "--no-wait"]);
    }
    let waiting = || muster.ok(&["uploads", "list", "--org", "acme", "--state", "received"])["total"] != 0;
    until("the work on all uploads", || !waiting());
    until("something told", || served.metric("muster_events_told_total") > 0.0);
    damage(&muster, &served);
    let mut said = muster.ok(&["projections", "status"]).to_string();
    assert!(said.contains("cannot be read by this version"), "{said}");
    let mut look = |served: &Served| {
        for path in ["/livez", "/readyz", "/metrics"] {
            said.push_str(&served.get(path).body);
        }
        said.push_str(&served.log());
    };
    look(&served);
    server.stop().unwrap();
    until("the loss of the database", || served.get("/readyz").status == 503);
    until("a failure in the log", || served.log().contains("tries again"));
    look(&served);
    look(&refused);
    let lower = said.to_lowercase();
    assert!(lower.contains("stage done") && lower.contains("an event was projected"), "the log was on");
    let planted = PLANTED.iter().copied().chain([password(&url)]);
    let found: Vec<&str> = planted.filter(|word| lower.contains(word)).collect();
    assert_eq!(found, Vec::<&str>::new());
}
