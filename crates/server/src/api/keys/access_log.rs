//! The log of reads: what was read with which key, and every "no" of an eligibility check.

use axum::Json;
use chrono::{DateTime, Utc};
use muster_domain::access::{Action, Resource};
use muster_engine::access::{AccessEntry, AccessLogFilter, AccessLogPlace};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{maker, of_key};
use crate::{
    api::{body::Query, caller::Caller, page},
    problem::Result,
};

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccessLogParameters {
    /// Only what was read with this key.
    pub key: Option<String>,
    /// From this moment on.
    pub since: Option<DateTime<Utc>>,
    /// At most so many, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// What was read: members by their identity alone, and addresses without what is put in for their words in braces.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccessEntryDocument {
    /// When.
    pub at: DateTime<Utc>,
    /// With which key.
    pub key: String,
    /// On behalf of which user.
    pub user: Uuid,
    /// From which address.
    pub from: Option<String>,
    /// The method of the request.
    pub method: String,
    /// The address.
    pub route: String,
    /// The status of the answer.
    pub status: u16,
    /// Who was looked at or asked about, if there is such a member.
    pub member: Option<Uuid>,
    /// Which upload was read.
    pub upload_id: Option<Uuid>,
    /// Which change set was read.
    pub change_set_id: Option<Uuid>,
    /// Of which feed was read.
    pub feed: Option<String>,
    /// `false`, of an eligibility check that was answered with no.
    pub eligible: Option<bool>,
    /// Why not, as a code.
    pub reason: Option<String>,
    /// Of which version of the roster that was said.
    pub roster_version: Option<u64>,
}

impl From<AccessEntry> for AccessEntryDocument {
    fn from(entry: AccessEntry) -> AccessEntryDocument {
        AccessEntryDocument {
            at: entry.at,
            key: entry.key,
            user: entry.user,
            from: entry.from.map(|ip| ip.to_string()),
            method: entry.method,
            route: entry.route,
            status: entry.status,
            member: entry.member,
            upload_id: entry.upload.map(|id| id.0),
            change_set_id: entry.change_set.map(|id| id.0),
            feed: entry.feed,
            eligible: entry.eligible,
            reason: entry.reason,
            roster_version: entry.roster_version,
        }
    }
}

/// A page of the log of reads, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccessLogDocument {
    /// The entries.
    pub entries: Vec<AccessEntryDocument>,
    /// Where the next page begins; none after the last.
    pub next: Option<String>,
}

/// List what was read with keys, newest first
///
/// Of the last 90 days; what was read just now is there some seconds later. Whoever is no administrator sees what was read with the
/// keys that are mapped to them. Only for keys without limits on people, fields or feeds, since it names whatever was read.
#[utoipa::path(get, path = "/api/v1/keys/access-log", tag = "keys", params(AccessLogParameters),
    responses((status = 200, body = AccessLogDocument)))]
pub async fn list(caller: Caller, Query(parameters): Query<AccessLogParameters>) -> Result<Json<AccessLogDocument>> {
    caller.needs(Resource::Keys, Action::Read)?;
    caller.is_for_everything(
        "The key is for some people, some fields or one feed only, and the log of reads names whatever was read.",
    )?;
    let place = |cursor: &str| AccessLogPlace::read(cursor).ok_or_else(page::bad_cursor);
    let filter = AccessLogFilter {
        key: parameters.key,
        since: parameters.since,
        after: parameters.cursor.as_deref().map(place).transpose()?,
        limit: page::limit(parameters.limit)? as u32,
    };
    let found = caller.engine.access_log(&caller.organisation, &filter, &maker(&caller)).await.map_err(of_key)?;
    Ok(Json(AccessLogDocument {
        entries: found.entries.into_iter().map(Into::into).collect(),
        next: found.next.map(|place| place.to_string()),
    }))
}
