//! Projections: they follow from the log however it is cut, say how far they have come, and one that stands stops no other.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use muster_domain::{event::NewEvent, ids::OrganisationId, settings::Settings};
use muster_engine::{
    Engine, Error, Organisation,
    pipeline::Request,
    projections::{
        Event, Projection, Rows, Taking, activity::Activities, lanes::Standing, number, reading::Wait, runner::Progress,
    },
    sizes::Sizes,
};
use muster_store::read_model::{self, LaneState, Range, Step, Writes};
use muster_testkit::database::{Database, Engine as On, fresh};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::rules_given::{csv, full, moved, partial, person, staff};

/// An engine over a fresh database.
pub struct World {
    pub engine: Engine,
    pub database: Database,
    _dir: tempfile::TempDir,
}

impl World {
    pub async fn on(on: On) -> World {
        let (database, dir) = (fresh(on).await, tempfile::tempdir().unwrap());
        let engine = Engine::open(&database.url, dir.path(), "tester").await.unwrap();
        World { engine, database, _dir: dir }
    }

    /// An organisation whose payloads are applied as they come.
    pub async fn organisation(&self, slug: &str) -> Organisation {
        let mut settings = Settings::default();
        settings.guards.first_import = false;
        self.engine.create_organisation(slug, settings).await.unwrap();
        self.engine.organisation(slug).await.unwrap()
    }

    pub async fn sync(&self, slug: &str, request: Request, payload: &str) {
        self.engine.sync(slug, request, &mut payload.as_bytes()).await.unwrap();
    }

    /// Some days of an organisation: people come, move, go, and come back.
    pub async fn days(&self, slug: &str) -> Organisation {
        let org = self.organisation(slug).await;
        self.sync(slug, full(), &staff(0..40)).await;
        self.sync(slug, full(), &csv((0..40).map(|n| if n < 2 { moved(n, "Law") } else { person(n) }))).await;
        self.sync(slug, partial(), &csv([moved(7, "Tools")])).await;
        self.sync(slug, full(), &staff(1..41)).await;
        self.sync(slug, full(), &staff(0..41)).await;
        org
    }
}

pub type StoredRows = Vec<(read_model::Part, read_model::Key, Vec<u8>)>;

/// The same engine, which writes down every event by itself.
fn by_one(engine: &Engine) -> Engine {
    let mut engine = engine.clone();
    engine.sizes = Sizes::SMALLEST;
    engine
}

/// How far the live lane has come, and all its rows.
pub async fn live(engine: &Engine, org: OrganisationId, projection: &dyn Projection) -> (u64, StoredRows) {
    let models = engine.store.read_models().await.unwrap();
    let lanes = models.lanes(org).await.unwrap();
    let mut lanes = lanes.iter().filter(|l| l.projection == projection.name() && l.state == LaneState::Live);
    let lane = lanes.next().expect("a live lane");
    (lane.seq, models.rows(lane).await.unwrap())
}

/// How activity stands.
async fn standing(engine: &Engine, org: OrganisationId) -> Standing {
    let standings = engine.standings(org, "acme").await.unwrap();
    standings.into_iter().find(|s| s.projection == "activity").unwrap()
}

/// Keeps the type of each event under its number, and can be made to refuse one.
struct Kinds {
    version: AtomicU32,
    refuses: AtomicBool,
    panics: AtomicBool,
}

impl Kinds {
    fn new() -> Kinds {
        Kinds { version: AtomicU32::new(1), refuses: AtomicBool::new(false), panics: AtomicBool::new(false) }
    }
}

impl Projection for Kinds {
    fn name(&self) -> &'static str {
        "kinds"
    }
    fn version(&self) -> u32 {
        self.version.load(Ordering::Relaxed)
    }
    fn wants(&self, kind: &str) -> bool {
        kind != "change_set.chunk"
    }
    fn take<'a>(&'a self, event: &'a Event, rows: &'a mut Rows) -> Taking<'a> {
        Box::pin(async move {
            rows.put(0, number(event.meta.seq), event.meta.kind.clone().into_bytes());
            if self.refuses.load(Ordering::Relaxed) && event.meta.kind == "change_set.applied" {
                return Err(Error::Damaged("an event is poison: Ann Archer".to_owned()));
            }
            assert!(!self.panics.load(Ordering::Relaxed) || event.meta.kind != "change_set.applied", "a bug");
            Ok(())
        })
    }
}

macro_rules! on_both_engines {
    ($($case:ident,)*) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Sqlite).await; })* }
        mod postgres { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Postgres).await; })* }
    };
}

on_both_engines! {
    a_read_says_which_event_it_reflects,
    the_rows_are_the_same_however_the_log_is_cut,
    two_at_once_come_to_what_one_does,
    an_event_that_cannot_be_taken_parks_its_lane_alone,
    a_bug_in_a_projection_parks_its_lane,
    a_rebuild_is_not_seen_before_it_is_whole,
    rows_of_older_code_are_made_anew,
    rows_of_another_log_are_made_anew,
    a_read_can_wait_for_an_event,
}

async fn a_read_says_which_event_it_reflects(on: On) {
    let world = World::on(on).await;
    let org = world.days("acme").await;
    let unmade = world.engine.activity(org.row.id, None, 9, Wait::NOT).await;
    assert!(matches!(unmade, Err(Error::Behind(_))), "nobody has made it");
    let head = world.engine.store.head(org.row.id).await.unwrap();
    let page = world.engine.activity(org.row.id, None, 3, Wait::WORK).await.unwrap();
    assert_eq!(page.seq, head.last_seq);
    assert_eq!(page.activity.len(), 3);
    assert!(page.activity[0].sentence.contains("of the feed main was applied: 1 reinstated"), "{:?}", page.activity[0]);
    let before = page.before.expect("there is more");
    assert_eq!(page.activity[2].seq, before);
    let rest = world.engine.activity(org.row.id, Some(before), 1_000, Wait::NOT).await.unwrap();
    assert_eq!(rest.before, None);
    assert_eq!(rest.activity.last().unwrap().sentence, "tester created the organisation acme");
    // Behind the log the answer is that of before, and says so.
    world.sync("acme", full(), &staff(0..42)).await;
    let again = world.engine.activity(org.row.id, None, 3, Wait::NOT).await.unwrap();
    assert_eq!((again.seq, &again.activity), (page.seq, &page.activity));
    let standing = standing(&world.engine, org.row.id).await;
    assert_eq!(standing.seq, page.seq);
    assert!(standing.lag_events > 0 && standing.lag_seconds >= 0.0 && standing.lag_seconds < 600.0);
}

async fn the_rows_are_the_same_however_the_log_is_cut(on: On) {
    let world = World::on(on).await;
    let org = world.days("acme").await;
    let by_one = by_one(&world.engine);
    for projection in muster_engine::projections::all() {
        assert_eq!(by_one.catch_up(org.row.id, *projection).await.unwrap(), Progress::CaughtUp);
        let cut = live(&by_one, org.row.id, *projection).await;
        world.engine.begin_rebuild(&org, *projection).await.unwrap();
        world.engine.catch_up(org.row.id, *projection).await.unwrap();
        let whole = live(&world.engine, org.row.id, *projection).await;
        assert_eq!(cut.0, whole.0, "{}", projection.name());
        assert!(cut.1 == whole.1, "{} depends on how the log is cut", projection.name());
        assert!(!whole.1.is_empty());
    }
}

async fn two_at_once_come_to_what_one_does(on: On) {
    let world = World::on(on).await;
    let org = world.days("acme").await;
    // A second handle is another process to the first: it has its own connections and marks.
    let other = Engine::open(&world.database.url, world.engine.data_dir(), "other").await.unwrap();
    let one = by_one(&world.engine);
    let two = by_one(&other);
    let id = org.row.id;
    let work = |engine: Engine| {
        tokio::spawn(async move {
            while engine.project(id, &Activities).await.unwrap() != Progress::CaughtUp {
                tokio::task::yield_now().await;
            }
        })
    };
    let (first, second) = (work(one), work(two));
    first.await.unwrap();
    second.await.unwrap();
    let both = live(&other, id, &Activities).await;
    other.begin_rebuild(&org, &Activities).await.unwrap();
    other.catch_up(id, &Activities).await.unwrap();
    assert!(both == live(&other, id, &Activities).await);
    other.store.close().await;
}

async fn an_event_that_cannot_be_taken_parks_its_lane_alone(on: On) {
    let world = World::on(on).await;
    let (acme, other) = (world.days("acme").await, world.days("other").await);
    let kinds = Kinds::new();
    kinds.refuses.store(true, Ordering::Relaxed);
    let models = world.engine.store.read_models().await.unwrap();
    assert_eq!(world.engine.catch_up(acme.row.id, &kinds).await.unwrap(), Progress::Parked);
    let lane = models.lanes(acme.row.id).await.unwrap().remove(0);
    let parked = lane.parked.clone().expect("parked");
    assert_eq!((parked.seq, parked.kind.as_str()), (lane.seq + 1, "change_set.applied"));
    assert_eq!(parked.error, "an event is poison", "nothing that stands behind it is kept");
    // What the event had written is not there, and everything before it is.
    let last = models.rows(&lane).await.unwrap().pop().unwrap();
    assert_eq!(last.1, number(lane.seq));
    // It stays where it is, and other lanes go on.
    assert_eq!(world.engine.project(acme.row.id, &kinds).await.unwrap(), Progress::Parked);
    assert_eq!(world.engine.catch_up(acme.row.id, &Activities).await.unwrap(), Progress::CaughtUp);
    kinds.refuses.store(false, Ordering::Relaxed);
    assert_eq!(world.engine.catch_up(other.row.id, &kinds).await.unwrap(), Progress::CaughtUp);
    // It is tried again when it is told to.
    assert_eq!(world.engine.project(acme.row.id, &kinds).await.unwrap(), Progress::Parked);
    assert_eq!(world.engine.unpark(other.row.id, None).await.unwrap(), 0);
    assert_eq!(world.engine.unpark(acme.row.id, Some("activity")).await.unwrap(), 0);
    assert_eq!(world.engine.unpark(acme.row.id, None).await.unwrap(), 1);
    assert_eq!(world.engine.catch_up(acme.row.id, &kinds).await.unwrap(), Progress::CaughtUp);
    let end = world.engine.store.head(acme.row.id).await.unwrap().last_seq;
    assert_eq!(live(&world.engine, acme.row.id, &kinds).await.0, end);
    // An event of a type that nobody knows is no different.
    let unknown = NewEvent {
        id: Uuid::now_v7(),
        stream: "organisation".into(),
        expected_version: None,
        kind: "test.happened".into(),
        schema: 1,
        data: RawValue::from_string("{}".into()).unwrap(),
        body: None,
    };
    let mut tx = world.engine.store.begin(acme.row.id, None).await.unwrap();
    tx.append(vec![unknown], &world.engine.who(Uuid::now_v7())).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.engine.catch_up(acme.row.id, &Activities).await.unwrap(), Progress::Parked);
    let standing = standing(&world.engine, acme.row.id).await;
    assert_eq!(standing.parked.as_ref().unwrap().event, end + 1);
    assert_eq!(standing.lag_events, 1);
}

async fn a_bug_in_a_projection_parks_its_lane(on: On) {
    let world = World::on(on).await;
    let org = world.days("acme").await;
    let kinds = Kinds::new();
    kinds.panics.store(true, Ordering::Relaxed);
    assert_eq!(world.engine.catch_up(org.row.id, &kinds).await.unwrap(), Progress::Parked);
    let models = world.engine.store.read_models().await.unwrap();
    let lane = models.lanes(org.row.id).await.unwrap().remove(0);
    let parked = lane.parked.clone().expect("parked");
    assert_eq!((parked.seq, parked.kind.as_str()), (lane.seq + 1, "change_set.applied"));
    assert_eq!(parked.error, "a bug in the projection ended its work");
    assert_eq!(
        models.rows(&lane).await.unwrap().pop().unwrap().1,
        number(lane.seq),
        "what it wrote counts for nothing"
    );
    kinds.panics.store(false, Ordering::Relaxed);
    assert_eq!(world.engine.unpark(org.row.id, None).await.unwrap(), 1);
    assert_eq!(world.engine.catch_up(org.row.id, &kinds).await.unwrap(), Progress::CaughtUp);
}

async fn a_rebuild_is_not_seen_before_it_is_whole(on: On) {
    let world = World::on(on).await;
    let org = world.days("acme").await;
    let kinds = Kinds::new();
    let by_one = by_one(&world.engine);
    by_one.catch_up(org.row.id, &kinds).await.unwrap();
    let (before, models) = (live(&by_one, org.row.id, &kinds).await, by_one.store.read_models().await.unwrap());
    let old = models.snapshot(org.row.id, "kinds").await.unwrap().unwrap().lane.id;
    by_one.begin_rebuild(&org, &kinds).await.unwrap();
    let (mut steps, mut swapped) = (0, false);
    while by_one.project(org.row.id, &kinds).await.unwrap() != Progress::CaughtUp {
        let mut model = by_one.read_model(org.row.id, &kinds, Wait::NOT).await.unwrap();
        let all = Range { limit: 10_000, ..Range::default() };
        let rows = model.range(0, &all).await.unwrap();
        assert_eq!((model.lane.seq, rows.len()), (before.0, before.1.len()));
        swapped |= model.lane.id != old;
        steps += 1;
    }
    assert!(steps > 10 && swapped, "it went step by step, and in the end another lane was read: {steps}");
    assert_eq!(models.all_lanes().await.unwrap().len(), 1, "nothing is left of the old one");
    assert!(live(&by_one, org.row.id, &kinds).await == before);
}

async fn rows_of_older_code_are_made_anew(on: On) {
    let world = World::on(on).await;
    let org = world.days("acme").await;
    let (kinds, newer) = (Kinds::new(), Kinds::new());
    newer.version.store(2, Ordering::Relaxed);
    world.engine.catch_up(org.row.id, &kinds).await.unwrap();
    assert_eq!(world.engine.catch_up(org.row.id, &newer).await.unwrap(), Progress::CaughtUp);
    let snapshot = world.engine.read_model(org.row.id, &newer, Wait::NOT).await.unwrap();
    assert_eq!(snapshot.lane.version, 2);
    drop(snapshot);
    // Older code leaves them alone.
    assert_eq!(world.engine.catch_up(org.row.id, &kinds).await.unwrap(), Progress::Newer);
    assert!(matches!(world.engine.read_model(org.row.id, &kinds, Wait::NOT).await, Err(Error::Behind(_))));
}

async fn rows_of_another_log_are_made_anew(on: On) {
    let world = World::on(on).await;
    let org = world.days("acme").await;
    let models = world.engine.store.read_models().await.unwrap();
    let end = world.engine.store.head(org.row.id).await.unwrap().last_seq;
    for seq in [3, end, end + 5] {
        for lane in models.lanes(org.row.id).await.unwrap() {
            models.drop_lane(&lane).await.unwrap();
        }
        models.begin_lane(org.row.id, "activity", 1, LaneState::Live).await.unwrap();
        let lane = models.lanes(org.row.id).await.unwrap().remove(0);
        let mut writes = Writes::default();
        writes.rows.insert((9, vec![1]), Some(b"of another log".to_vec()));
        let step = Step { seq, hash: [7; 32], parked: None };
        assert!(models.claim(org.row.id, lane.id).await.unwrap().unwrap().commit(writes, &step).await.unwrap());
        let stale = world.engine.activity(org.row.id, None, 5, Wait::NOT).await;
        assert!(matches!(stale, Err(Error::Behind(_))), "{seq}: nothing is read of it");
        let page = world.engine.activity(org.row.id, None, 5, Wait::WORK).await.unwrap();
        assert_eq!(page.seq, end);
        assert!(live(&world.engine, org.row.id, &Activities).await.1.iter().all(|(part, ..)| *part != 9));
    }
}

async fn a_read_can_wait_for_an_event(on: On) {
    let world = World::on(on).await;
    let org = world.days("acme").await;
    let end = world.engine.store.head(org.row.id).await.unwrap().last_seq;
    world.engine.catch_up(org.row.id, &Activities).await.unwrap();
    let short = Wait { until: Some(end + 1), at_most: Duration::from_millis(50), work: true };
    let Err(Error::Behind(why)) = world.engine.activity(org.row.id, None, 1, short).await else { panic!("too early") };
    assert!(why.contains(&format!("reflects event {end}, and not {} yet", end + 1)), "{why}");
    // Somebody else writes and projects while this one waits.
    let long = Wait { until: Some(end + 1), at_most: Duration::from_secs(60), work: false };
    let reader = world.engine.clone();
    let id = org.row.id;
    let reading = tokio::spawn(async move { reader.activity(id, None, 1, long).await });
    world.sync("acme", full(), &staff(0..43)).await;
    assert!(!reading.is_finished(), "nobody has projected it yet");
    world.engine.catch_up(id, &Activities).await.unwrap();
    assert!(reading.await.unwrap().unwrap().seq > end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_missing_damaged_or_of_another_version_is_made_anew() {
    let world = World::on(On::Sqlite).await;
    let org = world.days("acme").await;
    let first = world.engine.activity(org.row.id, None, 100, Wait::WORK).await.unwrap();
    world.engine.store.close().await;
    let database = std::path::PathBuf::from(world.database.url.strip_prefix("sqlite:").unwrap());
    let path = read_model::path(&database);
    assert_eq!(path.file_name().unwrap(), "muster.read.db");
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap()) & 0o777, 0o600);
    for how in ["missing", "damaged", "version"] {
        match how {
            "missing" => read_model::remove(&database).unwrap(),
            "damaged" => {
                read_model::remove(&database).unwrap();
                std::fs::write(&path, [b'x'; 9_000]).unwrap();
            }
            _ => {
                let conn = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
                sqlx::raw_sql("UPDATE read_models SET version = 999; CREATE TABLE other (a)")
                    .execute(&conn)
                    .await
                    .unwrap();
                conn.close().await;
            }
        }
        let engine = Engine::open(&world.database.url, world.engine.data_dir(), "tester").await.unwrap();
        let again = engine.activity(org.row.id, None, 100, Wait::WORK).await.unwrap();
        assert_eq!((again.seq, again.activity), (first.seq, first.activity.clone()), "{how}");
        engine.store.close().await;
    }
}
