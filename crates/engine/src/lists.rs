//! Uploads and change sets: lists of them, newest first, and one of them by its identity or the beginning of it.

use std::cmp::Reverse;

use muster_domain::{
    documents::{ChangeSet, Upload},
    fact::State,
    ids::{ChangeSetId, FeedNo, UploadId},
};
use muster_store::{Filter, StoreError};
use uuid::Uuid;

use crate::{Engine, Error, Organisation, Result};

/// Which uploads or change sets are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those of this feed.
    pub feed: Option<FeedNo>,
    /// Only those before this arrival number (uploads), or the number of the event that made them (change sets).
    pub before: Option<u64>,
    /// At most so many; 0 for all.
    pub limit: u32,
}

impl Which {
    /// All in a state, or in any.
    pub fn all(state: Option<State>) -> Which {
        Which { state, ..Which::default() }
    }

    fn filter(self) -> Filter {
        let Which { state, feed, before, limit } = self;
        Filter { state: state.map(|s| s.word().to_owned()), feed, before, limit }
    }
}

impl Engine {
    /// Uploads, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn uploads(&self, org: &Organisation, which: Which) -> Result<Vec<Upload>> {
        let rows = self.store.uploads(org.row.id, &which.filter()).await?;
        rows.iter().map(|row| Ok(serde_json::from_slice(&row.doc)?)).collect()
    }

    /// Change sets, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn change_sets(&self, org: &Organisation, which: Which) -> Result<Vec<ChangeSet>> {
        let rows = self.store.change_sets(org.row.id, &which.filter()).await?;
        rows.iter().map(|row| Ok(serde_json::from_slice(&row.doc)?)).collect()
    }

    /// Change sets that one person approved and somebody else must approve too, newest first. All that wait are looked at.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn awaiting_second(&self, org: &Organisation, which: Which) -> Result<Vec<ChangeSet>> {
        let mut found = Vec::new();
        for state in [State::Held, State::PartlyApplied] {
            if which.state.is_none_or(|only| only == state) {
                let waiting = Which { state: Some(state), limit: 0, ..which };
                found.extend(
                    self.change_sets(org, waiting).await?.into_iter().filter(ChangeSet::awaits_second_approver),
                );
            }
        }
        found.sort_by_key(|set| Reverse(set.created_seq));
        if which.limit > 0 {
            found.truncate(which.limit as usize);
        }
        Ok(found)
    }

    /// The upload of an identity.
    ///
    /// # Errors
    /// If there is none, or the store cannot be read.
    pub async fn upload(&self, org: &Organisation, id: UploadId) -> Result<Upload> {
        match self.store.upload(org.row.id, id).await {
            Ok(row) => Ok(serde_json::from_slice(&row.doc)?),
            Err(StoreError::NotFound) => Err(no_upload(&id.to_string())),
            Err(e) => Err(e.into()),
        }
    }

    /// The change set of an identity.
    ///
    /// # Errors
    /// If there is none, or the store cannot be read.
    pub async fn change_set(&self, org: &Organisation, id: ChangeSetId) -> Result<ChangeSet> {
        match self.store.change_set(org.row.id, id).await {
            Ok(row) => Ok(serde_json::from_slice(&row.doc)?),
            Err(StoreError::NotFound) => Err(no_change_set(&id.to_string())),
            Err(e) => Err(e.into()),
        }
    }

    /// The upload with this id, or the only one whose id begins so.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub async fn find_upload(&self, org: &Organisation, id: &str) -> Result<Upload> {
        let id = id.trim().to_lowercase();
        if let Ok(whole) = Uuid::parse_str(&id) {
            return self.upload(org, UploadId(whole)).await;
        }
        let all = self.uploads(org, Which::default()).await?;
        let mut matching = all.into_iter().filter(|u| u.received.upload.to_string().starts_with(&id));
        match (matching.next(), matching.next()) {
            (Some(upload), None) if !id.is_empty() => Ok(upload),
            (Some(_), _) => Err(Error::Wrong(format!("More than one upload begins with {id}; give more of the id."))),
            _ => Err(no_upload(&id)),
        }
    }

    /// A change set by id or the beginning of one; without, the newest that waits.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub async fn find_change_set(&self, org: &Organisation, id: Option<&str>) -> Result<ChangeSet> {
        let Some(id) = id else { return self.newest_waiting(org).await };
        let id = id.trim().to_lowercase();
        if let Ok(whole) = Uuid::parse_str(&id) {
            return self.change_set(org, ChangeSetId(whole)).await;
        }
        let all = self.change_sets(org, Which::default()).await?;
        let mut matching = all.into_iter().filter(|s| s.id.to_string().starts_with(&id));
        match (matching.next(), matching.next()) {
            (Some(set), None) => Ok(set),
            (Some(_), Some(_)) => {
                Err(Error::Wrong(format!("More than one change set begins with {id}; give more of the id.")))
            }
            _ => Err(no_change_set(&id)),
        }
    }

    async fn newest_waiting(&self, org: &Organisation) -> Result<ChangeSet> {
        let mut waiting = Vec::new();
        for state in [State::Held, State::PartlyApplied] {
            let newest = Which { limit: 1, ..Which::all(Some(state)) };
            waiting.extend(self.change_sets(org, newest).await?);
        }
        let newest = waiting.into_iter().max_by_key(|set| set.created_seq);
        newest.ok_or_else(|| Error::Unknown("No change set waits for review.".to_owned()))
    }
}

fn no_upload(id: &str) -> Error {
    Error::Unknown(format!("There is no upload {id}; `muster uploads list` shows those there are."))
}

fn no_change_set(id: &str) -> Error {
    Error::Unknown(format!("There is no change set {id}; `muster changes list` shows those there are."))
}
