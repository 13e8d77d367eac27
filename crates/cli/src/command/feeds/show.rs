//! `muster feeds show`: a feed's settings, what it was last known to send, and claims not renewed for long.

use chrono::{DateTime, Duration, NaiveDate, Utc};
use muster_domain::{
    documents::Feed,
    ids::date_of,
    member::{ABSENT, Member},
    settings::{Mode, Policy},
};
use muster_engine::{Engine, Organisation, mapping::MappingVersion, watch::FeedWatch};
use serde::Serialize;
use serde_json::{Map, json};

use super::{document, expected, last_payload};
use crate::{
    fail::{Exit, Failure},
    moment::to_the_second,
    output::Listing,
    report::grouped,
    session::Session,
    table::{Table, one_line},
};

/// Runs the command.
pub async fn run(
    engine: &Engine,
    org: &Organisation,
    feed: &Feed,
    days: u32,
    session: &mut Session<'_>,
) -> Result<Exit, Failure> {
    let since = engine.now() - Duration::days(days.into());
    let versions = engine.mapping_versions(org, feed).await?;
    if session.out.json {
        return show_document(engine, org, feed, (days, since), &versions, session).await;
    }
    let stale = stale(engine, org, feed, (days, since)).await?;
    let watch = engine.watch_of(org, feed, engine.now()).await?;
    show(feed, org, watch.as_ref(), session);
    print_versions(&versions, session);
    print_stale(&stale, session);
    Ok(Exit::Done)
}

/// Claims not renewed for long, as they are shown.
struct Stale {
    days: u32,
    since: DateTime<Utc>,
    count: u64,
    unreadable: u64,
    /// The first of them.
    people: Vec<Claim>,
}

/// A claim that was not renewed: match key, first day, and since when payloads lack the person, where that is noted.
#[derive(Serialize)]
struct Claim {
    key: String,
    claimed_since: NaiveDate,
    missing_since: Option<NaiveDate>,
}

impl Claim {
    fn of(member: &Member, feed: &Feed) -> Claim {
        let claim = member.spells.iter().find(|s| s.feed == feed.no && s.to.is_none());
        Claim {
            key: member.key.clone(),
            claimed_since: claim.map(|c| date_of(c.from)).unwrap_or_default(),
            missing_since: member.word(feed.no, ABSENT).map(|w| date_of(w.since)),
        }
    }
}

/// How many of them are shown to people; the JSON has all.
const SHOWN_STALE: usize = 20;

async fn stale(
    engine: &Engine,
    org: &Organisation,
    feed: &Feed,
    (days, since): (u32, DateTime<Utc>),
) -> Result<Stale, Failure> {
    let mut people = Vec::new();
    let found = engine.not_renewed(org, feed, since, |member| {
        if people.len() < SHOWN_STALE {
            people.push(Claim::of(member, feed));
        }
    });
    let found = found.await?;
    Ok(Stale { days, since, count: found.count, unreadable: found.unreadable, people })
}

/// A feed as JSON, with every claim that was not renewed, written as it is found.
async fn show_document(
    engine: &Engine,
    org: &Organisation,
    feed: &Feed,
    (days, since): (u32, DateTime<Utc>),
    versions: &[MappingVersion],
    session: &mut Session<'_>,
) -> Result<Exit, Failure> {
    let watch = engine.watch_of(org, feed, engine.now()).await?;
    let mut head = document(feed, org, watch.as_ref());
    head["mapping_versions"] = json!(versions);
    let mut listing = Listing::begin(session.out, head.as_object().unwrap_or(&Map::new()), "not_renewed_claims");
    let found = engine.not_renewed(org, feed, since, |member| listing.item(&Claim::of(member, feed))).await;
    let found = match found {
        Ok(found) => found,
        Err(e) => return Ok(listing.fail(&e.into())),
    };
    let tail = json!({ "not_renewed": {
        "days": days, "since": since, "count": found.count, "unreadable_payloads": found.unreadable,
    }});
    listing.end(tail.as_object().unwrap_or(&Map::new()));
    Ok(Exit::Done)
}

fn print_stale(stale: &Stale, session: &mut Session<'_>) {
    if stale.count == 0 {
        return;
    }
    let since = stale.since.format("%Y-%m-%d");
    let n = grouped(stale.count);
    session.out.line(format_args!("\nClaims not renewed for {} days: {n}", stale.days));
    session.out.line(format_args!("  No payload of this feed that was accepted has named these people since {since}."));
    if stale.unreadable > 0 {
        let n = grouped(stale.unreadable);
        session
            .out
            .line(format_args!("  {n} payloads since then are not kept any more and may have named some of them."));
    }
    let mut table = Table::new(&["key", "claimed since", "missing since"]).indent(2);
    for claim in &stale.people {
        let missing = claim.missing_since.map_or("-".to_owned(), |d| d.to_string());
        table.row([claim.key.clone(), claim.claimed_since.to_string(), missing]);
    }
    table.print(session.out, true);
    if stale.count > SHOWN_STALE as u64 {
        session.out.line(format_args!("  … and {} more; --json lists all.", grouped(stale.count - SHOWN_STALE as u64)));
    }
}

fn show(feed: &Feed, org: &Organisation, watch: Option<&FeedWatch>, session: &mut Session<'_>) {
    let s = &feed.settings;
    session.out.line(session.out.paint("1", &s.name));
    let mut table = Table::new(&[]).indent(2);
    table.row(["mode", s.mode.map_or("none: every upload must say", Mode::word)]);
    table.row(["priority", &s.priority.to_string()]);
    table.row(["key prefix", s.key_prefix.as_deref().unwrap_or("none")]);
    table.row(["policy", s.policy.map_or("the organisation's", Policy::word)]);
    if let Some(told) = expected::told_expected(s, &org.settings.timezone) {
        table.row(["expected", &told]);
    }
    if let Some(watch) = watch {
        table.row(["last run", &expected::last_run(watch)]);
        table.row(["next run", &expected::next_run(watch)]);
    }
    table.row(["claims", &feed.claims.to_string()]);
    table.row(["last payload", &last_payload(feed)]);
    if let Some(baseline) = &feed.baseline {
        table.row(["rows last time", &baseline.rows.to_string()]);
        table.row(["columns last time", &baseline.columns.join(", ")]);
    }
    for (field, column) in &s.mapping {
        let what = match column.as_str() {
            "" => format!("{field} is in no column"),
            column => format!("{field} is in the column {column}"),
        };
        table.row(["mapping", &what]);
    }
    for (key, value) in &s.overrides {
        table.row(["override", &format!("{key}={value}")]);
    }
    table.print(session.out, false);
}

/// How many versions of the mapping are shown to people, the newest; the JSON has all.
const SHOWN_VERSIONS: usize = 10;

fn print_versions(versions: &[MappingVersion], session: &mut Session<'_>) {
    if versions.is_empty() {
        return;
    }
    session.out.line("\nVersions of the mapping");
    let mut table = Table::new(&["version", "since", "by", "what"]).right(&[0]).indent(2);
    for version in versions.iter().rev().take(SHOWN_VERSIONS) {
        let what: Vec<String> = version.mapping.iter().map(|(field, column)| format!("{field}={column}")).collect();
        let what = if what.is_empty() { "every column goes by its name".to_owned() } else { what.join(", ") };
        let at = to_the_second(version.at);
        let by = one_line(version.actor_name.as_ref().unwrap_or(&version.actor));
        table.row([version.version.to_string(), at, by, what]);
    }
    table.print(session.out, true);
}
