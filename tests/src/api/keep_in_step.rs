//! A roster is kept in step from a shell: `docs/examples/keep-in-step.sh` against a real server, which is also killed, too busy
//! and away.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{Api, On, people};
use crate::{
    muster::Muster,
    served::{Served, until},
};

/// What the script came to.
struct Ended {
    code: Option<i32>,
    out: String,
    why: String,
}

impl Ended {
    fn has(&self, code: i32, out: &str) -> &Ended {
        assert!(self.code == Some(code) && self.out.contains(out), "{:?}\n{}\n{}", self.code, self.out, self.why);
        self
    }
}

/// Somebody with the script, a key and a server.
struct Person<'a> {
    muster: &'a Muster,
    key: &'a str,
    at: SocketAddr,
}

impl Person<'_> {
    fn begin(&self, args: &[&str]) -> Child {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/keep-in-step.sh");
        let mut command = Command::new("sh");
        command
            .arg(script)
            .args(args)
            .current_dir(self.muster.dir.path())
            .env("MUSTER_URL", format!("http://{}", self.at))
            // The guide's own examples give the key itself.
            .env("MUSTER_KEY_FILE", self.muster.file("key", &format!("{}\n", self.key)))
            .env_remove("MUSTER_KEY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn end(&self, child: Child) -> Ended {
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ended = Ended { code: output.status.code(), out: text(output.stdout), why: text(output.stderr) };
        let secret = self.key.rsplit('_').next().unwrap();
        assert!(!ended.out.contains(secret) && !ended.why.contains(secret), "it keeps the key to itself");
        ended
    }

    fn run(&self, args: &[&str]) -> Ended {
        self.end(self.begin(args))
    }
}

/// An installation whose first list is not held, and a key that sends lists.
fn installation() -> (Muster, String) {
    let muster = Muster::new(On::Sqlite);
    muster.ok(&["org", "set", "acme", "api_access=on"]);
    muster.ok(&["users", "create", "--name", "nightly", "--service", "--org", "acme", "--role", "administrator"]);
    let key = muster.key(&["--name", "list", "--user", "nightly", "--preset", "send-lists", "--rate", "uploads=1000"]);
    (muster, key)
}

#[test]
fn a_list_is_sent_again_and_again_and_the_roster_follows() {
    let (muster, key) = installation();
    let served = Served::start(&muster, &[]);
    let person = Person { muster: &muster, key: &key, at: served.address() };
    let list = |text: &str| muster.file("people.csv", text);
    list(&people(1..=20, "Sales"));
    person.run(&["--dry-run", "people.csv"]).has(0, "people.csv: dry run: 20 rows: 20 added");
    person.run(&["people.csv"]).has(0, "people.csv: applied: 20 rows: 20 added\n");
    person.run(&["people.csv"]).has(0, "people.csv: no changes: 20 rows: 20 unchanged\n");
    let first = muster.roster();

    // What was sent before is another list when it comes again behind another.
    list(&people(2..=21, "Sales"));
    person.run(&["people.csv"]).has(0, "1 added, 1 removed, 19 unchanged");
    list(&people(1..=20, "Sales"));
    person.run(&["people.csv"]).has(0, "1 removed, 1 reinstated, 19 unchanged");
    assert_eq!(muster.roster(), first);

    // A row that cannot be taken is named, also when nothing is taken from the others, and they are taken all the same.
    list(&people(1..=20, "Sales").replace("\n5,First5,Last5,p5@example.com,", "\n5,First5,Last5,somebody,"));
    person.run(&["people.csv"]).has(0, "no changes: 20 rows: 19 unchanged, 1 invalid\n  line 6: email: ");
    list(&people(1..=21, "Sales").replace("\n5,First5,Last5,p5@example.com,", "\n5,First5,Last5,nobody,"));
    let refused = person.run(&["people.csv"]);
    refused.has(0, "19 unchanged, 1 invalid\n  line 6: email: ");
    assert!(!refused.out.contains("nobody"), "what was read may be about a person: {}", refused.out);

    // Whoever asks for news sends news.
    muster.file("news.csv", "employee_id,department\n7,Law\n");
    person.run(&["--mode", "partial", "--feed", "main", "news.csv"]).has(0, "news.csv: applied: 1 row: 1 updated\n");
    assert!(muster.roster().contains("Law"));
    muster.verify();
}

#[test]
fn what_is_held_or_refused_is_said_and_changes_nothing() {
    let (muster, key) = installation();
    let served = Served::start(&muster, &[]);
    let person = Person { muster: &muster, key: &key, at: served.address() };
    muster.file("people.csv", &people(1..=20, "Sales"));
    person.run(&["people.csv"]).has(0, "20 added");
    let before = muster.roster();

    let with_a_bad_row = people(1..=9, "Sales").replace(",p5@example.com,", ",nobody,");
    muster.file("broken.csv", &with_a_bad_row);
    let held = person.run(&["broken.csv"]);
    held.has(3, "broken.csv: held: 9 rows: 11 removed, 8 unchanged, 1 invalid\n  line 6: email: ");
    held.has(3, "\n  removals: 11 of 20 people");
    let page = format!("http://{}/api-docs#deciding-on-what-waits", served.address());
    held.has(3, &page);
    assert!(served.get("/api-docs").body.contains("id=\"deciding-on-what-waits\""));
    let set = muster.ok(&["changes", "list", "--org", "acme", "--state", "held"]);
    let set = set["change_sets"][0]["change_set_id"].as_str().unwrap();
    assert!(held.out.contains(set), "{set}: {}", held.out);
    assert_eq!(person.run(&["broken.csv"]).has(3, "held").out, held.out, "the one that waits");

    muster.file("empty.csv", "");
    person.run(&["empty.csv"]).has(4, "");
    muster.file("list.json", "{\"mode\":");
    person.run(&["list.json"]).has(4, "");
    assert!(person.run(&["--feed", "none", "people.csv"]).has(4, "").why.contains("There is no feed"));
    assert_eq!(person.run(&["--mode", "all", "people.csv"]).code, Some(2));
    assert_eq!(person.run(&["nowhere.csv"]).code, Some(2));
    assert_eq!(person.run(&[]).has(2, "").why.lines().count(), 5);

    let other = Muster::new(On::Sqlite);
    other.ok(&["users", "create", "--name", "nightly", "--service", "--org", "acme", "--role", "administrator"]);
    let stranger = other.key(&["--name", "list", "--user", "nightly", "--preset", "send-lists"]);
    let wrong = Person { key: &stranger, ..person }.run(&["people.csv"]);
    wrong.has(1, "");
    let (at, kind) = (served.address(), "/api-docs/problems/unknown-key");
    assert!(
        wrong.why.contains("There is no such key") && wrong.why.contains(&format!("http://{at}{kind}")),
        "{}",
        wrong.why
    );
    assert_eq!(served.get(kind).status, 200);
    assert_eq!(muster.roster(), before);
    muster.verify();
}

#[test]
fn a_server_that_comes_late_or_is_killed_gets_the_list_once() {
    let (muster, key) = installation();
    let free = Served::start(&muster, &[]);
    let at = free.address();
    free.kill();
    let listen = at.to_string();
    let person = Person { muster: &muster, key: &key, at };
    muster.file("people.csv", &people(1..=20, "Sales"));
    let early = person.begin(&["people.csv"]);
    // Nobody works on uploads yet, so the request is under way for as long as we like.
    let accepting = Served::at(&muster, &listen, &["--roles", "api"]);
    let uploads = || muster.ok(&["uploads", "list", "--org", "acme"])["uploads"].as_array().unwrap().clone();
    until("the list to be accepted", || !uploads().is_empty());
    accepting.kill();
    let whole = Served::at(&muster, &listen, &[]);
    let ended = person.end(early);
    ended.has(0, "people.csv: applied: 20 rows: 20 added\n");
    assert!(ended.why.contains("trying again in"), "{}", ended.why);
    assert_eq!(uploads().len(), 1, "one list, however often it was sent");
    drop(whole);
    muster.verify();
}

#[test]
fn whoever_is_told_to_come_later_does() {
    let api = Api::start(On::Sqlite);
    let rate = ["--rate", "uploads=20"];
    let key = api.muster.key(&[&["--name", "slow", "--user", "hris", "--preset", "send-lists"], &rate[..]].concat());
    let person = Person { muster: &api.muster, key: &key, at: api.served.address() };
    api.muster.file("people.csv", &people(1..=3, "Sales"));
    let headers = [("Content-Type", "text/csv")];
    let try_it = || {
        let said = super::Said { key: Some(&key), headers: &headers, body: b"employee_id\n1\n" };
        api.said("POST", "/api/v1/uploads?mode=partial&dry_run=true", &said).status
    };
    until("one upload too many", || try_it() == 429);
    let ended = person.run(&["people.csv"]);
    ended.has(0, "people.csv: applied: 3 rows: 3 added");
    assert!(ended.why.contains("the server answered 429"), "{}", ended.why);
}
