//! What keys with limits, and keys of a feed that puts a prefix in front of its match keys, reach by writing and asking: nobody
//! but those whom they may.

use chrono::Utc;
use serde_json::{Value, json};

use super::{Answer, Api, On, Said, id_of, people};

/// Sends JSON with a key; null is no body.
fn send(api: &Api, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("Content-Type", "application/json")];
    api.said(method, path, &Said { key: Some(key), headers: &headers, body: body.as_bytes() })
}

/// Brings members up to date with a key, and tells what became of the first.
fn put(api: &Api, key: &str, body: &Value) -> Value {
    let answer = send(api, key, "PUT", "/api/v1/members", body);
    assert!(matches!(answer.status, 200 | 202), "{}", answer.body);
    answer.json()["results"][0].clone()
}

/// Makes a key that may do everything within these limits.
fn key(api: &Api, name: &str, limits: &[&str]) -> String {
    let usual = ["--name", name, "--user", "hris", "--scope", "*", "--rate", "requests=1000,uploads=1000"];
    api.muster.key(&[&usual, limits].concat())
}

/// A server with a feed of which every match key begins with `C-`.
fn with_agency() -> Api {
    let api = Api::start(On::Sqlite);
    api.muster.ok(&["feeds", "create", "agency", "--org", "acme", "--mode", "partial", "--key-prefix", "C-"]);
    api
}

#[test]
fn a_feeds_prefix_stands_in_front_of_what_is_put_and_of_nothing_else() {
    let api = with_agency();
    let agency = key(&api, "agency", &["--feed", "agency"]);
    let became = |body: Value| {
        let first = put(&api, &agency, &body);
        assert_eq!(first["unique_id"], body["unique_id"]);
        first["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(became(json!({ "unique_id": "50", "first_name": "Ann" })), "created");
    assert_eq!(became(json!({ "unique_id": "50", "first_name": "Anna" })), "updated");
    assert_eq!(became(json!({ "unique_id": "50", "first_name": "Anna" })), "no_changes");
    let twice = send(&api, &agency, "PUT", "/api/v1/members", &json!([{ "unique_id": "50" }, { "unique_id": "50.0" }]));
    assert_eq!(twice.problem(), "invalid");

    // A member is named by their identity: it is that member who changes, and nobody new comes.
    let path = format!("/api/v1/members/{}", id_of(&api, "C-50"));
    let patch = |body: Value| send(&api, &agency, "PATCH", &path, &body);
    let moved = patch(json!({ "location": "Rome" })).json();
    assert_eq!(moved["results"][0], json!({ "unique_id": "C-50", "status": "updated" }), "{moved}");
    assert_eq!(patch(json!({ "unique_id": "50", "location": "Bonn" })).json()["updated"], 1);
    assert_eq!(patch(json!({ "unique_id": "C-50", "location": "Oslo" })).json()["updated"], 1);
    assert_eq!(patch(json!({ "unique_id": "51", "location": "Bern" })).problem(), "invalid");
    assert_eq!(api.get(&path).json()["fields"]["location"], "Oslo");
    assert_eq!(api.muster.roster().lines().count(), 1);
    let gone = send(&api, &agency, "DELETE", &path, &Value::Null).json();
    assert_eq!(gone["results"][0], json!({ "unique_id": "C-50", "status": "removed" }), "{gone}");
    assert_eq!(became(json!({ "unique_id": "50" })), "reinstated");

    // Of somebody whose key has not the prefix the feed cannot speak.
    put(&api, &api.key, &json!({ "unique_id": "7", "first_name": "Mary" }));
    let path = format!("/api/v1/members/{}", id_of(&api, "7"));
    assert_eq!(send(&api, &agency, "PATCH", &path, &json!({ "location": "Rome" })).problem(), "conflict");
    assert_eq!(send(&api, &agency, "DELETE", &path, &Value::Null).problem(), "conflict");
    assert_eq!(api.get(&path).json()["fields"]["location"], json!(null));
    assert_eq!(api.muster.roster().lines().count(), 2);
    api.muster.verify();
}

#[test]
fn limits_hold_for_whoever_a_row_names_once_it_has_its_prefix() {
    let api = with_agency();
    let agency = key(&api, "agency", &["--feed", "agency"]);
    put(&api, &agency, &json!({ "unique_id": "60", "first_name": "Secret", "department": "Board" }));
    put(&api, &api.key, &json!({ "unique_id": "80", "first_name": "Other", "department": "Board" }));
    let sales = key(&api, "sales", &["--feed", "agency", "--department", "Sales"]);
    for said in ["60", " 60 ", "60.0", "'60", "=\"60\""] {
        let first = put(&api, &sales, &json!({ "unique_id": said, "department": "Sales" }));
        assert_eq!(first["status"], "invalid", "{said}: {first}");
    }
    let path = format!("/api/v1/members/{}", id_of(&api, "C-60"));
    assert_eq!(api.get(&path).json()["fields"]["department"], "Board");
    // Whoever has the key without the prefix is somebody else.
    let first = put(&api, &sales, &json!({ "unique_id": "80", "first_name": "New", "department": "Sales" }));
    assert_eq!(first, json!({ "unique_id": "80", "status": "created" }));
    assert_eq!(api.get(&format!("/api/v1/members/{}", id_of(&api, "80"))).json()["fields"]["department"], "Board");
    api.muster.verify();
}

#[test]
fn nobody_takes_back_those_who_left_and_whom_they_never_saw() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=9, "Sales"));
    let sales = key(&api, "sales", &["--department", "Sales"]);
    put(&api, &api.key, &json!({ "unique_id": "50", "first_name": "Secret", "department": "Board" }));
    let left = format!("/api/v1/members/{}", id_of(&api, "50"));
    assert_eq!(api.send("DELETE", &left, &[], b"").json()["removed"], 1);
    // An addition that was undone leaves what was known too.
    let rows = json!({ "unique_id": "51", "first_name": "Secret", "department": "Board" });
    let added = api.json("PUT", "/api/v1/members", &rows).json();
    let set = format!("/api/v1/change-sets/{}", added["change_set_id"].as_str().unwrap());
    let digest = api.get(&set).header("etag").unwrap().to_owned();
    let undone = api.send("POST", &format!("{set}/undo"), &[("If-Match", &digest)], b"");
    assert_eq!(undone.status, 200, "{}", undone.body);
    for number in ["50", "51"] {
        let first = put(&api, &sales, &json!({ "unique_id": number, "department": "Sales" }));
        assert_eq!(first["status"], "invalid", "{number}: {first}");
        let found = send(&api, &sales, "POST", "/api/v1/members/lookup", &json!({ "unique_id": number }));
        assert_eq!(found.problem(), "not-found");
    }
    assert_eq!(api.get(&left).json()["listed"], false);
    // Their own who left they take back.
    let own = format!("/api/v1/members/{}", id_of(&api, "1"));
    assert_eq!(send(&api, &sales, "DELETE", &own, &Value::Null).json()["removed"], 1);
    assert_eq!(put(&api, &sales, &json!({ "unique_id": "1" }))["status"], "reinstated");
    api.muster.verify();
}

#[test]
fn an_upload_of_the_contract_tells_of_those_whom_the_key_sees() {
    let api = Api::start(On::Sqlite);
    put(&api, &api.key, &json!({ "unique_id": "0090", "department": "Board" }));
    api.muster.ok(&["feeds", "create", "uk", "--org", "acme", "--mode", "partial"]);
    let limits = ["--feed", "uk", "--department", "Sales", "--read-fields"];
    let sales = key(&api, "sales", &[&limits[..], &["members=employee_id,department"]].concat());
    let blind = key(&api, "blind", &[&limits[..], &["members=department"]].concat());
    let upload = |key: &str, rows: Value| {
        send(&api, key, "POST", "/api/public/upload", &json!({ "mode": "partial", "rows": rows }))
    };
    let rows = |location: &str| {
        json!([
            { "uniqueId": "70", "department": "Sales", "location": location },
            { "uniqueId": "71", "department": "Board", "location": location },
        ])
    };
    let added = upload(&sales, rows("Rome")).json();
    assert_eq!(
        (&added["created"], &added["results"]),
        (&json!(2), &json!([{ "uniqueId": "70", "status": "created" }]))
    );
    let updated = upload(&sales, rows("Bonn")).json();
    assert_eq!(updated["updated"], 2, "{updated}");
    assert_eq!(updated["results"], json!([{ "uniqueId": "70", "status": "updated" }]));
    let untold = upload(&blind, rows("Oslo")).json();
    assert_eq!((&untold["updated"], &untold["results"]), (&json!(2), &json!([])));
    // Nor is anybody quoted whom a row is like.
    let refused = upload(&sales, json!([{ "uniqueId": "90", "department": "Sales" }]));
    assert_eq!(refused.problem(), "refused");
    assert!(!refused.body.contains("0090"), "{}", refused.body);
    let all = upload(&api.key, json!([{ "uniqueId": "90", "department": "Sales" }]));
    assert!(all.body.contains("0090"), "{}", all.body);
    api.muster.verify();
}

#[test]
fn whether_somebody_is_eligible_is_asked_by_what_the_key_sees() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=3, "Sales"));
    let id = id_of(&api, "1");
    let ask = |key: &str, question: Value| send(&api, key, "POST", "/api/v1/eligibility", &question);
    let by_key = key(&api, "by-key", &["--read-fields", "members=employee_id,department"]);
    assert_eq!(ask(&by_key, json!({ "unique_id": "1" })).json()["eligible"], true);
    assert_eq!(ask(&by_key, json!({ "id": id })).json()["eligible"], true);
    assert_eq!(ask(&by_key, json!({ "email": "p1@example.com" })).problem(), "field-not-allowed");
    let several = ask(&by_key, json!([{ "unique_id": "1" }, { "email": "p1@example.com" }]));
    assert_eq!(several.problem(), "field-not-allowed");
    assert_eq!(several.json()["errors"][0]["pointer"], "/1/email");
    let by_email = key(&api, "by-email", &["--read-fields", "eligibility=email"]);
    assert_eq!(ask(&by_email, json!({ "email": "p1@example.com" })).json()["eligible"], true);
    assert_eq!(ask(&by_email, json!({ "unique_id": "1" })).problem(), "field-not-allowed");
    assert_eq!(ask(&by_email, json!({ "id": id })).json()["eligible"], true);

    // Somebody who came from elsewhere, and somebody who went there: neither is seen as they were then.
    put(&api, &api.key, &json!({ "unique_id": "50", "department": "Board" }));
    let before = Utc::now();
    put(
        &api,
        &api.key,
        &json!([{ "unique_id": "1", "department": "Board" }, { "unique_id": "50", "department": "Sales" }]),
    );
    let sales = key(&api, "sales", &["--department", "Sales"]);
    let then =
        |key: &str, number: &str| ask(key, json!({ "unique_id": number, "at": before })).json()["reason"].clone();
    for number in ["1", "50"] {
        assert_eq!(
            (then(&api.key, number), then(&sales, number)),
            (json!("eligible"), json!("never_listed")),
            "{number}"
        );
    }
    assert_eq!(then(&sales, "2"), "eligible");
}

#[test]
fn a_row_that_is_like_somebody_unseen_is_not_told_whom() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=3, "Sales"));
    put(&api, &api.key, &json!({ "unique_id": "0050", "first_name": "Secret", "department": "Board" }));
    let one = json!({ "unique_id": "50", "department": "Sales" });
    let several = json!([{ "unique_id": "50", "department": "Sales" }, { "unique_id": "1", "department": "Sales", "location": "Rome" }]);
    let limited = key(&api, "sales", &["--department", "Sales"]);
    let blind = key(&api, "blind", &["--read-fields", "members=department,location"]);
    let results = |key: &str, body: &Value| {
        let answer = send(&api, key, "PUT", "/api/v1/members", body);
        assert_eq!(answer.json()["results"][0]["status"], "invalid", "{}", answer.body);
        assert!(answer.json()["results"][0]["reason"].is_string(), "{}", answer.body);
        answer.json()["results"].to_string()
    };
    for body in [&one, &several] {
        for key in [&limited, &blind] {
            let said = results(key, body);
            assert!(!said.contains("0050"), "{said}");
        }
        let said = results(&api.key, body);
        assert!(said.contains("0050"), "{said}");
    }
    // What is wrong with a value is told of those whom the key sees.
    let wrong = put(&api, &limited, &json!({ "unique_id": "1", "end_date": "nonsense" }));
    assert!(wrong["status"] == "invalid" && wrong["reason"].as_str().unwrap().contains("YYYY-MM-DD"), "{wrong}");
    // Nor does a change tell a key that does not see match keys which one it was.
    let path = format!("/api/v1/members/{}", id_of(&api, "2"));
    let changed = send(&api, &blind, "PATCH", &path, &json!({ "location": "Rome" })).json();
    assert_eq!(changed["results"][0], json!({ "unique_id": "", "status": "updated" }), "{changed}");
    api.muster.verify();
}

#[test]
fn a_key_with_limits_is_not_told_of_what_becomes_blank_nor_how_many_lose_eligibility() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=20, "Sales"));
    let held = api.upload("mode=full", &people(3..=20, "")).json();
    assert_eq!((&held["state"], held["holds"].as_array().unwrap().len()), (&json!("held"), 1), "{held}");
    let (set, upload) = (held["change_set_id"].as_str().unwrap(), held["upload_id"].as_str().unwrap());
    let (set, upload) = (format!("/api/v1/change-sets/{set}"), format!("/api/v1/uploads/{upload}"));
    let blind = key(&api, "blind", &["--read-fields", "members=employee_id,location"]);
    let sales = key(&api, "sales", &["--department", "Sales"]);
    let told = |key: &str| {
        let lists = ["/api/v1/change-sets", "/api/v1/change-sets/overview", "/api/v1/uploads"];
        let all = [&*set, &*upload].into_iter().chain(lists);
        all.map(|path| send(&api, key, "GET", path, &Value::Null).body).collect::<Vec<_>>()
    };
    assert!(told(&api.key).iter().all(|body| body.contains("values of department")));
    for key in [&blind, &sales] {
        for body in told(key) {
            assert!(!body.contains("values of department"), "{body}");
        }
        let one = api.document(key, &set);
        let hold = &one["holds"][0];
        assert_eq!(
            (&hold["guard"], &hold["detail"]),
            (&json!("blanked_field"), &json!("Many values of a field would become blank."))
        );
        assert_eq!(one["figures"]["blanked"], json!([]), "{one}");
    }
    let lose = |key: &str| {
        let one = api.document(key, &set);
        (one["removals"].clone(), one["taken_off"].clone())
    };
    for key in [&api.key, &blind] {
        assert_eq!(lose(key), (json!(2), json!(2)));
    }
    assert_eq!(lose(&sales), (Value::Null, Value::Null));
    api.muster.verify();
}
