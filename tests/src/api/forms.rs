//! The forms that keys, payloads, questions and answers may have.

use chrono::Utc;
use serde_json::{Value, json};

use super::{Api, On, Said, id_of, people};
use crate::{
    muster::Muster,
    served::{Answer, Served, until, within},
};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const CSV: (&str, &str) = ("Content-Type", "text/csv");
const WAIT: (&str, &str) = ("Prefer", "wait=60");
const ORGANISATION: &str = "/api/v1/organisation";

/// Asks something that every key may ask, with these headers alone.
fn let_in(api: &Api, headers: &[(&str, &str)]) -> Answer {
    api.said("GET", ORGANISATION, &Said { headers, ..Said::default() })
}

/// The same with a key.
fn with_key(api: &Api, key: &str) -> Answer {
    api.said("GET", ORGANISATION, &Said { key: Some(key), ..Said::default() })
}

/// The identity of a key, and its secret.
fn parted(key: &str) -> (&str, &str) {
    let mut parts = key.split('_').skip(2);
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn a_key_is_given_in_any_of_three_places() {
    let api = Api::start(On::Sqlite);
    let (id, secret) = parted(&api.key);
    assert_eq!(let_in(&api, &[("Authorization", &api.key)]).status, 200, "as it is");
    assert_eq!(let_in(&api, &[("Authorization", &format!("bearer {}", api.key))]).status, 200, "in any case");
    assert_eq!(let_in(&api, &[("accessKey", id), ("secretKey", secret)]).status, 200, "as a pair");
    let other = api.muster.key(&["--name", "other", "--user", "hris", "--scope", "*"]);
    let (_, others) = parted(&other);
    let wrong: [(&[(&str, &str)], &str); 5] = [
        (&[("accessKey", id), ("secretKey", others)], "unknown-key"),
        (&[("accessKey", "0000000000000000"), ("secretKey", secret)], "unknown-key"),
        (&[("accessKey", id), ("secretKey", "short")], "malformed-key"),
        (&[("accessKey", id)], "malformed-key"),
        (&[("secretKey", secret)], "malformed-key"),
    ];
    for (headers, kind) in wrong {
        let refused = let_in(&api, headers);
        assert_eq!((refused.status, refused.problem().as_str()), (401, kind), "{}", refused.body);
        assert!(refused.header("www-authenticate").is_some() && !refused.body.contains(secret), "{}", refused.body);
    }
}

#[test]
fn of_a_key_that_is_rotated_the_two_newest_secrets_work() {
    let api = Api::start(On::Sqlite);
    let made = api.json("POST", "/api/v1/keys", &json!({ "name": "turns", "scopes": ["member:read"] })).json();
    let rotate = || {
        let path = format!("/api/v1/keys/{}/rotate", made["id"].as_str().unwrap());
        let rotated = api.json("POST", &path, &json!({ "overlap_hours": 24 })).json();
        assert!(rotated["former_until"].is_string(), "{rotated}");
        rotated["key"].as_str().unwrap().to_owned()
    };
    let first = made["key"].as_str().unwrap().to_owned();
    let second = rotate();
    assert_eq!((with_key(&api, &first).status, with_key(&api, &second).status), (200, 200));
    let third = rotate();
    assert_eq!((with_key(&api, &second).status, with_key(&api, &third).status), (200, 200));
    let refused = with_key(&api, &first);
    assert_eq!((refused.status, refused.problem().as_str()), (401, "unknown-key"), "{}", refused.body);
}

#[test]
fn all_keys_of_an_organisation_are_revoked_at_once_and_nobody_elses() {
    let api = Api::start(On::Sqlite);
    let muster = &api.muster;
    muster.ok(&["org", "create", "other", "--name", "Other"]);
    muster.ok(&["org", "set", "other", "api_access=on"]);
    muster.ok(&["users", "set-role", "hris", "administrator", "--org", "other"]);
    let others = muster.ok(&["keys", "create", "--org", "other", "--name", "o", "--user", "hris", "--scope", "*"]);
    let others = others["api_key"].as_str().unwrap();
    let own: Vec<String> =
        ["a", "b", "c"].map(|name| muster.key(&["--name", name, "--user", "hris", "--scope", "*"])).to_vec();
    for key in own.iter().map(String::as_str).chain([others]) {
        assert_eq!(with_key(&api, key).status, 200);
    }
    let revoked = api.json("POST", "/api/v1/keys/revoke-all", &json!({ "organisation": "acme" }));
    assert_eq!((revoked.status, &revoked.json()["revoked"]), (200, &json!(4)), "{}", revoked.body);
    for key in own.iter().chain([&api.key]) {
        let refused = with_key(&api, key);
        assert_eq!((refused.status, refused.problem().as_str()), (401, "revoked-key"), "{}", refused.body);
    }
    assert_eq!(with_key(&api, others).status, 200);
}

#[test]
fn a_key_for_bulk_loading_sends_uploads_and_does_nothing_else() {
    let api = Api::start(On::Sqlite);
    let key = api.muster.key(&["--name", "bulk", "--user", "hris", "--bulk"]);
    assert!(key.starts_with("ml_live_"));
    let said = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        api.said(method, path, &Said { key: Some(&key), headers, body })
    };
    let sent = said("POST", "/api/v1/uploads?mode=full", &[CSV, WAIT], people(1..=3, "Sales").as_bytes());
    assert_eq!((sent.status, &sent.json()["counts"]["added"]), (200, &json!(3)), "{}", sent.body);
    assert_eq!(said("GET", sent.header("location").unwrap(), &[], b"").status, 200);
    let before = api.muster.log();
    let member = format!("/api/v1/members/{}", id_of(&api, "1"));
    let original = format!("{}/original", sent.header("location").unwrap());
    let elsewhere = [
        ("GET", "/api/v1/members", json!(null)),
        ("PUT", "/api/v1/members", json!({ "unique_id": "9" })),
        ("POST", "/api/v1/members/lookup", json!({ "unique_id": "1" })),
        ("POST", "/api/v1/members/search", json!({})),
        ("GET", member.as_str(), json!(null)),
        ("PATCH", member.as_str(), json!({ "department": "Law" })),
        ("DELETE", member.as_str(), json!(null)),
        ("POST", "/api/v1/eligibility", json!({ "unique_id": "1" })),
        ("GET", original.as_str(), json!(null)),
        ("GET", "/api/v1/change-sets", json!(null)),
        ("GET", "/api/v1/events", json!(null)),
        ("GET", "/api/v1/feeds", json!(null)),
        ("POST", "/api/v1/feeds", json!({ "name": "uk" })),
        ("PATCH", "/api/v1/organisation/settings", json!({ "settings": {} })),
        ("GET", "/api/v1/keys", json!(null)),
        ("POST", "/api/v1/keys", json!({ "name": "more", "scopes": ["upload:create"] })),
        ("PUT", "/api/public/members", json!({ "uniqueId": "9" })),
    ];
    for (method, path, body) in elsewhere {
        let refused = said(method, path, &[JSON], body.to_string().as_bytes());
        assert_eq!((refused.status, refused.problem().as_str()), (403, "missing-right"), "{method} {path}");
    }
    assert_eq!(before, api.muster.log(), "nothing was changed");
}

#[test]
fn without_prefer_an_upload_is_answered_before_it_is_worked_on() {
    let mut api = Api::start(On::Sqlite);
    // Nobody works on uploads until there is a worker.
    api.served = Served::start(&api.muster, &["--roles", "api"]);
    let sent = api.send("POST", "/api/v1/uploads?mode=full", &[CSV], people(1..=3, "Sales").as_bytes());
    assert_eq!((sent.status, &sent.json()["state"]), (202, &json!("received")), "{}", sent.body);
    assert!(sent.header("retry-after").is_some(), "{}", sent.headers);
    let path = sent.header("location").unwrap();
    let shown = api.get(path);
    assert_eq!((shown.status, &shown.json()["upload_id"]), (200, &sent.json()["upload_id"]), "{}", shown.body);
    assert_eq!(shown.json()["state"], "received");
    let _worker = Served::start(&api.muster, &["--roles", "worker"]);
    until("the upload to be applied", || api.get(path).json()["state"] == "applied");
    assert_eq!(api.get("/api/v1/members").json()["total"], 3);
    api.muster.verify();
}

#[test]
fn what_is_older_than_the_newest_and_what_is_too_many_change_nothing() {
    let api = Api::start(On::Sqlite);
    let newest = api.upload("mode=full&as_of=2026-03-02T00:00:00Z", &people(1..=5, "Sales"));
    assert_eq!(newest.json()["state"], "applied", "{}", newest.body);
    let before = api.muster.log();
    let older = api.upload("mode=full&as_of=2026-03-01T23:59:59Z", &people(1..=4, "Law"));
    assert_eq!((older.status, older.problem().as_str()), (422, "refused"), "{}", older.body);
    let rows = |many: u32| Value::from_iter((1..=many).map(|n| json!({ "unique_id": n.to_string() })));
    let many = api.json("PUT", "/api/v1/members", &rows(1001));
    assert_eq!((many.status, many.problem().as_str()), (413, "too-large"), "{}", many.body);
    assert_eq!(before, api.muster.log(), "nothing was changed");
    let most = api.json("PUT", "/api/v1/members", &rows(1000)).json();
    assert_eq!((&most["total"], &most["created"]), (&json!(1000), &json!(995)));
    api.muster.verify();
}

#[test]
fn the_head_of_what_is_read_is_as_it_would_be_without_its_body() {
    let api = Api::start(On::Sqlite);
    let sent = api.upload("mode=full", &people(1..=3, "Sales"));
    let upload = sent.header("location").unwrap().to_owned();
    let set = format!("/api/v1/change-sets/{}", sent.json()["change_set_id"].as_str().unwrap());
    let member = format!("/api/v1/members/{}", id_of(&api, "1"));
    let key = format!("/api/v1/keys/{}", parted(&api.key).0);
    let found = ["organisation", "members", "uploads", "change-sets", "feeds", "feeds/main", "keys", "events"];
    let found = found.map(|path| format!("/api/v1/{path}")).into_iter().chain([
        format!("{member}/history"),
        format!("{upload}/issues"),
        format!("{upload}/original"),
        format!("{set}/changes"),
        upload.clone(),
        set.clone(),
        member,
        key,
    ]);
    let not = ["feeds/none", "members/none", "uploads/none", "members?limit=0", "nothing"];
    let not = not.map(|path| format!("/api/v1/{path}"));
    for path in found.chain(not) {
        let (get, head) = (api.get(&path), api.send("HEAD", &path, &[], b""));
        assert_eq!((get.status, head.body.as_str()), (head.status, ""), "{path}");
        for name in ["content-type", "etag"] {
            assert_eq!(get.header(name), head.header(name), "{path}: {name}");
        }
        assert!(!get.body.is_empty(), "{path}");
    }
    let strange = api.said("HEAD", ORGANISATION, &Said::default());
    assert_eq!((strange.status, strange.body.as_str()), (401, ""));
}

#[test]
fn what_was_known_at_a_time_is_told() {
    let api = Api::start(On::Sqlite);
    let pause = || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let now = Utc::now();
        std::thread::sleep(std::time::Duration::from_millis(20));
        now.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
    };
    let never = pause();
    api.upload("mode=full", &people(1..=3, "Sales"));
    let id = id_of(&api, "1");
    let member = format!("/api/v1/members/{id}");
    let then = pause();
    api.json("PATCH", &member, &json!({ "department": "Law" }));
    let later = pause();
    api.send("DELETE", &member, &[], b"");

    let at = |time: &str| api.get(&format!("{member}?at={time}"));
    assert_eq!(at(&never).problem(), "not-found");
    for (time, department) in [(&then, "Sales"), (&later, "Law")] {
        let shown = at(time).json();
        assert_eq!((&shown["listed"], &shown["fields"]["department"]), (&json!(true), &json!(department)), "{shown}");
    }
    assert_eq!(api.get(&member).json()["listed"], false);
    assert_eq!(api.get(&format!("{member}?at=yesterday")).problem(), "unreadable");
    let ask = |at: Value| {
        let mut question = json!({ "unique_id": "1" });
        question["at"] = at;
        let answer = api.json("POST", "/api/v1/eligibility", &question).json();
        (answer["eligible"].as_bool().unwrap(), answer["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(ask(json!(never)), (false, "never_listed".to_owned()));
    assert!(ask(json!(then)).0 && ask(json!(later)).0);
    assert_eq!(ask(json!(null)), (false, "not_listed".to_owned()));
}

#[test]
fn rows_that_could_not_be_taken_are_listed_as_csv() {
    let api = Api::start(On::Sqlite);
    let csv = people(1..=9, "Sales").replace(",p5@example.com,", ",\"so, me\"\"body\",");
    let sent = api.upload("mode=partial", &csv);
    assert_eq!((sent.status, &sent.json()["counts"]["invalid"]), (200, &json!(1)), "{}", sent.body);
    let path = format!("{}/issues", sent.header("location").unwrap());
    let issues = api.get(&path).json()["issues"].clone();
    assert_eq!(issues.as_array().unwrap().len(), 1, "{issues}");
    let listed = api.send("GET", &path, &[("Accept", "text/csv")], b"");
    assert_eq!((listed.status, listed.header("content-type")), (200, Some("text/csv; charset=utf-8")));
    let mut lines = listed.body.lines();
    assert_eq!(lines.next(), Some("line,column,value,reason"));
    let row = lines.next().unwrap();
    assert!(row.starts_with("6,email,\"so, me\"\"body\","), "{row}");
    assert!(row.contains(issues[0]["reason"].as_str().unwrap()), "{row}");
    assert_eq!(lines.next(), None);
}

/// A file of `fixtures/feeds`.
fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../fixtures/feeds/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What it is, its headers, its body, and how many people are new by it.
type Sent<'s> = (&'s str, &'s [(&'s str, &'s str)], &'s [u8], u64);

#[test]
fn workbooks_lines_of_json_and_packed_lists_are_taken() {
    let api = Api::start(On::Sqlite);
    let packed = fixture("packed/people.csv.gz");
    let xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    let lines = b"{\"unique_id\":\"71\",\"department\":\"Law\"}\n{\"unique_id\":\"72\",\"department\":\"Press\"}\n";
    let sent: [Sent; 5] = [
        ("a packed file", &[("Content-Type", "application/gzip"), WAIT], &packed, 3),
        ("a packed body", &[CSV, ("Content-Encoding", "gzip"), WAIT], &packed, 0),
        ("a workbook", &[("Content-Type", xlsx), WAIT], &fixture("hr/personio.xlsx"), 2),
        ("lines of JSON", &[("Content-Type", "application/x-ndjson"), WAIT], lines, 2),
        ("what says not what it is", &[("Content-Type", "application/octet-stream"), WAIT], &packed, 0),
    ];
    for (what, headers, body, added) in sent {
        let answer = api.send("POST", "/api/v1/uploads?mode=partial", headers, body);
        let state = if added > 0 { "applied" } else { "no_changes" };
        let document = answer.json();
        assert_eq!((answer.status, &document["state"]), (200, &json!(state)), "{what}: {document}");
        assert_eq!(document["counts"]["added"], added, "{what}: {document}");
        let unchanged = if added > 0 { 0 } else { 3 };
        assert_eq!(document["counts"]["unchanged"], unchanged, "{what}: {document}");
    }
    assert_eq!(api.get("/api/v1/members").json()["total"], 7);
    assert_eq!(api.get(&format!("/api/v1/members/{}", id_of(&api, "5512"))).json()["fields"]["location"], "Köln");
    api.muster.verify();
}

#[test]
fn members_who_are_deleted_one_by_one_add_up_until_one_is_held() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=40, "Sales"));
    api.muster.ok(&["org", "set", "acme", "guard.removals.max_percent=10"]);
    let delete = |no: u32| api.send("DELETE", &format!("/api/v1/members/{}", id_of(&api, &no.to_string())), &[], b"");
    for no in 1..=4 {
        let gone = delete(no);
        assert_eq!((gone.status, &gone.json()["results"][0]["status"]), (200, &json!("removed")), "{}", gone.body);
    }
    let held = delete(5);
    assert_eq!((held.status, &held.json()["results"][0]["status"]), (202, &json!("held")), "{}", held.body);
    let set = format!("/api/v1/change-sets/{}", held.json()["change_set_id"].as_str().unwrap());
    let holds = api.get(&set).json()["holds"].clone();
    assert_eq!((holds.as_array().unwrap().len(), &holds[0]["guard"]), (1, &json!("removals")), "{holds}");
    assert_eq!(api.get("/api/v1/members").json()["total"], 36);
    api.muster.verify();
}

/// What was read with a key, the newest first.
fn reads(muster: &Muster) -> Vec<Value> {
    muster.ok(&["keys", "access-log", "--org", "acme"])["entries"].as_array().unwrap().clone()
}

#[test]
fn what_was_read_and_every_no_are_kept_in_the_log_of_reads() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=3, "Sales"));
    let id = id_of(&api, "1");
    api.send("DELETE", &format!("/api/v1/members/{id}"), &[], b"");
    let no = api.json("POST", "/api/v1/eligibility", &json!({ "unique_id": "1" })).json();
    assert_eq!(no["eligible"], false, "{no}");
    assert_eq!(api.get(&format!("/api/v1/members/{id}")).status, 200);
    let found = |of: &dyn Fn(&Value) -> bool| reads(&api.muster).into_iter().find(|entry| of(entry));
    let kept = within("the no", || found(&|entry| entry["route"] == "/api/v1/eligibility"));
    assert_eq!((&kept["eligible"], &kept["reason"], &kept["member"]), (&json!(false), &no["reason"], &json!(id)));
    assert_eq!((&kept["roster_version"], &kept["key"]), (&no["roster_version"], &json!(parted(&api.key).0)));
    let kept = within("the read", || found(&|entry| entry["route"] == "/api/v1/members/{id}"));
    assert_eq!((&kept["method"], &kept["status"], &kept["member"]), (&json!("GET"), &json!(200), &json!(id)));
    // Of whom it was about stands there no more than an identity.
    let all = Value::from(reads(&api.muster)).to_string();
    assert!(!all.contains("First") && !all.contains("example.com"), "{all}");
}
