//! `muster members`: who is on the roster, where each value came from, and edits by hand.

mod by_hand;
mod export;
mod history;
mod list;
pub mod person;
mod search;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use muster_engine::{Organisation, members::At};

use crate::{
    arguments::time,
    fail::{Exit, Failure},
    session::Session,
};

/// List, find, show, export and edit the members of an organisation
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  muster members list --org acme\n  muster members set 1042 department=Sales --org acme"
)]
pub struct Members {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the members on the roster
    List(list::List),
    /// Find people by words and filters
    Search(search::Find),
    /// Show all that is known of a member
    Show(list::Show),
    /// Tell where every value of a member came from
    History(history::History),
    /// Write the roster to standard output
    Export(export::Export),
    /// Set fields of a member; they stay until the feed changes its mind
    Set(by_hand::Set),
    /// Add a person by hand
    Add(by_hand::Add),
    /// Take a person off the roster, whatever feeds say
    Remove(by_hand::Remove),
    /// Give a member another match key; the old one stays as an alias
    Rekey(by_hand::Rekey),
    /// Say that two members are one person
    Link(by_hand::Link),
}

/// The time that is asked about.
#[derive(Debug, Args)]
pub struct When {
    /// The roster as it was at that time
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "roster_version")]
    at: Option<DateTime<Utc>>,
    /// The roster as of that version
    #[arg(long, value_name = "N")]
    roster_version: Option<u64>,
}

impl When {
    /// As the engine takes it.
    pub fn at(&self) -> At {
        match (self.at, self.roster_version) {
            (Some(time), _) => At::Time(time),
            (_, Some(version)) => At::Version(version),
            _ => At::Now,
        }
    }
}

/// An error that names the fields there are, if this is none of them.
///
/// # Errors
/// If the organisation has no such field.
pub fn check_field(org: &Organisation, field: &str) -> Result<(), Failure> {
    let fields = &org.settings.fields;
    if field == "unique_id" || fields.by_name(field).is_some() {
        return Ok(());
    }
    let names: Vec<&str> = fields.all().map(|f| fields.name(f)).collect();
    Err(Failure::wrong(format!("There is no field {field}; there are: unique_id, {}.", names.join(", "))))
}

/// Runs the command.
pub async fn run(members: Members, session: &mut Session<'_>) -> Result<Exit, Failure> {
    match members.command {
        Command::List(c) => list::list(c, session).await,
        Command::Search(c) => search::run(c, session).await,
        Command::Show(c) => list::show(c, session).await,
        Command::History(c) => history::run(c, session).await,
        Command::Export(c) => export::run(c, session).await,
        Command::Set(c) => by_hand::set(c, session).await,
        Command::Add(c) => by_hand::add(c, session).await,
        Command::Remove(c) => by_hand::remove(c, session).await,
        Command::Rekey(c) => by_hand::rekey(c, session).await,
        Command::Link(c) => by_hand::link(c, session).await,
    }
}
