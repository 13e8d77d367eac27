//! Stress: while sixteen write to four organisations, everything that was committed reaches every consumer exactly: the
//! workers, each projection, and whoever listens to what was applied.

use std::collections::BTreeSet;

use muster_domain::{
    announce::{How, how},
    event::Meta,
    fact::{Fact, State},
    ids::OrganisationId,
    settings::{Channel, Mode, Settings},
};
use muster_engine::{Engine, pipeline::Request, projections::reading::Wait, setting::SettingsRequest};
use muster_testkit::rabbitmq::address;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    muster::{Muster, On, feed},
    served::{Served, prefix, until},
    telling::Listener,
};

const WRITERS: u32 = 16;
const ORGANISATIONS: u32 = 4;
const ROUNDS: u32 = 10;

/// An organisation, and the uploads that were accepted in it.
struct Written {
    organisation: OrganisationId,
    accepted: BTreeSet<Uuid>,
}

fn slug_of(writer: u32) -> String {
    format!("o{}", writer % ORGANISATIONS)
}

/// Takes payloads in, each of which changes all the people that are this writer's own, and gives the uploads. One writer
/// of each organisation changes settings in between, for which it waits like the workers for the lease.
async fn write(engine: Engine, writer: u32) -> Vec<Uuid> {
    let (slug, first) = (slug_of(writer), writer * 10);
    let mut accepted = Vec::new();
    for round in 0..ROUNDS {
        let payload = feed(first..first + 5, &format!("Team {round}"));
        let request = Request { mode: Some(Mode::Partial), channel: Some(Channel::Api), ..Request::default() };
        let report = engine.take_in(&slug, request, &mut payload.as_bytes()).await.unwrap();
        assert_eq!(report.state, State::Received);
        accepted.push(report.upload_id.unwrap().0);
        if writer < ORGANISATIONS {
            let pairs = vec![("payloads.keep_days".to_owned(), (round + 100).to_string())];
            engine.change_settings(&slug, &SettingsRequest { pairs, ..SettingsRequest::default() }).await.unwrap();
        }
    }
    accepted
}

/// Makes the organisations, and lets everybody write at once.
async fn write_all(engine: &Engine) -> Vec<Written> {
    let mut settings = Settings::default();
    settings.set("guard.first_import", "off").unwrap();
    settings.set("guard.removals.max_percent", "off").unwrap();
    let mut written = Vec::new();
    for n in 0..ORGANISATIONS {
        let organisation = engine.create_organisation(&slug_of(n), settings.clone()).await.unwrap();
        written.push(Written { organisation, accepted: BTreeSet::new() });
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let engine = engine.clone();
        writers.spawn(async move { (writer % ORGANISATIONS, write(engine, writer).await) });
    }
    for (n, accepted) in writers.join_all().await {
        written[n as usize].accepted.extend(accepted);
    }
    written
}

/// The log of an organisation, without gaps, and with every upload in it received once and applied once.
async fn log_of(engine: &Engine, written: &Written) -> Vec<Meta> {
    let log = engine.store.events(written.organisation, 0, 100_000).await.unwrap();
    let log: Vec<Meta> = log.into_iter().map(|event| event.meta).collect();
    assert!(log.iter().map(|meta| meta.seq).eq(1..=log.len() as u64), "no gap");
    assert_eq!(written.accepted.len() as u32, WRITERS / ORGANISATIONS * ROUNDS);
    for kind in ["upload.received", "change_set.applied"] {
        let uploads: Vec<Uuid> = log.iter().filter(|meta| meta.kind == kind).map(|meta| meta.correlation).collect();
        assert_eq!(uploads.len(), written.accepted.len(), "{kind} once for each");
        assert_eq!(uploads.into_iter().collect::<BTreeSet<_>>(), written.accepted, "{kind}");
    }
    log
}

/// What people see has each upload once, and each event that is shown at all.
async fn is_shown(engine: &Engine, written: &Written, log: &[Meta]) {
    let shown = engine.activity(written.organisation, None, 100_000, Wait::NOT).await.unwrap();
    assert_eq!(shown.seq, log.len() as u64);
    let all: Vec<(u64, &str)> = shown.activity.iter().rev().map(|told| (told.seq, told.kind.as_str())).collect();
    assert!(all.is_sorted_by(|a, b| a.0 < b.0), "each once");
    let kinds: BTreeSet<&str> = all.iter().map(|told| told.1).collect();
    assert!(kinds.contains("change_set.applied") && kinds.contains("organisation.settings_changed"), "{kinds:?}");
    let of_kinds = log.iter().filter(|meta| kinds.contains(meta.kind.as_str()));
    assert_eq!(all, of_kinds.map(|meta| (meta.seq, meta.kind.as_str())).collect::<Vec<_>>());
    let runs = engine.feed_runs(written.organisation, None, None, 100_000, Wait::NOT).await.unwrap();
    assert_eq!(runs.runs.len(), written.accepted.len());
    assert!(runs.runs.iter().all(|run| run.outcome == State::Applied));
    assert_eq!(runs.runs.iter().map(|run| run.upload.0).collect::<BTreeSet<_>>(), written.accepted);
}

/// The places of all that is told of an organisation: none of its change sets has more than one part.
fn told_of(written: &Written, log: &[Meta]) -> BTreeSet<(String, u64)> {
    let source = format!("/muster/organisations/{}", written.organisation.0);
    let is_told = |meta: &&Meta| how(&Fact::read(meta).unwrap()) != How::NotAtAll;
    log.iter().filter(is_told).map(|meta| (source.clone(), meta.seq)).collect()
}

fn stress(on: On, processes: usize, broker: Option<String>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let (muster, prefix) = (Muster::empty(on), prefix());
    let more: Vec<&str> = broker.iter().flat_map(|url| ["--amqp", url, "--amqp-prefix", &prefix]).collect();
    let mut listener = broker.as_ref().map(|url| Listener::start(url, &prefix));
    let engine = runtime.block_on(Engine::open(&muster.database, muster.dir.path(), "test")).unwrap();
    let served: Vec<Served> = (0..processes).map(|_| Served::start(&muster, &more)).collect();
    let written = runtime.block_on(write_all(&engine));
    let waiting = || runtime.block_on(engine.store.organisations_with_upload_in("received")).unwrap();
    until("the work on all uploads", || waiting().is_empty());
    muster.projected();
    let mut told = BTreeSet::new();
    for written in &written {
        let log = runtime.block_on(log_of(&engine, written));
        runtime.block_on(is_shown(&engine, written, &log));
        told.extend(told_of(written, &log));
    }
    if let Some(listener) = &mut listener {
        listener.hear_so_many(told.len());
        let source = |event: &serde_json::Value| event["source"].as_str().unwrap().to_owned();
        let place = |event: &serde_json::Value| (source(event), event["data"]["seq"].as_u64().unwrap());
        assert_eq!(listener.heard.iter().map(place).collect::<BTreeSet<_>>(), told);
    }
    for served in served {
        assert!(served.end().success());
    }
    muster.is_whole();
}

#[test]
fn what_sixteen_commit_reaches_every_consumer_on_postgres_with_a_broker() {
    stress(On::Postgres, 2, Some(address().unwrap()));
}

#[test]
fn what_sixteen_commit_reaches_every_consumer_on_sqlite() {
    stress(On::Sqlite, 1, None);
}

#[test]
fn what_sixteen_commit_reaches_every_consumer_on_sqlite_with_a_broker() {
    stress(On::Sqlite, 1, Some(address().unwrap()));
}
