//! The `muster` command: reads the command line, runs one command, and turns what it came to into an exit code.

mod arguments;
mod behind;
mod command;
mod config;
mod fail;
mod memory;
mod moment;
mod output;
mod private;
mod progress;
mod report;
mod session;
mod table;
mod whole;

use std::{
    io::{IsTerminal, Write},
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    arguments::{Cli, Command, LogFormat},
    fail::{Exit, Failure},
    output::Output,
    session::Session,
};

fn main() -> ExitCode {
    let json = std::env::args_os().skip(1).take_while(|a| a != "--").any(|a| a == "--json");
    let mut out = Output::new(json);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| run(&mut out)));
    let outcome = outcome.unwrap_or_else(|_| Err(Failure::bug()));
    let exit = outcome.unwrap_or_else(|failure| {
        out.failure(&failure);
        failure.exit
    });
    out.flush();
    let exit = out.lost().map_or(exit, |failure| {
        let _ = writeln!(std::io::stderr(), "muster: {}", failure.message);
        failure.exit
    });
    ExitCode::from(exit as u8)
}

fn run(out: &mut Output) -> Result<Exit, Failure> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) if !e.use_stderr() => {
            out.text(&e.render().to_string());
            return Ok(Exit::Done);
        }
        Err(e) if out.json => return Err(Failure::of_clap(&e)),
        Err(e) => {
            let _ = write!(std::io::stderr(), "{}", fail::plain(&e.render().to_string()));
            return Ok(Exit::WrongUse);
        }
    };
    quiet_panics(cli.globals.verbose > 0);
    memory::share();
    let config = config::resolve(&cli.globals)?;
    // What serves is looked at by its log.
    let serves = matches!(cli.command, Command::Serve(_));
    log_to_stderr(cli.globals.verbose.max(u8::from(serves)), config.log_format);
    let mut session = Session { config, out };
    runtime(serves)?.block_on(dispatch(cli.command, &mut session))
}

/// What runs a command: whoever serves uses every core of the machine, and one command is done by two.
fn runtime(serves: bool) -> std::io::Result<tokio::runtime::Runtime> {
    /// Bytes of stack of each thread: deciding on a change set holds much on the way, and what is not used costs nothing.
    const STACK: usize = 8 << 20;
    let threads = if serves { std::thread::available_parallelism().map_or(2, |n| n.get().max(2)) } else { 2 };
    let mut building = tokio::runtime::Builder::new_multi_thread();
    building.worker_threads(threads).thread_stack_size(STACK).enable_all().build()
}

async fn dispatch(command: Command, session: &mut Session<'_>) -> Result<Exit, Failure> {
    match command {
        Command::Demo(c) => command::demo::run(c, session).await,
        Command::Org(c) => command::org::run(c, session).await,
        Command::Feeds(c) => command::feeds::run(c, session).await,
        Command::Map(c) => command::map::run(c, session).await,
        Command::Sync(c) => command::sync::run(c, session).await,
        Command::Uploads(c) => command::uploads::run(c, session).await,
        Command::Serve(c) => command::serve::run(c, session).await,
        Command::Changes(c) => command::changes::run(c, session).await,
        Command::Members(c) => command::members::run(c, session).await,
        Command::Diff(c) => command::diff::run(c, session).await,
        Command::Blame(c) => command::blame::run(c, session).await,
        Command::Eligibility(c) => command::eligibility::run(c, session).await,
        Command::Dashboard(c) => command::dashboard::run(c, session).await,
        Command::Activity(c) => command::activity::run(c, session).await,
        Command::Projections(c) => command::projections::run(c, session).await,
        Command::Events(c) => command::events::run(c, session).await,
        Command::Forget(c) => command::forget::run(c, session).await,
        Command::Retention(c) => command::retention::run(c, session).await,
        Command::Keys(c) => command::keys::run(c, session).await,
        Command::Users(c) => command::users::run(c, session).await,
        Command::Verify(c) => command::verify::run(c, session).await,
        Command::Replay(c) => command::replay::run(c, session),
        Command::Backup(c) => command::backup::run(c, session).await,
        Command::Restore(c) => command::restore::run(c, session).await,
        Command::Epoch(c) => command::epoch::run(c, session).await,
        Command::Migrate(c) => command::migrate::run(c, session).await,
        Command::Completions(c) => command::completions::run(c, session),
    }
}

/// A bug ends in one sentence like anything else; where it is, `-v` says.
fn quiet_panics(verbose: bool) {
    panic::set_hook(Box::new(move |info| {
        if verbose {
            let _ = writeln!(std::io::stderr(), "{info}");
        }
    }));
}

fn log_to_stderr(verbose: u8, format: LogFormat) {
    let level = match verbose {
        0 => "error",
        1 => "info,sqlx=warn,lapin=warn",
        _ => "debug,sqlx=info",
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr);
    // Only this program may have set a logger, and it has not: there is nothing to do about an error.
    let _ = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).try_init(),
    };
}
