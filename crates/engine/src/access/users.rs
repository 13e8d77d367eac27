//! Users: people and services, with roles in organisations.

use muster_domain::{
    access::{ApiKey, Fact, INSTALLATION, Role, User, UserKind, check_email, check_password},
    ids::OrganisationId,
};
use muster_store::{
    StoreError,
    access::{AccessTx, AccountRow},
};
use serde::Serialize;
use uuid::Uuid;

use super::{Maker, tell};
use crate::{Engine, Error, Organisation, Result};

/// A user who is to be.
#[derive(Clone)]
pub struct NewUser {
    /// Person or service.
    pub kind: UserKind,
    /// The name that stands in histories.
    pub name: String,
    /// A person's e-mail address.
    pub email: Option<String>,
    /// A person's password.
    pub password: Option<String>,
    /// Whether it may do everything in every organisation.
    pub operator: bool,
}

/// A user with its roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUser {
    /// The user.
    pub user: User,
    /// What it is in which organisation.
    pub roles: Vec<(OrganisationId, Role)>,
}

/// The longest name, in characters.
pub(super) const LONGEST_NAME: usize = 100;

/// A name as people call a user or a key.
pub(super) fn check_name(name: &str) -> Result<String> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(Error::Wrong(format!("A name has 1 to {LONGEST_NAME} characters on one line.")));
    }
    Ok(name.to_owned())
}

fn is_unknown(e: StoreError) -> Error {
    match e {
        StoreError::NotFound => Error::Unknown("There is no such user; `muster users list` shows them.".to_owned()),
        e => e.into(),
    }
}

impl Engine {
    /// Makes a user. A person has an e-mail address and a password; a service has neither, and never signs in.
    ///
    /// # Errors
    /// If anything of that is missing or not as it must be, or another person has that address.
    pub async fn create_user(&self, new: NewUser) -> Result<User> {
        let name = check_name(&new.name)?;
        let (email, password) = match (new.kind, new.email, new.password) {
            (UserKind::Person, Some(email), Some(password)) => {
                let email = check_email(&email).map_err(Error::Wrong)?;
                check_password(&password, &email).map_err(Error::Wrong)?;
                (Some(email), Some(self.hash_password(password).await?))
            }
            (UserKind::Person, ..) => {
                return Err(Error::Wrong("A person needs an e-mail address and a password.".to_owned()));
            }
            (UserKind::Service, None, None) => (None, None),
            (UserKind::Service, ..) => {
                return Err(Error::Wrong("A service user never signs in: it has no e-mail address.".to_owned()));
            }
        };
        let user = User {
            id: Uuid::now_v7(),
            kind: new.kind,
            name,
            email: email.clone(),
            operator: new.operator,
            created_at: self.now(),
            disabled_at: None,
        };
        let row = AccountRow { id: user.id, email, password, doc: serde_json::to_vec(&user)? };
        let mut tx = self.users_and_keys().await?.begin(INSTALLATION).await?;
        tx.put_account(&row).await.map_err(|e| match e {
            StoreError::KeyConflict => Error::Wrong("There is a user with that e-mail address already.".to_owned()),
            e => e.into(),
        })?;
        tell(&mut tx, &Fact::UserCreated { user: user.id }, &[&user], &self.who_by(&Maker::Operator)).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// All users, each with its roles.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn users(&self) -> Result<Vec<ListedUser>> {
        let access = self.users_and_keys().await?;
        let mut users = Vec::new();
        for account in access.accounts().await? {
            let roles = access.roles_of_account(account.id).await?;
            let roles = roles.into_iter().filter_map(|r| Some((r.organisation, Role::from_word(&r.role)?))).collect();
            users.push(ListedUser { user: serde_json::from_slice(&account.doc)?, roles });
        }
        Ok(users)
    }

    /// All users, without their roles.
    pub(super) async fn all_users(&self) -> Result<Vec<User>> {
        let accounts = self.users_and_keys().await?.accounts().await?;
        Ok(accounts.iter().map(|a| serde_json::from_slice(&a.doc)).collect::<Result<_, _>>()?)
    }

    /// A user.
    ///
    /// # Errors
    /// If there is none of that identity.
    pub async fn user(&self, id: Uuid) -> Result<User> {
        let account = self.users_and_keys().await?.account(id).await.map_err(is_unknown)?;
        Ok(serde_json::from_slice(&account.doc)?)
    }

    /// The user whom a text names: by e-mail address, by name, or by identity.
    ///
    /// # Errors
    /// If it names none, or several have that name.
    pub async fn find_user(&self, text: &str) -> Result<User> {
        let text = text.trim();
        if let Ok(id) = text.parse() {
            return self.user(id).await;
        }
        let is_meant = |user: &User| {
            user.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(text))
                || user.name.to_lowercase() == text.to_lowercase()
        };
        let mut named = self.all_users().await?;
        named.retain(is_meant);
        match (named.pop(), named.is_empty()) {
            (Some(user), true) => Ok(user),
            (Some(_), false) => Err(Error::Wrong(
                "Several users have that name; say which by e-mail address or by the id that `muster users list` shows."
                    .to_owned(),
            )),
            (None, _) => Err(is_unknown(StoreError::NotFound)),
        }
    }

    /// What a user is in an organisation.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn role_of(&self, org: OrganisationId, user: &User) -> Result<Option<Role>> {
        if user.operator {
            return Ok(Some(Role::Administrator));
        }
        let role = self.users_and_keys().await?.role(org, user.id).await?;
        Ok(role.as_deref().and_then(Role::from_word))
    }

    /// Gives a user a role in an organisation, or takes it away. Says which it was before.
    ///
    /// # Errors
    /// If there is no such user, or the store refuses.
    pub async fn set_role(&self, org: &Organisation, user: Uuid, role: Option<Role>) -> Result<Option<Role>> {
        let access = self.users_and_keys().await?;
        access.account(user).await.map_err(is_unknown)?;
        let mut tx = access.begin(org.row.id).await?;
        let before = tx.set_role(user, role.map(Role::word)).await?;
        let before = before.as_deref().and_then(Role::from_word);
        if before == role {
            tx.rollback().await?;
            return Ok(before);
        }
        tell(&mut tx, &Fact::RoleSet { user, role }, &[], &self.who_by(&Maker::Operator)).await?;
        tx.commit().await?;
        Ok(before)
    }

    /// The keys that act on behalf of a user and would work now: those that die when the user is disabled.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn keys_of_user(&self, user: Uuid) -> Result<Vec<ApiKey>> {
        let now = self.now();
        let keys = self.users_and_keys().await?.keys_of_account(user).await?;
        let keys = keys.iter().map(|doc| serde_json::from_slice(doc)).collect::<Result<Vec<ApiKey>, _>>()?;
        let works = |key: &ApiKey| key.revoked_at.is_none() && key.expires_at.is_none_or(|at| at > now);
        Ok(keys.into_iter().filter(works).collect())
    }

    /// Disables a user, and with it every key that acts on its behalf, at once and everywhere; or lifts that.
    ///
    /// # Errors
    /// If there is no such user, or the store refuses.
    pub async fn disable_user(&self, id: Uuid, disabled: bool) -> Result<User> {
        let now = self.now();
        let fact = Fact::UserDisabled { user: id, lifted: !disabled };
        self.change_user(id, &fact, |user, _| {
            let is_so = user.disabled_at.is_some() == disabled;
            user.disabled_at = disabled.then_some(now);
            !is_so
        })
        .await
    }

    /// Gives a person another password.
    ///
    /// # Errors
    /// If there is no such person, or the password is too weak.
    pub async fn set_password(&self, id: Uuid, password: String) -> Result<User> {
        let user = self.user(id).await?;
        let Some(email) = &user.email else {
            return Err(Error::Wrong("A service user never signs in: it has no password.".to_owned()));
        };
        check_password(&password, email).map_err(Error::Wrong)?;
        let hashed = self.hash_password(password).await?;
        self.change_user(id, &Fact::PasswordSet { user: id }, |_, row| {
            row.password = Some(hashed);
            true
        })
        .await
    }

    async fn change_user(
        &self,
        id: Uuid,
        fact: &Fact,
        change: impl FnOnce(&mut User, &mut AccountRow) -> bool,
    ) -> Result<User> {
        #[derive(Serialize)]
        struct Line<'a> {
            before: &'a User,
            after: &'a User,
        }
        let mut tx: AccessTx = self.users_and_keys().await?.begin(INSTALLATION).await?;
        let mut row = tx.account(id).await.map_err(is_unknown)?;
        let before: User = serde_json::from_slice(&row.doc)?;
        let mut after = before.clone();
        if !change(&mut after, &mut row) {
            tx.rollback().await?;
            return Ok(before);
        }
        row.doc = serde_json::to_vec(&after)?;
        tx.put_account(&row).await?;
        let line = Line { before: &before, after: &after };
        let lines: &[&dyn super::ErasedLine] = if before == after { &[] } else { &[&line] };
        tell(&mut tx, fact, lines, &self.who_by(&Maker::Operator)).await?;
        tx.commit().await?;
        Ok(after)
    }
}
