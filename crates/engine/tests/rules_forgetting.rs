//! Forgetting: of a person nothing is left, everything else goes on, and the next feed does not bring them back.

use std::{collections::BTreeSet, path::Path};

use muster_domain::{
    forgotten::Why,
    replay::{log, read_log},
};
use muster_engine::{
    forget::{ForgetReport, ForgetRequest, Outcome, Standing},
    members::At,
    projections::reading::Wait,
};

use crate::rules_given::*;

/// Person 99, with unique words in every value that tells who they are.
fn planted(department: &str) -> String {
    format!("ZQkey99,zqmail99@x.example,ZQfirst,ZQlast,1977-07-07,{department},Bonn")
}

fn with_planted(others: impl IntoIterator<Item = usize>, department: &str) -> String {
    csv(others.into_iter().map(person).chain([planted(department)]))
}

/// What was planted begins with one of these; two letters alone may stand in any hash.
const WORDS: [&str; 9] = ["key", "mail", "first", "last", "born", "new", "other", "wed", "twin"];

/// Whether anything that was planted stands there.
fn tells(bytes: &[u8], mark: &str) -> bool {
    WORDS.iter().any(|word| has(bytes, format!("{mark}{word}").as_bytes()))
}

fn request(key: &str) -> ForgetRequest {
    ForgetRequest { key: key.into(), ..ForgetRequest::default() }
}

impl Given {
    async fn forget(&self, key: &str) -> ForgetReport {
        self.engine.forget("acme", &request(key)).await.unwrap()
    }

    async fn nothing_in_the_log(&self, mark: &str) {
        for line in self.exported().await.split(|b| *b == b'\n') {
            assert!(!tells(line, mark), "{}", String::from_utf8_lossy(line));
        }
    }

    async fn nothing_left(&self) {
        self.nothing_in_the_log("zq").await;
        for (name, bytes) in files(self.engine.data_dir()) {
            assert!(!tells(&bytes, "zq") && !tells(name.as_bytes(), "zq"), "{name}");
        }
    }

    async fn exported(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.engine.export(&self.acme().await, &mut out).await.unwrap();
        out
    }
}

/// Every file below a directory, whole.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|w| w[0] | 32 == needle[0] && w.eq_ignore_ascii_case(needle))
}

/// How often one of the salts stands in there.
fn salts_in(bytes: &[u8], salts: &BTreeSet<[u8; 16]>) -> usize {
    let first: BTreeSet<u8> = salts.iter().map(|s| s[0]).collect();
    let begins: Vec<bool> = (0..=255).map(|b| first.contains(&b)).collect();
    bytes.windows(16).filter(|w| begins[usize::from(w[0])] && salts.iter().any(|s| s == w)).count()
}

/// The salts of the lines that name the person: lines are packed, but their salts stand beside them as they are.
fn salts(exported: &[u8]) -> BTreeSet<[u8; 16]> {
    let mut salts = BTreeSet::new();
    for line in exported.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let event = log::read_event(line).unwrap();
        let Some(body) = event.body else { continue };
        let named = body.iter().enumerate().filter(|(_, line)| line.is_some_and(|l| tells(l, "zq")));
        salts.extend(named.map(|(i, _)| body.salts[i]));
    }
    salts
}

/// A life of everything in which the person takes part.
async fn lived() -> Given {
    let given = Given::with(&[("guard.removals.max_percent", "60"), ("guard.key_changes.max_percent", "off")]).await;
    given.feed_named("bikes").await;
    let file = || Request { file_name: Some("ZQlast ZQfirst.csv".into()), ..full() };
    given.applied(file(), &with_planted(1..=12, "Sales")).await;
    given.applied(file(), &with_planted(1..=12, "Law")).await;
    given.sync(of("bikes", full()), &csv([planted("Wheels"), person(1)])).await;
    given.set_by_hand("ZQkey99", "department", "Board").await;
    // A value that cannot be read, of the person and of somebody else.
    given.sync(file(), &with_planted(1..=12, "Law").replace("1977-07-07", "ZQborn")).await;
    given.by_hand(Edit::Rekey { key: "ZQkey99".into(), new_key: "ZQnew99".into() }).await;
    let held = Request { asked: Some(Asked::Hold), ..file() };
    let report = given.sync(held.clone(), &with_planted(1..=13, "Tools").replace("ZQlast", "ZQwed")).await;
    let id = report.change_set_id.unwrap().to_string();
    let only = |key: &str| Choice { only: vec![key.into()], ..Choice::default() };
    let comment = Some("ZQfirst ZQwed has not married".to_owned());
    given.engine.reject("acme", Some(&id), only("ZQnew99"), comment).await.unwrap();
    given.approve(&report, Approval::default()).await.unwrap();
    given.sync(held, &with_planted(2..=13, "Board").replace("zqmail99", "zqother99")).await;
    given.verified().await;
    given
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_forgotten_person_nothing_is_left_in_any_file() {
    let given = lived().await;
    let stray = given.engine.payloads.dir(given.acme().await.row.id).join(uuid_of_nobody());
    std::fs::write(stray, planted("Sales")).unwrap();
    let salts = salts(&given.exported().await);
    assert!(salts.len() > 10, "{}", salts.len());
    let before = files(given.engine.data_dir());
    let found: usize = before.iter().map(|(_, bytes)| salts_in(bytes, &salts)).sum();
    assert!(found >= salts.len(), "{found}: they are found as long as they are there");
    let report = given.forget("zqmail99@x.example").await;
    assert_eq!((report.state, report.was, report.members), (Outcome::Forgotten, Standing::Listed, 1));
    assert!(report.swept && report.change_sets == 1 && report.originals > 4 && report.unreadable == 0, "{report:?}");
    for (name, bytes) in files(given.engine.data_dir()) {
        assert_eq!(salts_in(&bytes, &salts), 0, "salts are left in {name}");
    }
    given.nothing_left().await;
    given.nothing_in_the_log("zq").await;
    given.verified().await;
}

fn uuid_of_nobody() -> String {
    "0198c0de-0000-7000-8000-000000000000".to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_else_is_as_before_and_the_log_folds_to_it() {
    let given = lived().await;
    let mut before = given.everybody().await;
    given.forget("ZQkey99").await;
    before.retain(|key, _| !key.starts_with("ZQ"));
    assert_eq!(given.everybody().await, before);
    let replay = read_log(given.exported().await.as_slice(), None).unwrap();
    let told: BTreeSet<String> = replay.members().map(|m| m.unwrap().key).collect();
    assert_eq!(told, before.keys().cloned().collect());
    let acme = given.acme().await;
    assert_eq!(replay.claims(FeedNo::MAIN), acme.feeds[0].claims);
    let answer = given.engine.check(&acme, By::Any("ZQkey99"), None, None, |_| true).await.unwrap();
    assert_eq!((answer.member, answer.answer), (None, muster_domain::eligibility::Answer::UNKNOWN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_set_that_waits_goes_on_without_them() {
    let given = Given::organisation().await;
    given.applied(full(), &with_planted(1..=12, "Sales")).await;
    let held = Request { asked: Some(Asked::Hold), ..full() };
    let report = given.sync(held.clone(), &with_planted(1..=13, "Law")).await;
    let digest = given.change_set(&report).await.digest;
    given.forget("ZQkey99").await;
    let set = given.change_set(&report).await;
    assert_eq!((set.state, set.waiting().len()), (State::Held, 1));
    assert_ne!(set.digest, digest, "an approval of what was seen with them is stale");
    given.approve(&report, Approval::default()).await.unwrap();
    assert_eq!(given.listed().await.len(), 13);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_set_of_the_person_alone_ends() {
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=12)).await;
    let held = Request { asked: Some(Asked::Hold), ..partial() };
    let report = given.sync(held, &csv([planted("Law")])).await;
    let forgotten = given.forget("ZQkey99").await;
    assert_eq!((forgotten.was, forgotten.members, forgotten.change_sets), (Standing::NeverListed, 0, 1));
    assert_eq!(given.change_set(&report).await.state, State::NoChanges);
    given.nothing_in_the_log("zq").await;
    let again = given.sync(partial(), &csv([planted("Law")])).await;
    assert_eq!((again.state, again.counts.forgotten, again.counts.added), (State::NoChanges, 1, 0));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_feed_does_not_bring_them_back_and_says_so() {
    let given = Given::organisation().await;
    given.feed_named("bikes").await;
    let people = with_planted(1..=12, "Sales");
    given.applied(full(), &people).await;
    given.forget("ZQkey99").await;
    let same = given.sync(full(), &people).await;
    assert_eq!((same.state, same.counts.forgotten, same.counts.unchanged), (State::NoChanges, 1, 12));
    assert_eq!((same.issues[0].line, same.issues[0].value.as_str()), (14, ""));
    assert!(same.issues[0].reason.starts_with("The row is of somebody who was forgotten"));
    // By e-mail alone, by employee id alone, in another feed, in part, under another mapping.
    let by_email = planted("Sales").replace("ZQkey99", "OTHER1");
    let by_id = planted("Sales").replace("zqmail99", "other");
    for (request, row) in [
        (partial(), by_email.clone()),
        (of("bikes", full()), by_id),
        (of("bikes", partial()), planted("Law").replace("1977-07-07", "ZQborn")),
        (leavers(), planted("Sales")),
    ] {
        let report = given.sync(request, &csv([row])).await;
        assert_eq!((report.counts.forgotten, report.counts.added), (1, 0), "{report:?}");
    }
    let mapped = Request { mapping: [("employee_id".to_owned(), "Badge".to_owned())].into(), ..partial() };
    let report = given.sync(mapped, &csv([planted("Sales")]).replace("employee_id", "Badge")).await;
    assert_eq!((report.counts.forgotten, report.counts.added), (1, 0));
    assert_eq!(given.listed().await.len(), 12);
    given.nothing_in_the_log("zq").await;
    given.verified().await;
    // Somebody else with that e-mail is somebody else only once it is lifted.
    let fields = vec![("employee_id".into(), "E500".into()), ("email".into(), "ZQmail99@x.example".into())];
    let refused = given.engine.by_hand("acme", Edit::Add { fields }, None).await.unwrap_err();
    assert!(refused.to_string().contains("muster forget --lift"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_lifted_they_come_back_as_somebody_new() {
    let given = Given::organisation().await;
    let people = with_planted(1..=12, "Sales");
    given.applied(full(), &people).await;
    let before = given.member("ZQkey99").await;
    given.forget("ZQkey99").await;
    given.sync(full(), &people).await;
    let named = given.engine.lift_forgetting("acme", "ZQkey99", Some("zqKEY99 is hired again")).await;
    assert!(matches!(named, Err(Error::Wrong(_))), "the reason stays in the log");
    assert_eq!(given.engine.lift_forgetting("acme", "ZQkey99", Some("hired again")).await.unwrap(), 3);
    let report = given.applied(full(), &people).await;
    assert_eq!((report.counts.added, report.counts.forgotten), (1, 0));
    let after = given.member("zqmail99@x.example").await;
    assert!(after.no != before.no && after.uuid != before.uuid);
    given.verified().await;
    assert!(matches!(given.engine.lift_forgetting("acme", "ZQkey99", None).await, Err(Error::Unknown(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_twice_says_so_and_takes_what_came_since() {
    let given = Given::organisation().await;
    given.applied(full(), &with_planted(1..=12, "Sales")).await;
    given.forget("ZQkey99").await;
    let again = given.forget("ZQkey99").await;
    assert_eq!((again.state, again.lines, again.originals), (Outcome::AlreadyForgotten, 0, 0));
    given.sync(full(), &with_planted(1..=12, "Sales")).await;
    let again = given.forget("ZQkey99").await;
    assert_eq!((again.state, again.originals), (Outcome::AlreadyForgotten, 1));
    given.nothing_left().await;
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_of_what_named_them_works_without_them() {
    let given = Given::with(&[("guard.removals.max_percent", "off")]).await;
    given.applied(full(), &staff(1..=12)).await;
    let report = given.applied(full(), &with_planted(1..=14, "Sales")).await;
    given.forget("ZQkey99").await;
    let ids = vec![report.change_set_id.unwrap().to_string()];
    given.engine.undo("acme", UndoRequest { ids, ..UndoRequest::default() }).await.unwrap();
    assert_eq!(given.listed().await.len(), 12);
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn former_declined_and_linked_people_are_forgotten_too() {
    let given = Given::with(&[("guard.removals.max_percent", "off"), ("guard.min_rows_percent", "off")]).await;
    given.applied(full(), &with_planted(1..=12, "Sales")).await;
    given.applied(full(), &staff(1..=12)).await;
    let fields = vec![("employee_id".into(), "ZQtwin".into()), ("email".into(), "zqtwin@x.example".into())];
    given.by_hand(Edit::Add { fields }).await;
    given.by_hand(Edit::Link { key: "ZQkey99".into(), other: "ZQtwin".into() }).await;
    let report = given.forget("ZQtwin").await;
    assert_eq!(report.members, 2, "{report:?}");
    given.nothing_in_the_log("zq").await;
    given.verified().await;
    // Named by a feed, refused by a reviewer.
    let held = Request { asked: Some(Asked::Hold), ..partial() };
    let declined = planted("Sales").to_lowercase().replace("zq", "qz");
    let report = given.sync(held, &csv([declined, moved(1, "Law")])).await;
    given.reject(&report, Choice { only: vec!["qzkey99".into()], ..Choice::default() }).await;
    assert_eq!(given.forget("QZkey99").await.was, Standing::Declined);
    given.nothing_in_the_log("qz").await;
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_given_to_somebody_else_since_is_theirs() {
    let given = Given::with(&[("guard.key_changes.max_percent", "off")]).await;
    given.applied(full(), &with_planted(1..=12, "Sales")).await;
    given.by_hand(Edit::Rekey { key: "ZQkey99".into(), new_key: "ZQnew99".into() }).await;
    let old_key = person(50).replace("E50,", "ZQkey99,");
    let all = csv((1..=12).map(person).chain([planted("Sales").replace("ZQkey99", "ZQnew99")]));
    given.sync(full(), &all).await;
    let joined =
        given.engine.by_hand("acme", Edit::Add { fields: vec![("employee_id".into(), "E50".into())] }, None).await;
    joined.unwrap();
    given.forget("ZQnew99").await;
    let report = given.sync(partial(), &csv([old_key])).await;
    assert_eq!(report.counts.forgotten, 1, "a key of theirs stays blocked");
    assert!(given.listed().await.contains(&"E50".to_owned()));
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_change_of_key_leaves_the_other_person_as_the_log_says() {
    for forgotten in ["ZQkey99", "ZQkey2"] {
        let given = Given::with(&[("guard.key_changes.max_percent", "off")]).await;
        given.applied(full(), &with_planted(1..=12, "Sales")).await;
        let held = Request { asked: Some(Asked::Hold), ..full() };
        let report = given.sync(held, &with_planted(1..=12, "Sales").replace("ZQkey99", "ZQkey2")).await;
        assert_eq!(report.counts.rekeyed, 1);
        given.reject(&report, Choice { only: vec!["ZQkey2".into()], ..Choice::default() }).await;
        given.verified().await;
        given.forget(forgotten).await;
        given.verified().await;
        given.sync(full(), &staff(1..=12)).await;
        given.verified().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_and_an_unknown_key_change_nothing() {
    let given = lived().await;
    let before = given.exported().await;
    let tried = given.engine.forget("acme", &ForgetRequest { dry_run: true, ..request("ZQkey99") }).await.unwrap();
    assert_eq!((tried.state, tried.was, tried.swept), (Outcome::DryRun, Standing::Listed, false));
    assert!(tried.lines > 8 && tried.originals > 4 && tried.blocked > 3, "{tried:?}");
    for key in ["nobody", "E", ""] {
        let unknown = given.engine.forget("acme", &request(key)).await.unwrap_err();
        assert!(matches!(unknown, Error::Unknown(_)), "{key}: {unknown}");
    }
    let named = ForgetRequest { reason: Some("asked by ZQfirst ZQlast".into()), ..request("ZQkey99") };
    assert!(matches!(given.engine.forget("acme", &named).await, Err(Error::Wrong(_))));
    assert_eq!(given.exported().await, before);
    let done = given.forget("ZQkey99").await;
    assert_eq!((done.lines, done.events, done.originals), (tried.lines, tried.events, tried.originals));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn originals_are_told_to_be_destroyed_and_why() {
    let given = Given::organisation().await;
    let first = given.applied(full(), &with_planted(1..=12, "Sales")).await;
    let other = given.sync(partial(), &csv([moved(1, "Law")])).await;
    given.forget("ZQkey99").await;
    let acme = given.acme().await;
    let upload = async |report: &Report| {
        let row = given.engine.store.upload(acme.row.id, report.upload_id.unwrap()).await.unwrap();
        serde_json::from_slice::<muster_domain::documents::Upload>(&row.doc).unwrap().destroyed
    };
    assert_eq!(upload(&first).await.map(|d| d.why), Some(Why::Forgotten));
    assert_eq!(upload(&other).await, None);
    assert_eq!(given.engine.payloads.all(acme.row.id).unwrap(), [other.upload_id.unwrap()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn originals_are_destroyed_after_their_days_but_for_what_waits() {
    let given = Given::organisation().await;
    let first = given.applied(full(), &staff(1..=12)).await;
    let held = given.sync(Request { asked: Some(Asked::Hold), ..full() }, &staff(1..=13)).await;
    let later = given.engine.now() + chrono::Duration::days(91);
    let engine = &given.engine;
    let run = async |dry_run, now| engine.run_retention("acme", dry_run, now).await.unwrap();
    assert_eq!(run(false, engine.now()).await.destroyed, 0);
    let tried = run(true, later).await;
    assert_eq!((tried.destroyed, tried.waiting, tried.kept), (1, 1, 1));
    let all = || engine.payloads.all(first_of(engine)).unwrap();
    assert_eq!(all().len(), 2);
    // What was tried, and one event that says so.
    let wanted = muster_engine::retention::Retained { seq: tried.seq + 1, ..tried };
    assert_eq!(run(false, later).await, wanted);
    assert_eq!(all(), [held.upload_id.unwrap()]);
    given.verified().await;
    assert_eq!(run(false, later).await.destroyed, 0, "a second run finds nothing to do");
    // Killed before the file was gone, and one of which no upload speaks.
    let org = given.acme().await.row.id;
    std::fs::write(engine.payloads.path(org, first.upload_id.unwrap()), "again").unwrap();
    assert!(!engine.verify(&given.acme().await).await.unwrap().is_clean());
    std::fs::write(engine.payloads.dir(org).join(uuid_of_nobody()), "stray").unwrap();
    assert_eq!(run(false, later).await.leftovers, 2);
    given.verified().await;
    given.approve(&held, Approval::default()).await.unwrap();
    assert_eq!(run(false, later).await.destroyed, 1);
    given.set("payloads.keep_days", "off").await;
    given.applied(full(), &staff(1..=14)).await;
    assert_eq!(run(false, later).await.kept, 1);
    // What was destroyed is undone, exported and folded as before.
    let ids = vec![first.change_set_id.unwrap().to_string()];
    engine.undo("acme", UndoRequest { ids, dry_run: true, ..UndoRequest::default() }).await.unwrap();
    given.verified().await;
}

/// The only organisation of which payloads lie there.
fn first_of(engine: &Engine) -> muster_domain::ids::OrganisationId {
    let mut dirs = std::fs::read_dir(engine.data_dir().join("payloads")).unwrap();
    let name = dirs.next().unwrap().unwrap().file_name();
    serde_json::from_value(name.to_str().unwrap().into()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_found_in_originals_of_any_form() {
    use std::io::Write;
    let given = Given::organisation().await;
    given.applied(full(), &staff(1..=60)).await;
    let text = with_planted(1..=3, "Sales");
    let late = csv((1..=3000).map(person).chain([planted("Büro")]));
    let latin: Vec<u8> = late.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let utf16: Vec<u8> = "\u{feff}".chars().chain(text.chars()).flat_map(|c| (c as u16).to_le_bytes()).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let json =
        r#"{"rows":[{"employee_id":"7","email":"p7@x.example"},{"employee_id":"8","email":"ZQMAIL99@x.example"}]}"#;
    let line = "{\"employee_id\":\"ZQkey99\",\"first_name\":\"A\"}\n";
    let payloads = [
        text.clone().into_bytes(),
        latin,
        utf16,
        gzip.finish().unwrap(),
        json.into(),
        line.into(),
        b"PK\x03\x04".into(),
    ];
    let hold = || Request { asked: Some(Asked::Hold), ..partial() };
    for payload in &payloads {
        let _ = given.engine.sync("acme", hold(), &mut payload.as_slice()).await;
    }
    let org = given.acme().await.row.id;
    assert_eq!(given.engine.payloads.all(org).unwrap().len(), 8);
    let report = given.forget("ZQkey99").await;
    assert_eq!((report.originals, report.unreadable), (7, 1), "{report:?}");
    assert_eq!(given.engine.payloads.all(org).unwrap().len(), 1, "the one without them is kept");
    given.nothing_left().await;
    given.verified().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_says_that_the_file_is_gone() {
    let given = Given::organisation().await;
    given.applied(Request { file_name: Some("people.csv".into()), ..full() }, &staff(1..=6)).await;
    let now = given.engine.now() + chrono::Duration::days(91);
    assert_eq!(given.engine.run_retention("acme", false, now).await.unwrap().destroyed, 1);
    let history = given.engine.history(&given.acme().await, "E1", At::Now, Wait::WORK).await.unwrap().entries;
    assert_eq!(history[0].file.as_deref(), Some("people.csv"));
    assert!(history.iter().all(|e| e.destroyed.is_some_and(|d| d.why == Why::Retention)));
}
