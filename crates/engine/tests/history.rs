//! Member history: what the index finds in the log is what reading all of it finds, of everybody and at any time.

use std::collections::BTreeSet;

use muster_domain::{change::Kind, ids::MemberNo, settings::MatchKey};
use muster_engine::{
    history::History,
    lists::Which,
    members::At,
    projections::{Projection, directory::DIRECTORY, history::Histories, reading::Wait, runner::Progress},
    sizes::Sizes,
};
use muster_testkit::database::Engine as On;

use crate::{
    projections::{World, live},
    projections_rows::step,
    rules_given::*,
};

macro_rules! on_both_engines {
    ($($case:ident,)*) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Sqlite).await; })* }
        mod postgres { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Postgres).await; })* }
    };
}

on_both_engines! {
    the_index_tells_what_the_whole_log_tells_after_every_step_of_a_story,
    a_large_change_set_applied_in_parts_is_found_by_page_and_chunk,
    of_somebody_forgotten_no_place_is_left,
    a_history_says_which_event_it_reflects,
}

async fn indexed(engine: &Engine, org: &Organisation, key: &str, at: At) -> History {
    engine.history(org, key, at, Wait::WORK).await.unwrap()
}

/// Holds the index against the whole log, of everybody whom a key finds.
pub async fn the_index_tells_what_the_log_tells(engine: &Engine, org: &Organisation) {
    compare(engine, org, 0, 1).await;
}

/// The same of a part of them, another one each time.
async fn compare(engine: &Engine, org: &Organisation, from: usize, every: usize) {
    let mut keys = BTreeSet::new();
    engine.each_member(org.row.id, |m| keys.extend(m.aliases.into_iter().chain([m.key]))).await.unwrap();
    for key in keys.iter().skip(from % every).step_by(every) {
        let from_log = engine.history_from_log(org, key, At::Now).await.unwrap();
        assert_eq!(indexed(engine, org, key, At::Now).await, from_log, "{key}");
    }
}

/// The same at every roster version and before some events.
async fn at_any_time(engine: &Engine, org: &Organisation, key: &str) {
    let head = engine.store.head(org.row.id).await.unwrap();
    let mut times: Vec<At> = (0..=head.roster_version).map(At::Version).collect();
    for seq in (1..=head.last_seq).step_by(17) {
        let (_, recorded_at) = engine.store.mark(org.row.id, seq).await.unwrap().unwrap();
        times.extend([At::Event(seq), At::Time(recorded_at)]);
    }
    for at in times {
        let from_log = engine.history_from_log(org, key, at).await.unwrap();
        let indexed = indexed(engine, org, key, at).await;
        assert_eq!((indexed.member, indexed.entries), (from_log.member, from_log.entries), "{key} at {at:?}");
        assert_eq!((indexed.turn, indexed.first), (from_log.turn, from_log.first), "{key} at {at:?}");
    }
}

/// What becomes of keys, claims and people, after the story that all read models are tried on. `false` after the last.
async fn more(world: &World, n: usize) -> bool {
    let by_hand = async |edit| drop(Box::pin(world.engine.by_hand("acme", edit, None)).await.unwrap());
    let other_8 = "E8,else8@x.example,Other,Person,1960-01-01,Sales,Rome".to_owned();
    match n {
        0 => by_hand(Edit::Rekey { key: "E9".into(), new_key: "X9".into() }).await,
        // A key that another has had, for somebody else.
        1 => {
            by_hand(Edit::Rekey { key: "E8".into(), new_key: "X8".into() }).await;
            let fields = [("employee_id", "E8"), ("first_name", "Other"), ("last_name", "Person")];
            let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            drop(Box::pin(world.engine.by_hand("acme", Edit::Add { fields }, None)).await);
            drop(Box::pin(world.engine.sync("acme", partial(), &mut csv([other_8]).as_bytes())).await.unwrap());
        }
        2 => by_hand(Edit::Link { key: "E10".into(), other: "E11".into() }).await,
        // Recognised by the e-mail under another key.
        3 => {
            let known = |n: &usize| ![3, 8, 11, 52].contains(n);
            let rows = (0..41).chain(50..60).chain([70]).filter(known);
            let rows = rows.map(|n| if n == 13 { person(n).replace("E13,", "N13,") } else { person(n) });
            drop(Box::pin(world.report(full(), &csv(rows))).await);
        }
        4 => {
            let acme = world.engine.organisation("acme").await.unwrap();
            let sets = world.engine.change_sets(&acme, Which::default()).await.unwrap();
            let ids = sets.iter().filter(|set| !set.applied.is_empty()).map(|set| set.id.to_string()).take(1).collect();
            drop(Box::pin(world.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() })).await.unwrap());
        }
        // Another feed claims some of them, has its own words, and lets go of them again.
        5 => drop(Box::pin(world.report(of("late", full()), &csv((14..20).map(|n| moved(n, "Late"))))).await),
        6 => drop(Box::pin(world.report(of("late", full()), &csv((14..19).map(|n| moved(n, "Later"))))).await),
        7 => drop(Box::pin(world.engine.hand_over("acme", "late", "main")).await.unwrap()),
        8 => {
            let id = Box::pin(world.held(&csv((0..41).map(|n| moved(n, "Parts"))))).await;
            for key in ["E20", "E21"] {
                let choice = Choice { only: vec![key.to_owned()], ..Choice::default() };
                let part = Approval { choice, ..Approval::default() };
                Box::pin(world.engine.approve("acme", Some(&id), part)).await.unwrap();
                // The rest is put anew, behind the seal.
                Box::pin(world.report(partial(), &csv([moved(22, "Between"), moved(23, key)]))).await;
            }
            let choice = Choice { except_fields: vec!["location".to_owned()], ..Choice::default() };
            let rest = Approval { choice, ..Approval::default() };
            drop(Box::pin(world.engine.approve("acme", Some(&id), rest)).await);
        }
        9 => Box::pin(world.set("match_key", "email")).await,
        10 => drop(Box::pin(world.report(partial(), &csv([moved(24, "Last")]))).await),
        _ => return false,
    }
    true
}

/// Nothing waits any more.
async fn settle(world: &World) {
    let org = world.engine.organisation("acme").await.unwrap();
    for state in [State::Held, State::PartlyApplied] {
        for set in world.engine.change_sets(&org, Which::all(Some(state))).await.unwrap() {
            let id = set.id.to_string();
            let set = Box::pin(world.engine.look(&org, Some(&id))).await.unwrap();
            let losing = world.engine.would_lose(&org, &set).await.unwrap();
            let known = Approval { confirm_removals: Some(losing.removals), ..Approval::default() };
            if Box::pin(world.engine.approve("acme", Some(&id), known)).await.is_err() {
                let _ = Box::pin(world.engine.reject("acme", Some(&id), Choice::default(), None)).await;
            }
        }
    }
}

async fn the_index_tells_what_the_whole_log_tells_after_every_step_of_a_story(on: On) {
    let world = World::on(on).await;
    let (mut n, mut m) = (0, 0);
    while Box::pin(step(&world, n)).await || Box::pin(more(&world, m)).await {
        if n >= 9 {
            m += 1;
            Box::pin(settle(&world)).await;
        }
        let org = world.engine.organisation("acme").await.unwrap();
        Box::pin(compare(&world.engine, &org, n + m, 6)).await;
        n += 1;
    }
    Box::pin(the_index_tells_what_the_log_tells(&world.engine, &world.engine.organisation("acme").await.unwrap()))
        .await;
    // The story did what it was to do.
    let org = world.engine.organisation("acme").await.unwrap();
    assert_eq!(org.settings.match_key, MatchKey::Email);
    let kinds = async |key| {
        indexed(&world.engine, &org, key, At::Now).await.entries.iter().map(|e| e.kind).collect::<BTreeSet<_>>()
    };
    assert!(kinds("X9").await.is_superset(&[Kind::Add, Kind::Rekey].into()));
    assert!(kinds("p13@x.example").await.contains(&Kind::Rekey));
    assert!(kinds("p0@x.example").await.is_superset(&[Kind::Add, Kind::Remove, Kind::Reinstate].into()));
    for key in ["X9", "p13@x.example", "E20"] {
        Box::pin(at_any_time(&world.engine, &org, key)).await;
    }
}

async fn a_large_change_set_applied_in_parts_is_found_by_page_and_chunk(on: On) {
    let world = World::on(on).await;
    let org = world.organisation("acme").await;
    // More than a page of members, and many chunks.
    let all = 0..4_400;
    world.sync("acme", full(), &staff(all.clone())).await;
    let id = world.held(&csv(all.map(|n| moved(n, "Law")))).await;
    let some = ["E1", "E999", "E4095", "E4096", "E4399"];
    let choice = Choice { only: some.map(str::to_owned).to_vec(), ..Choice::default() };
    Box::pin(world.engine.approve("acme", Some(&id), Approval { choice, ..Approval::default() })).await.unwrap();
    let departments = async |key: &str| {
        let told = indexed(&world.engine, &org, key, At::Now).await;
        assert_eq!(told, world.engine.history_from_log(&org, key, At::Now).await.unwrap());
        let of = told.entries.into_iter().filter(|e| e.field.as_deref() == Some("department"));
        of.filter_map(|e| e.value).collect::<Vec<_>>()
    };
    for key in some {
        assert_eq!(departments(key).await, ["Sales", "Law"], "{key}");
    }
    assert_eq!(departments("E2").await, ["Sales"]);
    Box::pin(world.engine.approve("acme", Some(&id), Approval::default())).await.unwrap();
    for key in ["E2", "E4096", "E4097", "E4398"] {
        assert_eq!(departments(key).await, ["Sales", "Law"], "{key}");
    }
    let rows = live(&world.engine, org.row.id, &Histories).await.1;
    assert_eq!(rows.iter().filter(|(part, ..)| *part == 0).count(), 6, "two pages, three times");
}

/// The events that the index names, with how many bytes it has of each page.
async fn applied(world: &World, org: &Organisation) -> Vec<(u64, usize)> {
    world.engine.catch_up(org.row.id, &Histories).await.unwrap();
    let rows = live(&world.engine, org.row.id, &Histories).await.1;
    let applied = rows.into_iter().filter(|(part, ..)| *part == 0);
    applied
        .map(|(_, key, row)| (u64::from_be_bytes(key[size_of::<MemberNo>()..].try_into().unwrap()), row.len()))
        .collect()
}

async fn of_somebody_forgotten_no_place_is_left(on: On) {
    let world = World::on(on).await;
    let org = world.organisation("acme").await;
    world.sync("acme", full(), &staff(0..20)).await;
    let before = applied(&world, &org).await;
    world.sync("acme", partial(), &csv([person(70)])).await;
    world.sync("acme", partial(), &csv([moved(70, "Law"), moved(3, "Law")])).await;
    let during = applied(&world, &org).await;
    assert_eq!(during.len(), 3);
    world.forget("E70").await;
    let after = applied(&world, &org).await;
    assert_eq!((after.len(), after[0]), (2, before[0]), "nothing tells any more that E70 came");
    assert_eq!((after[1].0, after[1].1 < during[2].1), (during[2].0, true), "E3 changed in the same event");
    let unknown = world.engine.history(&org, "E70", At::Now, Wait::WORK).await;
    assert!(matches!(unknown, Err(Error::Unknown(_))));
    Box::pin(the_index_tells_what_the_log_tells(&world.engine, &org)).await;
}

async fn a_history_says_which_event_it_reflects(on: On) {
    let world = World::on(on).await;
    let org = world.organisation("acme").await;
    world.sync("acme", full(), &staff(0..20)).await;
    let unmade = world.engine.history(&org, "E3", At::Now, Wait::NOT).await;
    assert!(matches!(unmade, Err(Error::Behind(_))), "nobody has made it");
    let told = indexed(&world.engine, &org, "E3", At::Now).await;
    let end = world.engine.store.head(org.row.id).await.unwrap().last_seq;
    assert_eq!(told.seq, end);
    world.sync("acme", partial(), &csv([moved(3, "Law")])).await;
    // Behind the log the answer is that of before, and says so.
    assert_eq!(world.engine.history(&org, "E3", At::Now, Wait::NOT).await.unwrap(), told);
    let last = world.engine.store.head(org.row.id).await.unwrap().last_seq;
    let waiting = world.engine.history(&org, "E3", At::Event(last), Wait::NOT).await;
    assert!(matches!(waiting, Err(Error::Behind(_))), "an event that is asked about must be reflected");
    let now = indexed(&world.engine, &org, "E3", At::Event(last)).await;
    assert_eq!((now.seq, now.entries.len()), (last, told.entries.len() + 1));
    let beyond = world.engine.history(&org, "E3", At::Event(last + 1), Wait::WORK).await;
    assert!(matches!(beyond, Err(Error::Unknown(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_changes_of_a_first_import_are_not_read() {
    let world = World::on(On::Sqlite).await;
    let org = world.organisation("acme").await;
    world.sync("acme", full(), &staff(0..20)).await;
    let conn = sqlx::SqlitePool::connect(&world.database.url).await.unwrap();
    let unreadable = "UPDATE event SET body = x'00' WHERE meta LIKE '%\"change_set.chunk\"%'";
    assert_eq!(sqlx::query(unreadable).execute(&conn).await.unwrap().rows_affected(), 1);
    conn.close().await;
    let mut engine = world.engine.clone();
    engine.sizes = Sizes::SMALLEST;
    for (projection, came) in [(&Histories as &dyn Projection, Progress::CaughtUp), (&DIRECTORY, Progress::Parked)] {
        assert_eq!(engine.catch_up(org.row.id, projection).await.unwrap(), came, "{}", projection.name());
    }
}
