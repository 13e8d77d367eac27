//! Keys as people and programs see them: everything but the secret, which is shown once.

use chrono::{DateTime, Utc};
use muster_domain::access::{ApiKey, KeyKind};
use muster_engine::{
    Engine, Organisation,
    access::{AccessEntry, ListedKey, MadeKey, Maker},
};
use serde_json::{Value, json};

use crate::{
    fail::Failure,
    moment::{to_the_minute, to_the_second},
    session::Session,
    table::{Table, one_line},
};

/// A key with its whole text.
pub async fn made(
    engine: &Engine,
    org: &Organisation,
    made: &MadeKey,
    verb: &str,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let listed = engine.listed_key(org, &made.key.id, &Maker::Operator).await?;
    if session.out.json {
        session.out.document(&json!({ "key": document(&listed, org), "api_key": made.text }));
        return Ok(());
    }
    session
        .out
        .line(format_args!("{verb} the key {}. Keep it now: it is not shown again.\n", one_line(&made.key.name)));
    session.out.line(format_args!("  {}\n", made.text));
    if let Some(until) = made.former_until {
        session.out.line(format_args!("The one until now works until {}.\n", to_the_minute(until)));
    }
    described(&listed, org, session);
    if !org.settings.api.access {
        let next = session.suggestion(&format!("org set {} api_access=on", org.row.slug));
        session.out.line(format_args!("\nNo key of {} is let in yet. Next\n  {next}", org.row.slug));
    }
    Ok(())
}

/// A key after a change.
pub async fn one(
    engine: &Engine,
    org: &Organisation,
    id: &str,
    verb: &str,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let listed = engine.listed_key(org, id, &Maker::Operator).await?;
    if session.out.json {
        session.out.document(&json!({ "key": document(&listed, org) }));
        return Ok(());
    }
    session.out.line(format_args!("{verb} the key {}.\n", one_line(&listed.key.name)));
    described(&listed, org, session);
    Ok(())
}

fn described(listed: &ListedKey, org: &Organisation, session: &mut Session<'_>) {
    let key = &listed.key;
    let mut table = Table::new(&[]).indent(2);
    table.row(["id".to_owned(), key.id.clone()]);
    table.row(["acts for".to_owned(), acts_for(listed)]);
    table.row(["may".to_owned(), key.rights.scopes().join(" ")]);
    table.row(["ends".to_owned(), key.expires_at.map_or("never".to_owned(), to_the_minute)]);
    let names = |feeds: &[muster_domain::ids::FeedNo]| -> Vec<String> {
        feeds.iter().map(|no| org.feed_name(*no).to_owned()).collect()
    };
    let mut limit = |what: &str, texts: Vec<String>| {
        if !texts.is_empty() {
            table.row([what.to_owned(), texts.join(", ")]);
        }
    };
    limit("only for feed", names(key.feed.as_slice()));
    limit("only from", key.networks.iter().map(ToString::to_string).collect());
    limit("only people of feeds", names(&key.rows.feeds));
    limit("only departments", key.rows.departments.clone());
    limit("only subcompanies", key.rows.subcompanies.clone());
    for (resource, fields) in &key.fields.0 {
        let all = |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect();
        limit(&format!("reads of {}", resource.word()), fields.read.as_ref().map_or_else(Vec::new, all));
        limit(&format!("writes of {}", resource.word()), fields.write.as_ref().map_or_else(Vec::new, all));
    }
    let rate = |rate: Option<u32>, what: &str| rate.map(|n| format!("{n} {what}"));
    let rates = key.rates;
    let rates = [
        rate(rates.requests, "requests"),
        rate(rates.uploads, "uploads"),
        rate(rates.eligibility, "eligibility checks"),
    ];
    limit("a minute", rates.into_iter().flatten().collect());
    if let Some(at) = key.revoked_at {
        limit("revoked", vec![to_the_second(at)]);
    }
    table.print(session.out, false);
}

fn acts_for(listed: &ListedKey) -> String {
    match &listed.user {
        Some(user) if user.disabled_at.is_some() => format!("{} (disabled)", user.name),
        Some(user) => user.name.clone(),
        None => "nobody any more".to_owned(),
    }
}

/// All keys.
pub fn list(keys: &[ListedKey], org: &Organisation, now: DateTime<Utc>, all: bool, session: &mut Session<'_>) {
    let works = |key: &ApiKey| key.revoked_at.is_none() && key.expires_at.is_none_or(|at| at > now);
    let shown: Vec<&ListedKey> = keys.iter().filter(|listed| all || works(&listed.key)).collect();
    if session.out.json {
        let keys: Vec<Value> = shown.iter().map(|listed| document(listed, org)).collect();
        session.out.document(&json!({ "keys": keys }));
        return;
    }
    if shown.is_empty() {
        session.out.line(format_args!("{} has no keys that work; --all shows those that did.", org.row.slug));
        return;
    }
    let mut table = Table::new(&["id", "name", "key", "acts for", "ends", "last used", "from"]);
    for listed in shown {
        let key = &listed.key;
        let ends = match (key.revoked_at, listed.ends_in_days, key.expires_at) {
            (Some(_), ..) => "revoked".to_owned(),
            (_, Some(0), _) => "within a day!".to_owned(),
            (_, Some(days), _) => format!("in {days} days!"),
            (.., at) => at.map_or("never".to_owned(), to_the_minute),
        };
        let used = listed.last_used.as_ref();
        table.row([
            key.id.clone(),
            key.name.clone(),
            key.shown(),
            acts_for(listed),
            ends,
            used.map_or("never".to_owned(), |u| to_the_second(u.at)),
            used.map_or("-".to_owned(), |u| u.from.clone()),
        ]);
    }
    table.print(session.out, true);
}

/// Keys that would not work any more.
pub fn dying(keys: &[ApiKey], session: &mut Session<'_>) {
    if keys.is_empty() {
        return;
    }
    let mut table = Table::new(&["id", "name", "key"]);
    for key in keys {
        table.row([key.id.clone(), key.name.clone(), key.shown()]);
    }
    table.print(session.out, true);
    session.out.line("");
}

/// A key for programs.
fn document(listed: &ListedKey, org: &Organisation) -> Value {
    let key = &listed.key;
    let feeds: Vec<&str> = key.rows.feeds.iter().map(|no| org.feed_name(*no)).collect();
    json!({
        "id": key.id,
        "name": key.name,
        "kind": if key.kind == KeyKind::Bulk { "bulk" } else { "general" },
        "shown": key.shown(),
        "user": { "id": key.user, "name": listed.user.as_ref().map(|u| &u.name) },
        "scopes": key.rights,
        "fields": key.fields,
        "rows": { "feeds": feeds, "departments": key.rows.departments, "subcompanies": key.rows.subcompanies },
        "feed": key.feed.map(|no| org.feed_name(no)),
        "networks": key.networks,
        "rates": key.rates,
        "made_by": key.made_by,
        "made_by_name": listed.made_by_name,
        "made_at": key.made_at,
        "expires_at": key.expires_at,
        "ends_in_days": listed.ends_in_days,
        "former_secret_until": listed.former_until,
        "revoked_at": key.revoked_at,
        "last_used": listed.last_used,
    })
}

/// What a read was about.
fn read_about(entry: &AccessEntry) -> String {
    let said = [
        entry.member.map(|id| format!("member {id}")),
        entry.upload.map(|id| format!("upload {id}")),
        entry.change_set.map(|id| format!("change set {id}")),
        entry.feed.as_ref().map(|name| format!("feed {name}")),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    if said.is_empty() { "-".to_owned() } else { said.join(", ") }
}

/// What was read.
pub fn reads(entries: &[AccessEntry], session: &mut Session<'_>) {
    if session.out.json {
        session.out.document(&json!({ "entries": entries }));
        return;
    }
    if entries.is_empty() {
        session.out.line("Nothing was read.");
        return;
    }
    let mut table = Table::new(&["at", "key", "from", "request", "status", "about", "eligible", "roster"]);
    for entry in entries {
        let eligible = match (entry.eligible, &entry.reason) {
            (Some(true), _) => "yes".to_owned(),
            (Some(false), Some(reason)) => format!("no: {reason}"),
            (Some(false), None) => "no".to_owned(),
            (None, _) => "-".to_owned(),
        };
        table.row([
            to_the_second(entry.at),
            entry.key.clone(),
            entry.from.map_or("-".to_owned(), |ip| ip.to_string()),
            format!("{} {}", entry.method, entry.route),
            entry.status.to_string(),
            read_about(entry),
            eligible,
            entry.roster_version.map_or("-".to_owned(), |v| v.to_string()),
        ]);
    }
    table.print(session.out, true);
}
