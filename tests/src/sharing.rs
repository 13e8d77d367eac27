//! Three processes share a thousand small organisations: each does its part, and one may die and another come.

use std::path::Path;

use muster_domain::{
    ids::OrganisationId,
    settings::{Channel, Mode, Settings},
};
use muster_engine::{Engine, pipeline::Request, projections};
use muster_testkit::rabbitmq::address;

use crate::{
    muster::{Muster, On, feed},
    served::{Served, prefix, until},
};

const ORGANISATIONS: usize = 1_000;

/// Makes the organisations, within this process, as a thousand commands would take long.
async fn make(engine: &Engine) -> Vec<OrganisationId> {
    let mut settings = Settings::default();
    settings.set("guard.first_import", "off").unwrap();
    let mut made = Vec::new();
    for n in 0..ORGANISATIONS {
        made.push(engine.create_organisation(&format!("o{n}"), settings.clone()).await.unwrap());
    }
    made
}

/// Takes in a payload for each of them.
async fn take_in(engine: &Engine, department: &str) {
    for n in 0..ORGANISATIONS {
        let request = Request { mode: Some(Mode::Full), channel: Some(Channel::Api), ..Request::default() };
        let payload = feed(0..3, department);
        engine.take_in(&format!("o{n}"), request, &mut payload.as_bytes()).await.unwrap();
    }
}

fn applied(served: &Served) -> usize {
    served.metric(r#"muster_upload_seconds_count{outcome="applied"}"#) as usize
}

/// Steps on projections.
fn projected(served: &Served) -> usize {
    served.metric("muster_projection_steps_total") as usize
}

async fn engine_of(database: &str, data_dir: &Path) -> Engine {
    Engine::open(database, data_dir, "test").await.unwrap()
}

#[test]
fn three_processes_share_a_thousand_organisations_and_one_may_die_and_another_come() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (url, prefix) = (address().unwrap(), prefix());
    let muster = Muster::empty(On::Postgres);
    let engine = runtime.block_on(engine_of(&muster.database, muster.dir.path()));
    let organisations = runtime.block_on(make(&engine));
    let serve = || Served::start(&muster, &["--amqp", &url, "--amqp-prefix", &prefix]);
    let served = [(); 3].map(|()| serve());
    until("the broker", || served.iter().all(|s| s.get("/readyz").json()["status"] == "ok"));
    runtime.block_on(take_in(&engine, "Sales"));
    until("the work of all three", || served.iter().map(applied).sum::<usize>() == ORGANISATIONS);
    let shares = served.each_ref().map(applied);
    assert!(shares.iter().all(|share| share * 5 >= ORGANISATIONS), "each does a fifth at least: {shares:?}");
    muster.projected();
    let steps = served.each_ref().map(projected);
    let all: usize = steps.iter().sum();
    assert!(all >= ORGANISATIONS * projections::all().len(), "each lane was brought on by one of them: {steps:?}");
    assert!(steps.iter().all(|share| share * 5 >= all), "and of projecting each does a fifth at least: {steps:?}");
    let [first, second, third] = served;
    std::thread::scope(|scope| {
        let coming = scope.spawn(|| runtime.block_on(take_in(&engine, "Service")));
        until("some of the second round", || applied(&first) > shares[0] + 30);
        first.kill();
        let fourth = serve();
        coming.join().unwrap();
        until("the work of all that are left", || second.metric("muster_organisations_waiting") == 0.0);
        assert!(applied(&fourth) > 0, "who comes later has a part in it");
        muster.projected();
        for served in [second, third, fourth] {
            assert!(served.end().success());
        }
    });
    let versions = organisations.iter().map(|id| runtime.block_on(engine.store.head(*id)).unwrap().roster_version);
    assert!(versions.into_iter().all(|version| version == 2), "each payload is applied once");
    muster.is_whole();
}
