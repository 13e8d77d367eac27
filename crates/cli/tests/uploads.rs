//! Uploads whose payload cannot be found: said with all that is needed, and given up only by somebody.

use crate::support::Place;

const HEADER: &str = "Employee ID,First Name,Last Name\n1,Ann,Archer\n2,Bo,Baker\n";

/// An organisation that shares a database between two data directories, `here` and `there`; in `there` a process died right
/// after it had accepted a payload.
fn died_elsewhere() -> (Place, String) {
    let place = Place::new();
    place.file("people.csv", HEADER);
    place.file("more.csv", &format!("{HEADER}3,Cy,Carter\n"));
    place.file("most.csv", &format!("{HEADER}4,Di,Dean\n"));
    place.expect(0, &format!("org create acme --name Acme {}", of("here")));
    place.expect(0, &format!("org set acme guard.first_import=off policy.upload=apply {}", of("here")));
    place.expect(0, &format!("sync people.csv --org acme --mode full {}", of("here")));
    let line = format!("sync more.csv --org acme --mode partial {}", of("there"));
    let died = place.command(&line).env("MUSTER_CRASH_AT", "received").output().expect("muster runs");
    assert_eq!(died.status.code(), None, "it was to die");
    let listed = place.json(0, &format!("uploads list --org acme --state received {}", of("here")));
    assert_eq!((&listed["total"], &listed["uploads"][0]["payload"]), (&1.into(), &"missing".into()));
    let id = listed["uploads"][0]["upload_id"].as_str().expect("an id").to_owned();
    (place, id)
}

fn of(data_dir: &str) -> String {
    format!("--database sqlite:muster.db --data-dir {data_dir}")
}

#[test]
fn a_payload_that_cannot_be_found_is_told_with_what_to_do() {
    let (place, id) = died_elsewhere();
    let commands = ["sync most.csv --org acme --mode partial", "retention run --org acme"];
    for line in commands {
        let error = place.json(1, &format!("{line} {}", of("here")));
        let message = error["error"]["message"].as_str().expect("a sentence");
        let path = place.path().canonicalize().expect("a path").join("here/payloads");
        for needed in [&*id, &*path.to_string_lossy(), "--data-dir", "muster uploads give-up", "--org acme"] {
            assert!(message.contains(needed), "{needed}: {message}");
        }
    }
    // With the right data directory it goes on by itself.
    let report = place.json(0, &format!("sync most.csv --org acme --mode partial {}", of("there")));
    assert_eq!((&report["state"], &report["roster_version"]), (&"applied".into(), &3.into()));
}

#[test]
fn an_upload_is_given_up_only_by_somebody_and_those_behind_it_go_on() {
    let (place, id) = died_elsewhere();
    place.expect(1, &format!("sync most.csv --org acme --mode partial {}", of("here")));
    place.expect(2, &format!("uploads give-up 00000000 --org acme {}", of("here")));
    let given_up = place.json(0, &format!("uploads give-up {id} --org acme {}", of("here")));
    assert_eq!((&given_up["state"], &given_up["reason"]), (&"refused".into(), &"given_up".into()));
    let last = place.json(0, &format!("activity --org acme {}", of("here")));
    assert_eq!(given_up["seq"], last["seq"]);
    let again = place.json(2, &format!("uploads give-up {id} --org acme {}", of("here")));
    let message = again["error"]["message"].as_str().expect("a sentence");
    assert_eq!(message, format!("The upload {id} is refused; only one that waits to be worked on can be given up."));
    let log = place.expect(0, &format!("events export --org acme {}", of("here")));
    let decided = log.lines().find(|l| l.contains("upload.decided")).expect("the event");
    assert!(decided.contains("\"reason\":\"given_up\"") && decided.contains(&id), "{decided}");
    let report = place.json(0, &format!("sync most.csv --org acme --mode partial {}", of("here")));
    assert_eq!((&report["state"], &report["roster_version"]), (&"applied".into(), &2.into()));
    place.expect(0, &format!("verify --org acme {}", of("here")));
    place.file("log.ndjson", &log);
    place.expect(0, "replay log.ndjson");
}
