//! `muster feeds runs`: the payloads of the feeds, what became of each and how soon, and what is to be noted about it.

use clap::Args;
use muster_engine::{
    Engine,
    projections::runs::{Note, Run},
};
use serde_json::json;

use crate::{
    arguments::{OfOrganisation, Waiting},
    behind,
    fail::{Exit, Failure},
    moment::{to_the_minute, to_the_second},
    progress::Progress,
    report::{grouped, in_words},
    session::Session,
    table::Table,
};

/// List the payloads of the feeds, newest first
///
/// For each: when and how it came, what became of it, how long it took until nothing of it was left to decide, and whether it
/// was identical to the one before it, oddly sized, or came after the feed had been overdue.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster feeds runs --org acme\n  muster feeds runs --org acme --feed main --json")]
pub struct RunsOf {
    #[command(flatten)]
    org: OfOrganisation,
    /// Only of this feed
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// Only what arrived before this arrival number
    #[arg(long, value_name = "NO")]
    before: Option<u64>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    waiting: Waiting,
}

/// Runs the command.
pub async fn run(engine: &Engine, command: RunsOf, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let org = engine.organisation(&command.org.slug).await?;
    let feed = command.feed.as_deref().map(|name| org.feed(name)).transpose()?.map(|feed| feed.no);
    let progress = Progress::working(session.config.progress, "Reading the log");
    let page = engine.feed_runs(org.row.id, feed, command.before, command.limit, command.waiting.wait()).await;
    progress.done();
    let page = page?;
    if session.out.json {
        session.out.document(&json!(page));
        return Ok(Exit::Done);
    }
    for late in &page.overdue {
        let missed = to_the_minute(late.overdue.missed);
        session.out.line(format_args!("{} is overdue: the payload of {missed} has not come.", late.feed));
    }
    if page.runs.is_empty() {
        session.out.line("Nothing has arrived.");
        behind::say(engine, org.row.id, page.seq, session).await?;
        return Ok(Exit::Done);
    }
    let head = ["no.", "when", "feed", "channel", "mode", "outcome", "rows", "what", "decided after", "notes"];
    let mut table = Table::new(&head).right(&[0, 6]);
    for run in &page.runs {
        table.row(row(run));
    }
    table.print(session.out, true);
    if let Some(before) = page.before {
        session.out.line(format_args!("\nThere is more: --before {before}"));
    }
    behind::say(engine, org.row.id, page.seq, session).await?;
    Ok(Exit::Done)
}

fn row(run: &Run) -> [String; 10] {
    let notes: Vec<String> = run.notes.iter().map(in_a_note).collect();
    [
        run.arrival.to_string(),
        to_the_second(run.received_at),
        run.feed.clone(),
        run.channel.to_string(),
        run.mode.to_string(),
        run.outcome.word().replace('_', " "),
        grouped(run.counts.rows),
        in_words(&run.counts),
        run.decided_after.map_or("-".to_owned(), lasted),
        notes.join("; "),
    ]
}

fn in_a_note(note: &Note) -> String {
    match note {
        Note::Identical { arrival } => format!("identical to no. {arrival}"),
        Note::OddSize { rows, last } => format!("{} rows, {} last time", grouped(*rows), grouped(*last)),
        Note::Recovered { missed } => format!("late: {} was missed", to_the_minute(*missed)),
    }
}

fn lasted(seconds: f64) -> String {
    match seconds as u64 {
        0..60 => format!("{seconds:.1} s"),
        s @ 60..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}
