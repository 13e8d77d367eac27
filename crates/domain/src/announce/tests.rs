//! Announcements: as documented, and without anything personal unless the organisation said so.

use proptest::{prelude::*, sample::select};
use serde_json::Value;

use super::*;
use crate::{
    fact::{FeedOverdue, SCHEMA},
    forgotten::Forgotten,
    ids::OrganisationId,
    member::Reason,
    replay,
    selection::Selection,
    settings::FeedSettings,
};

const DOCS: &str = include_str!("../../../../docs/events.md");

fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + n)
}

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

fn meta(seq: u64, fact: &Fact) -> Meta {
    let (kind, data) = fact.parts();
    Meta {
        id: id(1),
        organisation: OrganisationId(id(0)),
        seq,
        stream: fact.stream(),
        version: 1,
        kind,
        schema: SCHEMA,
        actor: "os:me@here".into(),
        correlation: id(2),
        causation: None,
        recorded_at: time("2026-03-20T02:31:04.518273Z"),
        data,
    }
}

fn applied(selection: Selection) -> Applied {
    Applied {
        change_set: ChangeSetId(id(7)),
        selection,
        feed: FeedNo::MAIN,
        day: 20_532,
        displaced: Reason::AnotherFeed,
        first_no: 300,
        new_members: 1,
        numbered: Selection::from_iter([1]),
        roster_version: 42,
        state: State::PartlyApplied,
        digest: "d".into(),
        reviewed: true,
        except_fields: vec!["location".into()],
        unfinished: Selection::default(),
        rest: None,
        first_approver: None,
        removals: 0,
    }
}

fn body(changes: &[Change]) -> Body {
    let mut body = Body::default();
    for change in changes {
        let mut line = Vec::new();
        change.write(&mut line);
        body.push([0; 16], &line);
    }
    body
}

fn update() -> Change<'static> {
    let mut change = Change::new(Kind::Update, Some(17), id(17), "E17");
    change.from = vec![("department".into(), Some("Sales".into())), ("location".into(), None)];
    change.to = vec![("department".into(), Some("Law".into())), ("location".into(), Some("Bonn".into()))];
    change
}

fn add() -> Change<'static> {
    let mut change = Change::new(Kind::Add, None, id(300), "E300");
    change.to = vec![("employee_id".into(), Some("E300".into())), ("first_name".into(), Some("Ann".into()))];
    change
}

fn chunk(selection: &[u32], changes: &[Change], values: bool) -> Option<Announcement> {
    let applied = applied(selection.iter().copied().collect());
    let meta = meta(1204, &Fact::Applied(Box::new(applied.clone())));
    announce_chunk(&meta, &applied, (0, &body(changes)), values).unwrap()
}

/// One of every kind, in the order of the page.
fn examples() -> Vec<Announcement> {
    let missed = time("2026-03-20T01:30:00Z");
    let overdue = Overdue { missed, since: time("2026-03-20T03:30:00Z") };
    let eligibility = Some(EligibilityChange { eligible: 300, stop: 2, start: 0, confirmed: false });
    let feed = Box::new(FeedSettings { name: "main".into(), ..FeedSettings::default() });
    let settings = Box::new(Settings { version: 4, ..Settings::default() });
    let forgotten = Forgotten { members: vec![17], roster_version: 43, ..Forgotten::default() };
    let facts = [
        Fact::Forgotten(Box::new(forgotten)),
        Fact::SettingsChanged { settings, changed: vec!["eligibility.grace_days".into()], eligibility },
        Fact::FeedChanged { no: FeedNo::MAIN, settings: feed },
        Fact::FeedOverdue(FeedOverdue {
            no: FeedNo::MAIN,
            overdue,
            grace_minutes: 120,
            last_payload: Some(time("2026-03-19T01:30:41.201Z")),
        }),
        Fact::FeedRecovered { no: FeedNo::MAIN, missed, upload: Some(UploadId(id(9))) },
    ];
    let mut examples =
        vec![chunk(&[0, 1], &[update(), add()], false).unwrap(), chunk(&[0, 1], &[update(), add()], true).unwrap()];
    examples.extend((1205..).zip(&facts).map(|(seq, fact)| announce(&meta(seq, fact), fact).unwrap()));
    examples
}

#[test]
fn every_kind_is_documented_as_it_is() {
    let mut lacking = String::new();
    for example in examples() {
        let json = serde_json::to_string_pretty(&example.message).unwrap();
        let key = format!("`{}`", example.routing_key.replace(&id(0).to_string(), "<organisation>"));
        for part in [key, format!("```json\n{json}\n```")] {
            if !DOCS.contains(&part) {
                lacking += &format!("{part}\n");
            }
        }
    }
    assert!(lacking.is_empty(), "docs/events.md lacks\n{lacking}");
}

#[test]
fn a_message_has_what_cloud_events_ask_for() {
    for example in examples() {
        let json = serde_json::to_value(&example.message).unwrap();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("specversion"), "1.0");
        assert_eq!(text("datacontenttype"), "application/json");
        assert!(["id", "source", "type", "subject"].iter().all(|name| !text(name).is_empty()), "{json}");
        assert!(DateTime::parse_from_rfc3339(&text("time")).is_ok(), "{json}");
        // Names of attributes are of lower-case letters and digits.
        let names: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert!(names.iter().all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())), "{names:?}");
        assert_eq!(example.routing_key.split('.').count(), 4);
    }
    let ids: std::collections::BTreeSet<String> = examples().into_iter().skip(1).map(|e| e.message.id).collect();
    assert_eq!(ids.len(), examples().len() - 1, "an id names one message");
}

#[test]
fn only_what_was_applied_is_told() {
    let silent = Change::new(Kind::Say, Some(3), id(3), "E3");
    assert_eq!(chunk(&[0], &[silent], false), None);
    assert_eq!(chunk(&[], &[update()], false), None);
    let mut left_out = update();
    left_out.to.remove(0);
    assert_eq!(chunk(&[0], &[left_out], false), None, "the only field was left out by the reviewer");
    let told = chunk(&[1], &[update(), add()], false).unwrap();
    let Data::Applied(part) = told.message.data else { panic!() };
    assert_eq!(part.changes.iter().map(|c| (c.no, c.kind)).collect::<Vec<_>>(), [(Some(300), Kind::Add)]);
    let mut erased = body(&[update(), add()]);
    let mut line = Vec::new();
    add().write(&mut line);
    erased.lines = [b"\n".to_vec(), line, b"\n".to_vec()].concat();
    erased.erased = vec![(0, [0; 32])];
    let applied = applied([0, 1].into_iter().collect());
    let meta = meta(1, &Fact::Applied(Box::new(applied.clone())));
    let told = announce_chunk(&meta, &applied, (0, &erased), true).unwrap().unwrap();
    let Data::Applied(part) = told.message.data else { panic!() };
    assert_eq!(part.changes.len(), 1, "nothing is told of somebody who was forgotten since");
}

#[test]
fn values_need_the_setting_when_it_was_recorded_and_now() {
    let with = |on: &str| Settings::default().with([("events.values", on)]).unwrap();
    assert!(with_values(&with("on"), &with("on")));
    assert!(!with_values(&with("off"), &with("on")), "switching it on tells nothing of the past");
    assert!(!with_values(&with("on"), &with("off")), "switching it off stops at once");
    assert!(!Settings::default().events.values);
}

/// Every change of a recorded log that was applied, announced.
#[test]
fn a_recorded_year_is_announced_without_a_value() {
    let log = include_bytes!("../../../../fixtures/logs/year.ndjson");
    let (mut chunks, mut told, mut words) = (BTreeMap::<_, Vec<_>>::new(), 0, Vec::new());
    replay::log::each_event(&log[..], |event| {
        let event = event.event().clone();
        match Fact::read(&event.meta).unwrap() {
            Fact::Chunk { change_set, first, .. } => {
                chunks.entry(change_set).or_default().push((first, event.body.unwrap()))
            }
            Fact::Applied(applied) => {
                for (first, body) in &chunks[&applied.change_set] {
                    let message = announce_chunk(&event.meta, &applied, (*first, body), false).unwrap();
                    let json = message.map(|m| serde_json::to_string(&m.message).unwrap()).unwrap_or_default();
                    words.clear();
                    for change in body.iter().flatten().map(|line| Change::read(line).unwrap()) {
                        let values = change.to.iter().chain(&change.from).filter_map(|(_, value)| value.clone());
                        words.extend(values.filter(|w| w.contains('@')).map(|w| w.into_owned()));
                    }
                    assert!(words.iter().all(|w| !json.contains(w)), "{json}");
                    told += json.matches("\"member\":").count();
                }
            }
            fact => assert_eq!(announce(&event.meta, &fact).is_some(), how(&fact) == How::Once),
        }
        Ok(true)
    })
    .unwrap();
    assert!(told > 500, "{told}");
}

/// A change in which every value is a word that can be looked for.
fn planted() -> impl Strategy<Value = Change<'static>> {
    let kind = select(Kind::ALL.to_vec());
    let named = prop::collection::btree_map(select(vec!["email", "department", "nickname"]), "Planted[a-z]{4}", 0..4);
    (kind, any::<u16>(), named.clone(), named, "Planted[a-z]{4}", prop::option::of("Planted[a-z]{4}")).prop_map(
        |(kind, n, from, to, key, other)| {
            let list = |map: &BTreeMap<&'static str, String>| -> Named<'static> {
                map.iter().map(|(field, value)| ((*field).into(), Some(value.clone().into()))).collect()
            };
            let no = (kind != Kind::Add).then_some(n.into());
            let mut change = Change::new(kind, no, id(n.into()), key);
            (change.from, change.to) = (list(&from), list(&to));
            (change.said, change.raw, change.row) = (list(&to), list(&from), list(&to));
            change.old_key = other.clone().map(Into::into);
            change.effective_on = other.clone().map(Into::into);
            change.aliases = other.map(|alias| vec![alias.into()]);
            change
        },
    )
}

proptest! {
    #[test]
    fn nothing_personal_is_told_without_the_setting(
        changes in prop::collection::vec(planted(), 1..20),
        left_out in prop::collection::btree_set(0..20u32, 0..5),
        first in 0..5000u32,
    ) {
        let selection = (0..changes.len() as u32).filter(|o| !left_out.contains(o)).map(|o| o + first).collect();
        let applied = Applied { first_no: 70_000, numbered: Selection::default(), ..applied(selection) };
        let meta = meta(3, &Fact::Applied(Box::new(applied.clone())));
        let lines = body(&changes);
        let json = |values| {
            let told = announce_chunk(&meta, &applied, (first, &lines), values).unwrap();
            told.map(|a| (a.routing_key, serde_json::to_value(&a.message).unwrap()))
        };
        let (without, with) = (json(false), json(true));
        let text = format!("{without:?}");
        prop_assert!(!text.contains("Planted"), "{}", text);
        prop_assert_eq!(without.is_some(), with.is_some());
        let changes_of = |told: &Option<(String, Value)>| {
            told.as_ref().map(|(_, json)| json["data"]["changes"].as_array().unwrap().clone()).unwrap_or_default()
        };
        let (without, with) = (changes_of(&without), changes_of(&with));
        prop_assert_eq!(without.len(), with.len());
        for (without, with) in without.iter().zip(&with) {
            let key = with["key"].as_str().unwrap_or_default();
            prop_assert!(key.starts_with("Planted") && without.get("key").is_none());
            let after: Vec<&String> = with["after"].as_object().unwrap().keys().collect();
            let fields: Vec<&str> = without["fields"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            prop_assert_eq!(after, fields);
        }
    }
}
