//! `muster changes list`: change sets, newest first.

use clap::Args;
use muster_domain::{documents::ChangeSet, fact::State};
use muster_engine::{Organisation, access::Names, lists::Which, review::Approvals};
use serde_json::{Value, json};

use crate::{
    arguments::{OfOrganisation, state},
    fail::{Exit, Failure},
    moment::to_the_second,
    report,
    session::Session,
    table::Table,
};

/// List change sets, newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster changes list --org acme --state held\n  \
    muster changes list --org acme --awaiting-second")]
pub struct List {
    #[command(flatten)]
    org: OfOrganisation,
    /// Only those in this state
    #[arg(long, value_parser = state(&STATES))]
    state: Option<State>,
    /// Only those that one person approved and somebody else must approve too
    #[arg(long)]
    awaiting_second: bool,
    /// At most so many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

/// Runs the command.
pub async fn run(list: List, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&list.org.slug).await?;
    let mut sets = match list.awaiting_second {
        true => engine.awaiting_second(&org, Which::all(list.state)).await?,
        false => engine.change_sets(&org, Which::all(list.state)).await?,
    };
    let all = sets.len();
    if list.limit > 0 {
        sets.truncate(list.limit);
    }
    if session.out.json {
        let deciders: Vec<&str> = sets.iter().flat_map(ChangeSet::deciders).collect();
        let names = engine.names(org.row.id, &deciders).await?;
        let sets: Vec<Value> = sets.iter().map(|s| document(s, &org, &names)).collect();
        session.out.document(&json!({ "change_sets": sets, "total": all }));
        return Ok(Exit::Done);
    }
    if sets.is_empty() {
        session.out.line("There are no change sets here.");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["change set", "state", "feed", "channel", "when", "what"]);
    for set in &sets {
        table.row([
            set.id.to_string(),
            state_of(set),
            org.feed_name(set.feed).to_owned(),
            set.channel.to_string(),
            to_the_second(set.computed_at),
            what(set, &org),
        ]);
    }
    table.print(session.out, true);
    if all > sets.len() {
        session.out.line(format_args!("… and {} older ones; --limit 0 lists all.", all - sets.len()));
    }
    Ok(Exit::Done)
}

/// What it has come to, in words.
pub fn state_of(set: &ChangeSet) -> String {
    let awaits = if set.awaits_second_approver() { ", approved by 1 of 2" } else { "" };
    format!("{}{awaits}", set.state.word().replace('_', " "))
}

/// What a change set does, in a few words.
pub fn what(set: &ChangeSet, org: &Organisation) -> String {
    if let Some(feeds) = set.hands_over {
        let claims = report::grouped(set.changes.into());
        return format!("handover of {claims}: {} to {}", org.feed_name(feeds.from), org.feed_name(feeds.to));
    }
    let undo = if set.undoes.is_empty() { "" } else { "undo: " };
    format!("{undo}{}", report::in_words(&set.counts))
}

/// A change set as JSON, without its changes.
pub fn document(set: &ChangeSet, org: &Organisation, names: &Names) -> Value {
    let Approvals { awaits_second_approver, approvals } = Approvals::of(set, names);
    json!({
        "change_set_id": set.id,
        "upload_id": set.upload,
        "state": set.state,
        "digest": set.digest,
        "feed": org.feed_name(set.feed),
        "channel": set.channel,
        "mode": set.mode,
        "computed_at": set.computed_at,
        "changes": set.changes,
        "waiting": set.waiting().len(),
        "applied": set.applied.len(),
        "rejected": set.rejected.len(),
        "dropped": set.dropped.len(),
        "counts": set.counts,
        "holds": set.holds,
        "awaits_second_approver": awaits_second_approver,
        "approvals": approvals,
        "figures": set.figures,
        "roster_version": set.roster_version,
        "settings_version": set.policy_version,
        "read_as": set.read_as,
        "undoes": set.undoes,
        "hands_over": set.hands_over.map(|f| json!({ "from": org.feed_name(f.from), "to": org.feed_name(f.to) })),
        "decided_by": set.decided_by,
        "decided_by_name": set.decided_by.as_deref().and_then(|by| names.known(by)),
    })
}

/// The states by which change sets are listed.
pub const STATES: [State; 7] = [
    State::Held,
    State::PartlyApplied,
    State::Applied,
    State::Rejected,
    State::Superseded,
    State::NoChanges,
    State::Refused,
];
