//! Making, listing, changing, rotating and revoking keys. A key's whole text is given out once, when it or its secret is made.

use chrono::{DateTime, Duration, Utc};

use muster_domain::{
    access::{
        Action, ApiKey, Fact, FieldLimits, Fields, IpNet, KeyKind, KeyText, LONGEST_OVERLAP, Rates, Resource, Rights,
        Role, RowLimits, SECRET_BYTES, User, key_id,
    },
    ids::FeedNo,
    settings::{MOST_A_MINUTE, Settings},
};
use muster_store::{
    StoreError,
    access::{KeyRow, Used},
};
use rand::Rng;
use serde::Serialize;
use uuid::Uuid;

use super::{Maker, tell, users::check_name};
use crate::{Engine, Error, Organisation, Result};

/// From how long before its end on a key is warned of.
pub const ENDS_SOON: Duration = Duration::days(14);

/// What a key is to be: everything that whoever makes or changes it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What people call it.
    pub name: String,
    /// The user on whose behalf it acts.
    pub user: Uuid,
    /// Until when it works.
    pub expires_at: Option<DateTime<Utc>>,
    /// What it may do, if its user may.
    pub rights: Rights,
    /// On which fields.
    pub fields: FieldLimits,
    /// On whom.
    pub rows: RowLimits,
    /// The only feed for which it speaks.
    pub feed: Option<FeedNo>,
    /// From where; an empty list means everywhere.
    pub networks: Vec<IpNet>,
    /// How often.
    pub rates: Rates,
}

impl Terms {
    /// A key with these rights and no limits.
    pub fn new(name: impl Into<String>, user: Uuid, rights: Rights) -> Terms {
        Terms {
            name: name.into(),
            user,
            expires_at: None,
            rights,
            fields: FieldLimits::default(),
            rows: RowLimits::default(),
            feed: None,
            networks: Vec::new(),
            rates: Rates::default(),
        }
    }

    /// What a key is.
    pub fn of(key: &ApiKey) -> Terms {
        Terms {
            name: key.name.clone(),
            user: key.user,
            expires_at: key.expires_at,
            rights: key.rights,
            fields: key.fields.clone(),
            rows: key.rows.clone(),
            feed: key.feed,
            networks: key.networks.clone(),
            rates: key.rates,
        }
    }

    fn put(self, key: &mut ApiKey) {
        let Terms { name, user, expires_at, rights, fields, rows, feed, networks, rates } = self;
        *key = ApiKey { name, user, expires_at, rights, fields, rows, feed, networks, rates, ..key.clone() };
    }
}

/// A key with its whole text, which is given out this once and stored nowhere.
pub struct MadeKey {
    /// The key.
    pub key: ApiKey,
    /// What its holder sends.
    pub text: String,
    /// Until when its former secret works too.
    pub former_until: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for MadeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MadeKey({}, secret)", self.key.id)
    }
}

/// When a key was last used, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastUse {
    /// When.
    pub at: DateTime<Utc>,
    /// From which address.
    pub from: String,
}

/// A key as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The key.
    pub key: ApiKey,
    /// The user on whose behalf it acts; none if that is gone.
    pub user: Option<User>,
    /// Until when its former secret works too.
    pub former_until: Option<DateTime<Utc>>,
    /// When it was last used.
    pub last_used: Option<LastUse>,
    /// How many whole days are left, where that is something to be warned of.
    pub ends_in_days: Option<i64>,
    /// What whoever made it is called now, if they used a key.
    pub made_by_name: Option<String>,
}

/// How many whole days a key that ends soon has left.
pub(super) fn ends_in_days(key: &ApiKey, now: DateTime<Utc>) -> Option<i64> {
    let left = key.expires_at.filter(|_| key.revoked_at.is_none())? - now;
    (left > Duration::zero() && left <= ENDS_SOON).then(|| left.num_days())
}

fn is_unknown(e: StoreError) -> Error {
    match e {
        StoreError::NotFound => Error::Unknown("There is no such key in this organisation.".to_owned()),
        e => e.into(),
    }
}

fn is_visible(by: &Maker, key: &ApiKey) -> bool {
    by.sees_all_keys() || by.grant().is_some_and(|grant| key.user == grant.user.id)
}

pub(super) fn may(by: &Maker, action: Action) -> Result<()> {
    match by.grant() {
        Some(grant) if !grant.may(Resource::Keys, action) => {
            Err(Error::Forbidden(format!("This key has no right to {} keys.", action.word())))
        }
        _ => Ok(()),
    }
}

fn no_stronger(org: &Organisation, by: &Maker, key: &ApiKey, user: &User) -> Result<()> {
    match by.grant().and_then(|grant| grant.cannot_make(key, user, org.settings.api.rate)) {
        Some(why) => Err(Error::Forbidden(format!("A key makes none that is stronger than itself: {why}."))),
        None => Ok(()),
    }
}

fn new_secret(kind: KeyKind, id: String) -> (KeyText, String) {
    let mut random = [0; SECRET_BYTES];
    rand::rng().fill_bytes(&mut random);
    let text = KeyText::new(kind, id, &random);
    let shown = text.show().unwrap_or_default();
    (text, shown)
}

/// What is said of a key in the log: how it was and how it is.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a ApiKey>,
    after: &'a ApiKey,
}

impl Engine {
    /// Makes a key.
    ///
    /// # Errors
    /// If its terms make no sense, its user has no role, or whoever makes it may not.
    pub async fn create_key(&self, org: &Organisation, kind: KeyKind, terms: Terms, by: &Maker) -> Result<MadeKey> {
        may(by, Action::Create)?;
        let mut random = [0; 16];
        rand::rng().fill_bytes(&mut random);
        let (secret, text) = new_secret(kind, key_id(&random));
        let mut key = ApiKey {
            id: secret.id.clone(),
            organisation: org.row.id,
            kind,
            name: String::new(),
            user: terms.user,
            made_by: self.who_by(by).actor,
            made_at: self.now(),
            expires_at: None,
            rights: Rights::NONE,
            fields: FieldLimits::default(),
            rows: RowLimits::default(),
            feed: None,
            networks: Vec::new(),
            rates: Rates::default(),
            last4: secret.last4(),
            revoked_at: None,
        };
        terms.put(&mut key);
        let user = self.check_terms(org, &mut key).await?;
        no_stronger(org, by, &key, &user)?;
        let mut tx = self.users_and_keys().await?.begin(org.row.id).await?;
        let hash = org.keys.secret_of(&secret);
        let doc = serde_json::to_vec(&key)?;
        tx.put_key(&KeyRow { id: key.id.clone(), user: key.user, hash, former: None, doc }).await?;
        let fact = Fact::KeyCreated { key: key.id.clone(), user: key.user };
        tell(&mut tx, &fact, &[&Line { before: None, after: &key }], &self.who_by(by)).await?;
        tx.commit().await?;
        Ok(MadeKey { key, text, former_until: None })
    }

    /// All keys of an organisation that the caller may see, revoked and expired ones too, the newest first.
    ///
    /// # Errors
    /// If the caller may not, or the store cannot be read.
    pub async fn list_keys(&self, org: &Organisation, by: &Maker) -> Result<Vec<ListedKey>> {
        may(by, Action::Read)?;
        let access = self.users_and_keys().await?;
        let users = self.all_users().await?;
        let now = self.now();
        let mut listed = Vec::new();
        for (row, used) in access.keys(org.row.id).await? {
            let key: ApiKey = serde_json::from_slice(&row.doc)?;
            if !is_visible(by, &key) {
                continue;
            }
            let written = used.map(|Used { at, address }| LastUse { at, from: address });
            let pending = self.pending_use(org.row.id, &key.id);
            listed.push(ListedKey {
                user: users.iter().find(|u| u.id == key.user).cloned(),
                former_until: row.former.map(|(_, until)| until).filter(|until| *until > now),
                last_used: written.into_iter().chain(pending).max_by_key(|used| used.at),
                ends_in_days: ends_in_days(&key, now),
                made_by_name: None,
                key,
            });
        }
        let makers: Vec<&str> = listed.iter().map(|l| l.key.made_by.as_str()).collect();
        let names = self.names(org.row.id, &makers).await?;
        for one in &mut listed {
            one.made_by_name = names.known(&one.key.made_by).map(str::to_owned);
        }
        listed.sort_by(|a, b| (b.key.made_at, &b.key.id).cmp(&(a.key.made_at, &a.key.id)));
        Ok(listed)
    }

    /// One key, if the caller may see it.
    ///
    /// # Errors
    /// If there is none, or none that the caller may see.
    pub async fn listed_key(&self, org: &Organisation, id: &str, by: &Maker) -> Result<ListedKey> {
        let keys = self.list_keys(org, by).await?;
        keys.into_iter().find(|listed| listed.key.id == id).ok_or_else(|| is_unknown(StoreError::NotFound))
    }

    /// Changes what a key may do. It holds from the next request on, in every process.
    ///
    /// # Errors
    /// If there is no such key, it was revoked, its terms make no sense, or the caller may not; what `change` says.
    pub async fn edit_key(
        &self,
        org: &Organisation,
        id: &str,
        change: impl FnOnce(&mut Terms) -> Result<()>,
        by: &Maker,
    ) -> Result<ApiKey> {
        may(by, Action::Update)?;
        let mut tx = self.users_and_keys().await?.begin(org.row.id).await?;
        let mut row = tx.key(id).await.map_err(is_unknown)?;
        let before = self.changeable(org, &row, by).await?;
        let mut terms = Terms::of(&before);
        change(&mut terms)?;
        let mut key = before.clone();
        terms.put(&mut key);
        let user = self.check_terms(org, &mut key).await?;
        no_stronger(org, by, &key, &user)?;
        if key == before {
            tx.rollback().await?;
            return Ok(key);
        }
        (row.user, row.doc) = (key.user, serde_json::to_vec(&key)?);
        tx.put_key(&row).await?;
        let fact = Fact::KeyChanged { key: key.id.clone(), user: key.user };
        tell(&mut tx, &fact, &[&Line { before: Some(&before), after: &key }], &self.who_by(by)).await?;
        tx.commit().await?;
        Ok(key)
    }

    /// Gives a key a new secret; the one until now works on for so long. One from before that ends at once.
    ///
    /// # Errors
    /// If there is no such key, its time is over, it was revoked, the overlap is too long, or the caller may not.
    pub async fn rotate_key(&self, org: &Organisation, id: &str, overlap: Duration, by: &Maker) -> Result<MadeKey> {
        may(by, Action::Update)?;
        check_overlap(overlap)?;
        let now = self.now();
        let mut tx = self.users_and_keys().await?.begin(org.row.id).await?;
        let mut row = tx.key(id).await.map_err(is_unknown)?;
        let before = self.changeable(org, &row, by).await?;
        if before.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::Wrong("The time of that key is over; give it a later end first.".to_owned()));
        }
        let (secret, text) = new_secret(before.kind, before.id.clone());
        let key = ApiKey { last4: secret.last4(), ..before.clone() };
        row.former = Some((row.hash, now + overlap));
        (row.hash, row.doc) = (org.keys.secret_of(&secret), serde_json::to_vec(&key)?);
        tx.put_key(&row).await?;
        let overlap_seconds = u64::try_from(overlap.num_seconds()).unwrap_or(0);
        let fact = Fact::KeyRotated { key: key.id.clone(), overlap_seconds };
        tell(&mut tx, &fact, &[&Line { before: Some(&before), after: &key }], &self.who_by(by)).await?;
        tx.commit().await?;
        Ok(MadeKey { key, text, former_until: Some(now + overlap).filter(|until| *until > now) })
    }

    /// Takes a key away for good, at once and everywhere.
    ///
    /// # Errors
    /// If there is no such key, or the caller may not.
    pub async fn delete_key(&self, org: &Organisation, id: &str, by: &Maker) -> Result<ApiKey> {
        may(by, Action::Delete)?;
        let mut tx = self.users_and_keys().await?.begin(org.row.id).await?;
        let mut row = tx.key(id).await.map_err(is_unknown)?;
        let before: ApiKey = serde_json::from_slice(&row.doc)?;
        if !is_visible(by, &before) {
            return Err(is_unknown(StoreError::NotFound));
        }
        if before.revoked_at.is_some() {
            return Ok(before);
        }
        let key = ApiKey { revoked_at: Some(self.now()), ..before.clone() };
        row.doc = serde_json::to_vec(&key)?;
        tx.put_key(&row).await?;
        let fact = Fact::KeyDeleted { key: key.id.clone() };
        tell(&mut tx, &fact, &[&Line { before: Some(&before), after: &key }], &self.who_by(by)).await?;
        tx.commit().await?;
        Ok(key)
    }

    /// Takes all keys of an organisation away for good, at once and everywhere, the caller's own too. Says which.
    ///
    /// # Errors
    /// If the caller may not, or the store refuses.
    pub async fn revoke_all_keys(&self, org: &Organisation, by: &Maker) -> Result<Vec<ApiKey>> {
        may(by, Action::Delete)?;
        if by.grant().is_some_and(|grant| grant.role != Role::Administrator) {
            return Err(Error::Forbidden("Only an administrator revokes all keys.".to_owned()));
        }
        let now = self.now();
        let mut tx = self.users_and_keys().await?.begin(org.row.id).await?;
        let (mut revoked, mut lines) = (Vec::new(), Vec::new());
        for mut row in tx.keys().await? {
            let before: ApiKey = serde_json::from_slice(&row.doc)?;
            if before.revoked_at.is_some() {
                continue;
            }
            let key = ApiKey { revoked_at: Some(now), ..before };
            row.doc = serde_json::to_vec(&key)?;
            tx.put_key(&row).await?;
            lines.push(serde_json::json!({ "key": key.id }));
            revoked.push(key);
        }
        let lines: Vec<&dyn super::ErasedLine> = lines.iter().map(|l| l as &dyn super::ErasedLine).collect();
        let fact = Fact::KeysRevoked { keys: revoked.len() as u64 };
        tell(&mut tx, &fact, &lines, &self.who_by(by)).await?;
        tx.commit().await?;
        Ok(revoked)
    }

    /// A key that may still be changed, by somebody who sees it and could have made it.
    async fn changeable(&self, org: &Organisation, row: &KeyRow, by: &Maker) -> Result<ApiKey> {
        let key: ApiKey = serde_json::from_slice(&row.doc)?;
        if !is_visible(by, &key) {
            return Err(is_unknown(StoreError::NotFound));
        }
        if key.revoked_at.is_some() {
            return Err(Error::Wrong("That key was revoked, for good; make another.".to_owned()));
        }
        if by.grant().is_some() {
            no_stronger(org, by, &key, &self.user(key.user).await?)?;
        }
        Ok(key)
    }

    /// Whether a key can be what it is to be. Says on behalf of which user.
    async fn check_terms(&self, org: &Organisation, key: &mut ApiKey) -> Result<User> {
        key.name = check_name(&key.name)?;
        let user = self.user(key.user).await?;
        if user.disabled_at.is_some() {
            return Err(Error::Wrong("That user is disabled; a key on its behalf would not work.".to_owned()));
        }
        if self.role_of(org.row.id, &user).await?.is_none() {
            return Err(Error::Wrong(format!(
                "That user has no role in {0}; `muster users set-role` gives one: a key never does more than its user may.",
                org.row.slug
            )));
        }
        check_rights(key)?;
        check_end(org, key, self.now())?;
        check_limits(org, key)?;
        Ok(user)
    }
}

fn check_rights(key: &mut ApiKey) -> Result<()> {
    let bulk = Rights::NONE.with(Resource::Uploads, Action::Create).with(Resource::Uploads, Action::Read);
    if key.kind == KeyKind::Bulk {
        if key.rights.is_empty() {
            key.rights = bulk;
        }
        if !key.rights.is_within(bulk) {
            return Err(Error::Wrong("A key for bulk loading has upload:create and upload:read, no more.".to_owned()));
        }
    }
    if key.rights.is_empty() {
        return Err(Error::Wrong("A key needs rights: choose a preset, or give scopes.".to_owned()));
    }
    Ok(())
}

fn check_end(org: &Organisation, key: &ApiKey, now: DateTime<Utc>) -> Result<()> {
    if key.expires_at.is_some_and(|at| at <= now) {
        return Err(Error::Wrong("That end is over already.".to_owned()));
    }
    let Some(days) = org.settings.api.key_max_days else { return Ok(()) };
    let latest = key.made_at + Duration::days(days.into());
    if key.expires_at.is_none_or(|at| at > latest) {
        return Err(Error::Wrong(format!(
            "In this organisation a key lives for {days} days at most (api.key_max_days): give an end by {}.",
            latest.format("%Y-%m-%d %H:%MZ")
        )));
    }
    Ok(())
}

/// Whether a secret may work on for so long beside a newer one.
///
/// # Errors
/// If it may not.
pub fn check_overlap(overlap: Duration) -> Result<()> {
    if overlap >= Duration::zero() && overlap <= LONGEST_OVERLAP {
        return Ok(());
    }
    let days = LONGEST_OVERLAP.num_days();
    Err(Error::Wrong(format!("The secret until now works on for 0 to {days} days, no longer.")))
}

/// Whether an organisation has the fields on which a key is limited; `unique_id` is whichever is the match key.
///
/// # Errors
/// If it has not.
pub fn check_fields(settings: &Settings, fields: &Fields) -> Result<()> {
    let mut names = fields.read.iter().chain(&fields.write).flatten();
    let Some(name) = names.find(|name| settings.field(name).is_none()) else { return Ok(()) };
    let known: Vec<&str> = settings.fields.all().map(|f| settings.fields.name(f)).collect();
    Err(Error::Wrong(format!("There is no field `{name}`; the fields are unique_id, {}.", known.join(", "))))
}

fn check_limits(org: &Organisation, key: &ApiKey) -> Result<()> {
    let feeds = key.feed.iter().chain(&key.rows.feeds);
    if feeds.into_iter().any(|no| org.feeds.iter().all(|feed| feed.no != *no)) {
        return Err(Error::Wrong("There is no such feed; `muster feeds list` shows those there are.".to_owned()));
    }
    for fields in key.fields.0.values() {
        check_fields(&org.settings, fields)?;
    }
    let Rates { requests, uploads, eligibility } = key.rates;
    if [requests, uploads, eligibility].into_iter().flatten().any(|rate| !(1..=MOST_A_MINUTE).contains(&rate)) {
        return Err(Error::Wrong(format!("A rate is from 1 to {MOST_A_MINUTE} requests a minute.")));
    }
    let texts = key.rows.departments.iter().chain(&key.rows.subcompanies);
    if texts.into_iter().any(|text| text.trim().is_empty() || text.chars().count() > 1000) {
        return Err(Error::Wrong("A department or subcompany has 1 to 1000 characters.".to_owned()));
    }
    Ok(())
}
