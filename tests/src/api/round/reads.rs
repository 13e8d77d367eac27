//! What was read with which key, and who may see that.

use std::cmp::Reverse;

use chrono::DateTime;
use serde_json::{Value, json};

use super::{each, given_two_feeds, list};
use crate::{
    api::{Api, On, Said, id_of},
    served::within,
};

fn what_a_key_has_read_is_told(on: On) {
    let (api, _) = given_two_feeds(on);
    let muster = &api.muster;
    let leaked = muster.key(&["--name", "leaked", "--user", "hris", "--scope", "*"]);
    let of = |key: &str| key.split('_').nth(2).unwrap().to_owned();
    let upload = api.get("/api/v1/uploads").json()["uploads"][0]["upload_id"].as_str().unwrap().to_owned();
    let set = api.get("/api/v1/change-sets").json()["change_sets"][0]["change_set_id"].as_str().unwrap().to_owned();
    let member = id_of(&api, "1");
    let get = |path: &str| api.said("GET", path, &Said { key: Some(&leaked), ..Said::default() });
    let post = |path: &str, body: Value| {
        let (headers, body) = ([("Content-Type", "application/json")], body.to_string());
        api.said("POST", path, &Said { key: Some(&leaked), headers: &headers, body: body.as_bytes() })
    };
    for path in ["", "/issues", "/original"] {
        assert_eq!(get(&format!("/api/v1/uploads/{upload}{path}")).status, 200);
    }
    for path in ["", "/changes"] {
        assert_eq!(get(&format!("/api/v1/change-sets/{set}{path}")).status, 200);
    }
    for path in ["/old", "/old/known", "/runs?feed=old"] {
        assert_eq!(get(&format!("/api/v1/feeds{path}")).status, 200);
    }
    assert_eq!(post("/api/v1/members/lookup", json!({ "unique_id": "1" })).status, 200);
    // Who looks for somebody and finds nobody has read too: that there is nobody.
    assert_eq!(post("/api/v1/members/lookup", json!({ "email": "planted@example.com" })).status, 404);
    assert_eq!(post("/api/v1/members/search", json!({ "text": "planted" })).json()["total"], 0);
    let log =
        || api.document(&api.key, &format!("/api/v1/keys/access-log?limit=200&key={}", of(&leaked)))["entries"].clone();
    let entries = within("all that was read", || Some(log()).filter(|log| list(log).len() == 11));
    let read: Vec<Value> = list(&entries)
        .iter()
        .rev()
        .map(|e| {
            let about = ["member", "upload_id", "change_set_id", "feed"].map(|name| e[name].clone());
            json!([e["route"], e["status"], about])
        })
        .collect();
    let route = |place: &str, status: u16, about: [Option<&str>; 4]| json!([format!("/api/v1/{place}"), status, about]);
    let (of_upload, of_set, of_feed) =
        ([None, Some(&*upload), None, None], [None, None, Some(&*set), None], [None, None, None, Some("old")]);
    assert_eq!(
        read,
        [
            route("uploads/{id}", 200, of_upload),
            route("uploads/{id}/issues", 200, of_upload),
            route("uploads/{id}/original", 200, of_upload),
            route("change-sets/{id}", 200, of_set),
            route("change-sets/{id}/changes", 200, of_set),
            route("feeds/{name}", 200, of_feed),
            route("feeds/{name}/known", 200, of_feed),
            route("feeds/runs", 200, of_feed),
            route("members/lookup", 200, [Some(&*member), None, None, None]),
            route("members/lookup", 404, [None; 4]),
            route("members/search", 200, [None; 4]),
        ]
    );
    let said = entries.to_string().to_lowercase();
    assert!(!said.contains("planted") && !said.contains("example.com"), "{said}");

    // The command line says the same.
    let told = api.command(&["keys", "access-log", "--key", &of(&leaked)]);
    assert_eq!(each(list(&told["entries"]), "upload"), each(list(&entries), "upload_id"));
    let people = muster.says(&["keys", "access-log", "--org", "acme"]);
    for about in
        [format!("upload {upload}"), format!("change set {set}"), "feed old".to_owned(), format!("member {member}")]
    {
        assert!(people.contains(&about), "{about}: {people}");
    }
    whoever_is_no_administrator_sees_what_was_read_with_their_own_keys(&api, &leaked);
    for wrong in ["cursor=x", "cursor=1-2", "since=soon", "limit=0"] {
        assert_eq!(api.get(&format!("/api/v1/keys/access-log?{wrong}")).problem(), "unreadable", "{wrong}");
    }
}

fn whoever_is_no_administrator_sees_what_was_read_with_their_own_keys(api: &Api, leaked: &str) {
    let of = |key: &str| key.split('_').nth(2).unwrap().to_owned();
    api.muster.ok(&["users", "create", "--name", "looks", "--service", "--org", "acme", "--role", "viewer"]);
    let own = api.muster.key(&["--name", "own", "--user", "looks", "--scope", "*", "--rate", "requests=9000"]);
    for _ in 0..3 {
        api.document(&own, "/api/v1/feeds/old");
    }
    let path = "/api/v1/keys/access-log?limit=2";
    let of_feed = |entries: &[Value]| entries.iter().filter(|entry| entry["feed"] == "old").count();
    let seen =
        within("what was read", || Some(api.pages(&own, path, "entries").0).filter(|entries| of_feed(entries) == 3));
    assert!(seen.iter().all(|entry| entry["key"] == of(&own)), "{seen:?}");
    assert_eq!(api.document(&own, &format!("{path}&key={}", of(leaked)))["entries"], json!([]));
    let (all, _) = api.pages(&api.key, "/api/v1/keys/access-log?limit=7", "entries");
    assert!(all.iter().any(|entry| entry["key"] == of(&own)) && all.iter().any(|entry| entry["key"] == of(leaked)));
    let at = |entry: &Value| DateTime::parse_from_rfc3339(entry["at"].as_str().unwrap()).unwrap();
    assert!(all.is_sorted_by_key(|entry| Reverse(at(entry))), "newest first");
}

#[test]
fn what_a_key_has_read_is_told_on_sqlite() {
    what_a_key_has_read_is_told(On::Sqlite);
}

#[test]
fn what_a_key_has_read_is_told_on_postgres() {
    what_a_key_has_read_is_told(On::Postgres);
}
