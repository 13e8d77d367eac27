//! `muster changes show`: a change set as a reviewer reads it.

use clap::Args;
use muster_domain::{documents::ChangeSet, fact::State, forgotten::Why, ids::MemberNo, tally::Tally};
use muster_engine::{
    Engine, Organisation,
    access::Names,
    originals::Original,
    review::{Approvals, Losing, Standing},
};
use serde_json::{Map, Value, json};

use super::{choice::Choice, list, page};
use crate::{
    arguments::OfOrganisation,
    fail::{Exit, Failure},
    moment::to_the_second,
    output::Listing,
    report,
    session::Session,
    table::{Table, one_line},
};

/// Show a change set: counts, counts by field, then each member with fields before and after
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster changes show --org acme\n  \
    muster changes show 0193a1 --org acme --kind remove --offset 50\n  \
    muster changes show 0193a1 --org acme --ndjson > changes.ndjson")]
pub struct Show {
    /// The change set, or the beginning of its id [default: the newest that waits]
    id: Option<String>,
    #[command(flatten)]
    org: OfOrganisation,
    /// A line of JSON for the change set and one for each change
    #[arg(long, conflicts_with = "json")]
    ndjson: bool,
    /// At most so many changes; 0 for all [default: 50, with --json or --ndjson all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Leave so many out at the beginning
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: usize,
    #[command(flatten)]
    choice: Choice,
}

/// Runs the command.
pub async fn run(show: Show, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&show.org.slug).await?;
    let set = engine.look(&org, show.id.as_deref()).await?;
    if session.out.json {
        return document(&show, &engine, &org, &set, session).await;
    } else if show.ndjson {
        stream(&show, &engine, &org, &set, session).await?;
    } else {
        page_of(&show, &engine, &org, &set, session).await?;
    }
    Ok(Exit::Done)
}

/// Which of the changes meant are within offset and limit.
struct Window {
    seen: usize,
    offset: usize,
    limit: usize,
}

impl Window {
    fn new(show: &Show, default: usize) -> Window {
        let limit = match show.limit.unwrap_or(default) {
            0 => usize::MAX,
            n => n,
        };
        Window { seen: 0, offset: show.offset, limit }
    }

    fn takes(&mut self) -> bool {
        self.seen += 1;
        self.seen > self.offset && self.seen - self.offset <= self.limit
    }
}

/// One document, the changes written as they are read: a million of them would not fit in memory.
async fn document(
    show: &Show,
    engine: &Engine,
    org: &Organisation,
    set: &ChangeSet,
    session: &mut Session<'_>,
) -> Result<Exit, Failure> {
    let (mut tally, mut window) = (Tally::default(), Window::new(show, 0));
    let (mut head, mut shown) = (whole(engine, org, set).await?, 0);
    head["original"] = match engine.original(org, set.upload).await? {
        Original::Destroyed(gone) => json!(gone),
        Original::Kept => "kept".into(),
        Original::None => Value::Null,
    };
    let mut listing = Listing::begin(session.out, head.as_object().unwrap_or(&Map::new()), "changes");
    let read = engine.each_change(org, set, |ordinal, change, standing| {
        if let Some(change) = change.filter(|_| standing != Standing::Dropped) {
            tally.add(change);
        }
        if change.is_none_or(|c| show.choice.shows(c)) && window.takes() {
            shown += 1;
            listing.item(&page::document(ordinal, change, standing));
        }
    });
    if let Err(e) = read.await {
        return Ok(listing.fail(&e.into()));
    }
    let tail = json!({ "kinds": tally.kinds, "fields": tally.fields, "shown": shown, "matching": window.seen });
    listing.end(tail.as_object().unwrap_or(&Map::new()));
    Ok(Exit::Done)
}

/// The change set as in lists, and how many people approving what waits of it makes ineligible.
async fn whole(engine: &Engine, org: &Organisation, set: &ChangeSet) -> Result<Value, Failure> {
    let names = engine.names(org.row.id, &set.deciders()).await?;
    let mut document = list::document(set, org, &names);
    let Losing { removals, taken_off } = engine.would_lose(org, set).await?;
    (document["removals"], document["taken_off"]) = (removals.into(), taken_off.into());
    Ok(document)
}

async fn stream(
    show: &Show,
    engine: &Engine,
    org: &Organisation,
    set: &ChangeSet,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let mut window = Window::new(show, 0);
    session.out.document(&whole(engine, org, set).await?);
    engine
        .each_change(org, set, |ordinal, change, standing| {
            if !session.out.is_closed() && change.is_none_or(|c| show.choice.shows(c)) && window.takes() {
                session.out.document(&page::document(ordinal, change, standing));
            }
        })
        .await?;
    Ok(())
}

async fn page_of(
    show: &Show,
    engine: &Engine,
    org: &Organisation,
    set: &ChangeSet,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let (mut tally, mut window) = (Tally::default(), Window::new(show, 50));
    let mut shown: Vec<page::Entry> = Vec::new();
    let first = set.first_approval.as_ref().filter(|_| set.awaits_second_approver()).map(|f| &f.approved.selection);
    let first = first.filter(|selection| **selection != set.waiting());
    engine
        .each_change(org, set, |ordinal, change, standing| {
            if let Some(change) = change.filter(|_| standing != Standing::Dropped) {
                tally.add(change);
            }
            if change.is_none_or(|c| show.choice.shows(c)) && window.takes() {
                let approved_by_one = first.is_some_and(|selection| selection.contains(ordinal));
                shown.push(page::Entry::new(change, standing, approved_by_one));
            }
        })
        .await?;
    let names = engine.names(org.row.id, &set.deciders()).await?;
    head(org, set, &names, session);
    if let Original::Destroyed(gone) = engine.original(org, set.upload).await? {
        let why = match gone.why {
            Why::Forgotten => "because somebody in it was forgotten",
            Why::Retention => "by retention",
        };
        session.out.line(format_args!("its original was destroyed on {} {why}", gone.at.format("%Y-%m-%d")));
    }
    report::print_counts(&set.counts, session.out);
    report::print_holds(&set.holds, set.state, session.out);
    let losing = engine.would_lose(org, set).await?;
    report::print_losing(losing, set.asks_for_removals(), session.out);
    report::print_first_approval(&Approvals::of(set, &names), session.out);
    if tally.unproven > 0 {
        let n = report::grouped(tally.unproven);
        session.out.line(format_args!(
            "\n{n} absences are not proven by the payload; approving takes them only by --only or --kind."
        ));
    }
    by_field(&tally, session);
    let all = window.seen;
    let last = show.offset + shown.len();
    match (shown.is_empty(), all) {
        (true, 0) => session.out.line("\nNo change to the roster is meant."),
        (true, _) => {
            session.out.line(format_args!("\nThere are {all} changes, and none past --offset {}.", show.offset))
        }
        _ => session.out.line(format_args!("\nChanges {} to {last} of {all}", show.offset + 1)),
    }
    let numbers: Vec<MemberNo> = shown.iter().filter_map(|e| e.no).collect();
    let members = engine.members(org.row.id, &numbers).await?;
    let page = page::Page { members: &members, hidden: &show.choice.except_fields, out: session.out };
    let text = page.text(&shown)?;
    session.out.text(&text);
    next(show, org, set, (last, all), session);
    Ok(())
}

fn head(org: &Organisation, set: &ChangeSet, names: &Names, session: &mut Session<'_>) {
    let title = session.out.paint("1", format_args!("change set {}", set.id));
    session.out.line(format_args!("{title}  {}", list::state_of(set)));
    let when = to_the_second(set.computed_at);
    let feed = org.feed_name(set.feed);
    session.out.line(format_args!("{when}, feed {feed}, channel {}, mode {}", set.channel, set.mode));
    if let Some(read) = &set.read_as {
        session.out.line(format_args!("read as {read}"));
    }
    session.out.line(format_args!("digest {}", set.digest));
    let decided =
        [(set.applied.len(), "applied"), (set.rejected.len(), "rejected"), (set.dropped.len(), "dropped out")];
    let decided: Vec<String> = decided.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if !decided.is_empty() {
        let by = set
            .decided_by
            .as_deref()
            .map(|by| format!(", last decided by {}", one_line(names.of(by))))
            .unwrap_or_default();
        let waiting = set.waiting().len();
        session.out.line(format_args!("{} changes: {waiting} waiting, {}{by}", set.changes, decided.join(", ")));
    }
}

fn by_field(tally: &Tally, session: &mut Session<'_>) {
    if tally.fields.is_empty() {
        return;
    }
    session.out.line("\nBy field, of people already known");
    let mut table = Table::new(&["field", "changed", "filled", "blanked"]).right(&[1, 2, 3]).indent(2);
    for (field, t) in &tally.fields {
        let number = |n: u64| if n == 0 { "-".to_owned() } else { report::grouped(n) };
        table.row([field.clone(), number(t.changed), number(t.filled), number(t.blanked)]);
    }
    table.print(session.out, true);
}

fn next(show: &Show, org: &Organisation, set: &ChangeSet, (last, all): (usize, usize), session: &mut Session<'_>) {
    if last < all {
        session.out.line(format_args!("\n… and {} more: --offset {last} shows the next, --limit 0 all.", all - last));
    }
    if matches!(set.state, State::Held | State::PartlyApplied) && show.choice.only.is_empty() {
        report::print_decisions(set.id, Some(&set.digest), &set.holds, &org.row.slug, session);
    }
}

/// How far a change is decided, in a word.
pub fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Waiting => "waiting",
        Standing::Applied => "applied",
        Standing::Rejected => "rejected",
        Standing::Dropped => "dropped",
        Standing::Erased => "erased",
    }
}
