//! Finding somebody: given people who share what others are known by, when they are looked up, then one is meant or nobody.

use chrono::Utc;

use crate::rules_given::*;

/// Person 1 leaves, and somebody else comes with the same address.
async fn given_an_address_that_two_had() -> (Given, chrono::DateTime<Utc>) {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=20)).await;
    let before = Utc::now();
    let other = "N1,p1@x.example,Other,Person,1971-02-03,Sales,Bonn".to_owned();
    given.applied(full(), &csv((2..=20).map(person))).await;
    given.applied(full(), &csv((2..=20).map(person).chain([other]))).await;
    assert_ne!(given.member("N1").await.uuid, given.member("E1").await.uuid);
    (given, before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_with_an_address_the_one_on_the_roster_is_meant_now_and_then() {
    let (given, before) = given_an_address_that_two_had().await;
    let acme = given.acme().await;
    let (former, other) = (given.member("E1").await.uuid, given.member("N1").await.uuid);
    let check = async |at| {
        let by = By::Email("P1@x.example");
        given.engine.check(&acme, by, None, at, |_| true).await.unwrap().member
    };
    assert_eq!(check(None).await, Some(other));
    assert_eq!(check(Some(Utc::now())).await, Some(other));
    assert_eq!(check(Some(before)).await, Some(former), "nobody else had it then");
    // Whoever may mean anything by it must say more.
    assert!(matches!(given.engine.member(&acme, "p1@x.example").await, Err(Error::Unknown(_))));
    let any = given.engine.check(&acme, By::Any("p1@x.example"), None, None, |_| true).await.unwrap();
    assert_eq!(any.member, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_asker_does_not_see_is_answered_like_somebody_unknown() {
    let (given, before) = given_an_address_that_two_had().await;
    let acme = given.acme().await;
    for at in [None, Some(before), Some(Utc::now())] {
        let seen = given.engine.check(&acme, By::Key("E2"), None, at, |_| true).await.unwrap();
        let hidden = given.engine.check(&acme, By::Key("E2"), None, at, |_| false).await.unwrap();
        let unknown = given.engine.check(&acme, By::Key("nobody"), None, at, |_| true).await.unwrap();
        assert!(seen.answer.eligible && seen.member.is_some());
        assert_eq!(hidden, unknown);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_another_time_is_found_by_identity() {
    let given = Given::organisation().await;
    let nobody = Utc::now();
    given.applied(full(), &staff(1..=20)).await;
    let id = given.member("E3").await.uuid;
    // Another key, and another department.
    let rekeyed = moved(3, "Legal").replacen("E3,", "N3,", 1);
    given.applied(full(), &csv((1..=20).filter(|n| *n != 3).map(person).chain([rekeyed]))).await;
    let acme = given.acme().await;
    let at = async |at| given.engine.member_at(&acme, at, id).await.unwrap();
    let told = |m: Option<Member>| m.map(|m| (m.key, m.values.get(FieldId::DEPARTMENT).unwrap_or("").to_owned()));
    assert_eq!(told(at(At::Now).await), Some(("N3".into(), "Legal".into())));
    assert_eq!(told(at(At::Version(1)).await), Some(("E3".into(), "Sales".into())));
    assert_eq!(told(at(At::Version(2)).await), told(at(At::Now).await));
    assert_eq!(at(At::Time(nobody)).await, None);
    // Whoever there is: the same as on the whole roster of then.
    for member in given.engine.roster(&acme, At::Version(1)).await.unwrap() {
        let found = given.engine.member_at(&acme, At::Version(1), member.uuid).await.unwrap();
        assert_eq!(found, Some(member));
    }
}
