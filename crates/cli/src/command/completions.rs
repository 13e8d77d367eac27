//! `muster completions`: the completions for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use crate::{
    arguments::Cli,
    fail::{Exit, Failure},
    session::Session,
};

/// Print the completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster completions bash > ~/.local/share/bash-completion/completions/muster")]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

/// Runs the command.
pub fn run(command: Completions, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), "muster", &mut script);
    let script = String::from_utf8_lossy(&script);
    if session.out.json {
        session.out.document(&json!({ "shell": command.shell.to_string(), "script": script }));
    } else {
        session.out.text(&script);
    }
    Ok(Exit::Done)
}
