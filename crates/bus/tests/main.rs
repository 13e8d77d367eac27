//! The promises of the bus, held by both makings; and what becomes of them when the broker fails.

mod faults;
mod promises;
mod support;
