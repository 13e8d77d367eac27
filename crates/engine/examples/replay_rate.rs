//! Measures replay: `replay_rate BEFORE.csv [AFTER.csv …]` takes the feeds, exports the log and folds it from the file;
//! `replay_rate LOG.ndjson` only folds.
use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use muster_domain::{
    replay::read_log,
    settings::{Channel, Mode, Settings},
};
use muster_engine::{Engine, pipeline::Request};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if let [log] = &files[..]
        && log.extension().is_some_and(|e| e == "ndjson")
    {
        return fold(log);
    }
    let dir = tempfile::tempdir()?;
    let engine = Engine::open(&format!("sqlite:{}", dir.path().join("m.db").display()), dir.path(), "bench").await?;
    let mut settings = Settings::default();
    settings.guards.first_import = false;
    engine.create_organisation("bench", settings).await?;
    for path in &files {
        let request = Request { mode: Some(Mode::Full), channel: Some(Channel::Api), ..Request::default() };
        let report = engine.sync("bench", request, &mut File::open(path)?).await?;
        println!("{}: {:?} {:?}", path.display(), report.state, report.counts);
    }
    let org = engine.organisation("bench").await?;
    let log = std::env::var_os("LOG").map_or(dir.path().join("log.ndjson"), PathBuf::from);
    let started = Instant::now();
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&log)?);
    let events = engine.export(&org, &mut out).await?;
    out.flush()?;
    println!("export: {events} events, {} bytes in {:?}", log.metadata()?.len(), started.elapsed());
    fold(&log)?;
    let started = Instant::now();
    let report = engine.verify(&org).await?;
    println!("verify: {:?} {report:?}", started.elapsed());
    Ok(())
}

fn fold(log: &Path) -> Result<(), Box<dyn std::error::Error>> {
    for _ in 0..3 {
        let started = Instant::now();
        let replay = read_log(BufReader::with_capacity(1 << 20, File::open(log)?), None)?;
        let folded = started.elapsed();
        let report = replay.report();
        let all = started.elapsed();
        let rate = report.changes as f64 / all.as_secs_f64();
        println!("replay: {folded:?}, with the digest {all:?}: {rate:.0} changes/s; {report:?}");
    }
    Ok(())
}
