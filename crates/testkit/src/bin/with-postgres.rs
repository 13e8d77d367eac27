//! Runs a command with a private PostgreSQL, which it finds in `MUSTER_TEST_POSTGRES_URL`: `with-postgres COMMAND [ARGUMENT…]`.

use std::process::{Command, ExitCode};

use muster_testkit::postgres::{Server, URL_VARIABLE};

fn run() -> std::io::Result<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let Some(program) = args.next() else {
        eprintln!("use: with-postgres COMMAND [ARGUMENT…]");
        return Ok(ExitCode::from(2));
    };
    let server = Server::start()?;
    let status = Command::new(program).args(args).env(URL_VARIABLE, server.url()).status()?;
    Ok(ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)))
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("with-postgres: {error}");
        ExitCode::FAILURE
    })
}
