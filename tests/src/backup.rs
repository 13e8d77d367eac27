//! A backup is made while the database is in use, and restored whole or not at all; cursors of before are refused.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::muster::{Muster, On, Ran, difference, feed};

fn lived() -> Muster {
    let muster = Muster::new(On::Sqlite);
    muster.ok(&["sync", &muster.file("1.csv", &feed(0..200, "Sales")), "--org", "acme", "--mode", "full"]);
    muster
}

fn backed_up(muster: &Muster, name: &str) -> String {
    let path = muster.dir.path().join(name).display().to_string();
    muster.ok(&["backup", &path]);
    path
}

fn message(ran: &Ran) -> &str {
    ran.json["error"]["message"].as_str().unwrap_or_else(|| panic!("{ran:?}"))
}

/// Names below a directory, but for the files of an open database.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| !n.ends_with("-wal") && !n.ends_with("-shm"));
    names.sort_unstable();
    names
}

#[test]
fn a_backup_is_made_while_a_payload_is_worked_on() {
    let muster = lived();
    let next = muster.file("2.csv", &feed(0..30_000, "Law"));
    let mut sync = muster.command(&["sync", &next, "--org", "acme", "--mode", "full"]);
    let mut running = sync.stdout(Stdio::null()).spawn().unwrap();
    let mut backups = Vec::new();
    while running.try_wait().unwrap().is_none() {
        backups.push(backed_up(&muster, &format!("{}.tar", backups.len())));
    }
    assert!(running.wait().unwrap().success());
    assert!(backups.len() > 1, "there was time for more than one");
    for backup in [&backups[0], &backups[backups.len() / 2], &backups[backups.len() - 1]] {
        let other = Muster::empty(On::Sqlite);
        other.ok(&["restore", backup]);
        other.verify();
        // The payload that was being worked on is in it too, and is finished first.
        other.ok(&["sync", &next, "--org", "acme", "--mode", "full"]);
        other.verify();
        assert_eq!(difference(&other.roster(), &muster.roster()), None, "{backup}");
    }
}

#[test]
fn a_backup_is_for_its_owner_alone_and_leaves_nothing_beside_it() {
    let muster = lived();
    let backup = backed_up(&muster, "backup.tar");
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&backup).unwrap().permissions()) & 0o777, 0o600);
    assert_eq!(muster.run(&["backup", &backup]).code, Some(2), "it is there already");
    let before = fs::read(&backup).unwrap();
    assert_eq!(muster.dying_at("backup", &["backup", &backup, "--replace"]).code, None);
    assert!(fs::read(&backup).unwrap() == before, "the old one is whole");
    muster.ok(&["backup", &backup, "--replace"]);
    assert_eq!(names(muster.dir.path()), ["1.csv", "backup.tar", "muster.db", "payloads"]);
    let listed = Command::new("tar").args(["tf", &backup]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.starts_with("muster.db.zst\npayloads/") && listed.ends_with("manifest.blake3\n"), "{listed}");
}

#[test]
fn a_backup_that_was_cut_or_altered_is_refused_and_leaves_nothing() {
    let muster = lived();
    let backup = fs::read(backed_up(&muster, "backup.tar")).unwrap();
    let other = Muster::empty(On::Sqlite);
    fs::remove_dir_all(other.dir.path()).unwrap();
    fs::create_dir(other.dir.path()).unwrap();
    let path = other.dir.path().join("bad.tar");
    let altered = |at: usize| {
        let mut bytes = backup.clone();
        bytes[at] ^= 1;
        bytes
    };
    let ends = [0, 700, backup.len() / 2, backup.len() - 1_024];
    let mut bad: Vec<Vec<u8>> = ends.iter().map(|end| backup[..*end].to_vec()).collect();
    bad.extend((1..12).map(|i| altered(i * backup.len() / 13)));
    bad.push(altered(20));
    bad.push(fs::read(muster.dir.path().join("1.csv")).unwrap());
    for bytes in bad {
        fs::write(&path, &bytes).unwrap();
        let ran = other.run(&["restore", &path.display().to_string()]);
        assert_eq!(ran.code, Some(4), "{ran:?}");
        assert!(message(&ran).ends_with("Nothing was restored."), "{ran:?}");
        assert_eq!(names(other.dir.path()), ["bad.tar"]);
    }
    assert_eq!(other.run(&["restore", "missing.tar"]).code, Some(2));
}

#[test]
fn what_is_there_is_replaced_only_when_asked_and_kept() {
    let muster = lived();
    let backup = backed_up(&muster, "backup.tar");
    muster.ok(&["members", "set", "E0001", "department=Law", "--org", "acme"]);
    let now = muster.roster();
    let refused = muster.run(&["restore", &backup]);
    assert_eq!(refused.code, Some(2));
    assert!(message(&refused).contains("--replace"), "{refused:?}");
    for point in ["restore_payloads", "restore"] {
        assert_eq!(muster.dying_at(point, &["restore", &backup, "--replace"]).code, None);
        muster.verify();
        assert_eq!(difference(&muster.roster(), &now), None, "{point}: the old one is whole");
    }
    let done = muster.ok(&["restore", &backup, "--replace"]);
    muster.verify();
    assert!(difference(&muster.roster(), &now).is_some());
    let kept = done["kept"].as_str().unwrap();
    let old = Command::new(crate::muster::binary())
        .args(["--database", &format!("sqlite:{kept}"), "--json", "members", "show", "E0001", "--org", "acme"])
        .output()
        .unwrap();
    assert!(String::from_utf8(old.stdout).unwrap().contains("Law"));
}

#[test]
fn a_restored_installation_has_the_keys_of_the_backup_and_keeps_the_others_beside() {
    let muster = lived();
    let service = ["users", "create", "--service", "--name", "nightly", "--org", "acme", "--role", "administrator"];
    muster.ok(&service);
    let make = |name: &str| -> String {
        let key = ["keys", "create", "--org", "acme", "--name", name, "--user", "nightly", "--preset", "send-lists"];
        muster.ok(&key)["key"]["id"].as_str().unwrap().to_owned()
    };
    let works = |muster: &Muster| -> Vec<String> {
        let keys = muster.ok(&["keys", "list", "--org", "acme"]);
        let mut names: Vec<String> =
            keys["keys"].as_array().unwrap().iter().map(|k| k["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let bare = lived();
    let without = backed_up(&bare, "without.tar");
    let revoked = make("revoked");
    make("stays");
    let backup = backed_up(&muster, "backup.tar");
    muster.ok(&["keys", "revoke", &revoked, "--org", "acme"]);
    make("later");
    assert_eq!(works(&muster), ["later", "stays"]);
    // Who dies behind the database leaves the keys that were there: what was revoked stays so until it is run again.
    assert_eq!(muster.dying_at("restore_access", &["restore", &backup, "--replace"]).code, None);
    assert_eq!(works(&muster), ["later", "stays"]);
    muster.ok(&["restore", &backup, "--replace"]);
    assert_eq!(works(&muster), ["revoked", "stays"]);
    muster.verify();
    let there = names(muster.dir.path());
    assert!(there.iter().any(|name| name.starts_with("muster.access.db.replaced-")), "{there:?}");
    let elsewhere = Muster::empty(On::Sqlite);
    elsewhere.ok(&["restore", &backup]);
    assert_eq!(works(&elsewhere), ["revoked", "stays"]);
    // A backup without users and keys leaves none.
    muster.ok(&["restore", &without, "--replace"]);
    assert_eq!(muster.ok(&["users", "list"])["users"].as_array().unwrap().len(), 0);
}

#[test]
fn a_database_in_use_is_not_replaced() {
    let muster = lived();
    let backup = backed_up(&muster, "backup.tar");
    let next = muster.file("2.csv", &feed(0..30_000, "Law"));
    let mut sync = muster.command(&["sync", &next, "--org", "acme", "--mode", "full"]);
    let mut running = sync.stdout(Stdio::null()).spawn().unwrap();
    while muster.ok(&["org", "show", "acme"]).is_null() {}
    let ran = muster.run(&["restore", &backup, "--replace"]);
    let in_use = running.try_wait().unwrap().is_none();
    assert!(running.wait().unwrap().success());
    assert!(!in_use || ran.code == Some(2) && message(&ran).contains("in use"), "{ran:?}");
    muster.verify();
}

#[test]
fn a_cursor_reads_on_and_is_refused_after_a_restore() {
    let muster = lived();
    let all = muster.ok(&["events", "export", "--org", "acme", "--after", "start"]);
    let cursor = all["cursor"].as_str().unwrap();
    let backup = backed_up(&muster, "backup.tar");
    muster.ok(&["members", "set", "E0001", "department=Law", "--org", "acme"]);
    let more = muster.ok(&["events", "export", "--org", "acme", "--after", cursor]);
    let events = more["events"].as_array().unwrap();
    assert_eq!(events[0]["meta"]["seq"].as_u64().unwrap() as usize, all["events"].as_array().unwrap().len() + 1);
    assert_eq!(
        muster.ok(&["events", "export", "--org", "acme", "--after", more["cursor"].as_str().unwrap()])["events"],
        serde_json::json!([])
    );
    muster.ok(&["org", "create", "other", "--name", "Other"]);
    for (args, word) in
        [(["--org", "other", "--after", cursor], "epoch"), (["--org", "acme", "--after", "17"], "cursor")]
    {
        let ran = muster.run(&[&["events", "export"], &args[..]].concat());
        assert_eq!(ran.code, Some(2));
        assert!(message(&ran).contains(word), "{ran:?}");
    }
    muster.ok(&["restore", &backup, "--replace"]);
    let ran = muster.run(&["events", "export", "--org", "acme", "--after", cursor]);
    assert_eq!(ran.code, Some(2));
    assert!(message(&ran).contains("another epoch") && message(&ran).contains("--after start"), "{ran:?}");
    let before = muster.ok(&["epoch", "show"])["epoch"].clone();
    assert_ne!(muster.ok(&["epoch", "new"])["epoch"], before);
}

fn pg(name: &str, args: &[&str]) {
    let output = muster_testkit::postgres::program(name).unwrap().args(args).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn postgres_is_backed_up_as_documented() {
    let muster = Muster::new(On::Postgres);
    let next = muster.file("1.csv", &feed(0..200, "Sales"));
    muster.ok(&["sync", &next, "--org", "acme", "--mode", "full"]);
    let cursor = muster.ok(&["events", "export", "--org", "acme", "--after", "start"])["cursor"].clone();
    let dump = muster.dir.path().join("muster.dump").display().to_string();
    pg("pg_dump", &["--format=custom", "--file", &dump, &muster.database]);
    let restored =
        Muster { dir: tempfile::tempdir().unwrap(), database: muster_testkit::postgres::create_database().unwrap() };
    let payloads = muster.dir.path().join("payloads");
    assert!(Command::new("cp").arg("-a").args([&payloads, restored.dir.path()]).status().unwrap().success());
    pg("pg_restore", &["--no-owner", "--exit-on-error", "--dbname", &restored.database, &dump]);
    restored.ok(&["epoch", "new"]);
    restored.verify();
    let ran = restored.run(&["events", "export", "--org", "acme", "--after", cursor.as_str().unwrap()]);
    assert!(message(&ran).contains("another epoch"), "{ran:?}");
    let report =
        restored.ok(&["sync", &restored.file("2.csv", &feed(0..201, "Sales")), "--org", "acme", "--mode", "full"]);
    assert_eq!((&report["counts"]["added"], &report["counts"]["unchanged"]), (&1.into(), &200.into()));
    restored.verify();
    assert!(message(&restored.run(&["backup", "x.tar"])).contains("pg_dump"));
}
