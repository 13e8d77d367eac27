//! `muster activity`: who did what in an organisation, newest first.

use clap::Args;
use serde_json::json;

use crate::{
    arguments::{OfOrganisation, Waiting},
    behind,
    fail::{Exit, Failure},
    moment::to_the_second,
    progress::Progress,
    session::Session,
    table::one_line,
};

/// Tell who did what in an organisation, newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster activity --org acme\n  muster activity --org acme --before 1204 --json")]
pub struct ActivityOf {
    #[command(flatten)]
    org: OfOrganisation,
    /// Only what happened before this event
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    waiting: Waiting,
}

/// Runs the command.
pub async fn run(command: ActivityOf, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&command.org.slug).await?;
    let progress = Progress::working(session.config.progress, "Reading the log");
    let page = engine.activity(org.row.id, command.before, command.limit, command.waiting.wait()).await;
    progress.done();
    let page = page?;
    if session.out.json {
        session.out.document(&json!(page));
        return Ok(Exit::Done);
    }
    if page.activity.is_empty() {
        session.out.line("Nothing happened.");
    }
    for told in &page.activity {
        let at = to_the_second(told.at);
        let head = session.out.paint("2", format_args!("{at}  {:>6}", told.seq));
        session.out.line(format_args!("{head}  {}", one_line(&told.sentence)));
    }
    if let Some(before) = page.before {
        session.out.line(format_args!("\nThere is more: --before {before}"));
    }
    behind::say(&engine, org.row.id, page.seq, session).await?;
    Ok(Exit::Done)
}
