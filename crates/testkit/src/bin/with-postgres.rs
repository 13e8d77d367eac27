//! Runs a command with a private PostgreSQL, which it finds in `MUSTER_TEST_POSTGRES_URL`: `with-postgres COMMAND [ARGUMENT…]`.

use std::process::ExitCode;

use muster_testkit::{
    beside,
    postgres::{Server, URL_VARIABLE},
};

fn main() -> ExitCode {
    beside::run("with-postgres", URL_VARIABLE, Server::start, |server| server.url().to_string())
}
