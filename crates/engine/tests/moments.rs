//! Two moments of a roster held against each other, and where every value came from.

use std::time::Duration;

use muster_engine::{
    Error,
    members::At,
    moments::{Named, What},
    projections::reading::Wait,
};

use crate::rules_given::*;

async fn two_versions() -> Given {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=20)).await;
    let rows = (2..=20).map(|n| if n == 2 { moved(2, "Law") } else { person(n) }).chain([person(21)]);
    given.applied(full(), &csv(rows)).await;
    given
}

/// Who differs, in which way and in which fields.
async fn told(given: &Given, from: Named, to: Named) -> Vec<(What, String, Vec<String>)> {
    let acme = given.acme().await;
    let moments = given.engine.moments(&acme, from, to).await.unwrap();
    let mut told = Vec::new();
    let visit = moments.each(|d| {
        let values = |(name, from, to): (&str, Option<&str>, Option<&str>)| format!("{name} {from:?} {to:?}");
        let fields = d.fields(&acme).into_iter().map(values).collect();
        told.push((d.what, d.member().unwrap().key.clone(), fields));
        Ok(())
    });
    visit.unwrap();
    told
}

fn version(n: u64) -> Named {
    Named::At(At::Version(n))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joined_who_left_and_what_changed() {
    let given = two_versions().await;
    let there = [
        (What::Left, "E1".to_owned(), vec![]),
        (What::Changed, "E2".to_owned(), vec![r#"department Some("Sales") Some("Law")"#.to_owned()]),
        (What::Joined, "E21".to_owned(), vec![]),
    ];
    assert_eq!(told(&given, version(1), version(2)).await, there);
    assert_eq!(told(&given, version(1), Named::At(At::Now)).await, there);
    assert_eq!(told(&given, version(2), version(2)).await, []);
    assert_eq!(told(&given, version(0), version(1)).await.len(), 20);
    let back = told(&given, version(2), version(1)).await;
    let words: Vec<_> = back.iter().map(|(what, key, fields)| (*what, &**key, fields.join(","))).collect();
    let moved_back = r#"department Some("Law") Some("Sales")"#.to_owned();
    assert_eq!(
        words,
        [(What::Joined, "E1", String::new()), (What::Changed, "E2", moved_back), (What::Left, "E21", String::new())]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_meant_from_its_beginning_to_its_end() {
    let given = two_versions().await;
    let acme = given.acme().await;
    let of = |seq| given.engine.show_event(&acme, seq);
    let first = of(1).await.unwrap().meta.recorded_at.date_naive();
    let last = given.engine.now().date_naive();
    assert_eq!(told(&given, Named::Day(first), Named::Day(last)).await.len(), 20);
    assert_eq!(told(&given, Named::Day(last), Named::Day(first.pred_opt().unwrap())).await.len(), 20);
    let before = first.pred_opt().unwrap();
    assert_eq!(told(&given, Named::Day(before), Named::Day(before)).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moment_that_is_not_reached_is_an_error() {
    let given = two_versions().await;
    for beyond in [At::Version(3), At::Event(1_000)] {
        let moments = given.engine.moments(&given.acme().await, version(1), Named::At(beyond)).await;
        assert!(matches!(moments.err(), Some(Error::Unknown(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blame_names_for_every_value_the_event_that_set_it() {
    let given = two_versions().await;
    let acme = given.acme().await;
    given.by_hand(Edit::Rekey { key: "E3".into(), new_key: "X3".into() }).await;
    let blame = given.engine.blame(&acme, "E2", At::Now, Wait::WORK).await.unwrap().unwrap();
    let of = |field: &str| blame.fields.iter().find(|e| e.field.as_deref() == Some(field)).unwrap();
    let (department, email) = (of("department"), of("email"));
    assert_eq!((department.value.as_deref(), department.line), (Some("Law"), Some(2)));
    assert_eq!((email.value.as_deref(), email.line), (Some("p2@x.example"), Some(3)));
    assert_eq!(of("unique_id").seq, email.seq);
    let then = given.engine.blame(&acme, "E2", At::Version(1), Wait::WORK).await.unwrap().unwrap();
    assert!(then.fields.iter().all(|e| e.seq == email.seq));
    let gone = given.engine.blame(&acme, "E1", At::Now, Wait::WORK).await.unwrap().unwrap();
    assert_eq!((gone.listed, gone.since.unwrap().seq), (false, department.seq));
    let rekeyed = given.engine.blame(&acme, "E3", At::Now, Wait::WORK).await.unwrap().unwrap();
    assert_eq!((rekeyed.key.as_str(), rekeyed.fields[0].before.as_deref()), ("X3", Some("E3")));
    assert!(given.engine.blame(&acme, "E21", At::Version(1), Wait::WORK).await.unwrap().is_none());
    assert!(given.engine.blame(&acme, "E21", At::Version(9), Wait::WORK).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roster_is_read_part_by_part_and_nobody_is_missed_or_met_twice() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=9000)).await;
    given.applied(partial(), &csv([moved(5, "Law"), moved(8900, "Law"), person(9001)])).await;
    let acme = given.acme().await;
    for (at, people) in [(At::Now, 9001), (At::Version(2), 9001), (At::Version(1), 9000)] {
        let roster = given.engine.roster_at(&acme, at).await.unwrap();
        let (mut keys, mut parts, mut lawyers) = (Vec::new(), 0, 0);
        while let Some(part) = roster.part(parts).await.unwrap() {
            assert!(part.len() <= 8192, "{}", part.len());
            lawyers += part.iter().filter(|m| m.values.get(FieldId::DEPARTMENT) == Some("Law")).count();
            keys.extend(part.into_iter().map(|m| m.key));
            parts += 1;
        }
        let wanted: Vec<String> = (1..=people).map(|n| format!("E{n}")).collect();
        assert_eq!((parts, lawyers, keys == wanted), (2, if people == 9001 { 2 } else { 0 }, true), "{at:?}");
        assert!(roster.part(u32::MAX).await.unwrap().is_none());
        let mut all = 0;
        roster.each(|_| all += 1).await.unwrap();
        assert_eq!(all, people);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_few_rosters_of_the_past_are_held_at_once() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=3)).await;
    let (acme, engine) = (given.acme().await, given.engine.clone().patient_for(Duration::from_millis(20)));
    let mut held = Vec::new();
    let refused = loop {
        assert!(held.len() < 100, "there is no end to it");
        match engine.roster_at(&acme, At::Version(1)).await {
            Ok(roster) => held.push(roster),
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, Error::Busy(_)) && !held.is_empty(), "{refused}");
    assert!(engine.roster_at(&acme, At::Now).await.is_ok(), "nothing is folded for that");
    held.pop();
    assert!(engine.roster_at(&acme, At::Version(1)).await.is_ok(), "there is room again");
}
