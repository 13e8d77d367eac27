//! The configuration that every command shares: defaults, then the file, then the environment, then flags.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{
    arguments::{Globals, LogFormat},
    fail::Failure,
};

/// What holds for this run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database's address.
    pub database: String,
    /// Where payloads lie.
    pub data_dir: PathBuf,
    /// Who acts.
    pub actor: String,
    /// Whether progress may be shown.
    pub progress: bool,
    /// The broker's address, where the file has one.
    pub amqp: Option<String>,
    /// How to log.
    pub log_format: LogFormat,
    /// The flags as they were given, for commands that are suggested next.
    pub repeated: Vec<String>,
}

/// What a configuration file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    database: Option<String>,
    data_dir: Option<PathBuf>,
    actor: Option<String>,
    progress: Option<bool>,
    amqp: Option<String>,
    log_format: Option<LogFormat>,
}

/// The configuration for these flags; clap has already put flags over the environment.
///
/// # Errors
/// If a configuration file is named and cannot be read.
pub fn resolve(globals: &Globals) -> Result<Config, Failure> {
    let file = match given(&globals.config) {
        Some(path) => read(path)?,
        None => File::default(),
    };
    let data_dir =
        given(&globals.data_dir).cloned().or(file.data_dir).unwrap_or_else(|| PathBuf::from("./muster-data"));
    let database = filled(&globals.database).or(file.database);
    let database = database.unwrap_or_else(|| format!("sqlite:{}", data_dir.join("muster.db").display()));
    Ok(Config {
        database,
        data_dir,
        actor: filled(&globals.actor).or(file.actor).unwrap_or_else(os_actor),
        progress: !globals.no_progress && file.progress.unwrap_or(true),
        amqp: file.amqp,
        log_format: globals.log_format.or(file.log_format).unwrap_or_default(),
        repeated: repeated(words()),
    })
}

/// An empty variable counts as none.
fn given(path: &Option<PathBuf>) -> Option<&PathBuf> {
    path.as_ref().filter(|p| !p.as_os_str().is_empty())
}

fn filled(text: &Option<String>) -> Option<String> {
    text.clone().filter(|t| !t.trim().is_empty())
}

fn read(path: &Path) -> Result<File, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::wrong(format!("The configuration file {} cannot be read: {e}", path.display())))?;
    toml::from_str(&text).map_err(|e| {
        let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].matches('\n').count() + 1);
        Failure::wrong(format!("The configuration file {}, line {line}: {}", path.display(), e.message()))
    })
}

/// The words of the command line. One that is no text is only ever shown, and then as near as can be.
pub fn words() -> impl Iterator<Item = String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned())
}

/// The flags that say which database is meant, as they were typed.
fn repeated(args: impl Iterator<Item = String>) -> Vec<String> {
    const MEANT: [&str; 3] = ["--database", "--data-dir", "--config"];
    let mut args = args.skip(1).take_while(|a| a != "--");
    let mut kept = Vec::new();
    while let Some(arg) = args.next() {
        if MEANT.contains(&arg.as_str()) {
            kept.push(arg);
            kept.extend(args.next());
        } else if MEANT.iter().any(|m| arg.strip_prefix(m).is_some_and(|rest| rest.starts_with('='))) {
            kept.push(arg);
        }
    }
    kept
}

/// The person at this machine, as `os:user@host`.
fn os_actor() -> String {
    let user = user_of_process().or_else(|| env("USER")).or_else(|| env("LOGNAME"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|h| h.trim().to_owned());
    let host = host.filter(|h| !h.is_empty()).or_else(|| env("HOSTNAME"));
    format!("os:{}@{}", user.as_deref().unwrap_or("unknown"), host.as_deref().unwrap_or("localhost"))
}

/// Who runs this process counts for more than what the environment says.
#[cfg(unix)]
fn user_of_process() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let entry = passwd.lines().find(|l| l.split(':').nth(2) == Some(&uid))?;
    entry.split(':').next().map(str::to_owned)
}

#[cfg(not(unix))]
fn user_of_process() -> Option<String> {
    env("USERNAME")
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_name_the_database_are_repeated_in_suggestions() {
        let args = ["muster", "sync", "--data-dir", "d", "x.csv", "--database=sqlite:y", "--json", "--", "--config"];
        assert_eq!(repeated(args.iter().map(ToString::to_string)), ["--data-dir", "d", "--database=sqlite:y"]);
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused() {
        assert!(toml::from_str::<File>("databse = 'x'").is_err());
    }
}
