//! Requests that come again with their `Idempotency-Key`: what is given again, to whom, and what is done anew.

use std::{
    io::Write,
    net::TcpStream,
    process::{Child, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Api, On, Said, people};
use crate::served::{Answer, until};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Sends JSON with an idempotency key.
fn once(api: &Api, key: &str, request: &str, again: &str, body: &Value) -> Answer {
    let (method, path) = request.split_once(' ').unwrap();
    let headers = [JSON, ("Idempotency-Key", again)];
    api.said(method, path, &Said { key: Some(key), headers: &headers, body: body.to_string().as_bytes() })
}

fn is_again(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// Changes what a key may do.
fn edit(api: &Api, key: &str, more: &[&str]) {
    api.muster.ok(&[&["keys", "edit", key.split('_').nth(2).unwrap(), "--org", "acme"], more].concat());
}

#[test]
fn what_only_reads_is_answered_by_the_rights_and_the_roster_of_now() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=3, "Sales"));
    let key = api.muster.key(&["--name", "reads", "--user", "hris", "--scope", "member:read,eligibility:read"]);
    let id = super::id_of(&api, "1");
    let asked = [
        ("POST /api/v1/members/search", json!({ "text": "first1" })),
        ("POST /api/v1/members/lookup", json!({ "unique_id": "1" })),
        ("POST /api/v1/eligibility", json!({ "unique_id": "1" })),
    ];
    for (request, body) in &asked {
        let answer = once(&api, &key, request, "same", body);
        assert!(answer.status == 200 && answer.body.contains(&id), "{request}: {}", answer.body);
    }
    // The same key with another body is another question, and no mistake.
    assert_eq!(once(&api, &key, asked[2].0, "same", &json!({ "unique_id": "2" })).json()["eligible"], true);
    api.send("DELETE", &format!("/api/v1/members/{id}"), &[], b"");
    let gone = once(&api, &key, asked[2].0, "same", &asked[2].1);
    assert_eq!((&gone.json()["eligible"], is_again(&gone)), (&json!(false), false), "{}", gone.body);
    let key_id = key.split('_').nth(2).unwrap();
    let log = || api.muster.ok(&["keys", "access-log", "--org", "acme", "--key", key_id])["entries"].clone();
    let noes = |log: &Value| log.as_array().unwrap().iter().filter(|e| e["eligible"] == false).count();
    until("the no in the log of reads", || noes(&log()) == 1);
    edit(&api, &key, &["--scope", "feed:read"]);
    for (request, body) in &asked {
        assert_eq!(once(&api, &key, request, "same", body).problem(), "missing-right", "{request}");
    }
}

#[test]
fn an_answer_is_not_given_again_to_a_key_that_may_do_something_else_now() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=3, "Sales"));
    let key = api.muster.key(&["--name", "writes", "--user", "hris", "--scope", "member:read,member:write"]);
    let put = |department: &str| {
        once(&api, &key, "PUT /api/v1/members", "one", &json!({ "unique_id": "1", "department": department }))
    };
    let first = put("Law");
    assert_eq!((first.status, is_again(&first), is_again(&put("Law"))), (200, false, true), "{}", first.body);
    let before = api.muster.log();
    let narrower: [(&[&str], &[&str]); 4] = [
        (&["--scope", "member:read"], &["--scope", "member:read,member:write"]),
        (&["--department", "Sales"], &["--department", "any"]),
        (&["--write-fields", "members=location"], &["--write-fields", "members=any"]),
        (&["--read-fields", "members=location"], &["--read-fields", "members=any"]),
    ];
    for (taken, given_back) in narrower {
        edit(&api, &key, taken);
        let refused = put("Law");
        assert_eq!(refused.problem(), "conflict", "{taken:?}: {}", refused.body);
        assert!(refused.json()["detail"].as_str().unwrap().contains("new Idempotency-Key"), "{}", refused.body);
        // That it was another request is said all the same.
        assert_eq!(put("Press").problem(), "idempotency-mismatch", "{taken:?}");
        edit(&api, &key, given_back);
        assert_eq!((put("Law").body, is_again(&put("Law"))), (first.body.clone(), true), "{given_back:?}");
    }
    api.muster.ok(&["users", "set-role", "hris", "viewer", "--org", "acme"]);
    assert_eq!(put("Law").problem(), "conflict", "the user's role counts too");
    assert_eq!(before, api.muster.log(), "nothing was done again");
}

#[test]
fn another_if_match_is_another_request_and_a_refusal_is_an_answer_as_well() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=20, "Sales"));
    let held = api.upload("mode=full&hold=true", &people(1..=19, "Sales"));
    let set = format!("/api/v1/change-sets/{}", held.json()["change_set_id"].as_str().unwrap());
    let tag = api.get(&set).header("etag").unwrap().to_owned();
    let approve = |key: &str, tags: &[&str]| {
        let mut headers = vec![("Idempotency-Key", key)];
        headers.extend(tags.iter().map(|tag| ("If-Match", *tag)));
        api.send("POST", &format!("{set}/approve"), &headers, b"")
    };
    for (key, tags, why) in [("unseen", &[][..], "precondition-required"), ("old", &["\"other\""], "stale")] {
        let (first, again) = (approve(key, tags), approve(key, tags));
        assert_eq!((first.problem().as_str(), is_again(&first)), (why, false), "{key}");
        assert_eq!((again.status, again.json(), is_again(&again)), (first.status, first.json(), true), "{key}");
        assert_eq!(approve(key, &[&tag]).problem(), "idempotency-mismatch", "{key}");
    }
    let done = approve("seen", &[&tag]);
    assert_eq!((done.status, &done.json()["state"], is_again(&done)), (200, &json!("applied"), false));
    let again = approve("seen", &[&tag]);
    assert_eq!((again.json(), is_again(&again)), (done.json(), true));
    for tags in [&["\"other\""][..], &[]] {
        assert_eq!(approve("seen", tags).problem(), "idempotency-mismatch", "{tags:?}");
    }
    // It is decided by now: whoever was refused for another reason before is told the same again.
    assert_eq!(approve("old", &["\"other\""]).problem(), "stale");
    assert_eq!(approve("late", &[&tag]).problem(), "conflict");
    api.muster.verify();
}

#[test]
fn what_was_refused_is_refused_again_under_its_key_and_done_under_another() {
    let api = Api::start(On::Sqlite);
    let change = |key: &str| {
        let hold = json!({ "mode": "partial" });
        once(&api, &api.key, "PATCH /api/v1/feeds/payroll", key, &hold)
    };
    assert_eq!((change("one").problem().as_str(), is_again(&change("one"))), ("not-found", true));
    let make = |key: &str, name: &str| once(&api, &api.key, "POST /api/v1/feeds", key, &json!({ "name": name }));
    assert_eq!(make("feed", "Not a name").problem(), "invalid");
    assert_eq!(make("feed", "payroll").problem(), "idempotency-mismatch");
    // The same bytes, said to be something else, are something else.
    let plain = [("Content-Type", "text/plain"), ("Idempotency-Key", "said")];
    let sent = |headers: &[(&str, &str)]| api.send("POST", "/api/v1/feeds", headers, br#"{"name":"said"}"#);
    assert_eq!((sent(&plain).problem().as_str(), is_again(&sent(&plain))), ("unsupported-media-type", true));
    assert_eq!(sent(&[JSON, plain[1]]).problem(), "idempotency-mismatch");
    assert_eq!(make("mended", "payroll").status, 201);
    assert!(is_again(&make("mended", "payroll")));
    assert_eq!((change("one").problem().as_str(), change("two").status), ("not-found", 200));

    // What the key may do is not of the request: once it may, the same request is done.
    let key = api.muster.key(&["--name", "mended", "--user", "hris", "--scope", "member:read"]);
    let put = || once(&api, &key, "PUT /api/v1/members", "mended", &json!({ "unique_id": "77", "first_name": "New" }));
    assert_eq!(put().problem(), "missing-right");
    edit(&api, &key, &["--scope", "member:write"]);
    assert_eq!((put().json()["created"].clone(), is_again(&put())), (json!(1), true));
    api.muster.verify();
}

#[test]
fn the_headers_of_an_answer_are_given_again() {
    let api = Api::start(On::Sqlite);
    let make = || once(&api, &api.key, "POST /api/v1/keys", "key", &json!({ "name": "k", "scopes": ["member:read"] }));
    let (made, again) = (make(), make());
    assert_eq!((made.status, again.status, is_again(&again)), (201, 201, true));
    for name in ["content-type", "location", "etag", "cache-control"] {
        assert_eq!(made.header(name), again.header(name), "{name}");
    }
    assert_eq!(again.header("cache-control"), Some("no-store"));
    let path = format!("/api/v1/keys/{}", made.json()["id"].as_str().unwrap());
    let delete = || api.send("DELETE", &path, &[("Idempotency-Key", "gone")], b"");
    let (gone, again) = (delete(), delete());
    assert_eq!((gone.status, again.status, is_again(&again)), (204, 204, true));
    assert_eq!((again.body.as_str(), again.header("content-type")), ("", None));
}

/// What a query says.
fn query(api: &Api, sql: &str) -> String {
    let mut psql = muster_testkit::postgres::program("psql").unwrap();
    let output = psql.args(["-At", "-c", sql, &api.muster.database]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Somebody who keeps everybody else from appending events, until their input ends.
fn keep_from_appending(api: &Api) -> Child {
    let mut psql = muster_testkit::postgres::program("psql").unwrap();
    let mut child =
        psql.args(["-q", &api.muster.database]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"BEGIN; LOCK TABLE event IN EXCLUSIVE MODE;\n").unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE relation = 'event'::regclass AND mode = 'ExclusiveLock' AND granted \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until("the lock", || query(api, held) == "1");
    child
}

#[test]
fn whoever_hangs_up_finds_the_answer_when_they_come_again() {
    let api = Api::start(On::Postgres);
    let mut other = keep_from_appending(&api);
    let body = json!({ "unique_id": "1", "first_name": "Ann" });
    let text = body.to_string();
    let mut stream = TcpStream::connect(api.served.address()).unwrap();
    write!(
        stream,
        "PUT /api/v1/members HTTP/1.1\r\nHost: muster\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Idempotency-Key: cut\r\nContent-Length: {}\r\n\r\n{text}",
        api.key,
        text.len()
    )
    .unwrap();
    let answers = |which: &str| query(&api, &format!("SELECT count(*) FROM muster_access.answer WHERE status {which}"));
    until("the request to be worked on", || answers("IS NULL") == "1");
    drop(stream);
    // So long that the server has surely seen it.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(once(&api, &api.key, "PUT /api/v1/members", "cut", &body).problem(), "in-flight");
    drop(other.stdin.take());
    other.wait().unwrap();
    until("the answer to be kept", || answers("= 200") == "1");
    let again = once(&api, &api.key, "PUT /api/v1/members", "cut", &body);
    assert_eq!((again.status, is_again(&again), &again.json()["created"]), (200, true, &json!(1)), "{}", again.body);
    api.muster.verify();
}
