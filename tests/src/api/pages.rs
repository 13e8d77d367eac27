//! The pages of the documentation, as a reader with a browser has them, and one without.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Command,
};

use serde_json::{Value, json};

use super::{Api, On, Said};
use crate::{muster::Muster, served::Served};

/// What stands in the quotes of an attribute, wherever it is on a page.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!(" {name}=\"");
    html.split(&begin).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// An address without what is behind `#` and `?`, and the place on it.
fn parted(link: &str) -> (&str, Option<&str>) {
    let (path, place) = link.split_once('#').map_or((link, None), |(path, place)| (path, Some(place)));
    (path.split('?').next().unwrap_or(path), place)
}

#[test]
fn every_link_leads_somewhere_and_no_page_runs_a_script() {
    let muster = Muster::empty(On::Sqlite);
    let served = Served::start(&muster, &[]);
    let (mut open, mut places) = (vec!["/api-docs".to_owned()], BTreeMap::<String, BTreeSet<String>>::new());
    let mut links = Vec::new();
    while let Some(path) = open.pop() {
        if places.contains_key(&path) {
            continue;
        }
        let answer = served.get(&path);
        assert!(answer.status == 200 || (path == "/api-docs/try" && answer.status == 303), "{path}: {}", answer.status);
        let body = if answer.headers.contains("content-type: text/html") { answer.body.as_str() } else { "" };
        places.insert(path.clone(), attributes(body, "id").into_iter().map(str::to_owned).collect());
        assert!(!body.contains("<script") && !body.contains(" style="), "{path}");
        assert_eq!(attributes(body, "id").len(), places[&path].len(), "{path} names a place twice");
        for link in [attributes(body, "href"), attributes(body, "src")].concat() {
            let (to, place) = parted(link);
            if to.starts_with("https://") || to.starts_with("data:") {
                continue;
            }
            let to = if to.is_empty() { path.clone() } else { to.to_owned() };
            assert!(to.starts_with('/'), "{path}: {link}");
            links.push((path.clone(), to.clone(), place.map(str::to_owned)));
            open.push(to);
        }
    }
    for (from, to, place) in &links {
        let there = place.as_ref().is_none_or(|place| places[to].contains(place));
        assert!(there, "{from} leads to {to}#{}", place.as_deref().unwrap_or(""));
    }
    let problems = places.keys().filter(|path| path.starts_with("/api-docs/problems/")).count();
    assert!(problems > 25 && places.len() > problems + 8, "{:?}", places.keys());
}

#[test]
fn every_problem_that_is_answered_has_its_page() {
    let source = include_str!("../../../crates/server/src/problem/catalogue.rs");
    let muster = Muster::empty(On::Sqlite);
    let served = Served::start(&muster, &[]);
    let kinds: Vec<(&str, &str)> = source
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.strip_prefix("    ")?.split_once(" = ")?;
            let mut parts = rest.split('"');
            let status = parts.next()?.strip_suffix(", ")?;
            status.parse::<u16>().ok()?;
            Some((status, parts.next()?))
        })
        .collect();
    assert!(kinds.len() > 25, "{kinds:?}");
    for (status, slug) in kinds {
        let page = served.get(&format!("/api-docs/problems/{slug}"));
        assert_eq!(page.status, 200, "{slug}");
        assert!(page.body.contains(&format!("HTTP status <strong>{status}</strong>")), "{slug}: {}", page.body);
        for part in ["id=\"cause\"", "id=\"cure\""] {
            assert!(page.body.contains(part), "{slug} has no {part}");
        }
    }
    let refused = served.get("/api/v1/members").json();
    assert_eq!(served.get(refused["type"].as_str().unwrap()).status, 200, "{refused}");
}

#[test]
fn pages_are_asked_for_as_http_has_it() {
    let api = Api::start(On::Sqlite);
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        api.said(method, path, &Said { headers, ..Said::default() })
    };
    let strict = "content-security-policy: default-src 'none'; style-src 'self'";
    let paths = [
        "/api-docs", "/api-docs/", "/api-docs/reference", "/api-docs/problems/stale", "/api-docs/style.css",
        "/openapi.json",
    ];
    for path in paths {
        let page = ask("GET", path, &[]);
        assert!(page.status == 200 && page.headers.contains(strict), "{path}: {}", page.headers);
        let tag = page.header("etag").unwrap();
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        let fresh = ask("GET", path, &[("If-None-Match", tag)]);
        assert_eq!((fresh.status, fresh.body.as_str(), fresh.header("etag")), (304, "", Some(tag)), "{path}");
        let head = ask("HEAD", path, &[]);
        assert_eq!((head.status, head.body.as_str(), head.header("etag")), (200, "", Some(tag)), "{path}");
        assert_eq!(head.header("content-length"), Some(page.body.len().to_string().as_str()), "{path}");
        assert_eq!(ask("POST", path, &[]).status, 405, "{path}");
    }
    for path in ["/api-docs/none", "/api-docs/problems/none", "/api-docs/../etc/passwd", "/api-docs/%00"] {
        let none = ask("GET", path, &[("If-None-Match", "*")]);
        assert!(none.status == 404 && none.headers.contains(strict), "{path}: {}", none.status);
        assert!(none.body.contains("There is no such page") && none.header("etag").is_none(), "{path}");
    }
    let script = ask("GET", "/api-docs/keep-in-step.sh", &[]);
    assert_eq!(script.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(script.body.starts_with("#!/bin/sh\n"));
    let try_it = ask("GET", "/api-docs/try/", &[]);
    assert!(try_it.headers.contains("script-src 'self';") && !try_it.headers.contains("default-src 'self'"));
    let worker = Served::start(&api.muster, &["--roles", "worker"]);
    assert_eq!(worker.get("/api-docs").status, 404);
}

/// What is sent with a request, so that only the right can be what it lacks.
fn body_for(path: &str) -> Value {
    match path {
        "/api/v1/members/lookup" => json!({ "unique_id": "1" }),
        "/api/v1/organisation/settings" => json!({ "settings": {} }),
        "/api/v1/feeds" | "/api/v1/keys" => json!({ "name": "x" }),
        "/api/v1/keys/revoke-all" => json!({ "organisation": "acme" }),
        "/api/v1/feeds/{name}/handover" => json!({ "to": "x" }),
        "/api/v1/feeds/{name}/mapping/restore" => json!({ "version": 0 }),
        _ => json!({}),
    }
}

#[test]
fn every_address_needs_the_right_that_the_document_names() {
    let api = Api::start(On::Sqlite);
    let key = api
        .muster
        .key(&["--name", "none", "--user", "hris", "--scope", "webhook:read", "--rate", "requests=1000,uploads=1000"]);
    let document = api.served.get("/openapi.json").json();
    let reference = api.served.get("/api-docs/reference").body;
    let mut free = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(right) = operation["security"][0]["bearer"][0].as_str() else {
                free.push(format!("{method} {path}"));
                continue;
            };
            assert_eq!(operation["security"][1]["access_key"][0], right);
            let at = path.replace("{id}", "01a20115-8f2e-75a5-a30c-8a139c4b4b62").replace("{name}", "main");
            let body = body_for(path).to_string();
            let body = if ["get", "delete"].contains(&method.as_str()) { &[] } else { body.as_bytes() };
            let headers = [("Content-Type", "application/json")];
            let said = Said { key: Some(&key), headers: &headers, body };
            let answer = api.said(&method.to_uppercase(), &at, &said);
            assert_eq!(
                (answer.problem().as_str(), &answer.json()["scope"]),
                ("missing-right", &json!(right)),
                "{method} {path}"
            );
            assert!(reference.contains(&format!("Right: <code>{right}</code>")), "{right}");
        }
    }
    assert_eq!(free, ["get /api/v1/organisation"], "what any key may ask");
}

/// What Chromium makes of a page, and what it says on the way. It can reach nothing but the server.
fn browsed(at: SocketAddr, path: &str) -> (String, String) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            "--dump-dom",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        ])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .arg(format!("http://{at}{path}"))
        .env("HOME", home.path())
        .output()
        .expect("chromium, which tests/run installs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_browser_shows_the_pages_and_finds_nothing_wrong_with_them() {
    let muster = Muster::empty(On::Sqlite);
    let served = Served::start(&muster, &[]);
    let pages: [(&str, &[&str]); 4] = [
        ("/api-docs", &["Getting a key", "Five lines of Python", "Deciding on what waits"]),
        ("/api-docs/reference", &["Send a payload", "change_set:approve", "UploadDocument"]),
        ("/api-docs/problems/stale", &["What leads to it", "It is not what you saw any more"]),
        // Swagger UI has fetched the document and made a page of it.
        ("/api-docs/try/", &["Send a payload", "Ask whether somebody is eligible", "/api/v1/change-sets/{id}/approve"]),
    ];
    for (path, words) in pages {
        let (page, said) = browsed(served.address(), path);
        for word in words {
            assert!(page.replace('\u{200b}', "").contains(word), "{path} does not show {word:?}\n{said}\n{page}");
        }
        let wrong: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(wrong.is_empty(), "{path}: {wrong:?}");
    }
}
