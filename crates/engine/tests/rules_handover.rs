//! Handing over: `feeds handover A B` moves A's claims and last words to B.

use crate::rules_given::*;

const B: FeedNo = FeedNo(2);

async fn two_feeds() -> Given {
    let given = Given::organisation().await;
    given.feed_named("new").await;
    given
}

async fn hand_over(given: &Given) -> muster_engine::handover::HandedOver {
    given.engine.hand_over("acme", "main", "new").await.unwrap()
}

async fn claims(given: &Given) -> Vec<u64> {
    given.acme().await.feeds.iter().map(|f| f.claims).collect()
}

fn claimants(member: &Member) -> Vec<FeedNo> {
    member.claimants().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_claims_of_one_feed_pass_to_the_other() {
    let given = two_feeds().await;
    given.applied(full(), &staff(1..=6)).await;
    let moved = hand_over(&given).await;
    assert_eq!((moved.claims, moved.claimed_by_both, moved.updated, moved.roster_version), (6, 0, 0, 2));
    assert_eq!((claims(&given).await, given.listed().await.len()), (vec![0, 6], 6));
    assert_eq!(claimants(&given.member("E3").await), [B]);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handover_that_is_tried_says_what_it_would_come_to_and_changes_nothing() {
    let given = two_feeds().await;
    given.applied(full(), &staff(1..=6)).await;
    let tried = given.engine.try_hand_over("acme", "main", "new").await.unwrap();
    assert_eq!((tried.change_set_id, tried.claims, tried.roster_version), (None, 6, 1));
    assert_eq!((claims(&given).await, tried.seq), (vec![6, 0], given.engine.last_seq("acme").await.unwrap()));
    let moved = hand_over(&given).await;
    let figures = |m: &muster_engine::handover::HandedOver| [m.claims, m.claimed_by_both, m.named_only, m.updated];
    assert_eq!((figures(&tried), moved.seq > tried.seq), (figures(&moved), true));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn then_it_is_the_other_feed_that_ends_the_claims() {
    let given = two_feeds().await;
    given.applied(full(), &staff(1..=6)).await;
    hand_over(&given).await;
    let same = given.sync(of("new", full()), &staff([1, 2, 4, 5, 6])).await;
    assert_eq!((same.counts.removed, same.counts.unchanged, same.counts.updated), (1, 5, 0), "{same:?}");
    assert_eq!(given.listed().await, ["E1", "E2", "E4", "E5", "E6"]);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_was_decided_before_the_handover_is_news_again() {
    let given = two_feeds().await;
    given.applied(full(), &staff(1..=20)).await;
    given.applied(of("new", full()), &staff(20..=26)).await;
    hand_over(&given).await;
    let again = given.sync(of("new", full()), &staff(20..=26)).await;
    assert_eq!((again.state, guards(&again)), (State::Held, vec!["removals"]), "it names nobody of the nineteen");
    let back = given.sync(dry(full()), &staff(1..=20)).await;
    assert_eq!(back.counts.unchanged, 20, "main would claim them again");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_old_feed_last_said_is_what_the_new_one_last_said() {
    let given = two_feeds().await;
    given.applied(full(), &staff(1..=6)).await;
    given.set_by_hand("E2", "department", "Board").await;
    hand_over(&given).await;
    let repeated = given.sync(of("new", full()), &staff(1..=6)).await;
    assert_eq!((repeated.counts.suppressed, &*given.department("E2").await), (1, "Board"), "the pin stays");
    given.applied(of("new", full()), &csv([moved(2, "Legal")].into_iter().chain([1, 3, 4, 5, 6].map(person)))).await;
    assert_eq!(given.department("E2").await, "Legal", "until the feed changes its mind");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_taken_off_by_hand_stays_off() {
    let given = two_feeds().await;
    given.applied(full(), &staff(1..=6)).await;
    given.by_hand(Edit::Remove { key: "E4".into() }).await;
    let moved = hand_over(&given).await;
    assert_eq!((moved.claims, moved.named_only), (5, 1));
    let report = given.sync(of("new", full()), &staff(1..=6)).await;
    assert_eq!((report.counts.reinstated, report.counts.suppressed), (0, 1));
    assert!(!given.member("E4").await.is_listed());
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_both_claim_the_other_feeds_own_words_count() {
    let given = two_feeds().await;
    given.applied(full(), &staff(1..=6)).await;
    given.sync(of("new", full()), &csv([moved(1, "Legal"), person(2)])).await;
    assert_eq!(given.department("E1").await, "Sales", "main claimed first");
    let moved = hand_over(&given).await;
    assert_eq!((moved.claims, moved.claimed_by_both, moved.updated), (6, 2, 1));
    assert_eq!((given.department("E1").await.as_str(), claimants(&given.member("E1").await)), ("Legal", vec![B]));
    assert_eq!(claims(&given).await, [0, 6]);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_feed_is_followed_no_more_and_no_less_than_before() {
    let given = two_feeds().await;
    given.feed_named("third").await;
    given.applied(full(), &staff(1..=6)).await;
    given.sync(of("third", full()), &csv([moved(1, "Legal")])).await;
    hand_over(&given).await;
    assert_eq!(given.department("E1").await, "Sales");
    assert_eq!(claimants(&given.member("E1").await), [B, FeedNo(3)], "in the place of the old claim");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_less_eligible_for_a_day() {
    let given = two_feeds().await;
    given.applied(full(), &staff(1..=6)).await;
    let acme = given.acme().await;
    let before = given.engine.check(&acme, By::Any("E1"), None, None, |_| true).await.unwrap();
    hand_over(&given).await;
    let after = given.engine.check(&acme, By::Any("E1"), None, None, |_| true).await.unwrap();
    assert_eq!((after.answer, after.answer.eligible), (before.answer, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handover_is_undone_with_claims_and_words() {
    let given = two_feeds().await;
    given.applied(full(), &staff(1..=6)).await;
    given.set_by_hand("E2", "department", "Board").await;
    let before = given.everybody().await;
    let moved = hand_over(&given).await;
    let undo = UndoRequest { ids: vec![moved.change_set_id.unwrap().to_string()], ..UndoRequest::default() };
    given.engine.undo("acme", undo).await.unwrap();
    assert_eq!((given.everybody().await, claims(&given).await), (before, vec![6, 0]));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_great_many_are_handed_over_at_once_and_the_log_replays() {
    let given = two_feeds().await;
    // Fifty chunks are stored ahead, and nothing is left behind them.
    given.applied(full(), &staff(1..=50_000)).await;
    assert_eq!(hand_over(&given).await.claims, 50_000);
    let mut log = Vec::new();
    given.engine.export(&given.acme().await, &mut log).await.unwrap();
    let replay = muster_domain::replay::read_log(log.as_slice(), None).unwrap();
    assert_eq!((replay.claims(FeedNo::MAIN), replay.claims(B)), (0, 50_000));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_refused_for_unknown_feeds_for_itself_and_while_an_upload_waits() {
    let given = two_feeds().await;
    let try_it = async |a: &str, b: &str| given.engine.hand_over("acme", a, b).await.map_err(|e| e.to_string());
    given.applied(full(), &staff(1..=6)).await;
    assert_eq!(try_it("main", "none").await.unwrap_err(), "There is no feed none; there are: main, new.");
    assert!(try_it("new", "new").await.unwrap_err().contains("itself"));
    let held = Request { asked: Some(Asked::Hold), ..of("new", full()) };
    let waiting = given.sync(held, &staff(7..=8)).await;
    let refused = try_it("main", "new").await.unwrap_err();
    assert!(refused.starts_with("An upload of the feed new waits"), "{refused}");
    given.reject(&waiting, Choice::default()).await;
    assert_eq!(try_it("main", "new").await.unwrap().claims, 6);
    assert_eq!(try_it("main", "new").await.unwrap().change_set_id, None, "nothing is left to hand over");
    given.verified().await;
}
