//! Measures the directory: `directory_rate FILE.csv [DATABASE-URL]` imports the file, brings the directory up to date, searches it, and
//! changes one person again and again, timing each from commit to readable.
use std::{fs::File, time::Instant};

use muster_domain::{
    directory::{Query, Sort, Who},
    settings::{Channel, Mode, Settings},
};
use muster_engine::{
    Engine,
    hand::Edit,
    members::At,
    pipeline::Request,
    projections::{
        directory::{DIRECTORY, SearchRequest},
        reading::Wait,
    },
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let file = words.next().ok_or("directory_rate FILE.csv [DATABASE-URL]")?;
    let dir = tempfile::tempdir()?;
    let url = words.next().unwrap_or_else(|| format!("sqlite:{}", dir.path().join("muster.db").display()));
    if url.starts_with("postgres") {
        muster_store::Store::migrate(&url).await?;
    }
    let engine = Engine::open(&url, dir.path(), "bench").await?;
    let mut settings = Settings::default();
    settings.guards.first_import = false;
    engine.create_organisation("bench", settings).await?;
    let org = engine.organisation("bench").await?;
    let started = Instant::now();
    let request = Request { mode: Some(Mode::Full), channel: Some(Channel::Api), ..Request::default() };
    let report = engine.sync("bench", request, &mut File::open(&file)?).await?;
    println!("import: {:?} {:?}", started.elapsed(), report.counts);
    let projecting = Instant::now();
    engine.catch_up(org.row.id, &DIRECTORY).await?;
    println!("directory: {:?}, searchable after {:?}", projecting.elapsed(), started.elapsed());
    let with = |text: &str, who, sort| Query { text: text.to_owned(), who, sort, ..Query::default() };
    for query in [
        with("", Who::Present, Sort::Name),
        with("ann", Who::Present, Sort::Name),
        with("smith sales", Who::Eligible, Sort::EndDate),
        with("", Who::NotEligible, Sort::Department),
        with("1234567", Who::All, Sort::Key),
    ] {
        let searching = Instant::now();
        let request = SearchRequest { query: query.clone(), on: None, limit: 50, after: None, wait: Wait::NOT };
        let found = engine.search(&org, &request).await?;
        println!(
            "search {:?} {:?} {:?}: {} in {:?}",
            query.text,
            query.who,
            query.sort,
            found.total,
            searching.elapsed()
        );
    }
    let somebody = engine.roster(&org, At::Now).await?.into_iter().take(200).map(|m| m.key);
    let (mut lags, keys) = (Vec::new(), somebody.collect::<Vec<_>>());
    for (i, key) in keys.iter().enumerate() {
        let fields = vec![("department".to_owned(), format!("Moved {i}"))];
        engine.by_hand("bench", Edit::Set { key: key.clone(), fields }, None).await?;
        let committed = Instant::now();
        engine.catch_up(org.row.id, &DIRECTORY).await?;
        lags.push(committed.elapsed());
    }
    lags.sort_unstable();
    println!(
        "from commit to readable: median {:?}, 99th percentile {:?}",
        lags[lags.len() / 2],
        lags[lags.len() * 99 / 100]
    );
    engine.store.close().await;
    Ok(())
}
