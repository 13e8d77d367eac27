//! Identifiers: organisations, feeds, members, uploads, change sets.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// A tenant: one employer. Every query carries one; it comes from a credential or from the operator's command line.
    OrganisationId
);
uuid_id!(
    /// One arrival of a payload.
    UploadId
);
uuid_id!(
    /// Everything that one upload would do to the roster.
    ChangeSetId
);

impl ChangeSetId {
    /// The stream of its events in the log.
    pub fn stream(self) -> String {
        format!("change_set:{self}")
    }
}

/// The number of a member inside its organisation: dense, from 0, never used again.
/// It is internal; outside, a member is addressed by UUID or match key.
pub type MemberNo = u32;

/// The number of a feed inside its organisation. 0 is the hand (an administrator), 1 is `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeedNo(pub u16);

impl FeedNo {
    /// The administrator's hand, which can claim people as a feed does.
    pub const HAND: FeedNo = FeedNo(0);
    /// The feed that uploads, pushes and schedules speak for unless another is named.
    pub const MAIN: FeedNo = FeedNo(1);
}

/// A day as a number: days since 1970-01-01.
pub type Day = i32;

/// The number of a calendar day.
pub fn day_of(date: chrono::NaiveDate) -> Day {
    date.signed_duration_since(EPOCH).num_days() as Day
}

/// The calendar day of a number.
pub fn date_of(day: Day) -> chrono::NaiveDate {
    EPOCH.checked_add_signed(chrono::Duration::days(day.into())).unwrap_or(chrono::NaiveDate::MAX)
}

const EPOCH: chrono::NaiveDate = match chrono::NaiveDate::from_ymd_opt(1970, 1, 1) {
    Some(d) => d,
    None => panic!("1970-01-01 is a day"),
};
