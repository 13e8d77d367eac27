//! `muster changes overview`: change sets with counts by kind and by field, and who decided them when.

use clap::Args;
use muster_domain::fact::State;
use muster_engine::{Organisation, access::Names, lists::Which, projections::change_sets::Overview, review::Approvals};
use serde_json::{Value, json};

use super::list;
use crate::{
    arguments::{OfOrganisation, Waiting, state},
    behind,
    fail::{Exit, Failure},
    moment::to_the_second,
    progress::Progress,
    report::{first_approval, grouped},
    session::Session,
    table::one_line,
};

/// List change sets with counts by kind and by field, and who decided them when; newest first
///
/// The counts are of all changes of a change set, decided or not. Fields are counted of people already known.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster changes overview --org acme --state held\n  \
    muster changes overview --org acme --before 1204 --json")]
pub struct OverviewOf {
    #[command(flatten)]
    org: OfOrganisation,
    /// Only those in this state
    #[arg(long, value_parser = state(&list::STATES))]
    state: Option<State>,
    /// Only those completed before this event
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    waiting: Waiting,
}

/// Runs the command.
pub async fn run(command: OverviewOf, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&command.org.slug).await?;
    let progress = Progress::working(session.config.progress, "Reading the log");
    let which = Which { before: command.before, limit: command.limit, ..Which::all(command.state) };
    let page = engine.change_set_overviews(org.row.id, which, command.waiting.wait()).await;
    progress.done();
    let page = page?;
    let deciders: Vec<&str> = page.sets.iter().flat_map(|of| of.set.deciders()).collect();
    let names = engine.names(org.row.id, &deciders).await?;
    if session.out.json {
        let sets: Vec<Value> = page.sets.iter().map(|of| document(of, &org, &names)).collect();
        session.out.document(&json!({ "seq": page.seq, "change_sets": sets, "before": page.before }));
        return Ok(Exit::Done);
    }
    if page.sets.is_empty() {
        session.out.line("There are no change sets here.");
    }
    for of in &page.sets {
        show(of, &org, &names, session);
    }
    if let Some(before) = page.before {
        session.out.line(format_args!("\nThere is more: --before {before}"));
    }
    behind::say(&engine, org.row.id, page.seq, session).await?;
    Ok(Exit::Done)
}

fn document(of: &Overview, org: &Organisation, names: &Names) -> Value {
    let mut document = list::document(&of.set, org, names);
    document["kinds"] = json!(of.tally.kinds);
    document["fields"] = json!(of.tally.fields);
    document["erased"] = json!(of.erased);
    document["decided_at"] = json!(of.decided_at);
    document["reviewed"] = json!(of.reviewed);
    document
}

fn show(of: &Overview, org: &Organisation, names: &Names, session: &mut Session<'_>) {
    let set = &of.set;
    let (when, state) = (to_the_second(set.computed_at), list::state_of(set));
    let title = format!("{when}  {}  {state}  feed {}", set.id, org.feed_name(set.feed));
    session.out.line(session.out.paint("1", title));
    session.out.line(format_args!("  {}", list::what(set, org)));
    let fields = of.tally.fields.iter().map(|(field, tally)| format!("{field} {}", grouped(tally.touched())));
    let fields: Vec<String> = fields.collect();
    if !fields.is_empty() {
        session.out.line(format_args!("  fields: {}", fields.join(", ")));
    }
    if of.erased > 0 {
        session.out.line(format_args!("  {} of people who were forgotten", grouped(of.erased)));
    }
    for hold in &set.holds {
        session.out.line(format_args!("  {}: {}", hold.guard, one_line(&hold.detail)));
    }
    if let Some(first) = Approvals::of(set, names).awaited() {
        session.out.line(format_args!("  {}", first_approval(first)));
    }
    if let Some(at) = of.decided_at {
        let by =
            set.decided_by.as_deref().map_or("by policy".to_owned(), |by| format!("by {}", one_line(names.of(by))));
        session.out.line(session.out.paint("2", format_args!("  decided {} {by}", to_the_second(at))));
    }
}
