//! Events as they happen: server-sent events, for as long as the key is let in.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::json;

use super::{Api, On, people};
use crate::served::PATIENCE;

/// Opens a stream of events, and reads nothing of it yet.
fn open(api: &Api, key: &str, last: Option<&str>) -> TcpStream {
    let mut stream = TcpStream::connect(api.served.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    let head = "GET /api/v1/events HTTP/1.1\r\nHost: muster\r\nAccept: text/event-stream\r\nConnection: close\r\n";
    write!(stream, "{head}Authorization: Bearer {key}\r\n{last}\r\n").unwrap();
    stream
}

/// Reads until something was said so many times.
fn read_until(stream: &mut TcpStream, said: &str, times: usize) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    while text.matches(said).count() < times {
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..n]));
    }
    text
}

#[test]
fn a_stream_goes_on_with_what_happens_and_from_where_it_broke_off() {
    let api = Api::start(On::Sqlite);
    let mut stream = open(&api, &api.key, None);
    let first = read_until(&mut stream, "event: ", 1);
    assert!(first.contains("200 OK") && first.contains("text/event-stream"), "{first}");
    api.upload("mode=full", &people(1..=3, "Sales"));
    let seen = read_until(&mut stream, "event: change_set.applied", 1);
    let before = seen.split("event: change_set.applied").next().unwrap();
    let id = before.rsplit("id: ").next().unwrap().lines().next().unwrap().trim().to_owned();
    drop(stream);
    api.json("PUT", "/api/v1/members", &json!([{ "unique_id": "4", "first_name": "Four" }]));
    let mut stream = open(&api, &api.key, Some(&id));
    let seen = read_until(&mut stream, "event: change_set.applied", 1);
    assert!(seen.contains("Four") && !seen.contains("First1"), "what was seen does not come again: {seen}");
}

#[test]
fn a_stream_ends_when_the_key_is_revoked_and_tells_nothing_from_then_on() {
    let api = Api::start(On::Sqlite);
    let key = api.muster.key(&["--name", "listens", "--user", "hris", "--scope", "event:read"]);
    let mut stream = open(&api, &key, None);
    read_until(&mut stream, "event: ", 1);
    api.muster.ok(&["keys", "revoke", key.split('_').nth(2).unwrap(), "--org", "acme"]);
    api.json("PUT", "/api/v1/members", &json!([{ "unique_id": "4", "first_name": "Unseen" }]));
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("Unseen") && !rest.contains("event: upload.received"), "{rest}");
}

#[test]
fn a_stream_shows_from_now_on_what_the_key_may_see_from_now_on() {
    let api = Api::start(On::Sqlite);
    let key = api.muster.key(&["--name", "listens", "--user", "hris", "--scope", "event:read"]);
    let mut stream = open(&api, &key, None);
    read_until(&mut stream, "event: ", 1);
    let id = key.split('_').nth(2).unwrap();
    api.muster.ok(&["keys", "edit", id, "--org", "acme", "--read-fields", "members=employee_id"]);
    api.json("PUT", "/api/v1/members", &json!([{ "unique_id": "4", "first_name": "Unseen" }]));
    let seen = read_until(&mut stream, "event: change_set.applied", 1);
    assert!(!seen.contains("Unseen"), "{seen}");
}

#[test]
fn a_file_of_the_roster_breaks_off_when_the_key_is_revoked() {
    let api = Api::start(On::Sqlite);
    // More than is on its way at once.
    let long = "x".repeat(2000);
    let rows: String = (1..=20_000).map(|n| format!("{n},{long}\n")).collect();
    let sent = api.upload("mode=full", &format!("employee_id,job_title\n{rows}"));
    assert_eq!(sent.json()["state"], "applied", "{}", sent.body);
    let key = api.muster.key(&["--name", "downloads", "--user", "hris", "--scope", "member:download"]);
    let mut stream = TcpStream::connect(api.served.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "GET /api/v1/members/export HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n";
    write!(stream, "{head}Authorization: Bearer {key}\r\n\r\n").unwrap();
    read_until(&mut stream, "employee_id,", 1);
    api.muster.ok(&["keys", "revoke", key.split('_').nth(2).unwrap(), "--org", "acme"]);
    // For so long it is not looked again.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("\n8000,x") && !rest.contains("\n20000,x"), "{} bytes came", rest.len());
    assert!(!rest.ends_with("0\r\n\r\n"), "nobody takes it for the whole");
}
