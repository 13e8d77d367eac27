//! `muster blame`: for every value of a member the event that set it, a line each.

use clap::Args;
use muster_engine::{blame::Blame, history::HistoryEntry};

use crate::{
    arguments::{OfOrganisation, Waiting},
    command::members::{When, check_field},
    fail::{Exit, Failure},
    moment::to_the_minute,
    progress::Progress,
    session::Session,
    table::{Table, one_line},
};

/// Tell for every value of a member which event set it
///
/// A line a field: the event, when it was applied, the feed, the file and its line, who let it pass (a `*` where a person
/// approved it, else it was policy), and the value. What stood there before is told by `muster members history`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  muster blame 1042 --org acme\n  muster blame 1042 --org acme --field department\n  \
    muster blame 1042 --org acme --at 2026-03-20T08:00:00Z --json"
)]
pub struct BlameOf {
    /// The member's match key, or a former one
    key: String,
    #[command(flatten)]
    org: OfOrganisation,
    /// Only this field; may be repeated
    #[arg(long, value_name = "FIELD")]
    field: Vec<String>,
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    waiting: Waiting,
}

/// Runs the command.
pub async fn run(asked: BlameOf, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&asked.org.slug).await?;
    asked.field.iter().try_for_each(|field| check_field(&org, field))?;
    let progress = Progress::working(session.config.progress, "Reading the log");
    let blame = engine.blame(&org, &asked.key, asked.when.at(), asked.waiting.wait()).await;
    progress.done();
    let Some(mut blame) = blame? else {
        let message = format!("{} was not known then.", asked.key);
        return Err(Failure::new("not_found", Exit::WrongUse, message));
    };
    let wanted = |e: &HistoryEntry| e.field.as_ref().is_some_and(|f| asked.field.contains(f));
    blame.fields.retain(|e| asked.field.is_empty() || wanted(e));
    if session.out.json {
        session.out.document(&blame);
    } else {
        print(&blame, session);
    }
    Ok(Exit::Done)
}

fn print(blame: &Blame, session: &mut Session<'_>) {
    let listed = if blame.listed { "on the roster" } else { "not on the roster" };
    let since = blame.since.as_ref().map(|e| format!(" since {}, event {}", e.at.format("%Y-%m-%d"), e.seq));
    let title = format!("{}  {listed}{}", one_line(&blame.key), since.unwrap_or_default());
    session.out.line(session.out.paint("1", title));
    if blame.fields.is_empty() {
        return session.out.line("Nothing is told of this in the log.");
    }
    let mut table = Table::new(&["event", "applied", "feed", "from", "by", "field", "value"]).right(&[0]);
    for entry in &blame.fields {
        let raw = entry.raw.as_deref().map(|r| format!("  (read as \"{}\")", one_line(r)));
        let value = entry.value.as_deref().map_or("(blank)".to_owned(), one_line);
        table.row([
            entry.seq.to_string(),
            to_the_minute(entry.at),
            entry.feed.clone(),
            place(entry),
            format!("{}{}", if entry.reviewed { "*" } else { "" }, one_line(entry.applier())),
            entry.field.clone().unwrap_or_default(),
            value + &raw.unwrap_or_default(),
        ]);
    }
    table.print(session.out, true);
}

/// File and line, as an editor takes them.
fn place(entry: &HistoryEntry) -> String {
    let line = entry.line.map(|n| format!(":{n}")).unwrap_or_default();
    let place = match &entry.file {
        Some(file) => one_line(file) + &line,
        None if line.is_empty() => "-".to_owned(),
        None => format!("line {}", &line[1..]),
    };
    match entry.destroyed {
        Some(gone) => format!("{place} (file destroyed, {})", gone.why.word()),
        None => place,
    }
}
