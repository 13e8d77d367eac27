//! Of several processes that serve, one watches the feeds: what is overdue is recorded once, and another goes on when it dies.

use crate::{
    muster::{Muster, On, feed},
    served::{Served, until},
};

fn recorded(muster: &Muster, kind: &str) -> usize {
    String::from_utf8(muster.log()).unwrap().matches(&format!(r#""type":"feed.{kind}""#)).count()
}

fn records_once(on: On) {
    let muster = Muster::new(on);
    let every_minute = ["feeds", "set", "main", "--org", "acme", "--expected", "* * * * *", "--expected-grace", "0"];
    let first = Served::start(&muster, &["--roles", "scheduler"]);
    until("the first to watch", || first.log().contains("took a duty over"));
    let second = Served::start(&muster, &["--roles", "scheduler"]);
    muster.ok(&every_minute);
    until("the feed to be overdue", || recorded(&muster, "overdue") > 0);
    assert!(!second.log().contains("took a duty over"), "one at a time");
    first.kill();
    until("the second to watch", || second.log().contains("took a duty over"));
    let file = muster.file("late.csv", &feed(0..20, "Sales"));
    muster.ok(&["sync", &file, "--org", "acme", "--mode", "full"]);
    until("the feed to be back", || recorded(&muster, "recovered") > 0);
    assert_eq!((recorded(&muster, "overdue"), recorded(&muster, "recovered")), (1, 1));
    assert!(second.end().success());
    muster.verify();
}

#[test]
fn an_overdue_feed_is_recorded_once_by_whoever_watches_on_sqlite() {
    records_once(On::Sqlite);
}

#[test]
fn an_overdue_feed_is_recorded_once_by_whoever_watches_on_postgres() {
    records_once(On::Postgres);
}
