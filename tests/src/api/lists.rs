//! Lists of uploads and change sets: page by page, by state, and for a key that is bound to a feed its feed's alone.

use serde_json::{Value, json};

use super::{Api, On, people};

fn lists_are_told_page_by_page(on: On) {
    let api = Api::start(on);
    api.muster.ok(&["feeds", "create", "payroll", "--org", "acme"]);
    let bound = api.muster.key(&["--name", "bound", "--user", "hris", "--scope", "*", "--feed", "payroll"]);
    let mut sent = Vec::new();
    for n in 1..=5 {
        let feed = if n % 2 == 0 { "payroll" } else { "main" };
        let hold = if n == 5 { "&hold=true" } else { "" };
        let report = api.upload(&format!("mode=partial&feed={feed}{hold}"), &people(n..=n, "Sales")).json();
        assert_eq!(report["state"], if n == 5 { "held" } else { "applied" }, "{report}");
        sent.push(report);
    }
    sent.reverse();
    let ids = |of: &[Value], id: &str| of.iter().map(|one| one[id].clone()).collect::<Vec<_>>();
    for (path, items, id) in
        [("/api/v1/uploads", "uploads", "upload_id"), ("/api/v1/change-sets", "change_sets", "change_set_id")]
    {
        let (found, pages) = api.pages(&api.key, &format!("{path}?limit=2"), items);
        assert_eq!((ids(&found, id), pages), (ids(&sent, id), 3), "newest first");
        // The last page is full: there is none behind it.
        assert_eq!(api.pages(&api.key, &format!("{path}?limit=5"), items).1, 1);
        let (held, _) = api.pages(&api.key, &format!("{path}?limit=1&state=held"), items);
        assert_eq!(ids(&held, id), ids(&sent[..1], id));
        let (applied, pages) = api.pages(&api.key, &format!("{path}?limit=3&state=applied"), items);
        assert_eq!((ids(&applied, id), pages), (ids(&sent[1..], id), 2));
        let (own, pages) = api.pages(&bound, &format!("{path}?limit=1"), items);
        assert_eq!((ids(&own, id), pages), (vec![sent[1][id].clone(), sent[3][id].clone()], 2));
        assert!(own.iter().all(|one| one["feed"] == json!("payroll")));
        for wrong in ["limit=0", "limit=201", "state=nothing", "cursor=x", "feeds=main"] {
            assert_eq!(api.get(&format!("{path}?{wrong}")).problem(), "unreadable", "{wrong}");
        }
    }
    let unknown = "/api/v1/uploads/00000000-0000-0000-0000-000000000001";
    for path in [unknown, &unknown.replace("uploads", "change-sets"), "/api/v1/uploads/0", "/api/v1/change-sets/0"] {
        assert_eq!(api.get(path).problem(), "not-found", "{path}");
    }
}

#[test]
fn lists_are_told_page_by_page_on_sqlite() {
    lists_are_told_page_by_page(On::Sqlite);
}

#[test]
fn lists_are_told_page_by_page_on_postgres() {
    lists_are_told_page_by_page(On::Postgres);
}
