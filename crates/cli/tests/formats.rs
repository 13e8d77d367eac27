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

#[test]
fn an_export_of_any_hr_system_needs_only_an_organisation_and_a_mode() {
    let mut taken = 0;
    for entry in std::fs::read_dir(fixtures("hr")).expect("the folder of exports") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name").to_owned();
        if name.ends_with(".expected.txt") {
            continue;
        }
        let place = acme();
        let line = format!("sync {} --org acme --mode full --channel schedule", path.display());
        let output = place.run(&format!("{line} --json"));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
        if report["state"] == "refused" {
            let reason = report["issues"][0]["reason"].as_str().unwrap_or_default();
            assert!(reason.contains("--map") && reason.ends_with('.'), "{name}: {report}");
            continue;
        }
        // A first import waits for somebody to look at it.
        assert_eq!((output.status.code(), &report["state"]), (Some(3), &"held".into()), "{name}: {report}");
        assert_eq!(
            (&report["counts"]["added"], &report["counts"]["invalid"]),
            (&2.into(), &0.into()),
            "{name}: {report}"
        );
        taken += 1;
    }
    assert!(taken >= 12, "{taken}");
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
