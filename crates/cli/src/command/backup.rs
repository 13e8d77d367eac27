//! `muster backup`: an embedded database with its payloads in one file, while it is in use.

use std::path::{Path, PathBuf};

use clap::Args;
use muster_engine::backup::backup;
use muster_store::file;
use serde_json::json;

use crate::{
    fail::{Exit, Failure},
    progress::Progress,
    report::{counted, grouped},
    session::Session,
};

/// Copy the embedded database and its payloads into one file
///
/// Others may go on reading and writing: the backup is of the moment at which it began. Logs, rosters, secrets and payload
/// originals are in it, so keep it as you keep the database; only you may read the file. PostgreSQL is backed up by its own
/// means: see docs/backup.md.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  muster backup muster-2026-03-20.tar\n  muster backup nightly.tar --replace --json"
)]
pub struct Backup {
    /// The file to write
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    replace: bool,
}

/// The file of the embedded database; an error that says what to do instead if it is a server's.
pub fn embedded(database: &str) -> Result<PathBuf, Failure> {
    file::path(database)?.ok_or_else(|| {
        Failure::wrong(
            "PostgreSQL is backed up and restored by its own means (pg_dump, pg_restore), and the data directory with it; \
             docs/backup.md says in which order. `muster epoch new` belongs behind a restore.",
        )
    })
}

/// Runs the command.
pub async fn run(asked: Backup, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let database = embedded(&session.config.database)?;
    let place: &Path = &asked.file;
    if place.exists() && !asked.replace {
        let name = place.display();
        return Err(Failure::wrong(format!("There is a file {name} already; --replace puts the backup in its place.")));
    }
    let same = |path: &Path| path.canonicalize().ok().is_some_and(|p| Some(p) == database.canonicalize().ok());
    if same(place) {
        return Err(Failure::wrong("That is the database itself; choose another name for the backup."));
    }
    let progress = Progress::working(session.config.progress, "Backing up");
    let manifest = backup(&database, &session.config.data_dir, place).await;
    progress.done();
    let manifest = manifest?;
    let bytes = place.metadata().map_or(0, |m| m.len());
    if session.out.json {
        session.out.document(&json!({
            "file": place, "bytes": bytes, "payloads": manifest.payloads(), "payloads_gone": manifest.payloads_gone,
            "organisations": manifest.organisations.iter().map(|(slug, _)| slug).collect::<Vec<_>>(),
            "made_at": manifest.made_at,
        }));
        return Ok(Exit::Done);
    }
    let (organisations, payloads) =
        (counted(manifest.organisations.len(), "organisation"), counted(manifest.payloads(), "payload"));
    session.out.line(format_args!(
        "Wrote {organisations} and {payloads} to {}, {} bytes.",
        place.display(),
        grouped(bytes)
    ));
    if manifest.payloads_gone > 0 {
        let gone = grouped(manifest.payloads_gone);
        session.out.line(format_args!("{gone} older payloads are named in the log and no longer kept."));
    }
    Ok(Exit::Done)
}
