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
    #[command(after_help = "Example:\n  muster events export --org acme > log.ndjson")]
    Export {
        #[command(flatten)]
        org: OfOrganisation,
        /// Write the organisation's secret to this file, for an import elsewhere; keep it as you keep the database
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
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

/// The whole log as one document, for `--json`; only the lines themselves can be replayed.
async fn one_document(engine: &Engine, org: &Organisation, out: &mut Output) -> Result<u64, Error> {
    out.text("{\"events\":[\n");
    let exported = engine.export(org, &mut Items { out, first: true }).await?;
    out.text("]}\n");
    Ok(exported)
}

/// Runs the command.
pub async fn run(events: Events, session: &mut Session<'_>) -> Result<Exit, Failure> {
    match events.command {
        Command::Import(from) => return import::run(from, session).await,
        Command::Export { org, secret_file } => {
            let engine = session.engine().await?;
            let org = engine.organisation(&org.slug).await?;
            if let Some(path) = secret_file {
                import::write_secret(&path, &org.row)?;
            }
            let exported = match session.out.json {
                true => one_document(&engine, &org, session.out).await,
                false => engine.export(&org, session.out).await,
            };
            // A reader who has seen enough is no failure.
            if !session.out.is_closed() {
                exported?;
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
