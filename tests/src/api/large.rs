//! A change set of hundreds of thousands of changes is read without being held in memory.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use super::{Api, On, PATIENCE, Served, people};

const PEOPLE: u32 = 300_000;
/// What the server may need for it, in bytes: about half of what it says.
const ROOM: u64 = 64 << 20;

/// A figure of a process, in bytes.
fn figure(of: &Served, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", of.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Reads lines as they come, and gives how many there were, their bytes, and the last.
fn read_lines(api: &Api, path: &str) -> (u32, u64, Value) {
    let mut stream = TcpStream::connect(api.served.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // To HTTP/1.0 a body is sent as it is, without lengths of its pieces.
    let accept = "Accept: application/x-ndjson";
    write!(stream, "GET {path} HTTP/1.0\r\nAuthorization: Bearer {}\r\n{accept}\r\n\r\n", api.key).unwrap();
    let (mut buffer, mut rest) = (vec![0; 1 << 16], Vec::new());
    let (mut lines, mut bytes, mut last, mut in_body) = (0, 0, Vec::new(), false);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        rest.extend_from_slice(&buffer[..read]);
        if !in_body {
            let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            assert!(rest.starts_with(b"HTTP/1.0 200") || rest.starts_with(b"HTTP/1.1 200"));
            rest.drain(..end + 4);
            in_body = true;
        }
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in rest[..whole].split_inclusive(|byte| *byte == b'\n') {
            (lines, bytes) = (lines + 1, bytes + line.len() as u64);
            last = line.to_vec();
        }
        rest.drain(..whole);
    }
    assert!(rest.is_empty(), "it was cut off");
    (lines, bytes, serde_json::from_slice(&last).unwrap())
}

#[test]
fn all_changes_of_a_large_change_set_stream_in_bounded_memory() {
    let api = Api::start(On::Sqlite);
    let list = api.muster.file("list.csv", &people(1..=PEOPLE, "Sales"));
    let held = api.muster.run(&["sync", &list, "--org", "acme", "--mode", "full", "--hold"]);
    assert_eq!((held.code, &held.json["state"]), (Some(3), &Value::from("held")), "{}", held.stderr);
    let path = format!("/api/v1/change-sets/{}/changes", held.json["change_set_id"].as_str().unwrap());
    // What the process needs anyway is there after the first page.
    assert_eq!(api.get(&path).json()["changes"][49]["ordinal"], 49);
    std::fs::write(format!("/proc/{}/clear_refs", api.served.id()), "5").unwrap();
    let before = figure(&api.served, "VmRSS");
    let (lines, bytes, last) = read_lines(&api, &path);
    let more = figure(&api.served, "VmHWM").saturating_sub(before);
    assert_eq!(
        (lines, &last["ordinal"], &last["standing"]),
        (PEOPLE, &Value::from(PEOPLE - 1), &Value::from("waiting"))
    );
    assert!(more < ROOM && bytes > ROOM + ROOM / 2, "{more} bytes of memory for {bytes} bytes of text");

    // A page from anywhere is where it should be.
    for from in [0, 999, 1000, 1001, 123_456, PEOPLE - 3] {
        let page = api.get(&format!("{path}?cursor={from}&limit=3")).json();
        let ordinals: Vec<u64> =
            page["changes"].as_array().unwrap().iter().map(|c| c["ordinal"].as_u64().unwrap()).collect();
        let from = u64::from(from);
        assert_eq!(ordinals, [from, from + 1, from + 2]);
        assert_eq!(page["changes"][0]["line"], from + 2, "the header is line 1");
        let next = (from + 3 < u64::from(PEOPLE)).then(|| (from + 3).to_string());
        assert_eq!(page["next"], Value::from(next));
    }
    let beyond = api.get(&format!("{path}?cursor={PEOPLE}")).json();
    assert_eq!((beyond["changes"].as_array().unwrap().len(), &beyond["next"]), (0, &Value::Null));
}
