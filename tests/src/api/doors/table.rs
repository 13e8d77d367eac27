//! Every door of the API: what is sent there, and what each of several hands gets, exactly.

use serde_json::{Value, json};

use super::house::House;
use crate::served::Answer;

/// What a hand gets: a status, and the kind of the problem if it is one.
pub type Gets = (u16, &'static str);

const OK: Gets = (200, "");
const MADE: Gets = (201, "");
const GONE: Gets = (204, "");
const NOTHING: Gets = (404, "not-found");
const RIGHT: Gets = (403, "missing-right");
const FEED: Gets = (403, "wrong-feed");
const FULL: Gets = (403, "full-not-allowed");
const FIELD: Gets = (403, "field-not-allowed");
const INVALID: Gets = (422, "invalid");

/// A door, as the document names it, and what there is to be had.
pub struct Door {
    pub name: &'static str,
    /// With a key of another organisation.
    pub other: Gets,
    /// With one that is bound to another feed.
    pub feed: Gets,
    /// With one that sees some people and some fields only.
    pub narrow: Gets,
    /// With one whose user looks on, and does no more.
    pub viewer: Gets,
}

/// A line of the table.
const fn door(name: &'static str, other: Gets, feed: Gets, narrow: Gets, viewer: Gets) -> Door {
    Door { name, other, feed, narrow, viewer }
}

#[rustfmt::skip]
pub const DOORS: &[Door] = &[
    //                                                        other    feed     narrow   viewer
    door("POST /api/v1/uploads",                              INVALID, FEED,    FULL,    RIGHT),
    door("GET /api/v1/uploads",                               OK,      OK,      OK,      OK),
    door("GET /api/v1/uploads/{id}",                          NOTHING, NOTHING, OK,      OK),
    door("GET /api/v1/uploads/{id}/issues",                   NOTHING, NOTHING, OK,      OK),
    door("GET /api/v1/uploads/{id}/original",                 NOTHING, NOTHING, RIGHT,   RIGHT),
    door("POST /api/v1/uploads/{id}/give-up",                 NOTHING, NOTHING, RIGHT,   RIGHT),
    door("PUT /api/v1/members",                               OK,      OK,      FIELD,   RIGHT),
    door("GET /api/v1/members",                               OK,      OK,      OK,      OK),
    door("POST /api/v1/members/search",                       OK,      OK,      FIELD,   OK),
    door("POST /api/v1/members/lookup",                       NOTHING, OK,      NOTHING, OK),
    door("GET /api/v1/members/{id}",                          NOTHING, OK,      NOTHING, OK),
    door("PATCH /api/v1/members/{id}",                        NOTHING, OK,      NOTHING, RIGHT),
    door("DELETE /api/v1/members/{id}",                       NOTHING, OK,      NOTHING, RIGHT),
    door("GET /api/v1/members/{id}/history",                  NOTHING, OK,      NOTHING, OK),
    door("GET /api/v1/members/{id}/blame",                    NOTHING, OK,      NOTHING, OK),
    door("GET /api/v1/members/export",                        OK,      OK,      OK,      RIGHT),
    door("GET /api/v1/roster/diff",                           OK,      OK,      RIGHT,   RIGHT),
    door("POST /api/v1/members",                              OK,      RIGHT,   RIGHT,   RIGHT),
    door("POST /api/v1/members/{id}/set",                     NOTHING, RIGHT,   RIGHT,   RIGHT),
    door("POST /api/v1/members/{id}/remove",                  NOTHING, RIGHT,   RIGHT,   RIGHT),
    door("POST /api/v1/members/{id}/rekey",                   NOTHING, RIGHT,   RIGHT,   RIGHT),
    door("POST /api/v1/members/{id}/link",                    NOTHING, RIGHT,   RIGHT,   RIGHT),
    door("POST /api/v1/members/{id}/forget",                  NOTHING, RIGHT,   RIGHT,   RIGHT),
    door("POST /api/v1/members/forget",                       NOTHING, RIGHT,   RIGHT,   RIGHT),
    door("POST /api/v1/members/forget/lift",                  NOTHING, RIGHT,   RIGHT,   RIGHT),
    door("POST /api/v1/eligibility",                          OK,      OK,      OK,      OK),
    door("GET /api/v1/change-sets",                           OK,      OK,      OK,      OK),
    door("GET /api/v1/change-sets/rejected",                  OK,      OK,      OK,      OK),
    door("GET /api/v1/change-sets/overview",                  OK,      OK,      RIGHT,   OK),
    door("GET /api/v1/change-sets/{id}",                      NOTHING, NOTHING, OK,      OK),
    door("GET /api/v1/change-sets/{id}/changes",              NOTHING, NOTHING, OK,      OK),
    door("POST /api/v1/change-sets/{id}/approve",             NOTHING, NOTHING, RIGHT,   RIGHT),
    door("POST /api/v1/change-sets/{id}/reject",              NOTHING, NOTHING, RIGHT,   RIGHT),
    door("POST /api/v1/change-sets/{id}/undo",                NOTHING, NOTHING, RIGHT,   RIGHT),
    door("POST /api/v1/change-sets/undo",                     NOTHING, NOTHING, RIGHT,   RIGHT),
    door("GET /api/v1/events",                                OK,      OK,      OK,      OK),
    door("GET /api/v1/activity",                              OK,      OK,      OK,      OK),
    door("GET /api/v1/dashboard",                             OK,      OK,      RIGHT,   OK),
    door("GET /api/v1/organisation",                          OK,      OK,      OK,      OK),
    door("PATCH /api/v1/organisation/settings",               OK,      OK,      OK,      RIGHT),
    door("GET /api/v1/feeds",                                 OK,      OK,      OK,      OK),
    door("POST /api/v1/feeds",                                MADE,    FEED,    MADE,    RIGHT),
    door("GET /api/v1/feeds/{name}",                          NOTHING, NOTHING, OK,      OK),
    door("PATCH /api/v1/feeds/{name}",                        NOTHING, NOTHING, OK,      RIGHT),
    door("GET /api/v1/feeds/runs",                            OK,      OK,      OK,      OK),
    door("GET /api/v1/feeds/{name}/known",                    NOTHING, NOTHING, OK,      OK),
    door("POST /api/v1/feeds/{name}/map",                     NOTHING, NOTHING, RIGHT,   RIGHT),
    door("POST /api/v1/feeds/{name}/mapping/restore",         NOTHING, NOTHING, OK,      RIGHT),
    door("POST /api/v1/feeds/{name}/handover",                NOTHING, NOTHING, RIGHT,   RIGHT),
    door("GET /api/v1/keys",                                  OK,      OK,      OK,      OK),
    door("POST /api/v1/keys",                                 INVALID, RIGHT,   RIGHT,   RIGHT),
    door("GET /api/v1/keys/access-log",                       OK,      RIGHT,   RIGHT,   OK),
    door("GET /api/v1/keys/{id}",                             NOTHING, OK,      OK,      NOTHING),
    door("PATCH /api/v1/keys/{id}",                           NOTHING, RIGHT,   RIGHT,   RIGHT),
    door("DELETE /api/v1/keys/{id}",                          NOTHING, GONE,    GONE,    RIGHT),
    door("POST /api/v1/keys/{id}/rotate",                     NOTHING, RIGHT,   RIGHT,   RIGHT),
    door("POST /api/v1/keys/revoke-all",                      INVALID, INVALID, INVALID, RIGHT),
    door("PUT /api/public/members",                           OK,      OK,      FIELD,   RIGHT),
    door("POST /api/public/upload",                           OK,      OK,      FULL,    RIGHT),
];

/// What is sent: headers and a body.
type Sent = (Vec<(&'static str, String)>, Vec<u8>);

fn in_json(body: &Value) -> Sent {
    (vec![("Content-Type", "application/json".to_owned())], body.to_string().into_bytes())
}

impl Door {
    /// The method, and the address with a thing of acme's put in for what is in braces.
    fn address(&self, house: &House) -> (&'static str, String) {
        let (method, path) = self.name.split_once(' ').unwrap();
        let thing = match path.split('/').nth(3) {
            Some("members") => &house.member,
            Some("uploads") => &house.upload,
            Some("change-sets") => &house.set,
            _ => &house.spare,
        };
        let path = path.replace("{id}", thing).replace("{name}", "us");
        let parameters = match self.name {
            "POST /api/v1/uploads" => "?mode=full&feed=us",
            "GET /api/v1/roster/diff" => "?from=0",
            _ => "",
        };
        (method, path + parameters)
    }

    /// What is sent there, with nothing wrong in it but the hand.
    fn sent(&self, house: &House, own: &str) -> Sent {
        let decided = || {
            let (mut headers, body) = in_json(&json!({}));
            headers.push(("If-Match", house.digest.clone()));
            (headers, body)
        };
        match self.name {
            "POST /api/v1/uploads" => (vec![("Content-Type", "text/csv".to_owned())], b"employee_id\n50\n".to_vec()),
            "PUT /api/v1/members" => in_json(&json!([{ "unique_id": "50", "first_name": "Eve" }])),
            "PATCH /api/v1/members/{id}" => in_json(&json!({ "location": "Rome" })),
            "POST /api/v1/members" => in_json(&json!({ "fields": { "unique_id": "77", "first_name": "Eve" } })),
            "POST /api/v1/members/{id}/set" => in_json(&json!({ "fields": { "location": "Rome" } })),
            "POST /api/v1/members/{id}/rekey" => in_json(&json!({ "unique_id": "52" })),
            "POST /api/v1/members/{id}/link" => in_json(&json!({ "with": house.member })),
            "POST /api/v1/members/{id}/forget" => in_json(&json!({ "confirm": "50" })),
            "POST /api/v1/members/forget" => in_json(&json!({ "person": "50", "confirm": "50" })),
            "POST /api/v1/members/forget/lift" => in_json(&json!({ "person": "50" })),
            "POST /api/v1/members/search" => in_json(&json!({ "text": "Secret" })),
            "POST /api/v1/members/lookup" => in_json(&json!({ "unique_id": "50" })),
            "POST /api/v1/eligibility" => in_json(&json!({ "id": house.member })),
            "PATCH /api/v1/organisation/settings" => in_json(&json!({ "settings": {} })),
            "POST /api/v1/feeds" => in_json(&json!({ "name": "made" })),
            "POST /api/v1/feeds/{name}/map" => {
                (vec![("Content-Type", "text/csv".to_owned())], b"employee_id\n50\n".to_vec())
            }
            "POST /api/v1/feeds/{name}/mapping/restore" => in_json(&json!({ "version": 0 })),
            "POST /api/v1/feeds/{name}/handover" => in_json(&json!({ "to": "uk" })),
            "POST /api/v1/keys" => in_json(&json!({ "name": "made", "scopes": ["member:read"], "feed": "us" })),
            "PATCH /api/v1/keys/{id}" => in_json(&json!({ "name": "changed" })),
            // Nobody says the name of the organisation that their key is of.
            "POST /api/v1/keys/revoke-all" => {
                in_json(&json!({ "organisation": if own == "acme" { "other" } else { "acme" } }))
            }
            "PUT /api/public/members" => in_json(&json!([{ "uniqueId": "50", "firstName": "Eve" }])),
            "POST /api/public/upload" => in_json(&json!({ "mode": "full", "rows": [{ "uniqueId": "50" }] })),
            "POST /api/v1/change-sets/undo" => {
                let digest = house.digest.trim_matches('"');
                in_json(&json!({ "change_sets": [{ "change_set_id": house.set, "digest": digest }] }))
            }
            name if name.starts_with("POST /api/v1/change-sets/") => decided(),
            name if name.starts_with("PATCH") => in_json(&json!({})),
            _ => (Vec::new(), Vec::new()),
        }
    }

    /// Knocks with a key of an organisation.
    pub fn knock(&self, house: &House, key: &str, own: &str) -> Answer {
        let (method, path) = self.address(house);
        let (headers, body) = self.sent(house, own);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        house.api.said(method, &path, &super::Said { key: Some(key), headers: &headers, body: &body })
    }
}
