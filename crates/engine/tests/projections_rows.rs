//! Feed runs, change sets, dashboard and member history: what they say after a story, and that they follow from the log alone.

use chrono::{Duration, Utc};
use muster_domain::{
    change::Kind, documents::ChangeSet, eligibility, fact::State, guard::Asked, ids::FeedNo, settings::FeedSettings,
};
use muster_engine::{
    Engine, Organisation,
    forget::ForgetRequest,
    hand::Edit,
    lists::Which,
    members::At,
    pipeline::{Report, Request},
    projections::{all, reading::Wait, runs::Note},
    review::{Approval, Choice},
    sizes::Sizes,
    undo::UndoRequest,
};
use muster_testkit::database::Engine as On;

use crate::{
    projections::{World, live},
    rules_given::{csv, full, moved, of, partial, person, staff},
};

macro_rules! on_both_engines {
    ($($case:ident,)*) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Sqlite).await; })* }
        mod postgres { $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::$case(super::On::Postgres).await; })* }
    };
}

on_both_engines! {
    rows_made_on_the_way_are_those_of_a_rebuild_even_after_somebody_was_forgotten,
    feed_runs_tell_what_became_of_each_payload_and_what_is_odd_about_it,
    change_sets_are_counted_by_kind_and_by_field_and_say_who_decided,
    change_sets_are_found_by_feed_and_by_state_page_by_page,
    the_dashboard_says_of_every_day_who_is_eligible_as_the_roster_does,
}

impl World {
    pub async fn report(&self, request: Request, payload: &str) -> Report {
        self.engine.sync("acme", request, &mut payload.as_bytes()).await.unwrap()
    }

    pub async fn held(&self, payload: &str) -> String {
        let report = self.report(Request { asked: Some(Asked::Hold), ..full() }, payload).await;
        assert_eq!(report.state, State::Held);
        report.change_set_id.unwrap().to_string()
    }

    pub async fn set(&self, key: &str, value: &str) {
        let acme = self.engine.organisation("acme").await.unwrap();
        self.engine.set_settings(&acme, &[(key.to_owned(), value.to_owned())]).await.unwrap();
    }

    /// A feed `late` that has sent nothing, and is expected every minute.
    pub async fn expect_every_minute(&self) {
        let acme = self.engine.organisation("acme").await.unwrap();
        let mut settings = FeedSettings { name: "late".to_owned(), ..FeedSettings::default() };
        settings.expect(Some("* * * * *"), None, Some("0")).unwrap();
        self.engine.create_feed(&acme, settings).await.unwrap();
        self.engine.watch_feeds("acme", Utc::now() + Duration::minutes(10)).await.unwrap();
    }

    pub async fn forget(&self, key: &str) {
        let request = ForgetRequest { key: key.into(), ..ForgetRequest::default() };
        self.engine.forget("acme", &request).await.unwrap();
    }
}

fn only(key: &str) -> Choice {
    Choice { only: vec![key.to_owned()], ..Choice::default() }
}

const DATED: &str = "employee_id,email,first_name,last_name,department,employment_status,start_date,end_date";

/// Person number `n` with an employment status and dates.
fn dated(n: usize, status: &str, start: &str, end: &str) -> String {
    format!("E{n},p{n}@x.example,First{n},Last{n},Sales,{status},{start},{end}")
}

fn dated_csv(rows: impl IntoIterator<Item = String>) -> String {
    let rows: Vec<String> = rows.into_iter().collect();
    format!("{DATED}\n{}\n", rows.join("\n"))
}

/// One step of a story.
pub async fn step(world: &World, n: usize) -> bool {
    let engine = &world.engine;
    match n {
        0 => drop(Box::pin(world.days("acme")).await),
        1 => {
            // Decided in parts, with a field that stays.
            let id =
                Box::pin(world.held(&csv((0..41).map(|n| if n < 6 { moved(n, "Audit") } else { person(n) })))).await;
            let part = Approval { choice: only("E3"), ..Approval::default() };
            Box::pin(engine.approve("acme", Some(&id), part)).await.unwrap();
            Box::pin(engine.reject("acme", Some(&id), only("E4"), None)).await.unwrap();
        }
        2 => {
            let few = Box::pin(world.report(full(), &staff(0..9))).await;
            assert_eq!(few.state, State::Held);
            engine
                .reject("acme", Some(&few.change_set_id.unwrap().to_string()), Choice::default(), None)
                .await
                .unwrap();
        }
        3 => {
            let fields =
                vec![("department".to_owned(), "Tools".to_owned()), ("end_date".to_owned(), "2031-05-01".to_owned())];
            let edit = Edit::Set { key: "E5".into(), fields };
            let report = Box::pin(engine.by_hand("acme", edit, None)).await.unwrap();
            let ids = vec![report.change_set_id.unwrap().to_string()];
            Box::pin(engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() })).await.unwrap();
            Box::pin(engine.by_hand("acme", Edit::Remove { key: "E6".into() }, None)).await.unwrap();
        }
        4 => {
            Box::pin(world.expect_every_minute()).await;
            Box::pin(world.report(of("late", partial()), &csv([moved(8, "Law")]))).await;
            Box::pin(engine.watch_feeds("acme", Utc::now())).await.unwrap();
        }
        5 => {
            let rows = (50..60).map(|n| dated(n, if n < 53 { "Leave" } else { "Active" }, "2020-01-01", "2031-01-01"));
            Box::pin(world.report(partial(), &dated_csv(rows))).await;
            Box::pin(world.set("eligibility.excluded_statuses", "leave")).await;
            Box::pin(world.set("eligibility.grace_days", "10")).await;
        }
        6 => Box::pin(world.forget("E3")).await,
        7 => {
            Box::pin(world.report(partial(), &csv([moved(9, "Law"), moved(70, "Law")]))).await;
            Box::pin(world.forget("E52")).await;
        }
        8 => drop(Box::pin(world.held(&csv((0..41).map(|n| if n < 4 { moved(n, "Risk") } else { person(n) })))).await),
        _ => return false,
    }
    true
}

async fn catch_up(engine: &Engine, org: &Organisation) {
    for projection in all() {
        engine.catch_up(org.row.id, *projection).await.unwrap();
    }
}

async fn rows_made_on_the_way_are_those_of_a_rebuild_even_after_somebody_was_forgotten(on: On) {
    let world = World::on(on).await;
    let mut by_one = world.engine.clone();
    by_one.sizes = Sizes::SMALLEST;
    let mut n = 0;
    while Box::pin(step(&world, n)).await {
        let acme = world.engine.organisation("acme").await.unwrap();
        catch_up(if n % 2 == 0 { &by_one } else { &world.engine }, &acme).await;
        n += 1;
    }
    let acme = world.engine.organisation("acme").await.unwrap();
    let end = world.engine.store.head(acme.row.id).await.unwrap().last_seq;
    for projection in all() {
        let on_the_way = live(&world.engine, acme.row.id, *projection).await;
        world.engine.begin_rebuild(&acme, *projection).await.unwrap();
        world.engine.catch_up(acme.row.id, *projection).await.unwrap();
        let whole = live(&world.engine, acme.row.id, *projection).await;
        assert_eq!((on_the_way.0, whole.0), (end, end), "{}", projection.name());
        for (one, other) in on_the_way.1.iter().zip(&whole.1) {
            assert!(one == other, "{}: part {} differs", projection.name(), one.0);
        }
        assert_eq!(on_the_way.1.len(), whole.1.len(), "{}", projection.name());
    }
}

async fn feed_runs_tell_what_became_of_each_payload_and_what_is_odd_about_it(on: On) {
    let world = World::on(on).await;
    let org = world.organisation("acme").await;
    world.report(full(), &staff(0..40)).await;
    world.report(full(), &staff(0..40)).await;
    world.report(full(), &staff(0..60)).await;
    let held = world.report(full(), &staff(0..20)).await;
    assert_eq!(held.state, State::Held);
    assert_eq!(world.report(full(), "nothing,of,use\n1,2,3\n").await.state, State::Refused);
    let runs = async |wait| world.engine.feed_runs(org.row.id, None, None, 10, wait).await.unwrap();
    let page = runs(Wait::WORK).await;
    assert_eq!(page.seq, world.engine.store.head(org.row.id).await.unwrap().last_seq);
    let said: Vec<_> = page.runs.iter().map(|r| (r.arrival, r.outcome, r.counts.rows, r.notes.clone())).collect();
    let expected = [
        (5, State::Refused, 0, vec![]),
        (4, State::Held, 20, vec![Note::OddSize { rows: 20, last: 60 }]),
        (3, State::Applied, 60, vec![Note::OddSize { rows: 60, last: 40 }]),
        (2, State::NoChanges, 40, vec![Note::Identical { arrival: 1 }]),
        (1, State::Applied, 40, vec![]),
    ];
    assert_eq!(said, expected);
    assert!(page.runs.iter().all(|r| r.feed == "main" && r.sent_by == "tester" && r.worked_out_at.is_some()));
    assert_eq!((page.runs[1].decided_at, page.runs[1].decided_after), (None, None), "it waits");
    assert!(page.runs[2].decided_after.is_some_and(|s| (0.0..600.0).contains(&s)));
    // A reviewer decides.
    let id = held.change_set_id.unwrap().to_string();
    world.engine.reject("acme", Some(&id), Choice::default(), None).await.unwrap();
    let page = runs(Wait::WORK).await;
    assert_eq!((page.runs[1].outcome, page.runs[1].decided_after.is_some()), (State::Rejected, true));
    // Overdue, and there again.
    world.expect_every_minute().await;
    let page = runs(Wait::WORK).await;
    assert_eq!(page.overdue.iter().map(|late| late.feed.as_str()).collect::<Vec<_>>(), ["late"]);
    let missed = page.overdue[0].overdue.missed;
    // It is that run's if it comes a little before it.
    world.report(of("late", partial()), &csv([moved(1, "Law")])).await;
    world.engine.watch_feeds("acme", Utc::now()).await.unwrap();
    let page = runs(Wait::WORK).await;
    assert!(page.overdue.is_empty());
    assert_eq!((page.runs[0].arrival, &page.runs[0].notes), (6, &vec![Note::Recovered { missed }]));
    // By feed, page by page; what is done by hand is no feed's.
    world.engine.by_hand("acme", Edit::Remove { key: "E6".into() }, None).await.unwrap();
    let main = |before, limit| world.engine.feed_runs(org.row.id, Some(FeedNo::MAIN), before, limit, Wait::WORK);
    let first = main(None, 4).await.unwrap();
    assert_eq!(first.runs.iter().map(|r| r.arrival).collect::<Vec<_>>(), [5, 4, 3, 2]);
    let rest = main(first.before, 4).await.unwrap();
    assert_eq!((rest.runs.iter().map(|r| r.arrival).collect::<Vec<_>>(), rest.before), (vec![1], None));
    let other = world.engine.feed_runs(org.row.id, Some(FeedNo(9)), None, 10, Wait::WORK).await.unwrap();
    assert!(other.runs.is_empty());
}

async fn change_sets_are_counted_by_kind_and_by_field_and_say_who_decided(on: On) {
    let world = World::on(on).await;
    let org = world.organisation("acme").await;
    world.report(full(), &staff(0..40)).await;
    let people = (1..42).map(|n| match n {
        1 => person(n).replace("Sales,Bonn", "Law,Rome"),
        2 | 3 => moved(n, "Law"),
        4 => person(n).replace("Bonn", ""),
        _ => person(n),
    });
    let id = world.held(&csv(people)).await;
    let page = async |which| world.engine.change_set_overviews(org.row.id, which, Wait::WORK).await.unwrap();
    let sets = async |state| page(Which { limit: 10, ..Which::all(state) }).await.sets;
    let all = sets(None).await;
    assert_eq!(all.iter().map(|of| of.set.state).collect::<Vec<_>>(), [State::Held, State::Applied]);
    let (held, first) = (&all[0], &all[1]);
    let kinds: Vec<_> = held.tally.kinds.iter().map(|(kind, n)| (*kind, *n)).collect();
    assert_eq!(kinds, [(Kind::Add, 2), (Kind::Update, 4), (Kind::Remove, 1)]);
    let fields: Vec<_> = held.tally.fields.iter().map(|(f, t)| (f.as_str(), t.changed, t.filled, t.blanked)).collect();
    assert_eq!(fields, [("department", 3, 0, 0), ("location", 1, 0, 1)]);
    assert_eq!((held.decided_at, held.set.waiting().len()), (None, 7));
    assert_eq!((first.tally.kinds[&Kind::Add], first.reviewed), (40, false));
    assert!(first.decided_at.is_some() && first.set.decided_by.is_none(), "policy let it pass");
    // In parts, and to the end.
    let part = Approval { choice: only("E2"), ..Approval::default() };
    world.engine.approve("acme", Some(&id), part).await.unwrap();
    let all = sets(Some(State::PartlyApplied)).await;
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].set.applied.len(), all[0].set.waiting().len(), all[0].decided_at), (1, 6, None));
    world.engine.reject("acme", Some(&id), Choice::default(), None).await.unwrap();
    let all = sets(None).await;
    assert_eq!((all[0].set.decided_by.as_deref(), all[0].reviewed), (Some("tester"), true));
    assert!(all[0].decided_at.is_some());
    // Whoever was forgotten is in no count.
    world.forget("E1").await;
    let all = sets(None).await;
    assert_eq!(
        (all[0].erased, all[0].tally.kinds[&Kind::Update], all[0].tally.fields["department"].changed),
        (1, 3, 2)
    );
    assert!(!all[0].tally.fields.contains_key("location") || all[0].tally.fields["location"].changed == 0);
    assert_eq!((all[1].erased, all[1].tally.kinds[&Kind::Add]), (1, 39));
}

async fn change_sets_are_found_by_feed_and_by_state_page_by_page(on: On) {
    let world = World::on(on).await;
    let org = world.organisation("acme").await;
    let settings = FeedSettings { name: "uk".to_owned(), ..FeedSettings::default() };
    let uk = world.engine.create_feed(&org, settings).await.unwrap().no;
    let main = org.feeds[0].no;
    world.report(full(), &staff(0..9)).await;
    for n in 0..3 {
        world.report(of("uk", partial()), &csv([person(50 + n)])).await;
        world.held(&csv((0..9).map(|k| if k == n { moved(k, "Law") } else { person(k) }))).await;
    }
    let page = async |which| world.engine.change_set_overviews(org.row.id, which, Wait::WORK).await.unwrap();
    // Every feed, state and size of page against all that there is.
    let all = page(Which { limit: 100, ..Which::default() }).await.sets;
    assert_eq!(all.len(), 7);
    let states = [State::Held, State::Applied, State::Superseded, State::Rejected].map(Some);
    for (feed, state) in
        [None, Some(main), Some(uk)].into_iter().flat_map(|f| states.map(|s| (f, s)).into_iter().chain([(f, None)]))
    {
        let is_meant = |set: &ChangeSet| feed.is_none_or(|f| set.feed == f) && state.is_none_or(|s| set.state == s);
        let expected: Vec<u64> =
            all.iter().map(|of| &of.set).filter(|set| is_meant(set)).map(|s| s.created_seq).collect();
        for limit in 1..4 {
            let (mut found, mut before) = (Vec::new(), None);
            loop {
                let page = page(Which { state, feed, before, limit }).await;
                assert!(page.sets.len() <= limit as usize);
                found.extend(page.sets.iter().map(|of| of.set.created_seq));
                before = page.before;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{feed:?} {state:?} {limit}");
        }
    }
    let of = |state: State| all.iter().filter(|of| of.set.state == state).count();
    assert_eq!((of(State::Held), of(State::Superseded), of(State::Applied)), (1, 2, 4), "each list was long enough");
}

/// The dashboard counts as eligible whom the stored roster says to be, on days far and near.
async fn eligible_as_the_roster_says(world: &World) {
    let acme = world.engine.organisation("acme").await.unwrap();
    let roster = world.engine.roster(&acme, At::Now).await.unwrap();
    let today = eligibility::today(&acme.settings, Utc::now());
    for day in [-400, -8, -7, -1, 0, 1, 2, 7, 8, 11, 30, 300, 3_000].map(|ahead| today + ahead) {
        let dashboard = world.engine.dashboard(acme.row.id, Some(day), 2, Wait::WORK).await.unwrap();
        let eligible = roster.iter().filter(|m| eligibility::eligible(m, &acme.settings, day).eligible).count();
        assert_eq!(dashboard.eligible, eligible as u64, "{}", dashboard.day);
    }
}

async fn the_dashboard_says_of_every_day_who_is_eligible_as_the_roster_does(on: On) {
    let world = World::on(on).await;
    let mut n = 0;
    while Box::pin(step(&world, n)).await {
        Box::pin(eligible_as_the_roster_says(&world)).await;
        n += 1;
    }
    // People whose dates lie on both sides of today, and who come, go and change at random but the same each time.
    world.set("guard.removals.max_percent", "off").await;
    let mut dice = 7_u32;
    let mut roll = |n: u32| {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (dice >> 8) % n
    };
    let today = Utc::now().date_naive();
    for _ in 0..6 {
        let mut rows = Vec::new();
        for n in 100..160 {
            let mut date = || match roll(3) {
                0 => String::new(),
                _ => (today + Duration::days(i64::from(roll(24)) - 12)).to_string(),
            };
            let (start, end) = (date(), date());
            let status = ["Active", "Leave", ""][roll(3) as usize];
            if roll(4) > 0 && (start.is_empty() || end.is_empty() || start <= end) {
                rows.push(dated(n, status, &start, &end));
            }
        }
        let report = Box::pin(world.report(partial(), &dated_csv(rows))).await;
        assert_eq!(report.state, State::Applied, "{:?}", report.holds);
        Box::pin(eligible_as_the_roster_says(&world)).await;
    }
    let acme = world.engine.organisation("acme").await.unwrap();
    let found = world.engine.dashboard(acme.row.id, None, 3, Wait::WORK).await.unwrap();
    assert_eq!(found.seq, world.engine.store.head(acme.row.id).await.unwrap().last_seq);
    let roster = world.engine.roster(&acme, At::Now).await.unwrap();
    let this_week = found.weeks.last().unwrap();
    let stayed = roster.iter().filter(|m| !eligibility::on_roster(m).is_empty()).count() as u64;
    assert_eq!((found.weeks.len(), this_week.joined), (3, stayed), "all of them came today");
    let waiting: Vec<_> = found.waiting.iter().map(|w| (w.feed.as_str(), w.waits.state)).collect();
    assert_eq!(waiting, [("main", State::Held)]);
    let feeds: Vec<_> = found.feeds.iter().map(|f| (f.feed.as_str(), f.overdue.is_some(), f.last.is_some())).collect();
    assert_eq!(feeds, [("main", false, true), ("late", false, true)]);
    assert_eq!(found.last_feed.unwrap().feed, "main");
}
