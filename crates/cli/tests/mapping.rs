//! `muster map`: what was guessed, saving it, its versions, and what the log says of how a payload was read.

use crate::support::Place;

const GERMAN: &str = "Personalliste;;;\nPers-Kennung;Nachname;Dienstliche Adresse;Eintritt am\n\
    0017;Müller;mueller@x.example;31.01.2020\n0018;Özil;oezil@x.example;01.02.2021\n";
const JAPANESE: &str =
    "社員番号,氏名,メール,部署\nE-1,山田太郎,taro@x.example,営業\nE-2,佐藤花子,hanako@x.example,経理\n";

fn acme() -> Place {
    let place = Place::new();
    place.expect(0, "org create acme --name Acme");
    place.expect(0, "org set acme guard.first_import=off policy.upload=apply dates=day_first");
    place
}

#[test]
fn each_column_is_shown_with_samples_and_how_sure_it_is() {
    let place = acme();
    place.file(
        "people.csv",
        "Worker ID,email,Title,Hire Date,Shoe\n1,a@x.example,Clerk,soon,43\n2,b@x.example,Cook,later,44\n",
    );
    let said = place.json(0, "map people.csv --org acme");
    let column = |i: usize| {
        let c = &said["columns"][i];
        [&c["field"], &c["confidence"]].map(|v| v.as_str().unwrap_or("-").to_owned()).join(" ")
    };
    let all: Vec<String> = (0..5).map(column).collect();
    assert_eq!(all, ["employee_id high", "email high", "job_title medium", "start_date low", "- -"], "{said}");
    assert_eq!(said["columns"][2]["samples"], serde_json::json!(["Clerk", "Cook"]));
    assert!(said["columns"][3]["why"].as_str().is_some_and(|w| w.contains("does not fit")), "{said}");
    assert_eq!((&said["rows_looked_at"], &said["saved_version"]), (&2.into(), &serde_json::Value::Null));
    assert_eq!(said["without_column"][0]["field"], "first_name");
    let text = place.expect(0, "map people.csv --org acme");
    assert!(text.contains("a known name of it") && text.contains("43 | 44") && text.contains("- ignored"), "{text}");
    assert!(text.contains("Nothing was saved.") && text.contains("--save"), "a pipe is never asked: {text}");
    assert_eq!(place.json(0, "feeds show main --org acme")["mapping_version"], 0);
}

#[test]
fn headers_in_other_languages_are_read_by_a_saved_mapping() {
    let place = acme();
    place.file("de.csv", GERMAN);
    place.file("ja.csv", JAPANESE);
    place.expect(0, "feeds create tokyo --org acme --mode partial");
    let refused = place.json(4, "map ja.csv --org acme --feed tokyo --save");
    assert_eq!(refused["problems"].as_array().map(Vec::len), Some(1), "{refused}");
    assert!(refused["columns"][2]["why"].as_str().is_some_and(|w| w.contains("e-mail addresses")), "{refused}");
    assert!(refused["columns"][0]["why"].as_str().is_some_and(|w| w.contains("ids")), "{refused}");
    let save = |file: &str, feed: &str, maps: &[&str]| {
        let mut command = place.command(&format!("map {file} --org acme --feed {feed} --save --json"));
        for map in maps {
            command.args(["--map", map]);
        }
        let output = command.output().expect("muster runs");
        assert_eq!(output.status.code(), Some(0), "{}", crate::support::text(&output.stdout));
    };
    save("ja.csv", "tokyo", &["employee_id=社員番号", "last_name=氏名", "email=メール", "department=部署"]);
    save("de.csv", "main", &["employee_id=Pers-Kennung", "email=Dienstliche Adresse", "start_date=Eintritt am"]);
    let ja = place.json(0, "sync ja.csv --org acme --feed tokyo");
    assert_eq!((&ja["counts"]["added"], &ja["mapping_version"]), (&2.into(), &1.into()), "{ja}");
    let de = place.json(0, "sync de.csv --org acme --mode full");
    assert_eq!((&de["counts"]["added"], &de["state"]), (&2.into(), &"applied".into()), "{de}");
    let fields = &place.json(0, "members show E-1 --org acme")["fields"];
    assert_eq!((&fields["last_name"], &fields["department"]), (&"山田太郎".into(), &"営業".into()));
    assert_eq!(place.json(0, "members show 0018 --org acme")["fields"]["start_date"], "2021-02-01");
    place.expect(0, "verify --org acme");
}

#[test]
fn saved_mappings_are_versions_and_an_old_one_comes_back() {
    let place = acme();
    place.file("people.csv", "No,Mail,Unit\n1,a@x.example,Sales\n");
    place.expect(0, "map people.csv --org acme --map employee_id=No --save");
    place.expect(0, "map people.csv --org acme --map department=Unit --save");
    let again = place.expect(0, "map people.csv --org acme --save");
    assert!(again.contains("has this mapping already, as version 2"), "{again}");
    let shown = place.json(0, "feeds show main --org acme");
    let versions = shown["mapping_versions"].as_array().expect("versions");
    assert_eq!((versions.len(), &versions[0]["mapping"]["employee_id"]), (2, &"No".into()));
    assert_eq!(
        (&versions[0]["mapping"]["email"], &versions[1]["mapping"]["department"]),
        (&"Mail".into(), &"Unit".into())
    );
    assert!(versions[1]["actor"].is_string() && versions[1]["at"].is_string());
    assert!(place.expect(0, "feeds show main --org acme").contains("Versions of the mapping"));
    let report = place.json(0, "sync people.csv --org acme --mode full");
    assert_eq!(report["mapping_version"], 2, "{report}");
    let back = place.json(0, "map --org acme --restore 1");
    assert_eq!((&back["saved_version"], &back["mapping"]["department"]), (&3.into(), &serde_json::Value::Null));
    assert_eq!(place.json(0, "sync people.csv --org acme --mode full")["mapping_version"], 3);
    place.expect(2, "map --org acme --restore 9");
    place.expect(2, "map --org acme");
    place.expect(0, "map --org acme --restore 0");
    assert_eq!(place.json(4, "sync people.csv --org acme --mode full")["state"], "refused");
    place.expect(0, "verify --org acme");
}

#[test]
fn a_column_that_the_mapping_knows_and_the_payload_lacks_clears_nothing() {
    let place = acme();
    place.file("people.csv", "No,Mail,Unit\n1,a@x.example,Sales\n2,b@x.example,Law\n");
    place.expect(0, "map people.csv --org acme --map employee_id=No --map department=Unit --save");
    place.expect(0, "sync people.csv --org acme --mode full");
    place.file("some.csv", "No,Mail,Department\n1,new@x.example,Other\n");
    let report = place.json(0, "sync some.csv --org acme --mode partial");
    assert!(report["read_as"][0].as_str().is_some_and(|n| n.contains("department in a column that is not here")));
    let fields = &place.json(0, "members show 1 --org acme")["fields"];
    assert_eq!((&fields["email"], &fields["department"]), (&"new@x.example".into(), &"Sales".into()));
    place.file("else.csv", "Mail,Unit\na@x.example,Sales\n");
    let refused = place.json(4, "sync else.csv --org acme --mode partial");
    assert!(refused["issues"][0]["reason"].as_str().is_some_and(|r| r.contains("employee_id")), "{refused}");
    place.json(4, "sync people.csv --org acme --mode partial --map location=Place");
    place.expect(0, "map people.csv --org acme --map department= --save");
    assert!(place.expect(0, "feeds show main --org acme").contains("department is in no column"));
}

#[test]
fn how_a_payload_was_read_stands_in_the_log_and_is_shown() {
    let place = acme();
    place.file("de.csv", GERMAN);
    let mut command = place.command("sync de.csv --org acme --mode full --hold --map email= --json");
    command.args(["--map", "employee_id=Pers-Kennung"]);
    assert_eq!(command.output().expect("muster runs").status.code(), Some(3));
    let shown = place.json(0, "changes show --org acme");
    let read = serde_json::json!({
        "format": "csv", "encoding": "utf-8", "delimiter": ";", "header_line": 2, "dates": "day_first", "mapping_version": 0,
    });
    assert_eq!(shown["read_as"], read);
    let text = place.expect(0, "changes show --org acme");
    assert!(
        text.contains("read as csv, encoding utf-8, \";\" between cells, header in line 2, dates day_first"),
        "{text}"
    );
    let log = place.expect(0, "events export --org acme");
    assert!(log.contains(r#""read_as":{"format":"csv","encoding":"utf-8","delimiter":";""#), "{log}");
    place.expect(0, "changes approve --org acme");
    place.expect(0, "verify --org acme");
}

#[test]
fn standard_input_is_looked_at_and_what_is_no_list_is_one_sentence() {
    let place = acme();
    let mut command = place.command("map - --org acme --json");
    let mut child =
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().expect("muster runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), b"[{\"employee_id\":1,\"x\":null}]")
        .expect("written");
    let output = child.wait_with_output().expect("an answer");
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(
        (&said["columns"][0]["field"], &said["columns"][1]["filled"]),
        (&"employee_id".into(), &0.into()),
        "{said}"
    );
    place.file("nothing.csv", "");
    assert_eq!(place.json(4, "map nothing.csv --org acme")["error"]["kind"], "refused");
    place.expect(2, "map missing.csv --org acme");
    place.file("people.csv", "Employee ID\n1\n");
    place.expect(2, "map people.csv --org acme --feed other");
    place.expect(2, "map people.csv --org acme --map shoe=Employee");
}
