//! Undo: what was done is taken back, member by member and field by field; what changed since is kept and listed.

use crate::rules_given::*;

/// Six people; a payload that moves two, adds one and misses one, and waits.
async fn waiting() -> (Given, Report) {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let payload = csv([moved(1, "Legal"), moved(2, "Legal"), person(3), person(4), person(6), person(7)]);
    let held = given.sync(Request { asked: Some(Asked::Hold), ..full() }, &payload).await;
    (given, held)
}

async fn undo(given: &Given, report: &Report) -> muster_engine::undo::Undone {
    let ids = vec![report.change_set_id.unwrap().to_string()];
    given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_after_apply_is_the_identity() {
    let (given, held) = waiting().await;
    let before = given.everybody().await;
    given.approve(&held, Approval::default()).await.unwrap();
    let ids = vec![held.change_set_id.unwrap().to_string()];
    let undone = given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap();
    assert_eq!((undone.reports[0].state, undone.kept.len()), (State::Applied, 0));
    let mut after = given.everybody().await;
    let seven = after.remove("E7").unwrap();
    assert!(!seven.is_listed(), "whoever came is known and no longer listed");
    for (key, member) in &after {
        let was = &before[key];
        assert_eq!((&member.values, &member.spells, &member.aliases), (&was.values, &was.spells, &was.aliases));
    }
    assert_eq!(after.len(), 6);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_gives_a_key_back_and_keeps_what_changed_since() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let rekeyed = csv((2..=6).map(person).chain([moved(1, "Legal").replacen("E1,", "N1,", 1)]));
    let report = given.applied(full(), &rekeyed).await;
    given.set_by_hand("N1", "department", "Desk").await;
    let ids = vec![report.change_set_id.unwrap().to_string()];
    let dry = given
        .engine
        .undo("acme", UndoRequest { ids: ids.clone(), dry_run: true, ..UndoRequest::default() })
        .await
        .unwrap();
    assert_eq!((dry.reports[0].state, dry.kept.len(), &*given.member("E1").await.key), (State::DryRun, 1, "N1"));
    let undone = given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap();
    assert_eq!((undone.kept.len(), &*undone.kept[0].what), (1, "department"));
    let member = given.member("E1").await;
    assert_eq!((&*member.key, member.aliases.len(), &*given.department("E1").await), ("E1", 0, "Desk"));
    assert_eq!(member.values.get(FieldId::EMPLOYEE_ID), Some("E1"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undo_of_several_goes_newest_first() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let mut since = None;
    for department in ["Legal", "Press", "Desk"] {
        let report = given.applied(partial(), &csv([moved(1, department)])).await;
        let set = given.change_set(&report).await;
        since = since.or(Some(set.computed_at));
    }
    let request = UndoRequest { since, ..UndoRequest::default() };
    let tried = given.engine.undo("acme", UndoRequest { dry_run: true, ..request.clone() }).await.unwrap();
    assert_eq!((tried.reports.len(), tried.kept.len(), &*given.department("E1").await), (3, 0, "Desk"));
    assert!(tried.reports.iter().all(|r| r.counts.updated == 1), "older ones are tried on what newer ones would leave");
    let undone = given.engine.undo("acme", request).await.unwrap();
    assert_eq!((undone.reports.len(), undone.kept.len(), &*given.department("E1").await), (3, 0, "Sales"));
    assert_eq!(undone.digest, tried.digest);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_approved_after_it_was_looked_at_is_not_undone_unseen() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let hold = Request { asked: Some(Asked::Hold), ..partial() };
    let held = given.sync(hold, &csv([moved(1, "Legal"), moved(2, "Legal"), moved(3, "Legal")])).await;
    let choosing = |key: &str| Choice { only: vec![key.to_owned()], ..Choice::default() };
    given.approve(&held, Approval { choice: choosing("E1"), ..Approval::default() }).await.unwrap();
    let id = held.change_set_id.unwrap();
    let one = UndoRequest { ids: vec![id.to_string()], ..UndoRequest::default() };
    let seen = given.engine.undo("acme", UndoRequest { dry_run: true, ..one.clone() }).await.unwrap().digest;
    let digest = given.change_set(&held).await.digest;
    for decided in [true, false] {
        match decided {
            true => {
                drop(given.approve(&held, Approval { choice: choosing("E2"), ..Approval::default() }).await.unwrap())
            }
            // Nothing waits any more.
            false => drop(given.approve(&held, Approval::default()).await.unwrap()),
        }
        for seen in [Seen::Together(seen.clone()), Seen::Each(vec![(id, digest.clone())])] {
            let refused = given.engine.undo("acme", UndoRequest { seen, ..one.clone() }).await;
            assert!(matches!(refused, Err(Error::Stale(_))), "{refused:?}");
        }
    }
    let before = given.change_set(&held).await.digest;
    let undone = given.engine.undo("acme", UndoRequest { seen: Seen::Each(vec![(id, before)]), ..one }).await.unwrap();
    assert_eq!((undone.reports.len(), &*given.department("E3").await), (1, "Sales"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_that_leaves_a_field_of_everybody_out_is_seen_as_well() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let hold = Request { asked: Some(Asked::Hold), ..partial() };
    let held = given.sync(hold, &csv([moved(1, "Legal").replace("Bonn", "Rome")])).await;
    let before = given.change_set(&held).await.digest;
    let choice = Choice { except_fields: vec!["location".to_owned()], ..Choice::default() };
    given.approve(&held, Approval { choice, ..Approval::default() }).await.unwrap();
    assert_ne!(given.change_set(&held).await.digest, before);
    let late = Approval { digest: Some(before), ..Approval::default() };
    assert!(matches!(given.approve(&held, late).await, Err(Error::Stale(_))));
    // What is left of it is rejected: it is applied all the same, and can be undone.
    assert_eq!(given.reject(&held, Choice::default()).await.state, State::Applied);
    assert_eq!(given.department("E1").await, "Legal");
    let ids = vec![held.change_set_id.unwrap().to_string()];
    let undone = given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap();
    assert_eq!((undone.reports.len(), &*given.department("E1").await), (1, "Sales"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_and_was_approved_since_is_undone_and_first() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let held = given.sync(Request { asked: Some(Asked::Hold), ..partial() }, &csv([moved(1, "Legal")])).await;
    let before = given.applied(partial(), &csv([moved(2, "Press")])).await;
    let after = given.applied(partial(), &csv([moved(3, "Desk")])).await;
    let since = Some(given.change_set(&after).await.computed_at);
    given.approve(&held, Approval::default()).await.unwrap();
    let undone = given.engine.undo("acme", UndoRequest { since, ..UndoRequest::default() }).await.unwrap();
    let ids: Vec<_> = undone.reports.iter().map(|one| Some(one.undoes)).collect();
    assert_eq!(ids, [held.change_set_id, after.change_set_id], "the last applied first; not {before:?}");
    assert_eq!((&*given.department("E1").await, &*given.department("E2").await), ("Sales", "Press"));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_undone_that_was_not_seen() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let moved_to = async |department: &str| {
        let report = given.applied(partial(), &csv([moved(1, department), moved(2, department)])).await;
        given.change_set(&report).await
    };
    let (legal, press) = (moved_to("Legal").await, moved_to("Press").await);
    let all = UndoRequest { since: Some(legal.computed_at), ..UndoRequest::default() };
    let tried = given.engine.undo("acme", UndoRequest { dry_run: true, ..all.clone() }).await.unwrap();
    let seen = |seen: &Seen, request: &UndoRequest| UndoRequest { seen: seen.clone(), ..request.clone() };
    let together = Seen::Together(tried.digest.clone());

    // Of one person it is something else; and so it is when another change set came.
    let one = UndoRequest { whom: Some("E1".into()), ..all.clone() };
    let refused = given.engine.undo("acme", seen(&together, &one)).await;
    assert!(matches!(refused, Err(Error::Stale(_))), "{refused:?}");
    let desk = moved_to("Desk").await;
    let refused = given.engine.undo("acme", seen(&together, &all)).await;
    assert!(matches!(refused, Err(Error::Stale(_))), "{refused:?}");
    let of = |set: &ChangeSet| (set.id, set.digest.clone());
    let ids = vec![press.id.to_string(), desk.id.to_string()];
    let named = UndoRequest { ids, ..UndoRequest::default() };
    for wrong in [vec![of(&desk)], vec![of(&desk), (press.id, desk.digest.clone())]] {
        let refused = given.engine.undo("acme", seen(&Seen::Each(wrong), &named)).await;
        assert!(matches!(refused, Err(Error::Stale(_))), "{refused:?}");
    }
    assert_eq!(&*given.department("E1").await, "Desk");

    let undone = given.engine.undo("acme", seen(&Seen::Each(vec![of(&desk), of(&press)]), &named)).await.unwrap();
    assert_eq!(undone.reports.iter().map(|r| r.undoes).collect::<Vec<_>>(), [desk.id, press.id], "newest first");
    assert_eq!(&*given.department("E1").await, "Legal");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_an_undo_that_waits_nothing_is_undone() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=20)).await;
    let first = given.applied(partial(), &csv([moved(1, "Legal")])).await;
    let more = given.applied(full(), &csv((2..=40).map(person).chain([moved(1, "Legal")]))).await;
    let last = given.applied(partial(), &csv([moved(1, "Press")])).await;
    let id = |report: &Report| report.change_set_id.unwrap();
    let ids = [&first, &more, &last].map(|r| id(r).to_string()).to_vec();
    let undone = given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap();
    let states: Vec<_> = undone.reports.iter().map(|r| (r.undoes, r.state)).collect();
    assert_eq!(states, [(id(&last), State::Applied), (id(&more), State::Held)], "twenty who came would go");
    assert_eq!((undone.state(), undone.not_undone), (State::Held, vec![id(&first)]));
    assert_eq!(&*given.department("E1").await, "Legal");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_undone_leaves_none_half_done() {
    let (given, held) = waiting().await;
    let applied = given.applied(partial(), &csv([moved(3, "Press")])).await;
    let ids = [&applied, &held].map(|r| r.change_set_id.unwrap().to_string()).to_vec();
    let refused = given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await;
    assert!(matches!(refused, Err(Error::Wrong(_))), "{refused:?}");
    assert_eq!(&*given.department("E3").await, "Press");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undoing_a_removal_after_the_person_came_back_begins_no_second_claim() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let removed = given.applied(full(), &staff(1..=5)).await;
    given.applied(full(), &csv((1..=5).map(person).chain([moved(6, "Legal")]))).await;
    let before = given.member("E6").await;
    let undone = undo(&given, &removed).await;
    assert_eq!((undone.kept.len(), &*undone.kept[0].what), (1, "claims"));
    assert_eq!(given.member("E6").await.spells, before.spells);
    assert_eq!(given.acme().await.feed("main").unwrap().claims, 6);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undoing_a_removal_by_hand_gives_back_the_claims_that_nobody_renewed() {
    let given = Given::organisation().await;
    given.feed_named("payroll").await;
    given.applied(full(), &staff(1..=6)).await;
    given.sync(of("payroll", full()), &staff(1..=6)).await;
    let removed = given.by_hand(Edit::Remove { key: "E6".into() }).await;
    given.sync(full(), &staff(1..=5)).await;
    given.applied(full(), &staff(1..=6)).await;
    let undone = undo(&given, &removed).await;
    assert_eq!((undone.kept.len(), &*undone.kept[0].what), (1, "claims"), "main has named the person anew");
    let claimants: Vec<FeedNo> = given.member("E6").await.claimants().collect();
    assert_eq!(claimants.len(), 2, "{claimants:?}");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_key_only_that_person_is_taken_back_newest_first() {
    let given = Given::with(&[("guard.removals.max_percent", "off")]).await;
    given.applied(full(), &staff(1..=6)).await;
    for department in ["Legal", "Press"] {
        given.applied(partial(), &csv([moved(1, department), moved(2, department)])).await;
    }
    let first = given.applied(full(), &csv((3..=7).map(person).chain([moved(1, "Press"), moved(2, "Press")]))).await;
    let request = UndoRequest { whom: Some("E1".into()), since: None, ..UndoRequest::default() };
    let since = given.change_set(&first).await.computed_at - chrono::Duration::days(1);
    let undone =
        given.engine.undo("acme", UndoRequest { dry_run: true, since: Some(since), ..request.clone() }).await.unwrap();
    assert_eq!(undone.reports.len(), 3, "two moves and the import that brought the person");
    let columns = given.acme().await.feed("main").unwrap().baseline.clone();
    let undone = given.engine.undo("acme", request).await.unwrap();
    assert_eq!((undone.reports.len(), undone.kept.len()), (3, 0));
    assert_eq!(given.acme().await.feed("main").unwrap().baseline, columns, "one person taken back is no other measure");
    assert_eq!((given.listed().await.len(), &*given.department("E2").await), (6, "Press"));
    assert!(!given.member("E1").await.is_listed(), "the import that brought the person is undone too");
    let rest = given.engine.undo("acme", UndoRequest { since: Some(since), ..UndoRequest::default() }).await.unwrap();
    assert!(rest.reports.len() >= 3 && given.listed().await.is_empty(), "the others are still there to be undone");
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_passes_through_policy() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let moved_one = given.applied(partial(), &csv([moved(1, "Legal"), moved(2, "Legal"), person(7)])).await;
    given.set("policy.hand", "hold").await;
    let held = undo(&given, &moved_one).await.reports.remove(0);
    assert_eq!((held.state, &*given.department("E1").await), (State::Held, "Legal"));
    given.approve(&held, Approval::default()).await.unwrap();
    assert_eq!((&*given.department("E1").await, given.listed().await.len()), ("Sales", 6));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_that_waits_overwrites_no_claim_made_meanwhile() {
    let given = Given::organisation().await;
    given.feed_named("payroll").await;
    given.applied(full(), &staff(1..=6)).await;
    let added = given.applied(full(), &staff(1..=8)).await;
    given.set("policy.hand", "hold").await;
    let held = undo(&given, &added).await.reports.remove(0);
    given.sync(of("payroll", full()), &staff([7])).await;
    given.approve(&held, Approval::default()).await.unwrap();
    assert_eq!(given.listed().await, ["E1", "E2", "E3", "E4", "E5", "E6", "E7"].map(String::from));
    given.verified().await;
}

/// A hundred people, and so many more each of so many times.
async fn came_in_parts(given: &Given, times: usize, each: usize) -> Vec<ChangeSet> {
    given.applied(full(), &staff(1..=100)).await;
    let mut sets = Vec::new();
    for n in 0..times {
        let first = 101 + n * each;
        let report = given.applied(partial(), &staff(first..first + each)).await;
        sets.push(given.change_set(&report).await);
    }
    sets
}

/// Undoes all of these, tried first: the trial says what it comes to, where it stops included.
async fn undone_as_tried(given: &Given, sets: &[ChangeSet], asked: Option<Asked>) -> muster_engine::undo::Undone {
    let ids = sets.iter().map(|set| set.id.to_string()).collect();
    let request = UndoRequest { ids, asked, ..UndoRequest::default() };
    let tried = given.engine.undo("acme", UndoRequest { dry_run: true, ..request.clone() }).await.unwrap();
    let undone = given.engine.undo("acme", request).await.unwrap();
    let told = |u: &muster_engine::undo::Undone| {
        u.reports.iter().map(|one| (one.undoes, one.would_hold, one.report.holds.clone())).collect::<Vec<_>>()
    };
    assert_eq!((tried.state(), told(&tried)), (State::DryRun, told(&undone)));
    assert_eq!(tried.not_undone, undone.not_undone);
    undone
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undos_of_one_request_add_up_for_the_guard_and_a_trial_says_where_they_stop() {
    let given = Given::organisation().await;
    let sets = came_in_parts(&given, 4, 8).await;
    let undone = undone_as_tried(&given, &sets, None).await;
    let states: Vec<_> = undone.reports.iter().map(|one| (one.state, one.would_hold)).collect();
    assert_eq!(states, [(State::Applied, false), (State::Held, true)], "16 of 132 are more than 10 %");
    let held = &undone.reports[1].holds[0];
    assert_eq!(
        (&*held.guard, held.figure.to_string()),
        ("removals", "12.1".to_owned()),
        "of those in front of the first"
    );
    assert_eq!(undone.not_undone, [sets[1].id, sets[0].id]);
    assert_eq!(given.listed().await.len(), 124);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undos_of_one_request_add_up_for_the_second_approver() {
    let given = Given::with(&[("review.second_approver_removals", "10"), ("guard.removals.max_percent", "off")]).await;
    let sets = came_in_parts(&given, 4, 4).await;
    given.set("policy.hand", "hold").await;
    let undone = undone_as_tried(&given, &sets, Some(Asked::Apply)).await;
    let states: Vec<_> = undone.reports.iter().map(|one| one.state).collect();
    assert_eq!(states, [State::Applied, State::Applied, State::Held], "twelve are more than ten");
    assert_eq!((undone.not_undone, given.listed().await.len()), (vec![sets[0].id], 108));
    let recorded = given.change_set(&undone.reports[2]).await.figures;
    assert_eq!((recorded.removals, recorded.alone_24h), (4, 8));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_that_fails_behind_others_tells_what_stands() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=6)).await;
    let mut sets = Vec::new();
    for n in 1..=3 {
        let report = given.applied(partial(), &csv([moved(n, "Legal")])).await;
        sets.push(given.change_set(&report).await.id);
    }
    let ids: Vec<String> = sets.iter().map(ToString::to_string).collect();
    let undo = || given.engine.undo("acme", UndoRequest { ids: ids.clone(), ..UndoRequest::default() });
    let conn = sqlx::SqlitePool::connect(&given.url).await.unwrap();
    // Four change sets there are: the undo of the newest is the fifth, and there is room for no sixth.
    let fails_from = async |n: u32| {
        let fails = format!(
            "DROP TRIGGER IF EXISTS fails; CREATE TRIGGER fails BEFORE INSERT ON change_set \
             WHEN (SELECT count(*) FROM change_set) >= {n} BEGIN SELECT RAISE(ABORT, 'no room'); END"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(fails)).execute(&conn).await.unwrap();
    };
    fails_from(4).await;
    assert!(undo().await.is_err(), "nothing was undone");
    fails_from(5).await;
    let undone = undo().await.unwrap();
    assert!(matches!(undone.stopped, Some(Error::Store(_))), "{:?}", undone.stopped);
    assert_eq!((undone.state(), undone.reports.len()), (State::PartlyApplied, 1));
    assert_eq!((undone.reports[0].undoes, undone.not_undone), (sets[2], vec![sets[1], sets[0]]));
    assert_eq!((&*given.department("E3").await, &*given.department("E2").await), ("Sales", "Legal"));
    sqlx::query("DROP TRIGGER fails").execute(&conn).await.unwrap();
    conn.close().await;
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_at_a_time_look_for_what_was_done_to_a_person_and_only_what_was_applied_is_meant() {
    let (given, held) = waiting().await;
    let acme = given.acme().await;
    // Of two the payload is turned down, and so nothing was done to them by it.
    let choice = Choice { only: vec!["E1".into(), "E7".into()], ..Choice::default() };
    given.approve(&held, Approval { choice, reject_rest: true, ..Approval::default() }).await.unwrap();
    let of = |key: &str| UndoRequest { whom: Some(key.into()), ..UndoRequest::default() };
    let engine = given.engine.clone().patient_for(std::time::Duration::from_millis(20));
    for (key, many) in [("E1", 2), ("E2", 1), ("E7", 1), ("E3", 1)] {
        assert_eq!(engine.meant_by_undo(&acme, &of(key)).await.unwrap().sets.len(), many, "{key}");
    }
    let mut turns = Vec::new();
    while let Ok(turn) = engine.turn_to_look_for_undo().await {
        turns.push(turn);
        assert!(turns.len() < 100, "there is no end to it");
    }
    assert!(matches!(engine.meant_by_undo(&acme, &of("E1")).await, Err(Error::Busy(_))));
    let ids = vec![held.change_set_id.unwrap().to_string()];
    let named = UndoRequest { ids, ..of("E1") };
    assert_eq!(engine.meant_by_undo(&acme, &named).await.unwrap().sets.len(), 1, "what is named is not looked for");
    turns.pop();
    assert!(engine.meant_by_undo(&acme, &of("E1")).await.is_ok());
}
