//! Who did it is told by name, and the log goes on naming nobody.

use serde_json::{Value, json};

use super::{Api, Muster, On, id_of, people};

/// A list that a reviewer approved, sent and approved with the same key; the change set and a member of it.
fn given_a_decision(on: On) -> (Api, String, String) {
    let api = Api::start(on);
    let held = api.upload("mode=full&hold=true", &people(1..=3, "Sales")).json();
    let set = format!("/api/v1/change-sets/{}", held["change_set_id"].as_str().unwrap());
    let tag = api.get(&set).header("etag").unwrap().to_owned();
    let done = api.send("POST", &format!("{set}/approve"), &[("If-Match", &tag)], b"");
    assert_eq!(done.json()["state"], "applied", "{}", done.body);
    let id = id_of(&api, "1");
    (api, set, id)
}

fn whoever_acted_with_a_key_is_told_by_name(on: On) {
    let (api, set, id) = given_a_decision(on);
    let key_id = api.key.split('_').nth(2).unwrap().to_owned();
    let is_actor = |actor: &Value| actor.as_str().unwrap().starts_with(&format!("key:{key_id} user:"));
    let told = |name: &str| {
        let history = api.get(&format!("/api/v1/members/{id}/history")).json();
        for entry in history["entries"].as_array().unwrap() {
            assert!(is_actor(&entry["applied_by"]) && is_actor(&entry["sent_by"]), "{entry}");
            assert_eq!((&entry["applied_by_name"], &entry["sent_by_name"]), (&json!(name), &json!(name)), "{entry}");
        }
        let shown = api.get(&set).json();
        assert!(is_actor(&shown["decided_by"]), "{shown}");
        assert_eq!(shown["decided_by_name"], name);
        assert_eq!(api.get("/api/v1/change-sets").json()["change_sets"][0]["decided_by_name"], name);

        let of_acme = |args: &[&str]| api.muster.says(&[args, &["--org", "acme"]].concat());
        let id = set.rsplit('/').next().unwrap();
        for command in [
            &["members", "history", "1"][..],
            &["blame", "1"],
            &["activity"],
            &["changes", "show", id],
            &["changes", "overview"],
        ] {
            let said = of_acme(command);
            assert!(said.contains(name) && !said.contains("user:"), "{command:?}: {said}");
        }
        let uploads = api.muster.ok(&["uploads", "list", "--org", "acme"]);
        assert_eq!(uploads["uploads"][0]["actor_name"], name);
    };
    told("hris (key all)");
    // A key that is called otherwise from now on is told by that name, and so is one that was deleted.
    let renamed = api.json("PATCH", &format!("/api/v1/keys/{key_id}"), &json!({ "name": "Nightly list" }));
    assert_eq!(renamed.status, 200, "{}", renamed.body);
    told("hris (key Nightly list)");
    let made = api.json("POST", "/api/v1/keys", &json!({ "name": "another", "scopes": ["member:read"] })).json();
    let listed = api.get(&format!("/api/v1/keys/{}", made["id"].as_str().unwrap())).json();
    assert_eq!(listed["made_by_name"], "hris (key Nightly list)");
    api.muster.ok(&["keys", "revoke", &key_id, "--org", "acme"]);
    let history = api.muster.ok(&["members", "history", "1", "--org", "acme"]);
    assert_eq!(history["history"][0]["applied_by_name"], "hris (key Nightly list)");
}

#[test]
fn whoever_acted_with_a_key_is_told_by_name_on_sqlite() {
    whoever_acted_with_a_key_is_told_by_name(On::Sqlite);
}

#[test]
fn whoever_acted_with_a_key_is_told_by_name_on_postgres() {
    whoever_acted_with_a_key_is_told_by_name(On::Postgres);
}

#[test]
fn a_log_that_is_handed_on_names_nobody_and_is_told_by_identities_elsewhere() {
    let (api, ..) = given_a_decision(On::Sqlite);
    let log = String::from_utf8(api.muster.log()).unwrap();
    assert!(log.contains("user:") && !log.contains("hris"), "{log}");
    let elsewhere = Muster::empty(On::Sqlite);
    elsewhere.ok(&["events", "import", &elsewhere.file("log.ndjson", &log), "--org", "acme"]);
    // Somebody else's key there has another identity, and lends its user's name to nobody.
    elsewhere.ok(&["users", "create", "--name", "hris", "--service", "--org", "acme", "--role", "administrator"]);
    elsewhere.key(&["--name", "all", "--user", "hris", "--scope", "*"]);
    let history = elsewhere.ok(&["members", "history", "1", "--org", "acme"]);
    let entry = &history["history"][0];
    assert!(entry["applied_by"].as_str().unwrap().starts_with("key:"), "{entry}");
    assert!(entry.get("applied_by_name").is_none() && entry.get("sent_by_name").is_none(), "{entry}");
    let said = elsewhere.says(&["members", "history", "1", "--org", "acme"]);
    assert!(said.contains("user:") && !said.contains("hris"), "{said}");
}
