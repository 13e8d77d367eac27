//! Where the broker is, and how patient to be with it.

use std::time::Duration;

/// The settings of a bus over AMQP.
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The broker's address: `amqp://user:password@host:port/virtual-host`.
    pub url: String,
    /// Certificates in PEM by which an `amqps://` broker's may be signed, beside those that the machine trusts.
    pub trusted: Option<String>,
    /// What the names of queues and exchange begin with: `muster` unless two installations share a virtual host.
    pub prefix: String,
    /// How a connection is called in the broker's lists.
    pub name: String,
    /// How many doorbells a receiver may hold without having acknowledged them.
    pub prefetch: u16,
    /// A connection on which nothing was heard for twice as long is given up.
    pub heartbeat: Duration,
    /// How long one attempt to connect may take.
    pub connect_within: Duration,
    /// How long a message may wait for its confirm before it is in doubt.
    pub confirm_within: Duration,
    /// After how long a doorbell that was not done is given back to the queue.
    pub again_after: Duration,
    /// The longest wait between two attempts to connect.
    pub longest_wait: Duration,
    /// How long closing waits for doorbells that are still being worked on.
    pub close_within: Duration,
    /// Told the name of a moment at which it matters to die or to be stopped, so that tests can do it there:
    /// `doorbells_sent` and `events_sent`, when something was published and its confirm is not awaited yet.
    pub point: fn(&str),
}

impl Settings {
    /// The usual settings for the broker at this address.
    pub fn new(url: impl Into<String>) -> Settings {
        Settings {
            url: url.into(),
            trusted: None,
            prefix: "muster".into(),
            name: "muster".into(),
            prefetch: 8,
            heartbeat: Duration::from_secs(10),
            connect_within: Duration::from_secs(30),
            confirm_within: Duration::from_secs(10),
            again_after: Duration::from_secs(1),
            longest_wait: Duration::from_secs(15),
            close_within: Duration::from_secs(10),
            point: |_| {},
        }
    }
}

impl std::fmt::Debug for Settings {
    /// Without the address, which has a password in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("prefix", &self.prefix).field("name", &self.name).finish_non_exhaustive()
    }
}
