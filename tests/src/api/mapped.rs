//! Mappings over HTTP: one for a payload alone, and an earlier one of a feed put back.

use serde_json::{Value, json};

use super::{
    Api, On, Said,
    bodies::files,
    people,
    round::{each, limited, list},
};
use crate::served::{Answer, Served, until};

const CSV: (&str, &str) = ("Content-Type", "text/csv");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=b");
const WAIT: (&str, &str) = ("Prefer", "wait=60");

/// As it stands in the address.
fn parameter(mapping: &Value) -> String {
    let bytes = mapping.to_string().into_bytes();
    let text: String = bytes.iter().map(|b| format!("%{b:02X}")).collect();
    format!("mapping={text}")
}

/// A form with a file, and a mapping behind it.
fn form(file: &str, mapping: &str) -> String {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.csv\"\r\n\r\n{file}\r\n\
         --b\r\nContent-Disposition: form-data; name=\"mapping\"\r\n\r\n{mapping}\r\n--b--\r\n"
    )
}

impl Api {
    fn send_list(&self, parameters: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send("POST", &format!("/api/v1/uploads?{parameters}"), &[headers, &[WAIT]].concat(), body.as_bytes())
    }

    /// The value of a field of a member.
    fn value(&self, key: &str, field: &str) -> Value {
        let found = self.json("POST", "/api/v1/members/lookup", &json!({ "unique_id": key }));
        self.get(&format!("/api/v1/members/{}", found.json()["id"].as_str().unwrap())).json()["fields"][field].clone()
    }
}

fn done(answer: &Answer) -> Value {
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("applied")), "{}", answer.body);
    answer.json()
}

fn a_payload_is_read_by_its_own_mapping(on: On) {
    let api = Api::start(on);
    done(&api.upload("mode=full", &people(1..=5, "Sales")));
    let by = |field: &str| json!({ "unique_id": "XA", "department": field });
    let list = |team: &str, site: &str| format!("XA,XB,XC\n1,{team},{site}\n");

    // In the address, in a form, and in JSON.
    let sent = done(&api.send_list(&format!("mode=partial&{}", parameter(&by("XB"))), &[CSV], &list("Law", "Rome")));
    assert_eq!(sent["mapping"], json!({ "employee_id": "XA", "department": "XB" }));
    assert_eq!(api.value("1", "department"), "Law");
    let sent = done(&api.send_list("mode=partial", &[FORM], &form(&list("Law", "Rome"), &by("XC").to_string())));
    assert_eq!((&sent["mapping"]["department"], api.value("1", "department")), (&json!("XC"), json!("Rome")));
    let body = |mapping: Value| json!({ "mode": "partial", "mapping": mapping, "rows": [{ "XA": "1", "XB": "Lab", "XC": "Bonn" }] });
    done(&api.send_list("", &[JSON], &body(by("XB")).to_string()));
    assert_eq!(api.value("1", "department"), "Lab");
    // What the address says counts for more.
    done(&api.send_list(&parameter(&by("XC")), &[JSON], &body(by("XB")).to_string()));
    assert_eq!(api.value("1", "department"), "Bonn");
    // No column holds a field of which is said null, or nothing, whatever its name.
    for none in [json!(null), json!("")] {
        let not = parameter(&json!({ "department": none, "location": "XB" }));
        let sent = done(&api.send_list(
            &format!("mode=partial&{not}"),
            &[CSV],
            &format!("employee_id,department,XB\n1,Board,Site {}\n", none.is_null()),
        ));
        assert_eq!(sent["mapping"], json!({ "department": "", "location": "XB" }));
        assert_eq!(api.value("1", "department"), "Bonn");
    }
    assert_eq!(api.value("1", "location"), "Site false");

    // It is of that payload alone: nobody else's list is read by it, and the feed has none.
    let without = api.send_list("mode=partial", &[CSV], &list("Law", "Rome")).json();
    assert_eq!((&without["state"], without.get("mapping")), (&json!("refused"), None), "{without}");
    let feed = api.get("/api/v1/feeds/main").json();
    assert_eq!((&feed["mapping"], &feed["mapping_version"]), (&json!({}), &json!(0)));
    // The command line shows it too, and did the same.
    let file = api.muster.file("list.csv", &list("Press", "Oslo"));
    api.command(&["sync", &file, "--mode", "partial", "--map", "unique_id=XA", "--map", "department=XB"]);
    assert_eq!(
        api.command(&["uploads", "list"])["uploads"][0]["mapping"],
        json!({ "employee_id": "XA", "department": "XB" })
    );
    let upload = api.get("/api/v1/uploads?limit=1").json()["uploads"][0].clone();
    assert_eq!((&upload["mapping"]["department"], api.value("1", "department")), (&json!("XB"), json!("Press")));
    api.muster.verify();
}

#[test]
fn a_payload_is_read_by_its_own_mapping_on_sqlite() {
    a_payload_is_read_by_its_own_mapping(On::Sqlite);
}

#[test]
fn a_payload_is_read_by_its_own_mapping_on_postgres() {
    a_payload_is_read_by_its_own_mapping(On::Postgres);
}

#[test]
fn whoever_works_on_it_later_reads_it_by_its_mapping_and_the_same_key_with_another_is_refused() {
    let mut api = Api::start(On::Sqlite);
    // Nobody works on uploads until there is a worker.
    api.served = Served::start(&api.muster, &["--roles", "api"]);
    let send = |column: &str| {
        let path = format!("/api/v1/uploads?mode=full&{}", parameter(&json!({ "unique_id": column })));
        api.send("POST", &path, &[CSV, ("Idempotency-Key", "monday")], b"XA,XB\n1,7\n2,8\n3,9\n")
    };
    let taken = send("XA");
    assert_eq!((taken.status, &taken.json()["state"]), (202, &json!("received")), "{}", taken.body);
    assert_eq!(send("XA").json()["upload_id"], taken.json()["upload_id"]);
    let other = send("XB");
    assert_eq!((other.status, other.problem().as_str()), (422, "idempotency-mismatch"), "{}", other.body);
    let _worker = Served::start(&api.muster, &["--roles", "worker"]);
    let path = taken.header("location").unwrap();
    until("the upload to be applied", || api.get(path).json()["state"] == "applied");
    let found = |key: &str| api.json("POST", "/api/v1/members/lookup", &json!({ "unique_id": key })).status;
    assert_eq!((["1", "2", "3"].map(found), ["7", "8", "9"].map(found)), ([200; 3], [404; 3]));
    api.muster.verify();
}

#[test]
fn a_mapping_that_makes_no_sense_is_pointed_to_and_nothing_is_taken() {
    let api = Api::start(On::Sqlite);
    done(&api.upload("mode=full", &people(1..=5, "Sales")));
    let before = (api.muster.log(), files(&api));
    let csv = "XA,XB\n1,Law\n";
    let wrong = [
        (json!({ "shoe_size": "XB" }), "/mapping/shoe_size", "no field `shoe_size`"),
        (json!({ "a/b~c": "XB" }), "/mapping/a~1b~0c", "no field"),
        (json!({ "email": "XB", "location": " XB" }), "/mapping/location", "given to email too"),
        (json!({ "unique_id": "XA", "employee_id": "XB" }), "/mapping/unique_id", "named twice"),
        (json!({ "location": 7 }), "/mapping/location", "must be"),
        (json!({ "location": ["XB"] }), "/mapping/location", "must be"),
        (json!([["location", "XB"]]), "/mapping", "object of column names by field"),
        (json!("location=XB"), "/mapping", "object of column names by field"),
        (json!(7), "/mapping", "object of column names by field"),
    ];
    let said = |answer: &Answer, pointer: &str, why: &str, what: &str| {
        let problem = (answer.status, answer.problem());
        assert_eq!(problem, (422, "invalid".to_owned()), "{what}: {}", answer.body);
        let error = &answer.json()["errors"][0];
        assert_eq!(error["pointer"], pointer, "{what}: {}", answer.body);
        assert!(error["detail"].as_str().unwrap().contains(why), "{what}: {}", answer.body);
    };
    for (mapping, pointer, why) in &wrong {
        let what = mapping.to_string();
        let address = api.send_list(&format!("mode=partial&{}", parameter(mapping)), &[CSV], csv);
        said(&address, pointer, why, &what);
        said(&api.send_list("mode=partial", &[FORM], &form(csv, &what)), pointer, why, &what);
        let body = json!({ "mode": "partial", "mapping": mapping, "rows": [{ "XA": "1" }] }).to_string();
        said(&api.send_list("", &[JSON], &body), pointer, why, &what);
        let map = format!("/api/v1/feeds/main/map?{}", parameter(mapping));
        said(&api.send("POST", &map, &[CSV], csv.as_bytes()), pointer, why, &what);
    }
    for text in ["mapping=", "mapping=department%3DXB", "mapping=%7B%22department%22"] {
        said(&api.send_list(&format!("mode=partial&{text}"), &[CSV], csv), "/mapping", "in JSON", text);
    }
    said(&api.send_list("mode=partial", &[FORM], &form(csv, "{")), "/mapping", "in JSON", "a form");
    let twice = r#"{"mode":"partial","mapping":{"location":"XA","location":"XB"},"rows":[]}"#;
    said(&api.send_list("", &[JSON], twice), "/mapping", "once", twice);
    let many = Value::from_iter((0..=1000).map(|n| (format!("f{n}"), json!("XB"))));
    let many = json!({ "mode": "partial", "mapping": many, "rows": [] }).to_string();
    said(&api.send_list("", &[JSON], &many), "/mapping", "1,000", "many");
    // No name is kept for good that nobody can mean.
    for long in [json!({ "location": "x".repeat(1_001) }), json!({ "x".repeat(1_001): "XB" })] {
        let body = json!({ "mode": "partial", "mapping": long, "rows": [] }).to_string();
        let refused = api.send_list("", &[JSON], &body);
        said(&refused, "/mapping", "1,000 bytes", "long");
        assert!(refused.body.len() < 1_000, "it is not said again");
    }
    // That a column is not there only the payload says.
    let absent = parameter(&json!({ "unique_id": "XA", "location": "Place" }));
    let tried = api.send_list(&format!("mode=partial&dry_run=true&{absent}"), &[CSV], csv);
    assert_eq!((tried.status, tried.problem().as_str()), (422, "refused"), "{}", tried.body);
    assert!(tried.body.contains("Place"), "{}", tried.body);
    assert_eq!(before, (api.muster.log(), files(&api)), "nothing was taken, and nothing is left");
    let sent = api.send_list(&format!("mode=partial&{absent}"), &[CSV], csv).json();
    assert_eq!((&sent["state"], &sent["counts"]["rows"]), (&json!("refused"), &json!(0)), "{sent}");
    assert!(sent["issues"][0]["reason"].as_str().unwrap().contains("Place"), "{sent}");
    api.muster.verify();
}

#[test]
fn columns_are_looked_at_by_what_is_said_of_them_as_the_command_does() {
    let api = Api::start(On::Sqlite);
    api.json("PATCH", "/api/v1/feeds/main", &json!({ "mapping": { "last_name": "XB" } }));
    let csv = "XA,XB,Email\n7,Ann,ann@example.com\n";
    let file = api.muster.file("staff.csv", csv);
    let told = api.command(&[
        "map", &file, "--map", "unique_id=XA", "--map", "first_name=XB", "--map", "last_name=", "--map", "email=",
    ]);
    let mapping = json!({ "unique_id": "XA", "first_name": "XB", "last_name": null, "email": "" });
    let path = format!("/api/v1/feeds/main/map?{}", parameter(&mapping));
    let shown = api.send("POST", &path, &[CSV], csv.as_bytes()).json();
    for (name, value) in shown.as_object().unwrap() {
        assert_eq!(value, &told[name], "{name}");
    }
    assert_eq!(
        each(list(&shown["columns"]), "field"),
        json!(["employee_id", "first_name", null]).as_array().unwrap()[..]
    );
    assert_eq!(shown["columns"][1]["confidence"], "said");
    let formed = api.send("POST", "/api/v1/feeds/main/map", &[FORM], form(csv, &mapping.to_string()).as_bytes());
    assert_eq!(formed.json()["columns"], shown["columns"], "{}", formed.body);
    assert_eq!(api.get("/api/v1/feeds/main").json()["mapping"], json!({ "last_name": "XB" }), "nothing was saved");
}

#[test]
fn an_earlier_mapping_is_put_back_as_the_next_version() {
    let api = Api::start(On::Sqlite);
    let set = |mapping: Value| api.json("PATCH", "/api/v1/feeds/main", &json!({ "mapping": mapping }));
    set(json!({ "employee_id": "XA" }));
    set(json!({ "department": "XB" }));
    let path = "/api/v1/feeds/main/mapping/restore";
    let restore = |version: u32| api.json("POST", path, &json!({ "version": version }));
    let back = restore(1);
    assert_eq!(back.status, 200, "{}", back.body);
    assert_eq!(back.json(), api.get("/api/v1/feeds/main").json());
    assert_eq!(
        (&back.json()["mapping"], &back.json()["mapping_version"]),
        (&json!({ "employee_id": "XA" }), &json!(3))
    );
    let versions = || api.get("/api/v1/feeds/main/known").json()["mapping_versions"].clone();
    let shown = api.command(&["feeds", "show", "main"]);
    assert_eq!(versions(), shown["mapping_versions"]);
    assert_eq!(each(list(&versions()), "version"), [1, 2, 3]);
    assert_eq!(versions()[2]["actor_name"], "hris (key all)");
    let log = api.muster.log();
    assert_eq!(restore(1).json()["mapping_version"], 3, "it says that already");
    for (body, pointer) in [
        (json!({ "version": 9 }), "/version"),
        (json!({ "version": -1 }), "/version"),
        (json!({ "version": 1, "feed": "main" }), "/feed"),
        (json!({}), ""),
    ] {
        let wrong = api.json("POST", path, &body);
        assert_eq!((wrong.status, wrong.problem().as_str()), (422, "invalid"), "{}", wrong.body);
        assert_eq!(wrong.json()["errors"][0]["pointer"], pointer, "{}", wrong.body);
    }
    let none = api.json("POST", "/api/v1/feeds/none/mapping/restore", &json!({ "version": 0 }));
    assert_eq!(none.problem(), "not-found");
    assert_eq!(log, api.muster.log(), "nothing was changed");
    let names = restore(0).json();
    assert_eq!((&names["mapping"], &names["mapping_version"]), (&json!({}), &json!(4)));
    // What is read by it follows.
    assert_eq!(api.upload("mode=full", "XA,XB\n1,Law\n").json()["state"], "refused");
    restore(2);
    assert_eq!(api.upload("mode=full&apply=true", "XA,XB\n1,Law\n").json()["mapping_version"], 5);
    api.muster.verify();
}

/// A feed `uk` with one change set, and `main` with four: one of them held, and one rejected.
fn given_decisions(on: On) -> Api {
    let api = Api::start(on);
    api.json("POST", "/api/v1/feeds", &json!({ "name": "uk", "settings": { "mode": "partial" } }));
    done(&api.upload("mode=full", &people(1..=5, "Sales")));
    done(&api.upload("feed=uk", &people(10..=12, "UK")));
    done(&api.upload("mode=partial", "employee_id,department,location\n1,Law,Rome\n2,,Rome\n"));
    let held = api.upload("mode=partial&hold=true", "employee_id,department\n3,Law\n").json();
    let set = format!("/api/v1/change-sets/{}", held["change_set_id"].as_str().unwrap());
    let tag = api.get(&set).header("etag").unwrap().to_owned();
    assert_eq!(api.send("POST", &format!("{set}/reject"), &[JSON, ("If-Match", &tag)], b"{}").status, 200);
    api.upload("mode=partial&hold=true", &people(5..=6, "Board"));
    api
}

fn change_sets_are_counted_as_the_command_counts_them(on: On) {
    let api = given_decisions(on);
    let seq = api.get("/api/v1/organisation").json()["seq"].as_u64().unwrap();
    let path = format!("/api/v1/change-sets/overview?limit=2&wait_for={seq}");
    let (sets, pages) = api.pages(&api.key, &path, "change_sets");
    let told = api.command(&["changes", "overview"]);
    assert_eq!((sets.len(), pages), (5, 3));
    for name in [
        "change_set_id", "state", "kinds", "fields", "erased", "decided_at", "reviewed", "counts", "holds", "figures",
        "feed", "awaits_second_approver", "decided_by", "decided_by_name", "waiting",
    ] {
        assert_eq!(each(&sets, name), each(list(&told["change_sets"]), name), "{name}");
    }
    assert_eq!((&sets[0]["kinds"], &sets[0]["decided_at"]), (&json!({ "add": 1, "update": 1 }), &json!(null)));
    assert_eq!(sets[0]["fields"], json!({ "department": { "changed": 1, "filled": 0, "blanked": 0 } }));
    assert_eq!((&sets[1]["state"], &sets[1]["reviewed"]), (&json!("rejected"), &json!(true)));
    assert_eq!(sets[2]["fields"]["location"], json!({ "changed": 0, "filled": 2, "blanked": 0 }));
    let page = api.document(&api.key, &format!("/api/v1/change-sets/overview?wait_for={seq}"));
    assert!(page["seq"].as_u64().unwrap() >= seq, "{page}");
    let of = |key: &str, parameters: &str| {
        let path = format!("/api/v1/change-sets/overview?limit=1{parameters}");
        api.pages(key, &path, "change_sets").0
    };
    assert_eq!(each(&of(&api.key, "&state=applied"), "feed"), ["main", "uk", "main"]);
    assert_eq!(of(&api.key, "&state=held"), sets[..1]);
    for wrong in ["limit=0", "cursor=x", "state=open", "wait_for=100000", "before=3"] {
        assert_eq!(api.get(&format!("/api/v1/change-sets/overview?{wrong}")).problem(), "unreadable", "{wrong}");
    }
    // A key that is bound to a feed is told of that feed alone, one that sees some fields of these.
    let bound = limited(&api, "bound", &["--feed", "uk"]);
    assert_eq!(of(&bound, ""), sets[3..4]);
    assert_eq!(of(&bound, "&state=applied"), sets[3..4]);
    assert_eq!(of(&bound, "&state=held"), Vec::<Value>::new());
    let fields = limited(&api, "fields", &["--read-fields", "members=employee_id,location"]);
    let seen = of(&fields, "");
    assert_eq!(each(&seen, "kinds"), each(&sets, "kinds"));
    assert_eq!(seen[2]["fields"], json!({ "location": sets[2]["fields"]["location"] }));
    assert!(!json!(seen).to_string().contains("department"), "{seen:?}");
    let some = limited(&api, "some", &["--department", "Sales"]);
    let refused = api.said("GET", "/api/v1/change-sets/overview", &Said { key: Some(&some), ..Said::default() });
    assert_eq!((refused.status, refused.problem().as_str()), (403, "missing-right"), "{}", refused.body);
    api.muster.verify();
}

#[test]
fn change_sets_are_counted_as_the_command_counts_them_on_sqlite() {
    change_sets_are_counted_as_the_command_counts_them(On::Sqlite);
}

#[test]
fn change_sets_are_counted_as_the_command_counts_them_on_postgres() {
    change_sets_are_counted_as_the_command_counts_them(On::Postgres);
}
