//! `muster org`: organisations and their settings.

use clap::{Args, Subcommand};
use muster_domain::settings::Settings;
use muster_engine::{Engine, Organisation};
use serde_json::{Value, json};

use crate::{
    arguments::pair,
    fail::{Exit, Failure},
    session::Session,
    table::Table,
};

/// Create, list, show and set organisations
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster org create acme --name 'Acme Ltd' --timezone Europe/London")]
pub struct Org {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create an organisation with its feed `main`
    #[command(after_help = "Example:\n  muster org create acme --name 'Acme Ltd' --match-key email")]
    Create {
        /// Its name in commands and addresses: a-z, 0-9 and -
        slug: String,
        /// Its name, for people
        #[arg(long, value_name = "NAME")]
        name: String,
        /// The field that tells one member from another: employee_id or email [default: employee_id]
        #[arg(long, value_name = "FIELD")]
        match_key: Option<String>,
        /// The time zone in which its days begin [default: UTC]
        #[arg(long, value_name = "TZ")]
        timezone: Option<String>,
    },
    /// List all organisations
    #[command(after_help = "Example:\n  muster org list --json")]
    List,
    /// Show an organisation: every setting, its value, what it means
    #[command(after_help = "Example:\n  muster org show acme")]
    Show {
        /// The organisation
        slug: String,
    },
    /// Change settings, all of those named or none
    #[command(after_help = "Example:\n  muster org set acme guard.removals.max_percent=5 policy.upload=apply")]
    Set {
        /// The organisation
        slug: String,
        /// Settings; `muster org show` lists them
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = pair)]
        settings: Vec<(String, String)>,
    },
}

/// Runs the command.
pub async fn run(org: Org, session: &mut Session<'_>) -> Result<Exit, Failure> {
    match org.command {
        Command::Create { slug, name, match_key, timezone } => {
            let mut pairs = vec![("name", name.as_str())];
            pairs.extend(match_key.as_deref().map(|v| ("match_key", v)));
            pairs.extend(timezone.as_deref().map(|v| ("timezone", v)));
            let settings = Settings::default().with(pairs)?;
            let engine = session.engine().await?;
            engine.create_organisation(&slug, settings).await?;
            created(&engine, &slug, session).await?;
        }
        Command::List => list(session).await?,
        Command::Show { slug } => {
            let org = session.engine().await?.organisation(&slug).await?;
            show(&org, session);
        }
        Command::Set { slug, settings } => set(&slug, &settings, session).await?,
    }
    Ok(Exit::Done)
}

async fn created(engine: &Engine, slug: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let org = engine.organisation(slug).await?;
    if session.out.json {
        session.out.document(&document(&org));
        return Ok(());
    }
    let next = session.suggestion(&format!("sync FILE --org {slug} --mode full"));
    session.out.line(format_args!("Created {slug} ({}), with its feed main.", org.settings.name));
    session.out.line("\nNext");
    session.out.line(format_args!("  {next}"));
    Ok(())
}

async fn list(session: &mut Session<'_>) -> Result<(), Failure> {
    let engine = session.engine().await?;
    let mut table = Table::new(&["slug", "name", "match key", "feeds", "created"]);
    let mut documents: Vec<Value> = Vec::new();
    for row in engine.store.organisations().await? {
        let org = engine.load(row).await?;
        let s = &org.settings;
        table.row([
            org.row.slug.clone(),
            s.name.clone(),
            s.match_key.to_string(),
            org.feeds.len().to_string(),
            org.row.created_at.format("%Y-%m-%d").to_string(),
        ]);
        documents.push(json!({
            "slug": org.row.slug, "id": org.row.id, "name": s.name, "match_key": s.match_key,
            "timezone": s.timezone, "feeds": org.feeds.len(), "created_at": org.row.created_at,
        }));
    }
    if session.out.json {
        session.out.document(&json!({ "organisations": documents }));
    } else if documents.is_empty() {
        let next = session.suggestion("org create SLUG --name NAME");
        session.out.line(format_args!("There are no organisations yet; `{next}` makes one."));
    } else {
        table.print(session.out, true);
    }
    Ok(())
}

fn show(org: &Organisation, session: &mut Session<'_>) {
    if session.out.json {
        session.out.document(&document(org));
        return;
    }
    let title = session.out.paint("1", format_args!("{}  {}", org.row.slug, org.settings.name));
    session.out.line(title);
    let created = org.row.created_at.format("%Y-%m-%dT%H:%M:%SZ");
    session.out.line(format_args!("created {created}, settings version {}\n", org.settings.version));
    let mut table = Table::new(&["setting", "value", "meaning"]);
    for s in org.settings.list() {
        let changed = if s.value == s.default || s.default.is_empty() { "" } else { " *" };
        table.row([s.key.to_owned(), format!("{}{changed}", s.value), s.meaning.to_owned()]);
    }
    table.print(session.out, true);
    session.out.line("\n* differs from the default");
    let names: Vec<&str> = org.feeds.iter().map(|f| f.settings.name.as_str()).collect();
    session.out.line(format_args!("feeds: {}", names.join(", ")));
}

async fn set(slug: &str, pairs: &[(String, String)], session: &mut Session<'_>) -> Result<(), Failure> {
    let engine = session.engine().await?;
    let org = engine.organisation(slug).await?;
    let wanted = org.settings.with(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())))?;
    let changed: Vec<Value> = (org.settings.list().iter().zip(wanted.list()))
        .filter(|(before, after)| before.value != after.value)
        .map(|(before, after)| json!({ "key": after.key, "before": before.value, "after": after.value }))
        .collect();
    let version = match changed.is_empty() {
        true => org.settings.version,
        false => engine.set_settings(&org, pairs).await?.version,
    };
    if session.out.json {
        session.out.document(&json!({ "slug": slug, "settings_version": version, "changed": changed }));
        return Ok(());
    }
    if changed.is_empty() {
        session.out.line("All of these settings have these values already; nothing was changed.");
    }
    for change in &changed {
        let text = |name: &str| change[name].as_str().unwrap_or_default().to_owned();
        session.out.line(format_args!("{}: {} → {}", text("key"), text("before"), text("after")));
    }
    Ok(())
}

fn document(org: &Organisation) -> Value {
    json!({
        "slug": org.row.slug,
        "id": org.row.id,
        "name": org.settings.name,
        "created_at": org.row.created_at,
        "settings_version": org.settings.version,
        "settings": org.settings.list(),
        "feeds": org.feeds.iter().map(|f| &f.settings.name).collect::<Vec<_>>(),
    })
}
