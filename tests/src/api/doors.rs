//! Wrong hands, at every door.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use serde_json::json;

use super::{Api, On, Said};
use crate::served::{Served, until};

mod house;
mod table;

use house::House;
use table::{DOORS, Door, Gets};

/// Every address and method of the documentation, with something put in for what is in braces.
fn doors(api: &Api) -> Vec<(String, String)> {
    let document = api.served.get("/openapi.json").json();
    let mut doors = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|m| *m != "parameters") {
            doors.push((method.to_uppercase(), path.clone()));
        }
    }
    let documented: BTreeSet<String> = doors.iter().map(|(method, path)| format!("{method} {path}")).collect();
    let tabled: BTreeSet<String> = DOORS.iter().map(|door| door.name.to_owned()).collect();
    assert_eq!(documented, tabled, "every door has a line in tests/src/api/doors/table.rs");
    let put_in = |path: String| path.replace("{id}", "01a20115-8f2e-75a5-a30c-8a139c4b4b62").replace("{name}", "main");
    doors.into_iter().map(|(method, path)| (method, put_in(path))).collect()
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
    // A key is made with an end ahead, and has worked before it.
    let end = Utc::now() + TimeDelta::seconds(3);
    let new = json!({ "name": "ends", "scopes": ["*"], "expires_at": end });
    let ends = api.json("POST", "/api/v1/keys", &new).json()["key"].as_str().unwrap().to_owned();
    let asked = || api.said("GET", "/api/v1/organisation", &Said { key: Some(&ends), ..Said::default() }).status;
    until("the end of a key", || asked() == 401);
    at_every_door(&api, "an expired key", Some(&ends), 401, "expired-key");
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
    let before = muster.log();
    at_every_door(&api, "with the add-on off", Some(&api.key), 403, "api-access-off");
    assert_eq!(before, muster.log(), "nothing was changed");
    muster.verify();
}

/// What a hand gets at every door, by the table: first where it is refused, and nothing is changed by that; then where it is let
/// in, and `sees` looks at the answer.
fn with_a_hand(house: &House, key: &str, own: &str, gets: impl Fn(&Door) -> Gets, sees: impl Fn(&Door, &str)) {
    // That no door is missing.
    doors(&house.api);
    let knock = |door: &Door| {
        let answer = door.knock(house, key, own);
        let kind = if answer.status >= 400 { answer.problem() } else { String::new() };
        assert_eq!((answer.status, kind.as_str()), gets(door), "{}: {}", door.name, answer.body);
        answer
    };
    let (refused, let_in): (Vec<&Door>, Vec<&Door>) = DOORS.iter().partition(|door| gets(door).0 >= 400);
    let before = house.known();
    refused.iter().for_each(|door| sees(door, &knock(door).body));
    assert_eq!(before, house.known(), "whoever is refused changes nothing");
    let_in.iter().for_each(|door| sees(door, &knock(door).body));
    house.api.muster.verify();
}

/// Looks that an answer has nothing of this.
fn nothing_of(words: &[&str]) -> impl Fn(&Door, &str) {
    move |door, body| {
        for word in words {
            assert!(!body.contains(word), "{} tells {word}: {body}", door.name);
        }
    }
}

#[test]
fn a_key_of_another_organisation_finds_nothing() {
    let house = House::new();
    house.api.muster.ok(&["users", "set-role", "hris", "administrator", "--org", "other"]);
    let key = house.key("other", "hris", &[]);
    let before = house.known();
    let things = [&*house.upload, &house.set, &house.spare, "Secret", "Board", "Sales", "example.com", "Acme"];
    with_a_hand(&house, &key, "other", |door| door.other, nothing_of(&things));
    assert_eq!(before, house.known(), "also where it is let in, it is let into its own");
    assert_eq!(house.api.muster.run(&["verify", "--org", "other"]).code, Some(0));
}

#[test]
fn a_key_of_another_feed_speaks_for_its_own() {
    let house = House::new();
    let key = house.key("acme", "hris", &["--feed", "uk"]);
    let named = [&*house.upload, &house.set];
    let things = nothing_of(&named);
    // Events are seen without their bodies: that there was an upload, and not what was in it.
    let bodies = nothing_of(&["Secret", "Board", "salts"]);
    let sees = |door: &Door, body: &str| match door.name {
        "GET /api/v1/events" => bodies(door, body),
        _ => things(door, body),
    };
    with_a_hand(&house, &key, "acme", |door| door.feed, sees);
    // What was sent by doors that name no feed was said for its own.
    let uploads = house.api.get("/api/v1/uploads").json();
    let feeds: Vec<_> = uploads["uploads"].as_array().unwrap().iter().map(|u| u["feed"].as_str().unwrap()).collect();
    assert_eq!(feeds.iter().filter(|feed| **feed == "main").count(), 3, "as many as before: {feeds:?}");
    assert!(feeds.contains(&"uk") && !feeds.contains(&"us"), "{feeds:?}");
}

#[test]
fn a_key_for_some_people_and_fields_reaches_no_others() {
    let house = House::new();
    let limits = [
        "--department", "Sales", "--read-fields", "members=employee_id,department", "--write-fields",
        "members=department",
    ];
    let key = house.key("acme", "hris", &limits);
    let hidden = nothing_of(&["Secret", "Board", "First", "Last", "example.com"]);
    // Who is asked for by name stands in no answer either.
    with_a_hand(&house, &key, "acme", |door| door.narrow, hidden);
}

#[test]
fn a_user_who_looks_on_does_no_more_by_any_key() {
    let house = House::new();
    let muster = &house.api.muster;
    muster.ok(&["users", "create", "--name", "demoted", "--service", "--org", "acme", "--role", "administrator"]);
    let key = house.key("acme", "demoted", &[]);
    muster.ok(&["users", "set-role", "demoted", "viewer", "--org", "acme"]);
    let before = house.known();
    with_a_hand(&house, &key, "acme", |door| door.viewer, |_, _| {});
    assert_eq!(before, house.known(), "reading changes nothing");
    let writes = DOORS.iter().filter(|door| !door.name.starts_with("GET ") && door.viewer.0 < 400);
    let names: Vec<&str> = writes.map(|door| door.name).collect();
    assert_eq!(names, ["POST /api/v1/members/search", "POST /api/v1/members/lookup", "POST /api/v1/eligibility"]);
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
            "/api/v1/feeds/main/handover" => json!({ "to": "x" }),
            "/api/v1/feeds/main/mapping/restore" => json!({ "version": 0 }),
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
