//! `muster sync`: brings the roster in step with a payload.

mod book;
mod refused;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use clap::{Args, builder::NonEmptyStringValueParser};
use muster_domain::{
    fact::State,
    settings::{Channel, Mode},
};
use muster_engine::{
    Organisation,
    pipeline::{Report, Request},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    arguments::{Ask, OfOrganisation, by_key, mode, pair, payload_channel, time},
    fail::{Exit, Failure},
    progress::Progress,
    report,
    session::{Session, quoted},
};
use refused::{Files, Wanted};

/// Bring the roster in step with a payload
///
/// The difference between the payload and the roster becomes a change set, which policy and guards apply or hold.
///
/// The files of --issues and --refused are whole or not there, replace files of that name, and only their owner can read
/// them; a dry run writes them too. In the CSV of --issues, what a spreadsheet would take for a formula gets an apostrophe in
/// front. In that of --refused nothing is changed: text comes byte for byte under its header row (unpacked, if it was
/// packed), objects of a JSON document as a list, and rows of a workbook as a workbook of text, or as CSV if FILE ends in
/// .csv. A payload refused as a whole has one issue and no refused rows.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster sync people.csv --org acme --mode full\n  \
    muster sync people.csv --org acme --mode full --channel schedule --expect-rows 1204 --json\n  \
    hr-export | muster sync - --format csv --org acme --mode full --dry-run\n  \
    muster sync people.csv --org acme --mode full --issues issues.csv --refused again.csv")]
pub struct Sync {
    /// The payload; - reads standard input
    pub file: PathBuf,
    #[command(flatten)]
    pub org: OfOrganisation,
    /// The feed that the payload speaks for [default: main]
    #[arg(long, value_name = "NAME")]
    pub feed: Option<String>,
    /// What absence means: those missing leave (full), nothing (partial); leavers: those named leave [default: the feed's]
    #[arg(long, value_parser = mode())]
    pub mode: Option<Mode>,
    /// How the payload came; policy goes by it [default: upload]
    #[arg(long, value_parser = payload_channel())]
    pub channel: Option<Channel>,
    #[command(flatten)]
    pub ask: Ask,
    /// Show what it would do, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take the payload in and leave the work to `muster serve`, or to the next sync
    #[arg(long, conflicts_with_all = ["dry_run", "issues", "refused"])]
    pub no_wait: bool,
    /// The format, where it is not to be found out from the bytes
    #[arg(long, value_parser = ["csv", "tsv", "json", "ndjson", "xlsx", "xls", "ods"])]
    pub format: Option<String>,
    /// The sheet of a workbook [default: the one that looks like a list of people]
    #[arg(long, value_name = "NAME")]
    pub sheet: Option<String>,
    /// Which column holds a field, for this payload alone
    #[arg(long = "map", value_name = "FIELD=COLUMN", value_parser = pair)]
    pub mapping: Vec<(String, String)>,
    /// How many rows there should be; with another number absence proves nothing
    #[arg(long, value_name = "N")]
    pub expect_rows: Option<u64>,
    /// The SHA-256 that the payload should have; another one is refused
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    pub expect_sha256: Option<String>,
    /// The moment whose truth the payload tells
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub as_of: Option<DateTime<Utc>>,
    /// The same key with the same payload gives the same answer, for 24 hours
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    pub idempotency_key: Option<String>,
    #[command(flatten)]
    files: Wanted,
}

/// Runs the command.
pub async fn run(mut sync: Sync, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let wanted = std::mem::take(&mut sync.files);
    wanted.check(&sync.file)?;
    let (mut source, bytes) = open(&sync.file)?;
    let (slug, again, no_wait) = (sync.org.slug.clone(), Again::of(&sync), sync.no_wait);
    let request = request(sync)?;
    let engine = session.engine().await?;
    let progress = Progress::reading(session.config.progress, bytes);
    let mut source = progress.wrap(&mut source);
    if no_wait {
        let outcome = engine.take_in(&slug, request, &mut source).await;
        progress.done();
        let report = outcome?;
        report::print(&report, &slug, session);
        // What was asked for is done.
        return Ok(if report.state == State::Received { Exit::Done } else { Exit::of(report.state) });
    }
    if !wanted.any() {
        let outcome = engine.sync(&slug, request, &mut source).await;
        progress.done();
        let report = outcome?;
        report::print(&report, &slug, session);
        return Ok(Exit::of(report.state));
    }
    let mut files = Files::new(wanted);
    let outcome = engine.sync_witnessed(&slug, request, &mut source, Some(&mut files)).await;
    progress.done();
    let written = files.finish(outcome.as_ref().ok());
    let report = outcome?;
    if session.out.json {
        session.out.document(&WithFiles { report: &report, files: written.members() });
    } else {
        report::print(&report, &slug, session);
        let again = match (written.refused(), report.state) {
            (None, _) | (_, State::Refused) => None,
            (Some(path), _) => Some(again.line(path, &engine.organisation(&slug).await?, session)),
        };
        written.print(again, session);
    }
    match written.failure {
        // In the one document it stands already.
        Some(failure) if session.out.json => Ok(failure.exit),
        Some(failure) => Err(failure),
        None => Ok(Exit::of(report.state)),
    }
}

/// A report, and the files that were asked for.
#[derive(Serialize)]
struct WithFiles<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(flatten)]
    files: Value,
}

/// How corrected rows are sent again: as the payload was, but that nobody leaves for want of being named.
struct Again {
    slug: String,
    feed: Option<String>,
    mode: Option<Mode>,
    rest: Vec<String>,
}

impl Again {
    fn of(sync: &Sync) -> Again {
        let maps =
            sync.mapping.iter().map(|(field, column)| format!(" --map {}", quoted(&format!("{field}={column}"))));
        let format = sync.format.iter().filter(|f| *f == "tsv").map(|f| format!(" --format {f}"));
        let channel = sync.channel.map(|c| format!(" --channel {c}"));
        Again {
            slug: sync.org.slug.clone(),
            feed: sync.feed.clone(),
            mode: sync.mode,
            rest: maps.chain(format).chain(channel).collect(),
        }
    }

    fn line(&self, path: &Path, org: &Organisation, session: &Session<'_>) -> String {
        let own = || org.feed(self.feed.as_deref().unwrap_or("main")).ok()?.settings.mode;
        // Whoever stands on a list of leavers must not come by it.
        let mode = if self.mode.or_else(own) == Some(Mode::Leavers) { Mode::Leavers } else { Mode::Partial };
        let feed = self.feed.as_ref().map(|f| format!(" --feed {}", quoted(f))).unwrap_or_default();
        let path = quoted(&path.display().to_string());
        session.suggestion(&format!("sync {path} --org {}{feed} --mode {mode}{}", self.slug, self.rest.concat()))
    }
}

fn request(sync: Sync) -> Result<Request, Failure> {
    let name = sync.file.file_name().filter(|n| *n != "-").map(|n| n.to_string_lossy().into_owned());
    Ok(Request {
        feed: sync.feed,
        mode: sync.mode,
        channel: sync.channel,
        asked: sync.ask.asked(),
        dry_run: sync.dry_run,
        format: sync.format,
        sheet: sync.sheet,
        mapping: by_key(sync.mapping)?,
        expect_rows: sync.expect_rows,
        expect_sha256: sync.expect_sha256,
        as_of: sync.as_of,
        idempotency_key: sync.idempotency_key,
        file_name: name,
        seen: None,
    })
}

/// The payload and, for a file, its size.
pub fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let name = path.display();
    let file = File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Failure::wrong(format!("There is no file {name}.")),
        _ => Failure::new("io", Exit::Failed, format!("The file {name} cannot be opened: {e}")),
    })?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(Failure::wrong(format!("The path {name} is a directory; name a file.")));
    }
    Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
}

fn sha256(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if fits { Ok(text.to_lowercase()) } else { Err("a SHA-256 has 64 hexadecimal digits".to_owned()) }
}
