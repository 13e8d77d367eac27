//! An exported log moves from one database to another, of either engine, and the organisation goes on there as it would have.

use std::{fs, path::Path};

use crate::muster::{Muster, On, Ran, feed};

const BOTH: [On; 2] = [On::Sqlite, On::Postgres];

/// A recorded log, with the slug that is in it.
fn recorded(name: &str) -> (String, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fixtures/logs/{name}.ndjson"));
    let log = fs::read(&path).unwrap();
    (path.display().to_string(), log)
}

/// Two payloads, one of them of a second feed, and one that waits.
fn lived(on: On) -> Muster {
    let muster = Muster::new(on);
    muster.ok(&["feeds", "create", "payroll", "--org", "acme", "--mode", "full"]);
    muster.ok(&["sync", &muster.file("1.csv", &feed(0..120, "Sales")), "--org", "acme", "--mode", "full"]);
    muster.ok(&["sync", &muster.file("2.csv", &feed(0..20, "Payroll")), "--org", "acme", "--feed", "payroll"]);
    muster.ok(&["members", "set", "E0007", "department=Pinned", "--org", "acme"]);
    let held =
        muster.run(&["sync", &muster.file("3.csv", &feed(0..122, "Law")), "--org", "acme", "--mode", "full", "--hold"]);
    assert_eq!(held.code, Some(3));
    muster
}

/// The log of acme and its secret, as files of another installation.
fn carried(from: &Muster, to: &Muster) -> (String, String) {
    let log = to.file("acme.ndjson", std::str::from_utf8(&from.log()).unwrap());
    let secret = to.dir.path().join("acme.secret").display().to_string();
    from.ok(&["events", "export", "--org", "acme", "--secret-file", &secret]);
    (log, secret)
}

fn message(ran: &Ran) -> &str {
    ran.json["error"]["message"].as_str().unwrap_or_else(|| panic!("{ran:?}"))
}

#[test]
fn an_export_is_the_same_bytes_wherever_it_was_imported() {
    for name in ["v1", "v1-forgotten", "story", "forgotten"] {
        let (mut path, log) = recorded(name);
        for on in [On::Sqlite, On::Postgres, On::Sqlite] {
            let muster = Muster::empty(on);
            assert_eq!(muster.ok(&["events", "import", &path, "--org", "fernhill"])["state"], "imported");
            assert!(muster.log_of("fernhill") == log, "{name} on {on:?}");
            assert_eq!(muster.ok(&["verify"])["clean"], true);
            // The next database takes what this one gives.
            path =
                std::env::temp_dir().join(format!("muster-{}-{name}.ndjson", std::process::id())).display().to_string();
            fs::write(&path, muster.log_of("fernhill")).unwrap();
        }
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn the_next_feed_says_the_same_as_where_the_log_came_from() {
    for (from, to) in [(On::Sqlite, On::Postgres), (On::Postgres, On::Sqlite)] {
        let (source, target) = (lived(from), Muster::empty(to));
        let (log, secret) = carried(&source, &target);
        target.ok(&["events", "import", &log, "--secret-file", &secret]);
        target.verify();
        let next = feed(3..125, "Sales").replace("E0050,First50", "E0050,Fifty");
        let mut said = Vec::new();
        for muster in [&source, &target] {
            let file = muster.file("next.csv", &next);
            let mut report = muster.run(&["sync", &file, "--org", "acme", "--mode", "full"]).json;
            let id = report["change_set_id"].as_str().expect("a change set").to_owned();
            let mut shown = muster.ok(&["changes", "show", &id, "--org", "acme", "--limit", "0"]);
            for document in [&mut report, &mut shown] {
                let members = document.as_object_mut().unwrap();
                // Identities are random, and the digest is over them too where somebody is new.
                for random in ["change_set_id", "upload_id", "digest", "computed_at"] {
                    members.remove(random);
                }
            }
            for change in shown["changes"].as_array_mut().unwrap() {
                change.as_object_mut().unwrap().retain(|name, _| name != "id" && name != "member");
            }
            said.push((report, shown));
            muster.verify();
        }
        assert_eq!(said[0], said[1]);
    }
}

#[test]
fn what_waits_is_approved_by_the_digest_that_was_seen_before() {
    let (source, target) = (lived(On::Sqlite), Muster::empty(On::Sqlite));
    let (log, _) = carried(&source, &target);
    target.ok(&["events", "import", &log]);
    let digest = source.ok(&["changes", "show", "--org", "acme"])["digest"].as_str().unwrap().to_owned();
    target.ok(&["changes", "approve", "--org", "acme", "--digest", &digest]);
    target.verify();
}

#[test]
fn a_broken_log_is_refused_with_its_line_and_leaves_nothing() {
    let log = String::from_utf8(lived(On::Sqlite).log()).unwrap();
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let changed = log.replacen("First50", "Fifty50", 1);
    let cut = &log[..log.len() - 30];
    let missing = [&lines[..6], &lines[7..]].concat().concat();
    for on in BOTH {
        let muster = Muster::empty(on);
        for (broken, at) in
            [(changed.as_str(), "line 6:"), (cut, &format!("ine {}", lines.len())), (&missing, "line 7:")]
        {
            let ran = muster.run(&["events", "import", &muster.file("broken.ndjson", broken), "--org", "acme"]);
            assert_eq!(ran.code, Some(1), "{ran:?}");
            assert!(message(&ran).contains(at) && message(&ran).ends_with("Nothing was imported."), "{at}: {ran:?}");
            assert_eq!(muster.ok(&["org", "list"])["organisations"], serde_json::json!([]));
        }
        let csv = muster.file("people.csv", &feed(0..3, "Sales"));
        assert_eq!(muster.run(&["events", "import", &csv]).code, Some(2));
        let other = muster.run(&["events", "import", &muster.file("log.ndjson", &log), "--org", "other"]);
        assert_eq!(other.code, Some(2));
        assert_eq!(muster.ok(&["org", "list"])["organisations"], serde_json::json!([]));
    }
}

#[test]
fn an_import_that_was_killed_is_run_again_and_one_that_was_done_is_not() {
    let source = lived(On::Sqlite);
    for on in BOTH {
        let target = Muster::empty(on);
        let (log, _) = carried(&source, &target);
        for point in ["import_events", "import"] {
            assert_eq!(target.dying_at(point, &["events", "import", &log]).code, None);
            assert_eq!(target.ok(&["org", "list"])["organisations"], serde_json::json!([]), "{point}");
        }
        assert_eq!(target.ok(&["events", "import", &log])["state"], "imported");
        assert_eq!(target.ok(&["events", "import", &log])["state"], "no_changes");
        target.verify();
        target.ok(&["members", "set", "E0009", "department=Elsewhere", "--org", "acme"]);
        let again = target.run(&["events", "import", &log]);
        assert_eq!(again.code, Some(2), "{again:?}");
        assert!(message(&again).contains("its log is another one"), "{again:?}");
    }
}

#[test]
fn a_secret_is_for_its_own_organisation_and_for_nobody_else_to_read() {
    let (source, target) = (lived(On::Sqlite), Muster::new(On::Sqlite));
    let (log, secret) = carried(&source, &target);
    let other = target.dir.path().join("other.secret").display().to_string();
    target.ok(&["events", "export", "--org", "acme", "--secret-file", &other]);
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&secret).unwrap().permissions()) & 0o777, 0o600);
    let empty = Muster::empty(On::Sqlite);
    let wrong = empty.run(&["events", "import", &log, "--secret-file", &other]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    let taken = target.run(&["events", "import", &log]);
    assert!(message(&taken).contains("another organisation acme"), "{taken:?}");
    assert_eq!(source.run(&["events", "export", "--org", "acme", "--secret-file", &secret]).code, Some(2));
}

#[test]
fn people_who_were_forgotten_are_kept_out_with_the_secret_and_it_is_said_without() {
    let source = Muster::new(On::Sqlite);
    let file = source.file("people.csv", &feed(0..20, "Sales"));
    let sync = |file| ["sync", file, "--org", "acme", "--mode", "full", "--channel", "api"];
    source.ok(&sync(&file));
    source.ok(&["forget", "E0007", "--org", "acme", "--yes"]);
    let with = Muster::empty(On::Sqlite);
    let (log, secret) = carried(&source, &with);
    assert_eq!(with.ok(&["events", "import", &log, "--secret-file", &secret])["not_kept_out"], 0);
    assert_eq!(with.ok(&sync(&file))["counts"]["forgotten"], 1);
    with.verify();
    let without = Muster::empty(On::Sqlite);
    assert_eq!(without.ok(&["events", "import", &log])["not_kept_out"], 3);
    assert_eq!(without.ok(&sync(&file))["counts"]["added"], 1);
    without.verify();
}
