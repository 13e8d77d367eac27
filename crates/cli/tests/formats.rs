//! Payloads of every format on the command line.

use std::path::{Path, PathBuf};

use crate::support::Place;

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/feeds").join(folder)
}

fn acme() -> Place {
    let place = Place::new();
    place.expect(0, "org create acme --name Acme");
    place
}

/// Every feed of a folder below the fixtures.
fn feeds(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixtures(folder)).expect("a folder of feeds");
    let files = entries.map(|e| e.expect("an entry").path()).filter(|p| p.is_file());
    let is_feed = |p: &PathBuf| !["md", "py", "expected.txt"].iter().any(|end| p.display().to_string().ends_with(end));
    let mut feeds: Vec<PathBuf> = files.filter(is_feed).collect();
    feeds.sort();
    feeds
}

/// What became of a payload with no more said than the organisation and the mode.
fn plainly(path: &Path) -> (Option<i32>, serde_json::Value) {
    let place = acme();
    let output = place.run(&format!("sync {} --org acme --mode full --json", path.display()));
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("one document"))
}

#[test]
fn an_export_of_any_hr_system_needs_only_an_organisation_and_a_mode() {
    let mut taken = 0;
    for path in feeds("hr") {
        let name = path.display();
        let (code, report) = plainly(&path);
        if report["state"] == "refused" {
            let reason = report["issues"][0]["reason"].as_str().unwrap_or_default();
            assert!(reason.contains("--map") && reason.ends_with('.') && code == Some(4), "{name}: {report}");
            continue;
        }
        // A first import waits for somebody to look at it.
        assert_eq!((code, &report["state"]), (Some(3), &"held".into()), "{name}: {report}");
        let counts = &report["counts"];
        assert_eq!((&counts["added"], &counts["invalid"]), (&2.into(), &0.into()), "{name}: {report}");
        taken += 1;
    }
    assert!(taken >= 12, "{taken}");
}

#[test]
fn any_feed_is_held_with_what_can_be_taken_or_ends_in_one_sentence() {
    let (mut held, mut refused) = (0, 0);
    for path in ["", "csv", "json", "packed", "workbooks"].into_iter().flat_map(feeds) {
        let name = path.display();
        let (code, report) = plainly(&path);
        match report["state"].as_str() {
            Some("held") => {
                assert_eq!(code, Some(3), "{name}");
                assert!(report["counts"]["added"].as_u64() > Some(0), "{name}: {report}");
                held += 1;
            }
            Some("refused") => {
                let reason = report["issues"][0]["reason"].as_str().unwrap_or_default();
                assert_eq!(code, Some(4), "{name}");
                assert!(reason.len() > 40 && reason.ends_with('.') && !reason.contains('\n'), "{name}: {report}");
                refused += 1;
            }
            Some("no_changes") => assert_eq!(report["counts"]["rows"], 0, "{name}: {report}"),
            _ => panic!("{name}: {report}"),
        }
    }
    assert!(held > 30 && refused > 10, "{held} held, {refused} refused");
}

#[test]
fn a_sheet_is_named_where_several_could_be_meant() {
    let place = acme();
    let book = fixtures("workbooks/two-lists.xlsx");
    let refused = place.expect(4, &format!("sync {} --org acme --mode full", book.display()));
    assert!(refused.contains("\"Germany\", \"Ireland\"") && refused.contains("--sheet"), "{refused}");
    let held = place.expect(3, &format!("sync {} --org acme --mode full --sheet Ireland", book.display()));
    assert!(held.contains("The sheet \"Ireland\" was read."), "{held}");
    place.file("people.csv", "Employee ID\n1\n");
    let text = place.expect(4, "sync people.csv --org acme --mode full --sheet One");
    assert!(text.contains("Text has no sheets"), "{text}");
    let other = place.expect(4, &format!("sync {} --org acme --mode full --format csv", book.display()));
    assert!(other.contains("is a workbook"), "{other}");
}

#[test]
fn what_was_assumed_is_said() {
    let place = acme();
    let feed = fixtures("csv/windows_1252.csv");
    let report = place.json(3, &format!("sync {} --org acme --mode full", feed.display()));
    assert!(report["read_as"][0].as_str().is_some_and(|note| note.contains("Windows-1252")), "{report}");
}

#[test]
fn a_limit_is_set_and_named() {
    let place = acme();
    place.file("people.csv", "Employee ID\n1\n2\n3\n");
    place.expect(0, "org set acme limits.rows=2");
    let refused = place.expect(4, "sync people.csv --org acme --mode full");
    assert!(refused.contains("more than 2 rows") && refused.contains("limits.rows"), "{refused}");
}
