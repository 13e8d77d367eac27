//! `muster changes approve` and `muster changes reject`: what a reviewer decides.

use clap::Args;
use muster_engine::review::Approval;

use super::choice::Choice;
use crate::{
    arguments::OfOrganisation,
    fail::{Exit, Failure},
    report,
    session::Session,
};

/// Approve a change set that waits, or part of it
///
/// What is not meant goes on waiting, unless it is rejected in the same breath. If the roster has moved on since, what
/// still holds is applied; if that is not what the digest stands for, nothing is (exit code 5).
///
/// Where the organisation asks for a second approver (setting review.second_approver), the first approval applies nothing
/// (exit code 3) until somebody else approves the same: the same digest and the same choice.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster changes approve --org acme\n  \
    muster changes approve 0193a1 --org acme --except 1042 --reject-rest --comment 'still employed'\n  \
    muster changes approve 0193a1 --org acme --digest 5f0c… --confirm-removals 128")]
pub struct Approve {
    /// The change set, or the beginning of its id [default: the newest that waits]
    id: Option<String>,
    #[command(flatten)]
    org: OfOrganisation,
    /// Reject in the same breath whatever is not approved
    #[arg(long)]
    reject_rest: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// The digest of what was seen [default: the current one]
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// How many people this makes ineligible, where the guard on removals tripped: `muster changes show` says it
    #[arg(long, value_name = "N")]
    confirm_removals: Option<u64>,
    #[command(flatten)]
    choice: Choice,
}

/// Reject a change set that waits, or part of it
///
/// Rejected as a whole, with no choice, the payload counts as wrong and nothing is remembered. Rejected in part, the
/// same change is not proposed again until its value changes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster changes reject --org acme --comment 'another company'\n  \
    muster changes reject 0193a1 --org acme --only 1042 1043")]
pub struct Reject {
    /// The change set, or the beginning of its id [default: the newest that waits]
    id: Option<String>,
    #[command(flatten)]
    org: OfOrganisation,
    /// Why
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    #[command(flatten)]
    choice: Choice,
}

/// Runs `approve`.
pub async fn approve(command: Approve, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let approval = Approval {
        choice: command.choice.into_engine(),
        reject_rest: command.reject_rest,
        digest: command.digest,
        confirm_removals: command.confirm_removals,
        comment: command.comment,
    };
    let engine = session.engine().await?;
    let report = engine.approve(&command.org.slug, command.id.as_deref(), approval).await?;
    report::print(&report, &command.org.slug, session);
    Ok(Exit::of(report.state))
}

/// Runs `reject`.
pub async fn reject(command: Reject, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let choice = command.choice.into_engine();
    let engine = session.engine().await?;
    let report = engine.reject(&command.org.slug, command.id.as_deref(), choice, command.comment).await?;
    report::print(&report, &command.org.slug, session);
    Ok(Exit::of(report.state))
}
