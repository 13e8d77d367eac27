//! Passwords: hashed with argon2id, a few at a time, and checked so that an unknown address takes as long as a wrong password.
//!
//! Single sign-on will come in beside this: a person without a password hash is one who signs in elsewhere.

use std::sync::LazyLock;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use muster_domain::access::User;
use rand::Rng;

use crate::{Engine, Error, Result};

/// The hash of a password that nobody has, with the costs that all have.
static NOBODYS: LazyLock<Option<String>> = LazyLock::new(|| hash(b"nobody signs in with this").ok());

/// argon2id with the costs that its crate takes from OWASP: 19 MiB, two passes, one lane.
fn hash(password: &[u8]) -> Result<String> {
    let mut salt = [0; 16];
    rand::rng().fill_bytes(&mut salt);
    let hashed = Argon2::default().hash_password_with_salt(password, &salt);
    hashed.map(|hash| hash.to_string()).map_err(|_| cannot_hash())
}

fn cannot_hash() -> Error {
    Error::Damaged("a password cannot be hashed".to_owned())
}

impl Engine {
    /// The hash of a password, as PHC text.
    pub(super) async fn hash_password(&self, password: String) -> Result<String> {
        let _turn = self.access.hashing.acquire().await.map_err(|_| cannot_hash())?;
        tokio::task::spawn_blocking(move || hash(password.as_bytes())).await.map_err(|_| cannot_hash())?
    }

    /// The person of that e-mail address, if this is their password and they are not disabled. It takes the same time
    /// whether there is such a person or not.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn check_password(&self, email: &str, password: &str) -> Result<Option<User>> {
        let email = email.trim().to_lowercase();
        let account = self.users_and_keys().await?.account_of_email(&email).await?;
        let stored = account.as_ref().and_then(|a| a.password.clone());
        let (is_there, password) = (stored.is_some(), password.to_owned());
        let _turn = self.access.hashing.acquire().await.map_err(|_| cannot_hash())?;
        let is_right = tokio::task::spawn_blocking(move || {
            let stored = stored.or_else(|| NOBODYS.clone());
            stored.is_some_and(|stored| Argon2::default().verify_password(password.as_bytes(), stored.as_str()).is_ok())
        })
        .await
        .map_err(|_| cannot_hash())?;
        let Some(account) = account.filter(|_| is_there && is_right) else { return Ok(None) };
        let user: User = serde_json::from_slice(&account.doc)?;
        Ok(Some(user).filter(|user| user.disabled_at.is_none()))
    }
}
