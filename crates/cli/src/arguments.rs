//! The command line: global flags, the commands, and the values that several of them take.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use chrono::{DateTime, NaiveDate, Utc};
use clap::{
    ArgAction, Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use muster_domain::{
    fact::State,
    guard::Asked,
    settings::{Channel, Mode, Policy},
};
use muster_engine::projections::reading::Wait;
use serde::Deserialize;

use crate::{command, fail::Failure};

/// Keeps an organisation's list of eligible people in step with its HR systems: a payload in, a change set out, applied
/// or held for review; every change in a log that can be replayed and undone.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Example:\n  muster org create acme --name 'Acme Ltd'\n  muster sync people.csv --org acme --mode full\n\n\
        Exit codes:\n  0 applied, no changes or dry run    3 held or partly applied    4 refused\n  \
        5 the approval was stale            2 wrong use                 1 anything else"
)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Database, sqlite:PATH or postgres://… [default: sqlite:./muster-data/muster.db]
    #[arg(long, global = true, value_name = "URL", env = "MUSTER_DATABASE_URL", hide_env_values = true)]
    pub database: Option<String>,
    /// Directory of payloads and of the default database [default: ./muster-data]
    #[arg(long, global = true, value_name = "DIR", env = "MUSTER_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// TOML file with `database`, `data_dir`, `actor`, `progress`, `amqp`, `log_format`; environment and flags count for more
    #[arg(long, global = true, value_name = "FILE", env = "MUSTER_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Print exactly one JSON document, errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// Who does this, for the log [default: os:user@host]
    #[arg(long, global = true, value_name = "NAME", env = "MUSTER_ACTOR", hide_env_values = true)]
    pub actor: Option<String>,
    /// Show no progress on the terminal
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Log to standard error; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// How to log: lines for people, or a JSON document a line [default: text]
    #[arg(long, global = true, value_name = "FORMAT", value_enum, env = "MUSTER_LOG_FORMAT", hide_env_values = true)]
    pub log_format: Option<LogFormat>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON document a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an organisation to try things on
    Demo(command::demo::Demo),
    /// Create, list, show and set organisations
    Org(command::org::Org),
    /// List, create, set, show and hand over the feeds of an organisation
    Feeds(command::feeds::Feeds),
    /// Show what each column of a file seems to hold, and save that as a feed's mapping
    Map(command::map::Map),
    /// Bring the roster in step with a payload
    Sync(command::sync::Sync),
    /// List what has arrived, and give up what cannot be worked on
    Uploads(command::uploads::Uploads),
    /// Work on what comes in, for as long as it runs
    Serve(command::serve::Serve),
    /// List, show, approve, reject and undo changes
    Changes(command::changes::Changes),
    /// List, show, export and edit the members of an organisation
    Members(command::members::Members),
    /// Compare the roster at two moments
    Diff(command::diff::Diff),
    /// Tell for every value of a member which event set it
    Blame(command::blame::BlameOf),
    /// Say whether somebody is eligible, why, since when and until when
    Eligibility(command::eligibility::Eligibility),
    /// Show an organisation at a glance
    Dashboard(command::dashboard::DashboardOf),
    /// Tell who did what in an organisation
    Activity(command::activity::ActivityOf),
    /// Export, import and show the events of an organisation
    Events(command::events::Events),
    /// Fold an exported log from nothing, without a database
    Replay(command::replay::Replay),
    /// Show how far projections are behind the log, and build them anew
    Projections(command::projections::Projections),
    /// Erase one person's data from roster, log and payload originals
    Forget(command::forget::Forget),
    /// Destroy payload originals that have been kept for long enough
    Retention(command::retention::Retention),
    /// Create, list, change, rotate and revoke the API keys of an organisation
    Keys(command::keys::Keys),
    /// Create, list, disable and enable users, and set their roles and passwords
    Users(command::users::Users),
    /// Check the log and hold it against what is stored
    Verify(command::verify::Verify),
    /// Copy the embedded database and its payloads into one file
    Backup(command::backup::Backup),
    /// Put a backup in the place of the embedded database
    Restore(command::restore::Restore),
    /// Show the epoch of the database, or begin a new one
    Epoch(command::epoch::Epoch),
    /// Bring the database to the schema of this program
    Migrate(command::migrate::Migrate),
    /// Print the completions for a shell
    Completions(command::completions::Completions),
}

/// The organisation that a command is about.
#[derive(Debug, Args)]
pub struct OfOrganisation {
    /// The organisation
    #[arg(long = "org", value_name = "SLUG")]
    pub slug: String,
}

/// What must be reflected before anything is read from a projection.
#[derive(Debug, Args)]
pub struct Waiting {
    /// Read only once this event is reflected
    #[arg(long, value_name = "SEQ")]
    wait_for: Option<u64>,
    /// Wait for that at most so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait_at_most: u32,
}

impl Waiting {
    /// As the engine takes it. Whoever reads from the command line brings what is read up to date first.
    pub fn wait(&self) -> Wait {
        Wait { until: self.wait_for, at_most: Duration::from_secs(self.wait_at_most.into()), work: true }
    }
}

/// What is to count in place of the policy.
#[derive(Debug, Args)]
pub struct Ask {
    /// Apply whatever the policy; guards hold all the same
    #[arg(long, conflicts_with = "hold")]
    apply: bool,
    /// Hold for review whatever the policy
    #[arg(long)]
    hold: bool,
}

impl Ask {
    /// As the engine takes it.
    pub fn asked(&self) -> Option<Asked> {
        match (self.apply, self.hold) {
            (true, _) => Some(Asked::Apply),
            (_, true) => Some(Asked::Hold),
            _ => None,
        }
    }
}

macro_rules! parser {
    ($(#[$doc:meta])* $name:ident, $type:ty) => {
        $(#[$doc])*
        pub fn $name() -> impl TypedValueParser<Value = $type> {
            let words = PossibleValuesParser::new(<$type>::ALL.iter().map(|w| w.word()));
            words.try_map(|w| <$type>::from_word(&w).ok_or("no such word"))
        }
    };
}

parser!(
    /// Reads a mode.
    mode, Mode
);
parser!(
    /// Reads a policy.
    policy, Policy
);

/// Reads the channel of a payload; `hand` is for commands that edit one person.
pub fn payload_channel() -> impl TypedValueParser<Value = Channel> {
    let words = PossibleValuesParser::new(["upload", "api", "schedule"]);
    words.try_map(|w| Channel::from_word(&w).ok_or("no such word"))
}

/// Reads one of these states.
pub fn state(states: &'static [State]) -> impl TypedValueParser<Value = State> {
    let words = PossibleValuesParser::new(states.iter().map(|s| s.word()));
    words.try_map(|w| states.iter().copied().find(|s| s.word() == w).ok_or("no such state"))
}

/// Reads `KEY=VALUE`; the value may be empty.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

/// Pairs by key, each key once.
///
/// # Errors
/// If a key is given twice: which of the two is meant is not for us to say.
pub fn by_key(pairs: impl IntoIterator<Item = (String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut by_key = BTreeMap::new();
    for (key, value) in pairs {
        if let Some(before) = by_key.insert(key.clone(), value.clone()) {
            return Err(Failure::wrong(format!("{key} is given twice, as {before} and as {value}; give it once.")));
        }
    }
    Ok(by_key)
}

/// Reads a calendar day.
pub fn calendar_day(text: &str) -> Result<NaiveDate, String> {
    text.trim().parse().map_err(|_| "write it as YYYY-MM-DD".to_owned())
}

/// Reads a time in RFC 3339.
pub fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let read = DateTime::parse_from_rfc3339(text.trim()).map(|t| t.with_timezone(&Utc));
    read.map_err(|_| "write it in RFC 3339, such as 2026-03-20T08:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_pair_has_a_key() {
        assert_eq!(pair("a = b=c "), Ok(("a".into(), "b=c".into())));
        assert!(pair("=x").is_err() && pair("x").is_err());
    }
}
