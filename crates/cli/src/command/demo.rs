//! `muster demo`: an organisation with a realistic roster, and three nights of its life.

use std::io::Cursor;

use clap::{Args, CommandFactory};
use muster_domain::{
    fact::State,
    settings::{Channel, Mode, Settings},
};
use muster_engine::{
    Engine, Error, Organisation,
    pipeline::{Report, Request},
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    arguments::Cli,
    command::serve::{Serve, keep_serving},
    fail::{Exit, Failure},
    progress::Progress,
    report::{grouped, in_words},
    session::Session,
    table::Table,
};

/// Make an organisation to try things on
///
/// Makes the organisation demo, feeds it a first import, a nightly feed that applies by itself, and a broken feed that a
/// guard holds, and says which commands to try on it. Run again, it finds all that and shows how it stands. At the end it
/// serves, as muster serve does, until Ctrl-C; with --no-serve, or --json, it does not.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster demo --no-serve")]
pub struct Demo {
    /// Only make it: start no server afterwards
    #[arg(long)]
    pub no_serve: bool,
}

const SLUG: &str = "demo";
const NAME: &str = "Fernhill Instruments";

struct Feed {
    title: &'static str,
    file: &'static str,
    key: &'static str,
    bytes: &'static [u8],
    channel: Channel,
}

const FEEDS: [Feed; 3] = [
    Feed {
        title: "A person uploads the first export of the HR system",
        file: "first-import.csv",
        key: "muster demo 1",
        bytes: include_bytes!("../../../../fixtures/demo/first-import.csv"),
        channel: Channel::Upload,
    },
    Feed {
        title: "At night the HR system sends its next export",
        file: "nightly.csv",
        key: "muster demo 2",
        bytes: include_bytes!("../../../../fixtures/demo/nightly.csv"),
        channel: Channel::Schedule,
    },
    Feed {
        title: "The night after, its export lacks three departments",
        file: "broken.csv",
        key: "muster demo 3",
        bytes: include_bytes!("../../../../fixtures/demo/broken.csv"),
        channel: Channel::Schedule,
    },
];

/// Runs the command.
pub async fn run(demo: Demo, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let there = match engine.organisation(SLUG).await {
        Ok(org) => whole(&engine, &org).await?,
        Err(Error::Unknown(_)) => {
            create(&engine).await?;
            false
        }
        Err(e) => return Err(e.into()),
    };
    say(
        session,
        format!("{}, {SLUG}: {}\n", NAME, if there { "made before; this is how it stands." } else { "making it." }),
    );
    let mut steps = Vec::new();
    for (i, feed) in FEEDS.iter().enumerate() {
        let title = session.out.paint("1", format_args!("{}  {} ({})", i + 1, feed.title, feed.file));
        say(session, title);
        let (first, report) = step(&engine, feed, session).await?;
        tell(&first, &report, session);
        steps.push(json!({ "file": feed.file, "report": report }));
    }
    if session.out.json {
        session.out.document(&json!({ "organisation": SLUG, "name": NAME, "already_there": there, "steps": steps }));
        return Ok(Exit::Done);
    }
    next(&engine, session).await?;
    if demo.no_serve { Ok(Exit::Done) } else { serve(engine, session).await }
}

/// Serves, unless something else listens where it would: a demo that is run again while the first still serves is no error.
async fn serve(engine: Engine, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let options = Serve::unsaid()?;
    session.out.line("");
    if let Err(e) = TcpListener::bind(options.listen()).await {
        let address = options.listen();
        session
            .out
            .line(format_args!("Not serving, as nothing can listen on {address}: {e}. Try muster serve --listen."));
        return Ok(Exit::Done);
    }
    keep_serving(engine, options, session).await
}

async fn create(engine: &Engine) -> Result<(), Failure> {
    let settings = Settings::default().with([("name", NAME), ("timezone", "Europe/London")])?;
    match engine.create_organisation(SLUG, settings).await {
        // Another demo was quicker.
        Err(Error::Wrong(_)) if engine.organisation(SLUG).await.is_ok() => Ok(()),
        made => made.map(drop).map_err(Failure::from),
    }
}

/// Whether an organisation of that name is the demo's and has everything; somebody else's is left alone.
async fn whole(engine: &Engine, org: &Organisation) -> Result<bool, Failure> {
    let mut fed = 0;
    for feed in &FEEDS {
        fed += usize::from(engine.store.upload_by_key(org.row.id, feed.key).await?.is_some());
    }
    if fed == 0 && org.settings.name != NAME {
        return Err(Failure::new(
            "conflict",
            Exit::Failed,
            format!(
                "There is an organisation {SLUG} that is not the demo's and is left as it is; use another --data-dir."
            ),
        ));
    }
    Ok(fed == FEEDS.len())
}

/// Feeds one payload, and approves the first, which waits for a person; what was done before is found by its key.
async fn step(engine: &Engine, feed: &Feed, session: &Session<'_>) -> Result<(Report, Report), Failure> {
    let request = Request {
        mode: Some(Mode::Full),
        channel: Some(feed.channel),
        idempotency_key: Some(feed.key.to_owned()),
        file_name: Some(feed.file.to_owned()),
        ..Request::default()
    };
    let progress = Progress::reading(session.config.progress, Some(feed.bytes.len() as u64));
    let first = engine.sync(SLUG, request, &mut progress.wrap(Cursor::new(feed.bytes))).await;
    progress.done();
    let first = first?;
    if feed.channel == Channel::Upload && first.state == State::Held {
        let report = approve(engine, &first).await?;
        return Ok((first, report));
    }
    Ok((first.clone(), first))
}

async fn approve(engine: &Engine, held: &Report) -> Result<Report, Failure> {
    let id = held.change_set_id.map(|id| id.to_string());
    let approval = muster_engine::review::Approval {
        digest: held.digest.clone(),
        comment: Some("The first import, approved by the demo".to_owned()),
        ..Default::default()
    };
    Ok(engine.approve(SLUG, id.as_deref(), approval).await?)
}

fn tell(first: &Report, report: &Report, session: &mut Session<'_>) {
    if session.out.json {
        return;
    }
    if first.state == State::Held {
        holds(first, session);
    }
    let counts = in_words(&report.counts);
    let said = match report.state {
        State::Applied if first.state == State::Held => format!("Approved, as a reviewer would: {counts}."),
        State::Applied => format!("Applied: {counts}."),
        State::Held => format!("So it waits, and the roster is as it was. It would be: {counts}."),
        state => format!("It is {}: {counts}.", state.word().replace('_', " ")),
    };
    session.out.line(format_args!("   {said}\n"));
    session.out.flush();
}

fn holds(report: &Report, session: &mut Session<'_>) {
    let mut table = Table::new(&[]).indent(5);
    for hold in &report.holds {
        table.row([hold.guard.as_str(), &hold.detail]);
    }
    let word = session.out.paint("33", "Held");
    let guards = if report.holds.len() == 1 { "a guard" } else { "guards" };
    session.out.line(format_args!("   {word} by {guards}:"));
    table.print(session.out, false);
}

/// Which commands to try next: those that this program has.
async fn next(engine: &Engine, session: &mut Session<'_>) -> Result<(), Failure> {
    let org = engine.organisation(SLUG).await?;
    let people: u64 = org.feeds.iter().map(|f| f.claims).sum();
    let version = engine.store.head(org.row.id).await?.roster_version;
    let place = match session.config.database.starts_with("sqlite:") {
        true => session.config.data_dir.display().to_string(),
        false => "the database".to_owned(),
    };
    let people = grouped(people);
    session.out.line(format_args!("{people} people are on the roster (version {version}), kept in {place}.\n"));
    session.out.line("Try next");
    let commands = [
        ("changes", "changes show --org demo", "look at what waits"),
        ("changes", "changes reject --org demo --comment 'wrong export'", "and send it back"),
        ("changes", "changes list --org demo", "everything that changed so far"),
        ("members", "members list --org demo", "the roster"),
        ("members", "members history FH01637 --org demo", "where each value came from"),
        ("eligibility", "eligibility FH01559 --org demo", "whether somebody is eligible, and why"),
        ("dashboard", "dashboard --org demo", "how it stands"),
        ("feeds", "feeds show main --org demo", "what the feed is known to send"),
        ("org", "org show demo", "every setting and guard"),
        ("verify", "verify --org demo", "check the log and replay it"),
    ];
    let cli = Cli::command();
    let mut table = Table::new(&[]).indent(2);
    for (_, line, what) in commands.into_iter().filter(|(name, _, _)| cli.find_subcommand(name).is_some()) {
        table.row([session.suggestion(line), what.to_owned()]);
    }
    table.print(session.out, false);
    Ok(())
}

fn say(session: &mut Session<'_>, text: String) {
    if !session.out.json {
        session.out.line(text);
        session.out.flush();
    }
}
