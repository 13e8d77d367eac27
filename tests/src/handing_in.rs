//! A payload is handed in while an earlier one of the same organisation is applied: it waits for the end of writing at most.

use crate::{
    faults_broker::all_applied,
    muster::{Muster, On},
    served::{Served, until, within},
};

/// Stops whoever applies the first payload at a point, and hands another one in.
fn handed_in_while_one_is(on: On, point: &str) {
    let muster = Muster::new(on);
    let mut served = Served::begin(&muster, &[], |command| {
        command.env("MUSTER_FREEZE_AT", point);
    });
    muster.take_in("One");
    until("the first to be applied", || served.is_frozen());
    muster.take_in("Two");
    assert!(served.is_frozen(), "it was frozen all the while");
    // What it had begun is done: nobody had to end its transaction so that the other could be handed in.
    until("both to be applied", || {
        served.signal("CONT");
        muster.uploads("applied") == 2
    });
    let failures = || served.metric("muster_upload_failures_total");
    assert_eq!(failures(), 0.0);
    served.signal("TERM");
    let ended = within("the end", || {
        served.signal("CONT");
        served.has_ended()
    });
    assert!(ended.success());
    let others = Served::start(&muster, &[]);
    all_applied(&muster, 2);
    assert!(others.end().success());
}

#[test]
fn worked_out_on_sqlite() {
    handed_in_while_one_is(On::Sqlite, "worked_out");
}

#[test]
fn worked_out_on_postgres() {
    handed_in_while_one_is(On::Postgres, "worked_out");
}

#[test]
fn written_on_postgres() {
    handed_in_while_one_is(On::Postgres, "written");
}
