//! Whoever administers an organisation goes round over HTTP as on the command line: feeds and their payloads, what waits and what
//! was rejected, what happened, and what was read with which key.

use serde_json::{Value, json};

use super::{Api, On, Said, people};
use crate::served::Served;

mod reads;

impl Api {
    /// What a command for acme prints.
    pub fn command(&self, args: &[&str]) -> Value {
        self.muster.ok(&[args, &["--org", "acme"]].concat())
    }

    /// What is wrong with a request with a key.
    pub fn wrong(&self, key: &str, method: &str, path: &str, body: &Value) -> String {
        let body = body.to_string();
        let (headers, body) = match method {
            "GET" => (vec![], &b""[..]),
            _ => (vec![("Content-Type", "application/json")], body.as_bytes()),
        };
        self.said(method, path, &Said { key: Some(key), headers: &headers, body }).problem()
    }
}

/// One member of each item.
pub fn each(items: &[Value], name: &str) -> Vec<Value> {
    items.iter().map(|item| item[name].clone()).collect()
}

pub fn list(document: &Value) -> &[Value] {
    document.as_array().unwrap()
}

/// A key that may do everything, but for what is said.
pub fn limited(api: &Api, name: &str, more: &[&str]) -> String {
    api.muster.key(
        &[&["--name", name, "--user", "hris", "--scope", "*", "--rate", "requests=9000,uploads=9000"], more].concat(),
    )
}

/// Two feeds: one with six people of whom it sent a list twice, and one that has sent nothing.
fn given_two_feeds(on: On) -> (Api, u64) {
    let api = Api::start(on);
    for name in ["old", "new"] {
        let made = api.json("POST", "/api/v1/feeds", &json!({ "name": name, "settings": { "mode": "full" } }));
        assert_eq!(made.status, 201, "{}", made.body);
    }
    api.upload("feed=old", &people(1..=6, "Sales"));
    let seq = api.upload("feed=old", &people(1..=6, "Law")).json()["seq"].as_u64().unwrap();
    (api, seq)
}

fn feeds_are_looked_after(on: On) {
    let (api, seq) = given_two_feeds(on);
    let (runs, pages) = api.pages(&api.key, &format!("/api/v1/feeds/runs?limit=1&wait_for={seq}"), "runs");
    let told = api.command(&["feeds", "runs"]);
    assert_eq!((runs.len(), pages), (2, 2));
    for (ours, theirs) in [
        ("upload_id", "upload"),
        ("arrival", "arrival"),
        ("state", "outcome"),
        ("counts", "counts"),
        ("bytes", "size"),
        ("change_set_id", "change_set"),
        ("decided_after", "decided_after"),
        ("notes", "notes"),
        ("feed", "feed"),
    ] {
        assert_eq!(each(&runs, ours), each(list(&told["runs"]), theirs), "{ours}");
    }
    assert_eq!(runs[0]["sent_by_name"], "hris (key all)");
    assert_eq!(api.document(&api.key, "/api/v1/feeds/runs?feed=new")["runs"], json!([]));
    assert_eq!(api.get("/api/v1/feeds/runs?feed=none").problem(), "not-found");
    for wrong in ["limit=0", "cursor=x", "wait_for=100000", "feeds=old"] {
        assert_eq!(api.get(&format!("/api/v1/feeds/runs?{wrong}")).problem(), "unreadable", "{wrong}");
    }
    // When a payload is expected is set as with `muster feeds set --expected`.
    let expect = |body: Value| api.json("PATCH", "/api/v1/feeds/new", &body);
    let set =
        expect(json!({ "expected": "@daily", "expected_timezone": "Europe/Berlin", "expected_grace": "1h" })).json();
    assert_eq!(
        (&set["expected_timezone"], &set["expected_grace_minutes"]),
        (&json!("Europe/Berlin"), &json!(60)),
        "{set}"
    );
    let known = api.document(&api.key, "/api/v1/feeds/new/known")["expected"].clone();
    assert_eq!((&known["grace_minutes"], &known["timezone"]), (&json!(60), &json!("Europe/Berlin")));
    assert_eq!(expect(json!({ "expected": "now and then" })).json()["errors"][0]["pointer"], "/expected");
    assert_eq!(expect(json!({ "expected": "" })).json()["expected"], json!(null));
    // Its address is no feed's.
    assert_eq!(api.json("POST", "/api/v1/feeds", &json!({ "name": "runs" })).problem(), "invalid");

    // Nothing has been sent since now, so that no claim has been renewed for 0 days.
    let path = "/api/v1/feeds/old/known?stale_after=0";
    let (claims, pages) = api.pages(&api.key, &format!("{path}&limit=4"), "not_renewed_claims");
    let shown = api.command(&["feeds", "show", "old", "--stale-after", "0"]);
    assert_eq!(pages, 2);
    assert_eq!(each(&claims, "unique_id"), each(list(&shown["not_renewed_claims"]), "key"));
    assert_eq!(each(&claims, "claimed_since"), each(list(&shown["not_renewed_claims"]), "claimed_since"));
    let known = api.document(&api.key, path);
    assert_eq!((&known["not_renewed"]["count"], &known["filled"]), (&json!(6), &shown["baseline"]["filled"]));
    assert_eq!(known["columns"], shown["baseline"]["columns"]);
    assert_eq!(api.document(&api.key, "/api/v1/feeds/old/known")["not_renewed"]["count"], 0);
    assert_eq!(api.get("/api/v1/feeds/old/known?stale_after=36501").problem(), "unreadable");
    assert_eq!(api.get("/api/v1/feeds/none/known").problem(), "not-found");
    claims_are_handed_over(&api);
    api.muster.verify();
}

fn claims_are_handed_over(api: &Api) {
    let hand_over = |to: &str| api.json("POST", "/api/v1/feeds/old/handover", &json!({ "to": to }));
    let before = api.muster.log();
    for (to, kind) in [("old", "invalid"), ("none", "invalid")] {
        let refused = hand_over(to);
        assert_eq!((refused.problem().as_str(), &refused.json()["errors"][0]["pointer"]), (kind, &json!("/to")));
    }
    assert_eq!(api.json("POST", "/api/v1/feeds/none/handover", &json!({ "to": "new" })).problem(), "not-found");
    assert_eq!(before, api.muster.log(), "whatever is refused changes nothing");
    let held = api.upload("feed=new&mode=partial&hold=true", &people(9..=9, "Press")).json();
    assert_eq!(hand_over("new").problem(), "conflict", "what waits was compared with the claims as they are");
    let set = format!("/api/v1/change-sets/{}", held["change_set_id"].as_str().unwrap());
    let tag = api.get(&set).header("etag").unwrap().to_owned();
    assert_eq!(api.send("POST", &format!("{set}/reject"), &[("If-Match", &tag)], b"").status, 200);

    let (before, trial) = (api.muster.log(), json!({ "to": "new", "dry_run": true }));
    let tried = api.json("POST", "/api/v1/feeds/old/handover", &trial).json();
    assert_eq!((&tried["claims"], &tried["change_set_id"], before), (&json!(6), &json!(null), api.muster.log()));
    let moved = hand_over("new").json();
    assert_eq!((&moved["claims"], &moved["updated"]), (&json!(6), &json!(0)), "{moved}");
    let head = api.get("/api/v1/organisation").json();
    assert_eq!((&moved["seq"], &moved["roster_version"]), (&head["seq"], &head["roster_version"]));
    let claims = |name: &str| api.get(&format!("/api/v1/feeds/{name}")).json()["claims"].clone();
    assert_eq!((claims("old"), claims("new")), (json!(0), json!(6)));
    let nothing = hand_over("new").json();
    assert_eq!((&nothing["change_set_id"], &nothing["claims"]), (&json!(null), &json!(0)), "{nothing}");
    // It is undone like any other change set.
    let set = format!("/api/v1/change-sets/{}", moved["change_set_id"].as_str().unwrap());
    let tag = api.get(&set).header("etag").unwrap().to_owned();
    let undone = api.send("POST", &format!("{set}/undo"), &[("If-Match", &tag)], b"");
    assert_eq!((undone.status, claims("old")), (200, json!(6)), "{}", undone.body);
}

#[test]
fn feeds_are_looked_after_on_sqlite() {
    feeds_are_looked_after(On::Sqlite);
}

#[test]
fn feeds_are_looked_after_on_postgres() {
    feeds_are_looked_after(On::Postgres);
}

/// The names of the files of all organisations' payloads.
fn payloads(api: &Api) -> Vec<String> {
    let within = |dir: std::fs::DirEntry| std::fs::read_dir(dir.path()).unwrap();
    let files = std::fs::read_dir(api.muster.dir.path().join("payloads")).unwrap().flat_map(|dir| within(dir.unwrap()));
    let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_the_columns_of_a_payload_hold_is_shown_and_nothing_of_it_is_kept() {
    let (api, _) = given_two_feeds(On::Sqlite);
    let csv = "Badge No,First Name,Work Email,Shoe\n7,Ann,ann@example.com,38\n8,Bob,bob@example.com,\n";
    let send = |kind: &str, body: &[u8]| api.send("POST", "/api/v1/feeds/old/map", &[("Content-Type", kind)], body);
    let (log, files) = (api.muster.log(), payloads(&api));
    let shown = send("text/csv", csv.as_bytes());
    assert_eq!(shown.status, 200, "{}", shown.body);
    let shown = shown.json();
    let file = api.muster.file("staff.csv", csv);
    let told = api.command(&["map", &file, "--feed", "old"]);
    for (name, value) in shown.as_object().unwrap() {
        assert_eq!(value, &told[name], "{name}");
    }
    assert_eq!(
        each(list(&shown["columns"]), "field"),
        json!(["employee_id", "first_name", "email", null]).as_array().unwrap()[..]
    );
    // The same in a form and in JSON, where more may be said; what names another feed is no payload of this one.
    let form = format!(
        "--x\r\nContent-Disposition: form-data; name=\"mode\"\r\n\r\nfull\r\n\
         --x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.csv\"\r\n\r\n{csv}\r\n--x--\r\n"
    );
    let formed = send("multipart/form-data; boundary=x", form.as_bytes());
    assert_eq!(formed.json()["columns"], shown["columns"], "{}", formed.body);
    let rows = json!({ "mode": "full", "rows": [{ "Badge No": "7", "First Name": "Ann" }] });
    let in_json = send("application/json", rows.to_string().as_bytes());
    assert_eq!(each(list(&in_json.json()["columns"]), "field"), [json!("employee_id"), json!("first_name")]);
    let others = json!({ "feed": "new", "rows": [{ "Badge No": "7" }] });
    assert_eq!(send("application/json", others.to_string().as_bytes()).problem(), "invalid");
    for (kind, body, problem) in [
        ("text/csv", &b""[..], "refused"),
        ("text/csv", b"[1]", "unsupported-media-type"),
        ("text/html", b"<p>", "unsupported-media-type"),
        ("application/gzip", b"\x1f\x8b\x08nonsense", "refused"),
    ] {
        assert_eq!(send(kind, body).problem(), problem, "{kind}");
    }
    assert_eq!(
        api.send("POST", "/api/v1/feeds/none/map", &[("Content-Type", "text/csv")], b"a\n1\n").problem(),
        "not-found"
    );
    // A digest of something else refuses it, and an idempotency key keeps nothing of it.
    let wrong =
        [("Content-Type", "text/csv"), ("Content-Digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:")];
    assert_eq!(api.send("POST", "/api/v1/feeds/old/map", &wrong, csv.as_bytes()).problem(), "refused");
    let with_key = [("Content-Type", "text/csv"), ("Idempotency-Key", "map")];
    for _ in 0..2 {
        let answer = api.send("POST", "/api/v1/feeds/old/map", &with_key, csv.as_bytes());
        assert_eq!((answer.status, answer.header("idempotency-replayed")), (200, None));
    }
    assert_eq!((log, files), (api.muster.log(), payloads(&api)), "nothing was stored");
    // What it said is saved by whoever wants it.
    let saved = api.json("PATCH", "/api/v1/feeds/old", &json!({ "mapping": shown["mapping"] })).json();
    assert_eq!((&saved["mapping"], &saved["mapping_version"]), (&shown["mapping"], &json!(1)));
    assert_eq!(send("text/csv", csv.as_bytes()).json()["columns"][0]["confidence"], "said");
    let versions = api.document(&api.key, "/api/v1/feeds/old/known")["mapping_versions"].clone();
    assert_eq!((&versions[0]["version"], &versions[0]["actor_name"]), (&json!(1), &json!("hris (key all)")));
    api.muster.verify();
}

fn what_happened_is_told_as_on_the_command_line(on: On) {
    let (api, _) = given_two_feeds(on);
    let held = api.upload("feed=old&hold=true", &people(1..=5, "Law")).json();
    let seq = held["seq"].as_u64().unwrap();
    let board = api.document(&api.key, &format!("/api/v1/dashboard?wait_for={seq}"));
    let told = api.command(&["dashboard"]);
    for name in ["day", "eligible", "weeks", "seq"] {
        assert_eq!(board[name], told[name], "{name}");
    }
    let joined: u64 = list(&board["weeks"]).iter().filter_map(|week| week["joined"].as_u64()).sum();
    assert_eq!((&board["eligible"], joined, list(&board["weeks"]).len()), (&json!(6), 6, 8), "{board}");
    assert_eq!(each(list(&board["feeds"]), "feed"), each(list(&told["feeds"]), "feed"));
    let old = list(&board["feeds"]).iter().find(|of| of["feed"] == "old").unwrap();
    assert_eq!((&old["last"]["upload_id"], &old["last"]["state"]), (&held["upload_id"], &json!("held")));
    assert_eq!(
        (&board["waiting"][0]["change_set_id"], &board["waiting"][0]["feed"]),
        (&held["change_set_id"], &json!("old"))
    );
    assert_eq!(list(&api.document(&api.key, "/api/v1/dashboard?weeks=1&on=2020-01-01")["weeks"]).len(), 1);
    for wrong in ["weeks=0", "weeks=521", "on=soon", "wait_for=100000"] {
        assert_eq!(api.get(&format!("/api/v1/dashboard?{wrong}")).problem(), "unreadable", "{wrong}");
    }

    let (happened, pages) = api.pages(&api.key, &format!("/api/v1/activity?limit=3&wait_for={seq}"), "activity");
    let told = api.command(&["activity"]);
    assert_eq!(pages, happened.len().div_ceil(3));
    for name in ["seq", "at", "actor", "kind", "sentence"] {
        assert_eq!(each(&happened, name), each(list(&told["activity"]), name), "{name}");
    }
    let pushed = happened.iter().find(|one| one["kind"] == "upload.received").unwrap();
    assert_eq!((&pushed["feed"], &pushed["upload_id"]), (&json!("old"), &held["upload_id"]));
    assert_eq!(pushed["actor_name"], "hris (key all)");
    assert!(pushed["sentence"].as_str().unwrap().starts_with("hris (key all) pushed "), "{pushed}");
    assert_eq!(api.get("/api/v1/activity?cursor=x").problem(), "unreadable");
}

#[test]
fn what_happened_is_told_as_on_the_command_line_on_sqlite() {
    what_happened_is_told_as_on_the_command_line(On::Sqlite);
}

#[test]
fn what_happened_is_told_as_on_the_command_line_on_postgres() {
    what_happened_is_told_as_on_the_command_line(On::Postgres);
}

#[test]
fn an_upload_that_waits_is_given_up_by_whoever_may() {
    let Api { key, served, muster } = Api::start(On::Sqlite);
    assert!(served.end().success());
    // Nobody works on what comes.
    let api = Api { key, served: Served::start(&muster, &["--roles", "api"]), muster };
    let sent = |feed: &str| {
        let path = format!("/api/v1/uploads?mode=partial&feed={feed}");
        let sent = api.send("POST", &path, &[("Content-Type", "text/csv")], people(1..=3, "Sales").as_bytes());
        assert_eq!((sent.status, &sent.json()["state"]), (202, &json!("received")), "{}", sent.body);
        format!("/api/v1/uploads/{}", sent.json()["upload_id"].as_str().unwrap())
    };
    api.json("POST", "/api/v1/feeds", &json!({ "name": "uk" }));
    let (upload, other) = (sent("main"), sent("uk"));
    let give_up = |key: &str, upload: &str| {
        api.said("POST", &format!("{upload}/give-up"), &Said { key: Some(key), ..Said::default() })
    };
    let sends = api.muster.key(&["--name", "sends", "--user", "hris", "--scope", "upload:create,upload:read"]);
    let lacking = give_up(&sends, &upload);
    assert_eq!((lacking.problem().as_str(), &lacking.json()["scope"]), ("missing-right", &json!("upload:delete")));
    let bound = limited(&api, "bound", &["--feed", "uk"]);
    assert_eq!(give_up(&bound, &upload).problem(), "not-found");
    for limit in [
        &["--department", "Sales"][..],
        &["--write-fields", "members=location"],
        &["--read-fields", "members=location"],
    ] {
        assert_eq!(give_up(&limited(&api, "narrow", limit), &upload).problem(), "missing-right", "{limit:?}");
    }
    assert_eq!(api.get(&upload).json()["state"], "received", "nothing was done");
    let given_up = give_up(&api.key, &upload);
    assert_eq!((given_up.status, &given_up.json()["state"]), (200, &json!("refused")), "{}", given_up.body);
    assert_eq!(given_up.json()["seq"], api.get("/api/v1/organisation").json()["seq"]);
    assert_eq!(api.get(&upload).json()["state"], "refused");
    assert_eq!(give_up(&api.key, &upload).problem(), "conflict");
    assert_eq!(give_up(&bound, &other).json()["state"], "refused", "its own feed's");
    assert_eq!(give_up(&api.key, "/api/v1/uploads/00000000-0000-0000-0000-000000000001").problem(), "not-found");
    api.muster.verify();
}

/// A roster of four of whom three had changes rejected: two departments, and one location.
fn given_rejections() -> Api {
    let api = Api::start(On::Sqlite);
    api.json("POST", "/api/v1/feeds", &json!({ "name": "uk" }));
    api.upload("mode=full", &people(1..=4, "Sales"));
    let reject = |feed: &str, csv: &str, only: &[&str]| {
        let held = api.upload(&format!("mode=partial&hold=true&feed={feed}"), csv).json();
        let set = format!("/api/v1/change-sets/{}", held["change_set_id"].as_str().unwrap());
        let tag = api.get(&set).header("etag").unwrap().to_owned();
        let headers = [("Content-Type", "application/json"), ("If-Match", &tag)];
        let body = json!({ "only": only }).to_string();
        let done = api.send("POST", &format!("{set}/reject"), &headers, body.as_bytes());
        assert_eq!(done.status, 200, "{}", done.body);
    };
    reject("main", &people(1..=2, "Law"), &["1", "2"]);
    reject("main", "employee_id,location\n1,Rome\n3,Paris\n", &["1", "3"]);
    api
}

#[test]
fn what_was_rejected_is_listed_for_whoever_sees_it() {
    let api = given_rejections();
    let path = "/api/v1/change-sets/rejected?limit=1";
    let (rejected, pages) = api.pages(&api.key, path, "rejected");
    let told = api.command(&["changes", "rejected"]);
    assert_eq!((rejected.len(), pages), (4, 4), "{rejected:?}");
    assert_eq!(each(&rejected, "unique_id"), each(list(&told["rejected"]), "key"));
    for name in ["feed", "field", "value", "since", "reason"] {
        assert_eq!(each(&rejected, name), each(list(&told["rejected"]), name), "{name}");
    }
    for wrong in ["cursor=1", "cursor=1.2.x", "limit=0"] {
        assert_eq!(api.get(&format!("/api/v1/change-sets/rejected?{wrong}")).problem(), "unreadable", "{wrong}");
    }
    // Who sees some people, fields or another feed sees what is about these.
    let seen = |limits: &[&str]| {
        let (seen, _) = api.pages(&limited(&api, "limited", limits), path, "rejected");
        (each(&seen, "value"), each(&seen, "unique_id"))
    };
    assert_eq!(seen(&["--feed", "uk"]).0, Vec::<Value>::new());
    assert_eq!(seen(&["--feed", "main"]).0.len(), 4);
    let (values, keys) = seen(&["--read-fields", "members=location"]);
    assert_eq!((values, keys), (vec![json!("Rome"), json!("Paris")], vec![json!(null), json!(null)]));
    assert_eq!(seen(&["--read-fields", "members=employee_id"]), (vec![], vec![]));
    api.json("PUT", "/api/v1/members", &json!({ "unique_id": "3", "department": "Board" }));
    assert_eq!(seen(&["--department", "Board"]), (vec![json!("Paris")], vec![json!("3")]));
    api.muster.verify();
}

#[test]
fn whoever_sees_a_part_goes_round_in_that_part() {
    let (api, seq) = given_two_feeds(On::Sqlite);
    api.upload("mode=full", &people(20..=22, "Board"));
    let bound = limited(&api, "bound", &["--feed", "new"]);
    api.upload("feed=new", &people(30..=30, "Law"));
    let runs = api.document(&bound, &format!("/api/v1/feeds/runs?wait_for={seq}"));
    assert_eq!(each(list(&runs["runs"]), "feed"), ["new"]);
    assert_eq!(api.wrong(&bound, "GET", "/api/v1/feeds/runs?feed=old", &json!({})), "not-found");
    let board = api.document(&bound, "/api/v1/dashboard");
    assert_eq!((each(list(&board["feeds"]), "feed"), &board["eligible"]), (vec![json!("new")], &json!(10)));
    let (happened, _) = api.pages(&bound, "/api/v1/activity?limit=2", "activity");
    assert!(happened.iter().all(|one| one["feed"] == "new" || one["feed"].is_null()), "{happened:?}");
    let (all, _) = api.pages(&api.key, "/api/v1/activity?limit=200", "activity");
    let own: Vec<&Value> = all.iter().filter(|one| one["feed"] == "new" || one["feed"].is_null()).collect();
    assert!(own.len() < all.len() && own.iter().any(|one| one["feed"] == "new"));
    assert_eq!(happened.iter().collect::<Vec<_>>(), own, "nothing is passed over between pages");

    let some = limited(&api, "some", &["--department", "Board"]);
    let claims = |key: &str, feed: &str| api.document(key, &format!("/api/v1/feeds/{feed}/known?stale_after=0"));
    assert_eq!(
        (&claims(&some, "main")["not_renewed"]["count"], &claims(&some, "old")["not_renewed"]["count"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(claims(&some, "old")["not_renewed_claims"], json!([]));
    assert_eq!(claims(&some, "main")["filled"], json!({}));
    assert_ne!(claims(&api.key, "main")["filled"], json!({}));
    let fields = limited(&api, "fields", &["--read-fields", "members=department"]);
    let seen = claims(&fields, "old");
    assert!(list(&seen["not_renewed_claims"]).iter().all(|claim| claim["unique_id"].is_null()), "{seen}");
    assert_eq!(seen["filled"], json!({ "department": 6 }));
    let writes = limited(&api, "writes", &["--write-fields", "members=location"]);
    let before = api.muster.log();
    for key in [&some, &fields, &writes] {
        assert_eq!(api.wrong(key, "POST", "/api/v1/feeds/old/handover", &json!({ "to": "new" })), "missing-right");
    }
    assert_eq!(api.wrong(&bound, "POST", "/api/v1/feeds/new/handover", &json!({ "to": "old" })), "missing-right");
    for key in [&some, &fields] {
        assert_eq!(api.wrong(key, "POST", "/api/v1/feeds/old/map", &json!([{ "a": 1 }])), "missing-right");
    }
    for key in [&some, &fields, &bound] {
        assert_eq!(api.wrong(key, "GET", "/api/v1/keys/access-log", &json!({})), "missing-right");
    }
    assert_eq!(api.wrong(&some, "GET", "/api/v1/dashboard", &json!({})), "missing-right");
    let numbers = api.muster.key(&["--name", "numbers", "--user", "hris", "--scope", "settings:read,feed:read"]);
    let board = api.document(&numbers, "/api/v1/dashboard");
    assert!(board["waiting"].is_null() && list(&board["feeds"]).len() > 1 && board["eligible"] == 10, "{board}");
    assert_eq!(before, api.muster.log(), "nothing was changed");
}
