//! Whether the bus is all right, and if not, since when and why.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

/// How the bus is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Connected,
    /// Something is not: publishing may be refused, and doorbells may come late.
    Degraded {
        /// Since when.
        since: SystemTime,
        /// Why, in a sentence for an operator. It never has a password in it.
        why: String,
    },
}

impl Health {
    /// Whether all is well.
    pub fn is_connected(&self) -> bool {
        matches!(self, Health::Connected)
    }
}

/// What may be wrong. The first in this order is what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A connection to the broker: the one for publishing, the one for consuming.
    Connection(&'static str),
    /// The broker does not take messages at the moment.
    Blocked(&'static str),
    /// What one channel needs: a queue, an exchange, a permission.
    Channel(&'static str),
    /// What was published is refused.
    Refused(&'static str),
}

/// Where every part of the bus writes what is wrong with it.
pub(crate) struct Board {
    wrong: Mutex<BTreeMap<Part, String>>,
    health: watch::Sender<Health>,
}

impl Board {
    pub fn new() -> Board {
        Board { wrong: Mutex::default(), health: watch::Sender::new(Health::Connected) }
    }

    pub fn watch(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Notes that the part has yet to begin: nothing to warn of.
    pub fn begin(&self, part: Part, why: &str) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).insert(part, why.into());
        self.say();
    }

    /// Notes what is wrong with the part, or that nothing is.
    pub fn note(&self, part: Part, why: Option<String>) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &why {
            Some(why) => wrong.insert(part, why.clone()),
            None => wrong.remove(&part),
        };
        drop(wrong);
        if before == why {
            return;
        }
        match &why {
            Some(why) => tracing::warn!(part = ?part, "the bus: {why}"),
            None => tracing::info!(part = ?part, "the bus: all right again"),
        }
        self.say();
    }

    /// Tells everybody who watches how things are now.
    fn say(&self) {
        self.health.send_if_modified(|health| {
            // Read in here, so that the last to speak says what was noted last.
            let first = self.wrong.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned();
            let next = match (&*health, first) {
                (_, None) => Health::Connected,
                (Health::Connected, Some(why)) => Health::Degraded { since: SystemTime::now(), why },
                (Health::Degraded { since, .. }, Some(why)) => Health::Degraded { since: *since, why },
            };
            let changed = *health != next;
            *health = next;
            changed
        });
    }

    /// What is wrong with the part.
    pub fn why(&self, part: Part) -> Option<String> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).get(&part).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_said_and_since_when_it_began() {
        let board = Board::new();
        let health = board.watch();
        assert!(health.borrow().is_connected());
        board.note(Part::Channel("worker"), Some("no queue".into()));
        let Health::Degraded { since, .. } = health.borrow().clone() else { panic!() };
        board.note(Part::Connection("publishing"), Some("away".into()));
        assert_eq!(*health.borrow(), Health::Degraded { since, why: "away".into() });
        board.note(Part::Connection("publishing"), None);
        assert_eq!(*health.borrow(), Health::Degraded { since, why: "no queue".into() });
        board.note(Part::Channel("worker"), None);
        assert!(health.borrow().is_connected());
    }
}
