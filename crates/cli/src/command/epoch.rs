//! `muster epoch`: which life of the database this is, and the beginning of another.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    fail::{Exit, Failure},
    session::Session,
};

/// Show the epoch of the database, or begin a new one
///
/// Cursors hold for one epoch. `muster restore` begins a new one by itself; behind pg_restore, or a copy of the files,
/// say `muster epoch new`: what happens from there may differ from what others have read already.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster epoch new --database postgres://muster@localhost/muster")]
pub struct Epoch {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the epoch
    #[command(after_help = "Example:\n  muster epoch show --json")]
    Show,
    /// Begin a new one: cursors given out before are refused, and nobody holds a lease any more
    #[command(after_help = "Example:\n  muster epoch new")]
    New,
}

/// Runs the command.
pub async fn run(epoch: Epoch, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let store = session.engine().await?.store;
    let id = match epoch.command {
        Command::Show => store.epoch().await?,
        Command::New => store.new_epoch().await?,
    };
    match session.out.json {
        true => session.out.document(&json!({ "epoch": id })),
        false => session.out.line(id),
    }
    Ok(Exit::Done)
}
