//! `muster replay`: folds an exported log from nothing, without a database.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use clap::Args;
use muster_domain::replay::{ReplayError, read_log};

use crate::{
    fail::{Exit, Failure},
    progress::Progress,
    report::grouped,
    session::Session,
    table::Table,
};

mod policy;

/// Fold an exported log from nothing, without a database
///
/// Checks every hash on the way and prints the roster's digest and counts: the same log gives the same digest, wherever.
/// With --policy every past upload is judged by other settings, beside what happened: by policy.*, guard.* and invalid_rows in the
/// file, in place of those of the time. What a feed overrode stays, unless the file has [feeds.NAME].
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster events export --org acme > log.ndjson\n  muster replay log.ndjson\n  \
    muster replay log.ndjson --until 120 --json\n  \
    echo 'guard.removals.max_percent = 5' > strict.toml\n  muster replay log.ndjson --policy strict.toml")]
pub struct Replay {
    /// The log, as `muster events export` writes it; - reads standard input
    log: PathBuf,
    /// The last event to fold
    #[arg(long, value_name = "SEQ")]
    until: Option<u64>,
    /// Judge every upload by the settings in this TOML file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Opens a log; - is standard input.
///
/// # Errors
/// If there is no such file, or it cannot be opened.
pub fn open(log: &Path) -> Result<Box<dyn BufRead + Send>, Failure> {
    if log.as_os_str() == "-" {
        return Ok(Box::new(BufReader::with_capacity(1 << 20, io::stdin())));
    }
    let name = log.display();
    let file = File::open(log).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Failure::wrong(format!("There is no file {name}.")),
        _ => Failure::new("io", Exit::Failed, format!("The file {name} cannot be opened: {e}")),
    })?;
    Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
}

/// What is wrong with a log, and at which line.
pub fn of_log(log: &Path, error: ReplayError) -> Failure {
    let kind = if matches!(error, ReplayError::Io(_)) { "io" } else { "damaged" };
    let place = match (&error, error.line()) {
        // These name the line themselves, or know none.
        (ReplayError::Line { .. }, _) | (_, None) => String::new(),
        (_, Some(line)) => format!("The log {}, line {line}: ", log.display()),
    };
    Failure::new(kind, Exit::Failed, format!("{place}{error}"))
}

fn nothing_in(log: &Path) -> Failure {
    let message = format!("The log {} has no events in it; export it again.", log.display());
    Failure::new("damaged", Exit::Failed, message)
}

/// Runs the command.
pub fn run(replay: Replay, session: &mut Session<'_>) -> Result<Exit, Failure> {
    if let Some(file) = &replay.policy {
        return policy::run(&replay, file, session);
    }
    let reader = open(&replay.log)?;
    let progress = Progress::working(session.config.progress, "Replaying");
    let folded = read_log(reader, replay.until).map(|folded| {
        let report = folded.report();
        // The process ends here: giving a million members back one by one would take as long as counting them.
        std::mem::forget(folded);
        report
    });
    progress.done();
    let report = folded.map_err(|e| of_log(&replay.log, e))?;
    if report.events == 0 {
        return Err(nothing_in(&replay.log));
    }
    if session.out.json {
        session.out.document(&report);
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[]).right(&[1]);
    for (what, n) in [
        ("events", report.events),
        ("changes", report.changes),
        ("last event", report.last_seq),
        ("roster version", report.roster_version),
        ("members", report.members),
        ("former members", report.former),
    ] {
        table.row([what.to_owned(), grouped(n)]);
    }
    table.print(session.out, false);
    session.out.line(format_args!("digest {}", report.digest));
    Ok(Exit::Done)
}
