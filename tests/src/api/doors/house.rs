//! An organisation in which there is something to be had, and another one.

use serde_json::json;

use crate::api::{Api, On, id_of, people};

/// Two organisations, and what acme has: a member whom not everybody may see, an upload, a change set that waits, and a key.
pub struct House {
    pub api: Api,
    pub member: String,
    pub upload: String,
    pub set: String,
    /// What a decision on the change set must name.
    pub digest: String,
    pub spare: String,
}

impl House {
    pub fn new() -> House {
        let api = Api::start(On::Sqlite);
        let muster = &api.muster;
        muster.ok(&["feeds", "create", "uk", "--org", "acme", "--mode", "partial"]);
        muster.ok(&["feeds", "create", "us", "--org", "acme", "--mode", "partial"]);
        let upload = api.upload("mode=full", &people(1..=9, "Sales")).json()["upload_id"].as_str().unwrap().to_owned();
        let secret = json!([{ "unique_id": "50", "first_name": "Secret", "department": "Board" }]);
        api.json("PUT", "/api/v1/members", &secret);
        let held = api.upload("mode=partial&hold=true", &people(50..=51, "Board")).json();
        let set = held["change_set_id"].as_str().unwrap().to_owned();
        let digest = api.get(&format!("/api/v1/change-sets/{set}")).header("etag").unwrap().to_owned();
        let spare = api.json("POST", "/api/v1/keys", &json!({ "name": "spare", "scopes": ["member:read"] })).json();
        let spare = spare["id"].as_str().unwrap().to_owned();
        let member = id_of(&api, "50");
        muster.ok(&["org", "create", "other", "--name", "Other"]);
        muster.ok(&["org", "set", "other", "api_access=on"]);
        House { api, member, upload, set, digest, spare }
    }

    /// A key that may do everything, but for what is said.
    pub fn key(&self, org: &str, user: &str, more: &[&str]) -> String {
        let common = ["keys", "create", "--org", org, "--name", "tried", "--user", user, "--scope", "*"];
        let rates = ["--rate", "requests=100000,uploads=100000"];
        let made = self.api.muster.ok(&[&common, &rates[..], more].concat());
        made["api_key"].as_str().unwrap().to_owned()
    }

    /// All that is known of acme: its log, and its keys but for their last use.
    pub fn known(&self) -> (String, String) {
        let mut keys = self.api.muster.ok(&["keys", "list", "--org", "acme", "--all"]);
        for key in keys["keys"].as_array_mut().unwrap() {
            key.as_object_mut().unwrap().retain(|name, _| !name.starts_with("last_used"));
        }
        (String::from_utf8(self.api.muster.log()).unwrap(), keys.to_string())
    }
}
