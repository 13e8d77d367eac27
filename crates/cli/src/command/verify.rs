//! `muster verify`: checks the log and holds it against what is stored.

use clap::Args;
use serde_json::{Value, json};

use crate::{
    fail::{Exit, Failure},
    progress::Progress,
    report::grouped,
    session::Session,
};

/// Check the log and hold it against what is stored
///
/// Checks the hash chain, replays the log and compares it with the stored roster, claims, last words and fingerprints,
/// row for row. Exit code 1 on any difference.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster verify\n  muster verify --org acme --json")]
pub struct Verify {
    /// Only this organisation [default: all]
    #[arg(long = "org", value_name = "SLUG")]
    slug: Option<String>,
}

/// Runs the command.
pub async fn run(verify: Verify, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let organisations = match &verify.slug {
        Some(slug) => vec![engine.organisation(slug).await?.row],
        None => engine.store.organisations().await?,
    };
    let (mut clean, mut documents) = (true, Vec::<Value>::new());
    for row in organisations {
        let org = engine.load(row).await?;
        let slug = org.row.slug.clone();
        let progress = Progress::working(session.config.progress, "Replaying the log and comparing");
        let outcome = engine.verify(&org).await;
        progress.done();
        let report = outcome?;
        clean &= report.is_clean();
        if session.out.json {
            documents.push(json!({
                "organisation": slug, "clean": report.is_clean(), "events": report.events, "members": report.members,
                "differences": report.differences,
            }));
            continue;
        }
        let word = match report.is_clean() {
            true => session.out.paint("32", "in order"),
            false => session.out.paint("31", "NOT in order"),
        };
        let (events, members) = (grouped(report.events), grouped(report.members));
        session.out.line(format_args!("{slug}: {word}; {events} events and {members} members were compared."));
        for difference in &report.differences {
            session.out.line(format_args!("  {difference}"));
        }
    }
    if session.out.json {
        session.out.document(&json!({ "clean": clean, "organisations": documents }));
    }
    Ok(if clean { Exit::Done } else { Exit::Failed })
}
