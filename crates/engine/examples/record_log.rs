//! Records a log for `fixtures/logs`: `record_log DIR NAME` plays a story through the real engine (the small
//! one for `story`, every type of event for any other name) and writes `NAME.ndjson` and `NAME.expected.json`. A recorded log is never recorded again: later versions must still read it.
use std::{collections::BTreeMap, fs, path::Path};

use muster_domain::{
    event::{self, Body},
    guard::Asked,
    replay::{ReplayError, log, read_log},
    settings::{Channel, FeedSettings, Mode, Settings},
};
use muster_engine::{
    Engine,
    forget::ForgetRequest,
    hand::Edit,
    lists::Which,
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

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome {
    let args: Vec<String> = std::env::args().collect();
    let [_, target, name] = &args[..] else { return Err("usage: record_log DIR NAME".into()) };
    if name == "year" {
        // The log was played by `fixtures/logs/year.py`; only what it folds to is written here.
        return record(Path::new(target), name, &fs::read(Path::new(target).join("year.ndjson"))?);
    }
    let dir = tempfile::tempdir()?;
    let engine =
        Engine::open(&format!("sqlite:{}", dir.path().join("m.db").display()), dir.path(), "os:fixture@muster").await?;
    match name.as_str() {
        "story" => play(&engine).await?,
        "forgotten" => play_and_forget(&engine).await?,
        "liveness" => play_overdue(&engine).await?,
        "second" => play_two_approvers(&engine).await?,
        _ => play_everything(&engine).await?,
    }
    let org = engine.organisation("fernhill").await?;
    let mut log = Vec::new();
    engine.export(&org, &mut log).await?;
    let verified = engine.verify(&org).await?;
    assert!(verified.is_clean(), "{verified:?}");
    let target = Path::new(target);
    record(target, name, &log)?;
    if !["story", "forgotten", "liveness", "second"].contains(&name.as_str()) {
        record(target, &format!("{name}-forgotten"), &without(&log, engine.member(&org, "1005").await?.uuid)?)?;
    }
    Ok(())
}

/// Writes a log and what it folds to.
fn record(target: &Path, name: &str, log: &[u8]) -> Outcome {
    let replay = read_log(log, None)?;
    let fields = &replay.documents().settings().fields;
    let members = replay.members().map(|m| {
        let m = m?;
        let values: BTreeMap<&str, &str> = m.values.iter().map(|(f, v)| (fields.name(f), v)).collect();
        Ok(serde_json::json!({ "no": m.no, "key": m.key, "aliases": m.aliases, "listed": m.is_listed(), "values": values }))
    });
    let members = members.collect::<Result<Vec<_>, ReplayError>>()?;
    let expected = serde_json::json!({ "report": replay.report(), "members": members });
    fs::write(target.join(format!("{name}.ndjson")), log)?;
    fs::write(target.join(format!("{name}.expected.json")), serde_json::to_string_pretty(&expected)? + "\n")?;
    println!("{:#}", expected["report"]);
    Ok(())
}

/// The log as it is once a person was forgotten: every change of theirs is erased, its leaf stays.
fn without(log: &[u8], member: uuid::Uuid) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let needle = format!("\"member\":\"{member}\"");
    let mut out = Vec::new();
    for line in log.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let mut stored = log::read_event(line)?;
        if let Some(body) = &stored.body {
            let mut rest = Body::default();
            for (i, line) in body.iter().enumerate() {
                match line {
                    Some(line) if String::from_utf8_lossy(line).contains(&needle) => {
                        rest.push([0; 16], b"");
                        rest.erased.push((i as u32, event::leaf(&body.salts[i], line)));
                    }
                    line => rest.push(body.salts[i], line.unwrap_or_default()),
                }
            }
            stored.body = Some(rest);
        }
        log::write_event(&stored, &mut out)?;
    }
    Ok(out)
}

/// Every type of event, and every way in which a change set can end.
async fn play_everything(engine: &Engine) -> Outcome {
    play(engine).await?;
    let held = Some(Asked::Hold);
    let slug = "fernhill";
    let feed = |settings| async move { engine.create_feed(&engine.organisation(slug).await?, settings).await };
    feed(FeedSettings { name: "agency".into(), key_prefix: Some("C-".into()), ..FeedSettings::default() }).await?;
    let org = engine.organisation(slug).await?;
    let mut bikes = org.feed("bikes")?.settings.clone();
    bikes.map("department", "Abteilung", &org.settings)?;
    engine.set_feed(&org, org.feed("bikes")?, bikes).await?;
    let status =
        [("eligibility.excluded_statuses".into(), "terminated,retired".into()), ("dates".into(), "iso".into())];
    engine.set_settings(&engine.organisation(slug).await?, &status).await?;
    // Held, superseded by a newer one, and that one rejected as wrong.
    sync(engine, "main", Mode::Full, held, &LATER.replace("Ray,Tools", "Ray,Roof")).await?;
    sync(engine, "main", Mode::Full, held, &LATER.replace("Ray,Tools", "Ray,Cellar")).await?;
    engine.reject(slug, None, Choice::default(), Some("another company's".into())).await?;
    // Held, the roster moves on, and what is approved is rebased; the rest is rejected with it.
    sync(engine, "main", Mode::Partial, held, "Employee ID,Department\n1005,Roof\n2002,Roof\n1004,Roof\n").await?;
    let edit = Edit::Set { key: "2002".into(), fields: vec![("department".into(), "Yard".into())] };
    engine.by_hand(slug, edit, Some(Asked::Apply)).await?;
    let one = Choice { only: vec!["1005".into()], ..Choice::default() };
    engine.approve(slug, None, Approval { choice: one, reject_rest: true, ..Approval::default() }).await?;
    // A payload that is refused, people by hand, claims that are handed over, all of a change set undone.
    sync(engine, "main", Mode::Full, None, "").await?;
    sync(engine, "agency", Mode::Full, None, "Employee ID,Email,Last Name\n77,ida@example.org,Holm\n78,,Jara\n")
        .await?;
    let by_hand = [
        Edit::Add { fields: vec![("employee_id".into(), "4001".into()), ("last_name".into(), "Kerr".into())] },
        Edit::Rekey { key: "4001".into(), new_key: "4002".into() },
        Edit::Link { key: "4002".into(), other: "C-78".into() },
        Edit::Remove { key: "3002".into() },
    ];
    for edit in by_hand {
        engine.by_hand(slug, edit, Some(Asked::Apply)).await?;
    }
    engine.hand_over(slug, "bikes", "agency").await?;
    let sets = engine.change_sets(&engine.organisation(slug).await?, Which::default()).await?;
    let undone = sets.iter().find(|s| s.feed.0 == 3).ok_or("nothing of the agency")?.id.to_string();
    engine.undo(slug, UndoRequest { ids: vec![undone], asked: Some(Asked::Apply), ..UndoRequest::default() }).await?;
    Ok(())
}

/// A person forgotten for good, one who is forgotten and may come back, and originals that go by retention.
async fn play_and_forget(engine: &Engine) -> Outcome {
    play_everything(engine).await?;
    let slug = "fernhill";
    sync(engine, "main", Mode::Full, None, LATER).await?;
    sync(engine, "main", Mode::Partial, Some(Asked::Hold), "Employee ID,Department\n1001,Roof\n2002,Attic\n").await?;
    for key in ["2002", "1001"] {
        let request = ForgetRequest { key: key.into(), reason: Some("request 7".into()), dry_run: false };
        println!("{:?}", engine.forget(slug, &request).await?);
    }
    sync(engine, "main", Mode::Full, None, LATER).await?;
    engine.lift_forgetting(slug, "1001", Some("hired again")).await?;
    sync(engine, "main", Mode::Full, None, LATER).await?;
    engine.run_retention(slug, false, engine.now() + chrono::Duration::days(91)).await?;
    Ok(())
}

/// A feed that is expected: overdue, back with a payload, overdue again, and expected no longer.
async fn play_overdue(engine: &Engine) -> Outcome {
    play(engine).await?;
    let slug = "fernhill";
    expect(engine, Some("*/5 * * * *"), Some("30m")).await?;
    println!("{:?}", engine.watch_feeds(slug, engine.now() + chrono::Duration::hours(1)).await?);
    sync(engine, "main", Mode::Full, None, LATER).await?;
    println!("{:?}", engine.watch_feeds(slug, engine.now() + chrono::Duration::hours(1)).await?);
    println!("{:?}", engine.watch_feeds(slug, engine.now() + chrono::Duration::hours(9)).await?);
    expect(engine, Some(""), None).await?;
    println!("{:?}", engine.watch_feeds(slug, engine.now() + chrono::Duration::hours(9)).await?);
    Ok(())
}

/// Two people approve: all of it, a part with the rest rejected, what was revised since; and one approval that came to nothing.
async fn play_two_approvers(engine: &Engine) -> Outcome {
    play(engine).await?;
    let slug = "fernhill";
    let rule =
        [("review.second_approver".into(), "always".into()), ("review.second_approver_removals".into(), "5".into())];
    engine.set_settings(&engine.organisation(slug).await?, &rule).await?;
    let second = engine.acting_as("os:second@muster".to_owned());
    let part = || Approval {
        choice: Choice { only: vec!["1005".into()], ..Choice::default() },
        reject_rest: true,
        ..Approval::default()
    };
    let all = || Approval { comment: Some("looked at".into()), ..Approval::default() };
    sync(engine, "main", Mode::Full, Some(Asked::Hold), &LATER.replace("Tools", "Roof")).await?;
    for who in [engine, &second] {
        println!("{:?}", who.approve(slug, None, all()).await?.approvals);
    }
    sync(engine, "main", Mode::Partial, Some(Asked::Hold), "Employee ID,Department\n1005,Attic\n1004,Attic\n").await?;
    for (who, approval) in [(engine, all()), (&second, part()), (engine, part())] {
        println!("{:?}", who.approve(slug, None, approval).await?.approvals);
    }
    sync(engine, "main", Mode::Partial, Some(Asked::Hold), "Employee ID,Department\n1005,Yard\n2002,Yard\n").await?;
    engine.approve(slug, None, all()).await?;
    let edit = Edit::Set { key: "2002".into(), fields: vec![("department".into(), "Desk".into())] };
    engine.by_hand(slug, edit, Some(Asked::Apply)).await?;
    for who in [&second, engine] {
        println!("{:?}", who.approve(slug, None, all()).await?.approvals);
    }
    sync(engine, "main", Mode::Partial, Some(Asked::Hold), "Employee ID,Department\n1005,Cellar\n").await?;
    engine.approve(slug, None, all()).await?;
    second.reject(slug, None, Choice::default(), Some("another company's".into())).await?;
    Ok(())
}

async fn expect(engine: &Engine, schedule: Option<&str>, grace: Option<&str>) -> Outcome {
    let org = engine.organisation("fernhill").await?;
    let mut settings = org.feed("main")?.settings.clone();
    settings.expect(schedule, None, grace)?;
    engine.set_feed(&org, org.feed("main")?, settings).await?;
    Ok(())
}

async fn play(engine: &Engine) -> Outcome {
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
            UndoRequest { since, whom: Some("1004".into()), asked: Some(Asked::Apply), ..UndoRequest::default() },
        )
        .await?;
    sync(engine, "main", Mode::Leavers, None, "Employee ID\n1006\n").await?;
    Ok(())
}

async fn sync(engine: &Engine, feed: &str, mode: Mode, asked: Option<Asked>, csv: &str) -> Outcome {
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
