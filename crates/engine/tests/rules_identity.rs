//! Identity: who an unknown key is, and whether a known one has become somebody else.

use crate::rules_given::*;

async fn ten() -> Given {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=10)).await;
    given
}

/// Person 3 under another employee id.
fn three_as(key: &str) -> String {
    person(3).replacen("E3,", &format!("{key},"), 1)
}

fn others() -> impl Iterator<Item = String> {
    (1..=10).filter(|n| *n != 3).map(person)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_with_the_email_of_somebody_absent_is_a_rekey() {
    let given = ten().await;
    let before = given.member("E3").await.uuid;
    let report = given.applied(full(), &csv(others().chain([three_as("N3")]))).await;
    assert_eq!((report.counts.rekeyed, report.counts.added, report.counts.removed), (1, 0, 0));
    let after = given.member("N3").await;
    assert_eq!((after.uuid, &after.aliases), (before, &vec!["E3".to_owned()]));
    assert_eq!(given.member("e3").await.uuid, before, "found by the old key too");
    let back = given.sync(full(), &csv(others().chain([three_as("E3")]))).await;
    assert_eq!(
        (back.state, &*given.member("E3").await.key),
        (State::NoChanges, "N3"),
        "an old key does not take turns"
    );
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_email_as_match_key_the_employee_id_recognises() {
    let given = Given::with(&[("match_key", "email")]).await;
    given.applied(full(), &staff(1..=10)).await;
    let before = given.member("p3@x.example").await.uuid;
    let married = person(3).replace("p3@", "married@").replace("Last3", "Married");
    let report = given.applied(full(), &csv(others().chain([married]))).await;
    assert_eq!((report.counts.rekeyed, given.member("married@x.example").await.uuid), (1, before));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_birth_date_contradicts() {
    let given = ten().await;
    let born = three_as("N3").replace("1990", "1970");
    let report = given.sync(full(), &csv(others().chain([born]))).await;
    assert_eq!((report.counts.rekeyed, report.counts.added, report.counts.removed), (0, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_birth_date_another_last_name_contradicts() {
    let given = Given::organisation().await;
    let header = "employee_id,email,last_name\n";
    let row = |key: &str, last: &str| format!("{key},ann@x.example,{last}\n");
    given.applied(full(), &format!("{header}{}", row("E1", "Lee"))).await;
    let other = given.sync(dry(full()), &format!("{header}{}", row("E2", "Ray"))).await;
    assert_eq!((other.counts.added, other.counts.removed), (1, 1));
    let same = given.sync(dry(full()), &format!("{header}{}", row("E2", "LEE"))).await;
    assert_eq!(same.counts.rekeyed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_email_that_several_have_recognises_nobody() {
    let given = ten().await;
    let twice = csv(others().chain([three_as("N3"), three_as("M3")]));
    let report = given.sync(full(), &twice).await;
    assert_eq!((report.counts.rekeyed, report.counts.added, report.counts.removed), (0, 2, 1), "twice in the payload");
    let given = Given::organisation().await;
    let shared = |n: usize| person(n).replace(&format!("p{n}@"), "desk@");
    given.applied(full(), &csv((1..=10).map(shared))).await;
    let report = given.sync(full(), &csv((1..=9).map(shared).chain([shared(10).replace("E10", "N10")]))).await;
    assert_eq!((report.counts.rekeyed, report.counts.added), (0, 1), "ten times on the roster");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_member_recognised_by_email_is_reinstated() {
    let given = ten().await;
    let before = given.member("E3").await.uuid;
    given.applied(full(), &csv(others())).await;
    let report = given.applied(full(), &csv(others().chain([three_as("N3")]))).await;
    assert_eq!((report.counts.reinstated, report.counts.added), (1, 0));
    assert_eq!(given.member("N3").await.uuid, before);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_partial_payload_evidence_only_holds() {
    let given = ten().await;
    let report = given.sync(partial(), &csv([three_as("N3")])).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["possible_same_person"]));
    assert_eq!(report.holds[0].figure, 1, "one row is one doubt, however much speaks for it");
    assert_eq!((report.counts.added, report.counts.rekeyed), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_name_and_birth_date_hold_anywhere() {
    let given = ten().await;
    let alike = three_as("N3").replace("p3@", "new@");
    for request in [full(), partial()] {
        let payload = csv(others().chain([alike.clone()]));
        let report = given.sync(dry(request), &payload).await;
        assert_eq!(guards(&report), ["possible_same_person"]);
        assert_eq!(report.counts.added, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_alike_who_stands_in_the_payload_under_their_own_key_is_somebody_else() {
    let given = ten().await;
    let twin = three_as("N3").replace("p3@", "twin@");
    let report = given.applied(full(), &csv((1..=10).map(person).chain([twin]))).await;
    assert_eq!((report.counts.added, guards(&report)), (1, vec![]));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_key_with_another_name_and_another_birth_date_waits() {
    let given = ten().await;
    let other = person(3).replace("Last3", "Other").replace("1990", "1970");
    let report = given.sync(full(), &csv(others().chain([other]))).await;
    assert_eq!((report.state, guards(&report)), (State::Held, vec!["possible_other_person"]));
    let married = person(3).replace("Last3", "Married");
    assert_eq!(given.sync(dry(full()), &csv(others().chain([married]))).await.holds.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_and_outer_space_of_a_key_make_nobody_new() {
    let given = ten().await;
    let report = given.sync(full(), &csv(others().chain([three_as(" e3 ")]))).await;
    assert_eq!((report.state, report.counts.unchanged), (State::NoChanges, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_changed_and_given_back_by_hand() {
    let given = ten().await;
    let before = given.member("E3").await.uuid;
    for (key, new_key) in [("E3", "N3"), ("N3", "E3")] {
        let report = given.by_hand(Edit::Rekey { key: key.into(), new_key: new_key.into() }).await;
        assert_eq!((report.state, report.counts.rekeyed), (State::Applied, 1));
        let member = given.member(new_key).await;
        assert_eq!((&*member.key, member.uuid), (new_key, before));
        assert_eq!(member.values.get(FieldId::EMPLOYEE_ID), Some(new_key));
    }
    assert_eq!(given.sync(full(), &staff(1..=10)).await.state, State::NoChanges);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_given_somebody_elses_key_by_hand() {
    let given = ten().await;
    let fields = vec![("employee_id".to_owned(), "E4".to_owned())];
    for edit in [
        Edit::Set { key: "E3".into(), fields },
        Edit::Rekey { key: "E3".into(), new_key: " e4 ".into() },
        Edit::Rekey { key: Whom::Id(given.member("E3").await.uuid), new_key: "E4".into() },
    ] {
        let refused = given.engine.by_hand("acme", edit, None).await.unwrap_err();
        assert!(matches!(refused, Error::Wrong(_)), "{refused}");
    }
    assert_eq!(given.listed().await.len(), 10);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_another_than_was_seen_is_not_edited_by_hand() {
    let given = ten().await;
    let seen = Box::new(given.member("E3").await);
    let edit = || Edit::Rekey { key: Whom::Id(seen.uuid), new_key: "N3".into() };
    let as_seen = || given.engine.by_hand_as_seen("acme", edit(), None, Some(seen.clone()));
    given.set_by_hand("E3", "department", "Law").await;
    assert!(matches!(as_seen().await, Err(Error::Stale(_))));
    assert_eq!(given.member("E3").await.key, "E3");
    given.set_by_hand("E4", "department", "Law").await;
    let seen = Box::new(given.member("E3").await);
    let done = given.engine.by_hand_as_seen("acme", edit(), None, Some(seen)).await.unwrap();
    assert_eq!(done.counts.rekeyed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_who_are_one_person_are_joined_by_hand_and_parted_by_undo() {
    let given = Given::organisation().await;
    given.feed_named("payroll").await;
    given.applied(full(), &staff(1..=3)).await;
    let ann = || person(1).replace("E1,", "P1,").replace("p1@", "ann@").replace("Last1", "Lee");
    given.sync(of("payroll", full()), &csv([ann(), moved(2, "Legal")])).await;
    let before = given.everybody().await;
    assert_eq!(given.listed().await, ["E1", "E2", "E3", "P1"]);
    let linked = given.by_hand(Edit::Link { key: "E1".into(), other: "P1".into() }).await;
    assert_eq!(linked.state, State::Applied);
    let (one, other) = (given.member("E1").await, given.member("P1").await);
    assert_eq!((one.no, one.uuid), (other.no, before["E1"].uuid), "both keys name the one who stays");
    assert_eq!(one.claimants().count(), 2, "the claims of both");
    assert_eq!(given.listed().await, ["E1", "E2", "E3"]);
    given.verified().await;
    let payload = csv([ann(), moved(2, "Legal"), person(3)]);
    let next = given.sync(of("payroll", full()), &payload).await;
    assert_eq!((next.counts.added, next.counts.rekeyed, next.counts.removed), (0, 0, 0));
    assert_eq!(given.member("P1").await.values.get(FieldId::EMAIL), Some("p1@x.example"), "main is followed");
    given.verified().await;
    let ids = vec![linked.change_set_id.unwrap().to_string()];
    given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap();
    let after = given.everybody().await;
    for key in ["E1", "P1"] {
        let (was, is) = (&before[key], &after[key]);
        assert_eq!((&is.aliases, is.is_listed(), &is.values), (&was.aliases, true, &was.values), "{key}");
    }
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_member_joined_with_their_new_entry_follows_the_new_one() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    given.applied(full(), &staff(1..=5)).await;
    let back = moved(6, "Legal").replace("E6,", "N6,").replace("p6@", "new6@").replace("Last6", "Married");
    let payload = csv((1..=5).map(person).chain([back]));
    given.applied(full(), &payload).await;
    given.by_hand(Edit::Link { key: "E6".into(), other: "N6".into() }).await;
    let six = given.member("N6").await;
    assert_eq!((&*six.key, six.is_listed()), ("E6", true));
    assert_eq!(
        (six.values.get(FieldId::LAST_NAME), six.values.get(FieldId::DEPARTMENT)),
        (Some("Married"), Some("Legal"))
    );
    assert_eq!(
        given.sync(full(), &payload.replace("Last1", "Lost1")).await.counts.updated,
        1,
        "and nothing is new of them"
    );
    given.verified().await;
}
