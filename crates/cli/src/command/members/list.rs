//! `muster members list` and `muster members show`: who is on the roster, now or at another time.

use clap::Args;
use muster_domain::{field::FieldId, member::Member};
use muster_engine::members::At;
use serde_json::Map;

use super::{When, person};
use crate::{
    arguments::OfOrganisation,
    fail::{Exit, Failure},
    output::Listing,
    report::grouped,
    session::Session,
    table::Table,
};

/// List the members on the roster
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster members list --org acme\n  \
    muster members list --org acme --at 2026-03-20T08:00:00Z --limit 0")]
pub struct List {
    #[command(flatten)]
    org: OfOrganisation,
    #[command(flatten)]
    when: When,
    /// Former members too
    #[arg(long)]
    former: bool,
    /// At most so many; 0 for all [default: 50, with --json all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Leave so many out at the beginning
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: usize,
}

/// Show all that is known of a member
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster members show 1042 --org acme")]
pub struct Show {
    /// The member's match key, or a former one
    key: String,
    #[command(flatten)]
    org: OfOrganisation,
    #[command(flatten)]
    when: When,
}

/// Rows of the table that are held back to line them up.
const BLOCK: usize = 1_000;

/// Which of the members on the roster are shown.
struct Window {
    former: bool,
    offset: usize,
    limit: usize,
    /// How many there are in all.
    all: usize,
}

impl Window {
    fn takes(&mut self, member: &Member) -> bool {
        if !self.former && !member.is_listed() {
            return false;
        }
        self.all += 1;
        self.all > self.offset && self.all - self.offset <= self.limit
    }
}

/// Runs `list`.
pub async fn list(list: List, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&list.org.slug).await?;
    let roster = engine.roster_at(&org, list.when.at()).await?;
    let limit = match list.limit.unwrap_or(if session.out.json { 0 } else { 50 }) {
        0 => usize::MAX,
        n => n,
    };
    let mut window = Window { former: list.former, offset: list.offset, limit, all: 0 };
    if session.out.json {
        let mut listing = Listing::begin(session.out, &Map::new(), "members");
        let read = roster.each(|member| {
            if window.takes(&member) && !listing.is_closed() {
                listing.item(&person::document(&member, &org));
            }
        });
        if let Err(e) = read.await {
            return Ok(listing.fail(&e.into()));
        }
        listing.end(&Map::from_iter([("total".to_owned(), window.all.into())]));
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["key", "name", "email", "department", "status"]);
    let (mut rows, mut printed) = (0, false);
    roster
        .each(|member| {
            if !window.takes(&member) || session.out.is_closed() {
                return;
            }
            let value = |field| member.values.get(field).unwrap_or_default();
            let (email, department) = (value(FieldId::EMAIL), value(FieldId::DEPARTMENT));
            table.row([&member.key, &person::name(&member), email, department, value(FieldId::EMPLOYMENT_STATUS)]);
            rows += 1;
            if rows % BLOCK == 0 {
                std::mem::replace(&mut table, Table::new(&[])).print(session.out, !printed);
                printed = true;
            }
        })
        .await?;
    if window.all == 0 {
        session.out.line("Nobody is on the roster.");
        return Ok(Exit::Done);
    }
    if rows > 0 {
        table.print(session.out, !printed);
    }
    let (last, all) = (list.offset + rows, grouped(window.all as u64));
    match (rows, last < window.all) {
        (0, _) => session.out.line(format_args!("\nThere are {all} people, and none past --offset {}.", list.offset)),
        (_, true) => {
            session.out.line(format_args!("\n{} to {last} of {all}; --offset {last} shows the next.", list.offset + 1))
        }
        _ => session.out.line(format_args!("\n{all} people")),
    }
    Ok(Exit::Done)
}

/// Runs `show`.
pub async fn show(show: Show, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&show.org.slug).await?;
    let now = engine.member(&org, &show.key).await?;
    let member = match show.when.at() {
        At::Now => now,
        at => engine.member_at(&org, at, now.uuid).await?.ok_or_else(|| {
            Failure::new("not_found", Exit::WrongUse, format!("{} was not on the roster then.", show.key))
        })?,
    };
    if session.out.json {
        session.out.document(&person::document(&member, &org));
    } else {
        person::print(&member, &org, session);
    }
    Ok(Exit::Done)
}
