//! Times the pipeline stage by stage on two payloads, without the command line.
use std::{fs::File, time::Instant};

use muster_domain::settings::{Channel, Mode, Settings};
use muster_engine::{Engine, pipeline::Request};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_target(false).init();
    let args: Vec<String> = std::env::args().collect();
    let dir = tempfile::tempdir()?;
    let url = args.get(3).cloned().unwrap_or_else(|| format!("sqlite:{}", dir.path().join("m.db").display()));
    let engine = Engine::open(&url, dir.path(), "bench").await?;
    let mut settings = Settings::default();
    settings.guards.first_import = false;
    let slug = format!("bench{}", std::process::id());
    engine.create_organisation(&slug, settings).await?;
    for path in [&args[1], &args[2]] {
        let started = Instant::now();
        let request = Request { mode: Some(Mode::Full), channel: Some(Channel::Api), ..Request::default() };
        let report = engine.sync(&slug, request, &mut File::open(path)?).await?;
        println!("{path}: {:?} {:?} {:?}", started.elapsed(), report.state, report.counts);
        for hold in &report.holds {
            println!("  {}", hold.detail);
        }
    }
    Ok(())
}
