//! Times the pipeline stage by stage, without the command line: `try_sync BEFORE [AFTER] [DATABASE-URL]`.
//! With `TRY_DIR` everything is kept in that directory, so that a later call goes on where this one ended.
use std::{fs::File, path::PathBuf, time::Instant};

use muster_domain::settings::{Channel, Mode, Settings};
use muster_engine::{Engine, pipeline::Request};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_target(false).with_ansi(false).init();
    let (urls, files): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|a| a.contains("://"));
    let scratch = tempfile::tempdir()?;
    let dir = std::env::var_os("TRY_DIR").map_or(scratch.path().to_owned(), PathBuf::from);
    let url = urls.first().cloned().unwrap_or_else(|| format!("sqlite:{}", dir.join("m.db").display()));
    if url.starts_with("postgres") {
        muster_store::Store::migrate(&url).await?;
    }
    let engine = Engine::open(&url, &dir, "bench").await?;
    let slug = std::env::var("TRY_ORG").unwrap_or_else(|_| "bench".to_owned());
    if engine.organisation(&slug).await.is_err() {
        let mut settings = Settings::default();
        settings.guards.first_import = false;
        engine.create_organisation(&slug, settings).await?;
    }
    for path in &files {
        let started = Instant::now();
        let request = Request { mode: Some(Mode::Full), channel: Some(Channel::Api), ..Request::default() };
        let report = engine.sync(&slug, request, &mut File::open(path)?).await?;
        println!("{path}: {:?} {:?} {:?}", started.elapsed(), report.state, report.counts);
        for hold in &report.holds {
            println!("  {}", hold.detail);
        }
    }
    engine.store.close().await;
    println!("whole process: {:?}", started.elapsed());
    Ok(())
}
