//! `muster events`: the log of an organisation as lines of JSON.

mod import;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use muster_domain::replay::log::write_event;
use muster_engine::{Engine, Error, Organisation};

use crate::{
    arguments::OfOrganisation,
    fail::{Exit, Failure},
    output::Output,
    session::Session,
};

/// Export, import and show the events of an organisation
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster events export --org acme > log.ndjson\n  muster replay log.ndjson")]
pub struct Events {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the whole log to standard output, a line of JSON an event
    #[command(after_help = "Examples:\n  muster events export --org acme > log.ndjson\n  \
        muster events export --org acme --after 6f1c7a90d2e4b358:120")]
    Export {
        #[command(flatten)]
        org: OfOrganisation,
        /// Write the organisation's secret to this file, for an import elsewhere; keep it as you keep the database
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
        /// Only the events behind this cursor, or from the `start`; the next cursor is told on standard error, with --json
        /// in the document
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Make the organisation of an exported log in this database
    Import(import::FromLog),
    /// Show one event, as it is exported
    #[command(after_help = "Example:\n  muster events show 12 --org acme")]
    Show {
        /// Its number
        seq: u64,
        #[command(flatten)]
        org: OfOrganisation,
    },
}

/// Lines, as the items of a JSON array.
struct Items<'a> {
    out: &'a mut Output,
    first: bool,
}

impl Write for Items<'_> {
    /// Takes a whole line at a time, which is how the log is exported.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.first, false) {
            self.out.write_all(b",")?;
        }
        self.out.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush();
        Ok(())
    }
}

/// The log as one document, for `--json`; only the lines themselves can be replayed. If something goes wrong in the middle,
/// it stays one document, and says so behind the events.
async fn one_document(engine: &Engine, org: &Organisation, after: u64, out: &mut Output) -> Exit {
    out.text("{\"events\":[\n");
    let told = match engine.export_after(org, after, &mut Items { out, first: true }).await {
        Ok((_, last)) => engine.cursor(org, last).await,
        Err(e) => Err(e),
    };
    match told {
        Ok(cursor) => {
            out.text(&format!("],\"cursor\":\"{cursor}\"}}\n"));
            Exit::Done
        }
        Err(e) => {
            let failure = Failure::from(e);
            out.text(&format!("],\"error\":{}}}\n", serde_json::json!(failure)));
            failure.exit
        }
    }
}

/// The log as it is exported; who reads on from a cursor is given the next one, on standard error.
async fn lines(engine: &Engine, org: &Organisation, after: Option<u64>, out: &mut Output) -> Result<(), Error> {
    let (_, last) = engine.export_after(org, after.unwrap_or(0), out).await?;
    if after.is_some() {
        out.flush();
        let _ = writeln!(io::stderr(), "cursor {}", engine.cursor(org, last).await?);
    }
    Ok(())
}

/// Runs the command.
pub async fn run(events: Events, session: &mut Session<'_>) -> Result<Exit, Failure> {
    match events.command {
        Command::Import(from) => return import::run(from, session).await,
        Command::Export { org, secret_file, after } => {
            let engine = session.engine().await?;
            let org = engine.organisation(&org.slug).await?;
            if let Some(path) = secret_file {
                import::write_secret(&path, &org.row)?;
            }
            let after = match &after {
                Some(cursor) => Some(engine.after(&org, cursor).await?),
                None => None,
            };
            let exported = match session.out.json {
                true => Ok(one_document(&engine, &org, after.unwrap_or(0), session.out).await),
                false => lines(&engine, &org, after, session.out).await.map(|()| Exit::Done),
            };
            // A reader who has seen enough is no failure.
            if !session.out.is_closed() {
                return Ok(exported?);
            }
        }
        Command::Show { seq, org } => {
            let engine = session.engine().await?;
            let org = engine.organisation(&org.slug).await?;
            let event = engine.show_event(&org, seq).await?;
            let mut line = Vec::new();
            write_event(&event, &mut line)?;
            session.out.text(&String::from_utf8_lossy(&line));
        }
    }
    Ok(Exit::Done)
}
