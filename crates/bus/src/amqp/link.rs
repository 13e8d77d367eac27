//! One connection under supervision: made, watched, and made again when it is lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::tcp::OwnedTLSConfig;
use lapin::{Connection, ConnectionProperties, Event, runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::{Shared, why};
use crate::backoff::Backoff;
use crate::health::Part;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// The connection as it is now, for those who open channels on it.
#[derive(Clone)]
pub(super) struct Link {
    pub name: &'static str,
    connection: watch::Receiver<Option<Arc<Connection>>>,
}

impl Link {
    /// Starts to connect. The task ends when `ended` says so.
    pub fn start(shared: Arc<Shared>, name: &'static str, ended: watch::Receiver<bool>) -> (Link, JoinHandle<()>) {
        let (sender, connection) = watch::channel(None);
        shared.board.begin(Part::Connection(name), "the broker has not answered yet");
        let task = tokio::spawn(keep(shared, name, sender, ended));
        (Link { name, connection }, task)
    }

    /// Waits until there is a connection. `None` if there will be none any more.
    pub async fn connected(&mut self) -> Option<Arc<Connection>> {
        self.connection.wait_for(Option::is_some).await.ok()?.clone()
    }
}

/// Whether it has been said, or nobody is left to say it.
pub(super) async fn said(signal: &mut watch::Receiver<bool>) {
    let _ = signal.wait_for(|said| *said).await;
}

async fn keep(
    shared: Arc<Shared>,
    name: &'static str,
    sender: watch::Sender<Option<Arc<Connection>>>,
    mut ended: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new(shared.settings.longest_wait);
    let mut before = false;
    loop {
        let attempt = tokio::select! {
            _ = said(&mut ended) => return,
            attempt = connect(&shared, name) => attempt,
        };
        let lost = match attempt {
            Err(why) => why,
            Ok(connection) => {
                if std::mem::replace(&mut before, true) {
                    shared.counters.reconnects.up();
                }
                backoff.reset();
                shared.board.note(Part::Connection(name), None);
                let connection = Arc::new(connection);
                sender.send_replace(Some(connection.clone()));
                let lost = tokio::select! {
                    _ = said(&mut ended) => {
                        sender.send_replace(None);
                        let _ = timeout(GOODBYE, connection.close(200, "closed".into())).await;
                        return;
                    }
                    lost = watch_over(&shared, name, &connection) => lost,
                };
                sender.send_replace(None);
                shared.board.note(Part::Blocked(name), None);
                lost
            }
        };
        shared.board.note(Part::Connection(name), Some(lost));
        tokio::select! {
            _ = said(&mut ended) => return,
            _ = tokio::time::sleep(backoff.wait()) => {}
        }
    }
}

async fn connect(shared: &Shared, name: &str) -> Result<Connection, String> {
    let properties =
        ConnectionProperties::default().with_connection_name(format!("{} {name}", shared.settings.name).into());
    let runtime = runtime::default_runtime().map_err(|error| error.to_string())?;
    let tls = OwnedTLSConfig { identity: None, cert_chain: shared.settings.trusted.clone() };
    let attempt = Connection::connect_uri_with_config(shared.uri.clone(), properties, tls, runtime);
    match timeout(shared.settings.connect_within, attempt).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(why::connection(&error)),
        Err(_) => Err("the broker cannot be reached: it did not answer in time".into()),
    }
}

/// Waits for the end of a connection and says why it ended.
async fn watch_over(shared: &Shared, name: &'static str, connection: &Connection) -> String {
    let mut events = Box::pin(connection.events_listener());
    let mut look = interval(Duration::from_secs(1));
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            // Should the end ever come without an event.
            _ = look.tick() => {
                if connection.status().connected() { continue } else { None }
            }
        };
        match event {
            Some(Event::ConnectionBlocked(reason)) => {
                let why = format!("the broker does not take messages at the moment: {reason}");
                shared.board.note(Part::Blocked(name), Some(why));
            }
            Some(Event::ConnectionUnblocked) => shared.board.note(Part::Blocked(name), None),
            // A channel's error comes here too; its own task deals with that.
            Some(Event::Error(error)) if !connection.status().connected() => return why::connection(&error),
            Some(_) => {}
            None => return "the connection to the broker was lost".into(),
        }
    }
}
