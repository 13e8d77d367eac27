//! Keys that see some people, some fields or one feed: what they are shown, and what they may write.

use serde_json::{Value, json};

use super::{Api, On, Said, people};

#[test]
fn nobody_sees_across_organisations_feeds_fields_and_rows() {
    let api = Api::start(On::Sqlite);
    let muster = &api.muster;
    api.upload("mode=full", &people(1..=9, "Sales"));
    api.json("PUT", "/api/v1/members", &json!([{ "unique_id": "50", "first_name": "Secret", "department": "Board" }]));
    muster.ok(&["org", "create", "other", "--name", "Other"]);
    muster.ok(&["org", "set", "other", "api_access=on"]);
    muster.ok(&["users", "set-role", "hris", "administrator", "--org", "other"]);
    let other = muster.ok(&["keys", "create", "--org", "other", "--name", "all", "--user", "hris", "--scope", "*"]);
    let other = other["api_key"].as_str().unwrap().to_owned();
    let member = super::id_of(&api, "50");
    let upload = api.get("/api/v1/uploads").json()["uploads"][0]["upload_id"].as_str().unwrap().to_owned();
    let set = api.get("/api/v1/change-sets").json()["change_sets"][0]["change_set_id"].as_str().unwrap().to_owned();
    let get = |key: &str, path: &str| api.said("GET", path, &Said { key: Some(key), ..Said::default() });
    for path in [
        format!("/api/v1/members/{member}"),
        format!("/api/v1/members/{member}/history"),
        format!("/api/v1/uploads/{upload}"),
        format!("/api/v1/uploads/{upload}/issues"),
        format!("/api/v1/uploads/{upload}/original"),
        format!("/api/v1/change-sets/{set}"),
        format!("/api/v1/change-sets/{set}/changes"),
    ] {
        assert_eq!(get(&other, &path).problem(), "not-found", "{path}");
    }
    let post = |key: &str, path: &str, body: &Value| {
        let body = body.to_string();
        let headers = [("Content-Type", "application/json")];
        api.said("POST", path, &Said { key: Some(key), headers: &headers, body: body.as_bytes() })
    };
    assert_eq!(post(&other, "/api/v1/eligibility", &json!({ "id": member })).json()["reason"], "never_listed");

    // A key for one department and few fields.
    let narrow = muster.key(&[
        "--name", "narrow", "--user", "hris", "--scope", "*", "--department", "Sales", "--read-fields",
        "members=employee_id,department", "--write-fields", "members=department", "--rate", "requests=1000",
    ]);
    assert_eq!(get(&narrow, &format!("/api/v1/members/{member}")).problem(), "not-found");
    assert_eq!(post(&narrow, "/api/v1/eligibility", &json!({ "unique_id": "50" })).json()["reason"], "never_listed");
    let list = get(&narrow, "/api/v1/members").json();
    assert_eq!(list["total"], 9);
    assert!(!list.to_string().contains("First") && !list.to_string().contains("example.com"), "{list}");
    for path in [format!("/api/v1/change-sets/{set}/changes"), "/api/v1/events".to_owned()] {
        let seen = get(&narrow, &path).body;
        assert!(!seen.contains("Secret") && !seen.contains("Board"), "{path}: {seen}");
    }
    let one = super::id_of(&api, "1");
    let history = get(&narrow, &format!("/api/v1/members/{one}/history")).body;
    assert!(history.contains("Sales") && !history.contains("First1"), "{history}");
    assert_eq!(get(&narrow, &format!("/api/v1/uploads/{upload}/original")).problem(), "missing-right");
    assert_eq!(post(&narrow, "/api/v1/members/search", &json!({ "text": "First" })).problem(), "field-not-allowed");
    let put = |body: &Value| {
        let body = body.to_string();
        let headers = [("Content-Type", "application/json")];
        api.said("PUT", "/api/v1/members", &Said { key: Some(&narrow), headers: &headers, body: body.as_bytes() })
    };
    assert_eq!(put(&json!({ "unique_id": "1", "first_name": "Eve" })).problem(), "field-not-allowed");
    assert_eq!(put(&json!({ "unique_id": "1", "department": "Board" })).json()["results"][0]["status"], "invalid");
    assert_eq!(put(&json!({ "unique_id": "50", "department": "Sales" })).json()["results"][0]["status"], "invalid");

    // A payload may name anybody, so whoever sees some people only sends none.
    let some = muster
        .key(&["--name", "some", "--user", "hris", "--scope", "*", "--department", "Sales", "--rate", "uploads=1000"]);
    let csv = [("Content-Type", "text/csv"), ("Prefer", "wait=60")];
    for (mode, kind) in [("full", "full-not-allowed"), ("partial", "missing-right"), ("leavers", "missing-right")] {
        let said = Said { key: Some(&some), headers: &csv, body: b"employee_id,first_name\n50,Eve\n" };
        assert_eq!(api.said("POST", &format!("/api/v1/uploads?mode={mode}"), &said).problem(), kind);
    }
    assert!(api.get(&format!("/api/v1/members/{member}")).body.contains("Secret"));
    // Nor does whoever writes some fields only decide on change sets, or take them back.
    let writes = muster.key(&["--name", "w", "--user", "hris", "--scope", "*", "--write-fields", "members=location"]);
    for what in ["approve", "reject", "undo"] {
        let answer = post(&writes, &format!("/api/v1/change-sets/{set}/{what}"), &json!({}));
        assert_eq!(answer.problem(), "missing-right");
    }

    // A key of one feed.
    muster.ok(&["feeds", "create", "uk", "--org", "acme", "--mode", "full"]);
    let bound = muster
        .key(&["--name", "uk", "--user", "hris", "--scope", "upload:*", "--feed", "uk", "--rate", "uploads=1000"]);
    let headers = [("Content-Type", "text/csv"), ("Prefer", "wait=60")];
    let csv = people(70..=71, "UK");
    let send =
        |path: &str| api.said("POST", path, &Said { key: Some(&bound), headers: &headers, body: csv.as_bytes() });
    assert_eq!(send("/api/v1/uploads?feed=main&mode=partial").problem(), "wrong-feed");
    assert_eq!(send("/api/v1/uploads").json()["feed"], "uk");
    assert_eq!(get(&bound, &format!("/api/v1/uploads/{upload}")).problem(), "not-found");
    // One that sees some people only may send all of a feed of its own, and of no other.
    let own = muster.key(&[
        "--name", "own", "--user", "hris", "--scope", "upload:*", "--department", "UK", "--feed", "uk", "--rate",
        "uploads=1000",
    ]);
    let csv = people(70..=72, "UK");
    let send = |path: &str| api.said("POST", path, &Said { key: Some(&own), headers: &headers, body: csv.as_bytes() });
    assert_eq!(send("/api/v1/uploads?feed=main&mode=full").problem(), "wrong-feed");
    let sent = send("/api/v1/uploads?mode=full").json();
    assert_eq!((&sent["state"], &sent["counts"]["added"]), (&json!("applied"), &json!(1)), "{sent}");
    muster.verify();
}
