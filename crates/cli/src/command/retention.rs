//! `muster retention`: destroys payload originals that have been kept for long enough.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    fail::{Exit, Failure},
    report::grouped,
    session::Session,
    table::Table,
};

/// Destroy payload originals that have been kept for long enough
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  muster org set acme payloads.keep_days=30\n  muster retention run --org acme --dry-run\n  \
    muster retention run"
)]
pub struct Retention {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Destroy the originals that are older than `payloads.keep_days` and no longer waited for
    #[command(after_help = "Examples:\n  muster retention run\n  muster retention run --org acme --dry-run --json")]
    Run {
        /// Only this organisation [default: all]
        #[arg(long = "org", value_name = "SLUG")]
        slug: Option<String>,
        /// Show what would go, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs the command.
pub async fn run(retention: Retention, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let Command::Run { slug, dry_run } = retention.command;
    let engine = session.engine().await?;
    let slugs = match slug {
        Some(slug) => vec![slug],
        None => engine.store.organisations().await?.into_iter().map(|o| o.slug).collect(),
    };
    let mut reports = Vec::new();
    for slug in slugs {
        reports.push(engine.run_retention(&slug, dry_run, engine.now()).await?);
    }
    if session.out.json {
        session.out.document(&json!({ "dry_run": dry_run, "organisations": reports }));
        return Ok(Exit::Done);
    }
    let head = [
        "organisation",
        "keep days",
        if dry_run { "would go" } else { "destroyed" },
        "bytes",
        "leftovers",
        "waiting",
        "kept",
    ];
    let mut table = Table::new(&head).right(&[1, 2, 3, 4, 5, 6]);
    for r in &reports {
        let days = r.keep_days.map_or_else(|| "off".to_owned(), |d| grouped(d.into()));
        let [destroyed, bytes, leftovers, waiting, kept] =
            [r.destroyed, r.bytes, r.leftovers, r.waiting, r.kept].map(grouped);
        table.row([r.organisation.clone(), days, destroyed, bytes, leftovers, waiting, kept]);
    }
    table.print(session.out, false);
    Ok(Exit::Done)
}
