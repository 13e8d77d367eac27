//! Keys and users on the command line: a key is shown once, a password is never an argument, nothing dies unasked.

use std::{
    io::Write,
    process::{Output, Stdio},
};

use muster_domain::access::KeyText;
use serde_json::Value;

use crate::support::{Place, text};

/// An organisation with a service user.
fn acme() -> Place {
    let place = Place::new();
    place.expect(0, "org create acme --name Acme");
    place.expect(0, "users create --service --name nightly --org acme --role administrator");
    place
}

fn with_input(place: &Place, line: &str, input: &str) -> Output {
    let mut command = place.command(line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    running.wait_with_output().unwrap()
}

fn made(place: &Place, rest: &str) -> (String, String) {
    let made = place.json(0, &format!("keys create --org acme {rest}"));
    (made["key"]["id"].as_str().unwrap().to_owned(), made["api_key"].as_str().unwrap().to_owned())
}

/// Whether a secret stands anywhere below the data directory.
fn is_stored(place: &Place, secret: &str) -> bool {
    std::fs::read_dir(place.path().join("muster-data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .any(|path| std::fs::read(path).unwrap().windows(secret.len()).any(|w| w == secret.as_bytes()))
}

#[test]
fn a_key_is_shown_once_and_stored_nowhere() {
    let place = acme();
    let said = place.expect(0, "keys create --org acme --name Nightly --user nightly --preset send-lists --expires 1y");
    let shown = said.split_whitespace().find(|word| word.starts_with("mk_live_")).expect(&said);
    let key = KeyText::read(shown).expect("a key with its checksum");
    assert!(said.contains("not shown again") && said.contains("org set acme api_access=on"), "{said}");
    assert!(!is_stored(&place, key.secret()));
    for line in ["keys list --org acme", "keys list --org acme --all --json"] {
        let listed = place.expect(0, line);
        assert!(listed.contains(&key.id) && !listed.contains(key.secret()), "{listed}");
        assert!(listed.contains(&format!("mk_live_…{}", key.last4())), "{listed}");
    }
    let listed = &place.json(0, "keys list --org acme")["keys"][0];
    assert_eq!(listed["scopes"].as_array().unwrap().len(), 5);
    assert_eq!((&listed["user"]["name"], &listed["last_used"]), (&Value::from("nightly"), &Value::Null));
    place.expect(0, "verify --org acme");
}

#[test]
fn what_a_key_may_do_is_said_and_changed_on_the_command_line() {
    let place = acme();
    place.expect(0, "feeds create clinic --org acme");
    let (id, _) = made(
        &place,
        "--name Clinic --user nightly --scope member:read,eligibility:read --feed clinic --network 192.0.2.7/24,2001:db8::1 \
         --expires 90d --read-fields members=email,department --write-fields members= --department Sales \
         --department Law --subcompany North --rows-feed main,clinic --rate requests=120,eligibility=60000",
    );
    let key = &place.json(0, "keys list --org acme")["keys"][0];
    assert_eq!(key["id"], id.as_str());
    assert_eq!(key["scopes"], serde_json::json!(["member:read", "eligibility:read"]));
    assert_eq!(key["feed"], "clinic");
    assert_eq!(key["networks"], serde_json::json!(["192.0.2.0/24", "2001:db8::1/128"]));
    assert_eq!(key["fields"]["members"], serde_json::json!({ "read": ["department", "email"], "write": [] }));
    let rows =
        serde_json::json!({ "feeds": ["main", "clinic"], "departments": ["Sales", "Law"], "subcompanies": ["North"] });
    assert_eq!(key["rows"], rows);
    assert_eq!(key["rates"], serde_json::json!({ "requests": 120, "eligibility": 60000 }));
    let edited = place.json(
        0,
        &format!(
            "keys edit {id} --org acme --name Clinic-2 --preset check-eligibility --feed any --network any --expires never \
             --read-fields members=any --write-fields members=any --department any --subcompany any --rows-feed any \
             --rate requests=any,eligibility=any"
        ),
    );
    let key = &edited["key"];
    assert_eq!((&key["name"], &key["expires_at"], &key["feed"]), (&"Clinic-2".into(), &Value::Null, &Value::Null));
    assert_eq!(key["scopes"], serde_json::json!(["eligibility:read"]));
    assert_eq!((&key["networks"], &key["rates"]), (&serde_json::json!([]), &serde_json::json!({})));
    let none = serde_json::json!({ "feeds": [], "departments": [], "subcompanies": [] });
    assert_eq!((&key["rows"], &key["fields"]), (&none, &serde_json::json!({})));
    for wrong in [
        "--scope member:fly", "--network 300.0.0.0/8", "--feed nowhere", "--read-fields members=salary",
        "--rate requests=0", "--expires 2001-01-01", "--user nobody",
    ] {
        place.json(2, &format!("keys edit {id} --org acme {wrong}"));
    }
    place.expect(0, "verify --org acme");
}

#[test]
fn a_key_is_rotated_revoked_and_all_are_revoked_when_that_is_meant() {
    let place = acme();
    let (id, text) = made(&place, "--name One --user nightly --preset send-lists");
    let rotated = place.json(0, &format!("keys rotate {id} --org acme --overlap 7d"));
    assert_ne!(rotated["api_key"], text.as_str());
    assert!(rotated["key"]["former_secret_until"].is_string());
    place.json(2, &format!("keys rotate {id} --org acme --overlap 8d"));
    place.expect(0, &format!("keys revoke {id} --org acme"));
    assert_eq!(place.json(0, "keys list --org acme")["keys"], serde_json::json!([]));
    assert!(place.json(0, "keys list --org acme --all")["keys"][0]["revoked_at"].is_string());
    place.json(2, &format!("keys rotate {id} --org acme"));
    place.json(2, "keys revoke 0123456789abcdef --org acme");
    made(&place, "--name Two --user nightly --preset send-lists");
    let (_, bulk) = made(&place, "--name Three --user nightly --bulk");
    assert!(bulk.starts_with("ml_live_"));
    let asked = place.expect(3, "keys revoke-all --org acme");
    assert!(asked.contains("Two") && asked.contains("Nothing was done"), "{asked}");
    assert_eq!(place.json(0, "keys list --org acme")["keys"].as_array().unwrap().len(), 2);
    assert_eq!(place.json(0, "keys revoke-all --org acme --yes")["keys"].as_array().unwrap().len(), 2);
    assert_eq!(place.json(0, "keys list --org acme")["keys"], serde_json::json!([]));
    assert_eq!(place.json(0, "keys access-log --org acme")["entries"], serde_json::json!([]));
    place.expect(0, "verify --org acme");
}

#[test]
fn a_password_comes_from_standard_input_and_is_neither_stored_nor_shown() {
    let place = acme();
    let create =
        "users create --name Ada --email Ada@People.example --password-stdin --org acme --role reviewer --json";
    let password = "correct horse battery";
    let output = with_input(&place, create, &format!("{password}\nanother line\n"));
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let user: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(user["user"]["email"], "ada@people.example");
    assert_eq!(user["user"]["roles"], serde_json::json!({ "acme": "reviewer" }));
    assert!(!(out + &err).contains(password) && !is_stored(&place, password));
    let short = with_input(&place, "users reset ada@people.example --password-stdin", "short\n");
    assert_eq!(short.status.code(), Some(2));
    assert!(text(&short.stderr).contains("between 15 and 256"));
    let reset = with_input(&place, "users reset ada@people.example --password-stdin", "another good password\n");
    assert_eq!(reset.status.code(), Some(0), "{}", text(&reset.stderr));
    let unasked = with_input(&place, "users reset ada@people.example", "");
    assert!(text(&unasked.stderr).contains("--password-stdin"));
    let twice = with_input(&place, create, "correct horse battery\n");
    assert_eq!(twice.status.code(), Some(2));
}

#[test]
fn disabling_a_user_lists_first_the_keys_that_would_die() {
    let place = acme();
    made(&place, "--name One --user nightly --preset send-lists");
    let asked = place.expect(3, "users disable nightly");
    assert!(
        asked.contains("One") && asked.contains("1 keys would die") && asked.contains("Nothing was done"),
        "{asked}"
    );
    assert_eq!(place.json(0, "users list --org acme")["users"][0]["disabled_at"], Value::Null);
    assert_eq!(place.json(0, "users disable nightly --yes")["keys"].as_array().unwrap().len(), 1);
    assert!(place.json(0, "users list")["users"][0]["disabled_at"].is_string());
    place.json(2, "keys create --org acme --name Two --user nightly --preset send-lists");
    place.expect(0, "users enable nightly");
    assert_eq!(place.json(0, "users list")["users"][0]["disabled_at"], Value::Null);
    place.expect(0, "users set-role nightly none --org acme");
    assert_eq!(place.json(0, "users list --org acme")["users"], serde_json::json!([]));
    let refused = place.json(2, "keys create --org acme --name Two --user nightly --preset send-lists");
    assert!(refused["error"]["message"].as_str().unwrap().contains("no role in acme"), "{refused}");
}
