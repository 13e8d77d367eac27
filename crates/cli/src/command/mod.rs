//! The commands, a file each.

pub mod activity;
pub mod backup;
pub mod blame;
pub mod changes;
pub mod completions;
pub mod dashboard;
pub mod demo;
pub mod diff;
pub mod eligibility;
pub mod epoch;
pub mod events;
pub mod feeds;
pub mod forget;
pub mod map;
pub mod members;
pub mod migrate;
pub mod org;
pub mod projections;
pub mod replay;
pub mod restore;
pub mod retention;
pub mod serve;
pub mod sync;
pub mod uploads;
pub mod verify;
