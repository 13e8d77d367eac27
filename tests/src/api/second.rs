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
