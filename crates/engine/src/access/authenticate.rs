//! Letting a key in: one read of key, user and role, so that a revocation holds at once, whoever made it.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use muster_domain::{
    access::{ApiKey, Denied, Grant, KeySecret, KeyText, Role, User},
    digest::Keys,
    ids::OrganisationId,
};
use muster_store::StoreError;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Kept, locked};
use crate::{Engine, Error, Organisation, Result};

/// Who was let in, and what they may do.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The organisation that the key is of, as it is now.
    pub organisation: Arc<Organisation>,
    /// The roster version now: what it counts is in whatever is read from the roster from here on.
    pub roster_version: u64,
    /// What may be done now.
    pub grant: Grant,
}

/// Why nobody was let in.
#[derive(Debug)]
pub enum Refusal {
    /// The key is none, or not any more, or not for here; which key it is if the secret was right.
    Denied(Denied, Option<Box<ApiKey>>),
    /// The organisation has no access over HTTP.
    AddOnOff,
    /// It could not be found out.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal::Failed(error.into())
    }
}

/// The secret of no organisation.
const NOBODYS: [u8; 32] = [0; 32];

/// How long whoever has no key waits for the answer, where the look-ups are not slower: what little they differ by does not show.
const NO_KEY_AFTER: Duration = Duration::from_millis(10);

/// By what a secret is hashed of which there is no key, so that it takes as long.
static NOBODY: LazyLock<Keys> = LazyLock::new(|| Keys::derive(&NOBODYS));

impl Engine {
    /// Lets a key in, if it may be used now from that address. A wrong secret takes as long as an unknown key, whether or not its
    /// organisation is remembered: who is not let in at once is weighed again by what the store says, and so is nobody; and both
    /// are answered after the same time.
    ///
    /// # Errors
    /// Why it is not let in. Whoever has not the right secret learns no more than that there is no such key.
    pub async fn authenticate(&self, text: &KeyText, from: IpAddr) -> Result<Caller, Refusal> {
        let (now, began) = (self.now(), Instant::now());
        let found = self.users_and_keys().await?.find_key(&text.id).await?;
        let org = found.as_ref().map_or(OrganisationId(Uuid::nil()), |found| found.organisation);
        let secret = found.as_ref().map(|f| KeySecret { hash: f.key.hash, former: f.key.former });
        let weigh = |keys: Option<&Keys>| KeySecret::weigh(text, keys.zip(secret.as_ref()), &NOBODY, now);
        let mut checked = weigh(self.remembered(org).as_ref().map(|kept| &kept.organisation.keys));
        if checked == Err(Denied::Unknown) {
            checked = weigh(self.stored_keys(org).await?.as_ref());
        }
        let Some(found) = found.filter(|_| checked != Err(Denied::Unknown)) else {
            return Err(self.no_key(began).await);
        };
        let key: ApiKey = serde_json::from_slice(&found.key.doc)?;
        if text.kind.is_some_and(|kind| kind != key.kind) {
            return Err(self.no_key(began).await);
        }
        let denied = |denied, key: &ApiKey| Refusal::Denied(denied, Some(Box::new(key.clone())));
        let user: Option<User> = found.user.as_deref().map(serde_json::from_slice).transpose()?;
        let role = found.role.as_deref().and_then(Role::from_word);
        let grant = match (&user, checked) {
            _ if key.revoked_at.is_some() => Err(Denied::Revoked),
            (_, Err(why)) => Err(why),
            (Some(user), _) => key.grant(user, role, from, now),
            (None, _) => Err(Denied::NoRole),
        };
        if let Err(why @ (Denied::Revoked | Denied::Expired | Denied::RotatedOut)) = grant {
            return Err(denied(why, &key));
        }
        let (organisation, roster_version) = self.organisation_now(found.organisation).await?;
        if !organisation.settings.api.access {
            return Err(Refusal::AddOnOff);
        }
        let grant = grant.map_err(|why| denied(why, &key))?;
        self.note_use(&grant.key, from, now);
        Ok(Caller { organisation, roster_version, grant })
    }

    async fn no_key(&self, began: Instant) -> Refusal {
        self.count_unknown();
        tokio::time::sleep_until(began + NO_KEY_AFTER).await;
        Refusal::Denied(Denied::Unknown, None)
    }

    /// An organisation as it is now, and the version of its roster; what is remembered counts while nothing was appended to
    /// its log.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn organisation_now(&self, org: OrganisationId) -> Result<(Arc<Organisation>, u64)> {
        let head = self.store.head(org).await?;
        let kept = self.remembered(org);
        if let Some(kept) = kept.filter(|kept| kept.last_seq == head.last_seq) {
            return Ok((kept.organisation, head.roster_version));
        }
        // The number was read first: what is loaded is as new as that, or newer, and then loaded again next time.
        let organisation = Arc::new(self.load(self.store.organisation_of(org).await?).await?);
        let kept = Kept { last_seq: head.last_seq, organisation: organisation.clone() };
        locked(&self.access.organisations).insert(org, kept);
        Ok((organisation, head.roster_version))
    }

    /// What is remembered of an organisation.
    fn remembered(&self, org: OrganisationId) -> Option<Kept> {
        locked(&self.access.organisations).get(&org).cloned()
    }

    /// The secrets of an organisation, as they are stored; none if there is no such organisation, with as much work.
    async fn stored_keys(&self, org: OrganisationId) -> Result<Option<Keys>> {
        match self.store.organisation_of(org).await {
            Ok(row) => Ok(Some(Keys::derive(row.secret.bytes()))),
            Err(StoreError::NotFound) => {
                std::hint::black_box(Keys::derive(&NOBODYS));
                Ok(None)
            }
            Err(e) => Err(e.into()),
        }
    }
}
