//! `muster changes undo`: takes back what change sets did, and keeps what changed since.

use chrono::{DateTime, Utc};
use clap::Args;
use muster_domain::fact::State;
use muster_engine::undo::{UndoRequest, Undone};
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
    /// Everything that was applied since then, newest first
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "ids")]
    since: Option<DateTime<Utc>>,
    /// Only what was done to the person with this match key
    #[arg(long, value_name = "KEY")]
    by_key: Option<String>,
    /// Show what it would do, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ask: Ask,
}

/// Runs the command.
pub async fn run(undo: Undo, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let asked = undo.ask.asked();
    let Undo { ids, org, since, by_key, dry_run, .. } = undo;
    let engine = session.engine().await?;
    let progress = Progress::working(session.config.progress, "Undoing");
    let outcome = engine.undo(&org.slug, UndoRequest { ids, since, by_key, dry_run, asked, seen: None }).await;
    progress.done();
    let undone = outcome?;
    if session.out.json {
        let state = whole(&undone);
        session.out.document(&json!({ "state": state, "reports": undone.reports, "kept": undone.kept }));
    } else {
        tell(&undone, &org.slug, session);
    }
    Ok(Exit::of(whole(&undone)))
}

/// What all of them came to: one that waits makes the whole wait.
fn whole(undone: &Undone) -> State {
    let waits = |s: &State| matches!(s, State::Held | State::PartlyApplied);
    let mut states = undone.reports.iter().map(|r| r.state);
    let last = undone.reports.last().map_or(State::NoChanges, |r| r.state);
    states.find(waits).unwrap_or(last)
}

fn tell(undone: &Undone, slug: &str, session: &mut Session<'_>) {
    for report in &undone.reports {
        report::print(report, slug, session);
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
