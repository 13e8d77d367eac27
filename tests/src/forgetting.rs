//! Forgetting, with the real binary on both databases: nothing is left in what they hold, and a kill half way is finished
//! by the same command.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

use crate::muster::{Muster, On, difference, feed};

const SYNC: [&str; 6] = ["--org", "acme", "--mode", "full", "--channel", "api"];
const FORGET: [&str; 5] = ["forget", "ZQkey9", "--org", "acme", "--yes"];
const WORDS: [&str; 4] = ["zqkey", "zqmail", "zqfirst", "zqlast"];

fn planted(department: &str) -> String {
    format!("{}ZQkey9,ZQfirst,ZQlast,zqmail9@example.com,1977-07-07,{department}\n", feed(0..40, department))
}

/// An organisation in which the person was added, changed, edited, and waits to be changed again.
fn lived(on: On) -> Muster {
    let muster = Muster::new(on);
    for department in ["Sales", "Law"] {
        let file = muster.file("zqfirst-zqlast.csv", &planted(department));
        muster.ok(&[&["sync", &file], &SYNC[..]].concat());
    }
    muster.ok(&["members", "set", "ZQkey9", "location=Bonn", "--org", "acme"]);
    let file = muster.file("zqfirst-zqlast.csv", &planted("Tools"));
    assert_eq!(muster.run(&[&["sync", &file, "--hold"], &SYNC[..]].concat()).code, Some(3));
    fs::remove_file(file).unwrap();
    muster.verify();
    muster
}

/// The salts of lines that name the person, hexadecimal. Lines are packed at rest, and their salts stand beside them.
fn salts(log: &[u8]) -> BTreeSet<String> {
    let mut salts = BTreeSet::new();
    for event in log.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let event: Value = serde_json::from_slice(event).unwrap();
        let all = event["salts"].as_str().map(unbase64).unwrap_or_default();
        for (i, line) in event["lines"].as_array().into_iter().flatten().enumerate() {
            if WORDS.iter().any(|w| line.to_string().to_lowercase().contains(w)) {
                salts.insert(hex(&all[i * 16..i * 16 + 16]));
            }
        }
    }
    salts
}

fn unbase64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut many, mut out) = (0u32, 0, Vec::new());
    for letter in text.bytes().filter_map(|b| LETTERS.iter().position(|l| *l == b)) {
        (bits, many) = (bits << 6 | letter as u32, many + 6);
        if many >= 8 {
            many -= 8;
            out.push((bits >> many) as u8);
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// All that is held, hexadecimal: every file below the data directory, and of PostgreSQL a dump.
fn held(muster: &Muster, on: On) -> String {
    let mut all = String::new();
    add_files(muster.dir.path(), &mut all);
    if on == On::Postgres {
        let dump = Command::new("pg_dump").args(["--inserts", "-d", &muster.database]).output().unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        all.push_str(&hex(&dump.stdout).to_lowercase());
        // Bytes stand in a dump as digits already.
        all.push_str(&String::from_utf8_lossy(&dump.stdout).to_lowercase());
    }
    all
}

fn add_files(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => add_files(&path, all),
            false => all.push_str(&hex(&fs::read(&path).unwrap())),
        }
    }
}

/// What of the person is found there: words in either case as hexadecimal digits, and salts.
fn found(held: &str, salts: &BTreeSet<String>) -> Vec<String> {
    let forms = |w: &&str| [hex(w.as_bytes()), hex(w.replace("zq", "ZQ").as_bytes())];
    let words = WORDS.iter().flat_map(forms);
    words.chain(salts.iter().cloned()).filter(|needle| held.contains(needle.as_str())).collect()
}

fn nothing_is_left(on: On) {
    let muster = lived(on);
    let salts = salts(&muster.log());
    assert!(salts.len() >= 5, "{salts:?}");
    assert!(found(&held(&muster, on), &salts).len() >= salts.len(), "it is found as long as it is there");
    let report = muster.ok(&FORGET);
    assert_eq!((&report["state"], &report["swept"]), (&"forgotten".into(), &true.into()), "{report}");
    assert_eq!(found(&held(&muster, on), &salts), Vec::<String>::new());
    muster.verify();
    let file = muster.file("next.csv", &planted("Tools"));
    let report = muster.ok(&[&["sync", &file], &SYNC[..]].concat());
    assert_eq!(report["counts"]["forgotten"], 1, "{report}");
    assert_eq!(muster.roster().lines().count(), 40);
    muster.verify();
}

#[test]
fn nothing_is_left_of_a_forgotten_person_on_sqlite() {
    nothing_is_left(On::Sqlite);
}

#[test]
fn nothing_is_left_of_a_forgotten_person_on_postgres() {
    nothing_is_left(On::Postgres);
}

fn a_kill_half_way_is_finished(on: On) {
    let whole = lived(on);
    whole.ok(&FORGET);
    let expected = whole.roster();
    for point in ["forget_before_commit", "forget_after_commit", "forget_originals"] {
        let muster = lived(on);
        let salts = salts(&muster.log());
        assert_eq!(muster.dying_at(point, &FORGET).code, None, "{point}");
        if point != "forget_after_commit" {
            muster.verify();
        }
        muster.ok(&FORGET);
        assert_eq!(found(&held(&muster, on), &salts), Vec::<String>::new(), "{point}");
        assert_eq!(difference(&muster.roster(), &expected), None, "{point}");
        muster.verify();
    }
}

#[test]
fn forgetting_that_was_killed_half_way_is_finished_by_the_same_command_on_sqlite() {
    a_kill_half_way_is_finished(On::Sqlite);
}

#[test]
fn forgetting_that_was_killed_half_way_is_finished_by_the_same_command_on_postgres() {
    a_kill_half_way_is_finished(On::Postgres);
}

fn retention_half_way_is_finished(on: On) {
    for (point, destroyed_again) in [("retention_before_commit", 2), ("retention_after_commit", 0)] {
        let muster = lived(on);
        // Two were applied; the third waits for somebody, so it stays however old it is.
        let retention = || {
            let mut command = muster.command(&["retention", "run", "--org", "acme"]);
            command.env("MUSTER_NOW", "2040-01-01T00:00:00Z");
            command
        };
        let before = muster.roster();
        let died = retention().env("MUSTER_CRASH_AT", point).output().unwrap();
        assert_eq!(died.status.code(), None, "{point}");
        assert_eq!(payloads(&muster), 3, "{point}: no file goes before the log says so, nor is one lost");
        let run: Value = serde_json::from_slice(&retention().output().unwrap().stdout).unwrap();
        let of = &run["organisations"][0];
        assert_eq!((&of["destroyed"], &of["waiting"]), (&destroyed_again.into(), &1.into()), "{point}: {run}");
        assert_eq!(of["leftovers"], 2 - destroyed_again, "{point}: {run}");
        assert_eq!(payloads(&muster), 1, "{point}");
        assert_eq!(difference(&muster.roster(), &before), None, "{point}");
        muster.verify();
    }
}

/// How many originals lie there.
fn payloads(muster: &Muster) -> usize {
    let organisations = fs::read_dir(muster.dir.path().join("payloads")).unwrap();
    organisations.map(|of| fs::read_dir(of.unwrap().path()).unwrap().count()).sum()
}

#[test]
fn retention_that_was_killed_half_way_is_finished_by_the_same_command_on_sqlite() {
    retention_half_way_is_finished(On::Sqlite);
}

#[test]
fn retention_that_was_killed_half_way_is_finished_by_the_same_command_on_postgres() {
    retention_half_way_is_finished(On::Postgres);
}
