//! What an organisation allows over HTTP: whether at all, how often, and for how long a key may live.

use serde::{Deserialize, Serialize};

use crate::access::Rates;

/// What is allowed over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Api {
    /// Whether keys are let in at all: an add-on that the operator turns on.
    pub access: bool,
    /// How often, where a key has no rates of its own.
    pub rate: ApiRates,
    /// The longest life of a key that is made or changed from now on, in days; `None` is as long as one likes.
    pub key_max_days: Option<u32>,
}

/// Requests a minute, of each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiRates {
    /// Reads and small writes.
    pub requests: u32,
    /// Uploads.
    pub uploads: u32,
    /// Eligibility checks.
    pub eligibility: u32,
}

impl Default for ApiRates {
    fn default() -> Self {
        ApiRates { requests: 60, uploads: 10, eligibility: 6000 }
    }
}

impl ApiRates {
    /// With a key's own rates in place of these.
    #[must_use]
    pub fn with(self, own: Rates) -> ApiRates {
        ApiRates {
            requests: own.requests.unwrap_or(self.requests),
            uploads: own.uploads.unwrap_or(self.uploads),
            eligibility: own.eligibility.unwrap_or(self.eligibility),
        }
    }
}
