//! Users and keys from the command line, on both engines: every command is a process of its own.

use serde_json::Value;

use crate::muster::{Muster, On};

fn keys(muster: &Muster) -> Vec<Value> {
    muster.ok(&["keys", "list", "--org", "acme"])["keys"].as_array().unwrap().clone()
}

fn users_and_keys(on: On) {
    let muster = Muster::new(on);
    muster.ok(&["users", "create", "--service", "--name", "nightly", "--org", "acme", "--role", "administrator"]);
    let make = ["keys", "create", "--org", "acme", "--name", "One", "--user", "nightly", "--preset", "send-lists"];
    let made = muster.ok(&make);
    let id = made["key"]["id"].as_str().unwrap();
    assert!(made["api_key"].as_str().unwrap().starts_with(&format!("mk_live_{id}_")));
    muster.ok(&["keys", "edit", id, "--org", "acme", "--name", "Another", "--network", "192.0.2.0/24"]);
    assert_eq!(keys(&muster)[0]["name"], "Another");
    muster.ok(&["keys", "rotate", id, "--org", "acme", "--overlap", "0"]);
    muster.ok(&make);
    assert_eq!(keys(&muster).len(), 2);
    muster.ok(&["keys", "revoke", id, "--org", "acme"]);
    assert_eq!(keys(&muster).len(), 1);
    // Several at once: each is told by one event, in one chain.
    let running: Vec<_> = (0..4)
        .map(|n| {
            let name = format!("At once {n}");
            let mut command = muster.command(&make);
            command.args(["--scope", "member:read"]).stdout(std::process::Stdio::null());
            command.spawn().unwrap_or_else(|e| panic!("{name}: {e}"))
        })
        .collect();
    for mut process in running {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(keys(&muster).len(), 5);
    muster.verify();
    muster.ok(&["users", "disable", "nightly", "--yes"]);
    muster.ok(&["keys", "revoke-all", "--org", "acme", "--yes"]);
    assert_eq!(keys(&muster).len(), 0);
    muster.verify();
}

#[test]
fn users_and_keys_on_a_file() {
    users_and_keys(On::Sqlite);
}

#[test]
fn users_and_keys_on_a_server() {
    users_and_keys(On::Postgres);
}

#[test]
fn a_server_that_was_not_migrated_says_so() {
    let muster = Muster::new(On::Postgres);
    let drop = muster_testkit::postgres::program("psql")
        .unwrap()
        .args(["--quiet", "--command", "DROP SCHEMA muster_access CASCADE", &*muster.database])
        .output()
        .unwrap();
    assert!(drop.status.success(), "{}", String::from_utf8_lossy(&drop.stderr));
    let refused = muster.run(&["users", "list"]);
    let message = refused.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("users and keys") && message.contains("`muster migrate`"), "{message}");
    muster.ok(&["migrate"]);
    muster.ok(&["users", "list"]);
}
