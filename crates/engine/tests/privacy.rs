//! Personal data stands in bodies and packed members and nowhere else: not in metadata, stream names, documents or file names.

use std::path::Path;

use muster_domain::replay::log;
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use crate::rules_given::*;

/// What was planted: a key, a name, an e-mail, and so on; none of it stands in any word of ours.
const PLANTED: [&str; 7] = ["zqkey", "zqfirst", "zqlast", "zqmail", "zqdept", "zqfile", "zqcomment"];

/// Where personal data belongs: lines of events, and members.
const BODIES: [(&str, &str); 3] = [("event", "body"), ("roster_page", "body"), ("member_delta", "body")];

fn row(n: usize) -> String {
    format!("ZQkey{n},zqmail{n}@x.example,ZQfirst{n},ZQlast{n},1990-01-{:02},ZQdept{n},Bonn", n % 27 + 1)
}

fn file() -> Request {
    Request { file_name: Some("zqfile.csv".into()), ..full() }
}

/// A life of everything: bad rows, reviews, edits, undo, handover, settings.
async fn played() -> Given {
    let given = Given::with(&[("guard.removals.max_percent", "60")]).await;
    given.feed_named("new").await;
    given.applied(file(), &csv((1..=12).map(row))).await;
    let bad = format!("{}\nZQkey1,zqmail,ZQfirst,ZQlast,31/31/1990,ZQdept\n,zqmail,,ZQlast,,,", csv((1..=12).map(row)));
    given.sync(file(), &bad).await;
    given.set_by_hand("ZQkey2", "department", "ZQdept by hand").await;
    let held = Request { asked: Some(Asked::Hold), ..file() };
    let moved = csv((1..=11).map(row).chain([row(13)])).replace("ZQdept3", "ZQdept moved");
    let report = given.sync(held, &moved).await;
    let comment = Some("zqcomment".to_owned());
    let choice = Choice { only: vec!["ZQkey13".into()], ..Choice::default() };
    let id = report.change_set_id.unwrap().to_string();
    given.engine.reject("acme", Some(&id), choice, comment.clone()).await.unwrap();
    given.approve(&report, Approval { comment, ..Approval::default() }).await.unwrap();
    given.by_hand(Edit::Rekey { key: "ZQkey4".into(), new_key: "ZQkey44".into() }).await;
    given.engine.undo("acme", UndoRequest { ids: vec![id], ..UndoRequest::default() }).await.unwrap();
    given.engine.hand_over("acme", "main", "new").await.unwrap();
    given.set("eligibility.excluded_statuses", "retired").await;
    given.set("match_key", "email").await;
    given.verified().await;
    given
}

fn planted_in(bytes: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    PLANTED.into_iter().find(|p| text.contains(p))
}

fn files_below(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.display().to_string());
        if path.is_dir() {
            files_below(&path, found);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_personal_data_is_in_any_column_but_bodies() {
    let given = played().await;
    let url = format!("sqlite:{}", given.engine.data_dir().join("muster.db").display());
    let mut db = SqliteConnection::connect(&url).await.unwrap();
    let columns = "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'";
    let columns = sqlx::query(columns).fetch_all(&mut db).await.unwrap();
    assert!(columns.len() > 40);
    let mut looked_at = 0;
    for column in columns {
        let (table, column): (String, String) = (column.get(0), column.get(1));
        if BODIES.contains(&(&table, &column)) {
            continue;
        }
        let sql = format!("SELECT CAST(\"{column}\" AS BLOB) FROM \"{table}\" WHERE \"{column}\" IS NOT NULL");
        for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut db).await.unwrap() {
            assert_eq!(planted_in(&row.get::<Vec<u8>, _>(0)), None, "{table}.{column}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 500, "{looked_at}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_personal_data_is_in_what_an_export_says_outside_of_lines() {
    let given = played().await;
    let mut exported = Vec::new();
    given.engine.export(&given.acme().await, &mut exported).await.unwrap();
    assert!(PLANTED.iter().all(|p| String::from_utf8_lossy(&exported).to_lowercase().contains(p)), "all was planted");
    for line in exported.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let event = log::read_event(line).unwrap();
        assert_eq!(planted_in(&event.meta_bytes), None, "event {} {}", event.meta.seq, event.meta.kind);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_personal_data_is_in_the_names_of_files() {
    let given = played().await;
    let mut files = Vec::new();
    files_below(given.engine.data_dir(), &mut files);
    assert!(files.len() > 5, "{files:?}");
    assert_eq!(files.iter().find(|f| planted_in(f.as_bytes()).is_some()), None);
}
