//! The directory: it finds whom going through the roster would find, in the same order, page by page, and nobody forgotten.

use muster_domain::{
    directory::{Query, Sort, Who, fold_text},
    eligibility::{eligible, today},
    member::Member,
};
use muster_engine::{
    forget::ForgetRequest,
    members::At,
    projections::{
        directory::{DIRECTORY, Directory, SearchRequest, SearchResult},
        reading::Wait,
    },
};
use muster_testkit::database::Engine as On;
use proptest::prelude::*;

use crate::{
    projections::{World, live},
    rules_given::*,
};

/// Pages so small that every way of writing them is taken.
const SMALL: Directory = Directory { name: "small", per_page: 4, newer_at_most: 3 };

const HEADER: &str = "employee_id,email,first_name,last_name,department,location,employment_status,start_date,end_date";
const FIRST: [&str; 5] = ["Zoë", "Ann", "ÉLODIE", "anna", ""];
const LAST: [&str; 5] = ["Straße", "Archer", "Łukasz", "Ng", "archer"];
const DEPARTMENTS: [&str; 4] = ["Sales", "sálés", "Law", ""];
const ENDS: [&str; 4] = ["", "2020-01-31", "2999-01-31", "2025-06-30"];
const STATUS: [&str; 3] = ["active", "terminated", ""];

/// Person `n` in one of many variants.
fn variant(n: u8, v: u16) -> String {
    let v = usize::from(v);
    let (first, last) = (FIRST[v % 5], LAST[v / 5 % 5]);
    let (department, end, status) = (DEPARTMENTS[v / 25 % 4], ENDS[v / 100 % 4], STATUS[v / 400 % 3]);
    format!("E{n},p{n}@x.example,{first},{last},{department},Bonn,{status},2019-0{}-01,{end}", v % 9 + 1)
}

fn payload(people: &[(u8, u16)]) -> String {
    let rows: std::collections::BTreeMap<u8, u16> = people.iter().copied().collect();
    let rows: Vec<String> = rows.into_iter().map(|(n, v)| variant(n, v)).collect();
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

/// What happens to an organisation.
#[derive(Clone, Debug)]
enum Happens {
    Full(Vec<(u8, u16)>),
    Partial(Vec<(u8, u16)>),
    Held(Vec<(u8, u16)>, bool),
    Set(u8, u16),
    Remove(u8),
    Rekey(u8, u8),
    Undo,
    Forget(u8),
    Grace(u8),
}

fn happens() -> impl Strategy<Value = Happens> {
    let people = |most| prop::collection::vec((0..14u8, 0..1200u16), 1..most);
    prop_oneof![
        3 => people(14).prop_map(Happens::Full),
        3 => people(5).prop_map(Happens::Partial),
        2 => (people(6), any::<bool>()).prop_map(|(people, approved)| Happens::Held(people, approved)),
        2 => (0..14u8, 0..1200u16).prop_map(|(n, v)| Happens::Set(n, v)),
        1 => (0..14u8).prop_map(Happens::Remove),
        1 => (0..14u8, 20..30u8).prop_map(|(n, to)| Happens::Rekey(n, to)),
        1 => Just(Happens::Undo),
        1 => (0..14u8).prop_map(Happens::Forget),
        1 => (0..90u8).prop_map(Happens::Grace),
    ]
}

impl World {
    /// Lets it happen. What makes no sense at that point, such as an edit of nobody, does nothing.
    async fn happen(&self, what: &Happens) {
        let engine = &self.engine;
        match what {
            Happens::Full(people) => self.sync("acme", full(), &payload(people)).await,
            Happens::Partial(people) => self.sync("acme", partial(), &payload(people)).await,
            Happens::Held(people, approved) => {
                let request = Request { asked: Some(Asked::Hold), ..partial() };
                let report = engine.sync("acme", request, &mut payload(people).as_bytes()).await.unwrap();
                let Some(id) = report.change_set_id.filter(|_| report.state == State::Held) else { return };
                let id = id.to_string();
                match approved {
                    true => drop(engine.approve("acme", Some(&id), Approval::default()).await),
                    false => drop(engine.reject("acme", Some(&id), Choice::default(), None).await),
                }
            }
            Happens::Set(n, v) => {
                let fields = vec![("department".to_owned(), DEPARTMENTS[usize::from(*v) % 3].to_owned())];
                drop(engine.by_hand("acme", Edit::Set { key: format!("E{n}").into(), fields }, None).await);
            }
            Happens::Remove(n) => {
                drop(engine.by_hand("acme", Edit::Remove { key: format!("E{n}").into() }, None).await)
            }
            Happens::Rekey(n, to) => {
                let edit = Edit::Rekey { key: format!("E{n}").into(), new_key: format!("E{to}") };
                drop(engine.by_hand("acme", edit, None).await);
            }
            Happens::Undo => drop(engine.undo("acme", UndoRequest::default()).await),
            Happens::Forget(n) => {
                let request = ForgetRequest { key: format!("E{n}").into(), ..ForgetRequest::default() };
                drop(engine.forget("acme", &request).await);
            }
            Happens::Grace(days) => {
                let org = engine.organisation("acme").await.unwrap();
                let pairs = [("eligibility.grace_days".to_owned(), days.to_string())];
                drop(engine.set_settings(&org, &pairs).await);
            }
        }
    }

    async fn found(&self, directory: &Directory, request: &SearchRequest) -> SearchResult {
        let org = self.engine.organisation("acme").await.unwrap();
        self.engine.search_in(directory, &org, request).await.unwrap()
    }

    /// All pages of a search, as keys.
    async fn pages(&self, directory: &Directory, query: &Query, limit: usize) -> Vec<String> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = self.found(directory, &SearchRequest { limit, after, ..request(query) }).await;
            assert!(page.members.len() <= limit);
            keys.extend(page.members.iter().map(|found| found.member.key.clone()));
            assert!(page.next.is_some() || page.total == keys.len() as u64);
            match page.next {
                Some(next) => after = Some(next),
                None => return keys,
            }
        }
    }

    /// Whom going through the roster finds.
    async fn naive(&self, query: &Query) -> Vec<String> {
        let org = self.engine.organisation("acme").await.unwrap();
        let on = today(&org.settings, self.engine.now());
        let mut found = Vec::new();
        for member in self.engine.roster(&org, At::Now).await.unwrap() {
            let eligible = eligible(&member, &org.settings, on).eligible;
            let stands = match query.who {
                Who::Present => member.is_listed() || eligible,
                Who::Eligible => eligible,
                Who::NotEligible => member.is_listed() && !eligible,
                Who::Former => !member.is_listed() && !eligible,
                Who::All => true,
            };
            let text = |field| member.values.get(field).unwrap_or_default().to_owned();
            let searched = [FieldId::FIRST_NAME, FieldId::LAST_NAME, FieldId::EMAIL, FieldId::DEPARTMENT];
            let mut searched: Vec<String> = searched.map(|field| folded(&text(field))).to_vec();
            searched.push(folded(&text(FieldId::EMPLOYEE_ID)));
            searched.push(folded(&member.key));
            searched.extend(member.aliases.iter().map(|a| folded(a)));
            let says = query.text.split_whitespace().all(|word| searched.iter().any(|s| s.contains(&folded(word))));
            let is = |field, wanted: &Option<String>| {
                wanted.as_ref().is_none_or(|wanted| folded(&text(field)) == folded(wanted))
            };
            let claimed = query.feed.is_none_or(|feed| member.is_claimed_by(feed));
            if stands
                && says
                && claimed
                && is(FieldId::DEPARTMENT, &query.department)
                && is(FieldId::EMPLOYMENT_STATUS, &query.status)
            {
                found.push((order(&member, query), member.no, member.key));
            }
        }
        found.sort_by(|a, b| compared(&a.0, &b.0, query.descending).then(a.1.cmp(&b.1)));
        found.into_iter().map(|(_, _, key)| key).collect()
    }
}

fn folded(text: &str) -> String {
    let mut out = Vec::new();
    fold_text(text, &mut out);
    String::from_utf8(out).unwrap()
}

fn order(member: &Member, query: &Query) -> Vec<String> {
    let text = |field| folded(member.values.get(field).unwrap_or_default());
    let (last, first) = (text(FieldId::LAST_NAME), text(FieldId::FIRST_NAME));
    match query.sort {
        Sort::Name => vec![last, first],
        Sort::Key => vec![folded(&member.key)],
        Sort::Email => vec![text(FieldId::EMAIL)],
        Sort::Department => vec![text(FieldId::DEPARTMENT), last, first],
        Sort::Location => vec![text(FieldId::LOCATION), last, first],
        Sort::Status => vec![text(FieldId::EMPLOYMENT_STATUS), last, first],
        Sort::StartDate => vec![text(FieldId::START_DATE)],
        Sort::EndDate => vec![text(FieldId::END_DATE)],
    }
}

/// Blank last, whichever way.
fn compared(a: &[String], b: &[String], descending: bool) -> std::cmp::Ordering {
    let one = |(a, b): (&String, &String)| {
        let texts = if descending { b.cmp(a) } else { a.cmp(b) };
        a.is_empty().cmp(&b.is_empty()).then(texts)
    };
    a.iter().zip(b).map(one).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

fn request(query: &Query) -> SearchRequest {
    SearchRequest { query: query.clone(), on: None, limit: 50, after: None, wait: Wait::WORK }
}

fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for (i, who) in Who::ALL.iter().enumerate() {
        for (j, sort) in Sort::ALL.iter().enumerate() {
            queries.push(Query { who: *who, sort: *sort, descending: (i + j) % 2 == 1, ..Query::default() });
        }
    }
    for text in ["ann", "ARCHER elo", "sales", "strasse", "e1", "p3@", "zoe sal", "e2 x.example", "nobody"] {
        queries.push(Query { text: text.to_owned(), who: Who::All, ..Query::default() });
    }
    queries.push(Query { department: Some("SALES".to_owned()), ..Query::default() });
    queries.push(Query { status: Some("Terminated".to_owned()), who: Who::All, ..Query::default() });
    queries.push(Query { feed: Some(FeedNo::MAIN), sort: Sort::Key, ..Query::default() });
    queries.push(Query { feed: Some(FeedNo::HAND), who: Who::All, ..Query::default() });
    queries
}

async fn a_story(on: On, story: &[Happens]) {
    let world = World::on(on).await;
    let guards =
        ["guard.first_import", "guard.removals.max_percent", "guard.updates.max_percent", "guard.min_rows_percent"];
    let more = ["guard.blanked_field_percent", "guard.key_changes.max_percent"];
    let off = guards.into_iter().chain(more).map(|key| (key, "off"));
    let statuses = [("eligibility.excluded_statuses", "terminated")];
    let settings = Settings::default().with(off.chain(statuses)).unwrap();
    world.engine.create_organisation("acme", settings).await.unwrap();
    for (i, what) in story.iter().enumerate() {
        world.happen(what).await;
        // Now and then the directory goes along, so that it takes the log in pieces.
        if i % 3 == 0 {
            world.found(&SMALL, &request(&Query::default())).await;
        }
    }
    for query in queries() {
        assert_eq!(world.pages(&SMALL, &query, 5).await, world.naive(&query).await, "{query:?}");
    }
    let org = world.engine.organisation("acme").await.unwrap();
    let grown = live(&world.engine, org.row.id, &SMALL).await;
    world.engine.begin_rebuild(&org, &SMALL).await.unwrap();
    world.engine.catch_up(org.row.id, &SMALL).await.unwrap();
    assert!(grown == live(&world.engine, org.row.id, &SMALL).await, "a rebuild comes to other rows");
}

fn told(story: Vec<Happens>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(a_story(On::Sqlite, &story));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_directory_finds_whom_going_through_the_roster_finds(story in prop::collection::vec(happens(), 1..14)) {
        told(story);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_is_the_same_on_postgres() {
    let people = |from: u8, to: u8, v: u16| (from..to).map(|n| (n, v + u16::from(n) * 37)).collect::<Vec<_>>();
    let story = [
        Happens::Full(people(0, 14, 0)),
        Happens::Partial(people(3, 5, 500)),
        Happens::Held(people(9, 16, 100), true),
        Happens::Held(people(16, 18, 100), false),
        Happens::Rekey(4, 24),
        Happens::Remove(5),
        Happens::Forget(6),
        Happens::Undo,
        Happens::Full(people(0, 12, 700)),
    ];
    a_story(On::Postgres, &story).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_stay_stable_while_people_come_and_go() {
    let world = World::on(On::Sqlite).await;
    world.organisation("acme").await;
    world.sync("acme", full(), &staff(0..60)).await;
    let query = Query { sort: Sort::Key, ..Query::default() };
    let everybody = world.pages(&DIRECTORY, &query, 60).await;
    assert_eq!(everybody.len(), 60);
    let (mut seen, mut after, mut day) = (Vec::new(), None, 0);
    loop {
        let page = world.found(&DIRECTORY, &SearchRequest { limit: 7, after, ..request(&query) }).await;
        seen.extend(page.members.iter().map(|found| found.member.key.clone()));
        let Some(next) = page.next else { break };
        after = Some(next);
        // Somebody before and somebody behind the place comes, and somebody is told of otherwise.
        day += 1;
        let come = [format!("A{day},a{day}@x.example,New,New,1990-01-01,Sales,Bonn"), moved(day, "Law")];
        world.sync("acme", partial(), &csv(come)).await;
    }
    assert_eq!(seen, everybody, "those who were there all the while are seen once, in their order");
    // A cursor says nothing to whoever sees it, and belongs to its order.
    let page = world.found(&DIRECTORY, &SearchRequest { limit: 2, ..request(&Query::default()) }).await;
    let cursor = page.next.unwrap();
    assert!(!cursor.to_lowercase().contains("last"));
    let acme = world.engine.organisation("acme").await.unwrap();
    for (query, after) in
        [(query, cursor.clone()), (Query::default(), format!("{cursor}A")), (Query::default(), "x".into())]
    {
        let wrong = SearchRequest { after: Some(after), ..request(&query) };
        assert!(matches!(world.engine.search(&acme, &wrong).await, Err(Error::Wrong(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eligibility_is_worked_out_for_the_day_that_is_asked_about() {
    let world = World::on(On::Sqlite).await;
    world.organisation("acme").await;
    let rows = "1,Ann,2020-01-01,2025-03-31\n2,Bo,2020-01-01,\n";
    world.sync("acme", full(), &format!("Employee ID,First Name,Start Date,End Date\n{rows}")).await;
    let found = async |day: &str, who| {
        let on = Some(muster_domain::ids::day_of(day.parse().unwrap()));
        let query = Query { who, sort: Sort::Key, ..Query::default() };
        let found = world.found(&DIRECTORY, &SearchRequest { on, ..request(&query) }).await;
        found.members.iter().map(|f| (f.member.key.clone(), f.answer.eligible)).collect::<Vec<_>>()
    };
    // Everybody has been on the roster since today, whenever that is.
    let (one, two) = (|yes| ("1".to_owned(), yes), |yes| ("2".to_owned(), yes));
    assert_eq!(found("2999-01-01", Who::Eligible).await, [two(true)]);
    assert_eq!(found("2999-01-01", Who::NotEligible).await, [one(false)]);
    assert_eq!(found("2999-01-01", Who::Present).await, [one(false), two(true)]);
    assert_eq!(found("2000-01-01", Who::Eligible).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_somebody_forgotten_nothing_is_left_in_the_read_models() {
    for directory in [&DIRECTORY, &SMALL] {
        let world = World::on(On::Sqlite).await;
        world.organisation("acme").await;
        let planted = "ZQkey99,zqmail99@x.example,ZQfirst,ZQlast,1977-07-07,Sales,Bonn".to_owned();
        let others = (0..20).map(person);
        world.sync("acme", full(), &csv(others.chain([planted.clone()]))).await;
        world.found(directory, &request(&Query::default())).await;
        world.sync("acme", partial(), &csv([planted.replace("Sales", "ZQnew")])).await;
        let query = Query { text: "zqlast".to_owned(), ..Query::default() };
        assert_eq!(world.found(directory, &request(&query)).await.total, 1);
        let org = world.engine.organisation("acme").await.unwrap();
        // Also in a lane that is being built, and in one that is given up.
        world.engine.begin_rebuild(&org, directory).await.unwrap();
        let forget = ForgetRequest { key: "ZQkey99".into(), ..ForgetRequest::default() };
        let report = world.engine.forget("acme", &forget).await.unwrap();
        assert!(report.swept);
        assert_eq!(world.found(directory, &request(&query)).await.total, 0);
        let models = world.engine.store.read_models().await.unwrap();
        for lane in models.all_lanes().await.unwrap() {
            for (_, _, row) in models.rows(&lane).await.unwrap() {
                let plain = muster_engine::roster::decompress(&row).unwrap_or(row);
                // Two letters alone stand in many an identity.
                let words = ["zqkey", "zqmail", "zqfirst", "zqlast", "zqnew"];
                assert!(!words.iter().any(|word| has(&plain, word.as_bytes())), "{}", lane.projection);
            }
        }
        for entry in std::fs::read_dir(std::path::Path::new(&world.database.url[7..]).parent().unwrap()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                assert!(!has(&std::fs::read(&path).unwrap(), b"zqlast"), "{}", path.display());
            }
        }
    }
}

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|w| w.eq_ignore_ascii_case(needle))
}
