//! Where the configuration comes from: defaults, then the file, then the environment, then flags.

use crate::support::Place;

/// The directories in the place that hold a database.
fn databases(place: &Place) -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(place.path())
        .expect("the directory")
        .filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| place.path().join(name).join("muster.db").exists())
        .collect();
    found.sort();
    found
}

#[test]
fn the_default_is_below_the_working_directory() {
    let place = Place::new();
    place.expect(0, "org list");
    assert_eq!(databases(&place), ["muster-data"]);
}

#[test]
fn the_database_lies_in_the_data_directory_unless_it_is_named() {
    let place = Place::new();
    place.expect(0, "org list --data-dir elsewhere");
    assert_eq!(databases(&place), ["elsewhere"]);
    place.expect(0, "org list --data-dir third --database sqlite:fourth/muster.db");
    assert_eq!(databases(&place), ["elsewhere", "fourth"]);
}

#[test]
fn file_then_environment_then_flags() {
    let place = Place::new();
    place.file("muster.toml", "data_dir = 'by-file'\nactor = 'file'\n");
    place.expect(0, "org list --config muster.toml");
    assert_eq!(databases(&place), ["by-file"]);
    let run = |line: &str| {
        let output = place.command(line).env("MUSTER_CONFIG", "muster.toml").env("MUSTER_DATA_DIR", "by-env").output();
        assert!(output.expect("muster runs").status.success());
    };
    run("org list");
    assert_eq!(databases(&place), ["by-env", "by-file"]);
    run("org list --data-dir by-flag");
    assert_eq!(databases(&place), ["by-env", "by-file", "by-flag"]);
}

#[test]
fn the_environment_names_a_database_and_an_empty_variable_is_none() {
    let place = Place::new();
    let run = |url: &str| {
        let output = place.command("org list").env("MUSTER_DATABASE_URL", url).output().expect("muster runs");
        assert!(output.status.success());
    };
    run("");
    assert_eq!(databases(&place), ["muster-data"]);
    run("sqlite:named/muster.db");
    assert_eq!(databases(&place), ["muster-data", "named"]);
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_line() {
    let place = Place::new();
    place.file("muster.toml", "actor = 'a'\ndatabse = 'x'\n");
    let error = place.json(2, "org list --config muster.toml");
    let message = error["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("line 2") && message.contains("databse"), "{message}");
}
