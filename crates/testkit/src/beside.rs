//! A command that runs beside a private server, and finds its address in a variable.

use std::{
    env, io,
    process::{Command, ExitCode},
};

/// Starts a server, runs the command that this program was given, and stops the server with it.
pub fn run<S>(
    name: &str,
    variable: &str,
    start: impl FnOnce() -> io::Result<S>,
    url: impl FnOnce(&S) -> String,
) -> ExitCode {
    let mut args = env::args_os().skip(1);
    let Some(program) = args.next() else {
        eprintln!("use: {name} COMMAND [ARGUMENT…]");
        return ExitCode::from(2);
    };
    let ran = start().and_then(|server| Command::new(program).args(args).env(variable, url(&server)).status());
    match ran {
        Ok(status) => ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
