//! The roster as a workbook over HTTP: the same that the command writes, for whoever may have it, and nothing of it left behind.

use std::{
    io::{Cursor, Read},
    net::TcpStream,
};

use calamine::{Data, Reader, Xlsx};
use serde_json::json;

use super::{Api, On, Said, people};
use crate::served::{Answer, until};

const EXPORT: &str = "/api/v1/members/export";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// The rows of a workbook's only sheet.
fn rows(bytes: Vec<u8>) -> Vec<Vec<Data>> {
    let mut book = Xlsx::new(Cursor::new(bytes)).expect("a workbook");
    assert_eq!(book.sheet_names(), ["Members"]);
    assert!(book.worksheet_formula("Members").unwrap().cells().all(|(_, _, formula)| formula.is_empty()));
    book.worksheet_range("Members").unwrap().rows().map(<[Data]>::to_vec).collect()
}

fn texts(rows: &[Vec<Data>]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect()
}

impl Api {
    /// A workbook, as a key gets it.
    fn workbook(&self, key: &str, parameters: &str, headers: &[(&str, &str)]) -> (Answer, Vec<Vec<Data>>) {
        let said = Said { key: Some(key), headers, body: b"" };
        let (answer, bytes) = self.bytes("GET", &format!("{EXPORT}{parameters}"), &said);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("content-length"), Some(&*bytes.len().to_string()));
        (answer, rows(bytes))
    }

    /// What the command writes.
    fn command_writes(&self, more: &[&str]) -> Vec<Vec<Data>> {
        let file = self.muster.file("people.xlsx", "");
        self.muster.ok(&[&["members", "export", "--org", "acme", "--output", &file], more].concat());
        rows(std::fs::read(file).unwrap())
    }

    /// Files below the payloads that the server holds and that have no name.
    fn nameless(&self) -> usize {
        let held = std::fs::read_dir(format!("/proc/{}/fd", self.served.id())).unwrap();
        let held = held.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        held.filter(|file| file.to_string_lossy().contains("/payloads/")).count()
    }
}

fn the_roster_is_had_as_the_workbook_that_the_command_writes(on: On) {
    let api = Api::start(on);
    api.upload("mode=full", &people(1..=5, "Sales"));
    let changes = json!([
        { "unique_id": "1", "department": "=1+1", "start_date": "2023-02-28" }, { "unique_id": "2", "location": "Boston, MA" },
        { "unique_id": "007", "first_name": "Zoë" },
    ]);
    assert_eq!(api.json("PUT", "/api/v1/members", &changes).status, 200);

    let (answer, now) = api.workbook(&api.key, "?format=xlsx", &[]);
    assert_eq!(answer.header("content-type"), Some(XLSX));
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"members.xlsx\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(now.len(), 7, "a head, and the six who are listed");
    let column = |name: &str| now[0].iter().position(|head| *head == name).unwrap();
    assert_eq!(now[1][column("department")], Data::String("=1+1".into()));
    let Data::DateTime(day) = &now[1][column("start_date")] else { panic!("{:?} is no date", now[1]) };
    assert_eq!(day.as_f64(), 44985.0, "2023-02-28");
    assert_eq!(now[6][column("employee_id")], Data::String("007".into()), "an id keeps its zeros");
    assert_eq!(
        (&now[6][column("first_name")], &now[6][column("start_date")]),
        (&Data::String("Zoë".into()), &Data::Empty)
    );
    assert_eq!(now, api.command_writes(&[]));

    // By what is accepted too, where no format is named.
    let accept = [("Accept", XLSX)];
    assert_eq!(api.workbook(&api.key, "", &accept).1, now);
    let csv = api.send("GET", &format!("{EXPORT}?format=csv"), &accept, b"");
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let lines = api.get(&format!("{EXPORT}?format=ndjson"));
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    for (parameters, more) in [
        ("&roster_version=1", ["--roster-version", "1"]),
        ("&at=2031-01-01T00:00:00Z", ["--at", "2031-01-01T00:00:00Z"]),
    ] {
        let (_, then) = api.workbook(&api.key, &format!("?format=xlsx{parameters}"), &[]);
        assert_eq!(then, api.command_writes(&more), "{parameters}");
    }
    assert_eq!(api.workbook(&api.key, "?format=xlsx&roster_version=1", &[]).1.len(), 6);
    assert_eq!(api.get(&format!("{EXPORT}?format=xlsx&roster_version=99")).problem(), "not-found");
    assert_eq!(api.get(&format!("{EXPORT}?format=pdf")).problem(), "unreadable");

    // What HEAD says is what GET says, and nobody is read for it.
    for (parameters, kind) in [("?format=xlsx", XLSX), ("?format=csv", "text/csv; charset=utf-8")] {
        let (head, body) =
            api.bytes("HEAD", &format!("{EXPORT}{parameters}"), &Said { key: Some(&api.key), ..Said::default() });
        assert_eq!((head.status, head.header("content-type"), body.len()), (200, Some(kind), 0));
        assert!(head.header("content-disposition").is_some());
        assert_eq!(head.header("content-length"), None, "it is not known how long the answer to GET is");
    }
    let head = |path: &str, key: &str| api.said("HEAD", path, &Said { key: Some(key), ..Said::default() }).status;
    assert_eq!(head(&format!("{EXPORT}?format=xlsx&roster_version=99"), &api.key), 404);
    let reads = api.muster.key(&["--name", "r", "--user", "hris", "--scope", "member:read"]);
    assert_eq!(head(&format!("{EXPORT}?format=xlsx"), &reads), 403);
    assert_eq!(
        api.said("GET", &format!("{EXPORT}?format=xlsx"), &Said { key: Some(&reads), ..Said::default() }).status,
        403
    );
    assert_eq!(api.nameless(), 0);
}

#[test]
fn the_roster_is_had_as_the_workbook_that_the_command_writes_on_sqlite() {
    the_roster_is_had_as_the_workbook_that_the_command_writes(On::Sqlite);
}

#[test]
fn the_roster_is_had_as_the_workbook_that_the_command_writes_on_postgres() {
    the_roster_is_had_as_the_workbook_that_the_command_writes(On::Postgres);
}

#[test]
fn a_narrow_key_gets_a_workbook_of_its_own_people_and_fields() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=3, "Sales"));
    let moved = json!([{ "unique_id": "1", "department": "Board" }, { "unique_id": "5", "department": "Board" }]);
    api.json("PUT", "/api/v1/members", &moved);
    api.json("PUT", "/api/v1/members", &json!({ "unique_id": "5", "department": "sales" }));
    let narrow = api.muster.key(&[
        "--name", "narrow", "--user", "hris", "--scope", "*", "--department", "Sales", "--read-fields",
        "members=employee_id,department",
    ]);
    let sheet = |key: &str, parameters: &str| texts(&api.workbook(key, &format!("?format=xlsx{parameters}"), &[]).1);
    let expected = |rows: &[[&str; 2]]| rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect::<Vec<_>>();
    let head = ["employee_id", "department"];
    assert_eq!(sheet(&narrow, ""), expected(&[head, ["2", "Sales"], ["3", "Sales"], ["5", "sales"]]));
    // Who was among them and is not, and who is and was not, are in no workbook of then.
    for then in ["&roster_version=1", "&roster_version=2"] {
        assert_eq!(sheet(&narrow, then), expected(&[head, ["2", "Sales"], ["3", "Sales"]]), "{then}");
    }
    // Without the match key there is no column for it either.
    let blind = api.muster.key(&[
        "--name", "blind", "--user", "hris", "--scope", "member:download", "--read-fields", "members=department",
    ]);
    assert_eq!(sheet(&blind, "")[..2], [["department"], ["Board"]]);
}

/// People with something in them that does not get smaller by being packed.
fn bulky(many: u32) -> String {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        format!("{:016x}", state ^ (state >> 31))
    };
    let rows: String = (1..=many).map(|n| format!("{n},{}\n", (0..60).map(|_| noise()).collect::<String>())).collect();
    format!("employee_id,location\n{rows}")
}

#[test]
fn only_a_few_workbooks_are_held_at_once_and_none_for_whoever_hangs_up() {
    let api = Api::start(On::Sqlite);
    let org = |slug: &str| -> String {
        api.muster.ok(&["org", "create", slug, "--name", slug]);
        api.muster.ok(&["org", "set", slug, "api_access=on", "guard.first_import=off"]);
        api.muster.ok(&["users", "set-role", "hris", "administrator", "--org", slug]);
        let made = api.muster.ok(&["keys", "create", "--org", slug, "--name", "all", "--user", "hris", "--scope", "*"]);
        made["api_key"].as_str().unwrap().to_owned()
    };
    let (other, third) = (org("other"), org("third"));
    let (rows, headers) = (bulky(20_000), [("Content-Type", "text/csv"), ("Prefer", "wait=60")]);
    for key in [&api.key, &other] {
        let said = Said { key: Some(key), headers: &headers, body: rows.as_bytes() };
        assert_eq!(api.said("POST", "/api/v1/uploads?mode=full", &said).json()["state"], "applied");
    }
    let path = format!("{EXPORT}?format=xlsx");
    let begun = |key: &String| -> TcpStream {
        let mut stream = api.ask("GET", &path, &Said { key: Some(key), ..Said::default() });
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stream
    };
    // These read no further.
    let slow: Vec<TcpStream> = [&api.key, &api.key, &other, &other].map(begun).into();
    assert_eq!(api.nameless(), 4, "what rows were gathered in is gone when the workbook is whole");
    let busy = api.get(&path);
    assert_eq!((busy.problem().as_str(), busy.status), ("busy", 503));
    assert!(busy.header("retry-after").is_some());
    let why = busy.json()["detail"].as_str().unwrap().to_owned();
    assert!(why.contains("2 workbooks of the organisation") && !why.contains("roster"), "{why}");
    assert_eq!(api.workbook(&third, "?format=xlsx", &[]).1.len(), 1, "others do not wait for those who read slowly");
    assert_eq!(api.said("HEAD", &path, &Said { key: Some(&api.key), ..Said::default() }).status, 200, "it writes none");
    drop(slow);
    until("the end of what nobody reads", || api.nameless() == 0);
    assert_eq!(api.workbook(&api.key, "?format=xlsx", &[]).1.len(), 20_001);
    until("the end of what was read", || api.nameless() == 0);
}
