//! `muster events import`: an exported log becomes an organisation in this database.

use std::path::{Path, PathBuf};

use clap::Args;
use muster_domain::replay::log::{hex, unhex};
use muster_engine::import::{Import, ImportError, ImportRequest};
use muster_store::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    command::replay::{of_log, open},
    fail::{Exit, Failure},
    private,
    progress::Progress,
    report::grouped,
    session::Session,
};

/// Make the organisation of an exported log in this database
///
/// The log is checked and folded while it is read, and everything is one transaction: a log that is not in order leaves
/// nothing behind, and neither does a process that was killed; run it again. Payload originals and idempotency keys are not
/// in a log. The secret behind the organisation's hashes is not either: without --secret-file a new one is made.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster events import acme.ndjson --org acme\n  \
    muster events import acme.ndjson --secret-file acme.secret --database postgres://localhost/muster")]
pub struct FromLog {
    /// The log, as `muster events export` writes it; - reads standard input
    log: PathBuf,
    /// The organisation that it must be of [default: whichever it is of]
    #[arg(long = "org", value_name = "SLUG")]
    slug: Option<String>,
    /// The organisation's secret, as `muster events export --secret-file` wrote it
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// What stands in a file with a secret.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    organisation: muster_domain::ids::OrganisationId,
    secret: String,
}

/// Writes an organisation's secret where only this user can read it, and nothing was before.
pub fn write_secret(path: &Path, row: &muster_store::OrganisationRow) -> Result<(), Failure> {
    let written = Written { organisation: row.id, secret: hex(row.secret.bytes()) };
    let mut text = serde_json::to_vec(&written)?;
    text.push(b'\n');
    private::create(path, &text)
}

fn read_secret(path: &Path) -> Result<(muster_domain::ids::OrganisationId, Secret), Failure> {
    let wrong = |why: &str| Failure::wrong(format!("The file {} holds no secret: {why}", path.display()));
    let text = std::fs::read(path).map_err(|e| wrong(&e.to_string()))?;
    let written: Written = serde_json::from_slice(&text).map_err(|_| wrong("it is not as it was written"))?;
    let secret = unhex(&written.secret).ok_or_else(|| wrong("it is not as it was written"))?;
    Ok((written.organisation, Secret::new(secret)))
}

/// Runs the command.
pub async fn run(from: FromLog, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let secret = from.secret_file.as_deref().map(read_secret).transpose()?;
    let reader = open(&from.log)?;
    let engine = session.engine().await?;
    let progress = Progress::working(session.config.progress, "Importing");
    let imported = engine.import(reader, ImportRequest { slug: from.slug, secret }).await;
    progress.done();
    let Import { slug, report, repeated, not_kept_out } = imported.map_err(|e| match e {
        ImportError::Log(e) => {
            let failure = of_log(&from.log, e);
            Failure { message: format!("{} Nothing was imported.", failure.message), ..failure }
        }
        ImportError::Engine(e) => e.into(),
    })?;
    if session.out.json {
        let state = if repeated { "no_changes" } else { "imported" };
        session
            .out
            .document(&json!({ "organisation": slug, "state": state, "log": report, "not_kept_out": not_kept_out }));
        return Ok(Exit::Done);
    }
    let (events, members) = (grouped(report.events), grouped(report.members));
    match repeated {
        true => session.out.line(format_args!("{slug} is here already, with the same {events} events.")),
        false => session.out.line(format_args!("Imported {slug}: {events} events, {members} members on the roster.")),
    }
    if not_kept_out > 0 {
        session.out.line(
            "People were forgotten in this log, and without the secret of the organisation the next payload brings them \
             back: import it with --secret-file into another database, or forget them again.",
        );
    }
    let next = session.suggestion(&format!("verify --org {slug}"));
    session.out.line(format_args!("To hold the roster against the log:\n  {next}"));
    Ok(Exit::Done)
}
