//! `muster changes undo`: takes back what change sets did, and keeps what changed since.

use chrono::{DateTime, Utc};
use clap::Args;
use muster_domain::fact::State;
use muster_engine::{
    members::Whom,
    undo::{Seen, UndoRequest, Undone},
};
use serde_json::json;

use crate::{
    arguments::{Ask, OfOrganisation, time},
    fail::{Exit, Failure},
    progress::Progress,
    report,
    session::Session,
    table::Table,
};

/// Take back what change sets did
///
/// Member by member and field by field: claims, last words and identity are given back, what changed since is kept and
/// listed. An undo is a change set itself: policy and guards look at it like at any other.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster changes undo 0193a1 --org acme --dry-run\n  \
    muster changes undo --org acme --since 2026-03-20T08:00:00Z\n  muster changes undo --org acme --by-key 1042")]
pub struct Undo {
    /// The change sets, or the beginnings of their ids
    #[arg(required_unless_present_any = ["since", "by_key"])]
    ids: Vec<String>,
    #[command(flatten)]
    org: OfOrganisation,
    /// Every change set of which something was applied since then, the last applied first
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "ids")]
    since: Option<DateTime<Utc>>,
    /// Only what was done to the person with this match key
    #[arg(long, value_name = "KEY")]
    by_key: Option<String>,
    /// Show what it would do, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Undo nothing unless it is what a dry run showed, by the digest that it gave
    #[arg(long)]
    digest: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

/// Runs the command.
pub async fn run(undo: Undo, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let asked = undo.ask.asked();
    let Undo { ids, org, since, by_key, dry_run, digest, .. } = undo;
    let engine = session.engine().await?;
    let progress = Progress::working(session.config.progress, "Undoing");
    let request = UndoRequest {
        ids,
        since,
        whom: by_key.map(Whom::Known),
        feed: None,
        dry_run,
        asked,
        seen: digest.map_or(Seen::Unsaid, Seen::Together),
    };
    let outcome = engine.undo(&org.slug, request).await;
    progress.done();
    let mut undone = outcome?;
    let state = undone.state();
    let stopped = undone.stopped.take().map(Failure::from);
    if session.out.json {
        let Undone { reports, kept, not_undone, digest, .. } = &undone;
        let mut document = json!({
            "state": state, "reports": reports, "kept": kept, "not_undone": not_undone, "digest": digest,
        });
        if let Some(why) = &stopped {
            document["stopped"] = why.message.as_str().into();
        }
        session.out.document(&document);
    } else {
        tell(&undone, stopped.as_ref(), &org.slug, session);
    }
    Ok(stopped.map_or_else(|| Exit::of(state), |why| why.exit))
}

fn tell(undone: &Undone, stopped: Option<&Failure>, slug: &str, session: &mut Session<'_>) {
    let trial = undone.reports.iter().any(|one| one.state == State::DryRun);
    for one in &undone.reports {
        if undone.reports.len() > 1 {
            session.out.line(format_args!("\nUndo of change set {}", one.undoes));
        }
        report::print(one, slug, session);
        if trial && one.would_hold {
            session.out.line("It would wait for review.");
        }
    }
    if undone.state() == State::DryRun {
        session.out.line(format_args!("\nTo undo this and nothing else, say --digest {}.", undone.digest));
    }
    if !undone.not_undone.is_empty() {
        match stopped {
            Some(why) => session.out.line(format_args!(
                "\nNot undone, because the first of these failed; what was undone before stands. {}",
                why.message
            )),
            None if trial => {
                session.out.line("\nWould not be undone, because the undo of a newer one would wait for review")
            }
            None => session.out.line("\nNot undone, because the undo of a newer one waits for review"),
        }
        undone.not_undone.iter().for_each(|id| session.out.line(format_args!("  {id}")));
    }
    if undone.kept.is_empty() {
        return;
    }
    session.out.line("\nKept, because it changed since");
    let mut table = Table::new(&["key", "what"]).indent(2);
    for kept in &undone.kept {
        table.row([&kept.key, &kept.what]);
    }
    table.print(session.out, true);
}
