//! `muster members set|add|remove|rekey|link`: one person edited by hand, which is a change set too.

use clap::Args;
use muster_engine::hand::Edit;

use crate::{
    arguments::{Ask, OfOrganisation, pair},
    fail::{Exit, Failure},
    report,
    session::Session,
};

/// Set fields of a member; they stay until the feed changes its mind
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster members set 1042 department=Sales job_title= --org acme")]
pub struct Set {
    /// The member's match key
    key: String,
    /// Fields and values; nothing after the = clears
    #[arg(required = true, value_name = "FIELD=VALUE", value_parser = pair)]
    fields: Vec<(String, String)>,
    #[command(flatten)]
    how: How,
}

/// Add a person by hand
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster members add employee_id=2001 first_name=Ada last_name=Byron --org acme")]
pub struct Add {
    /// Fields and values, the match key among them
    #[arg(required = true, value_name = "FIELD=VALUE", value_parser = pair)]
    fields: Vec<(String, String)>,
    #[command(flatten)]
    how: How,
}

/// Take a person off the roster, whatever feeds say
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster members remove 1042 --org acme")]
pub struct Remove {
    /// The member's match key
    key: String,
    #[command(flatten)]
    how: How,
}

/// Give a member another match key; the old one stays as an alias
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster members rekey 1042 1042-A --org acme")]
pub struct Rekey {
    /// The member's match key
    key: String,
    /// The match key from now on
    new_key: String,
    #[command(flatten)]
    how: How,
}

/// Say that two members are one person
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster members link 1042 C-77 --org acme")]
pub struct Link {
    /// Who stays
    key: String,
    /// Who is the same person, and is joined to the first
    other: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    #[command(flatten)]
    org: OfOrganisation,
    #[command(flatten)]
    ask: Ask,
}

/// Runs `set`.
pub async fn set(command: Set, session: &mut Session<'_>) -> Result<Exit, Failure> {
    edit(Edit::Set { key: command.key.into(), fields: command.fields }, &command.how, session).await
}

/// Runs `add`.
pub async fn add(command: Add, session: &mut Session<'_>) -> Result<Exit, Failure> {
    edit(Edit::Add { fields: command.fields }, &command.how, session).await
}

/// Runs `remove`.
pub async fn remove(command: Remove, session: &mut Session<'_>) -> Result<Exit, Failure> {
    edit(Edit::Remove { key: command.key.into() }, &command.how, session).await
}

/// Runs `rekey`.
pub async fn rekey(command: Rekey, session: &mut Session<'_>) -> Result<Exit, Failure> {
    edit(Edit::Rekey { key: command.key.into(), new_key: command.new_key }, &command.how, session).await
}

/// Runs `link`.
pub async fn link(command: Link, session: &mut Session<'_>) -> Result<Exit, Failure> {
    edit(Edit::Link { key: command.key.into(), other: command.other.into() }, &command.how, session).await
}

async fn edit(edit: Edit, how: &How, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let report = engine.by_hand(&how.org.slug, edit, how.ask.asked()).await?;
    report::print(&report, &how.org.slug, session);
    Ok(Exit::of(report.state))
}
