//! Names of those who act. The log says who acted by identities, which never change; names are looked up when somebody is told
//! of it, so that a user or key is called what it is called now, and a log that is handed on names nobody.

use std::collections::{HashMap, hash_map::Entry};

use muster_domain::{
    access::{ApiKey, User, read_actor},
    ids::OrganisationId,
};
use muster_store::{StoreError, access::Access};
use uuid::Uuid;

use crate::{Engine, Result};

/// Names by actor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// The name of an actor, if it is a user with a key of the organisation.
    pub fn known(&self, actor: &str) -> Option<&str> {
        self.0.get(actor).map(String::as_str)
    }

    /// An actor as people are told of it: by name, or as the log says it.
    pub fn of<'a>(&'a self, actor: &'a str) -> &'a str {
        self.known(actor).unwrap_or(actor)
    }
}

impl Engine {
    /// What actors of an organisation's log are called now: users who acted through keys of the organisation, with the name of the
    /// key. A log that came from another installation names keys that are not known here, and others have no name but their own.
    ///
    /// # Errors
    /// If users and keys cannot be read.
    pub async fn names(&self, org: OrganisationId, actors: &[&str]) -> Result<Names> {
        let mut names = HashMap::new();
        for actor in actors {
            let Some((key, user)) = read_actor(actor) else { continue };
            if let Entry::Vacant(place) = names.entry((*actor).to_owned())
                && self.store.has_access()
            {
                place.insert(name(&self.users_and_keys().await?, org, key, user).await?);
            }
        }
        Ok(Names(names.into_iter().filter_map(|(actor, name)| Some((actor, name?))).collect()))
    }
}

/// Users belong to no organisation: only those are named here whom one of its own keys leads to.
async fn name(access: &Access, org: OrganisationId, key: &str, user: Uuid) -> Result<Option<String>> {
    let key: ApiKey = match access.key(org, key).await {
        Ok(row) => serde_json::from_slice(&row.doc)?,
        Err(StoreError::NotFound) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let user: User = match access.account(user).await {
        Ok(row) => serde_json::from_slice(&row.doc)?,
        Err(StoreError::NotFound) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    Ok(Some(format!("{} (key {})", user.name, key.name)))
}
