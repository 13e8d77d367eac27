//! What happened to users and keys. These events are a log of their own, beside the organisation's: taking a key away never
//! waits behind an import. What is said of a person or a key by name is in the body.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::rights::Role;
use crate::ids::OrganisationId;

/// The log of what is above all organisations: users.
pub const INSTALLATION: OrganisationId = OrganisationId(Uuid::nil());

/// A fact about access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Fact {
    /// A key was made; the body says how.
    #[serde(rename = "key.created")]
    KeyCreated {
        /// Which.
        key: String,
        /// On whose behalf it acts.
        user: Uuid,
    },
    /// A key is another now; the body says how it was and how it is.
    #[serde(rename = "key.changed")]
    KeyChanged {
        /// Which.
        key: String,
        /// On whose behalf it acts.
        user: Uuid,
    },
    /// A key has a new secret.
    #[serde(rename = "key.rotated")]
    KeyRotated {
        /// Which.
        key: String,
        /// For how many seconds the former secret works on.
        overlap_seconds: u64,
    },
    /// A key was deleted.
    #[serde(rename = "key.deleted")]
    KeyDeleted {
        /// Which.
        key: String,
    },
    /// All keys of the organisation were revoked.
    #[serde(rename = "keys.revoked")]
    KeysRevoked {
        /// How many worked until then.
        keys: u64,
    },
    /// A user was made; the body says who.
    #[serde(rename = "user.created")]
    UserCreated {
        /// Which.
        user: Uuid,
    },
    /// A user may do nothing any more, or may again.
    #[serde(rename = "user.disabled")]
    UserDisabled {
        /// Which.
        user: Uuid,
        /// Whether that is lifted.
        lifted: bool,
    },
    /// A user has another password.
    #[serde(rename = "user.password_set")]
    PasswordSet {
        /// Which.
        user: Uuid,
    },
    /// A user has another role in the organisation, or none.
    #[serde(rename = "user.role_set")]
    RoleSet {
        /// Which.
        user: Uuid,
        /// The role from now on.
        role: Option<Role>,
    },
}

impl Fact {
    /// The stream, the type and the data of its event.
    ///
    /// # Errors
    /// Never: these are plain values.
    pub fn parts(&self) -> Result<(String, String, Box<serde_json::value::RawValue>), serde_json::Error> {
        #[derive(Deserialize)]
        struct Parts {
            #[serde(rename = "type")]
            kind: String,
            data: Box<serde_json::value::RawValue>,
        }
        let Parts { kind, data } = serde_json::from_str(&serde_json::to_string(self)?)?;
        let stream = match self {
            Fact::KeyCreated { key, .. }
            | Fact::KeyChanged { key, .. }
            | Fact::KeyRotated { key, .. }
            | Fact::KeyDeleted { key } => format!("key-{key}"),
            Fact::KeysRevoked { .. } => "keys".to_owned(),
            Fact::UserCreated { user }
            | Fact::UserDisabled { user, .. }
            | Fact::PasswordSet { user }
            | Fact::RoleSet { user, .. } => format!("user-{user}"),
        };
        Ok((stream, kind, data))
    }
}
