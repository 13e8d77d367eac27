//! `muster migrate`: brings the database to the schema of this program.

use clap::Args;
use muster_store::Store;
use serde_json::json;

use crate::{
    fail::{Exit, Failure},
    session::Session,
};

/// Bring the database to the schema of this program
///
/// SQLite does this by itself whenever a command opens it; PostgreSQL waits for this command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster migrate --database postgres://muster@localhost/muster")]
pub struct Migrate {}

/// Runs the command.
pub async fn run(_: Migrate, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let (from, to) = Store::migrate(&session.config.database).await?;
    if session.out.json {
        session.out.document(&json!({ "from": from, "to": to }));
    } else if from == to {
        session.out.line(format_args!("The database has schema {to} already; there was nothing to do."));
    } else {
        session.out.line(format_args!("The database was brought from schema {from} to {to}."));
    }
    Ok(Exit::Done)
}
