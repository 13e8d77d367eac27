//! The bus: doorbells to whoever works, and events to whoever wants to know, through RabbitMQ or inside one process.
//!
//! A message on the bus is a hint, never the truth: the truth is the event log. A doorbell says "this organisation has
//! something up to this number"; whoever hears it reads the log. So a doorbell may come twice, late or not at all without
//! anything being lost but time, as long as somebody sweeps the log now and then and rings again.
//!
//! [`Bus`] has two makings, [`Bus::in_process`] and [`Bus::amqp`], with the same promises; a caller need not know which
//! one it has. One suite of tests holds both to them (`crates/bus/tests`).

mod amqp;
mod backoff;
mod bells;
mod bus;
mod counters;
mod doorbell;
mod error;
mod health;
mod inside;
mod settings;

pub use bells::{Bells, Delivery};
pub use bus::Bus;
pub use counters::Counts;
pub use doorbell::{Doorbell, Message, Role};
pub use error::{BusError, Result};
pub use health::Health;
pub use settings::Settings;
