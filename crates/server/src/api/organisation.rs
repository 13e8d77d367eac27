//! The key's organisation and its settings.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::{get, patch},
};
use chrono::{DateTime, Utc};
use muster_domain::{
    access::{Action, Resource},
    guard::Hold,
    settings::{Setting, is_operators_own},
};
use muster_engine::setting::{ChangedSetting, SettingsReport, SettingsRequest, SettingsState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Api, body, caller::Caller};
use crate::problem::{CONFIRMATION, INVALID, Problem, ProblemDocument, Result, STALE};

/// The routes.
pub fn routes() -> Router<Api> {
    Router::new().route("/organisation", get(show)).route("/organisation/settings", patch(set))
}

/// A setting.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettingDocument {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What it means.
    pub meaning: String,
    /// The value that it has unless somebody sets it.
    pub default: String,
}

impl From<Setting> for SettingDocument {
    fn from(setting: Setting) -> SettingDocument {
        let Setting { key, value, meaning, default } = setting;
        SettingDocument { key: key.to_owned(), value, meaning: meaning.to_owned(), default }
    }
}

/// The organisation that the key is of.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrganisationDocument {
    /// Identity.
    pub id: Uuid,
    /// Its name in addresses and commands.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// The names of its feeds.
    pub feeds: Vec<String>,
    /// Counts applied change sets.
    pub roster_version: u64,
    /// The last event of its log.
    pub seq: u64,
    /// The version of its settings; also the `ETag`.
    pub settings_version: u32,
    /// Its settings; none if the key may not read them.
    pub settings: Vec<SettingDocument>,
    /// What this key is and may do.
    pub key: OwnKey,
}

/// The key with which this was asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnKey {
    /// Identity.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may do now, as scopes.
    pub scopes: Vec<String>,
    /// Until when it works.
    pub expires_at: Option<DateTime<Utc>>,
    /// The only feed for which it speaks.
    pub feed: Option<String>,
}

/// Show the organisation that the key is of, and what the key may do
#[utoipa::path(get, path = "/api/v1/organisation", tag = "organisation", responses((status = 200, body = OrganisationDocument)))]
pub async fn show(caller: Caller) -> Result<Response> {
    let (org, grant) = (&caller.organisation, &caller.grant);
    let head = caller.engine.store.head(org.row.id).await?;
    let sees_settings = grant.may(Resource::Settings, Action::Read);
    let document = OrganisationDocument {
        id: org.row.id.0,
        slug: org.row.slug.clone(),
        name: org.settings.name.clone(),
        created_at: org.row.created_at,
        feeds: org.feeds.iter().map(|f| f.settings.name.clone()).collect(),
        roster_version: head.roster_version,
        seq: head.last_seq,
        settings_version: org.settings.version,
        settings: if sees_settings { org.settings.list().into_iter().map(Into::into).collect() } else { Vec::new() },
        key: OwnKey {
            id: grant.key.id.clone(),
            name: grant.key.name.clone(),
            scopes: grant.rights.scopes(),
            expires_at: grant.key.expires_at,
            feed: grant.key.feed.map(|no| org.feed_name(no).to_owned()),
        },
    };
    let mut response = Json(document).into_response();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", org.settings.version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Settings to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// Values by key.
    pub settings: BTreeMap<String, String>,
    /// Show it, change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// How many people become ineligible, where a guard tripped.
    pub confirm_removals: Option<u64>,
}

/// A setting that changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangedDocument {
    /// Its key.
    pub key: String,
    /// Its value until now.
    pub before: String,
    /// Its value from then on.
    pub after: String,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettingsDocument {
    /// `set`, `no_changes` or `dry_run`.
    pub state: String,
    /// The version of the settings now.
    pub settings_version: u32,
    /// The settings that differ.
    pub changed: Vec<ChangedDocument>,
    /// How many would stop being eligible, and how many become it; none if it cannot do anything to that.
    pub eligibility: Option<EligibilityPreview>,
    /// Guards that tripped.
    #[schema(value_type = Vec<Object>)]
    pub holds: Vec<Hold>,
}

/// What a change of settings does to who is eligible.
#[derive(Debug, Serialize, ToSchema)]
pub struct EligibilityPreview {
    /// How many are eligible today as the settings are.
    pub eligible: u64,
    /// How many would stop being eligible.
    pub stop: u64,
    /// How many would become eligible.
    pub start: u64,
}

/// Change settings
///
/// All of them or none. What makes more people ineligible than the guards let pass must be confirmed by their number.
#[utoipa::path(patch, path = "/api/v1/organisation/settings", tag = "organisation", request_body = SettingsChange,
    responses((status = 200, body = SettingsDocument),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 412, body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
pub async fn set(
    caller: Caller,
    headers: HeaderMap,
    body::Json(change): body::Json<SettingsChange>,
) -> Result<Json<SettingsDocument>> {
    caller.needs(Resource::Settings, Action::Update)?;
    let seen = seen(&caller, &headers)?;
    for key in change.settings.keys() {
        if is_operators_own(key) {
            let why = format!("`{key}` is set by the operator of the installation alone.");
            return Err(Problem::new(&INVALID, &why).at(format!("/settings/{}", body::escaped(key)), why));
        }
    }
    let SettingsChange { settings, dry_run, confirm_removals } = change;
    let request = SettingsRequest { pairs: settings.into_iter().collect(), dry_run, confirm_removals, seen };
    let report = caller.engine.change_settings(caller.slug(), &request).await?;
    if report.state == SettingsState::Refused {
        let stop = report.eligibility.as_ref().map_or(0, |e| e.stop);
        let why = format!(
            "Nothing was set: {stop} people would stop being eligible. If that is right, send it as confirm_removals."
        );
        return Err(Problem::new(&CONFIRMATION, why).with("removals", stop));
    }
    Ok(Json(shown(report)))
}

/// The version of the settings that was seen, if that is said and is the present one.
fn seen(caller: &Caller, headers: &HeaderMap) -> Result<Option<u32>> {
    let now = caller.organisation.settings.version;
    match body::if_match(headers) {
        Some(tags) if tags.iter().any(|tag| *tag == now.to_string()) => Ok(Some(now)),
        Some(tags) if !tags.iter().any(|tag| tag == "*") => {
            Err(Problem::new(&STALE, format!("The settings are of version {now} now; read them again.")))
        }
        _ => Ok(None),
    }
}

fn shown(report: SettingsReport) -> SettingsDocument {
    let state = match report.state {
        SettingsState::Set => "set",
        SettingsState::NoChanges => "no_changes",
        SettingsState::DryRun => "dry_run",
        SettingsState::Refused => "refused",
    };
    let changed = |c: ChangedSetting| ChangedDocument { key: c.key.to_owned(), before: c.before, after: c.after };
    SettingsDocument {
        state: state.to_owned(),
        settings_version: report.settings_version,
        changed: report.changed.into_iter().map(changed).collect(),
        eligibility: report.eligibility.map(|e| EligibilityPreview {
            eligible: e.eligible,
            stop: e.stop,
            start: e.start,
        }),
        holds: report.holds,
    }
}
