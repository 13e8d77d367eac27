//! Small logs made by hand: what they fold to, and what is refused.

use chrono::DateTime;

use super::*;
use crate::{
    change::{Change, Kind},
    event::{chain, leaf},
    fact::{Computed, Counts, Received, SCHEMA, State},
    guard::Figures,
    ids::UploadId,
    member::Reason,
    second::{ApprovalGiven, Approved},
    selection::Selection,
    settings::{Channel, FeedSettings, Mode, Settings},
};

const SALT: [u8; 16] = [7; 16];

/// A log in the making.
#[derive(Default)]
struct Log {
    events: Vec<StoredEvent>,
    versions: HashMap<String, u64>,
}

/// The ids of the change set and upload of that number.
fn ids(n: u128) -> (ChangeSetId, UploadId) {
    (ChangeSetId(Uuid::from_u128(n)), UploadId(Uuid::from_u128(n + 1000)))
}

impl Log {
    fn new() -> Log {
        Log::default()
            .event(&Fact::OrganisationCreated { slug: "acme".into(), settings: Box::default() }, &[])
            .event(&Fact::FeedCreated { no: FeedNo::MAIN, settings: Box::new(FeedSettings::default()) }, &[])
    }

    fn event(mut self, fact: &Fact, lines: &[Vec<u8>]) -> Log {
        let (kind, data) = fact.parts();
        let version = self.versions.entry(fact.stream()).or_default();
        *version += 1;
        let seq = self.events.len() as u64 + 1;
        let meta = Meta {
            id: Uuid::from_u128(seq.into()),
            organisation: OrganisationId(Uuid::nil()),
            seq,
            stream: fact.stream(),
            version: *version,
            kind,
            schema: SCHEMA,
            actor: "os:me@here".into(),
            correlation: Uuid::nil(),
            causation: None,
            recorded_at: DateTime::from_timestamp(seq as i64, 0).unwrap(),
            data,
        };
        let mut body = Body::default();
        lines.iter().for_each(|line| body.push(SALT, line));
        let body = (!lines.is_empty()).then_some(body);
        let (meta_bytes, root) = (serde_json::to_vec(&meta).unwrap(), body.as_ref().map_or([0; 32], Body::root));
        let previous = self.events.last().map_or(GENESIS, |e| e.hash);
        let hash = chain(&previous, &meta_bytes, &root);
        self.events.push(StoredEvent { meta_bytes, meta, body, root, hash });
        self
    }

    /// An upload and its change set in one chunk, sealed and waiting.
    fn proposes(self, n: u128, changes: &[Change]) -> Log {
        let lines: Vec<Vec<u8>> = changes.iter().map(line).collect();
        self.receives(n).chunk(n, 0, &lines).seals(n, changes.len() as u32, State::Held)
    }

    fn receives(self, n: u128) -> Log {
        let arrival = self.events.iter().filter(|e| e.meta.kind == "upload.received").count() as u64 + 1;
        let received = Received {
            upload: ids(n).1,
            arrival,
            feed: FeedNo::MAIN,
            channel: Channel::Api,
            mode: Mode::Full,
            size: 1,
            blake3: format!("{n}"),
            day: 100,
            asked: None,
            as_of: None,
            expect_rows: None,
            format: None,
            sheet: None,
            mapping: Default::default(),
            undoes: Vec::new(),
            hands_over: None,
        };
        self.event(&Fact::UploadReceived(Box::new(received)), &[])
    }

    fn chunk(self, n: u128, first: u32, lines: &[Vec<u8>]) -> Log {
        self.event(&Fact::Chunk { change_set: ids(n).0, first, count: lines.len() as u32 }, lines)
    }

    fn seals(self, n: u128, changes: u32, state: State) -> Log {
        let computed = Computed {
            change_set: ids(n).0,
            upload: ids(n).1,
            feed: FeedNo::MAIN,
            mode: Mode::Full,
            changes,
            unproven: Selection::default(),
            counts: Counts { rows: 5, ..Counts::default() },
            figures: Figures::default(),
            holds: Vec::new(),
            digest: "d".into(),
            policy_version: 1,
            roster_version: 0,
            baseline: crate::fact::Baseline { rows: 5, ..Default::default() },
            state,
            read_as: None,
        };
        self.event(&Fact::Computed(Box::new(computed)), &[])
    }

    fn applies(self, applied: Applied) -> Log {
        self.event(&Fact::Applied(Box::new(applied)), &[])
    }

    fn replay(self) -> Result<Replay, ReplayError> {
        let mut replay = Replay::new();
        for event in self.events {
            replay.take(Checked::new(event)?)?;
        }
        Ok(replay)
    }

    /// Takes a line away as forgetting does: its leaf stays.
    fn erases(mut self, seq: usize, gone: usize) -> Log {
        let body = self.events[seq - 1].body.as_mut().unwrap();
        let lines: Vec<Vec<u8>> = body.iter().map(|l| l.unwrap().to_vec()).collect();
        let mut erased = Body::default();
        for (i, line) in lines.iter().enumerate() {
            if i == gone {
                erased.push([0; 16], b"");
                erased.erased.push((i as u32, leaf(&SALT, line)));
            } else {
                erased.push(SALT, line);
            }
        }
        *body = erased;
        self
    }

    fn export(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.events.iter().for_each(|e| log::write_event(e, &mut out).unwrap());
        out
    }
}

fn line(change: &Change) -> Vec<u8> {
    let mut line = Vec::new();
    change.write(&mut line);
    line
}

fn add(key: u128) -> Change<'static> {
    let mut change = Change::new(Kind::Add, None, Uuid::from_u128(key), format!("E{key}"));
    change.to = vec![("department".into(), Some(format!("Dept\t{key}").into()))];
    change
}

fn update(no: MemberNo, department: &'static str) -> Change<'static> {
    let mut change = Change::new(Kind::Update, Some(no), Uuid::from_u128(no.into()), format!("E{no}"));
    change.to = vec![("department".into(), Some(department.into()))];
    change
}

fn remove(no: MemberNo) -> Change<'static> {
    let mut change = Change::new(Kind::Remove, Some(no), Uuid::from_u128(no.into()), format!("E{no}"));
    change.ends = true;
    change
}

/// All changes of a set are applied; the numbered ones bring people from `first_no` on.
fn all_of(n: u128, changes: u32, first_no: MemberNo, numbered: &[u32], version: u64) -> Applied {
    Applied {
        change_set: ids(n).0,
        selection: Selection::all(changes),
        feed: FeedNo::MAIN,
        day: 100,
        displaced: Reason::AnotherFeed,
        first_no,
        new_members: numbered.len() as u32,
        numbered: numbered.iter().copied().collect(),
        roster_version: version,
        state: State::Applied,
        digest: "d".into(),
        reviewed: true,
        except_fields: Vec::new(),
        unfinished: Selection::default(),
        rest: None,
        first_approver: None,
        removals: 0,
    }
}

fn department(replay: &Replay, no: MemberNo) -> Option<String> {
    let field = crate::field::FieldId::DEPARTMENT;
    replay.member(no).unwrap()?.values.get(field).map(str::to_owned)
}

fn three_people() -> Log {
    Log::new().proposes(1, &[add(0), add(1), add(2)]).applies(all_of(1, 3, 0, &[0, 1, 2], 1))
}

#[test]
fn given_nothing_when_replayed_then_nobody_is_there() {
    let report = Replay::new().report();
    assert_eq!((report.events, report.members, report.last_seq), (0, 0, 0));
    assert_eq!(report.digest, blake3::hash(b"").to_hex().to_string());
}

#[test]
fn given_a_change_set_that_waits_then_nobody_is_on_the_roster() {
    let replay = Log::new().proposes(1, &[add(0)]).replay().unwrap();
    assert_eq!((replay.report().members, replay.next_member(), replay.report().changes), (0, 0, 0));
    assert_eq!(replay.documents().change_sets()[&ids(1).0].state, State::Held);
    assert_eq!(replay.documents().feeds()[&FeedNo::MAIN].baseline, None);
}

#[test]
fn given_a_change_set_when_it_is_applied_then_the_roster_follows_and_the_feed_has_its_measure() {
    let replay = three_people()
        .proposes(2, &[update(0, "Law"), remove(1), add(3)])
        .applies(all_of(2, 3, 3, &[2], 2))
        .replay()
        .unwrap();
    let report = replay.report();
    assert_eq!((report.members, report.former, report.roster_version, report.changes), (3, 1, 2, 6));
    assert_eq!((department(&replay, 0).as_deref(), department(&replay, 3).as_deref()), (Some("Law"), Some("Dept\t3")));
    assert_eq!(replay.claims(FeedNo::MAIN), 3);
    let feed = &replay.documents().feeds()[&FeedNo::MAIN];
    assert_eq!(feed.baseline.as_ref().map(|b| b.rows), Some(5));
    assert_eq!(feed.decided.as_ref().map(|d| d.upload), Some(ids(2).1));
    assert_eq!(feed.last_arrival.map(|a| a.0), Some(2));
    let set = &replay.documents().change_sets()[&ids(2).0];
    assert_eq!((set.state, set.decided_by.as_deref()), (State::Applied, Some("os:me@here")));
    assert_eq!(replay.documents().uploads()[&ids(2).1].state, State::Applied);
}

#[test]
fn given_a_part_that_is_applied_when_the_rest_is_then_both_count() {
    let mut part = all_of(2, 2, 3, &[], 2);
    part.selection = [0].into_iter().collect();
    part.state = State::PartlyApplied;
    let mut rest = all_of(2, 2, 3, &[], 3);
    rest.selection = [1].into_iter().collect();
    let log = three_people().proposes(2, &[update(0, "Law"), update(1, "Tools")]).applies(part).applies(rest);
    let replay = log.replay().unwrap();
    assert_eq!((department(&replay, 0).as_deref(), department(&replay, 1).as_deref()), (Some("Law"), Some("Tools")));
}

#[test]
fn given_a_field_left_out_then_it_stays() {
    let mut applied = all_of(2, 1, 3, &[], 2);
    applied.except_fields = vec!["department".into()];
    let replay = three_people().proposes(2, &[update(0, "Law")]).applies(applied).replay().unwrap();
    assert_eq!(department(&replay, 0).as_deref(), Some("Dept\t0"));
}

#[test]
fn given_a_rejection_that_is_remembered_then_the_person_is_declined_and_has_a_number() {
    let rejected = |remembered, numbered: &[u32]| {
        Fact::Rejected(Box::new(Rejected {
            change_set: ids(1).0,
            selection: Selection::all(1),
            remembered,
            absences: true,
            feed: FeedNo::MAIN,
            day: 100,
            first_no: 0,
            new_members: numbered.len() as u32,
            numbered: numbered.iter().copied().collect(),
            state: State::Rejected,
            rest: None,
        }))
    };
    let replay = Log::new().proposes(1, &[add(0)]).event(&rejected(true, &[0]), &[]).replay().unwrap();
    assert_eq!((replay.next_member(), replay.report().members, replay.report().former), (1, 0, 0));
    assert_eq!(replay.report().digest, Replay::new().report().digest);
    let replay = Log::new().proposes(1, &[add(0)]).event(&rejected(false, &[]), &[]).replay().unwrap();
    assert_eq!(replay.next_member(), 0);
    assert_eq!(replay.documents().feeds()[&FeedNo::MAIN].baseline, None);
}

#[test]
fn given_a_first_approval_then_only_the_same_can_be_applied_as_approved_by_two() {
    let given = |selection: Selection| {
        let approved =
            Approved { digest: "d".into(), selection, except_fields: Vec::new(), reject_rest: false, removals: 0 };
        Fact::ApprovalGiven(Box::new(ApprovalGiven { change_set: ids(1).0, approved }))
    };
    let second = |first: &str| Applied { first_approver: Some(first.to_owned()), ..all_of(1, 2, 0, &[0, 1], 1) };
    let log =
        |given: &[Fact]| given.iter().fold(Log::new().proposes(1, &[add(0), add(1)]), |log, fact| log.event(fact, &[]));
    let (all, part) = (given(Selection::all(2)), given(Selection::all(1)));
    let first = log(std::slice::from_ref(&all)).replay().unwrap();
    let set = &first.documents().change_sets()[&ids(1).0];
    assert!(set.awaits_second_approver() && first.report().members == 0 && first.roster_version() == 0);

    let both = log(std::slice::from_ref(&all)).applies(second("os:me@here")).replay().unwrap();
    let set = &both.documents().change_sets()[&ids(1).0];
    assert_eq!(set.first_approval.as_ref().and_then(|f| f.seconded_by.as_deref()), Some("os:me@here"));
    assert_eq!(both.report().members, 2);

    for (given, by) in [
        (vec![], "os:me@here"),
        (vec![part.clone()], "os:me@here"),
        (vec![all.clone()], "os:you@here"),
        (vec![all.clone(), part], "os:me@here"),
    ] {
        let why = log(&given).applies(second(by)).replay().err().map(|e| e.to_string());
        assert!(why.is_some_and(|why| why.contains("nobody had approved first")), "{given:?}");
    }
    let decided = log(&[]).applies(all_of(1, 2, 0, &[0, 1], 1)).event(&all, &[]).replay().err().unwrap();
    assert!(decided.to_string().contains("of which nothing waits"), "{decided}");
}

#[test]
fn given_an_erased_line_then_its_number_is_used_up_and_everybody_else_keeps_theirs() {
    let replay = three_people().erases(4, 1).replay().unwrap();
    assert_eq!((replay.next_member(), replay.report().members), (3, 2));
    assert_eq!((department(&replay, 1), department(&replay, 2).as_deref()), (None, Some("Dept\t2")));
}

#[test]
fn given_chunks_of_an_attempt_that_died_then_they_stay_inert() {
    let lines = [line(&add(0))];
    let log = Log::new().receives(1).chunk(9, 0, &lines).chunk(1, 0, &lines).seals(1, 1, State::Applied);
    let replay = log.applies(all_of(1, 1, 0, &[0], 1)).replay().unwrap();
    assert_eq!(replay.report().members, 1);
    assert!(replay.pending.is_empty());
}

#[test]
fn given_many_chunks_then_two_threads_give_what_one_gives() {
    let changes: Vec<Change> = (0..200).map(add).collect();
    let lines: Vec<Vec<u8>> = changes.iter().map(line).collect();
    let ordinals: Vec<u32> = (0..200).collect();
    let many =
        lines.chunks(3).enumerate().fold(Log::new().receives(1), |log, (i, part)| log.chunk(1, i as u32 * 3, part));
    let many = many.seals(1, 200, State::Applied).applies(all_of(1, 200, 0, &ordinals, 1)).replay().unwrap();
    let one = Log::new().proposes(1, &changes).applies(all_of(1, 200, 0, &ordinals, 1)).replay().unwrap();
    assert_eq!(many.report().digest, one.report().digest);
    assert_eq!(many.members().map(|m| m.unwrap().no).collect::<Vec<_>>(), ordinals);
}

#[test]
fn given_a_log_that_does_not_hold_together_then_the_event_is_named() {
    let mut gap = three_people();
    gap.events.remove(2);
    assert!(matches!(gap.replay(), Err(ReplayError::Sequence { expected: 3, found: 4 })));
    let mut changed = three_people();
    changed.events[2].meta_bytes[9] ^= 1;
    assert!(matches!(changed.replay(), Err(ReplayError::Chain { seq: 3 })));
    let mut changed = three_people();
    changed.events[3].body.as_mut().unwrap().lines[20] ^= 1;
    assert!(matches!(changed.replay(), Err(ReplayError::Lines { seq: 4 })));
    let says = |log: Log| log.replay().err().map(|e| e.to_string()).unwrap_or_default();
    assert!(says(Log::new().applies(all_of(1, 1, 0, &[0], 1))).contains("of which the log does not tell"));
    assert!(says(Log::new().proposes(1, &[add(0)]).applies(all_of(1, 1, 5, &[0], 1))).contains("does not fit"));
    assert!(says(Log::new().proposes(1, &[add(0)]).applies(all_of(1, 1, 0, &[0], 7))).contains("roster version 7"));
    assert!(says(Log::new().proposes(1, &[update(4, "Law")]).applies(all_of(1, 1, 0, &[], 1))).contains("member 4"));
    assert!(
        says(Log::new().receives(1).chunk(1, 0, &[b"{}".to_vec()]).seals(1, 1, State::Applied).applies(all_of(
            1,
            1,
            0,
            &[0],
            1
        )))
        .contains("change 0")
    );
    assert!(says(Log::new().receives(1).seals(1, 1, State::Applied)).contains("of which 0 are there"));
    assert!(says(Log::new().receives(1).chunk(1, 5, &[b"{}".to_vec()])).contains("no chunk"));
}

#[test]
fn given_changed_settings_then_the_last_ones_hold() {
    let settings = Settings { name: "Acme".into(), ..Settings::default() };
    let fact =
        Fact::SettingsChanged { settings: Box::new(settings.clone()), changed: vec!["name".into()], eligibility: None };
    assert_eq!(*Log::new().event(&fact, &[]).replay().unwrap().documents().settings(), settings);
}

#[test]
fn given_an_exported_log_then_reading_it_gives_the_same_and_exporting_again_the_same_bytes() {
    let log = three_people().erases(4, 1);
    let exported = log.export();
    let replay = read_log(exported.as_slice(), None).unwrap();
    assert_eq!(replay.report(), log.replay().unwrap().report());
    let lines: Vec<&[u8]> = exported.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect();
    let mut again = Vec::new();
    lines.iter().for_each(|l| log::write_event(&log::read_event(l).unwrap(), &mut again).unwrap());
    assert_eq!(again, exported);
    // Each line is one JSON document.
    assert!(lines.iter().all(|l| serde_json::from_slice::<serde_json::Value>(l).is_ok()));
    assert_eq!(read_log(exported.as_slice(), Some(2)).unwrap().report().events, 2);
}

#[test]
fn given_a_cut_or_foreign_log_then_the_line_is_named_and_nothing_panics() {
    let exported = three_people().export();
    for cut in 0..exported.len() - 1 {
        if exported[cut] != b'\n' && cut > 0 && exported[cut - 1] != b'\n' {
            assert!(matches!(read_log(&exported[..cut], None), Err(ReplayError::Line { .. })), "{cut}");
        }
    }
    let why = |text: &str| read_log(text.as_bytes(), None).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(why("\n").starts_with("line 1 of the log is not an exported event"));
    assert!(why("{\"a\":1}\n").starts_with("line 1 of the log"));
    assert!(read_log(&b""[..], None).is_ok());
}

/// The types of events; whoever adds one records a log with it.
const TYPES: [&str; 18] = [
    "change_set.applied", "change_set.approval_given", "change_set.chunk", "change_set.computed", "change_set.rebased",
    "change_set.rejected", "change_set.superseded", "feed.changed", "feed.created", "feed.overdue", "feed.recovered",
    "member.block_lifted", "member.forgotten", "organisation.created", "organisation.settings_changed",
    "payloads.destroyed", "upload.decided", "upload.received",
];

#[test]
fn given_the_recorded_logs_then_every_type_of_event_is_in_them() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let recorded =
        ["v1", "forgotten", "liveness", "second"].map(|name| dir.join(format!("../../fixtures/logs/{name}.ndjson")));
    let log = recorded.map(|path| std::fs::read_to_string(path).unwrap()).concat();
    let missing = TYPES.iter().filter(|t| !log.contains(&format!("\"type\":\"{t}\"")));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
    let fact = std::fs::read_to_string(dir.join("src/fact.rs")).unwrap();
    let named = fact.lines().filter_map(|l| l.trim().strip_prefix("#[serde(rename = \"")?.strip_suffix("\")]"));
    let mut named: Vec<&str> = named.filter(|n| n.contains('.')).collect();
    named.sort_unstable();
    assert_eq!(named, TYPES);
}

/// What is beside every recorded log: later versions of this program must still fold it to the same.
#[test]
fn given_the_recorded_logs_then_they_fold_to_what_was_recorded_beside_them() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/logs");
    let logs = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "ndjson"));
    let mut count = 0;
    for path in logs {
        let expected: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path.with_extension("expected.json")).unwrap()).unwrap();
        let replay = read_log(std::fs::read(&path).unwrap().as_slice(), None).unwrap();
        let fields = &replay.documents().settings().fields;
        let members = replay.members().map(|m| {
            let m = m.unwrap();
            let values: HashMap<&str, &str> = m.values.iter().map(|(f, v)| (fields.name(f), v)).collect();
            serde_json::json!({ "no": m.no, "key": m.key, "aliases": m.aliases, "listed": m.is_listed(), "values": values })
        });
        let found = serde_json::json!({ "report": replay.report(), "members": members.collect::<Vec<_>>() });
        assert_eq!(found, expected, "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "no recorded logs");
}
