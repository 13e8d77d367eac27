//! Names of queues and exchange, and how they are declared.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::why;
use crate::doorbell::Role;
use crate::error::{BusError, Result};

/// How the names of one installation begin.
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub fn new(prefix: &str) -> Result<Names> {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if prefix.is_empty() || prefix.len() > 200 || !prefix.chars().all(fine) || prefix.starts_with("amq.") {
            return Err(BusError::Settings(format!(
                "the prefix {prefix:?} for names on the broker cannot be used: up to 200 letters, digits, dots, hyphens and \
                 underscores, and not the broker's own \"amq.\""
            )));
        }
        Ok(Names { prefix: prefix.into() })
    }

    pub fn queue(&self, role: Role) -> String {
        format!("{}.{}", self.prefix, role.name())
    }

    pub fn events(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// Declares the queue of a role: durable and replicated, with no other arguments, so that limits are the operator's policy.
    pub async fn declare_queue(&self, channel: &Channel, role: Role) -> Result<(), String> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let name = self.queue(role);
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(ShortString::from(name.as_str()), options, arguments).await;
        declared.map(drop).map_err(|error| why::declared(&error, "queue", &name, "durable, x-queue-type quorum"))
    }

    /// Declares the exchange of events.
    pub async fn declare_events(&self, channel: &Channel) -> Result<(), String> {
        let name = self.events();
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let declared = channel
            .exchange_declare(ShortString::from(name.as_str()), ExchangeKind::Topic, options, FieldTable::default())
            .await;
        declared.map_err(|error| why::declared(&error, "exchange", &name, "durable, of type topic"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_the_prefix() {
        let names = Names::new("muster").unwrap();
        assert_eq!(names.queue(Role::Worker), "muster.worker");
        assert_eq!(names.events(), "muster.events");
        for not in ["", "amq.x", "a b", "ü"] {
            assert!(Names::new(not).is_err(), "{not}");
        }
    }
}
