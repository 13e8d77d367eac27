//! The settings of an organisation and of its feeds, and the policy that follows from them.
//!
//! Settings are recorded by value in events, so every field has a default: a log from before a setting existed
//! reads as if it had stood at its default. The keys by which people set them are in [`keys`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    field::{FieldId, Fields},
    normalise::DateOrder,
};

mod api;
pub mod keys;
mod limits;

pub use api::{Api, ApiRates};
pub use keys::{MOST_A_MINUTE, Setting, SettingError, is_operators_own};
pub use limits::{Limits, Originals};

/// Everything that an organisation can decide about its roster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The organisation's name, for people.
    pub name: String,
    /// Which field tells one member from another.
    pub match_key: MatchKey,
    /// IANA name of the time zone in which days begin; checked when it is set.
    pub timezone: String,
    /// What happens to a change set that no guard stops, by channel.
    pub policy: Policies,
    /// The limits past which a change set waits for a reviewer.
    pub guards: Guards,
    /// Days after which a suppressed removal is proposed again.
    pub ask_again_days: u32,
    /// What a row with an error does to its payload; `None` goes by channel (see [`Settings::invalid_rows`]).
    pub invalid_rows: Option<InvalidRows>,
    /// Which of two contradicting rows of one person counts.
    pub duplicates: Duplicates,
    /// Who of the members is eligible.
    pub eligibility: Eligibility,
    /// How a date such as `03/04/2021` is to be read.
    pub dates: DateOrder,
    /// What happens to a column that is no field.
    pub unknown_columns: UnknownColumns,
    /// How large a payload may be.
    pub limits: Limits,
    /// For how long payloads are kept as they came.
    pub payloads: Originals,
    /// What other systems are told of what was applied.
    pub events: Announced,
    /// What is allowed over HTTP.
    pub api: Api,
    /// What is asked of reviewers.
    pub review: Review,
    /// The organisation's fields.
    pub fields: Fields,
    /// Version of these settings: 1 more with each change.
    pub version: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            name: String::new(),
            match_key: MatchKey::default(),
            timezone: "UTC".to_owned(),
            policy: Policies::default(),
            guards: Guards::default(),
            ask_again_days: 30,
            invalid_rows: None,
            duplicates: Duplicates::default(),
            eligibility: Eligibility::default(),
            dates: DateOrder::default(),
            unknown_columns: UnknownColumns::default(),
            limits: Limits::default(),
            payloads: Originals::default(),
            events: Announced::default(),
            api: Api::default(),
            review: Review::default(),
            fields: Fields::default(),
            version: 0,
        }
    }
}

/// An enum whose words are the same in JSON, in settings and on the command line.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)*
        }
        impl $name {
            /// Every one of them.
            pub const ALL: &[$name] = &[$($name::$variant,)*];
            /// The word for it.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
            /// The one of that word, in lower case.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

macro_rules! default_word {
    ($($name:ident::$variant:ident),*) => {
        $(impl Default for $name { fn default() -> Self { $name::$variant } })*
    };
}

// Behind the macros that it uses.
mod review;

pub use review::{Review, SecondApprover};

words!(
    /// The way by which a payload arrives.
    Channel {
        /// A person uploads a file.
        Upload = "upload",
        /// A program with an API key.
        Api = "api",
        /// A connector on a schedule.
        Schedule = "schedule",
        /// An administrator edits one person.
        Hand = "hand",
    }
);
words!(
    /// What a payload says about those whom it does not name.
    Mode {
        /// Absence ends this feed's claim.
        Full = "full",
        /// Only what is named changes.
        Partial = "partial",
        /// Only removals: those named leave.
        Leavers = "leavers",
    }
);
words!(
    /// What happens to a change set that no guard stops.
    Policy {
        /// It waits for a reviewer.
        Hold = "hold",
        /// It is applied at once.
        Apply = "apply",
    }
);
words!(
    /// The field by which members are told apart.
    MatchKey {
        /// `employee_id`.
        EmployeeId = "employee_id",
        /// `email`.
        Email = "email",
    }
);
words!(
    /// What a row with an error does to its payload.
    InvalidRows {
        /// The change set waits for a reviewer.
        Hold = "hold",
        /// The row is left out and reported.
        Skip = "skip",
        /// Nothing is taken from the payload.
        Refuse = "refuse",
    }
);
words!(
    /// Which of two contradicting rows of one person in one payload counts.
    Duplicates {
        /// Neither: both are invalid.
        Invalid = "invalid",
        /// The first.
        First = "first",
        /// The last.
        Last = "last",
    }
);
words!(
    /// From when on a listed person is eligible.
    EligibleFrom {
        /// From their start date, if they have one.
        StartDate = "start_date",
        /// From the day on which they were listed, whatever their start date.
        Listed = "listed",
    }
);
words!(
    /// What a tripped guard leaves of a change set.
    OnTrip {
        /// All of it waits.
        HoldAll = "hold_all",
        /// Whatever makes people ineligible waits, the rest is applied.
        HoldRemovals = "hold_removals",
    }
);
words!(
    /// What happens to a column that is no field.
    UnknownColumns {
        /// It is left out and reported.
        Ignore = "ignore",
        /// It becomes a custom text field.
        Custom = "custom",
    }
);

/// The policy of each channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policies {
    /// A person's file.
    pub upload: Policy,
    /// A program's push.
    pub api: Policy,
    /// A connector's run.
    pub schedule: Policy,
    /// One person edited.
    pub hand: Policy,
}

impl Default for Policies {
    fn default() -> Self {
        Policies { upload: Policy::Hold, api: Policy::Apply, schedule: Policy::Apply, hand: Policy::Apply }
    }
}

/// The limits past which a change set waits. `None` is off; percentages are from 0 to 100.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Guards {
    /// People made ineligible.
    pub removals: RemovalGuard,
    /// People updated.
    pub updates: PercentGuard,
    /// Least number of rows, as a percentage of those of last time.
    pub min_rows_percent: Option<f64>,
    /// Most of a field's values that may become blank, as a percentage of those that were filled.
    pub blanked_field_percent: Option<f64>,
    /// Match keys that change.
    pub key_changes: PercentGuard,
    /// Whether the first payload of a feed waits.
    pub first_import: bool,
    /// What a tripped guard leaves of the change set.
    pub on_trip: OnTrip,
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            removals: RemovalGuard::default(),
            updates: PercentGuard { max_percent: None },
            min_rows_percent: Some(80.0),
            blanked_field_percent: Some(50.0),
            key_changes: PercentGuard { max_percent: Some(5.0) },
            first_import: true,
            on_trip: OnTrip::HoldAll,
        }
    }
}

/// How many people one change set may make ineligible.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemovalGuard {
    /// Percentage of the feed's own claims.
    pub max_percent: Option<f64>,
    /// Number of people.
    pub max_count: Option<u32>,
}

impl Default for RemovalGuard {
    fn default() -> Self {
        RemovalGuard { max_percent: Some(10.0), max_count: None }
    }
}

/// A limit in percent of the feed's own claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PercentGuard {
    /// The most that passes.
    pub max_percent: Option<f64>,
}

/// Who of the members is eligible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Eligibility {
    /// From when on.
    pub from: EligibleFrom,
    /// Employment statuses with which nobody is eligible, in lower case. By default only `terminated`: the one word
    /// that in every HR system means that the person has left (`inactive` is also said of people on leave).
    pub excluded_statuses: Vec<String>,
    /// Days for which somebody stays eligible after their end date or after they left the roster.
    pub grace_days: u32,
}

impl Default for Eligibility {
    fn default() -> Self {
        Eligibility { from: EligibleFrom::StartDate, excluded_statuses: vec!["terminated".to_owned()], grace_days: 0 }
    }
}

impl MatchKey {
    /// The field that it is.
    pub fn field(self) -> FieldId {
        match self {
            MatchKey::EmployeeId => FieldId::EMPLOYEE_ID,
            MatchKey::Email => FieldId::EMAIL,
        }
    }
}

/// What other systems are told of what was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Announced {
    /// Whether values come along, before and after.
    pub values: bool,
}

default_word!(MatchKey::EmployeeId, Duplicates::Invalid, UnknownColumns::Ignore);

/// What an organisation decided about one feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeedSettings {
    /// Its name.
    pub name: String,
    /// Its mode; without one, every upload must say.
    pub mode: Option<Mode>,
    /// A field of a person whom several feeds claim follows the highest.
    pub priority: i32,
    /// Put in front of each of its match keys.
    pub key_prefix: Option<String>,
    /// Field name to the name of the column that holds it, where that is not recognised by itself.
    pub mapping: BTreeMap<String, String>,
    /// Version of the mapping: 1 more with each change.
    pub mapping_version: u32,
    /// In place of the organisation's policy, on every channel.
    pub policy: Option<Policy>,
    /// Settings in place of the organisation's, by key: `guard.*`, `policy.*`, `invalid_rows`, `duplicates`, `dates`.
    pub overrides: BTreeMap<String, String>,
    /// When a payload of it is expected, as a Unix cron expression; without one nothing is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// IANA name of the time zone in which that is meant; without one, the organisation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_timezone: Option<String>,
    /// Minutes that a payload may be late; without them, [`crate::schedule::DEFAULT_GRACE`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_grace_minutes: Option<u32>,
}

impl Settings {
    /// The field of a name; `unique_id` is whichever is the match key.
    pub fn field(&self, name: &str) -> Option<FieldId> {
        if name == "unique_id" { Some(self.match_key.field()) } else { self.fields.by_name(name) }
    }

    /// The policy of a channel.
    pub fn policy(&self, channel: Channel) -> Policy {
        match channel {
            Channel::Upload => self.policy.upload,
            Channel::Api => self.policy.api,
            Channel::Schedule => self.policy.schedule,
            Channel::Hand => self.policy.hand,
        }
    }

    /// What a row with an error does to a payload of that channel: unless set, a person's file waits for review, and
    /// nobody is kept waiting by a row that a machine got wrong.
    pub fn invalid_rows(&self, channel: Channel) -> InvalidRows {
        self.invalid_rows.unwrap_or(match channel {
            Channel::Upload => InvalidRows::Hold,
            Channel::Api | Channel::Schedule | Channel::Hand => InvalidRows::Skip,
        })
    }

    /// The time zone in which the organisation's days begin; UTC if the name is of no known zone.
    pub fn zone(&self) -> chrono_tz::Tz {
        self.timezone.parse().unwrap_or(chrono_tz::UTC)
    }

    /// The settings that count for a feed: its own over the organisation's. An override by key counts for more than
    /// the feed's `policy`, and one that cannot be read (it was checked when it was set) is passed over.
    pub fn for_feed(&self, feed: &FeedSettings) -> Settings {
        let mut settings = self.clone();
        if let Some(policy) = feed.policy {
            settings.policy = Policies { upload: policy, api: policy, schedule: policy, hand: policy };
        }
        for (key, value) in feed.overrides.iter().filter(|(key, _)| keys::is_for_feeds(key)) {
            let _ = settings.set(key, value);
        }
        settings
    }
}

/// Whether going from one to the other can change who is eligible, so that it is previewed and guarded like a change
/// set: excluded statuses, grace days, from when on, time zone, match key.
pub fn changes_who_is_eligible(old: &Settings, new: &Settings) -> bool {
    let sorted = |settings: &Settings| {
        let mut statuses: Vec<String> =
            settings.eligibility.excluded_statuses.iter().map(|s| s.trim().to_lowercase()).collect();
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    };
    old.eligibility.grace_days != new.eligibility.grace_days
        || old.eligibility.from != new.eligibility.from
        || old.timezone != new.timezone
        || old.match_key != new.match_key
        || sorted(old) != sorted(new)
}

#[cfg(test)]
mod tests;
