//! The log of a real engine: exported, replayed and verified; and every tampering is found.

use std::path::Path;

use chrono::Utc;
use muster_domain::{
    change::Kind,
    fact::State,
    ids::FeedNo,
    replay::{Replay, ReplayError, log, read_log},
    settings::{Channel, FeedSettings, Mode, Settings},
};
use muster_engine::{
    Engine, Organisation,
    hand::Edit,
    lists::Which,
    members::{At, By},
    pipeline::Request,
    projections::reading::Wait,
    review::{Approval, Choice},
    undo::UndoRequest,
    verify::VerifyReport,
};
use tempfile::TempDir;

const FIRST: &str = "Employee ID,Email,First Name,Last Name,Department\n\
    1,ann@x.org,Ann,Lee,Sales\n2,bob@x.org,Bob,Ray,Tools\n3,cy@x.org,Cy,Moss,Tools\n";
const SECOND: &str = "Employee ID,Email,First Name,Last Name,Department\n\
    1,ann@x.org,Ann,Lee,  Law \n3,cy@x.org,Cy,Moss,Tools\n4,di@x.org,Di,Fry,Sales\n";

/// An organisation without guards, in a database of its own.
struct Place {
    dir: TempDir,
    engine: Engine,
}

impl Place {
    async fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { engine: open(dir.path()).await, dir };
        let off =
            [("guard.first_import", "off"), ("guard.removals.max_percent", "off"), ("guard.min_rows_percent", "off")];
        let off =
            off.into_iter().chain([("guard.blanked_field_percent", "off"), ("guard.key_changes.max_percent", "off")]);
        let settings = Settings::default().with(off).unwrap();
        place.engine.create_organisation("acme", settings).await.unwrap();
        place
    }

    async fn org(&self) -> Organisation {
        self.engine.organisation("acme").await.unwrap()
    }

    async fn sync(&self, feed: &str, mode: Mode, csv: &str) -> muster_engine::pipeline::Report {
        let request = Request {
            feed: Some(feed.to_owned()),
            mode: Some(mode),
            channel: Some(Channel::Api),
            file_name: Some("people.csv".to_owned()),
            ..Request::default()
        };
        self.engine.sync("acme", request, &mut csv.as_bytes()).await.unwrap()
    }

    async fn export(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.engine.export(&self.org().await, &mut out).await.unwrap();
        out
    }

    async fn verify(&self) -> VerifyReport {
        self.engine.verify(&self.org().await).await.unwrap()
    }

    async fn expect_clean(&self) {
        assert_eq!(self.verify().await.differences, Vec::<String>::new());
    }

    /// No feed claims a member twice, and nothing waits in a change set that has nothing left.
    async fn expect_one_claim_a_feed(&self) {
        let org = self.org().await;
        for member in self.engine.roster(&org, At::Now).await.unwrap() {
            let mut claimants: Vec<_> = member.claimants().collect();
            claimants.sort_unstable();
            assert!(claimants.is_sorted_by(|a, b| a < b), "{claimants:?}");
        }
        for state in [State::Held, State::PartlyApplied] {
            let sets = self.engine.change_sets(&org, Which::all(Some(state))).await.unwrap();
            assert!(sets.iter().all(|s| !s.waiting().is_empty()), "a change set waits for nothing");
        }
    }

    async fn expect_one_row_a_person(&self) {
        let mut uuids: Vec<_> = Vec::new();
        self.engine.each_member(self.org().await.row.id, |m| uuids.push(m.uuid)).await.unwrap();
        let all = uuids.len();
        uuids.sort_unstable();
        uuids.dedup();
        assert_eq!(uuids.len(), all, "two members have one identity");
    }

    /// Does something to the database behind the engine's back, and says what verifying then finds first.
    async fn tamper(&self, sql: &'static str) -> String {
        sql_on(self.dir.path(), sql).await;
        self.verify().await.differences.first().cloned().unwrap_or_default()
    }
}

async fn open(dir: &Path) -> Engine {
    Engine::open(&format!("sqlite:{}", dir.join("m.db").display()), dir, "os:test@here").await.unwrap()
}

async fn sql_on(dir: &Path, sql: &'static str) {
    use sqlx::Connection;
    let mut db = sqlx::SqliteConnection::connect(&format!("sqlite:{}", dir.join("m.db").display())).await.unwrap();
    let done = sqlx::query(sql).execute(&mut db).await.unwrap();
    assert!(done.rows_affected() > 0, "nothing was tampered with");
    db.close().await.unwrap();
}

async fn two_payloads() -> Place {
    let place = Place::new().await;
    place.sync("main", Mode::Full, FIRST).await;
    place.sync("main", Mode::Full, SECOND).await;
    place
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_log_replays_to_the_stored_roster() {
    let place = two_payloads().await;
    let log = place.export().await;
    let replay = read_log(log.as_slice(), None).unwrap();
    let told: Vec<_> = replay.members().map(Result::unwrap).collect();
    assert_eq!(told, place.engine.roster(&place.org().await, At::Now).await.unwrap());
    let report = replay.report();
    assert_eq!((report.members, report.former, report.roster_version, report.changes), (3, 1, 2, 6));
    assert_eq!(replay.claims(FeedNo::MAIN), 3);
    place.expect_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn export_of_what_was_read_from_an_export_is_the_same_bytes() {
    let log = two_payloads().await.export().await;
    let mut again = Vec::new();
    for line in log.split_inclusive(|b| *b == b'\n') {
        let event = log::read_event(line.strip_suffix(b"\n").unwrap()).unwrap();
        log::write_event(&event, &mut again).unwrap();
    }
    assert_eq!(again, log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_changed_byte_of_an_export_is_noticed() {
    let log = two_payloads().await.export().await;
    let whole = read_log(log.as_slice(), None).unwrap();
    for at in (0..log.len()).step_by(7) {
        let mut other = log.clone();
        other[at] ^= 1;
        // A changed line break or space between tokens may leave all that is hashed as it was; then all is the same.
        if let Ok(replay) = read_log(other.as_slice(), None) {
            assert_eq!(replay.last_hash(), whole.last_hash(), "byte {at}");
            assert_eq!(replay.report().digest, whole.report().digest, "byte {at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_one_of_its_events_does_not_fold() {
    let log = two_payloads().await.export().await;
    let lines: Vec<&[u8]> = log.split_inclusive(|b| *b == b'\n').collect();
    for gone in 0..lines.len() - 1 {
        let rest =
            lines.iter().enumerate().filter(|(i, _)| *i != gone).flat_map(|(_, l)| l.to_vec()).collect::<Vec<_>>();
        let found = read_log(rest.as_slice(), None).map(|r| r.report());
        assert!(
            matches!(found, Err(ReplayError::Sequence { expected, .. }) if expected == gone as u64 + 1),
            "{found:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_changed_body_byte() {
    let place = two_payloads().await;
    let salt = place.tamper("UPDATE event SET body = CAST(substr(body, 1, 12) || x'00000000' || substr(body, 17) AS BLOB) WHERE type = 'change_set.chunk'").await;
    assert!(salt.contains("has other lines than those that were recorded"), "{salt}");
    let place = two_payloads().await;
    let packed = place.tamper("UPDATE event SET body = CAST(substr(body, 1, length(body) - 9) || x'0102030405060708ff' AS BLOB) WHERE seq = 4").await;
    assert!(packed.starts_with("Event 4"), "{packed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_changed_metadata() {
    let place = two_payloads().await;
    let found = place.tamper("UPDATE event SET meta = CAST(replace(CAST(meta AS TEXT), 'os:test@here', 'os:evil@here') AS BLOB) WHERE seq = 5").await;
    assert_eq!(found, "Event 5 does not carry on the chain of hashes: it, or an event before it, was changed.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_removed_event() {
    let middle = two_payloads().await.tamper("DELETE FROM event WHERE seq = 5").await;
    assert_eq!(middle, "Event 5 should follow here, and event 6 does.");
    let last = two_payloads().await.tamper("DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)").await;
    assert!(last.starts_with("Stored as the number of the last event is"), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_changed_member() {
    let place = two_payloads().await;
    let org = place.org().await;
    let mut ann = place.engine.member(&org, "1").await.unwrap();
    ann.values.set(muster_domain::field::FieldId::DEPARTMENT, Some("Elsewhere"));
    let mut packed = Vec::new();
    muster_domain::codec::encode(&ann, &mut packed);
    let mut tx = place.engine.store.begin(org.row.id, None).await.unwrap();
    tx.put_members(vec![(ann.no, packed)]).await.unwrap();
    tx.commit().await.unwrap();
    let found = place.verify().await.differences;
    assert_eq!(found, ["The stored row of member 0 is not what the log says: it differs in `department`."]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_changed_claim_count() {
    let found = two_payloads()
        .await
        .tamper("UPDATE feed SET doc = CAST(json_set(CAST(doc AS TEXT), '$.claims', 9) AS BLOB)")
        .await;
    assert_eq!(found, "The feed 1 is stored otherwise than the log says, in `claims`.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_changed_head_a_lost_identifier_and_a_foreign_fingerprint() {
    let found = two_payloads().await.tamper("UPDATE head SET next_member = next_member + 1").await;
    assert_eq!(found, "Stored as the next member's number is 5; the log says 4.");
    let found = two_payloads().await.tamper("DELETE FROM ident_page").await;
    assert!(found.ends_with("is not found by one of their identifiers."), "{found}");
    let found = two_payloads().await.tamper("DELETE FROM feed_order").await;
    assert_eq!(found, "Feed 1 is not stored as naming member 0; the log says that it does.");
    let place = two_payloads().await;
    let mut tx = place.engine.store.begin(place.org().await.row.id, None).await.unwrap();
    tx.put_fingerprints(FeedNo::MAIN, &[0; 8]).await.unwrap();
    tx.add_fingerprint_pages(FeedNo::MAIN, 0, muster_engine::known::pack_pages(&mut [(1, 1)])).await.unwrap();
    tx.commit().await.unwrap();
    let found = place.verify().await.differences;
    assert_eq!(found, ["Feed 1 has a fingerprint of member 1, of whom its rows say something new."]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_hands_and_undos_replay_to_what_is_stored() {
    let place = Place::new().await;
    place
        .engine
        .create_feed(&place.org().await, FeedSettings { name: "bikes".to_owned(), ..FeedSettings::default() })
        .await
        .unwrap();
    place.sync("main", Mode::Full, FIRST).await;
    place.sync("bikes", Mode::Full, "Employee ID,Department\n2,Wheels\n7,Wheels\n").await;
    place.expect_clean().await;
    let edit = Edit::Set { key: "1".into(), fields: vec![("department".to_owned(), "Pinned".to_owned())] };
    place.engine.by_hand("acme", edit, Some(muster_domain::guard::Asked::Apply)).await.unwrap();
    place.expect_clean().await;
    let hold = Request { mode: Some(Mode::Full), asked: Some(muster_domain::guard::Asked::Hold), ..Request::default() };
    place.engine.sync("acme", hold, &mut SECOND.as_bytes()).await.unwrap();
    place.expect_clean().await;
    let only = Choice { only: vec!["4".to_owned()], ..Choice::default() };
    place.engine.reject("acme", None, only, Some("not ours".to_owned())).await.unwrap();
    place.expect_clean().await;
    place.engine.approve("acme", None, Approval::default()).await.unwrap();
    place.expect_clean().await;
    let since = UndoRequest {
        since: Some(Utc::now() - chrono::Duration::hours(1)),
        asked: Some(muster_domain::guard::Asked::Apply),
        ..UndoRequest::default()
    };
    place.engine.undo("acme", since).await.unwrap();
    place.expect_clean().await;
    place.sync("main", Mode::Full, SECOND).await;
    place.expect_clean().await;
    let replay = read_log(place.export().await.as_slice(), None).unwrap();
    let roster = place.engine.roster(&place.org().await, At::Now).await.unwrap();
    let told: Vec<_> = replay.members().map(Result::unwrap).filter(|m| !m.spells.is_empty()).collect();
    assert_eq!(told, roster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_read_by_time_and_by_version() {
    let place = Place::new().await;
    let before = Utc::now();
    place.sync("main", Mode::Full, FIRST).await;
    let between = Utc::now();
    place.sync("main", Mode::Full, SECOND).await;
    let org = place.org().await;
    let keys = async |at| {
        let members = place.engine.roster(&org, at).await.unwrap();
        members.iter().filter(|m| m.is_listed()).map(|m| m.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys(At::Time(before)).await, Vec::<String>::new());
    assert_eq!(keys(At::Time(between)).await, ["1", "2", "3"]);
    assert_eq!(keys(At::Version(0)).await, Vec::<String>::new());
    assert_eq!(keys(At::Version(1)).await, ["1", "2", "3"]);
    assert_eq!(keys(At::Version(2)).await, ["1", "3", "4"]);
    assert_eq!(keys(At::Now).await, ["1", "3", "4"]);
    assert!(place.engine.roster(&org, At::Version(3)).await.is_err());
    let bob = |at| place.engine.check(&org, By::Any(" BOB@x.org"), None, at, |_| true);
    assert!(!bob(None).await.unwrap().answer.eligible);
    assert!(bob(Some(between)).await.unwrap().answer.eligible);
    assert!(!bob(Some(before)).await.unwrap().answer.eligible);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_says_for_every_value_where_it_came_from() {
    let place = two_payloads().await;
    let history = place.engine.history(&place.org().await, "ann@x.org", At::Now, Wait::WORK).await.unwrap().entries;
    let values: Vec<_> = history
        .iter()
        .map(|e| (e.kind, e.field.as_deref().unwrap_or(""), e.value.as_deref(), e.before.as_deref()))
        .collect();
    assert_eq!(values.len(), 6);
    assert_eq!(values[0], (Kind::Add, "employee_id", Some("1"), None));
    assert_eq!(values[5], (Kind::Update, "department", Some("Law"), Some("Sales")));
    let last = &history[5];
    assert_eq!(
        (last.file.as_deref(), last.line, last.feed.as_str(), last.reviewed),
        (Some("people.csv"), Some(2), "main", false)
    );
    assert_eq!(place.engine.show_event(&place.org().await, last.seq).await.unwrap().meta.id, last.event);
    let bob = place.engine.history(&place.org().await, "2", At::Now, Wait::WORK).await.unwrap().entries;
    assert_eq!(bob.last().map(|e| (e.kind, e.field.clone())), Some((Kind::Remove, None)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_stops_at_the_event_that_is_named() {
    let log = two_payloads().await.export().await;
    let at = |until| read_log(log.as_slice(), Some(until)).map(|r: Replay| r.report()).unwrap();
    assert_eq!((at(0).events, at(3).events, at(6).roster_version), (0, 3, 1));
    assert_eq!(at(10_000).roster_version, 2);
}

/// A person of a payload: key, e-mail, department and birth year, each one of few, so that people meet again.
type Person = (u8, u8, u8);

fn csv(people: &[Person]) -> String {
    let mut csv = "Employee ID,Email,First Name,Last Name,Department,Date of Birth,End Date\n".to_owned();
    for (key, email, department) in people {
        let dept = ["", "Sales", "Law", "Tools"][usize::from(department % 4)];
        let end = ["", "", "2099-12-31", "2098-12-31"][usize::from((email + department) % 4)];
        csv.push_str(&format!("{key},p{email}@x.org,P{email},Q{email},{dept},19{:02}-01-01,{end}\n", 10 + email));
    }
    csv
}

mod any_sequence {
    use muster_domain::guard::Asked;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[derive(Clone, Debug)]
    struct Payload {
        second: bool,
        mode: Mode,
        hold: bool,
        people: Vec<Person>,
        then: Then,
    }

    /// What an administrator does after a payload.
    #[derive(Clone, Debug)]
    enum Then {
        Nothing,
        Approve { except_department: bool, only: Option<u8>, reject_rest: bool },
        Reject { only: Option<u8> },
        Look,
        Undo { by_key: Option<u8>, hold: bool },
        Set { key: u8, hold: bool },
        Remove { key: u8, hold: bool },
        Link(u8, u8),
    }

    fn payload() -> impl Strategy<Value = Payload> {
        let mode = prop_oneof![5 => Just(Mode::Full), 2 => Just(Mode::Partial), 1 => Just(Mode::Leavers)];
        let flags = (proptest::bool::weighted(0.3), mode, proptest::bool::weighted(0.4));
        let then = prop_oneof![
            4 => Just(Then::Nothing),
            4 => (any::<bool>(), proptest::option::weighted(0.3, 0..12u8), any::<bool>())
                .prop_map(|(except_department, only, reject_rest)| Then::Approve { except_department, only, reject_rest }),
            2 => proptest::option::of(0..12u8).prop_map(|only| Then::Reject { only }),
            1 => Just(Then::Look),
            2 => (proptest::option::of(0..12u8), any::<bool>()).prop_map(|(by_key, hold)| Then::Undo { by_key, hold }),
            1 => (0..12u8, any::<bool>()).prop_map(|(key, hold)| Then::Set { key, hold }),
            1 => (0..12u8, any::<bool>()).prop_map(|(key, hold)| Then::Remove { key, hold }),
            1 => (0..12u8, 0..12u8).prop_map(|(key, other)| Then::Link(key, other)),
        ];
        (flags, vec((0..12u8, 0..12u8, 0..4u8), 0..10), then).prop_map(|((second, mode, hold), people, then)| Payload {
            second,
            mode,
            hold,
            people,
            then,
        })
    }

    /// What makes no sense is refused, which is all right too.
    async fn act(engine: &Engine, then: &Then) {
        let asked = |hold: &bool| Some(if *hold { Asked::Hold } else { Asked::Apply });
        let keys = |only: &Option<u8>| only.iter().map(u8::to_string).collect();
        match then {
            Then::Nothing => {}
            Then::Approve { except_department, only, reject_rest } => {
                let except_fields = Vec::from_iter(except_department.then(|| "department".to_owned()));
                let choice = Choice { except_fields, only: keys(only), ..Choice::default() };
                let approval = Approval { choice, reject_rest: *reject_rest, ..Approval::default() };
                let _ = engine.approve("acme", None, approval).await;
            }
            Then::Reject { only } => {
                let choice = Choice { only: keys(only), ..Choice::default() };
                let _ = engine.reject("acme", None, choice, None).await;
            }
            Then::Look => {
                let _ = engine.look(&engine.organisation("acme").await.unwrap(), None).await;
            }
            Then::Undo { by_key, hold } => {
                let since = Some(Utc::now() - chrono::Duration::hours(1));
                let whom = by_key.map(|key| key.to_string().into());
                let request = UndoRequest { since, whom, asked: asked(hold), ..UndoRequest::default() };
                let _ = engine.undo("acme", request).await;
            }
            Then::Set { key, hold } => {
                let fields = vec![("department".to_owned(), "Pinned".to_owned())];
                let _ = engine.by_hand("acme", Edit::Set { key: key.to_string().into(), fields }, asked(hold)).await;
            }
            Then::Remove { key, hold } => {
                let _ = engine.by_hand("acme", Edit::Remove { key: key.to_string().into() }, asked(hold)).await;
            }
            Then::Link(key, other) => {
                let edit = Edit::Link { key: key.to_string().into(), other: other.to_string().into() };
                let _ = engine.by_hand("acme", edit, asked(&false)).await;
            }
        }
    }

    async fn play(payloads: &[Payload]) {
        let place = Place::new().await;
        let other = FeedSettings { name: "other".to_owned(), priority: 1, ..FeedSettings::default() };
        place.engine.create_feed(&place.org().await, other).await.unwrap();
        for payload in payloads {
            let request = Request {
                feed: payload.second.then(|| "other".to_owned()),
                mode: Some(payload.mode),
                channel: Some(Channel::Api),
                asked: payload.hold.then_some(Asked::Hold),
                ..Request::default()
            };
            let _ = place.engine.sync("acme", request, &mut csv(&payload.people).as_bytes()).await;
            act(&place.engine, &payload.then).await;
            place.expect_clean().await;
            place.expect_one_row_a_person().await;
            place.expect_one_claim_a_feed().await;
        }
        crate::history::the_index_tells_what_the_log_tells(&place.engine, &place.org().await).await;
        let replay = read_log(place.export().await.as_slice(), None).unwrap();
        let told: Vec<_> = replay.members().map(Result::unwrap).filter(|m| !m.spells.is_empty()).collect();
        assert_eq!(told, place.engine.roster(&place.org().await, At::Now).await.unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").map_or(24, |n| n.parse().unwrap()), ..ProptestConfig::default() })]
        #[test]
        fn of_payloads_replays_to_what_is_stored(payloads in vec(payload(), 1..7)) {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(play(&payloads));
        }
    }
}
