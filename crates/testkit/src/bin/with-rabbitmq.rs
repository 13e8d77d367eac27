//! Runs a command with a private RabbitMQ, which it finds in `MUSTER_TEST_AMQP_URL`: `with-rabbitmq COMMAND [ARGUMENT…]`.

use std::process::{Command, ExitCode};

use muster_testkit::rabbitmq::{Broker, URL_VARIABLE};

fn run() -> std::io::Result<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let Some(program) = args.next() else {
        eprintln!("use: with-rabbitmq COMMAND [ARGUMENT…]");
        return Ok(ExitCode::from(2));
    };
    let broker = Broker::start()?;
    let status = Command::new(program).args(args).env(URL_VARIABLE, broker.url()).status()?;
    Ok(ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)))
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("with-rabbitmq: {error}");
        ExitCode::FAILURE
    })
}
