//! Measures how long it takes until what was committed can be read, in a process that serves:
//! `lag DATABASE-URL DATA-DIRECTORY FEED [AMQP-URL]`, of a database without organisations.
//!
//! First a first import of the feed, until a search of the directory reflects it; then searches; then changes of one person
//! in that organisation, one after the other, until the directory reflects each; and the same while others change people in
//! other organisations as fast as they can.

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use muster_bus::{Bus, Settings as Broker};
use muster_domain::{
    directory::Query,
    ids::OrganisationId,
    settings::{Channel, Mode, Settings},
};
use muster_engine::{
    Engine, Organisation,
    hand::Edit,
    pipeline::Request,
    projections::{
        directory::{DIRECTORY, SearchRequest},
        reading::Wait,
    },
    serve::{Figures, Pace, Role, Serving},
};
use serde_json::json;
use tokio::sync::watch;

/// Changes of one person that are timed, at rest and under load.
const CHANGES: usize = 300;
/// Searches that are timed.
const SEARCHES: usize = 20;
/// Organisations in which others are at work.
const OTHERS: usize = 4;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn until(seq: u64) -> Wait {
    Wait { until: Some(seq), at_most: Duration::from_secs(300), work: false }
}

/// Waits until the directory reflects all that is committed.
async fn reflected(engine: &Engine, org: OrganisationId) -> Outcome<()> {
    let last = engine.store.head(org).await?.last_seq;
    engine.read_model(org, &DIRECTORY, until(last)).await?;
    Ok(())
}

async fn organisation(engine: &Engine, slug: &str) -> Outcome<Organisation> {
    let mut settings = Settings::default();
    settings.guards.first_import = false;
    engine.create_organisation(slug, settings).await?;
    Ok(engine.organisation(slug).await?)
}

async fn sync(engine: &Engine, slug: &str, feed: &mut (dyn std::io::Read + Send)) -> Outcome<()> {
    let request = Request { mode: Some(Mode::Full), channel: Some(Channel::Api), ..Request::default() };
    let report = engine.sync(slug, request, feed).await?;
    if report.state.word() == "applied" { Ok(()) } else { Err(format!("the import is {:?}", report.state).into()) }
}

async fn change(engine: &Engine, slug: &str, key: &str, n: u64) -> Outcome<()> {
    let fields = vec![("department".to_owned(), format!("Department {n}"))];
    let report = engine.by_hand(slug, Edit::Set { key: key.into(), fields }, None).await?;
    if report.state.word() == "applied" { Ok(()) } else { Err(format!("a change is {:?}", report.state).into()) }
}

/// Milliseconds: the median and the 99th percentile.
fn figures(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
    (at(0.5), at(0.99))
}

/// From the answer to a change until the directory reflects it.
async fn lag(engine: &Engine, org: &Organisation, key: &str) -> Outcome<(f64, f64)> {
    let mut times = Vec::new();
    for n in 0..CHANGES {
        change(engine, &org.row.slug, key, n as u64).await?;
        let committed = Instant::now();
        reflected(engine, org.row.id).await?;
        times.push(committed.elapsed());
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    Ok(figures(times))
}

async fn searches(engine: &Engine, org: &Organisation) -> Outcome<(f64, f64)> {
    let mut times = Vec::new();
    for n in 0..SEARCHES {
        let query = Query { text: format!("ann {n}"), ..Query::default() };
        let request = SearchRequest { query, on: None, limit: 50, after: None, wait: Wait::NOT };
        let began = Instant::now();
        engine.search(org, &request).await?;
        times.push(began.elapsed());
    }
    Ok(figures(times))
}

async fn others(engine: &Engine, stop: &Arc<AtomicBool>, changes: &Arc<AtomicU64>) -> Outcome<()> {
    for n in 0..OTHERS {
        let slug = format!("other-{n}");
        organisation(engine, &slug).await?;
        sync(engine, &slug, &mut &b"employee_id,first_name,last_name\nE1,Anna,Schmidt\nE2,Ben,Weber\n"[..]).await?;
        let (engine, stop, changes) = (engine.clone(), stop.clone(), changes.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let n = changes.fetch_add(1, Ordering::Relaxed);
                if let Err(e) = change(&engine, &slug, "E1", n).await {
                    if !stop.load(Ordering::Relaxed) {
                        eprintln!("{e}");
                    }
                    return;
                }
            }
        });
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, directory, feed, amqp @ ..] = &arguments[..] else {
        return Err("say lag DATABASE-URL DATA-DIRECTORY FEED [AMQP-URL]".into());
    };
    muster_store::Store::migrate(url).await?;
    let engine = Engine::open(url, Path::new(directory), "bench").await?;
    let bus = amqp.first().map_or(Ok(Bus::in_process()), |url| Bus::amqp(Broker::new(url)))?;
    let (tell, stop) = watch::channel(false);
    let serving = Serving {
        engine: engine.clone(),
        bus: bus.clone(),
        alone: amqp.is_empty(),
        pace: Pace::default(),
        figures: Arc::new(Figures::default()),
    };
    let serving = tokio::spawn(async move { serving.run(&Role::ALL.into_iter().collect(), stop).await });
    let org = organisation(&engine, "bench").await?;

    let began = Instant::now();
    sync(&engine, "bench", &mut File::open(feed)?).await?;
    let imported = began.elapsed();
    reflected(&engine, org.row.id).await?;
    let (searchable, members) = (began.elapsed(), engine.store.head(org.row.id).await?.next_member);
    let (search, search_99) = searches(&engine, &org).await?;

    let first = SearchRequest { query: Query::default(), on: None, limit: 1, after: None, wait: Wait::NOT };
    let somebody = engine.search(&org, &first).await?.members.into_iter().next().ok_or("nobody is there")?;
    let (rest, rest_99) = lag(&engine, &org, &somebody.member.key).await?;
    let (over, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    others(&engine, &over, &changes).await?;
    let (before, loaded) = (changes.load(Ordering::Relaxed), Instant::now());
    let (load, load_99) = lag(&engine, &org, &somebody.member.key).await?;
    let beside = (changes.load(Ordering::Relaxed) - before) as f64 / loaded.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);

    let projecting = searchable - imported;
    let found = json!({
        "members": members,
        "import_seconds": imported.as_secs_f64(),
        "searchable_seconds": searchable.as_secs_f64(),
        "projected_a_second": f64::from(members) / projecting.as_secs_f64(),
        "search_ms": search, "search_ms_99": search_99,
        "lag_ms": rest, "lag_ms_99": rest_99,
        "lag_under_load_ms": load, "lag_under_load_ms_99": load_99,
        "other_changes_a_second": beside,
    });
    println!("{found}");
    tell.send(true)?;
    serving.await?;
    bus.close().await;
    engine.store.close().await;
    Ok(())
}
