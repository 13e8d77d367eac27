//! For tests only: builders, private servers and conformance suites.

pub mod beside;
pub mod conformance;
pub mod database;
pub mod given;
mod ordinary;
pub mod postgres;
pub mod rabbitmq;
