//! `muster restore`: a backup becomes the embedded database.

use std::path::PathBuf;

use clap::Args;
use muster_engine::restore::{Restored, restore};
use serde_json::json;

use crate::{
    command::backup::embedded,
    fail::{Exit, Failure},
    moment::to_the_second,
    progress::Progress,
    report::counted,
    session::Session,
};

/// Put a backup in the place of the embedded database
///
/// The whole backup is checked before anything is touched; one that was cut or altered is refused (exit code 4). What was there
/// before is kept with --replace. A new epoch begins: cursors that were given out before are refused from then on. People who were
/// forgotten after the backup was made are in it: forget them again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster restore muster-2026-03-20.tar\n  \
    muster restore muster-2026-03-20.tar --data-dir ./elsewhere\n  muster restore nightly.tar --replace")]
pub struct Restore {
    /// The backup
    file: PathBuf,
    /// Take the place of the database that is there, and keep it beside
    #[arg(long)]
    replace: bool,
}

/// Runs the command.
pub async fn run(asked: Restore, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let database = embedded(&session.config.database)?;
    let progress = Progress::working(session.config.progress, "Restoring");
    let restored = restore(&asked.file, &database, &session.config.data_dir, asked.replace).await;
    progress.done();
    let Restored { manifest, kept } = restored?;
    if session.out.json {
        session.out.document(&json!({
            "database": database, "kept": kept, "payloads": manifest.payloads(), "made_at": manifest.made_at,
            "organisations": manifest.organisations.iter().map(|(slug, _)| slug).collect::<Vec<_>>(),
        }));
        return Ok(Exit::Done);
    }
    let (organisations, payloads) =
        (counted(manifest.organisations.len(), "organisation"), counted(manifest.payloads(), "payload"));
    let made_at = to_the_second(manifest.made_at);
    session.out.line(format_args!("Restored {organisations} and {payloads} as of {made_at}."));
    if let Some(kept) = kept {
        session
            .out
            .line(format_args!("What was there before is {}; its payloads are where they were.", kept.display()));
    }
    session.out.line("A new epoch has begun: whoever follows the events begins again.");
    session.out.line(format_args!("To hold the roster against the log:\n  {}", session.suggestion("verify")));
    Ok(Exit::Done)
}
