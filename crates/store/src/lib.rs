//! The event log, the roster and its caches in SQLite and PostgreSQL; sqlx only here.
//!
//! [`Store`] is a handle on either; [`Tx`] is a transaction of one organisation. Members, documents and
//! fingerprints are bytes to the store: it never looks inside. Every query is about one organisation.

pub mod access;
mod body;
mod bulk;
mod connect;
mod document;
mod duty;
mod epoch;
mod error;
pub mod file;
mod fingerprint;
mod forgotten;
mod ident;
mod lease;
mod log;
mod organisation;
mod read;
pub mod read_model;
mod relay;
mod roster;
mod schema;
mod tx;

pub use body::{EncodedBody, decode, encode, encode_hashed};
pub use connect::Store;
pub use document::{ChangeSetRow, FeedRow, Filter, UploadRow};
pub use duty::Duty;
pub use error::{Result, StoreError};
pub use fingerprint::Fingerprints;
pub use forgotten::BlockHash;
pub use ident::{IDENTS_PER_PAGE, Ident};
pub use lease::Lease;
pub use log::{Appended, Imported, KeyedAppend, Prepared, RawEvent, Who};
pub use organisation::{Head, OrganisationRow, Secret};
pub use read::EventSlices;
pub use relay::{Told, Untold};
pub use roster::{MEMBERS_PER_PAGE, Stored};
pub use schema::SCHEMA_VERSION;
pub use tx::Tx;
