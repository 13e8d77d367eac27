//! `muster org`: organisations and their settings.

use clap::{Args, Subcommand};
use muster_domain::settings::Settings;
use muster_engine::{
    Engine, Organisation,
    setting::{Preview, SettingsRequest, SettingsState},
};
use serde_json::{Value, json};

use crate::{
    arguments::pair,
    fail::{Exit, Failure},
    report::grouped,
    session::Session,
    table::{Table, one_line},
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
    ///
    /// A change that decides who is eligible (eligibility.*, timezone) says how many people would stop or start being
    /// eligible, and is refused (exit code 3) if the guards on removals would hold a change set like it, unless
    /// --confirm-removals names the number. A new match_key gives everybody on the roster their new key at once.
    #[command(after_help = "Examples:\n  muster org set acme guard.removals.max_percent=5 policy.upload=apply\n  \
        muster org set acme eligibility.excluded_statuses=terminated,retired --dry-run")]
    Set {
        /// The organisation
        slug: String,
        /// Show what it would do, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// How many people stop being eligible by it, where the guard on removals trips
        #[arg(long, value_name = "N")]
        confirm_removals: Option<u64>,
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
        Command::Set { slug, dry_run, confirm_removals, settings } => {
            let request = SettingsRequest { pairs: settings, dry_run, confirm_removals, seen: None };
            return set(&slug, &request, session).await;
        }
    }
    Ok(Exit::Done)
}

async fn created(engine: &Engine, slug: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let org = engine.organisation(slug).await?;
    if session.out.json {
        let mut document = document(&org);
        document["seq"] = json!(engine.last_seq(slug).await?);
        session.out.document(&document);
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

async fn set(slug: &str, request: &SettingsRequest, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let engine = session.engine().await?;
    let report = engine.change_settings(slug, request).await?;
    let refused = report.state == SettingsState::Refused;
    let exit = if refused { Exit::Waiting } else { Exit::Done };
    let why = report.refusal(request.confirm_removals);
    if session.out.json {
        let mut document = serde_json::to_value(&report)?;
        document["slug"] = json!(slug);
        if refused {
            document["error"] = json!({ "kind": "guarded", "message": why });
        }
        session.out.document(&document);
        return Ok(exit);
    }
    if report.changed.is_empty() {
        session.out.line("All of these settings have these values already; nothing was changed.");
    }
    for change in &report.changed {
        session.out.line(format_args!("{}: {} → {}", change.key, change.before, change.after));
    }
    if let Some(preview) = &report.eligibility {
        print_preview(preview, report.state, session);
    }
    if report.rekeyed > 0 {
        session.out.line(format_args!("{} get a new match key.", people(report.rekeyed)));
    }
    if report.state == SettingsState::DryRun {
        session.out.line("Nothing was set: this was a dry run.");
    }
    if refused {
        return Err(Failure::new("guarded", Exit::Waiting, why));
    }
    Ok(exit)
}

/// How many keys are shown to people; the JSON has all.
const SHOWN_KEYS: usize = 20;

fn print_preview(preview: &Preview, state: SettingsState, session: &mut Session<'_>) {
    let would = if state == SettingsState::Set { "" } else { "would " };
    let (stop, start) = (people(preview.stop), people(preview.start));
    let of = grouped(preview.eligible);
    session.out.line(format_args!(
        "Of {of} who are eligible today, {stop} {would}stop being so; {start} {would}become eligible."
    ));
    for (sign, keys) in [("-", &preview.stopping), ("+", &preview.starting)] {
        for key in keys.iter().take(SHOWN_KEYS) {
            session.out.line(format_args!("  {sign} {}", one_line(key)));
        }
        if keys.len() > SHOWN_KEYS {
            let more = grouped((keys.len() - SHOWN_KEYS) as u64);
            session.out.line(format_args!("  {sign} … and {more} more; --json lists all."));
        }
    }
}

fn people(n: u64) -> String {
    if n == 1 { "1 person".to_owned() } else { format!("{} people", grouped(n)) }
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
