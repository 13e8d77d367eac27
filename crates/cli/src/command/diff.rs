//! `muster diff`: who joined, who left and what changed between two moments of a roster.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use muster_engine::{
    Organisation,
    moments::{Counted, Difference, Field, Moment, Moments, Named, Wanted, What},
};
use serde_json::{Map, Value, json};

use crate::{
    arguments::OfOrganisation,
    command::members::{check_field, person},
    fail::{Exit, Failure},
    moment::to_the_second,
    output::{Listing, Output},
    progress::Progress,
    report::grouped,
    session::Session,
    table::one_line,
};

/// Compare the roster at two moments
///
/// A moment is a time (2026-03-20T08:00:00Z), a day (2026-03-20, in the organisation's time zone: the first from its
/// beginning, the second to its end), a roster version (12 or v12), an event (event:340) or `now`. Claims, and what feeds
/// said beside the roster, are not compared. The exit code is 0 whether or not anything differs; --exit-code asks for 3
/// if it does.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster diff 2026-03-01 2026-03-31 --org acme\n  muster diff 11 12 --org acme\n  \
    muster diff 2026-03-20T08:00:00Z --org acme --only changed --field department --json")]
pub struct Diff {
    /// The first moment
    #[arg(value_name = "FROM", value_parser = Named::from_str)]
    from: Named,
    /// The second
    #[arg(value_name = "TO", value_parser = Named::from_str, default_value = "now")]
    to: Named,
    #[command(flatten)]
    org: OfOrganisation,
    /// Only this person, by present or former match key; may be repeated
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// Only people of whom this field differs; may be repeated
    #[arg(long, value_name = "FIELD")]
    field: Vec<String>,
    /// Only these; may be repeated
    #[arg(long, value_enum, value_name = "WHICH")]
    only: Vec<Only>,
    /// Only the counts
    #[arg(long)]
    summary: bool,
    /// Exit with 3 if anything differs
    #[arg(long)]
    exit_code: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    Joined,
    Left,
    Changed,
}

impl Only {
    fn what(self) -> What {
        match self {
            Only::Joined => What::Joined,
            Only::Left => What::Left,
            Only::Changed => What::Changed,
        }
    }
}

/// What is counted, as JSON.
fn counts(counted: &Counted) -> Map<String, Value> {
    Map::from_iter([("counts".to_owned(), json!(counted)), ("fields".to_owned(), json!(counted.fields))])
}

impl Diff {
    fn wanted(&self) -> Wanted {
        Wanted {
            keys: self.key.clone(),
            fields: self.field.clone(),
            only: self.only.iter().map(|only| only.what()).collect(),
            ..Wanted::default()
        }
    }
}

/// Runs the command.
pub async fn run(diff: Diff, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(&diff.org.slug).await?;
    diff.field.iter().try_for_each(|field| check_field(&org, field))?;
    let progress = Progress::working(session.config.progress, "Reading the log");
    let moments = engine.moments(&org, diff.from, diff.to).await;
    progress.done();
    let moments = moments?;
    let counted = match session.out.json {
        true => as_document(&diff, &moments, &org, session.out)?,
        false => for_people(&diff, &moments, &org, session.out)?,
    };
    Ok(if diff.exit_code && counted.all() > 0 { Exit::Waiting } else { Exit::Done })
}

fn as_document(diff: &Diff, moments: &Moments, org: &Organisation, out: &mut Output) -> Result<Counted, Failure> {
    let (mut counted, wanted) = (Counted::default(), diff.wanted());
    let head = Map::from_iter([("from".to_owned(), json!(moments.from)), ("to".to_owned(), json!(moments.to))]);
    let mut listing = Listing::begin(out, &head, "people");
    moments.each(|difference| {
        if let Some(fields) = wanted.of(&difference, org) {
            counted.add(difference.what, &fields);
            if !diff.summary && !listing.is_closed() {
                listing.item(&document(&difference, &fields, org));
            }
        }
        Ok(())
    })?;
    listing.end(&counts(&counted));
    Ok(counted)
}

fn document(difference: &Difference, fields: &[Field], org: &Organisation) -> Value {
    let pairs = fields.iter().map(|(name, from, to)| ((*name).to_owned(), json!({ "from": from, "to": to })));
    let pairs: Map<String, Value> = pairs.collect();
    let member = difference.member();
    let mut document = json!({
        "what": difference.what, "key": member.map(|m| &m.key), "id": member.map(|m| m.uuid), "changes": pairs,
    });
    if difference.what != What::Changed
        && let (Some(object), Some(member)) = (document.as_object_mut(), member)
    {
        object.remove("changes");
        object.insert("fields".to_owned(), person::values(member, org));
    }
    document
}

fn for_people(diff: &Diff, moments: &Moments, org: &Organisation, out: &mut Output) -> Result<Counted, Failure> {
    let (mut counted, wanted) = (Counted::default(), diff.wanted());
    out.line(out.paint("1", format_args!("from  {}", said(&moments.from))));
    out.line(out.paint("1", format_args!("to    {}", said(&moments.to))));
    out.line("");
    moments.each(|difference| {
        if let Some(fields) = wanted.of(&difference, org) {
            counted.add(difference.what, &fields);
            if !diff.summary && !out.is_closed() {
                print(&difference, &fields, out);
            }
        }
        Ok(())
    })?;
    if counted.all() == 0 {
        out.line("No difference.");
        return Ok(counted);
    }
    if !diff.summary {
        out.line("");
    }
    let (joined, left, changed) = (grouped(counted.joined), grouped(counted.left), grouped(counted.changed));
    out.line(format_args!("{joined} joined, {left} left, {changed} changed"));
    let mut fields: Vec<_> = counted.fields.iter().collect();
    fields.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    for (name, n) in fields {
        out.line(format_args!("  {name:<18} {}", grouped(*n)));
    }
    Ok(counted)
}

fn said(moment: &Moment) -> String {
    let Some(at) = moment.at else { return "before the first event: nobody".to_owned() };
    format!(
        "roster version {}, event {} of {}: {} members",
        moment.roster_version,
        moment.event,
        to_the_second(at),
        grouped(moment.members)
    )
}

fn print(difference: &Difference, fields: &[Field], out: &mut Output) {
    let Some(member) = difference.member() else { return };
    let (sign, colour) = match difference.what {
        What::Joined => ("+", "32"),
        What::Left => ("-", "31"),
        What::Changed => ("~", "33"),
    };
    let line = format!("{sign} {}  {}", one_line(&member.key), person::name(member));
    out.line(out.paint(colour, line.trim_end()));
    let shown = |value: &Option<&str>| value.map_or("(blank)".to_owned(), one_line);
    for (name, from, to) in fields {
        out.line(format_args!("    {name:<18} {} → {}", shown(from), shown(to)));
    }
}
