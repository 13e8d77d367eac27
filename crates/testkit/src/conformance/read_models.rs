//! Read models: one works on a lane at a time, rows and checkpoint go together, and a rebuilt lane takes the place in one step.

use muster_domain::ids::OrganisationId;
use muster_store::{
    Store,
    read_model::{Lane, LaneState, Parked, Range, ReadModels, Step, Writes},
};

use super::{at, organisation};
use crate::database::Database;

async fn lane(models: &ReadModels, org: OrganisationId, state: LaneState) -> Lane {
    models.begin_lane(org, "test", 1, state).await.unwrap();
    found(models, org, state).await.expect("a lane")
}

async fn found(models: &ReadModels, org: OrganisationId, state: LaneState) -> Option<Lane> {
    models.lanes(org).await.unwrap().into_iter().find(|lane| lane.state == state)
}

fn step(seq: u64) -> Step {
    Step { seq, hash: [seq as u8; 32], parked: None }
}

fn row(key: &str, body: &str) -> Writes {
    let mut writes = Writes::default();
    writes.rows.insert((1, key.as_bytes().to_vec()), Some(body.as_bytes().to_vec()));
    writes
}

async fn put(models: &ReadModels, lane: &Lane, writes: Writes, to: u64) -> bool {
    models.claim(lane.organisation, lane.id).await.unwrap().expect("a claim").commit(writes, &step(to)).await.unwrap()
}

/// Of several who begin a lane, one does.
pub async fn a_lane_is_begun_once(database: &Database) {
    let models = database.store.read_models().await.unwrap();
    let org = organisation(&database.store, "acme").await;
    let other = organisation(&database.store, "other").await;
    for _again in 0..2 {
        models.begin_lane(org, "test", 1, LaneState::Live).await.unwrap();
        models.begin_lane(org, "test", 2, LaneState::Building).await.unwrap();
    }
    let lanes = models.lanes(org).await.unwrap();
    assert_eq!(
        lanes.iter().map(|l| (l.state, l.version, l.seq)).collect::<Vec<_>>(),
        [(LaneState::Live, 1, 0), (LaneState::Building, 2, 0)]
    );
    assert_eq!(models.lanes(other).await.unwrap(), []);
    assert_eq!(models.all_lanes().await.unwrap(), lanes);
}

/// Rows and checkpoint are one; a parked event is kept, and let go.
pub async fn a_step_is_written_whole(database: &Database) {
    let models = database.store.read_models().await.unwrap();
    let org = organisation(&database.store, "acme").await;
    let begun = lane(&models, org, LaneState::Live).await;
    let mut writes = row("a", "1");
    writes.rows.extend(row("b", "2").rows);
    writes.rows.extend(row("c", "3").rows);
    assert!(put(&models, &begun, writes, 3).await);
    let mut writes = row("b", "20");
    writes.rows.insert((1, b"a".to_vec()), None);
    let parked = Parked { seq: 5, kind: "test.happened".into(), error: "it cannot be read".into(), at: at(1) };
    let parked =
        Parked { at: chrono::DateTime::from_timestamp_micros(parked.at.timestamp_micros()).unwrap(), ..parked };
    let claim = models.claim(org, begun.id).await.unwrap().unwrap();
    let step_4 = Step { parked: Some(parked.clone()), ..step(4) };
    assert!(claim.commit(writes, &step_4).await.unwrap());
    let mut snapshot = models.snapshot(org, "test").await.unwrap().unwrap();
    assert_eq!((snapshot.lane.seq, snapshot.lane.hash, snapshot.lane.parked.clone()), (4, [4; 32], Some(parked)));
    assert_eq!(snapshot.get(1, b"b").await.unwrap().as_deref(), Some(&b"20"[..]));
    assert_eq!(snapshot.get(1, b"a").await.unwrap(), None);
    assert_eq!(snapshot.get(2, b"b").await.unwrap(), None);
    let backwards = Range { from: b"b".to_vec(), to: None, backwards: true, limit: 9 };
    let keys = |rows: Vec<(Vec<u8>, Vec<u8>)>| rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(snapshot.range(1, &backwards).await.unwrap()), [b"c", b"b"]);
    let before_c = Range { to: Some(b"c".to_vec()), backwards: false, ..backwards };
    assert_eq!(keys(snapshot.range(1, &before_c).await.unwrap()), [b"b"]);
    drop(snapshot);
    models.unpark(&begun).await.unwrap();
    let now = found(&models, org, LaneState::Live).await.unwrap();
    assert_eq!((now.seq, now.parked.clone()), (4, None));
    let mut writes = row("z", "9");
    writes.cleared.insert(1);
    assert!(put(&models, &now, writes, 5).await);
    let now = found(&models, org, LaneState::Live).await.unwrap();
    assert_eq!(models.rows(&now).await.unwrap(), [(1, b"z".to_vec(), b"9".to_vec())]);
}

/// Two at once, in one process or in two: one of them moves the lane, and what the other has is not written.
pub async fn two_at_once_move_a_lane_once(database: &Database) {
    let (one, second) = (&database.store, Store::open(&database.url).await.unwrap());
    let (models, others) = (one.read_models().await.unwrap(), second.read_models().await.unwrap());
    let org = organisation(one, "acme").await;
    let begun = lane(&models, org, LaneState::Live).await;
    let first = models.claim(org, begun.id).await.unwrap().expect("nobody has it");
    assert!(models.claim(org, begun.id).await.unwrap().is_none(), "taken in this process");
    // On PostgreSQL the other process sees that it is taken; on SQLite its work comes too late.
    let late = others.claim(org, begun.id).await.unwrap();
    assert!(first.commit(row("a", "first"), &step(1)).await.unwrap());
    if let Some(late) = late {
        assert!(!late.commit(row("a", "late"), &step(1)).await.unwrap());
    }
    let mut snapshot = others.snapshot(org, "test").await.unwrap().unwrap();
    assert_eq!(snapshot.get(1, b"a").await.unwrap().as_deref(), Some(&b"first"[..]));
    drop(snapshot);
    // What was given up is free again, as soon as the server has heard of it.
    drop(models.claim(org, begun.id).await.unwrap().expect("free"));
    let next = loop {
        match others.claim(org, begun.id).await.unwrap() {
            Some(claim) => break claim,
            None => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    };
    assert!(next.commit(row("a", "next"), &step(2)).await.unwrap());
    second.close().await;
}

/// A building lane takes the live one's place once it has come as far; who reads meanwhile goes on reading the old one.
pub async fn a_rebuilt_lane_takes_the_place_in_one_step(database: &Database) {
    let models = database.store.read_models().await.unwrap();
    let org = organisation(&database.store, "acme").await;
    let live = lane(&models, org, LaneState::Live).await;
    assert!(put(&models, &live, row("a", "old"), 2).await);
    let building = lane(&models, org, LaneState::Building).await;
    assert!(put(&models, &building, row("a", "new"), 1).await);
    let behind = found(&models, org, LaneState::Building).await.unwrap();
    assert!(!models.swap(&behind).await.unwrap(), "reads would go back");
    assert!(put(&models, &behind, row("b", "new"), 2).await);
    let mut reader = models.snapshot(org, "test").await.unwrap().unwrap();
    assert_eq!(reader.get(1, b"a").await.unwrap().as_deref(), Some(&b"old"[..]));
    let level = found(&models, org, LaneState::Building).await.unwrap();
    assert!(models.swap(&level).await.unwrap());
    while models.clean(org, 1).await.unwrap() {}
    assert_eq!((reader.lane.id, reader.get(1, b"a").await.unwrap().as_deref()), (live.id, Some(&b"old"[..])));
    drop(reader);
    let mut reader = models.snapshot(org, "test").await.unwrap().unwrap();
    assert_eq!((reader.lane.id, reader.get(1, b"a").await.unwrap().as_deref()), (level.id, Some(&b"new"[..])));
    drop(reader);
    assert_eq!(models.all_lanes().await.unwrap().len(), 1);
    assert_eq!(models.rows(&live).await.unwrap(), []);
    // A dropped lane cannot be moved any more, whoever had it before.
    let late = models.claim(org, level.id).await.unwrap().unwrap();
    if database.url.starts_with("sqlite") {
        models.drop_lane(&level).await.unwrap();
        assert!(!late.commit(row("a", "late"), &step(3)).await.unwrap());
    }
}
