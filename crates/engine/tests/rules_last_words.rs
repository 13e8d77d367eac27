//! What a feed last said: pins, rejections, several feeds, and fingerprints, which are only a cache of it.

use crate::rules_given::*;
use muster_engine::{known::Known, sizes::Sizes};
use proptest::prelude::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_by_hand_stays_until_the_feed_changes_its_mind() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    assert_eq!(given.set_by_hand("E1", "department", "Legal").await.state, State::Applied);
    let report = given.sync(full(), &csv((1..=5).map(person).chain([moved(6, "Press")]))).await;
    assert_eq!((report.counts.suppressed, report.counts.updated), (1, 1));
    assert_eq!(given.department("E1").await, "Legal");
    given.applied(full(), &csv((2..=6).map(person).chain([moved(1, "R&D")]))).await;
    assert_eq!(given.department("E1").await, "R&D");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_of_mapping_releases_a_pin() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    given.set_by_hand("E1", "department", "Legal").await;
    let acme = given.acme().await;
    let feed = acme.feed("main").unwrap();
    let mapping = [("department".to_owned(), "Team".to_owned())].into();
    given.engine.set_feed(&acme, feed, FeedSettings { mapping, ..feed.settings.clone() }).await.unwrap();
    let renamed = staff(1..=6).replacen("department", "Team", 1);
    let report = given.sync(full(), &renamed).await;
    assert_eq!((report.counts.suppressed, report.counts.unchanged, report.counts.updated), (1, 5, 0));
    assert_eq!(given.department("E1").await, "Legal");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_by_hand_stays_although_the_feed_still_names_the_person() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    given.by_hand(Edit::Remove { key: "E3".into() }).await;
    let report = given.applied(full(), &csv([1, 3, 4, 5, 6].map(person).into_iter().chain([moved(2, "Legal")]))).await;
    assert_eq!((report.counts.suppressed, report.counts.reinstated), (1, 0));
    assert!(!given.member("E3").await.is_listed());
    let forgotten = csv([1, 4, 5, 6].map(person).into_iter().chain([moved(2, "Legal")]));
    assert_eq!(given.sync(full(), &forgotten).await.state, State::NoChanges);
    let report = given.applied(full(), &staff(1..=6)).await;
    assert_eq!(report.counts.reinstated, 1, "gone from the feed and come again");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_changes_are_not_proposed_again_until_the_value_changes() {
    let given = Given::with(&[("policy.api", "hold")]).await;
    let first = given.sync(full(), &staff(1..=6)).await;
    given.approve(&first, Approval::default()).await.unwrap();
    let held =
        given.sync(full(), &csv([moved(1, "Legal"), moved(2, "Legal")].into_iter().chain((3..=6).map(person)))).await;
    let only = Choice { only: vec!["E1".into()], ..Choice::default() };
    given.reject(&held, only).await;
    given.approve(&held, Approval::default()).await.unwrap();
    let again =
        given.sync(full(), &csv([moved(1, "Legal"), moved(2, "Legal")].into_iter().chain((3..=6).map(person)))).await;
    assert_eq!((again.counts.updated, again.state), (0, State::NoChanges));
    let again =
        given.sync(full(), &csv([moved(1, "Legal"), moved(2, "Press")].into_iter().chain((3..=6).map(person)))).await;
    assert_eq!((again.counts.suppressed, again.counts.updated), (1, 1));
    let again = given
        .sync(dry(full()), &csv([moved(1, "Press"), moved(2, "Legal")].into_iter().chain((3..=6).map(person))))
        .await;
    assert_eq!(again.counts.updated, 1);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_removal_is_asked_again_held_and_lapses_once_named() {
    let given = Given::with(&[("policy.api", "hold")]).await;
    let first = given.sync(full(), &staff(1..=6)).await;
    given.approve(&first, Approval::default()).await.unwrap();
    let held = given.sync(full(), &csv((1..=4).map(person).chain([moved(6, "Legal")]))).await;
    given.reject(&held, Choice { only: vec!["E5".into()], ..Choice::default() }).await;
    given.approve(&held, Approval::default()).await.unwrap();
    given.set("policy.api", "apply").await;
    let soon = given.sync(full(), &csv((1..=4).map(person).chain([moved(6, "Press")]))).await;
    assert_eq!((soon.state, soon.counts.removed), (State::Applied, 0));
    given.set("ask_again_days", "0").await;
    let later = given.sync(full(), &csv((1..=4).map(person).chain([moved(6, "R&D")]))).await;
    assert_eq!((later.state, guards(&later)), (State::Held, vec!["ask_again"]));
    given.set("ask_again_days", "30").await;
    given.applied(full(), &csv((1..=5).map(person).chain([moved(6, "Desk")]))).await;
    let gone = given.applied(full(), &csv((1..=4).map(person).chain([moved(6, "Bar")]))).await;
    assert_eq!(gone.counts.removed, 1, "named in between, so it is a new absence");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_follows_the_highest_priority_and_when_it_lapses_the_next_feeds_last_words() {
    let given = Given::organisation().await;
    given.feed(FeedSettings { name: "payroll".into(), priority: 5, ..FeedSettings::default() }).await;
    given.applied(full(), &staff(1..=6)).await;
    given.applied(of("payroll", full()), &csv([moved(1, "Legal")])).await;
    assert_eq!(given.department("E1").await, "Legal");
    let report = given.sync(full(), &csv((2..=6).map(person).chain([moved(1, "Press")]))).await;
    assert_eq!((report.state, report.counts.suppressed), (State::NoChanges, 1));
    assert_eq!(given.department("E1").await, "Legal");
    given.sync(of("payroll", leavers()), &csv([person(1)])).await;
    assert_eq!(given.department("E1").await, "Press", "main's last word");
    assert!(given.member("E1").await.words.is_empty());
    given.verified().await;
}

/// Something that says who is where: who is in it (bit by bit), in which department they are said to be, and how it comes.
type Night = (u8, [u8; 8], How);

#[derive(Clone, Copy, Debug)]
enum How {
    /// The list of everybody.
    List,
    /// Some people, with the list's columns.
    Some,
    /// A push: some people, with other columns than the list's.
    Push,
    /// Some people leave.
    Leave,
    /// An administrator moves the first of them.
    Hand,
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![3 => Just(How::List), 1 => Just(How::Some), 3 => Just(How::Push), 1 => Just(How::Leave), 1 => Just(How::Hand)]
}

const DEPARTMENTS: [&str; 4] = ["Sales", "Legal", "", "Press"];

/// Does to an organisation what a night does; nothing is told of what a hand did.
async fn live(given: &Given, (who, departments, how): &Night) -> Option<Report> {
    let department = |n: usize| DEPARTMENTS[departments[n] as usize];
    let named: Vec<usize> = (0..8).filter(|n| who >> n & 1 == 1).collect();
    let list = || csv(named.iter().map(|n| moved(*n, department(*n))));
    let push = || {
        let rows: String = named.iter().map(|n| format!("{},E{n}\n", department(*n))).collect();
        format!("department,employee_id\n{rows}")
    };
    Some(match how {
        How::List => given.sync(full(), &list()).await,
        How::Some => given.sync(partial(), &list()).await,
        How::Push => given.sync(partial(), &push()).await,
        How::Leave => given.sync(leavers(), &push()).await,
        How::Hand => {
            let first = named.first().copied().unwrap_or_default();
            let fields = vec![("department".into(), department(first).into())];
            // Whoever is not on the roster cannot be edited, in none of the organisations.
            let _ = given.engine.by_hand("acme", Edit::Set { key: format!("E{first}").into(), fields }, None).await;
            return None;
        }
    })
}

async fn same_without_fingerprints(nights: Vec<Night>) {
    let off = [
        ("guard.removals.max_percent", "off"),
        ("guard.min_rows_percent", "off"),
        ("guard.blanked_field_percent", "off"),
    ];
    let (with, mut without, mut many) = (Given::with(&off).await, Given::with(&off).await, Given::with(&off).await);
    // Each path that is taken for many rows, with known rows between them and with none.
    (without.engine.sizes, many.engine.sizes) = (Sizes::SMALLEST, Sizes::SMALLEST);
    for (i, night) in nights.iter().enumerate() {
        without.forget_fingerprints().await;
        let one = live(&with, night).await;
        for given in [&without, &many] {
            let other = live(given, night).await;
            let (Some(one), Some(other)) = (&one, &other) else { continue };
            assert_eq!((one.state, one.counts, one.holds.len()), (other.state, other.counts, other.holds.len()));
            assert_eq!(with.lines(one).await, given.lines(other).await);
        }
        for given in [&with, &without, &many].into_iter().filter(|_| i == 0) {
            given.set_by_hand("E0", "department", "Desk").await;
        }
    }
    let strip = |all: std::collections::BTreeMap<String, Member>| -> Vec<Member> {
        all.into_values().map(|m| Member { uuid: Default::default(), ..m }).collect()
    };
    let expected = strip(with.everybody().await);
    for given in [with, without, many] {
        assert_eq!(strip(given.everybody().await), expected);
        given.verified().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_fingerprints_every_change_set_is_the_same(
        mut nights in prop::collection::vec((any::<u8>(), prop::array::uniform8(0u8..4), how()), 1..9)
    ) {
        (nights[0].0, nights[0].2) = (nights[0].0 | 1, How::List);
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(same_without_fingerprints(nights));
    }
}

/// The layout of what is known of `main`'s rows, and the members whom these rows name.
async fn known(given: &Given) -> (Vec<u8>, Vec<u32>) {
    let acme = given.acme().await.row.id;
    let known = Known::load(&given.engine.store, acme, FeedNo::MAIN).await.unwrap().unwrap();
    let mut members: Vec<u32> = known.entries().map(|(_, no)| no).collect();
    members.sort_unstable();
    (known.layout().to_vec(), members)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_between_two_lists_leaves_what_is_known_of_the_others() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=40)).await;
    let (layout, members) = known(&given).await;
    assert_eq!(members.len(), 40);
    given.applied(partial(), "department,employee_id\nLegal,E1\n").await;
    given.set_by_hand("E2", "department", "Desk").await;
    let same = given.sync(partial(), "department,employee_id\nSales,E3\n").await;
    assert_eq!(same.state, State::NoChanges);
    let changed = [given.member("E1").await.no, given.member("E2").await.no];
    let others: Vec<u32> = members.into_iter().filter(|no| !changed.contains(no)).collect();
    assert_eq!(known(&given).await, (layout.clone(), others));
    // The list says of the first what it said before: it is compared all the same, and the value is set back.
    let night =
        given.sync(full(), &csv([moved(4, "Press")].into_iter().chain((1..=40).filter(|n| *n != 4).map(person)))).await;
    assert_eq!((night.counts.updated, night.counts.suppressed, night.counts.unchanged), (2, 1, 37));
    assert_eq!((given.department("E1").await, given.department("E2").await), ("Sales".into(), "Desk".into()));
    assert_eq!(known(&given).await.0, layout);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_payload_of_some_people_takes_over_what_is_known_only_if_it_knows_half_as_many() {
    let mut given = Given::organisation().await;
    given.engine.sizes.small_bytes = 0;
    given.applied(full(), &staff(1..=40)).await;
    let (layout, _) = known(&given).await;
    let push = |numbers: std::ops::RangeInclusive<usize>| {
        let rows: String = numbers.map(|n| format!("Legal,E{n}\n")).collect();
        format!("department,employee_id\n{rows}")
    };
    given.applied(partial(), &push(1..=20)).await;
    let (kept, members) = known(&given).await;
    assert_eq!((&kept, members.len()), (&layout, 20));
    given.applied(partial(), &push(1..=21)).await;
    let (kept, members) = known(&given).await;
    assert_eq!((kept == layout, members.len()), (false, 21));
    assert_eq!(given.sync(partial(), &push(1..=22)).await.counts.updated, 1);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_digest_is_the_same_without_fingerprints() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=60)).await;
    given.applied(full(), &csv((2..=60).map(person).chain([moved(1, "Legal")]))).await;
    let next = csv((2..=57).map(person).chain([moved(1, "Press"), moved(58, ""), person(60)]));
    let with = given.sync(dry(full()), &next).await;
    given.forget_fingerprints().await;
    let without = given.sync(dry(full()), &next).await;
    assert_eq!((&with.digest, with.counts), (&without.digest, without.counts));
    assert_eq!((with.counts.updated, with.counts.removed), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_leavers_leave_although_the_roster_holds_all_that_their_rows_say() {
    let mut given = Given::with(&[("guard.removals.max_percent", "off")]).await;
    given.applied(full(), &staff(1..=6)).await;
    given.engine.sizes = Sizes::SMALLEST;
    let report = given.applied(leavers(), &staff(2..=4)).await;
    assert_eq!((report.counts.removed, report.counts.unchanged), (3, 0));
    assert_eq!(given.listed().await, ["E1", "E5", "E6"]);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_without_a_column_has_no_word_on_the_field_when_another_lapses() {
    let given = Given::organisation().await;
    given.feed_named("payroll").await;
    given.applied(full(), &staff(1..=6)).await;
    let narrow = "employee_id,email,location\nE1,p1@x.example,Kiel\nE2,p2@x.example,Bonn\n";
    given.sync(of("payroll", full()), narrow).await;
    given.applied(full(), &csv((2..=6).map(person).chain([moved(1, "Legal")]))).await;
    given.applied(full(), &staff(2..=6)).await;
    let member = given.member("E1").await;
    assert!(member.is_listed());
    assert_eq!(member.values.get(FieldId::LOCATION), Some("Kiel"), "payroll's last word");
    assert_eq!(given.department("E1").await, "Legal", "payroll never sent a department");
    given.verified().await;
}
