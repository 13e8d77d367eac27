//! `muster members search`: people found by words and filters, in order, a page at a time.

use chrono::NaiveDate;
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use muster_domain::{
    directory::{Query, Sort, Who},
    field::FieldId,
    ids::{FeedNo, date_of, day_of},
};
use muster_engine::{
    Organisation,
    projections::directory::{FoundMember, SearchRequest, SearchResult},
};
use serde_json::{Value, json};

use super::person;
use crate::{
    arguments::{OfOrganisation, Waiting, calendar_day},
    behind,
    fail::{Exit, Failure},
    progress::Progress,
    report::grouped,
    session::Session,
    table::Table,
};

/// Find people by words and filters
///
/// Each word must stand somewhere in a name, an e-mail, a match key of now or before, an employee id or a department,
/// whatever the case and accents. Without words everybody is found whom the filters let through.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster members search 'zoe sales' --org acme\n  \
    muster members search --org acme --who not_eligible --on 2026-03-20 --sort end_date")]
pub struct Find {
    /// Words
    #[arg(default_value = "")]
    text: String,
    #[command(flatten)]
    org: OfOrganisation,
    /// How they stand on the day
    #[arg(long, default_value = "present", value_parser = who())]
    who: Who,
    /// The day asked about [default: today, in the organisation's time zone]
    #[arg(long, value_name = "DATE", value_parser = calendar_day)]
    on: Option<NaiveDate>,
    /// Only of this department
    #[arg(long, value_name = "NAME")]
    department: Option<String>,
    /// Only at this location
    #[arg(long, value_name = "NAME")]
    location: Option<String>,
    /// Only with this employment status
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only whom this feed claims; `hand` for those added by hand
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// In which order
    #[arg(long, default_value = "name", value_parser = sort())]
    sort: Sort,
    /// From the last to the first
    #[arg(long)]
    descending: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// Behind this cursor, as the page before gave it
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

fn who() -> impl TypedValueParser<Value = Who> {
    PossibleValuesParser::new(Who::ALL.iter().map(|w| w.word())).try_map(|w| Who::from_word(&w).ok_or("no such word"))
}

fn sort() -> impl TypedValueParser<Value = Sort> {
    PossibleValuesParser::new(Sort::ALL.iter().map(|w| w.word())).try_map(|w| Sort::from_word(&w).ok_or("no such word"))
}

/// Runs the command.
pub async fn run(find: Find, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&find.org.slug).await?;
    let feed = find.feed.as_deref().map(|name| feed(&org, name)).transpose()?;
    let request = SearchRequest {
        query: Query {
            only: Default::default(),
            text: find.text,
            who: find.who,
            department: find.department,
            location: find.location,
            status: find.status,
            feed,
            sort: find.sort,
            descending: find.descending,
        },
        on: find.on.map(day_of),
        limit: find.limit.into(),
        after: find.after,
        wait: find.waiting.wait(),
    };
    let progress = Progress::working(session.config.progress, "Reading the log");
    let found = engine.search(&org, &request).await;
    progress.done();
    let found = found?;
    if session.out.json {
        session.out.document(&document(&found, &org));
    } else {
        print(&found, session);
        behind::say(&engine, org.row.id, found.seq, session).await?;
    }
    Ok(Exit::Done)
}

fn feed(org: &Organisation, name: &str) -> Result<FeedNo, Failure> {
    if name == "hand" {
        return Ok(FeedNo::HAND);
    }
    let found = org.feeds.iter().find(|feed| feed.settings.name == name);
    let names: Vec<&str> = org.feeds.iter().map(|feed| feed.settings.name.as_str()).collect();
    found
        .map(|feed| feed.no)
        .ok_or_else(|| Failure::wrong(format!("There is no feed {name}; there are: hand, {}.", names.join(", "))))
}

fn document(found: &SearchResult, org: &Organisation) -> Value {
    let members: Vec<Value> = found.members.iter().map(|found| member(found, org)).collect();
    json!({
        "seq": found.seq,
        "on": date_of(found.on),
        "total": found.total,
        "members": members,
        "next": found.next,
    })
}

fn member(found: &FoundMember, org: &Organisation) -> Value {
    let mut document = person::document(&found.member, org);
    document["eligible"] = found.answer.eligible.into();
    document["reason"] = json!(found.answer.reason);
    document
}

fn print(found: &SearchResult, session: &mut Session<'_>) {
    if found.total == 0 {
        session.out.line("Nobody is found.");
        return;
    }
    let mut table = Table::new(&["key", "name", "email", "department", "eligible", "until"]);
    for FoundMember { member, answer } in &found.members {
        let value = |field| member.values.get(field).unwrap_or_default();
        let (email, department) = (value(FieldId::EMAIL), value(FieldId::DEPARTMENT));
        let eligible = if answer.eligible { "yes" } else { answer.reason.word() };
        let until = answer.until.filter(|_| answer.eligible).map(|day| date_of(day).to_string()).unwrap_or_default();
        table.row([&member.key, &person::name(member), email, department, eligible, &until]);
    }
    table.print(session.out, true);
    let (shown, total) = (grouped(found.members.len() as u64), grouped(found.total));
    match &found.next {
        Some(next) => session.out.line(format_args!("\n{shown} of {total}; the next with --after {next}")),
        None => session.out.line(format_args!("\n{total} in all")),
    }
}
