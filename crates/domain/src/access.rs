//! Access: who may do what. A key acts on behalf of a user, with rights of its own, and never with more than that user has now.

mod fact;
mod key;
mod limits;
mod rights;
mod text;
mod user;

pub use fact::{Fact, INSTALLATION};
pub use ipnet::IpNet;
pub use key::{ApiKey, Denied, Grant, KeySecret, LONGEST_OVERLAP, Preset, actor, read_actor};
pub use limits::{FieldLimits, Fields, Rates, RowLimits, network};
pub use rights::{Action, Resource, Rights, Role, UnknownScope};
pub use text::{KeyKind, KeyText, SECRET_BYTES, SECRET_HASH, SecretHash, hash_of, key_id};
pub use user::{User, UserKind, check_email, check_password};

#[cfg(test)]
mod tests;
