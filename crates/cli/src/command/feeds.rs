//! `muster feeds`: the named sources of an organisation's payloads.

mod expected;
mod runs;
mod show;

use clap::{Args, Subcommand};
use muster_domain::{
    documents::Feed,
    settings::{FeedSettings, Mode, Policy, Settings},
};
use muster_engine::{
    Engine, Organisation,
    handover::HandedOver,
    organisation::{check_feed_name, check_key_prefix},
    watch::FeedWatch,
};
use serde_json::{Value, json};

use crate::{
    arguments::{OfOrganisation, by_key, mode, pair, policy},
    fail::{Exit, Failure},
    moment::{to_the_minute, to_the_second},
    report::grouped,
    session::Session,
    table::Table,
};

/// List, create, set, show and hand over the feeds of an organisation
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster feeds create contractors --org acme --mode full --key-prefix C-")]
pub struct Feeds {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the feeds
    #[command(after_help = "Example:\n  muster feeds list --org acme")]
    List {
        #[command(flatten)]
        org: OfOrganisation,
    },
    /// Create a feed
    #[command(after_help = "Example:\n  muster feeds create contractors --org acme --mode full --key-prefix C-")]
    Create {
        /// Its name
        name: String,
        #[command(flatten)]
        org: OfOrganisation,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Change a feed's settings
    #[command(after_help = "Examples:\n  muster feeds set main --org acme --mode full --map 'employee_id=Person No' \
        --override guard.updates.max_percent=20\n  \
        muster feeds set main --org acme --expected '30 2 * * 1-5' --expected-timezone Europe/Berlin --expected-grace 2h")]
    Set {
        /// The feed
        name: String,
        #[command(flatten)]
        org: OfOrganisation,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Move all claims of one feed to another
    ///
    /// What the first feed last said becomes what the second one last said, unless that has spoken of the person itself.
    /// Nobody comes or goes by it; from then on it is the second feed's payloads that end these claims. It is a change
    /// set by hand, and can be undone like one.
    #[command(after_help = "Example:\n  muster feeds handover old-hr new-hr --org acme")]
    Handover {
        /// The feed whose claims they are
        from: String,
        /// The feed whose claims they are to be
        to: String,
        #[command(flatten)]
        org: OfOrganisation,
        /// Say what it would come to, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Record which feeds have not sent what they were expected to send, and which have come back
    ///
    /// For a cron job, where no server does it. A feed with --expected is overdue once the grace after a run is over and no
    /// payload that could be read has come for it; that is recorded once, and again when one has come. A payload up to 5
    /// minutes early is in time.
    #[command(after_help = "Examples:\n  muster feeds check\n  muster feeds check --org acme --json")]
    Check {
        /// Only this organisation [default: all]
        #[arg(long = "org", value_name = "SLUG")]
        slug: Option<String>,
    },
    /// List the payloads of the feeds: what became of each and how soon, and what is to be noted about it
    Runs(runs::RunsOf),
    /// Show a feed: its settings, what it was last known to send, and claims not renewed for long
    ///
    /// A payload that was accepted and names somebody renews the feed's claim on them. Listed are the people whom the feed
    /// has claimed for longer than so many days, and whom no accepted payload of it has named in that time.
    #[command(after_help = "Example:\n  muster feeds show main --org acme --stale-after 90\n  \
        muster feeds show main --org acme --json")]
    Show {
        /// The feed
        name: String,
        #[command(flatten)]
        org: OfOrganisation,
        /// List claims that were not renewed for so many days
        #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(..=36_500))]
        stale_after: u32,
    },
}

#[derive(Debug, Args)]
struct Wanted {
    /// What a payload says of those whom it does not name: they leave (full), nothing (partial); leavers: those named leave
    #[arg(long, value_parser = mode())]
    mode: Option<Mode>,
    /// A field of a person whom several feeds claim follows the highest
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Put in front of each of its match keys; empty for none
    #[arg(long, value_name = "TEXT")]
    key_prefix: Option<String>,
    /// In place of the organisation's policy, on every channel
    #[arg(long, value_parser = policy())]
    policy: Option<Policy>,
    /// Which column holds a field; with nothing after the = as its header says
    #[arg(long = "map", value_name = "FIELD=COLUMN", value_parser = pair)]
    mapping: Vec<(String, String)>,
    /// A guard, policy or rule of its own in place of the organisation's; with nothing after the = the organisation's
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = pair)]
    overrides: Vec<(String, String)>,
    #[command(flatten)]
    expectation: expected::Expectation,
}

impl Wanted {
    fn put(self, feed: &mut FeedSettings, settings: &Settings) -> Result<(), Failure> {
        feed.mode = self.mode.or(feed.mode);
        feed.priority = self.priority.unwrap_or(feed.priority);
        feed.policy = self.policy.or(feed.policy);
        if let Some(prefix) = self.key_prefix {
            check_key_prefix(&prefix)?;
            feed.key_prefix = Some(prefix.trim().to_owned()).filter(|p| !p.is_empty());
        }
        for (field, column) in by_key(self.mapping.iter().cloned())? {
            feed.map(&field, &column, settings)?;
        }
        for (key, value) in &self.overrides {
            feed.set_override(key, value)?;
        }
        self.expectation.put(feed)
    }
}

/// Runs the command.
pub async fn run(feeds: Feeds, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    match feeds.command {
        Command::List { org } => list(&engine, &engine.organisation(&org.slug).await?, session).await?,
        Command::Runs(runs) => return runs::run(&engine, runs, session).await,
        Command::Check { slug } => return expected::check(&engine, slug, session).await,
        Command::Show { name, org, stale_after } => {
            let org = engine.organisation(&org.slug).await?;
            let feed = org.feed(&name)?;
            return show::run(&engine, &org, feed, stale_after, session).await;
        }
        Command::Create { name, org, wanted } => {
            let org = engine.organisation(&org.slug).await?;
            check_feed_name(&name)?;
            let mut settings = FeedSettings { name, ..FeedSettings::default() };
            wanted.put(&mut settings, &org.settings)?;
            let feed = engine.create_feed(&org, settings).await?;
            changed("Created", &engine, &org, &feed, session).await?;
        }
        Command::Set { name, org, wanted } => {
            let org = engine.organisation(&org.slug).await?;
            let feed = org.feed(&name)?;
            let mut settings = feed.settings.clone();
            wanted.put(&mut settings, &org.settings)?;
            let same = settings == feed.settings;
            let feed = if same { feed.clone() } else { engine.set_feed(&org, feed, settings).await? };
            let verb = if same { "Nothing was changed about" } else { "Changed" };
            changed(verb, &engine, &org, &feed, session).await?;
        }
        Command::Handover { from, to, org, dry_run: true } => {
            let tried = engine.try_hand_over(&org.slug, &from, &to).await?;
            handed_over(&tried, [&from, &to, &org.slug], "would pass", session);
        }
        Command::Handover { from, to, org, dry_run: false } => {
            let moved = engine.hand_over(&org.slug, &from, &to).await?;
            handed_over(&moved, [&from, &to, &org.slug], "passed", session);
        }
    }
    Ok(Exit::Done)
}

fn handed_over(moved: &HandedOver, [from, to, slug]: [&str; 3], verb: &str, session: &mut Session<'_>) {
    if session.out.json {
        session.out.document(moved);
        return;
    }
    if moved.claims + moved.named_only == 0 {
        session.out.line(format_args!("The feed {from} claims and names nobody; there was nothing to hand over."));
        return;
    }
    let n = moved.claims;
    let claims = if n == 1 { "1 claim".to_owned() } else { format!("{} claims", grouped(n)) };
    session.out.line(format_args!("{claims} {verb} from {from} to {to}."));
    for (n, what) in [
        (moved.claimed_by_both, "were claimed by both"),
        (moved.named_only, "are not on the roster; what was said of them passed too"),
        (moved.updated, "have other values now, because another feed is followed"),
    ] {
        if n > 0 {
            session.out.line(format_args!("  {} {what}", grouped(n)));
        }
    }
    match moved.change_set_id {
        Some(id) => {
            let undo = session.suggestion(&format!("changes undo {id} --org {slug}"));
            session.out.line(format_args!("\nTo take it back\n  {undo}"));
        }
        None => session.out.line("Nothing was changed."),
    }
}

async fn list(engine: &Engine, org: &Organisation, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut watched: Vec<(&Feed, Option<FeedWatch>)> = Vec::new();
    for feed in &org.feeds {
        watched.push((feed, engine.watch_of(org, feed, engine.now()).await?));
    }
    if session.out.json {
        let feeds: Vec<Value> = watched.iter().map(|(feed, watch)| document(feed, org, watch.as_ref())).collect();
        session.out.document(&json!({ "feeds": feeds }));
        return Ok(());
    }
    let mut head = vec!["feed", "mode", "priority", "claims", "rows last time", "last payload"];
    let any = watched.iter().any(|(_, watch)| watch.is_some());
    if any {
        head.extend(["last run", "next run"]);
    }
    let mut table = Table::new(&head).right(&[2, 3, 4]);
    for (feed, watch) in &watched {
        let mut row = vec![
            feed.settings.name.clone(),
            feed.settings.mode.map_or("-".to_owned(), |m| m.to_string()),
            feed.settings.priority.to_string(),
            feed.claims.to_string(),
            feed.baseline.as_ref().map_or("-".to_owned(), |b| b.rows.to_string()),
            last_payload(feed),
        ];
        if any {
            let cell = |show: fn(&FeedWatch) -> String| watch.as_ref().map_or("-".to_owned(), show);
            row.extend([cell(expected::last_run), cell(expected::next_run)]);
        }
        table.row(row);
    }
    table.print(session.out, true);
    Ok(())
}

async fn changed(
    verb: &str,
    engine: &Engine,
    org: &Organisation,
    feed: &Feed,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let watch = engine.watch_of(org, feed, engine.now()).await?;
    if session.out.json {
        let mut document = document(feed, org, watch.as_ref());
        document["seq"] = json!(engine.last_seq(&org.row.slug).await?);
        session.out.document(&document);
        return Ok(());
    }
    session.out.line(format_args!("{verb} the feed {}.", feed.settings.name));
    if let Some(next) = watch.and_then(|w| w.next_run) {
        session.out.line(format_args!("Its next payload is expected at {}.", to_the_minute(next)));
    }
    Ok(())
}

fn last_payload(feed: &Feed) -> String {
    feed.last_arrival.map_or("never".to_owned(), |(n, at)| format!("no. {n}, {}", to_the_second(at)))
}

fn document(feed: &Feed, org: &Organisation, watch: Option<&FeedWatch>) -> Value {
    let s = &feed.settings;
    let expected =
        (s.expected.is_some() || watch.is_some()).then(|| expected::document(s, &org.settings.timezone, watch));
    json!({
        "no": feed.no,
        "name": s.name,
        "mode": s.mode,
        "priority": s.priority,
        "key_prefix": s.key_prefix,
        "policy": s.policy,
        "mapping": s.mapping,
        "mapping_version": s.mapping_version,
        "overrides": s.overrides,
        "expected": expected,
        "claims": feed.claims,
        "baseline": feed.baseline.as_ref().map(|b| json!({ "rows": b.rows, "columns": b.columns, "filled": b.filled })),
        "last_payload": feed.last_arrival.map(|(n, at)| json!({ "arrival": n, "at": at })),
    })
}
