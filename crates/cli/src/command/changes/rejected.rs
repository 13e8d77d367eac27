//! `muster changes rejected`: what was rejected or undone, and is not proposed again.

use clap::Args;
use serde_json::{json, to_value};

use crate::{
    arguments::OfOrganisation,
    fail::{Exit, Failure},
    session::Session,
    table::Table,
};

/// List the changes that were rejected and are not proposed again
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster changes rejected --org acme")]
pub struct Rejected {
    #[command(flatten)]
    org: OfOrganisation,
}

/// Runs the command.
pub async fn run(rejected: Rejected, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&rejected.org.slug).await?;
    let remembered = engine.rejected(&org).await?;
    if session.out.json {
        session.out.document(&json!({ "rejected": remembered }));
        return Ok(Exit::Done);
    }
    if remembered.is_empty() {
        session.out.line("Nothing that was rejected is remembered.");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["key", "feed", "field", "value", "why", "since"]);
    for one in &remembered {
        let reason = to_value(one.reason)?;
        let field = match one.field.as_str() {
            "named" => "(joining the roster)",
            "absent" => "(leaving the roster)",
            field => field,
        };
        let value = one.value.as_deref().unwrap_or("");
        let since = one.since.to_string();
        table.row([&one.key, &one.feed, field, value, reason.as_str().unwrap_or_default(), &since]);
    }
    table.print(session.out, true);
    Ok(Exit::Done)
}
