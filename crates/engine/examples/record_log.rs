//! Records a log for `fixtures/logs`: `record_log DIR NAME` plays a small story through the real engine and writes
//! `NAME.ndjson` and `NAME.expected.json`. A recorded log is never recorded again: later versions must still read it.
use std::{collections::BTreeMap, fs, path::Path};

use muster_domain::{
    guard::Asked,
    replay::{ReplayError, read_log},
    settings::{Channel, FeedSettings, Mode, Settings},
};
use muster_engine::{
    Engine,
    hand::Edit,
    pipeline::Request,
    review::{Approval, Choice},
    undo::UndoRequest,
};

const FIRST: &str = "Employee ID,Email,First Name,Last Name,Department,Start Date\n\
    1001,ann@example.org,Ann,Lee,Sales,2024-01-08\n1002,bob@example.org,Bob,Ray,Tools,2023-05-01\n\
    1003,cy@example.org,Cy,Moss,\"Research, \"\"blue\"\"\",2022-09-12\n1004,di@example.org,Di,Fry,  Tools ,\n\
    1005,ÉVA@example.org,Éva,Nagy,Law,2021-02-01\n1006,flo@example.org,Flo,Stone,Law,2020-02-29\n";
const NIGHTLY: &str = "Employee ID,Email,First Name,Last Name,Department,Start Date\n\
    1001,ann@example.org,Ann,Lee,Law,2024-01-08\n2002,bob@example.org,Bob,Ray,Tools,2023-05-01\n\
    1003,cy@example.org,Cy,Moss,,2022-09-12\n1005,éva@example.org,Éva,Nagy,Law,2021-02-01\n\
    1006,flo@example.org,Flo,Stone,Law,not a date\n1007,gus@example.org,Gus,Hale,Sales,2026-01-05\n";
const BIKES: &str = "Employee ID,Department\n1001,Wheels\n3001,Wheels\n3002,Wheels\n";
const LATER: &str = "Employee ID,Email,First Name,Last Name,Department,Start Date\n\
    1001,ann@example.org,Ann,Lee,Board,2024-01-08\n2002,bob@example.org,Bob,Ray,Tools,2023-05-01\n\
    1004,di@example.org,Di,Fry,Tools,\n1005,éva@example.org,Éva,Nagy,Law,2021-02-01\n1008,hal@example.org,Hal,Wood,Tools,\n";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, target, name] = &args[..] else { return Err("usage: record_log DIR NAME".into()) };
    let dir = tempfile::tempdir()?;
    let engine =
        Engine::open(&format!("sqlite:{}", dir.path().join("m.db").display()), dir.path(), "os:fixture@muster").await?;
    play(&engine).await?;
    let org = engine.organisation("fernhill").await?;
    let mut log = Vec::new();
    engine.export(&org, &mut log).await?;
    let verified = engine.verify(&org).await?;
    assert!(verified.is_clean(), "{verified:?}");
    let replay = read_log(log.as_slice(), None)?;
    let fields = &replay.documents().settings().fields;
    let members = replay.members().map(|m| {
        let m = m?;
        let values: BTreeMap<&str, &str> = m.values.iter().map(|(f, v)| (fields.name(f), v)).collect();
        Ok(serde_json::json!({ "no": m.no, "key": m.key, "aliases": m.aliases, "listed": m.is_listed(), "values": values }))
    });
    let members = members.collect::<Result<Vec<_>, ReplayError>>()?;
    let expected = serde_json::json!({ "report": replay.report(), "members": members });
    fs::write(Path::new(target).join(format!("{name}.ndjson")), &log)?;
    fs::write(
        Path::new(target).join(format!("{name}.expected.json")),
        serde_json::to_string_pretty(&expected)? + "\n",
    )?;
    println!("{expected:#}");
    Ok(())
}

async fn play(engine: &Engine) -> Result<(), Box<dyn std::error::Error>> {
    let off = [
        "guard.removals.max_percent", "guard.min_rows_percent", "guard.blanked_field_percent",
        "guard.key_changes.max_percent",
    ];
    let settings =
        Settings::default().with(off.map(|key| (key, "off")).into_iter().chain([("guard.first_import", "off")]))?;
    engine.create_organisation("fernhill", settings).await?;
    let org = engine.organisation("fernhill").await?;
    engine.create_feed(&org, FeedSettings { name: "bikes".into(), priority: 1, ..FeedSettings::default() }).await?;
    engine
        .set_settings(&engine.organisation("fernhill").await?, &[("eligibility.grace_days".into(), "7".into())])
        .await?;
    sync(engine, "main", Mode::Full, None, FIRST).await?;
    sync(engine, "bikes", Mode::Partial, None, BIKES).await?;
    sync(engine, "main", Mode::Full, None, NIGHTLY).await?;
    sync(engine, "main", Mode::Full, None, NIGHTLY).await?;
    let pin = Edit::Set { key: "1001".into(), fields: vec![("department".into(), "Pinned".into())] };
    engine.by_hand("fernhill", pin, Some(Asked::Apply)).await?;
    sync(engine, "main", Mode::Full, Some(Asked::Hold), LATER).await?;
    let only = |key: &str| Choice { only: vec![key.into()], ..Choice::default() };
    engine.reject("fernhill", None, only("1008"), Some("not one of ours".into())).await?;
    engine.approve("fernhill", None, Approval { choice: only("1007"), ..Approval::default() }).await?;
    engine.approve("fernhill", None, Approval { comment: Some("checked".into()), ..Approval::default() }).await?;
    let since = Some(chrono::Utc::now() - chrono::Duration::hours(1));
    engine
        .undo(
            "fernhill",
            UndoRequest { since, by_key: Some("1004".into()), asked: Some(Asked::Apply), ..UndoRequest::default() },
        )
        .await?;
    sync(engine, "main", Mode::Leavers, None, "Employee ID\n1006\n").await?;
    Ok(())
}

async fn sync(
    engine: &Engine,
    feed: &str,
    mode: Mode,
    asked: Option<Asked>,
    csv: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let request = Request {
        feed: Some(feed.into()),
        mode: Some(mode),
        channel: Some(Channel::Api),
        asked,
        file_name: Some(format!("{feed}.csv")),
        ..Request::default()
    };
    let report = engine.sync("fernhill", request, &mut csv.as_bytes()).await?;
    println!("{feed} {mode}: {:?} {:?}", report.state, report.counts);
    Ok(())
}
