//! The second approver over the API: two keys of one user are one person, and two users are two.

use serde_json::{Value, json};

use super::{
    Api, On, Said, id_of, people,
    round::{each, list},
};
use crate::served::Answer;

/// An organisation that asks for a second approver, a change set that waits, and the keys of two users.
struct Held {
    api: Api,
    set: String,
    tag: String,
    anna: String,
    ben: String,
}

fn held(on: On) -> Held {
    let api = Api::start(on);
    api.upload("mode=full", &people(1..=20, "Sales"));
    let rule = json!({ "settings": { "review.second_approver": "always" } });
    let set_rule = api.json("PATCH", "/api/v1/organisation/settings", &rule);
    assert_eq!(set_rule.status, 200, "{}", set_rule.body);
    let held = api.upload("mode=full&hold=true", &people(1..=18, "Legal"));
    let set = format!("/api/v1/change-sets/{}", held.json()["change_set_id"].as_str().unwrap());
    let tag = api.get(&set).header("etag").unwrap().to_owned();
    let key = |name: &str| {
        api.muster.ok(&["users", "create", "--name", name, "--service", "--org", "acme", "--role", "reviewer"]);
        reviewers_key(&api, name, "reviews")
    };
    let (anna, ben) = (key("anna"), key("ben"));
    Held { api, set, tag, anna, ben }
}

fn reviewers_key(api: &Api, user: &str, name: &str) -> String {
    api.muster.key(&["--name", name, "--user", user, "--scope", "change_set:read", "--scope", "change_set:approve"])
}

impl Held {
    fn approve(&self, key: &str, choice: &Value) -> Answer {
        self.decide(key, "approve", choice)
    }

    fn decide(&self, key: &str, what: &str, choice: &Value) -> Answer {
        let headers = [("If-Match", self.tag.as_str()), ("Content-Type", "application/json")];
        let body = choice.to_string();
        let said = Said { key: Some(key), headers: &headers, body: body.as_bytes() };
        self.api.said("POST", &format!("{}/{what}", self.set), &said)
    }

    fn department(&self) -> Value {
        self.api.get(&format!("/api/v1/members/{}", id_of(&self.api, "1"))).json()["fields"]["department"].clone()
    }
}

fn two_users_are_two_people_and_two_keys_of_one_are_not(on: On) {
    let held = held(on);
    let shown = || held.api.get(&held.set).json();
    assert_eq!((&shown()["awaits_second_approver"], &shown()["approvals"]), (&json!(false), &json!([])));
    let first = held.approve(&held.anna, &json!({ "comment": "Checked with payroll." }));
    assert_eq!((first.status, &first.json()["state"]), (202, &json!("held")), "{}", first.body);
    assert_eq!((&first.json()["awaits_second_approver"], held.department()), (&json!(true), json!("Sales")));
    let given = &shown()["approvals"][0];
    assert_eq!(
        (&given["by_name"], &given["changes"], &given["removals"]),
        (&json!("anna (key reviews)"), &json!(20), &json!(2))
    );
    assert_eq!((&given["seconded_by"], format!("{}", given["digest"])), (&json!(null), held.tag.clone()));
    assert!(!shown().to_string().contains("payroll"), "a comment is in the log alone");

    // What awaits somebody else is listed, and counted on the dashboard.
    let awaiting = || {
        let listed = held.api.get("/api/v1/change-sets?awaits=second_approver").json()["change_sets"].clone();
        let told = held.api.command(&["changes", "list", "--awaiting-second"])["change_sets"].clone();
        let seq = held.api.get("/api/v1/organisation").json()["seq"].as_u64().unwrap();
        let dashboard = held.api.document(&held.api.key, &format!("/api/v1/dashboard?wait_for={seq}"));
        assert_eq!(
            held.api.command(&["dashboard"])["waiting"][0]["awaits_second_approver"],
            dashboard["waiting"][0]["awaits_second_approver"]
        );
        assert_eq!(each(list(&listed), "change_set_id"), each(list(&told), "change_set_id"));
        (list(&listed).len(), dashboard["awaiting_second_approver"].clone())
    };
    assert_eq!(awaiting(), (1, json!(1)));
    let said = held.api.muster.says(&["dashboard", "--org", "acme"]);
    assert!(said.contains("Waiting for a reviewer (1 for a second approver)"), "{said}");
    assert!(said.contains("approved by 1 of 2"), "{said}");
    assert_eq!(
        held.api.get("/api/v1/change-sets?awaits=second_approver&state=applied").json()["change_sets"],
        json!([])
    );
    assert_eq!(held.api.get("/api/v1/change-sets?awaits=nobody").problem(), "unreadable");

    let log = held.api.muster.log();
    let another = reviewers_key(&held.api, "anna", "another");
    for key in [&held.anna, &another] {
        let again = held.approve(key, &json!({}));
        assert_eq!((again.status, again.problem().as_str()), (403, "second-approver"), "{}", again.body);
        assert!(again.json()["detail"].as_str().unwrap().contains("Anybody else who may approve"), "{}", again.body);
    }
    assert!(log == held.api.muster.log(), "nothing was changed");

    let second = held.approve(&held.ben, &json!({}));
    assert_eq!((second.status, &second.json()["state"]), (200, &json!("applied")), "{}", second.body);
    assert_eq!((&second.json()["awaits_second_approver"], held.department()), (&json!(false), json!("Legal")));
    assert_eq!(awaiting(), (0, json!(0)));
    let given = &shown()["approvals"][0];
    assert_eq!(
        (&given["by_name"], &given["seconded_by_name"]),
        (&json!("anna (key reviews)"), &json!("ben (key reviews)"))
    );
    held.api.muster.verify();
}

/// A list with a status behind each person's department.
fn with_status(numbers: std::ops::RangeInclusive<u32>, status: &dyn Fn(u32) -> &'static str) -> String {
    let listed = people(numbers.clone(), "Sales");
    let mut lines = listed.lines();
    let header = format!("{},employment_status\n", lines.next().unwrap());
    lines.zip(numbers).fold(header, |list, (line, n)| format!("{list}{line},{}\n", status(n)))
}

fn whoever_approves_is_asked_for_everybody_who_loses_eligibility(on: On) {
    let api = Api::start(on);
    api.muster.ok(&["org", "set", "acme", "guard.removals.max_percent=10", "review.second_approver_removals=6"]);
    api.upload("mode=full", &with_status(1..=40, &|_| "active"));
    let status = |n: u32| if n <= 3 { "Terminated" } else { "active" };
    let upload = api.upload("mode=full&hold=true", &with_status(1..=38, &status)).json();
    assert_eq!(upload["holds"][0]["guard"], "removals", "{upload}");
    let set = format!("/api/v1/change-sets/{}", upload["change_set_id"].as_str().unwrap());
    let shown = api.get(&set);
    let document = shown.json();
    assert_eq!((&document["removals"], &document["taken_off"]), (&json!(5), &json!(2)), "{document}");
    let listed = api.get("/api/v1/change-sets").json();
    assert_eq!(listed["change_sets"][0]["removals"], json!(null), "a list does not work it out");

    let tag = shown.header("etag").unwrap().to_owned();
    let approve = |set: &str, tag: &str, decision: &Value| {
        let headers = [("If-Match", tag), ("Content-Type", "application/json")];
        api.send("POST", &format!("{set}/approve"), &headers, decision.to_string().as_bytes())
    };
    let log = api.muster.log();
    for wrong in [json!({}), json!({ "confirm_removals": 2 })] {
        let refused = approve(&set, &tag, &wrong);
        assert_eq!((refused.status, refused.problem().as_str()), (409, "confirmation-required"), "{}", refused.body);
        let why = refused.json();
        assert_eq!((&why["removals"], &why["taken_off"]), (&json!(5), &json!(2)));
        let detail = why["detail"].as_str().unwrap();
        assert!(detail.contains("makes 5 people ineligible: 2 removed, 3 by status or date"), "{detail}");
        assert!(!detail.contains("--"), "no flags of the command line: {detail}");
    }
    assert!(log == api.muster.log(), "nothing was approved");
    let done = approve(&set, &tag, &json!({ "confirm_removals": 5 }));
    assert_eq!((done.status, &done.json()["state"]), (200, &json!("applied")), "{}", done.body);
    let document = api.get(&set).json();
    assert_eq!((&document["removals"], &document["taken_off"]), (&json!(0), &json!(0)), "nothing waits");

    // One person alone has let five through today; the sixth takes two.
    let upload = api.upload("mode=partial&hold=true", &with_status(4..=4, &|_| "Terminated")).json();
    let set = format!("/api/v1/change-sets/{}", upload["change_set_id"].as_str().unwrap());
    let tag = api.get(&set).header("etag").unwrap().to_owned();
    let first = approve(&set, &tag, &json!({ "confirm_removals": 1 }));
    assert_eq!((first.status, &first.json()["awaits_second_approver"]), (202, &json!(true)), "{}", first.body);
    assert_eq!(first.json()["approvals"][0]["removals"], 1);
    api.muster.verify();
}

#[test]
fn whoever_approves_is_asked_for_everybody_who_loses_eligibility_on_sqlite() {
    whoever_approves_is_asked_for_everybody_who_loses_eligibility(On::Sqlite);
}

#[test]
fn whoever_approves_is_asked_for_everybody_who_loses_eligibility_on_postgres() {
    whoever_approves_is_asked_for_everybody_who_loses_eligibility(On::Postgres);
}

#[test]
fn two_users_are_two_people_and_two_keys_of_one_are_not_on_sqlite() {
    two_users_are_two_people_and_two_keys_of_one_are_not(On::Sqlite);
}

#[test]
fn two_users_are_two_people_and_two_keys_of_one_are_not_on_postgres() {
    two_users_are_two_people_and_two_keys_of_one_are_not(On::Postgres);
}

#[test]
fn a_reviewer_cannot_loosen_the_rule_and_rejects_alone() {
    let held = held(On::Sqlite);
    assert_eq!(held.approve(&held.anna, &json!({})).status, 202);
    for key in [&held.anna, &held.api.muster.key(&["--name", "sets", "--user", "anna", "--scope", "*"])] {
        let body = json!({ "settings": { "review.second_approver": "off" } }).to_string();
        let headers = [("Content-Type", "application/json")];
        let said = Said { key: Some(key), headers: &headers, body: body.as_bytes() };
        let refused = held.api.said("PATCH", "/api/v1/organisation/settings", &said);
        assert_eq!((refused.status, refused.problem().as_str()), (403, "missing-right"), "{}", refused.body);
    }
    let rejected = held.decide(&held.ben, "reject", &json!({ "comment": "The export was cut." }));
    assert_eq!((rejected.status, &rejected.json()["state"]), (200, &json!("rejected")), "{}", rejected.body);
    assert_eq!(held.department(), "Sales");
    held.api.muster.verify();
}

#[test]
fn a_first_approval_that_is_sent_again_with_its_idempotency_key_gets_the_same_answer() {
    let held = held(On::Sqlite);
    let headers = [("If-Match", held.tag.as_str()), ("Idempotency-Key", "once")];
    let send = || {
        held.api.said(
            "POST",
            &format!("{}/approve", held.set),
            &Said { key: Some(&held.anna), headers: &headers, body: b"" },
        )
    };
    let (first, again) = (send(), send());
    assert_eq!((first.status, again.status), (202, 202), "{} {}", first.body, again.body);
    assert_eq!((first.json(), again.header("idempotency-replayed")), (again.json(), Some("true")));
    held.api.muster.verify();
}
