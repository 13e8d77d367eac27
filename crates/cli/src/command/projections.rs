//! `muster projections`: how far what people look at is behind the log, building it anew, and letting what stands try again.

use std::time::Duration;

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use muster_engine::projections::{self, Projection, lanes::Standing, runner::Progress as Step};
use muster_store::OrganisationRow;
use serde_json::json;

use crate::{
    fail::{Exit, Failure},
    moment::to_the_second,
    progress::Progress,
    report::grouped,
    session::Session,
    table::Table,
};

/// Show how far projections are behind the log, build them anew, let parked ones try again
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster projections status --org acme")]
pub struct Projections {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show for each projection how far it is behind, and at which event it stands if it cannot go on
    #[command(after_help = "Examples:\n  muster projections status\n  muster projections status --org acme --json")]
    Status {
        /// Only this organisation [default: all]
        #[arg(long = "org", value_name = "SLUG")]
        slug: Option<String>,
    },
    /// Build a projection anew beside the old one, and put it in its place
    #[command(after_help = "Example:\n  muster projections rebuild activity --org acme")]
    Rebuild {
        /// Which projection
        #[arg(value_parser = name())]
        name: String,
        /// Only of this organisation [default: all]
        #[arg(long = "org", value_name = "SLUG")]
        slug: Option<String>,
    },
    /// Let projections that stand at an event try it again
    #[command(after_help = "Example:\n  muster projections unpark --org acme")]
    Unpark {
        /// Only this projection [default: all]
        #[arg(long, value_name = "NAME", value_parser = name())]
        projection: Option<String>,
        /// Only this organisation [default: all]
        #[arg(long = "org", value_name = "SLUG")]
        slug: Option<String>,
    },
}

/// Reads the name of a projection.
fn name() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(projections::all().iter().map(|p| p.name()))
}

/// How long somebody else's work on the same lane is waited for before looking again.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the command.
pub async fn run(command: Projections, session: &mut Session<'_>) -> Result<Exit, Failure> {
    match command.command {
        Command::Status { slug } => status(slug, session).await,
        Command::Rebuild { name, slug } => rebuild(&name, slug, session).await,
        Command::Unpark { projection, slug } => unpark(projection, slug, session).await,
    }
}

/// The organisations that are meant.
async fn meant(engine: &muster_engine::Engine, slug: Option<String>) -> Result<Vec<OrganisationRow>, Failure> {
    Ok(match slug {
        Some(slug) => vec![engine.organisation(&slug).await?.row],
        None => engine.store.organisations().await?,
    })
}

async fn status(slug: Option<String>, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let mut standings = Vec::new();
    for row in meant(&engine, slug).await? {
        standings.extend(engine.standings(row.id, &row.slug).await?);
    }
    if session.out.json {
        session.out.document(&json!({ "projections": standings }));
        return Ok(Exit::Done);
    }
    let head = ["organisation", "projection", "event", "of", "behind", "seconds", "state"];
    let mut table = Table::new(&head).right(&[2, 3, 4, 5]);
    for s in &standings {
        let numbers = [s.seq, s.last_seq, s.lag_events].map(grouped);
        let [seq, last, behind] = numbers;
        let seconds = format!("{:.1}", s.lag_seconds);
        table.row([s.organisation.clone(), s.projection.to_owned(), seq, last, behind, seconds, state(s)]);
    }
    table.print(session.out, true);
    for s in &standings {
        let parked = s.parked.iter().chain(s.building.iter().filter_map(|b| b.parked.as_ref()));
        for p in parked {
            session.out.line(format_args!(
                "\n{} of {} stands at event {} ({}) since {}: {}",
                s.projection,
                s.organisation,
                p.event,
                p.kind,
                to_the_second(p.at),
                p.error
            ));
        }
    }
    Ok(Exit::Done)
}

fn state(s: &Standing) -> String {
    let live = match (&s.parked, s.version) {
        (Some(_), _) => "parked",
        (None, None) => "not made yet",
        (None, Some(_)) if s.lag_events == 0 => "up to date",
        (None, Some(_)) => "behind",
    };
    match &s.building {
        Some(b) => format!("{live}; being rebuilt, at event {}", grouped(b.seq)),
        None => live.to_owned(),
    }
}

async fn rebuild(name: &str, slug: Option<String>, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let projection =
        projections::named(name).ok_or_else(|| Failure::wrong(format!("There is no projection {name}")))?;
    let progress = Progress::working(session.config.progress, "Reading the log");
    let mut exit = Exit::Done;
    let mut rebuilt = Vec::new();
    for row in meant(&engine, slug).await? {
        let org = engine.load(row).await?;
        engine.begin_rebuild(&org, projection).await?;
        let step = finish(&engine, &org, projection).await?;
        let standing = engine.standings(org.row.id, &org.row.slug).await?;
        let Some(standing) = standing.into_iter().find(|s| s.projection == name) else { continue };
        if step != Step::CaughtUp {
            exit = Exit::Waiting;
        }
        rebuilt.push(standing);
    }
    progress.done();
    if session.out.json {
        session.out.document(&json!({ "projections": rebuilt }));
        return Ok(exit);
    }
    for s in &rebuilt {
        let (seq, org) = (grouped(s.seq), &s.organisation);
        session.out.line(match (&s.parked, &s.building) {
            (None, None) => format!("{name} of {org} was made anew, up to event {seq}."),
            _ => format!("{name} of {org} could not be made anew: {}.", state(s)),
        });
    }
    Ok(exit)
}

/// Works until the rebuilt lane is the live one, whoever does it.
async fn finish(
    engine: &muster_engine::Engine,
    org: &muster_engine::Organisation,
    projection: &dyn Projection,
) -> Result<Step, Failure> {
    loop {
        match engine.catch_up(org.row.id, projection).await? {
            Step::Taken => tokio::time::sleep(LOOK).await,
            step => return Ok(step),
        }
    }
}

async fn unpark(projection: Option<String>, slug: Option<String>, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let (mut tried, mut parked) = (0, Vec::new());
    for row in meant(&engine, slug).await? {
        let n = engine.unpark(row.id, projection.as_deref()).await?;
        if n == 0 {
            continue;
        }
        tried += n;
        for p in projections::all() {
            engine.catch_up(row.id, *p).await?;
        }
        let standings = engine.standings(row.id, &row.slug).await?;
        let stands = |s: &Standing| s.parked.is_some() || s.building.as_ref().is_some_and(|b| b.parked.is_some());
        parked.extend(standings.into_iter().filter(stands));
    }
    let exit = if parked.is_empty() { Exit::Done } else { Exit::Waiting };
    if session.out.json {
        session.out.document(&json!({ "tried": tried, "parked": parked }));
        return Ok(exit);
    }
    match (tried, parked.len()) {
        (0, _) => session.out.line("Nothing is parked."),
        (n, 0) => session.out.line(format_args!("{} went on.", lanes(n))),
        (n, still) => session.out.line(format_args!(
            "{} tried again; {} parked still: {}",
            lanes(n),
            lanes(still as u64),
            session.suggestion("projections status")
        )),
    }
    Ok(exit)
}

fn lanes(n: u64) -> String {
    if n == 1 { "1 projection".to_owned() } else { format!("{} projections", grouped(n)) }
}
