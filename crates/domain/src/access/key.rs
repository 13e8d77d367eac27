//! Keys, what they allow at a moment, and what keys may be made of them.

use chrono::{DateTime, Duration, Utc};
use core::net::IpAddr;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    limits::{FieldLimits, Fields, Rates, RowLimits, by_number, networks_within},
    rights::{Action, Resource, Rights, Role},
    text::{KeyKind, KeyText, SECRET_HASH, SecretHash},
    user::{User, UserKind},
};
use crate::{
    digest::Keys,
    field::{FieldId, FieldSet},
    ids::{FeedNo, OrganisationId},
    settings::{ApiRates, Mode},
};

/// A key as people see it: everything but its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Identity, which is no secret.
    pub id: String,
    /// The organisation that it is of.
    pub organisation: OrganisationId,
    /// What it is for.
    pub kind: KeyKind,
    /// What people call it.
    pub name: String,
    /// The user on whose behalf it acts.
    pub user: Uuid,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_at: DateTime<Utc>,
    /// Until when it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// What it may do, if its user may.
    pub rights: Rights,
    /// On which fields.
    #[serde(default)]
    pub fields: FieldLimits,
    /// On whom.
    #[serde(default)]
    pub rows: RowLimits,
    /// The only feed for which it speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<FeedNo>,
    /// From where; an empty list means everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
    /// How often.
    #[serde(default)]
    pub rates: Rates,
    /// The last four letters of its secret.
    pub last4: String,
    /// Since when it does not work any more, if it was deleted or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The stored secrets of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySecret {
    /// The present one's hash.
    pub hash: SecretHash,
    /// The former one's hash, and until when it works, after a rotation.
    pub former: Option<(SecretHash, DateTime<Utc>)>,
}

/// Why a key is not let in. Only a caller who has the right secret is told more than `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// There is no such key, or the secret is not its own.
    Unknown,
    /// It was deleted or revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// This is its former secret, and the overlap of the rotation is over.
    RotatedOut,
    /// It may not be used from this address.
    Network,
    /// The user on whose behalf it acts is disabled.
    UserDisabled,
    /// That user has no role in the organisation any more.
    NoRole,
}

impl KeySecret {
    /// Whether a hash is one of the secrets', compared in constant time.
    ///
    /// # Errors
    /// If it is none, or the former one after its time.
    pub fn check(&self, given: &SecretHash, now: DateTime<Utc>) -> Result<(), Denied> {
        // Where there is no former secret, something is compared all the same.
        let former = self.former.as_ref().map_or(&NOBODYS, |(hash, _)| hash);
        match (is_same(&self.hash, given), is_same(former, given), self.former) {
            (true, ..) => Ok(()),
            (_, true, Some((_, until))) if now < until => Ok(()),
            (_, true, Some(_)) => Err(Denied::RotatedOut),
            _ => Err(Denied::Unknown),
        }
    }

    /// Whether a text has the secret of the key that was found by its identity. Where none was found, `nobody` hashes and
    /// compares as much, so that the time tells nobody which identities there are.
    ///
    /// # Errors
    /// As [`check`](KeySecret::check).
    pub fn weigh(
        text: &KeyText,
        found: Option<(&Keys, &KeySecret)>,
        nobody: &Keys,
        now: DateTime<Utc>,
    ) -> Result<(), Denied> {
        let nobodys = KeySecret { hash: NOBODYS, former: None };
        let (keys, secret) = found.unwrap_or((nobody, &nobodys));
        let checked = secret.check(&keys.secret_of(text), now);
        if found.is_some() { checked } else { Err(Denied::Unknown) }
    }
}

/// The hash of no secret.
const NOBODYS: SecretHash = [0; SECRET_HASH];

/// Compares in constant time.
fn is_same(one: &SecretHash, other: &SecretHash) -> bool {
    #[cfg(test)]
    super::tests::COMPARED.with(|count| count.set(count.get() + 1));
    blake3::Hash::from_bytes(*one) == blake3::Hash::from_bytes(*other)
}

impl ApiKey {
    /// As people tell it from others.
    pub fn shown(&self) -> String {
        format!("{}…{}", self.kind.prefix(), self.last4)
    }

    /// What a holder of the right secret may do now, from that address, on behalf of a user of that role.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn grant(&self, user: &User, role: Option<Role>, from: IpAddr, now: DateTime<Utc>) -> Result<Grant, Denied> {
        if self.revoked_at.is_some() {
            return Err(Denied::Revoked);
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return Err(Denied::Expired);
        }
        if !self.networks.is_empty() && !self.networks.iter().any(|net| net.contains(&from.to_canonical())) {
            return Err(Denied::Network);
        }
        if user.disabled_at.is_some() {
            return Err(Denied::UserDisabled);
        }
        let role = if user.operator { Some(Role::Administrator) } else { role };
        let role = role.ok_or(Denied::NoRole)?;
        Ok(Grant { key: self.clone(), user: user.clone(), role, rights: self.rights.and(role.rights()) })
    }
}

/// Who acts when a key is used, as the log says it: by identities, which never change, and not by names.
pub fn actor(key: &str, user: Uuid) -> String {
    format!("key:{key} user:{user}")
}

/// The key and the user of an actor, if a key was used.
pub fn read_actor(actor: &str) -> Option<(&str, Uuid)> {
    let (key, user) = actor.strip_prefix("key:")?.split_once(" user:")?;
    Some((key, user.parse().ok()?))
}

/// What a caller may do now: the rights of the key that the user on whose behalf it acts has too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The key.
    pub key: ApiKey,
    /// On whose behalf.
    pub user: User,
    /// What that user is in the organisation.
    pub role: Role,
    /// What may be done.
    pub rights: Rights,
}

impl Grant {
    /// Whether an action on a resource is allowed.
    pub fn may(&self, resource: Resource, action: Action) -> bool {
        self.rights.has(resource, action)
    }

    /// Who acts, as the log says it: the user, and by which key.
    pub fn actor(&self) -> String {
        actor(&self.key.id, self.user.id)
    }

    /// The fields that may be read in what is shown of a resource; none for all. A name that is no field any more is nothing.
    pub fn readable(&self, resource: Resource, number: impl Fn(&str) -> Option<FieldId>) -> Option<FieldSet> {
        self.key.fields.readable(resource).map(|names| by_number(&names, number))
    }

    /// The fields that may be written through a resource; none for all.
    pub fn writable(&self, resource: Resource, number: impl Fn(&str) -> Option<FieldId>) -> Option<FieldSet> {
        self.key.fields.writable(resource).map(|names| by_number(&names, number))
    }

    /// Whether a payload as it came may be handed out: it cannot be shown in part.
    pub fn sees_everything(&self) -> bool {
        self.key.rows.is_empty() && self.key.fields.readable(Resource::Uploads).is_none()
    }

    /// Whether the key is for some people, some fields or one feed only.
    pub fn is_limited(&self) -> bool {
        let all_fields = |fields: &Fields| fields.read.is_none() && fields.write.is_none();
        !self.key.rows.is_empty() || self.key.feed.is_some() || !self.key.fields.0.values().all(all_fields)
    }

    /// Whether all that there is of a resource may be shown: of all people, in all fields, and of all feeds.
    pub fn sees_all(&self, resource: Resource) -> bool {
        self.key.rows.is_empty() && self.key.feed.is_none() && self.key.fields.readable(resource).is_none()
    }

    /// The feed that is spoken for: the one asked for, the one that the key is bound to, or `main`.
    ///
    /// # Errors
    /// If the key is bound to another feed.
    pub fn feed(&self, asked: Option<FeedNo>) -> Result<FeedNo, FeedNo> {
        match (self.key.feed, asked) {
            (Some(bound), Some(asked)) if bound != asked => Err(bound),
            (Some(bound), _) => Ok(bound),
            (None, asked) => Ok(asked.unwrap_or(FeedNo::MAIN)),
        }
    }

    /// Whether a payload of this mode may be sent for a feed. Whoever sees only some people cannot say of the others that they
    /// left, unless the feed is the key's own.
    pub fn may_send(&self, mode: Mode, feed: FeedNo) -> bool {
        mode != Mode::Full || self.key.rows.is_empty() || self.key.feed == Some(feed)
    }

    /// Why a key must not be made, or changed to this, by this caller: it could do more than the caller's own. `usual` is how
    /// often a key without rates of its own may be used.
    pub fn cannot_make(&self, key: &ApiKey, user: &User, usual: ApiRates) -> Option<&'static str> {
        let own = &self.key;
        let outlives = match (key.expires_at, own.expires_at) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(new), Some(own)) => new > own,
        };
        let is_bound = own.feed.is_none() || own.feed == key.feed;
        // Who has no rate of their own goes by the usual one, which may be another tomorrow: so may the new key then.
        let slower = |new: Option<u32>, own: Option<u32>, usual: u32| match (new, own) {
            (None, own) => own.is_none(),
            (Some(new), own) => new <= own.unwrap_or(usual),
        };
        let (new, old) = (key.rates, own.rates);
        let for_self = user.id == self.user.id;
        let for_service = self.role == Role::Administrator && user.kind == UserKind::Service && !user.operator;
        [
            (!key.rights.is_within(self.rights), "it would have rights that this key has not"),
            (own.kind == KeyKind::Bulk, "a key for bulk loading makes no keys"),
            (outlives, "it would live longer than this key"),
            (!key.fields.is_within(&own.fields), "it would reach fields that this key does not"),
            (!key.rows.is_within(&own.rows), "it would reach people whom this key does not"),
            (!is_bound, "this key is bound to one feed, and it would not be"),
            (!networks_within(&key.networks, &own.networks), "it could be used from where this key cannot"),
            (
                !(slower(new.requests, old.requests, usual.requests)
                    && slower(new.uploads, old.uploads, usual.uploads)
                    && slower(new.eligibility, old.eligibility, usual.eligibility)),
                "it could be used more often than this key",
            ),
            (!for_self && !for_service, "it would act on behalf of somebody else"),
        ]
        .into_iter()
        .find_map(|(is_so, why)| is_so.then_some(why))
    }
}

/// The usual keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Sends lists, and looks what became of them.
    SendLists,
    /// Asks who is eligible.
    CheckEligibility,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Preset; 2] = [Preset::SendLists, Preset::CheckEligibility];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Preset::SendLists => "send-lists",
            Preset::CheckEligibility => "check-eligibility",
        }
    }

    /// The preset of this name.
    pub fn from_word(word: &str) -> Option<Preset> {
        Preset::ALL.into_iter().find(|p| p.word() == word)
    }

    /// Its rights.
    pub fn rights(self) -> Rights {
        match self {
            Preset::SendLists => Rights::NONE
                .with(Resource::Uploads, Action::Create)
                .with(Resource::Uploads, Action::Read)
                .with(Resource::Members, Action::Create)
                .with(Resource::Members, Action::Update)
                .with(Resource::Feeds, Action::Read),
            Preset::CheckEligibility => Rights::NONE.with(Resource::Eligibility, Action::Read),
        }
    }
}

/// The longest overlap of a rotation.
pub const LONGEST_OVERLAP: Duration = Duration::days(7);
