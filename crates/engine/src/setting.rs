//! Setting: what a change of settings would do to who is eligible, and the change itself, guarded like a change set.

use muster_domain::{
    codec,
    eligibility::{self, Turn},
    fact::{EligibilityChange, Fact},
    guard::{Figures, Hold},
    settings::{Channel, Guards, Settings, changes_who_is_eligible},
};
use muster_store::Lease;
use serde::Serialize;
use uuid::Uuid;

use crate::{Engine, Error, Organisation, Result, event};

/// A change of settings that somebody wants.
#[derive(Clone, Debug, Default)]
pub struct SettingsRequest {
    /// Keys and values.
    pub pairs: Vec<(String, String)>,
    /// Show it, change nothing.
    pub dry_run: bool,
    /// How many people the caller knows to become ineligible.
    pub confirm_removals: Option<u64>,
    /// Nothing is set unless the settings are of this version.
    pub seen: Option<u32>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingsState {
    /// The settings hold from now on.
    Set,
    /// They held already.
    NoChanges,
    /// They were only tried.
    DryRun,
    /// A guard tripped, and nobody confirmed the number.
    Refused,
}

/// One setting that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedSetting {
    /// Its key.
    pub key: &'static str,
    /// Its value until now.
    pub before: String,
    /// Its value from then on.
    pub after: String,
}

/// What a change of settings came to, or would come to.
#[derive(Clone, Debug, Serialize)]
pub struct SettingsReport {
    /// What became of it.
    pub state: SettingsState,
    /// The version of the settings now.
    pub settings_version: u32,
    /// The settings that differ.
    pub changed: Vec<ChangedSetting>,
    /// What it does to who is eligible today; none if it cannot do anything.
    pub eligibility: Option<Preview>,
    /// People whose match key changes with the setting `match_key`.
    pub rekeyed: u64,
    /// Guards that tripped.
    pub holds: Vec<Hold>,
    /// The organisation's last event when this was done: who reads what projections make waits for it to see this.
    pub seq: u64,
}

/// Who would be eligible and who no longer, by match key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// How many are eligible today as the settings are.
    pub eligible: u64,
    /// How many would stop being eligible.
    pub stop: u64,
    /// How many would become eligible.
    pub start: u64,
    /// Match keys of those who would stop.
    pub stopping: Vec<String>,
    /// Match keys of those who would become eligible.
    pub starting: Vec<String>,
}

impl SettingsReport {
    /// Why it was refused, in a sentence; empty if it was not.
    pub fn refusal(&self, confirmed: Option<u64>) -> String {
        let stop = self.eligibility.as_ref().map_or(0, |e| e.stop);
        match (self.state, confirmed, self.holds.first()) {
            (SettingsState::Refused, Some(n), _) => format!(
                "Nothing was set: {n} were confirmed to become ineligible, and it would be {stop}; give exactly that number if it is right."
            ),
            (SettingsState::Refused, None, Some(hold)) => {
                format!("Nothing was set: {} Add --confirm-removals {stop} if that is right.", hold.detail)
            }
            _ => String::new(),
        }
    }
}

impl Engine {
    /// Changes settings by `KEY=VALUE`, all of them or none.
    ///
    /// # Errors
    /// If a key or value is not one, or a guard tripped; nothing is changed then.
    pub async fn set_settings(&self, org: &Organisation, pairs: &[(String, String)]) -> Result<Settings> {
        let request = SettingsRequest { pairs: pairs.to_vec(), ..SettingsRequest::default() };
        let report = self.change_settings(&org.row.slug, &request).await?;
        match report.state {
            SettingsState::Refused => Err(Error::Guarded(report.refusal(None))),
            _ => Ok(self.organisation(&org.row.slug).await?.settings),
        }
    }

    /// Changes settings, or shows what that would do. A change that makes more people ineligible than the guards on
    /// removals let pass is refused, unless the caller confirms how many.
    ///
    /// # Errors
    /// If a key or value is not one, or the match key cannot be what is wanted; nothing is changed then.
    pub async fn change_settings(&self, slug: &str, request: &SettingsRequest) -> Result<SettingsReport> {
        let org = self.organisation(slug).await?;
        if request.dry_run {
            return self.try_settings(&org, request).await.map(|(report, _)| report);
        }
        let lease = self.lease(org.row.id).await?;
        let outcome = self.change_settings_leased(&lease, slug, request).await;
        let mut report = self.give_back(&lease, outcome).await?;
        report.seq = self.store.head(org.row.id).await?.last_seq;
        Ok(report)
    }

    async fn change_settings_leased(
        &self,
        lease: &Lease,
        slug: &str,
        request: &SettingsRequest,
    ) -> Result<SettingsReport> {
        let org = self.organisation(slug).await?;
        if request.seen.is_some_and(|version| version != org.settings.version) {
            let why = format!("Nothing was set: the settings are of version {} now; look again.", org.settings.version);
            return Err(Error::Stale(why));
        }
        let (mut report, settings) = self.try_settings(&org, request).await?;
        if report.changed.is_empty() {
            return Ok(report);
        }
        let stop = report.eligibility.as_ref().map_or(0, |e| e.stop);
        let confirmed = request.confirm_removals == Some(stop);
        if !confirmed && (request.confirm_removals.is_some() || !report.holds.is_empty()) {
            report.state = SettingsState::Refused;
            return Ok(report);
        }
        let eligibility = report.eligibility.as_ref().map(|e| EligibilityChange {
            eligible: e.eligible,
            stop: e.stop,
            start: e.start,
            confirmed: confirmed && !report.holds.is_empty(),
        });
        let fact = Fact::SettingsChanged {
            settings: Box::new(settings.clone()),
            changed: report.changed.iter().map(|c| c.key.to_owned()).collect(),
            eligibility,
        };
        (report.state, report.settings_version) = (SettingsState::Set, settings.version);
        if settings.match_key != org.settings.match_key && self.rekey_everybody(lease, &org, &fact, &settings).await? {
            return Ok(report);
        }
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        tx.append(vec![event(&fact, None)], &self.who(Uuid::now_v7())).await?;
        tx.put_settings(&serde_json::to_vec(&settings)?).await?;
        tx.commit().await?;
        Ok(report)
    }

    /// What the change would come to, and the settings that it leads to.
    async fn try_settings(&self, org: &Organisation, request: &SettingsRequest) -> Result<(SettingsReport, Settings)> {
        let pairs = request.pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let settings = org.settings.with(pairs).map_err(|e| Error::Wrong(e.to_string()))?;
        let differing = org.settings.list().into_iter().zip(settings.list()).filter(|(b, a)| b.value != a.value);
        let mut report = SettingsReport {
            state: SettingsState::DryRun,
            settings_version: org.settings.version,
            changed: differing.map(|(b, a)| ChangedSetting { key: a.key, before: b.value, after: a.value }).collect(),
            eligibility: None,
            rekeyed: 0,
            holds: Vec::new(),
            seq: self.store.head(org.row.id).await?.last_seq,
        };
        if report.changed.is_empty() {
            report.state = SettingsState::NoChanges;
            return Ok((report, settings));
        }
        if settings.match_key != org.settings.match_key {
            report.rekeyed = self.expect_new_keys(org, &settings).await?;
        }
        if changes_who_is_eligible(&org.settings, &settings) {
            let preview = self.who_turns(org, &settings).await?;
            let figures = Figures { claims_before: preview.eligible, removals: preview.stop, ..Figures::default() };
            report.holds = Guards::judge(&org.settings, &figures, Channel::Hand);
            report.eligibility = Some(preview);
        }
        Ok((report, settings))
    }

    /// Who would be eligible today under other settings, and who no longer.
    async fn who_turns(&self, org: &Organisation, settings: &Settings) -> Result<Preview> {
        let (mut preview, now) = (Preview::default(), self.now());
        let scan = |no, packed: &[u8]| {
            let member = codec::decode(no, packed)?;
            let turn = eligibility::turn(&member, &org.settings, settings, now);
            Ok((turn != Turn::StaysOut).then_some((turn, member.key)))
        };
        self.scan_members(org.row.id, scan, |(turn, key)| {
            preview.eligible += u64::from(turn != Turn::Starts);
            match turn {
                Turn::Stops => preview.stopping.push(key),
                Turn::Starts => preview.starting.push(key),
                Turn::StaysIn | Turn::StaysOut => {}
            }
        })
        .await?;
        (preview.stop, preview.start) = (preview.stopping.len() as u64, preview.starting.len() as u64);
        preview.stopping.sort_unstable();
        preview.starting.sort_unstable();
        Ok(preview)
    }
}
