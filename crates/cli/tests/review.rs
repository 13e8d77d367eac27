//! Reviewing, undoing and looking back, as a person does it with the binary.

use std::process::Stdio;

use crate::support::{Place, text};

fn demo() -> Place {
    let place = Place::new();
    place.expect(0, "demo --no-serve");
    place
}

#[test]
fn a_change_set_is_listed_shown_and_streamed() {
    let place = demo();
    let held = &place.json(0, "changes list --org demo --state held")["change_sets"][0];
    let id = held["change_set_id"].as_str().expect("an id");
    let shown = place.json(0, &format!("changes show {id} --org demo"));
    assert_eq!((&shown["digest"], &shown["kinds"]["remove"]), (&held["digest"], &128.into()));
    // Six of those who are missing were not eligible before.
    assert_eq!((&shown["removals"], &shown["taken_off"]), (&122.into(), &122.into()));
    assert_eq!(shown["changes"].as_array().map(Vec::len), Some(128));
    let page = place.json(0, "changes show --org demo --limit 5 --offset 126");
    assert_eq!((page["changes"].as_array().map(Vec::len), &page["matching"]), (Some(2), &128.into()));
    let stream = place.expect(0, &format!("changes show {id} --org demo --ndjson"));
    assert_eq!(stream.lines().count(), 129);
    assert!(stream.lines().all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()));
}

#[test]
fn a_review_for_people_has_counts_fields_and_values() {
    let place = demo();
    let sets = place.json(0, "changes list --org demo");
    let nightly = sets["change_sets"][1]["change_set_id"].as_str().expect("an id");
    let said = place.expect(0, &format!("changes show {nightly} --org demo"));
    for part in [
        "updated      6", "By field", "Ellis → Castellano", "(blank) → 2026-06-12", "+ FH01754  Kamal Moss",
        "- FH01550",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert!(!said.contains('\x1b'), "no colours where nobody looks");
}

#[test]
fn an_approval_is_bound_to_what_was_seen() {
    let place = demo();
    assert_eq!(place.json(5, "changes approve --org demo --digest 0000")["error"]["kind"], "stale");
    let unconfirmed = &place.json(2, "changes approve --org demo")["error"];
    assert_eq!(unconfirmed["kind"], "wrong_use");
    let why = unconfirmed["message"].as_str().expect("a sentence");
    assert!(
        why.contains("this makes 122 people ineligible: 122 removed") && why.contains("Add --confirm-removals 122"),
        "{why}"
    );
    assert_eq!(place.json(2, "changes approve nonsense --org demo")["error"]["kind"], "not_found");
    let part = place.json(3, "changes approve --org demo --only FH01167 --confirm-removals 1");
    assert_eq!(part["state"], "partly_applied");
    assert_eq!(place.json(0, "changes reject --org demo --comment enough")["state"], "applied");
    assert_eq!(place.json(2, "changes reject --org demo")["error"]["kind"], "not_found");
}

#[test]
fn a_rejection_of_a_part_is_remembered() {
    let place = demo();
    place.json(3, "changes reject --org demo --only FH01167");
    let remembered = place.json(0, "changes rejected --org demo");
    assert_eq!(
        (&remembered["rejected"][0]["key"], &remembered["rejected"][0]["field"]),
        (&"FH01167".into(), &"absent".into())
    );
}

#[test]
fn an_undo_is_tried_and_done() {
    let place = demo();
    let sets = place.json(0, "changes list --org demo");
    let nightly = sets["change_sets"][1]["change_set_id"].as_str().expect("an id");
    let tried = place.json(0, &format!("changes undo {nightly} --org demo --dry-run"));
    assert_eq!((&tried["state"], &tried["reports"][0]["undoes"]), (&"dry_run".into(), &nightly.into()));
    let digest = tried["digest"].as_str().expect("a digest");
    let shown = place.expect(0, &format!("changes undo {nightly} --org demo --dry-run"));
    assert!(shown.contains(&format!("--digest {digest}")), "{shown}");
    assert_eq!(place.json(5, &format!("changes undo {nightly} --org demo --digest x"))["error"]["kind"], "stale");
    assert_eq!(place.json(0, &format!("changes undo {nightly} --org demo --digest {digest}"))["state"], "applied");
    assert_eq!(place.json(0, "members show FH01637 --org demo")["fields"]["last_name"], "Ellis");
    place.expect(2, "changes undo --org demo");
    assert_eq!(place.json(0, "verify")["clean"], true);
}

#[test]
fn edits_by_hand_are_change_sets() {
    let place = demo();
    assert_eq!(place.json(0, "members set FH01637 department=Sales --org demo")["counts"]["updated"], 1);
    assert_eq!(place.json(0, "members add employee_id=N1 first_name==1+1 --org demo")["counts"]["added"], 1);
    assert_eq!(place.json(0, "members rekey N1 N2 --org demo")["counts"]["rekeyed"], 1);
    assert_eq!(place.json(3, "members remove N2 --org demo --hold")["state"], "held");
    assert_eq!(place.json(2, "members set nobody department=Sales --org demo")["error"]["kind"], "not_found");
    assert_eq!(place.json(2, "members set N2 shoe_size=9 --org demo")["error"]["kind"], "wrong_use");
    let csv = place.expect(0, "members export --org demo");
    assert!(csv.contains("N2,,'=1+1,") && csv.starts_with("employee_id,email,"), "{csv}");
    assert!(place.expect(0, "members export --org demo --raw").contains("N2,,=1+1,"));
}

#[test]
fn an_export_is_read_back_as_no_changes() {
    let place = demo();
    let csv = place.run("members export --org demo").stdout;
    std::fs::write(place.path().join("out.csv"), csv).expect("a file");
    let report = place.json(0, "sync out.csv --org demo --mode partial --apply");
    assert_eq!((&report["state"], &report["counts"]["unchanged"]), (&"no_changes".into(), &305.into()));
}

#[test]
fn the_past_is_answered() {
    let place = demo();
    assert_eq!(place.json(0, "members list --org demo --roster-version 1")["total"], 304);
    let history = place.json(0, "members history FH01637 --org demo --field last_name");
    let entries = history["history"].as_array().expect("entries");
    assert_eq!((&entries[1]["before"], &entries[1]["value"]), (&"Ellis".into(), &"Castellano".into()));
    assert_eq!((&entries[1]["file"], &entries[1]["line"]), (&"nightly.csv".into(), &52.into()));
    let answer = place.json(0, "eligibility FH01559 --org demo");
    assert_eq!((&answer["eligible"], &answer["reason"]), (&false.into(), &"ended".into()));
    place.expect(2, "members list --org demo --roster-version 99");
    place.expect(2, "eligibility FH01559 --org demo --on tomorrow");
}

#[test]
fn the_log_is_exported_replayed_and_verified() {
    let place = demo();
    let log = place.run("events export --org demo").stdout;
    std::fs::write(place.path().join("log.ndjson"), &log).expect("a file");
    let replayed = place.json(0, "replay log.ndjson");
    assert_eq!((&replayed["members"], &replayed["roster_version"]), (&305.into(), &2.into()));
    assert_eq!(place.json(0, "replay log.ndjson --until 8")["members"], 304);
    let events = place.json(0, "events export --org demo")["events"].as_array().map(Vec::len);
    assert_eq!(events, Some(text(&log).lines().count()));
    assert_eq!(place.json(0, "events show 1 --org demo")["meta"]["type"], "organisation.created");
    assert_eq!(place.json(0, "verify --org demo")["clean"], true);
    let cut = text(&log).replacen("Darius", "Marius", 1);
    std::fs::write(place.path().join("changed.ndjson"), cut).expect("a file");
    assert_eq!(place.json(1, "replay changed.ndjson")["error"]["kind"], "damaged");
    place.json(2, "replay missing.ndjson");
}

#[test]
fn a_long_answer_ends_quietly_when_nobody_reads_on() {
    let place = demo();
    for line in ["events export --org demo", "changes show --org demo --ndjson", "members export --org demo"] {
        let mut child = place.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("muster runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("an end");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{line}");
    }
}

#[test]
fn who_names_somebody_whom_the_change_set_is_not_about_decides_nothing() {
    let place = demo();
    let held = place.json(0, "changes list --org demo --state held")["change_sets"][0].clone();
    let id = held["change_set_id"].as_str().expect("an id");
    for line in [
        // The id stands where keys are expected, so nobody named the change set.
        format!("changes approve --org demo --except FH01550 {id}"),
        format!("changes approve {id} --org demo --only FH01550 FH015500"),
        format!("changes approve {id} --org demo --except FHO1550"),
        format!("changes reject {id} --org demo --only nobody"),
        format!("changes approve {id} --org demo --except-field shoe"),
    ] {
        let error = place.json(2, &line);
        let message = error["error"]["message"].as_str().expect("a message");
        assert!(message.ends_with("Nothing was decided."), "{line}: {message}");
    }
    assert_eq!(place.json(0, "changes list --org demo --state held")["change_sets"][0], held);
}

#[test]
fn a_second_approver_is_awaited_told_and_somebody_else() {
    let place = demo();
    place.expect(0, "org set demo review.second_approver=guarded");
    let approve = "changes approve --org demo --confirm-removals 122";
    let anna = place.json(3, &format!("{approve} --actor anna"));
    assert_eq!((&anna["state"], &anna["awaits_second_approver"]), (&"held".into(), &true.into()));
    let first = &anna["approvals"][0];
    assert_eq!((&first["by"], &first["changes"], &first["removals"]), (&"anna".into(), &128.into(), &122.into()));
    assert_eq!(first["digest"], anna["digest"]);

    let again = place.json(2, &format!("{approve} --actor Anna"));
    assert_eq!(again["error"]["kind"], "forbidden");
    let why = again["error"]["message"].as_str().expect("a sentence");
    assert!(
        why.contains("you gave the first approval yourself") && why.contains("Anybody else who may approve"),
        "{why}"
    );

    let said = place.expect(0, "changes show --org demo --limit 1");
    for part in [
        "held, approved by 1 of 2",
        "A second approver is awaited",
        "approved first by anna on",
        "128 changes, which make 122 people ineligible",
        "Approving all that waits makes 122 people ineligible: 122 removed. Whoever approves it confirms the 122.",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    let listed = place.json(0, "changes list --org demo --state held");
    assert_eq!(listed["change_sets"][0]["approvals"][0]["by"], "anna");
    for command in ["changes list --org demo", "changes overview --org demo"] {
        let said = place.expect(0, command);
        assert!(said.contains("approved by 1 of 2"), "{command}: {said}");
    }
    // Anything else is a new first approval.
    let part = place.expect(3, "changes approve --org demo --actor ben --only FH01167 --confirm-removals 1");
    assert!(part.contains("Approved by 1 of 2") && part.contains("approved first by ben"), "{part}");
    let marked = place.expect(0, "changes show --org demo --limit 0");
    let marked: Vec<&str> = marked.lines().filter(|line| line.ends_with("approved by 1 of 2)")).collect();
    assert!(marked.len() == 1 && marked[0].contains("FH01167"), "{marked:?}");
    let done = place.json(3, "changes approve --org demo --actor anna --only FH01167 --confirm-removals 1");
    assert_eq!((&done["state"], &done["awaits_second_approver"]), (&"partly_applied".into(), &false.into()));
    assert_eq!((&done["approvals"][0]["by"], &done["approvals"][0]["seconded_by"]), (&"ben".into(), &"anna".into()));
    let said = place.expect(0, "changes show --org demo --limit 1");
    assert!(
        said.contains("1 change, which makes 1 person ineligible; then by anna") && !said.contains("is awaited"),
        "{said}"
    );
    place.expect(0, "verify --org demo");
    assert_eq!(place.json(0, "changes reject --org demo --actor anna --comment enough")["state"], "applied");
    place.expect(0, "verify --org demo");
}

#[test]
fn what_one_person_let_through_adds_up_for_a_day_and_no_longer() {
    let place = Place::new();
    let (day, night, next) = ("2030-03-01T09:00:00Z", "2030-03-02T08:59:59Z", "2030-03-02T09:00:01Z");
    let at = |now: &str, code: i32, line: &str| {
        let output = place.command(line).env("MUSTER_NOW", now).output().expect("muster runs");
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "muster {line}\n{said}{}", text(&output.stderr));
        said
    };
    let header = "employee_id,email,first_name,last_name";
    let row = |n: usize| format!("E{n},p{n}@x.example,First{n},Last{n}");
    let list = |numbers: std::ops::RangeInclusive<usize>| {
        let rows: Vec<String> = numbers.map(row).collect();
        format!("{header}\n{}\n", rows.join("\n"))
    };
    for (name, numbers) in [("all.csv", 1..=20), ("one.csv", 1..=3), ("two.csv", 4..=6)] {
        place.file(name, &list(numbers));
    }
    at(day, 0, "org create acme --name Acme");
    at(day, 0, "org set acme guard.first_import=off guard.removals.max_percent=off review.second_approver_removals=5");
    at(day, 0, "sync all.csv --org acme --mode full --apply");
    at(day, 3, "sync one.csv --org acme --mode leavers --hold");
    at(day, 0, "changes approve --org acme --actor anna");
    at(day, 3, "sync two.csv --org acme --mode leavers --hold");
    // Three and three are not less than five, as long as it is the same day.
    let said = at(night, 3, "changes approve --org acme --actor anna");
    assert!(said.contains("Approved by 1 of 2"), "{said}");
    at(next, 0, "changes approve --org acme --actor anna");
    at(next, 0, "verify --org acme");
}
