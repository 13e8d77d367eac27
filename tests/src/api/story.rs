//! What people do with the API when all is well, and when they must be told no.

use serde_json::json;

use super::{Api, On, id_of, people};

fn a_roster_is_kept_in_step(on: On) {
    let api = Api::start(on);
    let sent = api.upload("mode=full", &people(1..=20, "Sales"));
    assert_eq!(
        (sent.status, &sent.json()["state"], &sent.json()["counts"]["added"]),
        (200, &json!("applied"), &json!(20))
    );
    let upload = sent.header("location").unwrap().to_owned();
    assert_eq!(api.get(&upload).json()["upload_id"], sent.json()["upload_id"]);

    // One person is changed, one is new, one is as before, and of one nothing can be taken.
    let rows = json!([
        { "unique_id": "1", "department": null }, { "unique_id": "99", "first_name": "New" },
        { "unique_id": "2", "department": "Sales" }, { "unique_id": "3", "end_date": "nonsense" },
    ]);
    let put = api.json("PUT", "/api/v1/members", &rows);
    let statuses: Vec<_> = put.json()["results"].as_array().unwrap().iter().map(|r| r["status"].clone()).collect();
    assert_eq!(statuses, ["updated", "created", "no_changes", "invalid"], "{}", put.body);
    assert!(put.json()["results"][3]["reason"].as_str().unwrap().contains("YYYY-MM-DD"));

    // A push speaks for the feed as its lists do: what was last said counts, until the feed says something else.
    let again = api.upload("mode=partial", &people(2..=20, "Sales"));
    assert_eq!(again.json()["counts"]["updated"], 0, "{}", again.body);

    let ask = |question: serde_json::Value| api.json("POST", "/api/v1/eligibility", &question).json();
    assert_eq!(ask(json!({ "unique_id": "1" }))["eligible"], true);
    let answers = ask(json!([{ "email": "p5@example.com" }, { "unique_id": "nobody" }]));
    assert_eq!((&answers[0]["eligible"], &answers[1]["reason"]), (&json!(true), &json!("never_listed")));

    let id = id_of(&api, "1");
    let shown = api.get(&format!("/api/v1/members/{id}"));
    assert_eq!(shown.json()["fields"]["department"], json!(null));
    let tag = shown.header("etag").unwrap().to_owned();
    let fresh = api.send("GET", &format!("/api/v1/members/{id}"), &[("If-None-Match", &tag)], b"");
    assert_eq!(fresh.status, 304);
    let change = |tag: &str| {
        let headers = [("Content-Type", "application/json"), ("If-Match", tag)];
        api.send("PATCH", &format!("/api/v1/members/{id}"), &headers, br#"{"location":"Rome"}"#)
    };
    assert_eq!(change("\"other\"").problem(), "stale");
    assert_eq!(change(&tag).json()["results"][0]["status"], "updated");
    assert_eq!(change(&tag).problem(), "stale");
    let version = ask(json!({ "id": id }))["roster_version"].as_u64().unwrap();
    assert_eq!(version, 3, "the list, the push and the change");
    let history = api.get(&format!("/api/v1/members/{id}/history")).json();
    let fields: Vec<_> = history["entries"].as_array().unwrap().iter().filter_map(|e| e["field"].as_str()).collect();
    assert!(fields.contains(&"department") && fields.contains(&"location"), "{history}");

    let found = api.json("POST", "/api/v1/members/search", &json!({ "text": "first5 last5" })).json();
    assert_eq!((&found["total"], &found["members"][0]["unique_id"]), (&json!(1), &json!("5")));
    assert_eq!(api.get("/api/v1/members?text=first5").problem(), "unreadable", "addresses end in logs");
    let (mut met, mut cursor) = (0, None::<String>);
    loop {
        let at = cursor.map(|c| format!("&cursor={c}")).unwrap_or_default();
        let page = api.get(&format!("/api/v1/members?limit=8&sort=key{at}")).json();
        met += page["members"].as_array().unwrap().len();
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(met, 21);

    let gone = api.send("DELETE", &format!("/api/v1/members/{id}"), &[], b"");
    assert_eq!(gone.json()["results"][0]["status"], "removed", "{}", gone.body);
    assert_eq!(ask(json!({ "id": id }))["reason"], "not_listed");
    // Who did all this stands in the log: the key, and the user on whose behalf it acts.
    let log = String::from_utf8(api.muster.log()).unwrap();
    let key_id = api.key.split('_').nth(2).unwrap();
    let applied: Vec<&str> = log.lines().filter(|l| l.contains(r#""type":"change_set.applied""#)).collect();
    assert!(!applied.is_empty() && applied.iter().all(|l| l.contains(&format!("key:{key_id} user:"))), "{applied:?}");
    api.muster.verify();
}

#[test]
fn a_roster_is_kept_in_step_on_sqlite() {
    a_roster_is_kept_in_step(On::Sqlite);
}

#[test]
fn a_roster_is_kept_in_step_on_postgres() {
    a_roster_is_kept_in_step(On::Postgres);
}

#[test]
fn what_is_held_is_decided_by_whoever_names_what_they_saw() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=20, "Sales"));
    let held = api.upload("mode=full&hold=true", &people(1..=18, "Sales"));
    assert_eq!((held.status, &held.json()["state"]), (200, &json!("held")), "{}", held.body);
    let set = format!("/api/v1/change-sets/{}", held.json()["change_set_id"].as_str().unwrap());
    let tag = api.get(&set).header("etag").unwrap().to_owned();
    let changes = api.get(&format!("{set}/changes?kind=remove")).json();
    assert_eq!(changes["changes"].as_array().unwrap().len(), 2, "{changes}");
    let lines = api.send("GET", &format!("{set}/changes"), &[("Accept", "application/x-ndjson")], b"");
    assert!(lines.body.lines().count() >= 2, "{}", lines.body);
    let decide = |what: &str, headers: &[(&str, &str)]| api.send("POST", &format!("{set}/{what}"), headers, b"");
    assert_eq!(decide("approve", &[]).problem(), "precondition-required");
    // A choice that would be passed over, since nobody says what it is written in, decides nothing.
    let only = api.send("POST", &format!("{set}/approve"), &[("If-Match", &tag)], br#"{"only":["19"]}"#);
    assert_eq!(only.problem(), "unsupported-media-type");
    let stale = decide("approve", &[("If-Match", "\"other\"")]);
    assert_eq!((stale.problem().as_str(), &stale.json()["waiting"]), ("stale", &json!(2)));
    assert_eq!(stale.json()["since"], json!([]), "it never had that digest");
    let headers = [("If-Match", tag.as_str()), ("Content-Type", "application/json")];
    let one = api.send("POST", &format!("{set}/approve"), &headers, br#"{"only":["19"]}"#);
    assert_eq!((one.status, &one.json()["state"]), (200, &json!("partly_applied")), "{}", one.body);
    let stale = decide("approve", &[("If-Match", &tag)]).json();
    let since = &stale["since"][0];
    assert_eq!((&since["what"], &since["changes"], &stale["waiting"]), (&json!("applied"), &json!(1), &json!(1)));
    assert!(since["by"] == "hris (key all)" && since["at"].is_string(), "{stale}");
    let tag = format!("{:?}", stale["digest"].as_str().unwrap());
    let done = decide("approve", &[("If-Match", &tag)]);
    assert_eq!((done.status, &done.json()["state"]), (200, &json!("applied")), "{}", done.body);
    // That all of it is applied by now was not seen yet.
    for what in ["approve", "reject", "undo"] {
        let stale = decide(what, &[("If-Match", &tag)]).json();
        assert_eq!((&stale["waiting"], &stale["since"][0]["what"]), (&json!(0), &json!("applied")), "{what}: {stale}");
    }
    let tag = format!("{:?}", done.json()["digest"].as_str().unwrap());
    assert_eq!(decide("approve", &[("If-Match", &tag)]).problem(), "conflict");
    let undone = decide("undo", &[("If-Match", &tag)]);
    assert_eq!(undone.json()["reports"][0]["counts"]["reinstated"], 2, "{}", undone.body);
    api.muster.verify();
}

#[test]
fn the_same_request_again_gets_the_same_answer() {
    let api = Api::start(On::Sqlite);
    let put = |key: &str, body: &str| {
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        api.send("PUT", "/api/v1/members", &headers, body.as_bytes())
    };
    let first = put("one", r#"{"unique_id":"1"}"#);
    let again = put("one", r#"{"unique_id":"1"}"#);
    assert_eq!((first.json(), again.header("idempotency-replayed")), (again.json(), Some("true")));
    assert_eq!(put("one", r#"{"unique_id":"2"}"#).problem(), "idempotency-mismatch");
    // The boundary of a form is another with each try; what is in it is the same.
    let form = |boundary: &str, csv: &str| {
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.csv\"\r\n\r\n{csv}\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"mode\"\r\n\r\nfull\r\n--{boundary}--\r\n"
        );
        let kind = format!("multipart/form-data; boundary={boundary}");
        let headers = [("Content-Type", kind.as_str()), ("Idempotency-Key", "form"), ("Prefer", "wait=60")];
        api.send("POST", "/api/v1/uploads", &headers, body.as_bytes())
    };
    let first = form("aaa", &people(1..=3, "Sales"));
    let again = form("bbb", &people(1..=3, "Sales"));
    assert_eq!((first.status, &first.json()["upload_id"]), (200, &again.json()["upload_id"]), "{}", again.body);
    assert_eq!(form("ccc", &people(1..=4, "Sales")).problem(), "idempotency-mismatch");
    // A key's text is answered once.
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", "key")];
    let make = || api.send("POST", "/api/v1/keys", &headers, br#"{"name":"weak","scopes":["member:read"]}"#);
    assert!(make().json()["key"].as_str().unwrap().starts_with("mk_live_"));
    assert_eq!(make().json()["key"], json!(null));
}

#[test]
fn a_client_of_the_widespread_contract_needs_no_change() {
    let api = Api::start(On::Sqlite);
    let row = json!({ "uniqueId": "1", "firstName": "Ann", "role": "Nurse", "endDate": "2031-01-01" });
    let made = api.json("PUT", "/api/public/members", &row).json();
    assert_eq!((&made["total"], &made["created"], &made["noChanges"]), (&json!(1), &json!(1), &json!(0)), "{made}");
    let again = api.json("PUT", "/api/public/members", &json!([row])).json();
    assert_eq!(again["results"][0], json!({ "uniqueId": "1", "status": "noChanges" }));
    let id = id_of(&api, "1");
    let fields = api.get(&format!("/api/v1/members/{id}")).json()["fields"].clone();
    assert_eq!((&fields["job_title"], &fields["end_date"]), (&json!("Nurse"), &json!("2031-01-01")));
    let list = json!({ "mode": "full", "rows": [{ "uniqueId": "2", "firstName": "Bob" }] });
    let sent = api.json("POST", "/api/public/upload", &list).json();
    assert_eq!((&sent["created"], &sent["removed"]), (&json!(1), &json!(1)), "{sent}");
    let unknown = api.json("PUT", "/api/public/members", &json!({ "uniqueId": "1", "first_name": "Ann" }));
    assert_eq!(unknown.json()["errors"][0]["pointer"], "/first_name");
}

#[test]
fn events_are_read_on_from_where_one_was() {
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=5, "Sales"));
    let (mut seqs, mut cursor) = (Vec::new(), "start".to_owned());
    loop {
        let page = api.get(&format!("/api/v1/events?after={cursor}&limit=3"));
        let lines: Vec<serde_json::Value> =
            dechunked(&page).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        if lines.is_empty() {
            break;
        }
        seqs.extend(lines.iter().map(|l| l["meta"]["seq"].as_u64().unwrap()));
        cursor = page.header("x-next-cursor").unwrap().to_owned();
    }
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert!(seqs.len() > 6);
    assert_eq!(api.get("/api/v1/events?after=0000:3").problem(), "unreadable");
}

/// A body that came in chunks, put together.
pub(super) fn dechunked(answer: &crate::served::Answer) -> String {
    if !answer.headers.contains("transfer-encoding: chunked") {
        return answer.body.clone();
    }
    let (mut rest, mut whole) = (answer.body.as_str(), String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    whole
}
