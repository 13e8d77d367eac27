//! Runs a command with a private RabbitMQ, which it finds in `MUSTER_TEST_AMQP_URL`: `with-rabbitmq COMMAND [ARGUMENT…]`.

use std::process::ExitCode;

use muster_testkit::{
    beside,
    rabbitmq::{Broker, URL_VARIABLE},
};

fn main() -> ExitCode {
    beside::run("with-rabbitmq", URL_VARIABLE, Broker::start, |server| server.url().to_string())
}
