//! `muster dashboard`: an organisation at a glance.

use chrono::NaiveDate;
use clap::Args;
use muster_domain::ids::day_of;
use muster_engine::projections::dashboard::{Dashboard, Freshness};
use serde_json::json;

use crate::{
    arguments::{OfOrganisation, Waiting, calendar_day},
    behind,
    fail::{Exit, Failure},
    moment::to_the_second,
    progress::Progress,
    report::grouped,
    session::Session,
    table::Table,
};

/// Show an organisation at a glance: who is eligible, joins and leavers by week, how fresh the feeds are, what waits
///
/// Who is eligible is computed from dates when it is asked for. Somebody who came onto the roster and left it on the same
/// day is in no week.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  muster dashboard --org acme\n  muster dashboard --org acme --on 2027-01-01 --json"
)]
pub struct DashboardOf {
    #[command(flatten)]
    org: OfOrganisation,
    /// On this day [default: today, in the organisation's time zone]
    #[arg(long, value_name = "DAY", value_parser = calendar_day)]
    on: Option<NaiveDate>,
    /// So many weeks
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=520))]
    weeks: u32,
    #[command(flatten)]
    waiting: Waiting,
}

/// Runs the command.
pub async fn run(command: DashboardOf, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&command.org.slug).await?;
    let progress = Progress::working(session.config.progress, "Reading the log");
    let found = engine.dashboard(org.row.id, command.on.map(day_of), command.weeks, command.waiting.wait()).await;
    progress.done();
    let found = found?;
    if session.out.json {
        session.out.document(&json!(found));
        return Ok(Exit::Done);
    }
    let eligible = session.out.paint("1", format_args!("{} eligible", grouped(found.eligible)));
    session.out.line(format_args!("{eligible} on {}", found.day));
    weeks(&found, session);
    feeds(&found, session);
    waiting(&found, session);
    behind::say(&engine, org.row.id, found.seq, session).await?;
    Ok(Exit::Done)
}

fn weeks(found: &Dashboard, session: &mut Session<'_>) {
    let mut table = Table::new(&["week from", "joined", "left", "became eligible", "no longer"]).right(&[1, 2, 3, 4]);
    for week in &found.weeks {
        let figures = [week.joined, week.left, week.became_eligible, week.ceased].map(grouped);
        table.row([vec![week.from.to_string()], figures.to_vec()].concat());
    }
    session.out.line("");
    table.print(session.out, true);
}

fn feeds(found: &Dashboard, session: &mut Session<'_>) {
    let mut table = Table::new(&["feed", "last payload", "outcome", "overdue"]);
    for feed in &found.feeds {
        table.row(freshness(feed));
    }
    session.out.line("");
    table.print(session.out, true);
}

fn freshness(feed: &Freshness) -> [String; 4] {
    [
        feed.feed.clone(),
        feed.last
            .as_ref()
            .map_or("never".to_owned(), |last| format!("no. {}, {}", last.arrival, to_the_second(last.at))),
        feed.last.as_ref().map_or("-".to_owned(), |last| last.outcome.word().replace('_', " ")),
        feed.overdue.map_or("-".to_owned(), |overdue| format!("since {}", to_the_second(overdue.since))),
    ]
}

fn waiting(found: &Dashboard, session: &mut Session<'_>) {
    if found.waiting.is_empty() {
        session.out.line("\nNothing waits for a reviewer.");
        return;
    }
    let second = match found.awaiting_second_approver {
        0 => String::new(),
        n => format!(" ({} for a second approver)", grouped(n as u64)),
    };
    session.out.line(format_args!("\nWaiting for a reviewer{second}"));
    let mut table = Table::new(&[]).indent(2);
    for waiting in &found.waiting {
        let waits = &waiting.waits;
        let since = to_the_second(waits.since);
        let changes = format!("{} changes", grouped(waits.changes.into()));
        let mut why = waits.guards.clone();
        why.extend(waits.awaits_second_approver.then(|| "approved by 1 of 2".to_owned()));
        table.row([waits.change_set.to_string(), waiting.feed.clone(), since, changes, why.join(", ")]);
    }
    table.print(session.out, false);
}
