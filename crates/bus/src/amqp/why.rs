//! What the broker or the network said, as a sentence for an operator. The address is in none of them.

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Error, ErrorKind};

/// Why a connection could not be made, or was lost.
pub(super) fn connection(error: &Error) -> String {
    match error.kind() {
        ErrorKind::IOError(cause) => format!("the broker cannot be reached: {cause}"),
        ErrorKind::MissingHeartbeatError => "the broker does not answer any more".into(),
        ErrorKind::ProtocolError(said) => match said.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
                format!("the broker does not let this user in: {}", said.get_message())
            }
            AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) => "the broker is shutting down".into(),
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
                format!("the broker does not allow the connection: {}", said.get_message())
            }
            _ => format!("the broker ended the connection: {}", said.get_message()),
        },
        _ => format!("the connection to the broker was lost: {error}"),
    }
}

/// Why a queue or an exchange could not be declared.
pub(super) fn declared(error: &Error, what: &str, name: &str, needed: &str) -> String {
    match soft(error) {
        Some((AMQPSoftError::PRECONDITIONFAILED, _)) => format!(
            "the {what} {name} exists with other arguments than it needs ({needed}): delete it, and it is made again; or choose \
             another prefix"
        ),
        Some((AMQPSoftError::ACCESSREFUSED, said)) => format!(
            "the user of the broker's address may not declare the {what} {name}: it needs the permission to configure, write \
             and read; the broker says: {said}"
        ),
        _ => format!("the {what} {name} could not be declared: {}", channel(error)),
    }
}

/// Why a channel was lost.
pub(super) fn channel(error: &Error) -> String {
    match soft(error) {
        Some((_, said)) => format!("the broker closed the channel: {said}"),
        None => connection(error),
    }
}

fn soft(error: &Error) -> Option<(AMQPSoftError, String)> {
    let ErrorKind::ProtocolError(said) = error.kind() else { return None };
    match said.kind() {
        AMQPErrorKind::Soft(kind) => Some((kind.clone(), said.get_message().to_string())),
        AMQPErrorKind::Hard(_) => None,
    }
}
