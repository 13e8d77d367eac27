//! What is told to whoever decides on a change set that is no longer what they saw.

use muster_engine::review::{Became, Since};

use crate::rules_given::*;

/// What happened since, and to how many.
fn steps(since: &[Since]) -> Vec<(Became, u32)> {
    since.iter().map(|step| (step.what, step.changes)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_decides_too_late_is_told_what_happened_since_they_looked() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let list = csv([moved(1, "Legal"), moved(2, "Legal"), moved(3, "Legal"), person(4), person(6), person(7)]);
    let held = given.sync(Request { asked: Some(Asked::Hold), ..full() }, &list).await;
    let first = given.change_set(&held).await.digest;
    let choosing = |key: &str| Choice { only: vec![key.to_owned()], ..Choice::default() };
    let anna = given.engine.acting_as("os:anna@here".to_owned());
    let id = held.change_set_id.unwrap().to_string();
    let part = Approval { choice: choosing("E1"), digest: Some(first.clone()), ..Approval::default() };
    anna.approve("acme", Some(&id), part).await.unwrap();
    let second = given.change_set(&held).await.digest;
    given.set_by_hand("E2", "department", "Legal").await;
    given.set_by_hand("E3", "department", "Desk").await;
    let late = Approval { digest: Some(first.clone()), ..Approval::default() };
    let Err(Error::Stale(why)) = given.approve(&held, late).await else { panic!("it was approved") };
    for told in ["1 change was applied by os:anna@here (", "1 change dropped out, as the roster says the same by now ("]
    {
        assert!(why.contains(told), "{why}");
    }
    let third = given.change_set(&held).await.digest;
    given.reject(&held, choosing("E7")).await;
    let set = given.change_set(&held).await;
    let acme = given.acme().await;
    let all = [(Became::Applied, 1), (Became::AlreadySo, 1), (Became::Conflicting, 1), (Became::Rejected, 1)];
    for (seen, from) in [(&first, 0), (&second, 1), (&third, 3), (&set.digest, 4)] {
        let since = given.engine.since(&acme, &set, seen).await.unwrap();
        assert_eq!(steps(&since), all[from..], "{seen}");
    }
    assert!(given.engine.since(&acme, &set, "0").await.unwrap().is_empty(), "it never had that digest");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_names_a_digest_that_never_was_is_told_so() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let held = given.sync(Request { asked: Some(Asked::Hold), ..full() }, &staff(1..=7)).await;
    let other = Approval { digest: Some("0".repeat(32)), ..Approval::default() };
    let Err(Error::Stale(why)) = given.approve(&held, other).await else { panic!("it was approved") };
    assert!(why.starts_with("Nothing was approved. It never waited under the digest that was given."), "{why}");
    let set = given.change_set(&held).await;
    assert!(why.contains("1 of 1 changes wait now") && why.contains(&set.digest), "{why}");
}
