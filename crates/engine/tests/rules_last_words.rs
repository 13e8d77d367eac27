//! What a feed last said: pins, rejections, several feeds, and fingerprints, which are only a cache of it.

use crate::rules_given::*;
use muster_engine::sizes::Sizes;
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

/// One night: who is in the payload (bit by bit) and in which department they are said to be.
type Night = (u8, [u8; 8]);

fn payload((who, departments): &Night) -> String {
    let named = (0..8).filter(|n| who >> n & 1 == 1);
    csv(named.map(|n| moved(n, ["Sales", "Legal", "", "Press"][departments[n] as usize])))
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
        let (text, channel) = (payload(night), if i % 3 == 2 { partial() } else { full() });
        without.forget_fingerprints().await;
        let one = with.sync(channel.clone(), &text).await;
        for given in [&without, &many] {
            let other = given.sync(channel.clone(), &text).await;
            assert_eq!((one.state, one.counts, one.holds.len()), (other.state, other.counts, other.holds.len()));
            assert_eq!(with.lines(&one).await, given.lines(&other).await);
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
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_fingerprints_every_change_set_is_the_same(
        mut nights in prop::collection::vec((any::<u8>(), prop::array::uniform8(0u8..4)), 1..6)
    ) {
        nights[0].0 |= 1;
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(same_without_fingerprints(nights));
    }
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
