//! The second approver: where two people must approve, the first approval applies nothing, and only somebody else's of the same does.

use muster_domain::{access, change::Kind, ids::ChangeSetId};
use muster_engine::{access::NewUser, import::ImportRequest, lists::Which, projections::reading::Wait};
use muster_testkit::database::Engine as On;
use uuid::Uuid;

use crate::rules_given::*;

pub const ANNA: &str = "os:anna@here";
pub const BEN: &str = "os:ben@here";

macro_rules! on_both_engines {
    ($($case:ident,)*) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Sqlite).await; })* }
        mod postgres { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Postgres).await; })* }
    };
}

on_both_engines! {
    the_first_approval_applies_nothing_and_somebody_elses_applies_it,
    the_same_person_again_is_refused_and_nothing_changes,
    another_choice_is_a_new_first_approval_whoever_gives_it,
    an_approval_of_what_has_changed_since_counts_no_longer,
    rejecting_takes_one_person_and_takes_the_approval_back,
}

/// Six people; a payload that moves two, adds one and misses one, and waits.
async fn waiting(on: On, settings: &[(&'static str, &'static str)]) -> (Given, Report) {
    let given = Given::on(on, settings).await;
    given.applied(full(), &staff(1..=6)).await;
    let payload = csv([moved(1, "Legal"), moved(2, "Legal"), person(3), person(4), person(6), person(7)]);
    let held = given.sync(Request { asked: Some(Asked::Hold), ..full() }, &payload).await;
    assert_eq!((held.state, held.approvals.awaits_second_approver), (State::Held, false));
    (given, held)
}

const ALWAYS: &[(&str, &str)] = &[("review.second_approver", "always")];

pub fn only(keys: &[&str]) -> Approval {
    let only = keys.iter().map(|k| (*k).to_owned()).collect();
    Approval { choice: Choice { only, ..Choice::default() }, ..Approval::default() }
}

impl Given {
    pub async fn approves(&self, actor: &str, report: &Report, approval: Approval) -> Result<Report, Error> {
        let id = report.change_set_id.unwrap().to_string();
        self.engine.acting_as(actor.to_owned()).approve("acme", Some(&id), approval).await
    }

    /// The approval is recorded, and nothing else happens.
    pub async fn is_first(&self, actor: &str, report: &Report, approval: Approval) -> Report {
        let before = (self.listed().await, self.acme_version().await);
        let state = self.change_set(report).await.state;
        let first = self.approves(actor, report, approval).await.unwrap();
        assert_eq!((first.state, first.approvals.awaits_second_approver), (state, true));
        assert_eq!(first.approvals.awaited().unwrap().by, actor);
        assert_eq!(before, (self.listed().await, self.acme_version().await), "nothing was applied");
        assert!(self.awaiting().await.contains(&report.change_set_id.unwrap()));
        self.verified().await;
        first
    }

    /// Which change sets await a second approver, as the list has them; the dashboard has the same.
    async fn awaiting(&self) -> Vec<ChangeSetId> {
        let acme = self.acme().await;
        let listed = self.engine.awaiting_second(&acme, Which::default()).await.unwrap();
        let listed: Vec<ChangeSetId> = listed.iter().map(|set| set.id).collect();
        let dashboard = self.engine.dashboard(acme.row.id, None, 1, Wait::WORK).await.unwrap();
        let waits = dashboard.waiting.iter().rev().map(|waiting| &waiting.waits);
        let shown: Vec<ChangeSetId> = waits.filter(|w| w.awaits_second_approver).map(|w| w.change_set).collect();
        assert_eq!((&shown, dashboard.awaiting_second_approver), (&listed, listed.len()));
        listed
    }

    async fn acme_version(&self) -> u64 {
        self.engine.store.head(self.acme().await.row.id).await.unwrap().roster_version
    }

    async fn last_seq(&self) -> u64 {
        self.engine.store.head(self.acme().await.row.id).await.unwrap().last_seq
    }

    pub async fn log(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.engine.export(&self.acme().await, &mut out).await.unwrap();
        out
    }
}

async fn the_first_approval_applies_nothing_and_somebody_elses_applies_it(on: On) {
    let (given, held) = waiting(on, ALWAYS).await;
    let first = given.is_first(ANNA, &held, Approval { comment: Some("zqfirst".into()), ..Approval::default() }).await;
    assert_eq!(given.awaiting().await, [held.change_set_id.unwrap()]);
    let awaited = first.approvals.awaited().unwrap();
    assert_eq!((awaited.changes, awaited.removals, &awaited.digest), (4, 1, held.digest.as_ref().unwrap()));
    let second = given.approves(BEN, &held, Approval::default()).await.unwrap();
    assert_eq!((second.state, second.approvals.awaits_second_approver), (State::Applied, false));
    assert_eq!(second.approvals.approvals[0].seconded_by.as_deref(), Some(BEN));
    assert_eq!((given.listed().await.len(), &*given.department("E1").await), (6, "Legal"));
    let set = given.change_set(&held).await;
    assert_eq!((set.decided_by.as_deref(), set.deciders()), (Some(BEN), vec![ANNA, BEN, BEN]));
    given.verified().await;
    assert_eq!(given.awaiting().await, []);

    let org = given.acme().await.row.id;
    let told = given.engine.activity(org, None, 10, Wait::WORK).await.unwrap().activity;
    let said = |from: usize| told[from].sentence.as_str();
    assert!(
        said(0).starts_with(&format!("{BEN} approved change set {} of the feed main as the second of two", set.id)),
        "{}",
        said(0)
    );
    assert!(
        said(1).starts_with(&format!("{ANNA} approved change set {} of the feed main as the first of two", set.id)),
        "{}",
        said(1)
    );
    assert!(said(1).ends_with("somebody else must approve the same") && !said(1).contains("zqfirst"), "{}", said(1));
    let overviews =
        given.engine.change_set_overviews(org, Which { limit: 10, ..Which::default() }, Wait::WORK).await.unwrap();
    assert_eq!(overviews.sets[0].set, set, "what is projected is what is stored");
}

async fn the_same_person_again_is_refused_and_nothing_changes(on: On) {
    let (given, held) = waiting(on, ALWAYS).await;
    let user = Uuid::from_u128(7);
    given.is_first(&access::actor("0123456789abcdef", user), &held, Approval::default()).await;
    let before = (given.last_seq().await, given.change_set(&held).await);
    let again =
        [access::actor("0123456789abcdef", user), access::actor("fedcba9876543210", user), format!("user:{user}")];
    for actor in again {
        let Err(Error::Forbidden(why)) = given.approves(&actor, &held, Approval::default()).await else {
            panic!("{actor} is the same person");
        };
        assert!(why.contains("you gave the first approval yourself") && why.contains("Anybody else"), "{why}");
    }
    assert_eq!(before, (given.last_seq().await, given.change_set(&held).await));
    given.verified().await;
    let other = access::actor("0123456789abcdef", Uuid::from_u128(8));
    assert_eq!(given.approves(&other, &held, Approval::default()).await.unwrap().state, State::Applied);
    given.verified().await;
}

async fn another_choice_is_a_new_first_approval_whoever_gives_it(on: On) {
    let (given, held) = waiting(on, ALWAYS).await;
    given.is_first(ANNA, &held, Approval::default()).await;
    given.is_first(BEN, &held, only(&["E1", "E2"])).await;
    given.is_first(BEN, &held, only(&["E1"])).await;
    given.is_first(ANNA, &held, Approval { reject_rest: true, ..only(&["E1"]) }).await;
    let part = given.approves(BEN, &held, Approval { reject_rest: true, ..only(&["E1"]) }).await.unwrap();
    assert_eq!(
        (part.state, &*given.department("E1").await, &*given.department("E2").await),
        (State::Applied, "Legal", "Sales")
    );
    assert_eq!(part.approvals.approvals[0].by, ANNA, "and the rest was rejected with it");
    given.verified().await;
}

async fn an_approval_of_what_has_changed_since_counts_no_longer(on: On) {
    let (given, held) = waiting(on, ALWAYS).await;
    given.is_first(ANNA, &held, Approval::default()).await;
    given.set_by_hand("E3", "department", "Desk").await;
    assert!(
        given.engine.look(&given.acme().await, None).await.unwrap().awaits_second_approver(),
        "nothing dropped out"
    );
    given.set_by_hand("E1", "department", "Desk").await;
    let seen = Approval { digest: held.digest.clone(), ..Approval::default() };
    assert!(matches!(given.approves(BEN, &held, seen).await, Err(Error::Stale(_))));
    assert!(!given.change_set(&held).await.awaits_second_approver());
    given.is_first(BEN, &held, Approval::default()).await;
    assert_eq!(given.approves(ANNA, &held, Approval::default()).await.unwrap().state, State::Applied);
    assert_eq!((&*given.department("E1").await, &*given.department("E2").await), ("Desk", "Legal"));
    given.verified().await;
}

async fn rejecting_takes_one_person_and_takes_the_approval_back(on: On) {
    let (given, held) = waiting(on, ALWAYS).await;
    given.is_first(ANNA, &held, Approval::default()).await;
    let choice = Choice { kinds: vec![Kind::Remove], ..Choice::default() };
    assert_eq!(given.reject(&held, choice).await.state, State::Held);
    given.is_first(BEN, &held, Approval::default()).await;
    let rejected = given.reject(&held, Choice::default()).await;
    assert_eq!((rejected.state, rejected.approvals.awaits_second_approver), (State::Rejected, false));
    assert!(given.approves(ANNA, &held, Approval::default()).await.is_err());
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_rule_one_approval_is_enough() {
    let (given, held) = waiting(On::Sqlite, &[]).await;
    let report = given.approves(ANNA, &held, Approval::default()).await.unwrap();
    assert_eq!((report.state, report.approvals.approvals.len()), (State::Applied, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guard_held_takes_two_and_what_policy_held_takes_one() {
    let (given, held) = waiting(On::Sqlite, &[("review.second_approver", "guarded")]).await;
    assert!(held.holds.is_empty());
    assert_eq!(given.approves(ANNA, &held, Approval::default()).await.unwrap().state, State::Applied);
    given.set("guard.removals.max_count", "1").await;
    let guarded = given.sync(full(), &staff(4..=7)).await;
    let confirming = |n| Approval { confirm_removals: n, ..Approval::default() };
    assert!(!guarded.holds.is_empty());
    // Each of the two knows how many leave.
    let unconfirmed = given.approves(ANNA, &guarded, confirming(None)).await;
    assert!(matches!(unconfirmed, Err(Error::Unconfirmed(_))));
    given.is_first(ANNA, &guarded, confirming(Some(3))).await;
    assert!(matches!(given.approves(BEN, &guarded, confirming(None)).await, Err(Error::Unconfirmed(_))));
    assert_eq!(given.approves(BEN, &guarded, confirming(Some(3))).await.unwrap().state, State::Applied);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_removals_take_two_also_in_parts() {
    let rule = [("review.second_approver_removals", "3"), ("guard.removals.max_percent", "off")];
    let given = Given::with(&rule).await;
    given.applied(full(), &staff(1..=10)).await;
    let payload = csv((5..=9).map(person).chain([moved(10, "Legal")]));
    let held = given.sync(Request { asked: Some(Asked::Hold), ..full() }, &payload).await;
    assert_eq!(given.approves(ANNA, &held, only(&["E10"])).await.unwrap().state, State::PartlyApplied);
    assert_eq!(given.approves(ANNA, &held, only(&["E1", "E2"])).await.unwrap().state, State::PartlyApplied);
    given.is_first(ANNA, &held, only(&["E3"])).await;
    given.is_first(ANNA, &held, Approval::default()).await;
    assert_eq!(given.change_set(&held).await.alone.iter().map(|a| a.removals).collect::<Vec<_>>(), [2]);
    assert_eq!(given.approves(BEN, &held, Approval::default()).await.unwrap().state, State::Applied);
    assert_eq!(given.listed().await.len(), 6);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_by_hand_and_an_undo_that_wait_take_two() {
    let given = Given::with(&[("review.second_approver", "always"), ("policy.hand", "hold")]).await;
    given.applied(full(), &staff(1..=6)).await;
    let edited = given.set_by_hand("E1", "department", "Desk").await;
    given.is_first(ANNA, &edited, Approval::default()).await;
    assert_eq!(given.approves(BEN, &edited, Approval::default()).await.unwrap().state, State::Applied);
    let ids = vec![edited.change_set_id.unwrap().to_string()];
    let undone = given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap();
    let undo = &undone.reports[0];
    given.is_first(ANNA, undo, Approval::default()).await;
    assert_eq!(given.department("E1").await, "Desk");
    assert!(matches!(given.approves(ANNA, undo, Approval::default()).await, Err(Error::Forbidden(_))));
    assert_eq!(given.approves(BEN, undo, Approval::default()).await.unwrap().state, State::Applied);
    assert_eq!(given.department("E1").await, "Sales");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_alone_has_applied_what_policy_holds_where_all_that_waits_takes_two() {
    let given = Given::with(&[("policy.hand", "hold")]).await;
    given.applied(full(), &staff(1..=6)).await;
    given.set("policy.api", "hold").await;
    let apply = || Request { asked: Some(Asked::Apply), ..partial() };
    given.applied(apply(), &csv([moved(1, "Legal")])).await;
    given.set("review.second_approver", "always").await;
    let held = given.sync(apply(), &csv([moved(1, "Press")])).await;
    let fields = vec![("department".into(), "Desk".into())];
    let edit = Edit::Set { key: "E2".into(), fields };
    let edited = given.engine.by_hand("acme", edit, Some(Asked::Apply)).await.unwrap();
    assert_eq!((held.state, edited.state), (State::Held, State::Held));
    assert_eq!((&*given.department("E1").await, &*given.department("E2").await), ("Legal", "Sales"));
    given.is_first(ANNA, &held, Approval::default()).await;
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_left_out_of_somebody_new_waits_for_two_again() {
    let (given, held) = waiting(On::Sqlite, ALWAYS).await;
    let but_department = || {
        let choice = Choice { except_fields: vec!["department".into()], ..Choice::default() };
        Approval { choice, ..Approval::default() }
    };
    given.is_first(ANNA, &held, but_department()).await;
    let part = given.approves(BEN, &held, but_department()).await.unwrap();
    assert_eq!((part.state, part.approvals.awaits_second_approver), (State::PartlyApplied, false));
    assert_eq!(part.approvals.approvals[0].seconded_by.as_deref(), Some(BEN));
    given.verified().await;
    given.is_first(BEN, &held, Approval::default()).await;
    assert_eq!(given.approves(ANNA, &held, Approval::default()).await.unwrap().state, State::Applied);
    assert_eq!((&*given.department("E1").await, &*given.department("E7").await), ("Legal", "Sales"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_the_rule_is_off_one_approval_is_enough() {
    let (given, held) = waiting(On::Sqlite, ALWAYS).await;
    given.is_first(ANNA, &held, Approval::default()).await;
    given.set("review.second_approver", "off").await;
    let report = given.approves(ANNA, &held, Approval::default()).await.unwrap();
    assert_eq!((report.state, report.approvals.approvals.len()), (State::Applied, 0));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_payload_takes_the_place_of_what_one_person_approved() {
    let (given, held) = waiting(On::Sqlite, ALWAYS).await;
    given.is_first(ANNA, &held, Approval::default()).await;
    given.applied(full(), &staff(1..=7)).await;
    let set = given.change_set(&held).await;
    assert_eq!((set.state, set.awaits_second_approver()), (State::Superseded, false));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_on_the_command_line_is_who_they_are_over_the_api() {
    let (given, held) = waiting(On::Sqlite, ALWAYS).await;
    let service = |name: &str| NewUser {
        kind: access::UserKind::Service,
        name: name.into(),
        email: None,
        password: None,
        operator: false,
    };
    let anna = given.engine.create_user(service("Anna")).await.unwrap();
    // Another key of hers is her, whatever somebody else is called.
    let other_key = access::actor("fedcba9876543210", anna.id);
    given.engine.create_user(service(&other_key)).await.unwrap();
    given.is_first(&access::actor("0123456789abcdef", anna.id), &held, Approval::default()).await;
    for actor in ["anna", "Anna", &anna.id.to_string(), &other_key] {
        let again = given.approves(actor, &held, Approval::default()).await;
        assert!(matches!(again, Err(Error::Forbidden(_))), "{actor}");
    }
    assert_eq!(given.approves("os:anna@here", &held, Approval::default()).await.unwrap().state, State::Applied);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_log_awaits_the_same_second_approver() {
    let (given, held) = waiting(On::Sqlite, ALWAYS).await;
    given.is_first(ANNA, &held, Approval::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("other.db").display());
    let other = Engine::open(&url, dir.path(), ANNA).await.unwrap();
    other.import(given.log().await.as_slice(), ImportRequest::default()).await.unwrap();
    let acme = other.organisation("acme").await.unwrap();
    assert_eq!(other.find_change_set(&acme, None).await.unwrap(), given.change_set(&held).await);
    assert!(other.verify(&acme).await.unwrap().is_clean());
    let again = other.approve("acme", None, Approval::default()).await;
    assert!(matches!(again, Err(Error::Forbidden(_))), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_forgotten_is_in_no_comment_of_a_first_approval() {
    let (given, held) = waiting(On::Sqlite, ALWAYS).await;
    given.is_first(ANNA, &held, Approval { comment: Some("zqalone".into()), ..only(&["E1"]) }).await;
    let both = Approval { comment: Some("zqboth p1@x.example is right".into()), ..only(&["E1", "E2"]) };
    given.is_first(ANNA, &held, both).await;
    let spared = Approval { comment: Some("zqspared".into()), ..only(&["E1", "E2"]) };
    given.is_first(BEN, &held, Approval { comment: None, ..only(&["E2"]) }).await;
    given.is_first(BEN, &held, spared).await;
    let log = String::from_utf8(given.log().await).unwrap();
    assert!(["zqalone", "zqboth", "zqspared"].iter().all(|word| log.contains(word)));
    let request = muster_engine::forget::ForgetRequest { key: "E1".into(), ..Default::default() };
    given.engine.forget("acme", &request).await.unwrap();
    let log = String::from_utf8(given.log().await).unwrap();
    assert_eq!(["zqalone", "zqboth", "zqspared"].map(|word| log.contains(word)), [false, false, true]);
    assert!(!given.change_set(&held).await.awaits_second_approver(), "what was about them dropped out");
    given.verified().await;
    given.is_first(ANNA, &held, Approval::default()).await;
    assert_eq!(given.approves(BEN, &held, Approval::default()).await.unwrap().state, State::Applied);
    given.verified().await;
}
