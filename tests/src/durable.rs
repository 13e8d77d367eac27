//! Bytes first: a system-call trace shows that payload and directory are on the disk before the log says so.

use std::{fs, process::Command};

use crate::muster::{Muster, On, binary, feed};

#[test]
fn payload_and_directory_are_synced_before_the_commit() {
    let muster = Muster::new(On::Sqlite);
    let file = muster.file("first.csv", &feed(0..50, "Sales"));
    let trace = muster.dir.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-qq", "-e", "trace=fsync,fdatasync,pwrite64", "-s", "1000000", "-o"])
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
    let calls: Vec<&str> = trace.lines().collect();
    let synced = |l: &&str| l.contains("sync(");
    let payload = calls.iter().position(|l| synced(l) && is_payload(l)).expect("the payload is synced");
    let folder = calls.iter().position(|l| synced(l) && l.contains("/payloads/") && !is_payload(l));
    let folder = folder.expect("its directory is synced");
    let said = calls.iter().position(|l| l.contains("muster.db-wal") && l.contains("upload.received"));
    let said = said.expect("the log says that the upload was received");
    assert!(payload < said && folder < said, "payload {payload}, directory {folder}, log {said}");
    assert!(calls[said..].iter().any(|l| synced(l) && l.contains("muster.db-wal")), "the log is synced too");
}

/// A payload's name is the upload's id: the last part of the path has dashes in it and its folder is the organisation.
fn is_payload(line: &str) -> bool {
    line.split_once("/payloads/")
        .is_some_and(|(_, rest)| rest.split(['>', ')']).next().is_some_and(|p| p.contains('/')))
}
