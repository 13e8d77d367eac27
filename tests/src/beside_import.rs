//! Reads and small writes go on beside a first import of a million people.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use muster_domain::{
    guard::Asked,
    settings::{Channel, Mode},
};
use muster_engine::{
    Engine, Organisation,
    hand::Edit,
    members::By,
    pipeline::Request,
    projections::{self, reading::Wait},
};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    muster::{Muster, On, binary, feed},
    served::Served,
};

const MILLION: u32 = 1_000_000;
/// People of the other organisation.
const PEOPLE: u32 = 200;
/// Between two reads: 200 a second.
const PACE: Duration = Duration::from_millis(5);
/// Reads after which is looked whether the import has ended.
const BATCH: u32 = 100;
/// Longer than this nobody may wait for a small thing.
const LIMIT: Duration = Duration::from_secs(10);

/// A feed of a million people.
fn write_million(path: &Path) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    writeln!(out, "Employee ID,First Name,Last Name,Work Email,Date of Birth,Department").unwrap();
    for i in 0..MILLION {
        let (year, month, day) = (1950 + i % 55, i % 12 + 1, i % 28 + 1);
        writeln!(out, "E{i:07},First{},Last{i},p{i}@example.com,{year}-{month:02}-{day:02},Team {}", i % 500, i % 40)
            .unwrap();
    }
    out.flush().unwrap();
}

/// Time as this process lives it: while everything here is stopped, as when a machine sleeps, it stands still.
#[derive(Clone, Default)]
struct Lived(Arc<AtomicU64>);

impl Lived {
    fn begin() -> Lived {
        let lived = Lived::default();
        let counted = Arc::downgrade(&lived.0);
        std::thread::spawn(move || {
            while let Some(counted) = counted.upgrade() {
                let began = Instant::now();
                std::thread::sleep(Duration::from_millis(10));
                counted.fetch_add(began.elapsed().as_millis().min(500) as u64, Ordering::Relaxed);
            }
        });
        lived
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// What was done while the import went on: how often, and the longest that any of it took.
#[derive(Clone, Copy, Debug, Default)]
struct Made {
    count: u32,
    longest: Duration,
}

impl Made {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.longest = self.longest.max(took);
    }
}

/// One read of another kind each time.
async fn read(engine: &Engine, org: &Organisation, n: u32) {
    let key = format!("E{:04}", n % PEOPLE);
    match n % 4 {
        0 => assert!(engine.check(org, By::Any(&key), None, None, |_| true).await.unwrap().answer.eligible),
        1 => assert_eq!(engine.member(org, &key).await.unwrap().key, key),
        2 => assert_eq!(engine.organisation("acme").await.unwrap().row.slug, "acme"),
        _ => {
            let directory = projections::named("directory").unwrap();
            engine.read_model(org.row.id, directory, Wait::NOT).await.unwrap();
        }
    }
}

/// Sets one person's department.
async fn change(engine: Engine, n: u32) {
    let fields = vec![("department".to_owned(), format!("Team {n}"))];
    let edit = Edit::Set { key: format!("E{:04}", n % PEOPLE).into(), fields };
    let report = engine.by_hand("other", edit, Some(Asked::Apply)).await.unwrap();
    assert_eq!(report.state.word(), "applied");
}

/// Takes in a payload of one person of the organisation that is imported; it waits its turn.
async fn take_in(engine: Engine, n: u32) {
    let request = Request { mode: Some(Mode::Partial), channel: Some(Channel::Api), ..Request::default() };
    let payload = format!("Employee ID,Department\nE0000001,Moved {n}\n");
    engine.take_in("acme", request, &mut payload.as_bytes()).await.unwrap();
}

/// Does one small thing after another until it is told to stop.
async fn over_and_over<F: Future<Output = ()>>(
    lived: Lived,
    stopped: watch::Receiver<bool>,
    pause: Duration,
    small: impl Fn(u32) -> F,
) -> Made {
    let mut made = Made::default();
    while !*stopped.borrow() {
        let began = lived.now();
        small(made.count).await;
        made.add(lived.now() - began);
        tokio::time::sleep(pause).await;
    }
    made
}

/// Reads at its pace for as long as the import goes on, whether or not earlier reads are answered.
async fn read_at_pace(engine: Engine, lived: Lived, import: &mut Child) -> Made {
    let org = Arc::new(engine.organisation("other").await.unwrap());
    let (mut ticks, mut reads) = (tokio::time::interval(PACE), JoinSet::new());
    let (mut made, mut asked) = (Made::default(), 0);
    while import.try_wait().unwrap().is_none() {
        let began = Instant::now();
        for _ in 0..BATCH {
            ticks.tick().await;
            let (engine, org, lived) = (engine.clone(), org.clone(), lived.clone());
            reads.spawn(async move {
                let began = lived.now();
                read(&engine, &org, asked).await;
                lived.now() - began
            });
            asked += 1;
        }
        while let Some(read) = reads.try_join_next() {
            made.add(read.unwrap());
        }
        // Ticks that were missed are made up for, but not those of a time in which everything stood still.
        if began.elapsed() > 2 * BATCH * PACE {
            ticks.reset();
        }
    }
    reads.join_all().await.into_iter().for_each(|took| made.add(took));
    made
}

/// When events of a kind were recorded.
async fn recorded(engine: &Engine, slug: &str, kind: &str) -> Vec<DateTime<Utc>> {
    let id = engine.organisation(slug).await.unwrap().row.id;
    let (mut found, mut seq) = (Vec::new(), 0);
    loop {
        let events = engine.store.bare_events(id, seq, 256).await.unwrap();
        for event in &events {
            seq = event.seq;
            if event.kind() == Some(kind) {
                found.push(event.clone().open().unwrap().meta.recorded_at);
            }
        }
        if events.is_empty() {
            return found;
        }
    }
}

async fn beside(on: On, engine: &Engine, import: &mut Child) {
    let acme = engine.organisation("acme").await.unwrap().row.id;
    while engine.store.lease_holder(acme).await.unwrap().is_none() {
        assert!(import.try_wait().unwrap().is_none(), "the import is at work");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (lived, (stop, stopped)) = (Lived::begin(), watch::channel(false));
    let (one, other) = (engine.clone(), engine.clone());
    let (soon, later) = (Duration::from_millis(200), Duration::from_secs(1));
    let changes = over_and_over(lived.clone(), stopped.clone(), soon, move |n| change(one.clone(), n));
    // All of these wait for the import, and are worked on behind it.
    let taken_in = over_and_over(lived.clone(), stopped, later, move |n| take_in(other.clone(), n));
    let (changes, taken_in) = (tokio::spawn(changes), tokio::spawn(taken_in));
    let reads = read_at_pace(engine.clone(), lived.clone(), import).await;
    let took = lived.now();
    stop.send(true).unwrap();
    let (changes, taken_in) = (changes.await.unwrap(), taken_in.await.unwrap());
    println!("in {took:?}: reads {reads:?}, changes {changes:?}, payloads taken in {taken_in:?}");
    assert!(import.wait().unwrap().success());
    assert!(reads.count * 10 >= took.as_secs() as u32 * 200 * 9, "200 a second");
    assert!(reads.longest < LIMIT);
    // A file has one writer at a time, and a build that is not optimised applies a million changes for longer than that.
    if on == On::Postgres || binary().iter().any(|part| part == "release") {
        assert!(changes.longest < LIMIT);
    }
    let began = recorded(engine, "acme", "upload.received").await[0];
    let applied = recorded(engine, "acme", "change_set.applied").await[0];
    let between =
        recorded(engine, "other", "change_set.applied").await.into_iter().filter(|at| (began..applied).contains(at));
    assert!(between.count() > 1, "the changes went on while the import did");
    let waited =
        recorded(engine, "acme", "upload.received").await.into_iter().filter(|at| (began..applied).contains(at));
    assert!(waited.count() > 1, "payloads of the same organisation were taken in while the import went on");
}

fn goes_on_beside_an_import(on: On) {
    let muster = Muster::new(on);
    muster.ok(&["org", "create", "other", "--name", "Other"]);
    muster.ok(&["org", "set", "other", "guard.first_import=off", "policy.upload=apply"]);
    let few = muster.file("few.csv", &feed(0..PEOPLE, "Sales"));
    muster.ok(&["sync", &few, "--org", "other", "--mode", "full"]);
    let million = muster.dir.path().join("million.csv");
    write_million(&million);
    let served = Served::start(&muster, &[]);
    muster.projected();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let engine = runtime.block_on(Engine::open(&muster.database, muster.dir.path(), "test")).unwrap();
    let mut import = muster.command(&["sync", million.to_str().unwrap(), "--org", "acme", "--mode", "full"]);
    let mut import = import.stdout(Stdio::null()).spawn().unwrap();
    runtime.block_on(beside(on, &engine, &mut import));
    muster.worked_off();
    muster.projected();
    assert!(served.end().success());
    muster.is_whole();
}

#[test]
fn reads_and_small_changes_go_on_beside_a_first_import_of_a_million_on_sqlite() {
    goes_on_beside_an_import(On::Sqlite);
}

#[test]
fn reads_and_small_changes_go_on_beside_a_first_import_of_a_million_on_postgres() {
    goes_on_beside_an_import(On::Postgres);
}
