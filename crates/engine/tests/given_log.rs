//! Stories that begin with a log: what the next payload then brings.

use muster_testkit::given::{full, given, leavers, organisation, partial, recorded};

const HEADER: &str = "Employee ID,Email,First Name,Last Name,Department";

fn csv(rows: &[&str]) -> String {
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

#[test]
fn given_a_roster_when_a_full_payload_misses_somebody_then_they_are_removed() {
    let log = organisation(&[("guard.first_import", "off")])
        .and(full(csv(&["1,ann@x.org,Ann,Lee,Sales", "2,bob@x.org,Bob,Ray,Tools"])));
    given(log).when(full(csv(&["2,bob@x.org,Bob,Rey,Tools"]))).then(&[
        "upload.received main full",
        "change_set.chunk",
        "  update 2: last_name Ray -> Rey",
        "  remove 1",
        "change_set.computed applied",
        "change_set.applied 2 of 2",
    ]);
}

#[test]
fn given_what_waits_when_a_newer_payload_comes_then_it_takes_its_place() {
    let held = organisation(&[]).and(full(csv(&["1,ann@x.org,Ann,Lee,Sales"])));
    let then = given(held).when(full(csv(&["1,ann@x.org,Ann,Lee,Law"])).held()).then(&[
        "upload.received main full",
        "change_set.chunk",
        "  add 1: department Law, email ann@x.org, employee_id 1, first_name Ann, last_name Lee",
        "change_set.computed held (first_import)",
        "change_set.superseded",
    ]);
    // The story goes on from the log that it left.
    given(then.log)
        .when(leavers("Employee ID\n1\n"))
        .then(&["upload.received main leavers", "change_set.computed no_changes"]);
}

#[test]
fn given_a_recorded_log_when_the_same_people_come_again_then_nothing_changes() {
    for name in ["story", "v1", "v1-forgotten"] {
        let first = given(recorded(name)).when(partial(csv(&["new1,new@x.org,New,Person,Law"])).applied());
        let then = first.play();
        assert!(then.told.iter().any(|line| line.starts_with("  add new1")), "{name}: {:?}", then.told);
        let again = csv(&["new1,new@x.org,New,Person,Law", ""]);
        given(then.log)
            .when(partial(again).applied())
            .then(&["upload.received main partial", "change_set.computed no_changes"]);
    }
}
