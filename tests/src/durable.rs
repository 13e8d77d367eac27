//! Bytes first: a system-call trace shows that payload and directory are on the disk before the log says so.

use std::{fs, process::Command};

use crate::muster::{Muster, On, binary, feed};

#[test]
fn payload_and_directory_are_synced_before_the_commit() {
    let muster = Muster::new(On::Sqlite);
    let file = muster.file("first.csv", &feed(0..50, "Sales"));
    let trace = muster.dir.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-qq", "-e", "trace=fsync,fdatasync", "-o"])
        .arg(&trace)
        .arg(binary())
        .args(["--json", "--database", &muster.database, "--data-dir"])
        .arg(muster.dir.path())
        .args(["sync", &file, "--org", "acme", "--mode", "full", "--channel", "api"])
        .stdout(std::process::Stdio::null())
        .status()
        .expect("strace, which tests/run installs");
    assert!(status.success());
    let trace = fs::read_to_string(trace).unwrap();
    let calls: Vec<&str> = trace.lines().filter(|l| l.contains("sync(")).collect();
    let payload = calls.iter().position(|l| is_payload(l)).expect("the payload is synced");
    let folder = calls.iter().position(|l| l.contains("/payloads/") && !is_payload(l)).expect("its directory is synced");
    // Taking the lease commits too, so what counts is that a commit follows, and that the log's first commit about the
    // upload is not before: nothing between the two syncs touches the database.
    let after = calls.iter().skip(payload.max(folder) + 1).any(|l| l.contains("muster.db"));
    assert!(after, "the log is committed after the payload is safe:\n{trace}");
    let lease_commits = calls[..payload].iter().filter(|l| l.contains("muster.db-wal")).count();
    assert!(lease_commits <= 1, "only the lease is committed before the payload is safe:\n{trace}");
}

/// A payload's name is the upload's id: the last part of the path has dashes in it and its folder is the organisation.
fn is_payload(line: &str) -> bool {
    line.split_once("/payloads/").is_some_and(|(_, rest)| rest.split(['>', ')']).next().is_some_and(|p| p.contains('/')))
}
