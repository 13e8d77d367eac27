//! The rules of the roster, as pure functions: time, ids and randomness are arguments.

pub mod change;
pub mod codec;
pub mod diff;
pub mod digest;
pub mod documents;
pub mod eligibility;
pub mod event;
pub mod fact;
pub mod field;
pub mod fold;
pub mod forgotten;
pub mod guard;
pub mod handover;
pub mod identity;
pub mod ids;
pub mod link;
pub mod member;
pub mod normalise;
pub mod read_as;
pub mod rebase;
pub mod replay;
pub mod selection;
pub mod settings;
pub mod undo;
pub mod values;
