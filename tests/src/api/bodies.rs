//! Bodies that are too large, too deep, cut off, or not what they are said to be.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    path::Path,
};

use serde_json::json;

use super::{Api, On, Said, people};
use crate::served::{Answer, PATIENCE};

/// The files of an installation, with their sizes, but for the databases and the logs of who serves it.
pub fn files(api: &Api) -> BTreeMap<String, u64> {
    fn look(dir: &Path, found: &mut BTreeMap<String, u64>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if path.is_dir() {
                look(&path, found);
            } else if !name.contains(".db") && !name.ends_with(".log") {
                found.insert(name, path.metadata().unwrap().len());
            }
        }
    }
    let mut found = BTreeMap::new();
    look(api.muster.dir.path(), &mut found);
    found
}

/// Sends bytes as they are, and no more after them; gives what is answered.
fn raw(api: &Api, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(api.served.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: head.to_lowercase(),
        body: body.to_owned(),
    }
}

/// A request with these header lines and this body, and whatever length the lines say.
fn request(api: &Api, line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let key = &api.key;
    let head =
        format!("{line} HTTP/1.1\r\nHost: muster\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// A form with a file, and another field if one is named.
fn form(file: &[u8], more: Option<(&str, &str)>) -> Vec<u8> {
    let mut form = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.csv\"\r\n\r\n".to_vec();
    form.extend_from_slice(file);
    if let Some((name, text)) = more {
        let field = format!("\r\n--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}");
        form.extend_from_slice(field.as_bytes());
    }
    form.extend_from_slice(b"\r\n--b--\r\n");
    form
}

/// What is wrong, header lines, a body, and the kind of the problem.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], &'a str);

const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=b");

#[test]
fn a_body_that_is_not_what_it_is_said_to_be_is_refused_and_leaves_nothing() {
    let api = Api::start(On::Sqlite);
    api.muster.ok(&["org", "set", "acme", "limits.payload_mb=1"]);
    let before = (api.muster.log(), files(&api));
    let csv = people(1..=3, "Sales").into_bytes();
    let large = people(1..=60_000, "Sales").into_bytes();
    let latin1 = b"employee_id,first_name\n1,Zo\xe9\n";
    let deep = [br#"{"mode":"full","rows":[{"employee_id":"#.to_vec(), vec![b'['; 100_000]].concat();
    let csv_is = |more: &'static str| ("Content-Type", more);
    let json = ("Content-Type", "application/json");
    let xlsx = ("Content-Type", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet");
    let cases: &[Case] = &[
        ("too large", &[csv_is("text/csv")], &large, "too-large"),
        ("a form that is too large", &[FORM], &form(&large, None), "too-large"),
        ("a field that is too large", &[FORM], &form(&csv, Some(("mode", &"x".repeat(5000)))), "too-large"),
        ("nested too deeply", &[json], &deep, "unreadable"),
        ("JSON that is cut off", &[json], br#"[{"employee_id":"1"},{"empl"#, "unreadable"),
        ("an object that is cut off", &[json], br#"{"mode":"full","rows":[{"employee_id":"1"}"#, "unreadable"),
        ("gzip that is none", &[csv_is("text/csv"), ("Content-Encoding", "gzip")], &csv, "unsupported-media-type"),
        ("a gzip file that is none", &[csv_is("application/gzip")], &csv, "unsupported-media-type"),
        ("an unknown coding", &[csv_is("text/csv"), ("Content-Encoding", "br")], &csv, "unsupported-media-type"),
        ("an unknown charset", &[csv_is("text/csv; charset=klingon")], &csv, "unsupported-media-type"),
        ("JSON in UTF-16", &[csv_is("application/json; charset=utf-16")], b"[]", "unsupported-media-type"),
        ("UTF-8 that is none", &[csv_is("text/csv; charset=utf-8")], latin1, "unreadable"),
        ("a form without a boundary", &[csv_is("multipart/form-data")], &form(&csv, None), "unsupported-media-type"),
        ("a form of another boundary", &[csv_is("multipart/form-data; boundary=c")], &form(&csv, None), "unreadable"),
        ("a form that is none", &[FORM], &csv, "unreadable"),
        ("a form without a file", &[FORM], b"--b--\r\n", "invalid"),
        ("a form with too much", &[FORM], &form(&csv, Some(("surprise", "x"))), "invalid"),
        ("JSON as CSV", &[csv_is("text/csv")], br#"[{"employee_id":"1"}]"#, "unsupported-media-type"),
        ("CSV as JSON", &[json], &csv, "unreadable"),
        ("CSV as NDJSON", &[csv_is("application/x-ndjson")], &csv, "unsupported-media-type"),
        ("CSV as a workbook", &[xlsx], &csv, "unsupported-media-type"),
        ("a workbook as CSV", &[csv_is("text/csv")], b"PK\x03\x04", "unsupported-media-type"),
        ("a picture", &[csv_is("image/png")], b"\x89PNG", "unsupported-media-type"),
        ("no type", &[], &csv, "unsupported-media-type"),
    ];
    for (what, headers, body, kind) in cases {
        let answer = api.send("POST", "/api/v1/uploads?mode=full", headers, body);
        assert_eq!(answer.problem(), *kind, "{what}: {}", answer.body);
    }
    assert_eq!(before, (api.muster.log(), files(&api)), "nothing was taken, and nothing is left");
    api.muster.verify();
}

#[test]
fn a_body_whose_end_does_not_come_is_refused_and_leaves_nothing() {
    let api = Api::start(On::Sqlite);
    let before = (api.muster.log(), files(&api));
    let csv = people(1..=3, "Sales").into_bytes();
    let chunk = [format!("{:x}\r\n", csv.len()).as_bytes(), &csv, b"\r\n"].concat();
    let half_a_form = &form(&csv, None)[..80];
    let (upload, put) = ("POST /api/v1/uploads?mode=full", "PUT /api/v1/members");
    let longer = format!("Content-Length: {}\r\n", csv.len() + 1);
    let all: &[(&str, &str, &str, &[u8], u16)] = &[
        ("shorter than said", upload, &format!("Content-Type: text/csv\r\n{longer}"), &csv, 400),
        ("a chunk is missing", upload, "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n", &chunk, 400),
        ("half a chunk", upload, "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n", &chunk[..30], 400),
        ("no chunks", upload, "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n", &csv, 400),
        (
            "half a form",
            upload,
            "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 400\r\n",
            half_a_form,
            400,
        ),
        ("half a list", upload, "Content-Type: application/json\r\nContent-Length: 400\r\n", b"[{", 400),
        (
            "half a member",
            put,
            "Content-Type: application/json\r\nContent-Length: 400\r\n",
            b"{\"unique_id\":\"1\"}",
            400,
        ),
        (
            "half a member, to be sent again",
            put,
            "Content-Type: application/json\r\nIdempotency-Key: half\r\nContent-Length: 400\r\n",
            b"{\"unique_id\":\"1\"}",
            400,
        ),
        ("a length that is none", put, "Content-Type: application/json\r\nContent-Length: many\r\n", b"{}", 400),
        (
            "two lengths",
            put,
            "Content-Type: application/json\r\nContent-Length: 2\r\nContent-Length: 3\r\n",
            b"{} ",
            400,
        ),
        ("longer than said", put, "Content-Type: application/json\r\nContent-Length: 1\r\n", b"{}", 400),
    ];
    for (what, line, headers, body, status) in all {
        let answer = raw(&api, &request(&api, line, headers, body));
        assert_eq!(answer.status, *status, "{what}: {} {}", answer.headers, answer.body);
    }
    assert_eq!(before, (api.muster.log(), files(&api)), "nothing was taken, and nothing is left");
    // Whoever is refused before all was sent gets the answer all the same.
    let large = vec![b' '; 12 << 20];
    let lines = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", large.len());
    assert_eq!(raw(&api, &request(&api, put, &lines, &large)).problem(), "too-large");
    api.muster.verify();
}

#[test]
fn a_form_may_be_as_large_as_a_payload() {
    let api = Api::start(On::Sqlite);
    let csv = people(1..=100_000, "Sales").into_bytes();
    assert!(csv.len() > 4 << 20);
    let sent = api.send("POST", "/api/v1/uploads?dry_run=true", &[FORM], &form(&csv, Some(("mode", "full"))));
    assert_eq!((sent.status, &sent.json()["counts"]["added"]), (200, &json!(100_000)), "{}", sent.body);
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
    assert_eq!(send("PATCH", "/api/v1/members", &json, b"{}"), "method-not-allowed");
    let options = api.said("OPTIONS", "/api/v1/members", &Said::default());
    assert_eq!((options.status, options.header("allow")), (204, Some("get,head,put,post")));
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
