//! The commands, a file each.

pub mod changes;
pub mod completions;
pub mod demo;
pub mod feeds;
pub mod migrate;
pub mod org;
pub mod replay;
pub mod sync;
