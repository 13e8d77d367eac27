//! `muster replay LOG --policy FILE`: every past upload judged by another policy, beside what happened.

use std::path::Path;

use muster_domain::{
    fact::State,
    guard::Hold,
    replay::{
        log::each_event,
        trial::{OtherPolicy, PolicyError, Summary, Trial, Tried, Verdict},
    },
};
use serde_json::{Map, Value, json};
use toml::Table;

use super::{Replay, nothing_in, of_log, open};
use crate::{
    fail::{Exit, Failure},
    output::Listing,
    report::grouped,
    session::Session,
    table::one_line,
};

/// Runs the command.
pub fn run(replay: &Replay, file: &Path, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let mut trial = Trial::new(read(file)?);
    // Opened before anything is said.
    let reader = open(&replay.log)?;
    let until = replay.until.unwrap_or(u64::MAX);
    if session.out.json {
        let mut listing = Listing::begin(session.out, &Map::new(), "uploads");
        let judged = each_event(reader, |event| {
            if trial.last_seq() >= until || listing.is_closed() {
                return Ok(false);
            }
            trial.take(event)?.iter().for_each(|one| listing.item(&document(one)));
            Ok(true)
        });
        let judged = judged.map_err(|e| of_log(&replay.log, e)).and_then(|()| check(replay, file, &trial));
        if let Err(failure) = judged {
            return Ok(listing.fail(&failure));
        }
        let mut tail = Map::new();
        tail.insert("summary".to_owned(), json!(trial.summary()));
        listing.end(&tail);
        return Ok(Exit::Done);
    }
    let mut head = Some(line(["arrival", "when", "feed", "channel", "happened"], "with this policy"));
    let judged = each_event(reader, |event| {
        if trial.last_seq() >= until || session.out.is_closed() {
            return Ok(false);
        }
        if let Some(one) = trial.take(event)? {
            if let Some(head) = head.take() {
                session.out.line(session.out.paint("1", head));
            }
            let text = told(&one);
            let text = if one.differs() { session.out.paint("33", text) } else { text };
            session.out.line(text);
        }
        Ok(true)
    });
    judged.map_err(|e| of_log(&replay.log, e))?;
    check(replay, file, &trial)?;
    session.out.line(format_args!("\n{}", sentence(trial.summary())));
    Ok(Exit::Done)
}

/// A log without events, or a policy for a feed that the log does not have, is a mistake.
fn check(replay: &Replay, file: &Path, trial: &Trial) -> Result<(), Failure> {
    if trial.last_seq() == 0 {
        return Err(nothing_in(&replay.log));
    }
    match trial.unknown_feed() {
        None => Ok(()),
        Some((name, feeds)) => Err(Failure::wrong(format!(
            "The policy {} speaks of a feed {name}, and the log has only {}.",
            file.display(),
            feeds.join(", ")
        ))),
    }
}

/// Reads a policy: the keys of `muster org set`, and those of feeds below `[feeds.NAME]`.
fn read(file: &Path) -> Result<OtherPolicy, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::wrong(format!("There is no file {name}.")),
        _ => Failure::wrong(format!("The policy {name} cannot be read: {e}")),
    })?;
    let mut table: Table = toml::from_str(&text).map_err(|e| {
        let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].matches('\n').count() + 1);
        Failure::wrong(format!("The policy {name}, line {line}: {}", e.message()))
    })?;
    let wrong = |e: PolicyError| Failure::wrong(format!("The policy {name}: {e}"));
    let mut policy = OtherPolicy::default();
    let feeds = match table.remove("feeds") {
        None => Table::new(),
        Some(toml::Value::Table(feeds)) => feeds,
        Some(_) => return Err(Failure::wrong(format!("The policy {name}: write a feed's keys below [feeds.NAME]."))),
    };
    for (key, value) in pairs("", table).map_err(|key| no_value(file, &key))? {
        policy.set(&key, &value).map_err(wrong)?;
    }
    for (feed, own) in feeds {
        let toml::Value::Table(own) = own else {
            return Err(Failure::wrong(format!("The policy {name}: write a feed's keys below [feeds.{feed}].")));
        };
        policy.feed(&feed);
        for (key, value) in pairs("", own).map_err(|key| no_value(file, &key))? {
            policy.set_for_feed(&feed, &key, &value).map_err(wrong)?;
        }
    }
    Ok(policy)
}

fn no_value(file: &Path, key: &str) -> Failure {
    Failure::wrong(format!(
        "The policy {}: `{key}` takes one value: a number, a word in quotes, true or false.",
        file.display()
    ))
}

/// Keys with the names of the tables around them, and values as `muster org set` takes them; else the key that has none.
fn pairs(before: &str, table: Table) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    for (key, value) in table {
        let key = if before.is_empty() { key } else { format!("{before}.{key}") };
        let value = match value {
            toml::Value::Table(inner) => {
                found.extend(pairs(&key, inner)?);
                continue;
            }
            toml::Value::String(text) => text,
            toml::Value::Integer(n) => n.to_string(),
            toml::Value::Float(n) => n.to_string(),
            toml::Value::Boolean(on) => if on { "on" } else { "off" }.to_owned(),
            toml::Value::Array(_) | toml::Value::Datetime(_) => return Err(key),
        };
        found.push((key, value));
    }
    Ok(found)
}

fn document(one: &Tried) -> Value {
    let mut document = json!(one);
    document["differs"] = one.differs().into();
    document
}

fn told(one: &Tried) -> String {
    let when = one.at.format("%Y-%m-%d %H:%M").to_string();
    let tried = match (&one.tried, one.not_judged) {
        (Some(tried), _) => verdict(tried),
        (None, why) => format!("not judged: {}", why.unwrap_or_default()),
    };
    let happened = one.happened.state.word().replace('_', " ");
    line([&one.arrival.to_string(), &when, &one.feed, one.channel.word(), &happened], &tried)
}

/// The first column flush right. Lines are written as they come, so that their number costs no memory.
fn line([arrival, when, feed, channel, happened]: [&str; 5], tried: &str) -> String {
    one_line(format!("{arrival:>7}  {when:<16}  {feed:<12}  {channel:<8}  {happened:<14}  {tried}"))
}

/// A state, and by which guards.
fn verdict(verdict: &Verdict) -> String {
    let state = verdict.state.word().replace('_', " ");
    let guard = |hold: &Hold| match (&hold.threshold, &hold.figure) {
        (Value::String(_), _) => hold.guard.clone(),
        (threshold, figure) => format!("{} {figure} (limit {threshold})", hold.guard),
    };
    let holds: Vec<String> = verdict.holds.iter().map(guard).collect();
    match verdict.state {
        State::Held | State::PartlyApplied if holds.is_empty() => format!("{state} by policy"),
        State::Held | State::PartlyApplied => format!("{state}: {}", holds.join(", ")),
        _ => state,
    }
}

fn sentence(summary: &Summary) -> String {
    let kinds: Vec<String> =
        summary.by_outcome.iter().map(|(what, n)| format!("{} would have been {what}", grouped(*n))).collect();
    let differ = if kinds.is_empty() { "none would have come to something else".to_owned() } else { kinds.join(", ") };
    let rest = match summary.uploads - summary.judged {
        0 => String::new(),
        n => format!(" {} could not be judged.", grouped(n)),
    };
    format!("Of {} uploads {differ}.{rest}", grouped(summary.uploads))
}
