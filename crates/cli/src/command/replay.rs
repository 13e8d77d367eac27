//! `muster replay`: folds an exported log from nothing, without a database.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::PathBuf,
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

/// Fold an exported log from nothing, without a database
///
/// Checks every hash on the way and prints the roster's digest and counts: the same log gives the same digest, wherever.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster events export --org acme > log.ndjson\n  muster replay log.ndjson\n  \
    muster replay log.ndjson --until 120 --json")]
pub struct Replay {
    /// The log, as `muster events export` writes it; - reads standard input
    log: PathBuf,
    /// The last event to fold
    #[arg(long, value_name = "SEQ")]
    until: Option<u64>,
}

/// Runs the command.
pub fn run(replay: Replay, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let name = replay.log.display();
    let reader: Box<dyn BufRead + Send> = match replay.log.as_os_str() == "-" {
        true => Box::new(BufReader::with_capacity(1 << 20, io::stdin())),
        false => {
            let file = File::open(&replay.log).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => Failure::wrong(format!("There is no file {name}.")),
                _ => Failure::new("io", Exit::Failed, format!("The file {name} cannot be opened: {e}")),
            })?;
            Box::new(BufReader::with_capacity(1 << 20, file))
        }
    };
    let progress = Progress::working(session.config.progress, "Replaying");
    let folded = read_log(reader, replay.until).map(|folded| {
        let report = folded.report();
        // The process ends here: giving a million members back one by one would take as long as counting them.
        std::mem::forget(folded);
        report
    });
    progress.done();
    let report = folded.map_err(|e| {
        let kind = if matches!(e, ReplayError::Io(_)) { "io" } else { "damaged" };
        let place = match (&e, e.line()) {
            // These name the line themselves, or know none.
            (ReplayError::Line { .. }, _) | (_, None) => String::new(),
            (_, Some(line)) => format!("The log {name}, line {line}: "),
        };
        Failure::new(kind, Exit::Failed, format!("{place}{e}"))
    })?;
    if report.events == 0 {
        return Err(Failure::new(
            "damaged",
            Exit::Failed,
            format!("The log {name} has no events in it; export it again."),
        ));
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
