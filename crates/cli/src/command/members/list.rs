//! `muster members list` and `muster members show`: who is on the roster, now or at another time.

use clap::Args;
use muster_domain::{field::FieldId, member::Member};
use muster_engine::members::At;
use serde_json::{Value, json};

use super::{When, person};
use crate::{
    arguments::OfOrganisation,
    fail::{Exit, Failure},
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

/// Runs `list`.
pub async fn list(list: List, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&list.org.slug).await?;
    let mut members = engine.roster(&org, list.when.at()).await?;
    members.retain(|m| list.former || m.is_listed());
    let limit = match list.limit.unwrap_or(if session.out.json { 0 } else { 50 }) {
        0 => usize::MAX,
        n => n,
    };
    let shown = members.iter().skip(list.offset).take(limit);
    if session.out.json {
        let shown: Vec<Value> = shown.map(|m| person::document(m, &org)).collect();
        session.out.document(&json!({ "members": shown, "total": members.len() }));
        return Ok(Exit::Done);
    }
    if members.is_empty() {
        session.out.line("Nobody is on the roster.");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["key", "name", "email", "department", "status"]);
    let mut last = list.offset;
    for member in shown {
        last += 1;
        let value = |field| member.values.get(field).unwrap_or_default();
        let (email, department) = (value(FieldId::EMAIL), value(FieldId::DEPARTMENT));
        table.row([&member.key, &person::name(member), email, department, value(FieldId::EMPLOYMENT_STATUS)]);
    }
    table.print(session.out, true);
    let all = grouped(members.len() as u64);
    match last < members.len() {
        true => {
            session.out.line(format_args!("\n{} to {last} of {all}; --offset {last} shows the next.", list.offset + 1))
        }
        false => session.out.line(format_args!("\n{all} people")),
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
        at => then(engine.roster(&org, at).await?, &now, &show.key)?,
    };
    if session.out.json {
        session.out.document(&person::document(&member, &org));
    } else {
        person::print(&member, &org, session);
    }
    Ok(Exit::Done)
}

/// The same person on a roster of another time.
fn then(roster: Vec<Member>, now: &Member, key: &str) -> Result<Member, Failure> {
    let found = roster.into_iter().find(|m| m.uuid == now.uuid);
    found.ok_or_else(|| Failure::new("not_found", Exit::WrongUse, format!("{key} was not on the roster then.")))
}
