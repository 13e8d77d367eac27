//! `muster members history`: where every value of a member came from, and what stood there before.

use clap::Args;
use muster_domain::change::Kind;
use muster_engine::{history::HistoryEntry, members::At};
use serde_json::json;

use super::check_field;
use crate::{
    arguments::{OfOrganisation, Waiting},
    behind,
    fail::{Exit, Failure},
    moment::to_the_second,
    progress::Progress,
    session::Session,
    table::one_line,
};

/// Tell where every value of a member came from
///
/// For each value: the event, change set, feed, file and row it came from, the text as it was read, who approved it, and
/// what stood there before. Oldest first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster members history 1042 --org acme\n  \
    muster members history 1042 --org acme --field department --json")]
pub struct History {
    /// The member's match key, or a former one
    key: String,
    #[command(flatten)]
    org: OfOrganisation,
    /// Only this field
    #[arg(long, value_name = "FIELD")]
    field: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Runs the command.
pub async fn run(history: History, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&history.org.slug).await?;
    history.field.iter().try_for_each(|field| check_field(&org, field))?;
    let progress = Progress::working(session.config.progress, "Reading the log");
    let told = engine.history(&org, &history.key, At::Now, history.waiting.wait()).await;
    progress.done();
    let told = told?;
    let member = engine.member(&org, &history.key).await?;
    let mut entries = told.entries;
    if let Some(field) = &history.field {
        entries.retain(|e| e.field.as_deref() == Some(field));
    }
    if session.out.json {
        let document = json!({ "seq": told.seq, "key": member.key, "id": member.uuid, "history": entries });
        session.out.document(&document);
        return Ok(Exit::Done);
    }
    if entries.is_empty() {
        session.out.line("Nothing is told of this in the log.");
    }
    let mut last = None;
    for entry in &entries {
        if last != Some(entry.seq) {
            head(entry, session);
            last = Some(entry.seq);
        }
        value(entry, session);
    }
    behind::say(&engine, org.row.id, told.seq, session).await?;
    Ok(Exit::Done)
}

/// What the values of one event have in common.
fn head(entry: &HistoryEntry, session: &mut Session<'_>) {
    let when = to_the_second(entry.at);
    let title = session.out.paint("1", format_args!("{when}  {}", entry.kind.word()));
    let file = entry.file.as_deref().map(|f| format!(", file {}", one_line(f))).unwrap_or_default();
    let line = entry.line.map(|n| format!(", line {n}")).unwrap_or_default();
    let gone = entry.destroyed.map(|g| format!(" (file destroyed on {}, {})", g.at.format("%Y-%m-%d"), g.why.word()));
    let gone = gone.unwrap_or_default();
    session.out.line(format_args!("{title}  feed {}{file}{line}{gone}", entry.feed));
    let how = if entry.reviewed { "approved by" } else { "applied by policy for" };
    let sent = match entry.sender() {
        Some(by) if by != entry.applier() => format!(", sent by {}", one_line(by)),
        _ => String::new(),
    };
    let by = one_line(entry.applier());
    let note = format!("  {how} {by}{sent}; change set {}, event {}", entry.change_set, entry.seq);
    session.out.line(session.out.paint("2", note));
}

fn value(entry: &HistoryEntry, session: &mut Session<'_>) {
    let Some(field) = &entry.field else {
        let what = match entry.kind {
            Kind::Remove => "left the roster",
            Kind::Reinstate => "came back to the roster",
            Kind::Add => "came onto the roster",
            _ => "nothing that shows",
        };
        session.out.line(format_args!("    {what}"));
        return;
    };
    let shown = |value: &Option<String>| value.as_deref().map_or("(blank)".to_owned(), one_line);
    let change = match (&entry.before, entry.kind) {
        (None, Kind::Add) => shown(&entry.value),
        _ => format!("{} → {}", shown(&entry.before), shown(&entry.value)),
    };
    let raw = entry.raw.as_deref().map(|r| format!("  (read as \"{}\")", one_line(r))).unwrap_or_default();
    session.out.line(format_args!("    {field:<18} {change}{raw}"));
}
