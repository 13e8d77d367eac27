//! `muster changes`: what waits for review, what a reviewer decides about it, and what is taken back.

mod choice;
mod decide;
mod list;
mod overview;
mod page;
mod rejected;
mod show;
mod undo;

use clap::{Args, Subcommand};

use crate::{
    fail::{Exit, Failure},
    session::Session,
};

/// List, show, approve, reject and undo changes
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster changes show --org acme\n  muster changes approve --org acme --except 1042")]
pub struct Changes {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List change sets, newest first
    List(list::List),
    /// List change sets with counts by kind and by field, and who decided them when
    Overview(overview::OverviewOf),
    /// Show a change set: counts, counts by field, then each member with fields before and after
    Show(show::Show),
    /// Approve a change set that waits, or part of it
    Approve(decide::Approve),
    /// Reject a change set that waits, or part of it
    Reject(decide::Reject),
    /// Take back what change sets did
    Undo(undo::Undo),
    /// List the changes that were rejected and are not proposed again
    Rejected(rejected::Rejected),
}

/// Runs the command.
pub async fn run(changes: Changes, session: &mut Session<'_>) -> Result<Exit, Failure> {
    match changes.command {
        Command::List(c) => list::run(c, session).await,
        Command::Overview(c) => overview::run(c, session).await,
        Command::Show(c) => show::run(c, session).await,
        Command::Approve(c) => decide::approve(c, session).await,
        Command::Reject(c) => decide::reject(c, session).await,
        Command::Undo(c) => undo::run(c, session).await,
        Command::Rejected(c) => rejected::run(c, session).await,
    }
}
