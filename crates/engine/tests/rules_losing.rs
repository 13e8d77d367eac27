//! Whoever loses eligibility counts, and not only who is taken off the roster: for the number that a reviewer confirms, and for the
//! second approver, within a change set and within a day.

use muster_domain::{
    change::Kind,
    replay::{
        log::each_event,
        trial::{OtherPolicy, Trial},
    },
};
use muster_engine::{import::ImportRequest, review::Losing};
use muster_testkit::database::Engine as On;
use proptest::{prelude::*, sample::select, test_runner::TestRunner};

use crate::{
    rules_given::*,
    rules_second::{ANNA, BEN, only},
};

macro_rules! on_both_engines {
    ($($case:ident,)*) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Sqlite).await; })* }
        mod postgres { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Postgres).await; })* }
    };
}

on_both_engines! {
    whoever_loses_eligibility_in_any_way_is_in_the_number_to_confirm,
    many_who_lose_eligibility_by_status_take_two,
    what_one_person_alone_let_through_within_a_day_adds_up,
}

/// A payload with a status and an end date behind the usual columns.
fn with_status<'a>(people: impl IntoIterator<Item = (usize, &'a str, &'a str)>) -> String {
    let rows: Vec<String> =
        people.into_iter().map(|(n, status, end)| format!("{},{status},{end}", person(n))).collect();
    format!("{HEADER},employment_status,end_date\n{}\n", rows.join("\n"))
}

/// Everybody of these is active, but for some.
fn active<'a>(numbers: impl IntoIterator<Item = usize>, but: &'a [(usize, &'a str, &'a str)]) -> String {
    let of = |n| but.iter().copied().find(|b| b.0 == n).unwrap_or((n, "active", ""));
    with_status(numbers.into_iter().map(of).collect::<Vec<_>>())
}

fn hold(request: Request) -> Request {
    Request { asked: Some(Asked::Hold), ..request }
}

fn confirming(n: impl Into<Option<u64>>) -> Approval {
    Approval { confirm_removals: n.into(), ..Approval::default() }
}

fn without(field: &str, approval: Approval) -> Approval {
    let choice = Choice { except_fields: vec![field.into()], ..approval.choice };
    Approval { choice, ..approval }
}

impl Given {
    async fn would_lose(&self, report: &Report) -> (u64, u64) {
        let Losing { removals, taken_off } =
            self.engine.would_lose(&self.acme().await, &self.change_set(report).await).await.unwrap();
        (removals, taken_off)
    }

    /// It is refused, and says how many it would be.
    async fn is_unconfirmed(&self, report: &Report, approval: Approval) -> (u64, u64) {
        match self.approve(report, approval).await {
            Err(Error::Unconfirmed(why)) => (why.losing.removals, why.losing.taken_off),
            other => panic!("{other:?}"),
        }
    }

    /// Of ten people these are to be given a status that excludes them, and it waits.
    async fn excluded(&self, numbers: std::ops::RangeInclusive<usize>) -> Report {
        let rows = with_status(numbers.map(|n| (n, "Terminated", "")));
        self.sync(hold(partial()), &rows).await
    }

    async fn alone(&self, report: &Report) -> Vec<u64> {
        self.change_set(report).await.alone.iter().map(|a| a.removals).collect()
    }
}

async fn whoever_loses_eligibility_in_any_way_is_in_the_number_to_confirm(on: On) {
    let given = Given::on(on, &[]).await;
    given.applied(full(), &active(1..=20, &[(20, "Terminated", "")])).await;
    let changed = [(3, "Terminated", ""), (4, "terminated", ""), (5, "active", "2020-01-31"), (6, "leave", "")];
    let held = given.sync(full(), &active(3..=19, &changed)).await;
    assert_eq!((held.state, guards(&held)), (State::Held, vec!["removals"]));
    assert_eq!((held.counts.removed, given.change_set(&held).await.figures.removals), (3, 5), "E20 had lost it before");
    assert_eq!(given.would_lose(&held).await, (5, 2));
    for wrong in [None, Some(2), Some(3), Some(6)] {
        assert_eq!(given.is_unconfirmed(&held, confirming(wrong)).await, (5, 2), "{wrong:?}");
    }
    let updates = Choice { kinds: vec![Kind::Update], ..Choice::default() };
    let updates = Approval { choice: updates, ..Approval::default() };
    assert_eq!(given.is_unconfirmed(&held, updates.clone()).await, (3, 0), "by status and date alone");
    assert_eq!(given.is_unconfirmed(&held, without("employment_status", updates)).await, (1, 0));
    let why = given.approve(&held, Approval::default()).await.unwrap_err().to_string();
    assert!(why.contains("this makes 5 people ineligible: 2 removed, 3 by status or date"), "{why}");
    assert!(why.contains("--confirm-removals 5"), "{why}");
    assert_eq!(given.listed().await.len(), 20, "nothing was approved");
    let part = Approval { confirm_removals: Some(1), ..only(&["E3"]) };
    assert_eq!(given.approve(&held, part).await.unwrap().state, State::PartlyApplied);
    assert_eq!(given.would_lose(&held).await, (4, 2), "of what still waits");
    assert_eq!(given.approve(&held, confirming(4)).await.unwrap().state, State::Applied);
    assert_eq!((given.would_lose(&held).await, given.alone(&held).await), ((0, 0), vec![1, 4]));
    given.verified().await;
}

async fn many_who_lose_eligibility_by_status_take_two(on: On) {
    let given = Given::on(on, &[("review.second_approver_removals", "3"), ("guard.removals.max_percent", "off")]).await;
    given.applied(full(), &active(1..=10, &[])).await;
    let held = given.excluded(1..=3).await;
    assert_eq!((held.holds.len(), held.counts.removed, given.would_lose(&held).await), (0, 0, (3, 0)));
    let first = given.is_first(ANNA, &held, Approval::default()).await;
    assert_eq!(first.approvals.awaited().unwrap().removals, 3);
    assert!(given.is_eligible("E1").await);
    assert!(matches!(given.approves(ANNA, &held, Approval::default()).await, Err(Error::Forbidden(_))));
    // Without the status nobody loses anything.
    let harmless = given.approves(ANNA, &held, without("employment_status", only(&["E1"]))).await;
    assert!(matches!(harmless, Err(Error::Wrong(_))), "nothing of it is meant");
    assert_eq!(given.approves(BEN, &held, Approval::default()).await.unwrap().state, State::Applied);
    assert!(!given.is_eligible("E1").await);
    assert!(given.alone(&held).await.is_empty(), "two approved it");
    given.verified().await;
}

async fn what_one_person_alone_let_through_within_a_day_adds_up(on: On) {
    let given = Given::on(on, &[("review.second_approver_removals", "5"), ("guard.removals.max_percent", "off")]).await;
    given.applied(full(), &active(1..=20, &[])).await;
    // What policy applies nobody approved.
    given.applied(leavers(), &staff(17..=20)).await;
    let three = given.excluded(1..=3).await;
    assert_eq!(given.approves(ANNA, &three, Approval::default()).await.unwrap().state, State::Applied);
    let next = given.excluded(4..=6).await;
    given.is_first(ANNA, &next, Approval::default()).await;
    given.is_first(BEN, &next, only(&["E4", "E5"])).await;
    // What one approver may still do alone, whoever it is: four are four.
    assert_eq!(given.approves(BEN, &next, only(&["E4"])).await.unwrap().state, State::PartlyApplied);
    given.is_first(BEN, &next, only(&["E5"])).await;
    given.is_first(ANNA, &next, Approval::default()).await;
    assert_eq!(given.approves(BEN, &next, Approval::default()).await.unwrap().state, State::Applied);
    assert_eq!(
        (given.alone(&three).await, given.alone(&next).await),
        (vec![3], vec![1]),
        "the last were approved by two"
    );
    // What makes nobody ineligible takes one.
    let harmless = given.sync(hold(partial()), &csv([moved(10, "Legal")])).await;
    assert_eq!(given.approves(ANNA, &harmless, Approval::default()).await.unwrap().state, State::Applied);
    let one = given.sync(hold(leavers()), &staff([7])).await;
    given.is_first(ANNA, &one, Approval::default()).await;
    given.set("review.second_approver_removals", "6").await;
    assert_eq!(given.approves(ANNA, &one, Approval::default()).await.unwrap().state, State::Applied, "five of six");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_let_through_is_in_the_log_and_adds_up_where_it_is_imported() {
    let given = Given::with(&[("review.second_approver_removals", "5"), ("guard.removals.max_percent", "off")]).await;
    given.applied(full(), &active(1..=20, &[])).await;
    let three = given.excluded(1..=3).await;
    given.approves(ANNA, &three, Approval::default()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("other.db").display());
    let other = Engine::open(&url, dir.path(), ANNA).await.unwrap();
    other.import(given.log().await.as_slice(), ImportRequest::default()).await.unwrap();
    let rows = with_status((4..=5).map(|n| (n, "Terminated", "")));
    let held = other.sync("acme", hold(partial()), &mut rows.as_bytes()).await.unwrap();
    let id = held.change_set_id.unwrap().to_string();
    let first = other.approve("acme", Some(&id), Approval::default()).await.unwrap();
    assert_eq!((first.state, first.approvals.awaits_second_approver), (State::Held, true));
    let acme = other.organisation("acme").await.unwrap();
    assert!(other.verify(&acme).await.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_eligibility_is_asked_of_the_roster_and_the_settings_of_now() {
    let given = Given::with(&[("review.second_approver", "always"), ("guard.removals.max_count", "1")]).await;
    given.feed_named("payroll").await;
    given.applied(full(), &active(1..=12, &[])).await;
    let leave: Vec<_> = (6..=8).map(|n| (n, "leave", "")).collect();
    // Five who leave, and three whose status excludes nobody yet.
    let held = given.sync(full(), &active(6..=12, &leave)).await;
    assert_eq!(
        (guards(&held), given.would_lose(&held).await),
        (vec!["removals", "removals_count", "min_rows"], (5, 5))
    );
    given.is_first(ANNA, &held, confirming(5)).await;
    given.set("eligibility.excluded_statuses", "Terminated,leave").await;
    assert_eq!(given.would_lose(&held).await, (8, 5), "the changes are the same, and not what they do");
    assert_eq!(given.is_unconfirmed(&held, confirming(5)).await, (8, 5));
    let digest = given.change_set(&held).await.digest;
    assert_eq!(Some(digest), held.digest);
    given.is_first(BEN, &held, confirming(8)).await;
    // Another feed names one of them: the absence ends no claim but the feed's own.
    given.sync(of("payroll", full()), &staff([5])).await;
    given.engine.look(&given.acme().await, held.change_set_id.map(|id| id.to_string()).as_deref()).await.unwrap();
    assert_eq!(given.would_lose(&held).await, (7, 4));
    // Whoever was taken off meanwhile loses nothing by it any more.
    given.by_hand(Edit::Remove { key: "E4".into() }).await;
    given.engine.look(&given.acme().await, held.change_set_id.map(|id| id.to_string()).as_deref()).await.unwrap();
    assert_eq!(given.would_lose(&held).await, (6, 3));
    given.is_first(ANNA, &held, confirming(6)).await;
    assert_eq!(given.approves(BEN, &held, confirming(6)).await.unwrap().state, State::Applied);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_and_an_edit_by_hand_count_whom_they_make_ineligible() {
    let given = Given::with(&[("review.second_approver_removals", "3"), ("guard.removals.max_percent", "off")]).await;
    given.applied(full(), &active(1..=6, &[])).await;
    let more = given.applied(partial(), &active(7..=9, &[])).await;
    given.set("policy.hand", "hold").await;
    let ids = vec![more.change_set_id.unwrap().to_string()];
    let undone = given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap();
    let undo = &undone.reports[0];
    assert_eq!((undo.state, given.would_lose(undo).await), (State::Held, (3, 3)));
    given.is_first(ANNA, undo, Approval::default()).await;
    let edited = given.set_by_hand("E1", "employment_status", "Terminated").await;
    assert_eq!(given.would_lose(&edited).await, (1, 0));
    assert_eq!(given.approves(ANNA, &edited, Approval::default()).await.unwrap().state, State::Applied);
    assert_eq!(given.approves(BEN, undo, Approval::default()).await.unwrap().state, State::Applied);
    let edited = given.set_by_hand("E2", "end_date", "2020-01-31").await;
    assert_eq!(given.approves(ANNA, &edited, Approval::default()).await.unwrap().state, State::Applied, "two by now");
    let deleted = given.by_hand(Edit::Remove { key: "E3".into() }).await;
    given.is_first(ANNA, &deleted, Approval::default()).await;
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_alone_has_applied_what_policy_holds_and_would_make_so_many_ineligible() {
    let off = [("guard.removals.max_percent", "off"), ("guard.min_rows_percent", "off")];
    let given = Given::with(&off).await;
    given.applied(full(), &active(1..=20, &[])).await;
    for (key, value) in [("policy.api", "hold"), ("policy.hand", "hold"), ("review.second_approver_removals", "3")] {
        given.set(key, value).await;
    }
    let apply = |request: Request| Request { asked: Some(Asked::Apply), ..request };
    let two = with_status((1..=2).map(|n| (n, "Terminated", "")));
    assert_eq!(given.sync(apply(partial()), &two).await.state, State::Applied, "two are fewer than three");
    let three = with_status((3..=5).map(|n| (n, "Terminated", "")));
    let held = given.sync(apply(partial()), &three).await;
    assert_eq!((held.state, held.holds.len(), given.is_eligible("E3").await), (State::Held, 0, true));
    given.is_first(ANNA, &held, Approval::default()).await;
    given.set("review.second_approver_removals", "1").await;
    let removed = given.engine.by_hand("acme", Edit::Remove { key: "E6".into() }, Some(Asked::Apply)).await.unwrap();
    assert_eq!(removed.state, State::Held);
    given.set("policy.hand", "apply").await;
    let removed = given.by_hand(Edit::Remove { key: "E7".into() }).await;
    assert_eq!(removed.state, State::Applied, "policy needs nobody");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_has_applied_though_policy_holds_it_adds_up() {
    let given = Given::with(&[("review.second_approver_removals", "5"), ("guard.removals.max_percent", "off")]).await;
    given.applied(full(), &active(1..=20, &[])).await;
    let apply = |request: Request| Request { asked: Some(Asked::Apply), ..request };
    // Policy would have let it through.
    let anyway = given.applied(apply(leavers()), &staff(17..=20)).await;
    for key in ["policy.api", "policy.hand"] {
        given.set(key, "hold").await;
    }
    let three = given.applied(apply(leavers()), &staff(1..=3)).await;
    let removed = given.engine.by_hand("acme", Edit::Remove { key: "E4".into() }, Some(Asked::Apply)).await.unwrap();
    assert_eq!((given.alone(&anyway).await, given.alone(&three).await), (vec![], vec![3]));
    assert_eq!((removed.state, given.alone(&removed).await), (State::Applied, vec![1]));
    let one = given.sync(apply(leavers()), &staff([5])).await;
    let by_hand = given.engine.by_hand("acme", Edit::Remove { key: "E6".into() }, Some(Asked::Apply)).await.unwrap();
    assert_eq!((one.state, by_hand.state), (State::Held, State::Held), "the fifth within a day");
    given.is_first(ANNA, &one, Approval::default()).await;
    given.applied(apply(partial()), &csv([moved(10, "Legal")])).await;
    given.verified().await;
    let mut trial = Trial::new(OtherPolicy::default());
    each_event(given.log().await.as_slice(), |event| {
        assert!(trial.take(event)?.is_none_or(|one| !one.differs()), "the policy of the time comes to what happened");
        Ok(true)
    })
    .unwrap();
}

/// What may be said of somebody: their status and end date; nothing, if they are not in the payload.
type Said = Option<(&'static str, &'static str)>;

const PLAIN: (&str, &str) = ("active", "");
const EXCLUDED: (&str, &str) = ("Terminated", "");
const ENDED: (&str, &str) = ("active", "2020-01-31");

/// What is said of somebody first and then. (An end that is said of whoever had lost eligibility by status counts for the guard as
/// an end brought forward, so it is left out here.)
fn any_turn() -> impl Strategy<Value = (Said, Said)> {
    let first = select(vec![None, Some(PLAIN), Some(EXCLUDED), Some(ENDED)]);
    (first, select(vec![None, Some(PLAIN), Some(("leave", "")), Some(EXCLUDED), Some(ENDED)]))
        .prop_filter("an end for somebody excluded", |turn| *turn != (Some(EXCLUDED), Some(ENDED)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_asked_for_is_that_of_people_who_were_eligible_and_then_are_not() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 16, failure_persistence: None, ..Default::default() });
    let turns = prop::collection::vec(any_turn(), 6..20);
    let run = |turns: Vec<(Said, Said)>| {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(asked_for_who_lost_it(turns)))
    };
    runner
        .run(&turns, |turns| {
            run(turns);
            Ok(())
        })
        .unwrap();
}

async fn asked_for_who_lost_it(turns: Vec<(Said, Said)>) {
    let given = Given::with(&[("guard.removals.max_count", "0"), ("guard.min_rows_percent", "off")]).await;
    // One who is there both times: a list of nobody is another matter.
    let said = |of: &dyn Fn(&(Said, Said)) -> Said| {
        let people =
            turns.iter().enumerate().filter_map(|(i, turn)| of(turn).map(|(status, end)| (i + 2, status, end)));
        with_status([(1, "active", "")].into_iter().chain(people))
    };
    given.applied(full(), &said(&|turn| turn.0)).await;
    let keys: Vec<String> = given.everybody().await.into_keys().collect();
    let eligible = async || {
        let mut eligible = Vec::new();
        for key in &keys {
            eligible.push(given.is_eligible(key).await);
        }
        eligible
    };
    let before = eligible().await;
    let held = given.sync(hold(full()), &said(&|turn| turn.1)).await;
    let asked = if held.state == State::Held { given.would_lose(&held).await.0 } else { 0 };
    if held.state == State::Held {
        given.approve(&held, confirming(asked)).await.unwrap();
    }
    let after = eligible().await;
    let lost = before.iter().zip(&after).filter(|(before, after)| **before && !**after).count();
    assert_eq!(asked, lost as u64, "{turns:?}");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_eligibility_is_worked_out_once_and_of_a_few_change_sets_at_a_time() {
    let given = Given::organisation().await;
    given.applied(full(), &active(1..=20, &[])).await;
    let held = given.excluded(1..=3).await;
    assert_eq!(given.would_lose(&held).await, (3, 0));
    let engine = given.engine.clone().patient_for(std::time::Duration::from_millis(20));
    let (acme, set) = (given.acme().await, given.change_set(&held).await);
    let mut turns = Vec::new();
    let refused = loop {
        assert!(turns.len() < 100, "there is no end to it");
        match engine.turn_to_count().await {
            Ok(turn) => turns.push(turn),
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, Error::Busy(_)), "{refused}");
    assert_eq!(turns.len(), 2);
    // Nothing is read for what was asked before; of another digest, other settings or another roster it is.
    assert_eq!(engine.would_lose(&acme, &set).await.unwrap(), Losing { removals: 3, taken_off: 0 });
    let other = ChangeSet { digest: "another".to_owned(), ..set.clone() };
    assert!(matches!(engine.would_lose(&acme, &other).await, Err(Error::Busy(_))));
    given.set("eligibility.excluded_statuses", "leave").await;
    assert!(matches!(engine.would_lose(&given.acme().await, &set).await, Err(Error::Busy(_))));
    given.by_hand(Edit::Remove { key: "E9".into() }).await;
    assert!(matches!(engine.would_lose(&acme, &set).await, Err(Error::Busy(_))));
    turns.pop();
    assert_eq!(given.engine.would_lose(&given.acme().await, &set).await.unwrap(), Losing::default());
}
