//! Users: people who sign in, and service users, who do not, for integrations that outlive whoever set them up.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whether a user is a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserKind {
    /// Signs in with e-mail and password.
    Person,
    /// Never signs in: keys are mapped to it.
    Service,
}

/// A user. Roles in organisations are apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Identity.
    pub id: Uuid,
    /// Person or service.
    pub kind: UserKind,
    /// The name that stands in histories.
    pub name: String,
    /// The e-mail address, in lower case; a service user has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether it may do everything in every organisation.
    #[serde(default)]
    pub operator: bool,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// Since when it may do nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<DateTime<Utc>>,
}

/// Reads an e-mail address as people sign in with it.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_email(text: &str) -> Result<String, String> {
    let email = text.trim().to_lowercase();
    let (name, host) = email.rsplit_once('@').unwrap_or_default();
    let fits = !name.is_empty() && host.contains('.') && email.len() <= 254 && !email.contains(char::is_whitespace);
    if fits { Ok(email) } else { Err("That is no e-mail address; write it as name@example.com.".to_owned()) }
}

/// The shortest password: NIST SP 800-63B-4, section 3.1.1.2, asks for 15 characters where it is the only factor.
const SHORTEST: usize = 15;
const LONGEST: usize = 256;

/// Whether a password is one that we take: long enough, and not the e-mail address.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_password(password: &str, email: &str) -> Result<(), String> {
    let n = password.chars().count();
    if !(SHORTEST..=LONGEST).contains(&n) {
        return Err(format!(
            "A password has between {SHORTEST} and {LONGEST} characters; a few words in a row are easily kept in mind."
        ));
    }
    let first = password.chars().next();
    let all_alike = password.chars().all(|c| Some(c) == first);
    if all_alike || password.to_lowercase().contains(email) {
        return Err(
            "That password is too easily guessed: choose one without your e-mail address, of different letters."
                .to_owned(),
        );
    }
    Ok(())
}
