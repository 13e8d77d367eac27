//! What administrators do on the command line, done over HTTP: the same things, with the same outcome.

use serde_json::{Value, json};

use super::{Api, On, Said, id_of, people, story::dechunked};
use crate::served::Answer;

impl Api {
    /// The lines of a file that was sent in pieces.
    fn file(&self, path: &str, accept: &str) -> String {
        let answer = self.send("GET", path, &[("Accept", accept)], b"");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        dechunked(&answer)
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.json("POST", path, body)
    }

    /// What is known of a member.
    fn member(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/members/{id}")).json()
    }
}

fn done(answer: &Answer) -> Value {
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("applied")), "{}", answer.body);
    answer.json()
}

fn one_person_is_edited_by_hand(on: On) {
    let api = Api::start(on);
    api.upload("mode=full", &people(1..=6, "Sales"));
    let id = id_of(&api, "1");
    let at = |what: &str| format!("/api/v1/members/{id}/{what}");

    // What is set by hand stays, whatever the feed goes on saying; what is pushed does not.
    let tag = api.get(&format!("/api/v1/members/{id}")).header("etag").unwrap().to_owned();
    let set = done(&api.post(&at("set"), &json!({ "fields": { "department": "Board", "location": null } })));
    assert_eq!((&set["counts"]["updated"], &set["roster_version"]), (&json!(1), &json!(2)));
    let pushed = id_of(&api, "2");
    let patch = api.json("PATCH", &format!("/api/v1/members/{pushed}"), &json!({ "department": "Board" }));
    assert_eq!(patch.json()["updated"], 1);
    api.upload("mode=full", &(people(1..=6, "Sales") + "7,New,New,new@example.com,Sales\n"));
    assert_eq!(api.member(&id)["fields"]["department"], "Board");
    assert_eq!(api.member(&pushed)["fields"]["department"], "Sales");

    // Whoever saw another state is told so, and nothing is changed.
    let headers = [("Content-Type", "application/json"), ("If-Match", &*tag)];
    let stale = api.send("POST", &at("rekey"), &headers, br#"{"unique_id":"X"}"#);
    assert_eq!(stale.problem(), "stale");
    assert_eq!(api.post(&at("rekey"), &json!({ "unique_id": "2" })).problem(), "invalid", "that is somebody else's");
    assert_eq!(api.post(&at("set"), &json!({ "fields": { "unique_id": "2" } })).problem(), "invalid");
    let bad = api.post(&at("set"), &json!({ "fields": { "location": ["Rome"] } }));
    assert_eq!((bad.problem().as_str(), &bad.json()["errors"][0]["pointer"]), ("invalid", &json!("/fields/location")));
    assert_eq!(api.member(&id)["unique_id"], "1");

    done(&api.post(&at("rekey"), &json!({ "unique_id": "1-A" })));
    assert_eq!((&api.member(&id)["unique_id"], &api.member(&id)["aliases"]), (&json!("1-A"), &json!(["1"])));
    assert_eq!(id_of(&api, "1"), id, "the old key still finds them");

    let new = json!({ "fields": { "unique_id": "C-77", "first_name": "Ada", "department": "Lab" } });
    done(&api.post("/api/v1/members", &new));
    assert_eq!(api.post("/api/v1/members", &new).problem(), "invalid", "they are on the roster already");
    let other = id_of(&api, "C-77");
    done(&api.post(&at("link"), &json!({ "with": other })));
    assert_eq!(id_of(&api, "C-77"), id);
    let nobody = json!({ "with": "01a20115-8f2e-75a5-a30c-8a139c4b4b62" });
    assert_eq!(api.post(&at("link"), &nobody).problem(), "not-found");

    let held = api.post(&at("set"), &json!({ "fields": { "location": "Rome" }, "hold": true }));
    assert_eq!((held.status, &held.json()["state"]), (202, &json!("held")), "{}", held.body);
    assert_eq!(api.member(&id)["fields"].get("location"), None);
    let gone = done(&api.send("POST", &at("remove"), &[], b""));
    assert_eq!(gone["counts"]["removed"], 1);
    assert_eq!(api.member(&id)["listed"], false);
    assert_eq!(api.post(&at("remove"), &json!({})).problem(), "invalid", "they are gone");
    api.muster.verify();
}

#[test]
fn one_person_is_edited_by_hand_on_sqlite() {
    one_person_is_edited_by_hand(On::Sqlite);
}

#[test]
fn one_person_is_edited_by_hand_on_postgres() {
    one_person_is_edited_by_hand(On::Postgres);
}

#[test]
fn the_roster_is_had_as_the_file_that_the_command_writes() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=5, "Sales"));
    let rows = json!([
        { "unique_id": "1", "department": "=1+1" }, { "unique_id": "2", "location": "Boston, MA" },
        { "unique_id": "9", "job_title": "Nurse" },
    ]);
    api.json("PUT", "/api/v1/members", &rows);
    api.send("DELETE", &format!("/api/v1/members/{}", id_of(&api, "3")), &[], b"");
    let command = |more: &[&str]| api.muster.says(&[&["members", "export", "--org", "acme"], more].concat());
    for (parameters, more) in [
        ("", &[][..]),
        ("?raw=true", &["--raw"]),
        ("?roster_version=1", &["--roster-version", "1"]),
        ("?at=2031-01-01T00:00:00Z", &["--at", "2031-01-01T00:00:00Z"]),
        ("?at=2001-01-01T00:00:00Z", &["--at", "2001-01-01T00:00:00Z"]),
    ] {
        let file = api.file(&format!("/api/v1/members/export{parameters}"), "text/csv");
        assert_eq!(file, command(more), "{parameters}");
    }
    let csv = api.file("/api/v1/members/export", "*/*");
    assert!(csv.starts_with("employee_id,email,") && csv.contains("'=1+1") && csv.contains("\"Boston, MA\""), "{csv}");
    assert_eq!(csv.lines().count(), 6, "a head, and the five who are listed: {csv}");
    let lines = api.file("/api/v1/members/export", "application/x-ndjson");
    let keys: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["unique_id"].clone()).collect();
    assert_eq!(keys, ["1", "2", "4", "5", "9"]);
    assert_eq!(api.get("/api/v1/members/export?roster_version=99").problem(), "not-found");
    let both = "/api/v1/members/export?roster_version=1&at=2031-01-01T00:00:00Z";
    assert_eq!(api.get(both).problem(), "unreadable");

    // It is a right of its own.
    let reads = api.muster.key(&["--name", "r", "--user", "hris", "--scope", "member:read"]);
    let said = |key: &str| api.said("GET", "/api/v1/members/export", &Said { key: Some(key), ..Said::default() });
    assert_eq!(said(&reads).json()["scope"], "member:download");
    let downloads = api.muster.key(&["--name", "d", "--user", "hris", "--scope", "member:download"]);
    assert_eq!(dechunked(&said(&downloads)), csv);
}

#[test]
fn a_narrow_key_gets_a_file_of_its_own_people_and_fields() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=4, "Sales"));
    let moved = json!([{ "unique_id": "1", "department": "Board" }, { "unique_id": "5", "department": "Board" }]);
    api.json("PUT", "/api/v1/members", &moved);
    api.json("PUT", "/api/v1/members", &json!({ "unique_id": "5", "department": "sales" }));
    let narrow = api.muster.key(&[
        "--name", "narrow", "--user", "hris", "--scope", "*", "--department", "Sales", "--read-fields",
        "members=employee_id,department",
    ]);
    let file = |parameters: &str, accept: &str| {
        let headers = [("Accept", accept)];
        let path = format!("/api/v1/members/export{parameters}");
        let answer = api.said("GET", &path, &Said { key: Some(&narrow), headers: &headers, body: b"" });
        assert_eq!(answer.status, 200, "{}", answer.body);
        dechunked(&answer)
    };
    let head = "employee_id,department\r\n";
    assert_eq!(file("", "text/csv"), format!("{head}2,Sales\r\n3,Sales\r\n4,Sales\r\n5,sales\r\n"));
    // Who was among them and is not, and who is and was not, are in no file of then.
    assert_eq!(file("?roster_version=1", "text/csv"), format!("{head}2,Sales\r\n3,Sales\r\n4,Sales\r\n"));
    assert_eq!(file("?roster_version=2", "text/csv"), format!("{head}2,Sales\r\n3,Sales\r\n4,Sales\r\n"));
    let lines = file("", "application/x-ndjson");
    assert_eq!(lines.lines().count(), 4);
    assert!(!lines.contains("First") && !lines.contains("example.com") && !lines.contains("Board"), "{lines}");
    // Without the match key there is no column for it either.
    let blind = api.muster.key(&[
        "--name", "blind", "--user", "hris", "--scope", "member:download", "--read-fields", "members=department",
    ]);
    let said = Said { key: Some(&blind), ..Said::default() };
    let csv = dechunked(&api.said("GET", "/api/v1/members/export", &said));
    assert_eq!(csv, "department\r\nBoard\r\nSales\r\nSales\r\nSales\r\nsales\r\n");
    let one = id_of(&api, "2");
    let said = Said { key: Some(&narrow), ..Said::default() };
    let blame = api.said("GET", &format!("/api/v1/members/{one}/blame"), &said).json();
    let fields: Vec<&str> = blame["fields"].as_array().unwrap().iter().filter_map(|e| e["field"].as_str()).collect();
    assert_eq!(fields, ["unique_id", "employee_id", "department"], "{blame}");
    let late = id_of(&api, "5");
    let then = api.send("GET", &format!("/api/v1/members/{late}/blame"), &[], b"").json()["fields"][0]["at"].clone();
    let path = format!("/api/v1/members/{late}/blame?at={}", then.as_str().unwrap());
    assert_eq!(api.said("GET", &path, &said).problem(), "not-found", "they were of the board then");
}

#[test]
fn where_values_came_from_and_what_changed_is_told_as_the_command_tells_it() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=6, "Sales"));
    api.upload(
        "mode=full",
        &(people(1..=4, "Sales") + "5,First5,Other,p5@example.com,\n8,New,New,n@example.com,Lab\n"),
    );
    let id = id_of(&api, "5");
    api.post(&format!("/api/v1/members/{id}/set"), &json!({ "fields": { "location": "Rome" } }));

    let told = api.get(&format!("/api/v1/members/{id}/blame")).json();
    let by_command = api.muster.ok(&["blame", "5", "--org", "acme"]);
    assert_eq!((&told["fields"], &told["since"]), (&by_command["fields"], &by_command["since"]));
    assert_eq!((&told["unique_id"], &told["listed"], &told["id"]), (&json!("5"), &json!(true), &json!(id)));
    let of = |field: &str| told["fields"].as_array().unwrap().iter().find(|e| e["field"] == field).unwrap().clone();
    assert_eq!((&of("location")["feed"], &of("last_name")["value"]), (&json!("hand"), &json!("Other")));
    assert_eq!(of("department")["value"], json!(null), "a field that was cleared is told too");

    let diff = |parameters: &str| api.file(&format!("/api/v1/roster/diff?{parameters}"), "application/json");
    let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let all = read(diff("from=1"));
    let by_command = api.muster.ok(&["diff", "1", "now", "--org", "acme"]);
    for part in ["from", "to", "counts", "fields"] {
        assert_eq!(all[part], by_command[part], "{part}");
    }
    assert_eq!(all["counts"], json!({ "joined": 1, "left": 1, "changed": 1 }));
    let people = |document: &Value, key: &str| -> Vec<Value> {
        let all = document["people"].as_array().unwrap();
        all.iter().map(|p| json!([p["what"], p["id"], p[key], p["changes"], p["fields"]])).collect()
    };
    assert_eq!(people(&all, "unique_id"), people(&by_command, "key"));
    let lines = api.file("/api/v1/roster/diff?from=1", "application/x-ndjson");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::Array(lines), all["people"]);
    assert_eq!(read(diff("from=now&to=v1"))["counts"], json!({ "joined": 1, "left": 1, "changed": 1 }), "backwards");
    let one = read(diff(&format!("from=1&id={id}&field=location")));
    assert_eq!(one["people"][0]["changes"], json!({ "location": { "from": null, "to": "Rome" } }));
    let joined = read(diff("from=1&only=joined&summary=true"));
    let none = (json!([]), json!({ "joined": 1, "left": 0, "changed": 0 }));
    assert_eq!((joined["people"].clone(), joined["counts"].clone()), none);
    for (wrong, kind) in [
        ("", "unreadable"),
        ("?from=yesterday", "unreadable"),
        ("?from=1&field=shoe_size", "unreadable"),
        ("?from=1&only=all", "unreadable"),
        ("?from=99", "not-found"),
    ] {
        assert_eq!(api.get(&format!("/api/v1/roster/diff{wrong}")).problem(), kind, "{wrong}");
    }
}

fn somebody_is_forgotten(on: On) {
    let api = Api::start(on);
    let list = people(1..=6, "Sales").replace("5,First5,Last5,p5@", "ZQkey5,ZQfirst,ZQlast,zq5@");
    api.upload("mode=full", &list);
    let id = id_of(&api, "ZQkey5");
    let forget = |body: &Value| api.post(&format!("/api/v1/members/{id}/forget"), body);
    let before = api.muster.log();
    for body in [json!({}), json!({ "confirm": "5" }), json!({ "confirm": "" })] {
        assert_eq!(forget(&body).problem(), "invalid", "{body}");
    }
    let named = forget(&json!({ "confirm": "ZQkey5", "reason": "ZQfirst ZQlast asked for it" }));
    assert_eq!(named.problem(), "invalid");
    assert!(!named.body.contains("ZQfirst") && !named.body.contains("ZQkey"), "{}", named.body);
    let tried = forget(&json!({ "dry_run": true })).json();
    assert_eq!((&tried["state"], &tried["was"], &tried["originals"]), (&json!("dry_run"), &json!("listed"), &json!(1)));
    let by_command = api.muster.ok(&["forget", "ZQkey5", "--org", "acme", "--dry-run"]);
    assert_eq!(tried, by_command);
    assert_eq!(before, api.muster.log(), "nothing was changed");

    let gone = forget(&json!({ "confirm": "ZQkey5", "reason": "request 2026-114" })).json();
    assert_eq!((&gone["state"], &gone["members"]), (&json!("forgotten"), &json!(1)), "{gone}");
    assert!(gone["roster_version"].as_u64() > tried["roster_version"].as_u64(), "{gone}");
    assert_eq!(forget(&json!({ "confirm": "ZQkey5" })).problem(), "not-found");
    let log = String::from_utf8(api.muster.log()).unwrap();
    assert!(["ZQkey", "ZQfirst", "ZQlast"].iter().all(|word| !log.contains(word)), "{log}");
    assert!(log.contains("request 2026-114"), "{log}");
    let again = api.post("/api/v1/members/forget", &json!({ "person": "ZQkey5", "confirm": "ZQkey5" })).json();
    assert_eq!(again["state"], "already_forgotten", "{again}");

    // They do not come back by a list, nor by hand, before that is lifted.
    assert_eq!(api.upload("mode=full", &(list + "\n")).json()["counts"]["forgotten"], 1);
    let add = || api.post("/api/v1/members", &json!({ "fields": { "unique_id": "ZQkey5" } }));
    assert!(add().problem() == "invalid" && !add().body.contains("ZQkey"), "{}", add().body);
    let lift = || api.post("/api/v1/members/forget/lift", &json!({ "person": "ZQkey5", "reason": "hired again" }));
    let lifted = lift().json();
    assert_eq!(lifted["state"], "lifted", "{lifted}");
    assert!(lifted["lifted"].as_u64().unwrap() > 0);
    assert_eq!(lift().problem(), "not-found");
    done(&add());
    assert_ne!(id_of(&api, "ZQkey5"), id, "they are somebody new");
    let nobody = json!({ "person": "nobody", "confirm": "nobody" });
    assert_eq!(api.post("/api/v1/members/forget", &nobody).problem(), "not-found");
    assert_eq!(api.post("/api/v1/members/forget", &json!({ "person": " ", "confirm": " " })).problem(), "invalid");
    api.muster.verify();
}

#[test]
fn somebody_is_forgotten_on_sqlite() {
    somebody_is_forgotten(On::Sqlite);
}

#[test]
fn somebody_is_forgotten_on_postgres() {
    somebody_is_forgotten(On::Postgres);
}

#[test]
fn a_key_that_is_for_less_than_everything_does_nothing_by_hand() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=3, "Sales"));
    let (id, before) = (id_of(&api, "1"), api.muster.log());
    let limits: [&[&str]; 4] = [
        &["--department", "Sales"],
        &["--read-fields", "members=employee_id,department"],
        &["--write-fields", "members=department"],
        &["--feed", "main"],
    ];
    for limit in limits {
        let common = ["--name", "limited", "--user", "hris", "--scope", "*", "--rate", "requests=1000"];
        let key = api.muster.key(&[&common[..], limit].concat());
        let post = |path: &str, body: Value| {
            let (headers, body) = ([("Content-Type", "application/json")], body.to_string());
            let said = Said { key: Some(&key), headers: &headers, body: body.as_bytes() };
            api.said("POST", &format!("/api/v1/members{path}"), &said)
        };
        for (path, body) in [
            (String::new(), json!({ "fields": { "unique_id": "9" } })),
            (format!("/{id}/set"), json!({ "fields": { "department": "Sales" } })),
            (format!("/{id}/remove"), json!({})),
            (format!("/{id}/rekey"), json!({ "unique_id": "9" })),
            (format!("/{id}/link"), json!({ "with": id })),
            (format!("/{id}/forget"), json!({ "confirm": "1" })),
            ("/forget".to_owned(), json!({ "person": "1", "confirm": "1" })),
            ("/forget/lift".to_owned(), json!({ "person": "1" })),
        ] {
            assert_eq!(post(&path, body).problem(), "missing-right", "{limit:?} {path}");
        }
    }
    assert_eq!(before, api.muster.log(), "nothing was changed");
}
