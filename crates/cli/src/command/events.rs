//! `muster events`: the log of an organisation as lines of JSON.

use clap::{Args, Subcommand};
use muster_domain::replay::log::write_event;

use crate::{
    arguments::OfOrganisation,
    fail::{Exit, Failure},
    session::Session,
};

/// Export and show the events of an organisation
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
    },
    /// Show one event, as it is exported
    #[command(after_help = "Example:\n  muster events show 12 --org acme")]
    Show {
        /// Its number
        seq: u64,
        #[command(flatten)]
        org: OfOrganisation,
    },
}

/// Runs the command.
pub async fn run(events: Events, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    match events.command {
        Command::Export { org } => {
            if session.out.json {
                return Err(Failure::wrong("The log is a stream of lines of JSON and no single document; leave --json out."));
            }
            let org = engine.organisation(&org.slug).await?;
            let exported = engine.export(&org, session.out).await;
            // A reader who has seen enough is no failure.
            if !session.out.is_closed() {
                exported?;
            }
        }
        Command::Show { seq, org } => {
            let org = engine.organisation(&org.slug).await?;
            let event = engine.show_event(&org, seq).await?;
            let mut line = Vec::new();
            write_event(&event, &mut line)?;
            session.out.text(&String::from_utf8_lossy(&line));
        }
    }
    Ok(Exit::Done)
}
