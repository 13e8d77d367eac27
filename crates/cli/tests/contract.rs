//! The command line as scripts rely on it: exit codes, one JSON document, one sentence for an error, help everywhere.

use std::io::Read;
use std::process::Stdio;

use crate::support::{Place, text};

const PEOPLE: &str = "Employee ID,First Name,Last Name\n1,Ann,Archer\n2,Bo,Baker\n3,Cy,Carter\n";

fn acme() -> Place {
    let place = Place::new();
    place.file("people.csv", PEOPLE);
    place.expect(0, "org create acme --name Acme");
    place.expect(0, "org set acme guard.first_import=off");
    place
}

#[test]
fn exit_codes_tell_what_a_payload_came_to() {
    let place = acme();
    assert_eq!(place.json(0, "sync people.csv --org acme --mode full --dry-run")["state"], "dry_run");
    let held = place.json(3, "sync people.csv --org acme --mode full");
    assert_eq!(held["state"], "held");
    assert_eq!(place.json(3, "sync people.csv --org acme --mode full")["change_set_id"], held["change_set_id"]);
    place.file("more.csv", &format!("{PEOPLE}4,Di,Dean\n"));
    let applied = place.json(0, "sync more.csv --org acme --mode full --apply");
    assert_eq!((&applied["state"], &applied["counts"]["added"]), (&"applied".into(), &4.into()));
    assert_eq!(place.json(0, "sync more.csv --org acme --mode full --apply")["state"], "no_changes");
    place.file("nothing.csv", "");
    assert_eq!(place.json(4, "sync nothing.csv --org acme --mode full")["state"], "refused");
    let other = "0".repeat(64);
    let refused = place.json(4, &format!("sync more.csv --org acme --mode full --expect-sha256 {other}"));
    assert_eq!(refused["error"]["kind"], "refused");
}

#[test]
fn the_report_has_the_members_that_the_contract_names() {
    let place = acme();
    let report = place.json(3, "sync people.csv --org acme --mode full");
    let mut names: Vec<&str> = report.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    let wanted = "change_set_id counts digest holds issues mapping_version read_as roster_version seq state upload_id";
    assert_eq!(names.join(" "), wanted);
    let mut counts: Vec<&str> = report["counts"].as_object().expect("counts").keys().map(String::as_str).collect();
    counts.sort_unstable();
    assert_eq!(counts.join(" "), "added invalid reinstated rekeyed removed rows suppressed unchanged updated");
}

#[test]
fn wrong_use_is_2_and_one_document() {
    let place = acme();
    for line in [
        "",
        "nonsense",
        "sync",
        "sync people.csv --org acme",
        "sync missing.csv --org acme --mode full",
        "sync people.csv --org nobody --mode full",
        "sync people.csv --org acme --mode sideways",
        "sync people.csv --org acme --mode full --apply --hold",
        "sync people.csv --org acme --mode full --as-of yesterday",
        "sync people.csv --org acme --mode full --expect-sha256 abc",
        "sync people.csv --org acme --mode full --feed other",
        "sync . --org acme --mode full",
        "org create acme --name Again",
        "org create UPPER --name Upper",
        "org create other --name Other --timezone Mars/Olympus",
        "org set acme guard.removals=5",
        "org set acme guard.first_import",
        "org set acme guard.first_import=maybe",
        "feeds create main --org acme",
        "feeds create hand --org acme",
        "feeds set main --org acme --map shoe_size=Shoes",
        "feeds set main --org acme --override timezone=UTC",
        "org list --database nonsense:x",
        "org list --config missing.toml",
    ] {
        let error = place.json(2, line);
        let message = error["error"]["message"].as_str().unwrap_or_else(|| panic!("{line}: {error}"));
        assert!(message.ends_with(['.', '?', '!', '…']) && !message.contains('\n'), "{line}: {message}");
        assert!(error["error"]["kind"].is_string(), "{line}: {error}");
    }
}

#[test]
fn anything_else_is_1() {
    let place = Place::new();
    place.file("muster-data", "in the way");
    assert_eq!(place.json(1, "org list")["error"]["kind"], "unavailable");
    let error = place.json(1, "org list --database postgres://127.0.0.1:1/x --data-dir other");
    assert_eq!(error["error"]["kind"], "unavailable");
}

#[test]
fn errors_for_people_go_to_standard_error_in_one_line() {
    let place = acme();
    let output = place.run("sync missing.csv --org acme --mode full");
    assert_eq!(text(&output.stdout), "");
    assert_eq!(text(&output.stderr), "muster: There is no file missing.csv.\n");
}

#[test]
fn globals_are_taken_before_and_after_the_command() {
    let place = acme();
    let before = place.expect(0, "--json org list");
    assert_eq!(before, place.expect(0, "org --json list"));
    assert_eq!(before, place.expect(0, "org list --json"));
}

#[test]
fn every_answer_is_one_document() {
    let place = acme();
    for line in [
        "org list",
        "org show acme",
        "org set acme dates=day_first",
        "feeds list --org acme",
        "uploads list --org acme",
        "feeds create b --org acme --mode partial",
        "feeds set b --org acme --priority -3 --map email=Mail --override duplicates=last",
        "feeds show b --org acme",
        "map people.csv --org acme",
        "migrate",
        "completions zsh",
        "demo --no-serve",
    ] {
        assert!(place.json(0, line).get("error").is_none(), "{line}");
    }
}

#[test]
fn settings_are_set_all_or_none_and_shown_with_their_meaning() {
    let place = acme();
    place.expect(2, "org set acme ask_again_days=7 dates=sideways");
    let shown = place.json(0, "org show acme");
    let settings = shown["settings"].as_array().expect("settings");
    let of = |key: &str| settings.iter().find(|s| s["key"] == key).expect("the setting").clone();
    assert_eq!(of("ask_again_days")["value"], "30");
    assert!(settings.iter().all(|s| !s["meaning"].as_str().unwrap_or_default().is_empty()));
    place.expect(0, "org set acme ask_again_days=7 dates=day_first");
    let again = place.json(0, "org set acme ask_again_days=7");
    assert_eq!(again["changed"], serde_json::json!([]));
}

#[test]
fn standard_input_is_read() {
    let place = acme();
    let mut command = place.command("sync - --format csv --org acme --mode full --dry-run --json");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("muster runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), PEOPLE.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("an answer");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(report["counts"]["rows"], 3);
}

#[test]
fn a_reader_who_goes_away_is_no_failure() {
    let place = acme();
    let mut command = place.command("completions bash");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("muster runs");
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().expect("stderr").read_to_string(&mut said).expect("text");
    assert_eq!((child.wait().expect("an end").code(), said.as_str()), (Some(0), ""));
}

#[test]
fn every_command_has_help_with_an_example() {
    let place = Place::new();
    let mut seen = 0;
    let mut waiting = vec![String::new()];
    while let Some(line) = waiting.pop() {
        let help = place.expect(0, &format!("{line} --help"));
        assert!(help.contains("Example"), "muster {line} --help has no example:\n{help}");
        seen += 1;
        let commands = help.split("Commands:\n").nth(1).unwrap_or_default();
        let names =
            commands.lines().take_while(|l| !l.is_empty()).filter_map(|l| l.strip_prefix("  ")?.split(' ').next());
        waiting.extend(names.filter(|n| !n.is_empty() && *n != "help").map(|n| format!("{line} {n}")));
    }
    assert!(seen > 12, "only {seen} commands were found");
}

#[test]
fn a_damaged_log_is_one_sentence_with_the_line() {
    let place = acme();
    place.expect(3, "sync people.csv --org acme --mode full");
    let log = place.expect(0, "events export --org acme");
    let lines: Vec<&str> = log.lines().collect();
    let says = |name: &str, text: String| {
        place.file(name, &text);
        let error = place.json(1, &format!("replay {name}"));
        error["error"]["message"].as_str().expect("a sentence").to_owned()
    };
    let missing = says("missing.ndjson", [&lines[..2], &lines[3..]].concat().join("\n"));
    assert_eq!(missing, "The log missing.ndjson, line 3: event 3 should follow here, and event 4 does.");
    let changed = says("changed.ndjson", log.replacen("Ann", "Eve", 1));
    assert!(changed.starts_with("The log changed.ndjson, line 5: event 5 has other lines than"), "{changed}");
    let meta = says("meta.ndjson", log.replacen("organisation.settings_changed", "organisation.settings_chanted", 1));
    assert!(meta.contains("line 3:") && meta.ends_with('.'), "{meta}");
    assert_eq!(says("empty.ndjson", String::new()), "The log empty.ndjson has no events in it; export it again.");
    let cut = says("cut.ndjson", log[..log.len() - 9].to_owned());
    assert!(cut.starts_with(&format!("Line {} of the log is not an exported event", lines.len())), "{cut}");
}

#[test]
fn a_match_key_cannot_be_blank_and_a_prefix_not_endless() {
    let place = acme();
    place.expect(3, "sync people.csv --org acme --mode full");
    place.expect(0, "changes approve --org acme");
    let mut command = place.command("members rekey 1");
    let output = command.args(["", "--org", "acme", "--json"]).output().expect("muster runs");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    for line in [
        "members set 1 employee_id= --org acme",
        "members history 1 --field shoe --org acme",
        &format!("members rekey 1 {} --org acme", "x".repeat(300)),
        &format!("feeds set main --org acme --key-prefix {}", "x".repeat(40)),
        "events show many --org acme",
    ] {
        let error = place.json(2, line);
        assert!(error["error"]["message"].as_str().is_some_and(|m| m.ends_with('.')), "{line}: {error}");
    }
    assert_eq!(place.json(0, "members show 1 --org acme")["key"], "1");
}

#[test]
fn what_could_not_be_written_to_its_end_is_a_failure() {
    let place = acme();
    place.expect(0, "sync people.csv --org acme --mode full --apply");
    for line in [
        "events export --org acme",
        "members export --org acme",
        "members export --org acme --format xlsx",
        "org list --json",
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a full disk");
        let output = place.command(line).stdout(full).output().expect("muster runs");
        assert_eq!(output.status.code(), Some(1), "{line}");
        let said = text(&output.stderr);
        assert!(said.contains("could not be written to its end: No space left"), "{line}: {said}");
    }
}

#[test]
fn a_file_whose_name_is_no_text_is_taken_like_any_other() {
    use std::os::unix::ffi::OsStringExt;
    let place = acme();
    let name = std::ffi::OsString::from_vec(b"m\xfcller.csv".to_vec());
    std::fs::write(place.path().join(&name), PEOPLE).expect("a file");
    let mut command = place.command("sync --org acme --mode full");
    let output = command.arg(&name).output().expect("muster runs");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn what_is_meant_must_be_clear() {
    let place = acme();
    for (line, says) in [
        ("sync people.csv --org acme --mode full --issues -", "standard output"),
        ("sync people.csv --org acme --mode full --map last_name=A --map last_name=B", "given twice"),
        ("feeds set main --org acme --map last_name=A --map last_name=B", "given twice"),
        ("org list --database sqlite:x.db?mode=ro", "no options"),
        ("sync people.csv --org acme --mode full --expect-rows -3", "; tip: "),
    ] {
        let error = place.json(2, line);
        assert!(error["error"]["message"].as_str().is_some_and(|m| m.contains(says)), "{line}: {error}");
    }
    let mut command = place.command("sync people.csv --org acme --mode full --json --idempotency-key");
    assert_eq!(command.arg("").output().expect("muster runs").status.code(), Some(2), "an unset variable is no key");
}

#[test]
fn what_is_stored_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = acme();
    place.expect(3, "sync people.csv --org acme --mode full");
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let data = place.path().join("muster-data");
    assert_eq!((mode(&data), mode(&data.join("muster.db"))), (0o700, 0o600));
    let organisation =
        std::fs::read_dir(data.join("payloads")).expect("payloads").next().expect("one").expect("one").path();
    let payload = std::fs::read_dir(&organisation).expect("payloads").next().expect("one").expect("one").path();
    assert_eq!((mode(&organisation), mode(&payload)), (0o700, 0o600));
}
