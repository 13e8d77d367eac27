//! Several change sets taken back at once: those that are named, all since a time, or all of one person; and nothing that nobody saw.

use serde_json::{Value, json};

use super::{Api, On, Said, id_of, people};
use crate::served::{Answer, until};

const UNDO: &str = "/api/v1/change-sets/undo";

impl Api {
    /// Asks for an undo, by what was seen.
    fn undo(&self, body: &Value, seen: Option<&str>) -> Answer {
        self.undo_with(&self.key, body, seen)
    }

    fn undo_with(&self, key: &str, body: &Value, seen: Option<&str>) -> Answer {
        let tag = seen.map(|digest| format!("\"{digest}\""));
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(tag.as_deref().map(|tag| ("If-Match", tag)));
        self.said("POST", UNDO, &Said { key: Some(key), headers: &headers, body: body.to_string().as_bytes() })
    }

    /// Moves somebody to a department, and gives the change set of that.
    fn moved(&self, numbers: std::ops::RangeInclusive<u32>, department: &str) -> Value {
        let sent = self.upload("mode=partial", &people(numbers, department)).json();
        assert_eq!(sent["state"], "applied", "{sent}");
        self.get(&format!("/api/v1/change-sets/{}", sent["change_set_id"].as_str().unwrap())).json()
    }

    fn department(&self, key: &str) -> Value {
        self.get(&format!("/api/v1/members/{}", id_of(self, key))).json()["fields"]["department"].clone()
    }
}

fn named(sets: &[&Value]) -> Value {
    let each = |set: &&Value| json!({ "change_set_id": set["change_set_id"], "digest": set["digest"] });
    Value::Array(sets.iter().map(each).collect())
}

/// Which change sets were undone, in order.
fn undoes(undone: &Value) -> Vec<Value> {
    undone["reports"].as_array().unwrap().iter().map(|one| one["undoes"].clone()).collect()
}

/// A trial: which tells, and changes nothing.
fn tried(api: &Api, body: &Value) -> Value {
    let mut body = body.clone();
    body["dry_run"] = json!(true);
    let before = api.muster.log();
    let tried = api.undo(&body, None);
    assert_eq!((tried.status, &tried.json()["state"]), (200, &json!("dry_run")), "{}", tried.body);
    assert_eq!(before, api.muster.log(), "a trial changes nothing");
    tried.json()
}

fn all_since_a_time_is_undone_as_it_was_seen(on: On) {
    let api = Api::start(on);
    api.upload("mode=full", &people(1..=6, "Sales"));
    let (legal, press) = (api.moved(1..=2, "Legal"), api.moved(1..=1, "Press"));
    let all = json!({ "since": legal["computed_at"] });

    let seen = tried(&api, &all);
    assert_eq!(undoes(&seen), [press["change_set_id"].clone(), legal["change_set_id"].clone()], "newest first");
    assert_eq!((&seen["kept"], &seen["not_undone"]), (&json!([]), &json!([])));
    let updated: Vec<&Value> = (0..2).map(|i| &seen["reports"][i]["counts"]["updated"]).collect();
    assert_eq!(updated, [&json!(1), &json!(2)], "the older one, on what the newer one would leave: {seen}");
    let since = legal["computed_at"].as_str().unwrap();
    let command = api.muster.ok(&["changes", "undo", "--org", "acme", "--since", since, "--dry-run"]);
    assert_eq!((&command["digest"], undoes(&command)), (&seen["digest"], undoes(&seen)));

    let before = api.muster.log();
    assert_eq!(api.undo(&all, None).problem(), "precondition-required");
    assert_eq!(api.undo(&all, Some("something else")).problem(), "stale");
    assert_eq!(api.undo(&all, Some("*")).problem(), "stale");
    assert_eq!(before, api.muster.log(), "whatever is refused changes nothing");
    // What came meanwhile was not seen.
    let desk = api.moved(1..=1, "Desk");
    let digest = seen["digest"].as_str().unwrap();
    let stale = api.undo(&all, Some(digest));
    assert_eq!((stale.status, stale.problem().as_str()), (412, "stale"));
    assert_eq!(stale.json()["change_sets"], named(&[&desk, &press, &legal]));
    assert_eq!(api.department("1"), "Desk");

    let seen = tried(&api, &all);
    assert_eq!(stale.json()["digest"], seen["digest"]);
    let undone = api.undo(&all, seen["digest"].as_str());
    assert_eq!((undone.status, &undone.json()["state"]), (200, &json!("applied")), "{}", undone.body);
    let undone = undone.json();
    assert_eq!((undoes(&undone), &undone["digest"]), (undoes(&seen), &seen["digest"]));
    let head = api.get("/api/v1/organisation").json();
    assert_eq!((&undone["seq"], &undone["roster_version"]), (&head["seq"], &head["roster_version"]));
    for (key, set) in [(0, &desk), (1, &press), (2, &legal)] {
        let id = undone["reports"][key]["change_set_id"].as_str().unwrap();
        let made = api.get(&format!("/api/v1/change-sets/{id}")).json();
        assert_eq!((&made["undoes"], &made["state"]), (&json!([set["change_set_id"]]), &json!("applied")));
    }
    assert_eq!((api.department("1"), api.department("2")), (json!("Sales"), json!("Sales")));

    // Once more there is nothing left to do, and undos are not undone by that.
    let again = tried(&api, &all);
    assert_eq!(undoes(&again), undoes(&seen));
    assert_eq!(api.undo(&all, again["digest"].as_str()).json()["state"], "no_changes");
    assert_eq!(api.undo(&json!({ "since": "2099-01-01T00:00:00Z", "dry_run": true }), None).problem(), "conflict");
    api.muster.verify();
}

#[test]
fn all_since_a_time_is_undone_as_it_was_seen_on_sqlite() {
    all_since_a_time_is_undone_as_it_was_seen(On::Sqlite);
}

#[test]
fn all_since_a_time_is_undone_as_it_was_seen_on_postgres() {
    all_since_a_time_is_undone_as_it_was_seen(On::Postgres);
}

#[test]
fn those_that_are_named_are_undone_if_each_is_as_it_was_seen() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=6, "Sales"));
    let (legal, press, desk) = (api.moved(1..=2, "Legal"), api.moved(3..=3, "Press"), api.moved(1..=1, "Desk"));
    let held = api.upload("mode=partial&hold=true", &people(4..=4, "Held")).json();
    let held = api.get(&format!("/api/v1/change-sets/{}", held["change_set_id"].as_str().unwrap())).json();

    let before = api.muster.log();
    let mut other = legal.clone();
    other["digest"] = desk["digest"].clone();
    let stale = api.undo(&json!({ "change_sets": named(&[&other, &press]) }), None);
    assert_eq!((stale.problem().as_str(), &stale.json()["change_sets"]), ("stale", &named(&[&legal])));
    let unknown = json!({ "change_set_id": "01a20115-8f2e-75a5-a30c-8a139c4b4b62", "digest": "x" });
    assert_eq!(api.undo(&json!({ "change_sets": [unknown] }), None).problem(), "not-found");
    let waits = api.undo(&json!({ "change_sets": named(&[&legal, &held]) }), None);
    assert_eq!(waits.problem(), "conflict", "one that cannot be undone leaves none half done");
    let many = vec![unknown; 101];
    for (body, pointer) in [
        (json!({}), ""),
        (json!({ "dry_run": true }), ""),
        (json!({ "change_sets": [] }), "/change_sets"),
        (json!({ "change_sets": many }), "/change_sets"),
        (json!({ "change_sets": named(&[&legal]), "since": legal["computed_at"] }), "/since"),
        (json!({ "unique_id": "1", "member": id_of(&api, "1") }), "/member"),
        (json!({ "since": "yesterday" }), "/since"),
        (json!({ "unique_id": "1", "sinces": "2026-01-01T00:00:00Z" }), "/sinces"),
    ] {
        let wrong = api.undo(&body, None);
        assert_eq!((wrong.problem().as_str(), &wrong.json()["errors"][0]["pointer"]), ("invalid", &json!(pointer)));
    }
    let both = api.undo(&json!({ "change_sets": named(&[&legal]), "apply": true, "hold": true }), None);
    assert_eq!(both.problem(), "invalid");
    assert_eq!(before, api.muster.log(), "whatever is refused changes nothing");

    // Named in whatever order, and one twice, each is undone once, newest first; what changed since is kept.
    let body = json!({ "change_sets": named(&[&legal, &press, &legal]) });
    let seen = tried(&api, &body);
    let undone = api.undo(&body, seen["digest"].as_str()).json();
    assert_eq!(undoes(&undone), [press["change_set_id"].clone(), legal["change_set_id"].clone()], "{undone}");
    let kept = json!([{ "unique_id": "1", "what": "department", "change_set_id": legal["change_set_id"] }]);
    assert_eq!((&undone["kept"], &seen["kept"]), (&kept, &kept));
    let departments = ["1", "2", "3"].map(|key| api.department(key));
    assert_eq!(departments, ["Desk", "Sales", "Sales"]);
    api.muster.verify();
}

#[test]
fn one_person_is_taken_back_and_nobody_else() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=6, "Sales"));
    let (legal, press) = (api.moved(1..=2, "Legal"), api.moved(1..=2, "Press"));
    let by_key = json!({ "unique_id": "1", "since": legal["computed_at"] });
    let by_id = json!({ "member": id_of(&api, "1"), "since": legal["computed_at"] });
    let seen = tried(&api, &by_key);
    assert_eq!(tried(&api, &by_id)["digest"], seen["digest"]);
    let everybody = tried(&api, &json!({ "since": legal["computed_at"] }));
    assert_eq!(undoes(&everybody), undoes(&seen), "the same change sets");
    assert_eq!(api.undo(&by_id, everybody["digest"].as_str()).problem(), "stale", "and not of the same people");
    let undone = api.undo(&by_id, seen["digest"].as_str()).json();
    assert_eq!(undoes(&undone), [press["change_set_id"].clone(), legal["change_set_id"].clone()], "{undone}");
    assert_eq!((api.department("1"), api.department("2")), (json!("Sales"), json!("Press")));
    for nobody in [json!({ "unique_id": "nobody" }), json!({ "member": legal["change_set_id"] })] {
        assert_eq!(api.undo(&nobody, Some("x")).problem(), "not-found");
    }
    // Who is looked for in a trial stands in the log of reads.
    let of_it = |read: &&Value| read["route"] == UNDO && read["member"] == by_id["member"];
    until("what was read to be written down", || {
        let log = api.get("/api/v1/keys/access-log").json();
        log["entries"].as_array().unwrap().iter().filter(of_it).count() == 2
    });
    api.muster.verify();
}

#[test]
fn behind_an_undo_that_waits_nothing_more_is_undone() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=20, "Sales"));
    let (first, more, last) = (api.moved(1..=1, "Legal"), api.moved(21..=40, "New"), api.moved(1..=1, "Press"));
    api.muster.ok(&["org", "set", "acme", "guard.removals.max_percent=10"]);
    let body = json!({ "change_sets": named(&[&first, &more, &last]) });
    let seen = tried(&api, &body);
    assert_eq!(seen["reports"][1]["holds"][0]["guard"], "removals", "{seen}");
    assert_eq!((&seen["reports"][0]["would_hold"], &seen["reports"][1]["would_hold"]), (&json!(false), &json!(true)));
    assert_eq!((undoes(&seen).len(), &seen["not_undone"]), (2, &json!([first["change_set_id"]])), "as it will be");
    let id = |set: &Value| set["change_set_id"].as_str().unwrap().to_owned();
    let ids = [id(&first), id(&more), id(&last)];
    let said = api.muster.ok(&["changes", "undo", &ids[0], &ids[1], &ids[2], "--org", "acme", "--dry-run"]);
    assert_eq!((&said["reports"][1]["would_hold"], &said["not_undone"]), (&json!(true), &seen["not_undone"]));
    let undone = api.undo(&body, None);
    assert_eq!((undone.status, &undone.json()["state"]), (200, &json!("held")), "{}", undone.body);
    let undone = undone.json();
    assert_eq!(undoes(&undone), [last["change_set_id"].clone(), more["change_set_id"].clone()]);
    assert_eq!((&undone["reports"][0]["state"], &undone["reports"][1]["state"]), (&json!("applied"), &json!("held")));
    assert_eq!(undone["not_undone"], json!([first["change_set_id"]]));
    assert_eq!(undone["reports"][1]["holds"][0]["guard"], "removals");
    assert_eq!((api.department("1"), api.department("21")), (json!("Legal"), json!("New")));
    let held = api.undo(&json!({ "change_sets": named(&[&first]), "hold": true }), None).json();
    assert_eq!((&held["state"], &held["not_undone"]), (&json!("held"), &json!([])));
    api.muster.verify();
}

#[test]
fn a_narrow_key_undoes_what_it_sees_whole() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=6, "Sales"));
    api.muster.ok(&["feeds", "create", "uk", "--org", "acme", "--mode", "partial"]);
    let main = api.moved(1..=2, "Legal");
    api.upload("mode=partial&feed=uk", &people(50..=51, "UK"));
    let uk = api.get("/api/v1/change-sets?limit=1").json()["change_sets"][0].clone();
    let key = |more: &[&str]| api.muster.key(&[&["--name", "n", "--user", "hris", "--scope", "*"], more].concat());
    let all = json!({ "since": main["computed_at"], "dry_run": true });

    // A key of a feed undoes what the feed said, and finds nothing of another.
    let bound = key(&["--feed", "uk"]);
    let seen = api.undo_with(&bound, &all, None).json();
    assert_eq!(undoes(&seen), [uk["change_set_id"].clone()], "{seen}");
    let both = json!({ "change_sets": named(&[&uk, &main]) });
    assert_eq!(api.undo_with(&bound, &both, None).problem(), "not-found");
    // Who sees or writes some people or fields only decides on nothing.
    let before = api.muster.log();
    for limits in [&["--department", "UK"][..], &["--write-fields", "members=location"]] {
        assert_eq!(api.undo_with(&key(limits), &all, None).problem(), "missing-right", "{limits:?}");
    }
    // To be told which change sets there are, and to look for a person, are rights of their own.
    let approves = api.muster.key(&["--name", "a", "--user", "hris", "--scope", "change_set:approve"]);
    assert_eq!(api.undo_with(&approves, &all, None).json()["scope"], "change_set:read");
    let decides = api.muster.key(&["--name", "d", "--user", "hris", "--scope", "change_set:read,change_set:approve"]);
    assert_eq!(api.undo_with(&decides, &all, None).status, 200);
    let person = api.undo_with(&decides, &json!({ "unique_id": "1", "dry_run": true }), None);
    assert_eq!((person.problem().as_str(), &person.json()["scope"]), ("missing-right", &json!("member:read")));
    let reads = api.muster.key(&["--name", "r", "--user", "hris", "--scope", "change_set:read"]);
    assert_eq!(api.undo_with(&reads, &all, None).json()["scope"], "change_set:approve");
    assert_eq!(before, api.muster.log());
    let undone = api.undo_with(&bound, &json!({ "since": main["computed_at"] }), seen["digest"].as_str()).json();
    assert_eq!((undoes(&undone), api.department("1")), (vec![uk["change_set_id"].clone()], json!("Legal")));
    api.muster.verify();
}
