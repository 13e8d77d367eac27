//! What goes to standard error, the log of `-v -v` among it, tells nothing of anybody in a feed.

use crate::support::{Place, text};

const PLANTED: [&str; 6] = ["zqkey", "zqfirst", "zqlast", "zqmail", "zqdept", "zqcomment"];

fn rows(people: impl Iterator<Item = u32>) -> String {
    let rows: String = people.map(|n| format!("ZQkey{n},zqmail{n}@x.example,ZQfirst{n},ZQlast{n},ZQdept\n")).collect();
    format!("Employee ID,Email,First Name,Last Name,Department\n{rows}")
}

#[test]
fn no_personal_data_is_in_logs_or_errors() {
    let place = Place::new();
    place.file("first.csv", &rows(1..=12));
    place.file("next.csv", &rows(1..=11).replace("ZQdept\nZQkey3", "ZQdept moved\nZQkey3"));
    place.file("bad.csv", &format!("{}ZQkey1,zqmail\n,zqmail,\"ZQfirst", rows(1..=13)));
    place.file("twice.csv", &format!("{}ZQkey1,zqmail@x.example,ZQfirst,ZQlast,\n", rows(1..=14)));
    let mut said = String::new();
    let mut refused = 0;
    let mut run = |line: &str| {
        let output = place.run(&format!("{line} -v -v"));
        let code = output.status.code().expect("an exit code");
        assert!(code != 1, "{line}: {}", text(&output.stderr));
        refused += u32::from(code != 0);
        said.push_str(&text(&output.stderr));
    };
    run("org create acme --name Acme");
    run("org set acme guard.first_import=off policy.upload=apply");
    run("feeds create new --org acme --mode full");
    run("sync first.csv --org acme --mode full");
    run("sync bad.csv --org acme --mode full");
    run("sync twice.csv --org acme --mode full");
    run("changes reject --org acme --comment zqcomment");
    run("sync next.csv --org acme --mode full --hold");
    run("changes approve --org acme --digest 0000");
    run("changes approve --org acme --confirm-removals 7");
    run("changes show --org acme");
    run("changes approve --org acme --comment zqcomment");
    run("changes undo --org acme --since 2020-01-01T00:00:00Z --hold");
    run("feeds handover main main --org acme");
    run("org set acme invalid_rows=refuse");
    run("sync twice.csv --org acme --mode full");
    run("org set acme match_key=zqkey");
    run("changes show zzzz --org acme");
    run("members list --org acme");
    run("members export --org acme --output people.csv");
    run("eligibility 1 --org acme");
    run("events export --org acme");
    run("verify --org acme");
    assert!(refused > 8, "errors were among it: {refused}");
    let lower = said.to_lowercase().replace("`zqkey` is no value for `match_key`", "");
    assert!(lower.contains("stage done"), "the log was on");
    let found: Vec<&str> = lower.lines().filter(|l| PLANTED.iter().any(|p| l.contains(p))).collect();
    assert_eq!(found, Vec::<&str>::new());
}
