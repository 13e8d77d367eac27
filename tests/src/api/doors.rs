//! Wrong hands and bad bodies, at every door.

use serde_json::{Value, json};

use super::{Api, On, Said, people};
use crate::served::Served;

/// Every address and method of the documentation, with something put in for what is in braces.
fn doors(api: &Api) -> Vec<(String, String)> {
    let document = api.served.get("/openapi.json").json();
    let mut doors = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "01a20115-8f2e-75a5-a30c-8a139c4b4b62").replace("{name}", "main");
        for method in item.as_object().unwrap().keys().filter(|m| *m != "parameters") {
            doors.push((method.to_uppercase(), path.clone()));
        }
    }
    assert!(doors.len() > 30, "{doors:?}");
    doors
}

/// What a key gets at every door.
fn at_every_door(api: &Api, what: &str, key: Option<&str>, status: u16, kind: &str) {
    for (method, path) in doors(api) {
        let answer = api.said(&method, &path, &Said { key, ..Said::default() });
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, kind),
            "{what}: {method} {path}: {}",
            answer.body
        );
        assert!(answer.header("x-request-id").is_some());
    }
}

#[test]
fn nobody_comes_in_with_a_key_that_is_none_or_not_any_more() {
    let api = Api::start(On::Sqlite);
    let muster = &api.muster;
    let before = muster.log();
    at_every_door(&api, "no key", None, 401, "no-key");
    let mut altered = api.key.clone();
    altered.replace_range(30..31, if &altered[30..31] == "a" { "b" } else { "a" });
    at_every_door(&api, "an altered key", Some(&altered), 401, "malformed-key");
    at_every_door(&api, "no key at all", Some("secret"), 401, "malformed-key");

    let make =
        |name: &str, more: &[&str]| muster.key(&[&["--name", name, "--user", "hris", "--scope", "*"], more].concat());
    let id = |key: &str| key.split('_').nth(2).unwrap().to_owned();
    let deleted = make("deleted", &[]);
    muster.ok(&["keys", "revoke", &id(&deleted), "--org", "acme"]);
    at_every_door(&api, "a deleted key", Some(&deleted), 401, "revoked-key");
    let rotated = make("rotated", &[]);
    muster.ok(&["keys", "rotate", &id(&rotated), "--org", "acme", "--overlap", "0"]);
    at_every_door(&api, "a rotated-out key", Some(&rotated), 401, "rotated-key");
    let elsewhere = make("elsewhere", &["--network", "192.0.2.0/24"]);
    at_every_door(&api, "from another network", Some(&elsewhere), 403, "network-not-allowed");

    muster.ok(&["users", "create", "--name", "leaver", "--service", "--org", "acme", "--role", "administrator"]);
    let leaver = muster.key(&["--name", "leaver", "--user", "leaver", "--scope", "*"]);
    muster.ok(&["users", "set-role", "leaver", "none", "--org", "acme"]);
    at_every_door(&api, "without a role", Some(&leaver), 403, "no-role");
    muster.ok(&["users", "disable", "leaver", "--yes"]);
    at_every_door(&api, "with the user disabled", Some(&leaver), 403, "user-disabled");
    assert_eq!(String::from_utf8(before), String::from_utf8(muster.log()), "nothing was changed");

    muster.ok(&["org", "set", "acme", "api_access=off"]);
    at_every_door(&api, "with the add-on off", Some(&api.key), 403, "api-access-off");
}

#[test]
fn a_key_without_the_right_is_told_which_it_lacks() {
    let api = Api::start(On::Sqlite);
    let key = api
        .muster
        .key(&["--name", "asks", "--user", "hris", "--scope", "eligibility:read", "--rate", "requests=100000"]);
    for (method, path) in doors(&api) {
        if path == "/api/v1/eligibility" || path == "/api/v1/organisation" {
            continue;
        }
        let headers = [("Content-Type", "application/json")];
        let body = match path.as_str() {
            "/api/v1/members/search" | "/api/v1/feeds/main" => json!({}),
            "/api/v1/members/lookup" => json!({ "unique_id": "1" }),
            "/api/v1/organisation/settings" => json!({ "settings": {} }),
            "/api/v1/feeds" => json!({ "name": "x" }),
            "/api/v1/keys/revoke-all" => json!({ "organisation": "acme" }),
            p if p.starts_with("/api/v1/keys") => json!({ "name": "x" }),
            _ => json!({}),
        };
        let body = if method == "GET" || method == "DELETE" { Vec::new() } else { body.to_string().into_bytes() };
        let answer = api.said(&method, &path, &Said { key: Some(&key), headers: &headers, body: &body });
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (403, "missing-right"),
            "{method} {path}: {}",
            answer.body
        );
        assert!(answer.json()["scope"].as_str().unwrap().contains(':'));
    }
}

#[test]
fn nobody_sees_across_organisations_feeds_fields_and_rows() {
    let api = Api::start(On::Sqlite);
    let muster = &api.muster;
    api.upload("mode=full", &people(1..=9, "Sales"));
    api.json("PUT", "/api/v1/members", &json!([{ "unique_id": "50", "first_name": "Secret", "department": "Board" }]));
    muster.ok(&["org", "create", "other", "--name", "Other"]);
    muster.ok(&["org", "set", "other", "api_access=on"]);
    muster.ok(&["users", "set-role", "hris", "administrator", "--org", "other"]);
    let other = muster.ok(&["keys", "create", "--org", "other", "--name", "all", "--user", "hris", "--scope", "*"]);
    let other = other["api_key"].as_str().unwrap().to_owned();
    let member = super::id_of(&api, "50");
    let upload = api.get("/api/v1/uploads").json()["uploads"][0]["upload_id"].as_str().unwrap().to_owned();
    let set = api.get("/api/v1/change-sets").json()["change_sets"][0]["change_set_id"].as_str().unwrap().to_owned();
    let get = |key: &str, path: &str| api.said("GET", path, &Said { key: Some(key), ..Said::default() });
    for path in [
        format!("/api/v1/members/{member}"),
        format!("/api/v1/members/{member}/history"),
        format!("/api/v1/uploads/{upload}"),
        format!("/api/v1/uploads/{upload}/issues"),
        format!("/api/v1/uploads/{upload}/original"),
        format!("/api/v1/change-sets/{set}"),
        format!("/api/v1/change-sets/{set}/changes"),
    ] {
        assert_eq!(get(&other, &path).problem(), "not-found", "{path}");
    }
    let post = |key: &str, path: &str, body: &Value| {
        let body = body.to_string();
        let headers = [("Content-Type", "application/json")];
        api.said("POST", path, &Said { key: Some(key), headers: &headers, body: body.as_bytes() })
    };
    assert_eq!(post(&other, "/api/v1/eligibility", &json!({ "id": member })).json()["reason"], "never_listed");

    // A key for one department and few fields.
    let narrow = muster.key(&[
        "--name", "narrow", "--user", "hris", "--scope", "*", "--department", "Sales", "--read-fields",
        "members=employee_id,department", "--write-fields", "members=department", "--rate", "requests=1000",
    ]);
    assert_eq!(get(&narrow, &format!("/api/v1/members/{member}")).problem(), "not-found");
    assert_eq!(post(&narrow, "/api/v1/eligibility", &json!({ "unique_id": "50" })).json()["reason"], "never_listed");
    let list = get(&narrow, "/api/v1/members").json();
    assert_eq!(list["total"], 9);
    assert!(!list.to_string().contains("First") && !list.to_string().contains("example.com"), "{list}");
    for path in [format!("/api/v1/change-sets/{set}/changes"), "/api/v1/events".to_owned()] {
        let seen = get(&narrow, &path).body;
        assert!(!seen.contains("Secret") && !seen.contains("Board"), "{path}: {seen}");
    }
    let one = super::id_of(&api, "1");
    let history = get(&narrow, &format!("/api/v1/members/{one}/history")).body;
    assert!(history.contains("Sales") && !history.contains("First1"), "{history}");
    assert_eq!(get(&narrow, &format!("/api/v1/uploads/{upload}/original")).problem(), "missing-right");
    assert_eq!(post(&narrow, "/api/v1/members/search", &json!({ "text": "First" })).problem(), "field-not-allowed");
    let put = |body: &Value| {
        let body = body.to_string();
        let headers = [("Content-Type", "application/json")];
        api.said("PUT", "/api/v1/members", &Said { key: Some(&narrow), headers: &headers, body: body.as_bytes() })
    };
    assert_eq!(put(&json!({ "unique_id": "1", "first_name": "Eve" })).problem(), "field-not-allowed");
    assert_eq!(put(&json!({ "unique_id": "1", "department": "Board" })).json()["results"][0]["status"], "invalid");
    assert_eq!(put(&json!({ "unique_id": "50", "department": "Sales" })).json()["results"][0]["status"], "invalid");

    // A key of one feed.
    muster.ok(&["feeds", "create", "uk", "--org", "acme", "--mode", "full"]);
    let bound = muster
        .key(&["--name", "uk", "--user", "hris", "--scope", "upload:*", "--feed", "uk", "--rate", "uploads=1000"]);
    let headers = [("Content-Type", "text/csv"), ("Prefer", "wait=60")];
    let csv = people(70..=71, "UK");
    let send =
        |path: &str| api.said("POST", path, &Said { key: Some(&bound), headers: &headers, body: csv.as_bytes() });
    assert_eq!(send("/api/v1/uploads?feed=main&mode=partial").problem(), "wrong-feed");
    assert_eq!(send("/api/v1/uploads").json()["feed"], "uk");
    assert_eq!(get(&bound, &format!("/api/v1/uploads/{upload}")).problem(), "not-found");
    muster.verify();
}

#[test]
fn bad_bodies_end_in_the_right_answer() {
    let api = Api::start(On::Sqlite);
    let json = [("Content-Type", "application/json")];
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        api.send(method, path, headers, body).problem()
    };
    assert_eq!(send("PUT", "/api/v1/members", &[], b"{}"), "unsupported-media-type");
    assert_eq!(send("PUT", "/api/v1/members", &json, b"{"), "unreadable");
    let deep = [br#"[{"unique_id":"#.to_vec(), vec![b'['; 100_000]].concat();
    assert_eq!(send("PUT", "/api/v1/members", &json, &deep), "unreadable");
    assert_eq!(send("PUT", "/api/v1/members", &json, &vec![b' '; 5 << 20]), "too-large");
    assert_eq!(send("POST", "/api/v1/eligibility", &json, b"{\"unique_id\":\"1\",\"email\":\"x\"}"), "invalid");
    assert_eq!(send("POST", "/api/v1/eligibility", &json, b"{\"nobody\":1}"), "invalid");
    assert_eq!(
        send("POST", "/api/v1/uploads?mode=full", &[("Content-Type", "text/html")], b"x"),
        "unsupported-media-type"
    );
    assert_eq!(
        send("POST", "/api/v1/uploads?mode=full", &[("Content-Type", "text/csv")], b"PK\x03\x04"),
        "unsupported-media-type"
    );
    assert_eq!(send("POST", "/api/v1/uploads?mode=all", &[("Content-Type", "text/csv")], b"a"), "unreadable");
    assert_eq!(send("POST", "/api/v1/uploads", &[("Content-Type", "text/csv")], b"a"), "invalid");
    assert_eq!(send("GET", "/api/v1/members?nothing=1", &[], b""), "unreadable");
    assert_eq!(send("GET", "/api/v1/members?limit=0", &[], b""), "unreadable");
    assert_eq!(send("GET", "/api/v1/members/not-a-uuid", &[], b""), "not-found");
    assert_eq!(send("GET", "/api/v1/nothing", &[], b""), "not-found");
    assert_eq!(send("POST", "/api/v1/members", &json, b"{}"), "method-not-allowed");
    let options = api.said("OPTIONS", "/api/v1/members", &Said::default());
    assert_eq!((options.status, options.header("allow")), (204, Some("get,head,put")));
    let digest = ("Content-Digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:");
    let csv = people(1..=3, "Sales");
    assert_eq!(
        send("POST", "/api/v1/uploads?mode=full", &[("Content-Type", "text/csv"), digest], csv.as_bytes()),
        "refused"
    );
    let uploads = api.get("/api/v1/uploads").json();
    assert_eq!(uploads["uploads"], json!([]), "nothing was accepted");
    // A payload that is accepted and cannot be read says why, also later.
    let refused = api.upload("mode=full&expected_rows=9", &csv).json();
    let why = refused["issues"][0]["reason"].as_str().unwrap_or_default().to_owned();
    let id = refused["upload_id"].as_str().unwrap();
    let later = api.get(&format!("/api/v1/uploads/{id}/issues"));
    assert!(later.status == 200 && later.body.contains(&why), "{refused} {}", later.body);
}

#[test]
fn a_key_asks_only_so_often() {
    let api = Api::start(On::Sqlite);
    let key = api.muster.key(&["--name", "slow", "--user", "hris", "--scope", "feed:read", "--rate", "requests=3"]);
    let get = || api.said("GET", "/api/v1/feeds", &Said { key: Some(&key), ..Said::default() });
    let first = get();
    assert_eq!(first.header("ratelimit-policy"), Some("\"requests\";q=3;w=60"));
    let last = (0..8).map(|_| get()).find(|a| a.status == 429).expect("one too many");
    assert_eq!(last.problem(), "rate-limited");
    assert!(last.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

#[test]
fn what_is_not_there_for_people_does_not_answer_the_api() {
    let api = Api::start(On::Sqlite);
    let worker = Served::start(&api.muster, &["--roles", "worker"]);
    assert_eq!(worker.get("/livez").status, 200);
    assert_eq!(worker.get("/api/v1/organisation").status, 404);
}
