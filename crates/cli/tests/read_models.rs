//! What is read of projections on the command line: in words and as a document, with the event that it reflects.

use serde_json::{Value, json};

use crate::support::Place;

const PEOPLE: &str = "Employee ID,First Name,Department\n1,Ann,Sales\n2,Bo,Sales\n3,Cy,Law\n";

fn empty() -> Place {
    let place = Place::new();
    place.expect(0, "org create acme --name Acme");
    place.expect(0, "org set acme guard.first_import=off policy.upload=apply");
    place
}

/// Three people, of whom one is to go to another department.
fn acme() -> Place {
    let place = empty();
    place.file("people.csv", PEOPLE);
    place.file("next.csv", &PEOPLE.replace("Bo,Sales", "Bo,Tools"));
    place.expect(0, "sync people.csv --org acme --mode full");
    place.expect(3, "sync next.csv --org acme --mode full --hold");
    place
}

const COMMANDS: [&str; 7] =
    ["activity", "feeds runs", "changes overview", "dashboard", "members search ann", "members history 1", "blame 1"];

/// The last event, by what reflects all of them.
fn last(place: &Place) -> u64 {
    place.json(0, "activity --org acme")["seq"].as_u64().expect("a number")
}

#[test]
fn every_document_says_which_event_it_reflects() {
    let place = acme();
    let last = last(&place);
    for command in COMMANDS {
        assert_eq!(place.json(0, &format!("{command} --org acme"))["seq"], last, "{command}");
        let waited = place.json(0, &format!("{command} --org acme --wait-for {last}"));
        assert_eq!(waited["seq"], last, "{command}");
    }
}

#[test]
fn what_was_written_can_be_waited_for() {
    let place = acme();
    let seen = |seq: &Value, department: &str| {
        let line = format!("members search {department} --org acme --wait-for {seq}");
        place.json(0, &line)["total"].clone()
    };
    let by_hand = place.json(0, "members set 3 department=Tools --org acme --apply");
    assert_eq!((seen(&by_hand["seq"], "tools"), &by_hand["seq"]), (json!(1), &json!(last(&place))));
    place.file("more.csv", "Employee ID,First Name,Department\n4,Di,Tools\n");
    let synced = place.json(0, "sync more.csv --org acme --mode partial");
    assert_eq!((seen(&synced["seq"], "tools"), &synced["seq"]), (json!(2), &json!(last(&place))));
    let again = place.json(0, "sync more.csv --org acme --mode partial");
    assert_eq!((&again["state"], &again["seq"]), (&json!("no_changes"), &json!(last(&place))));
    let id = synced["change_set_id"].as_str().expect("an id").to_owned();
    let undone = place.json(0, &format!("changes undo {id} --org acme"));
    let undone = undone["reports"][0]["seq"].clone();
    assert_eq!((seen(&undone, "tools"), undone), (json!(1), json!(last(&place))));
}

#[test]
fn whatever_else_is_written_can_be_waited_for_too() {
    let place = acme();
    let organisation = "--org acme";
    let mut before = last(&place);
    for command in [
        "org set acme payloads.keep_days=1",
        "feeds create other --org acme --mode partial",
        "feeds set main --org acme --priority 2 --expected @daily",
        "forget 1 --org acme --yes",
        "forget 1 --org acme --lift",
        "feeds handover main other --org acme",
    ] {
        if command.starts_with("feeds handover") {
            place.expect(0, "changes reject --org acme");
        }
        let seq = place.json(0, command)["seq"].clone();
        let now = last(&place);
        assert!(now > before, "{command} wrote nothing");
        assert_eq!(seq, now, "{command}");
        before = now;
    }
    // What writes nothing says up to where the log goes all the same.
    for command in ["org set acme payloads.keep_days=1", "org set acme payloads.keep_days=2 --dry-run"] {
        assert_eq!(place.json(0, command)["seq"], before, "{command}");
    }
    for command in ["retention run", "feeds check"] {
        let of_one = place.json(0, &format!("{command} {organisation}"));
        assert_eq!(of_one["organisations"][0]["seq"], last(&place), "{command}");
    }
    let other = place.json(0, "org create other --name Other");
    assert_eq!(other["seq"], place.json(0, "activity --org other")["seq"]);
}

#[test]
fn waiting_for_what_does_not_happen_ends() {
    let place = acme();
    let beyond = last(&place) + 1;
    for command in COMMANDS {
        let line = format!("{command} --org acme --wait-for {beyond} --wait-at-most 0");
        let error = place.json(1, &line)["error"].clone();
        let message = error["message"].as_str().expect("a sentence");
        assert_eq!(error["kind"], "behind", "{command}");
        assert!(
            message.contains(&format!("and not {beyond} yet")) && message.contains("projections status"),
            "{message}"
        );
    }
}

#[test]
fn an_organisation_or_a_person_that_is_not_there_is_one_sentence() {
    let place = acme();
    for command in COMMANDS {
        let error = place.json(2, &format!("{command} --org other"))["error"].clone();
        assert_eq!(error["kind"], "not_found", "{command}");
        assert!(error["message"].as_str().is_some_and(|m| m.contains("other") && m.ends_with('.')), "{error}");
    }
    for command in ["members history nobody", "blame nobody", "feeds runs --feed nothing"] {
        let error = place.json(2, &format!("{command} --org acme"))["error"].clone();
        assert!(error["message"].as_str().is_some_and(|m| m.contains("no") && m.ends_with('.')), "{error}");
    }
}

#[test]
fn of_an_organisation_in_which_nothing_happened_they_say_so() {
    let place = empty();
    assert_eq!(place.expect(0, "feeds runs --org acme"), "Nothing has arrived.\n");
    assert_eq!(place.expect(0, "changes overview --org acme"), "There are no change sets here.\n");
    let runs = place.json(0, "feeds runs --org acme");
    assert_eq!((&runs["runs"], &runs["overdue"], &runs["before"]), (&json!([]), &json!([]), &Value::Null));
    assert_eq!(place.json(0, "changes overview --org acme")["change_sets"], json!([]));
    let said = place.expect(0, "dashboard --org acme --weeks 1");
    for part in ["0 eligible on ", "main  never", "Nothing waits for a reviewer."] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    let dashboard = place.json(0, "dashboard --org acme --weeks 1");
    assert_eq!(
        (&dashboard["eligible"], &dashboard["last_feed"], &dashboard["waiting"]),
        (&json!(0), &Value::Null, &json!([]))
    );
    assert_eq!(dashboard["weeks"].as_array().map(Vec::len), Some(1));
}

#[test]
fn feed_runs_tell_what_became_of_each_payload() {
    let place = acme();
    place.expect(0, "sync people.csv --org acme --mode full");
    let runs = place.json(0, "feeds runs --org acme");
    let said: Vec<_> = runs["runs"].as_array().expect("runs").iter().map(|r| (&r["arrival"], &r["outcome"])).collect();
    assert_eq!((said.len(), said[2]), (3, (&json!(1), &json!("applied"))));
    let text = place.expect(0, "feeds runs --org acme");
    let first = text.lines().find(|line| line.trim_start().starts_with("1 ")).expect("the first payload");
    assert!(
        first.contains("main") && first.contains("upload") && first.contains("applied") && first.contains("3 added"),
        "{text}"
    );
    let page = place.json(0, "feeds runs --org acme --limit 1");
    assert_eq!((&page["runs"][0]["arrival"], &page["before"]), (&json!(3), &json!(3)));
    assert!(place.expect(0, "feeds runs --org acme --limit 1").contains("There is more: --before 3"));
    let rest = place.json(0, "feeds runs --org acme --before 3 --feed main");
    assert_eq!((rest["runs"].as_array().map(Vec::len), &rest["before"]), (Some(2), &Value::Null));
}

#[test]
fn change_sets_are_shown_with_counts_by_field_and_who_decided() {
    let place = acme();
    let held = place.json(0, "changes overview --org acme --state held");
    let sets = held["change_sets"].as_array().expect("change sets");
    assert_eq!((sets.len(), &sets[0]["kinds"], &sets[0]["decided_at"]), (1, &json!({ "update": 1 }), &Value::Null));
    assert_eq!(sets[0]["fields"]["department"]["changed"], 1);
    let text = place.expect(0, "changes overview --org acme");
    for part in ["held  feed main", "fields: department 1", "applied  feed main", "by policy"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    place.expect(0, "changes approve --org acme");
    assert!(!place.expect(0, "changes overview --org acme").contains("held"));
    let all = place.json(0, "changes overview --org acme");
    let decided = &all["change_sets"][0];
    assert_eq!((&decided["state"], &decided["reviewed"]), (&json!("applied"), &json!(true)));
    assert!(decided["decided_at"].is_string());
    assert_eq!(place.json(0, "changes overview --org acme --state held")["change_sets"], json!([]));
}

#[test]
fn the_dashboard_shows_an_organisation_at_a_glance() {
    let place = acme();
    let dashboard = place.json(0, "dashboard --org acme");
    let weeks = dashboard["weeks"].as_array().expect("weeks");
    assert_eq!((&dashboard["eligible"], weeks.len(), &weeks[7]["joined"]), (&json!(3), 8, &json!(3)));
    assert_eq!(
        (&dashboard["last_feed"]["feed"], &dashboard["last_feed"]["last"]["outcome"]),
        (&json!("main"), &json!("held"))
    );
    assert_eq!((&dashboard["waiting"][0]["feed"], &dashboard["waiting"][0]["changes"]), (&json!("main"), &json!(1)));
    let text = place.expect(0, "dashboard --org acme");
    for part in ["3 eligible on ", "no. 2, ", "Waiting for a reviewer", "1 changes"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert_eq!(place.json(0, "dashboard --org acme --on 2001-01-01 --weeks 2")["eligible"], 0);
    place.expect(2, "dashboard --org acme --on someday");
}

#[test]
fn history_tells_each_value_with_what_stood_there_before() {
    let place = acme();
    place.expect(0, "changes approve --org acme");
    let history = place.json(0, "members history 2 --org acme --field department");
    let entries = history["history"].as_array().expect("entries");
    let values: Vec<_> = entries.iter().map(|e| (&e["before"], &e["value"], &e["file"], &e["reviewed"])).collect();
    let (first, next) = (json!("people.csv"), json!("next.csv"));
    assert_eq!(values[0], (&Value::Null, &json!("Sales"), &first, &json!(false)));
    assert_eq!(values[1], (&json!("Sales"), &json!("Tools"), &next, &json!(true)));
    assert_eq!(values.len(), 2);
    let text = place.expect(0, "members history 2 --org acme");
    assert!(
        text.contains("Sales → Tools") && text.contains("file next.csv, line 3") && text.contains("approved by"),
        "{text}"
    );
    // Of whoever had a key, by each key.
    place.expect(0, "members rekey 2 22 --org acme");
    for key in ["2", "22"] {
        let history = place.json(0, &format!("members history {key} --org acme"));
        assert_eq!(history["key"], "22");
        let last = history["history"].as_array().and_then(|all| all.last()).expect("an entry");
        assert_eq!((&last["field"], &last["before"], &last["value"]), (&json!("unique_id"), &json!("2"), &json!("22")));
    }
}
