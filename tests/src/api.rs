//! The HTTP API as its users have it: a connector that pushes, a product that asks, an administrator who approves, and wrong hands.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    muster::{Muster, On},
    served::{Answer, PATIENCE, Served},
};

mod again;
mod bodies;
mod browsers;
mod doors;
mod forms;
mod guide;
mod keep_in_step;
mod large;
mod limits;
mod lists;
mod mapped;
mod names;
mod narrow;
mod pages;
mod pushes;
mod reach;
mod round;
mod second;
mod slow;
mod story;
mod streams;
mod tried;
mod undone;
mod workbooks;

/// A server with API access, and a key that may do everything.
pub struct Api {
    pub key: String,
    /// Dropped before the installation that it serves.
    pub served: Served,
    pub muster: Muster,
}

/// What is said with a request.
#[derive(Default)]
pub struct Said<'a> {
    pub key: Option<&'a str>,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl Api {
    pub fn start(on: On) -> Api {
        Api::begin(on, |_| {})
    }

    /// The same, with something more done to the server's command.
    pub fn begin(on: On, change: impl FnOnce(&mut Command)) -> Api {
        let muster = Muster::new(on);
        muster.ok(&["org", "set", "acme", "api_access=on", "guard.removals.max_percent=off"]);
        muster.ok(&["users", "create", "--name", "hris", "--service", "--org", "acme", "--role", "administrator"]);
        let key = muster
            .key(&["--name", "all", "--user", "hris", "--scope", "*", "--rate", "requests=100000,uploads=100000"]);
        let served = Served::begin(&muster, &[], change);
        Api { key, served, muster }
    }

    /// Sends a request with the key that may do everything.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.said(method, path, &Said { key: Some(&self.key), headers, body })
    }

    pub fn said(&self, method: &str, path: &str, said: &Said<'_>) -> Answer {
        self.bytes(method, path, said).0
    }

    /// The same, and the body as it came, which may be no text.
    pub fn bytes(&self, method: &str, path: &str, said: &Said<'_>) -> (Answer, Vec<u8>) {
        let mut stream = self.ask(method, path, said);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let at = all.windows(4).position(|four| four == b"\r\n\r\n");
        let at = at.unwrap_or_else(|| panic!("no answer to {method} {path}: {}", String::from_utf8_lossy(&all)));
        let (head, body) = (String::from_utf8_lossy(&all[..at]), all[at + 4..].to_vec());
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        (Answer { status, headers: head.to_lowercase(), body: text }, body)
    }

    /// Sends a request, and leaves the answer to whoever reads it.
    pub fn ask(&self, method: &str, path: &str, said: &Said<'_>) -> TcpStream {
        let mut stream = TcpStream::connect(self.served.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: muster\r\nConnection: close\r\n");
        if let Some(key) = said.key {
            head.push_str(&format!("Authorization: Bearer {key}\r\n"));
        }
        for (name, value) in said.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", said.body.len()));
        stream.write_all(head.as_bytes()).unwrap();
        // An answer may come before all of the body was read; it is read all the same.
        let _ = stream.write_all(said.body);
        stream
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// Sends a CSV and waits for what it comes to.
    pub fn upload(&self, parameters: &str, csv: &str) -> Answer {
        let headers = [("Content-Type", "text/csv"), ("Prefer", "wait=60")];
        self.send("POST", &format!("/api/v1/uploads?{parameters}"), &headers, csv.as_bytes())
    }

    /// A document that is there, asked for with a key.
    pub fn document(&self, key: &str, path: &str) -> Value {
        let answer = self.said("GET", path, &Said { key: Some(key), ..Said::default() });
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// All items of a list, page by page, and how many pages there were.
    pub fn pages(&self, key: &str, path: &str, items: &str) -> (Vec<Value>, usize) {
        let (mut found, mut pages, mut cursor) = (Vec::new(), 0, None::<String>);
        loop {
            let at = cursor.map(|c| format!("&cursor={c}")).unwrap_or_default();
            let page = self.document(key, &format!("{path}{at}"));
            found.extend(page[items].as_array().unwrap().iter().cloned());
            pages += 1;
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return (found, pages);
            }
        }
    }
}

impl Muster {
    /// Makes a key, and gives its whole text.
    pub fn key(&self, more: &[&str]) -> String {
        let made = self.ok(&[&["keys", "create", "--org", "acme"], more].concat());
        made["api_key"].as_str().unwrap().to_owned()
    }
}

impl Answer {
    /// The kind of a problem.
    pub fn problem(&self) -> String {
        let document = self.json();
        assert_eq!(document["status"], self.status, "{document}");
        assert!(self.headers.contains("content-type: application/problem+json"), "{}", self.headers);
        document["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// People by number, as a file.
pub fn people(numbers: std::ops::RangeInclusive<u32>, department: &str) -> String {
    let rows: String = numbers.map(|n| format!("{n},First{n},Last{n},p{n}@example.com,{department}\n")).collect();
    format!("employee_id,first_name,last_name,email,department\n{rows}")
}

/// The identity of a member by match key.
pub fn id_of(api: &Api, key: &str) -> String {
    let found = api.json("POST", "/api/v1/members/lookup", &json!({ "unique_id": key }));
    assert_eq!(found.status, 200, "{}", found.body);
    found.json()["id"].as_str().unwrap().to_owned()
}
