//! What pushes lean on: for how long a repeated request is known, where payloads lie meanwhile, what is the operator's own, and
//! what forgetting does to answers that are kept.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::Api;
use crate::muster::{Muster, On};

/// A list of so many people.
fn people(many: u32) -> String {
    let rows: String = (1..=many).map(|n| format!("{n},First{n},Last{n}\n")).collect();
    format!("Employee ID,First Name,Last Name\n{rows}")
}

/// A payload's idempotency key is kept for 24 hours, whoever sends it.
fn a_key_is_free_after_a_day(on: On) {
    let muster = Muster::new(on);
    let (three, four) = (muster.file("three.csv", &people(3)), muster.file("four.csv", &people(4)));
    let sync = |file: &str, now: &str| {
        let args = ["sync", file, "--org", "acme", "--mode", "full", "--idempotency-key", "night"];
        let output = muster.command(&args).env("MUSTER_NOW", now).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), report["upload_id"].as_str().map(str::to_owned))
    };
    let (code, first) = sync(&three, "2030-03-01T02:00:00Z");
    assert_eq!(code, Some(0));
    assert_eq!(sync(&three, "2030-03-02T01:59:59Z"), (Some(0), first.clone()));
    let (refused, _) = sync(&four, "2030-03-02T01:59:59Z");
    assert_ne!(refused, Some(0));
    assert_eq!(muster.roster().lines().count(), 3);
    let (code, second) = sync(&four, "2030-03-02T02:00:00Z");
    assert_eq!((code, second == first), (Some(0), false));
    assert_eq!(sync(&four, "2030-03-03T01:00:00Z"), (Some(0), second));
    assert_eq!(muster.roster().lines().count(), 4);
    muster.verify();
}

#[test]
fn an_uploads_idempotency_key_is_free_after_a_day_on_sqlite() {
    a_key_is_free_after_a_day(On::Sqlite);
}

#[test]
fn an_uploads_idempotency_key_is_free_after_a_day_on_postgres() {
    a_key_is_free_after_a_day(On::Postgres);
}

#[test]
fn payloads_lie_nowhere_but_in_the_data_directory() {
    // There is no other place for temporary files: whatever needs one finds that out.
    let api = Api::begin(On::Sqlite, |command| {
        command.env("TMPDIR", "/nowhere");
    });
    let list = json!({ "mode": "full", "rows": [{ "unique_id": "1" }, { "unique_id": "2" }] });
    let headers = [("Content-Type", "application/json"), ("Prefer", "wait=60")];
    let sent = api.send("POST", "/api/v1/uploads", &headers, list.to_string().as_bytes());
    assert_eq!((sent.status, &sent.json()["counts"]["added"]), (200, &json!(2)), "{}", sent.body);
    let form = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.csv\"\r\n\r\nEmployee ID\n1\n2\n3\n\r\n\
        --x\r\nContent-Disposition: form-data; name=\"mode\"\r\n\r\nfull\r\n--x--\r\n";
    let headers = [("Content-Type", "multipart/form-data; boundary=x"), ("Prefer", "wait=60")];
    let sent = api.send("POST", "/api/v1/uploads", &headers, form.as_bytes());
    assert_eq!((sent.status, &sent.json()["counts"]["added"]), (200, &json!(1)), "{}", sent.body);
    let rows = json!({ "mode": "full", "rows": [{ "uniqueId": "1" }, { "uniqueId": "2" }, { "uniqueId": "4" }] });
    let sent = api.json("POST", "/api/public/upload", &rows);
    assert_eq!((sent.status, &sent.json()["created"]), (200, &json!(1)), "{}", sent.body);
    assert_eq!(payloads(api.muster.dir.path()).len(), 3);
}

/// The files of all organisations' payloads.
fn payloads(data_dir: &Path) -> Vec<std::path::PathBuf> {
    let organisations = fs::read_dir(data_dir.join("payloads")).unwrap();
    organisations.flat_map(|of| fs::read_dir(of.unwrap().path()).unwrap()).map(|file| file.unwrap().path()).collect()
}

#[test]
fn an_original_whose_file_is_gone_is_not_found() {
    let api = Api::start(On::Sqlite);
    let sent = api.upload("mode=full", &people(2)).json();
    let original = format!("/api/v1/uploads/{}/original", sent["upload_id"].as_str().unwrap());
    assert_eq!(api.get(&original).body, people(2));
    payloads(api.muster.dir.path()).iter().for_each(|file| fs::remove_file(file).unwrap());
    let gone = api.get(&original);
    assert_eq!((gone.status, gone.problem().as_str()), (404, "not-found"));
    assert!(gone.json()["detail"].as_str().unwrap().contains("not kept any more"), "{}", gone.body);
}

#[test]
fn what_protects_the_installation_is_set_by_its_operator_alone() {
    let api = Api::start(On::Sqlite);
    let before = api.muster.log();
    for key in ["api_access", " api_access", "api.rate.requests", "api.rate.eligibility", "limits.payload_mb"] {
        // What an organisation may set beside it is not set either.
        let body = json!({ "settings": { "ask_again_days": "9", key: "60000" } });
        let refused = api.json("PATCH", "/api/v1/organisation/settings", &body);
        assert_eq!((refused.status, refused.problem().as_str()), (422, "invalid"), "{key}: {}", refused.body);
        let why = format!("`{key}` is set by the operator of the installation alone.");
        let pointed = json!([{ "pointer": format!("/settings/{key}"), "detail": why }]);
        assert_eq!((&refused.json()["detail"], &refused.json()["errors"]), (&json!(why), &pointed));
    }
    assert!(api.muster.log() == before, "something was set");
    let own = json!({ "settings": { "ask_again_days": "9" } });
    assert_eq!(api.json("PATCH", "/api/v1/organisation/settings", &own).json()["state"], "set");
    api.muster.ok(&["org", "set", "acme", "api.rate.requests=61"]);
}

/// Somebody who was pushed, of whom an answer is kept, is forgotten: the answer is not given again, and nothing is left of it.
fn forgetting_reaches_answers(on: On) {
    let api = Api::start(on);
    let put = |key: &str, member: &str| {
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        api.send("PUT", "/api/v1/members", &headers, json!({ "unique_id": member }).to_string().as_bytes())
    };
    assert_eq!(put("first", "ZQ77").json()["created"], 1);
    assert_eq!(put("other", "E2").json()["created"], 1);
    assert_eq!(put("first", "ZQ77").header("idempotency-replayed"), Some("true"));
    assert!(kept(&api, on).contains("ZQ77"), "it is found as long as it is there");
    let report = api.muster.ok(&["forget", "ZQ77", "--org", "acme", "--yes"]);
    assert_eq!((&report["state"], &report["swept"]), (&json!("forgotten"), &json!(true)), "{report}");
    assert!(!kept(&api, on).contains("ZQ77"));
    let again = put("other", "E2");
    assert_eq!(
        (again.header("idempotency-replayed"), &again.json()["no_changes"]),
        (None, &json!(1)),
        "{}",
        again.body
    );
    api.muster.verify();
}

/// All that is kept of users, keys and answers, as text.
fn kept(api: &Api, on: On) -> String {
    match on {
        On::Sqlite => {
            let files = fs::read_dir(api.muster.dir.path()).unwrap().map(|f| f.unwrap().path());
            let of_access = files.filter(|f| f.to_string_lossy().contains("muster.access.db"));
            of_access.map(|f| String::from_utf8_lossy(&fs::read(f).unwrap()).into_owned()).collect()
        }
        On::Postgres => {
            let sql = "SELECT convert_from(coalesce(body, ''), 'UTF8') FROM muster_access.answer";
            let mut psql = muster_testkit::postgres::program("psql").unwrap();
            let output = psql.args(["-At", "-c", sql, &api.muster.database]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        }
    }
}

#[test]
fn forgetting_somebody_reaches_answers_that_are_kept_on_sqlite() {
    forgetting_reaches_answers(On::Sqlite);
}

#[test]
fn forgetting_somebody_reaches_answers_that_are_kept_on_postgres() {
    forgetting_reaches_answers(On::Postgres);
}
