//! Members: found by match key, by an old key, or by another identifier that only they have; now and at another time.

use chrono::{DateTime, NaiveDate, Utc};
use muster_domain::{
    digest::Identifier,
    eligibility::{self, Answer},
    event::StoredEvent,
    fact::Fact,
    field::FieldId,
    ids::day_of,
    member::Member,
    normalise,
    replay::{Checked, Replay},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{Engine, Error, Organisation, Result, export::SLICE, roster::in_parallel};

/// Which state of the roster is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// As it is stored.
    #[default]
    Now,
    /// As it was known at a moment.
    Time(DateTime<Utc>),
    /// As it was after so many applied change sets.
    Version(u64),
}

/// Whether a member is eligible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Eligible {
    /// Who.
    pub member: Uuid,
    /// Yes or no, why, since when and until when.
    #[serde(flatten)]
    pub answer: Answer,
    /// The roster version that the answer was read from.
    pub roster_version: u64,
}

impl Engine {
    /// Everybody who is or was on the roster, in order of their coming; [`Member::is_listed`] tells who was on it then.
    ///
    /// # Errors
    /// If the log has no such roster version, or store or log cannot be read.
    pub async fn roster(&self, org: &Organisation, at: At) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        let known = |m: &Member| !m.spells.is_empty();
        if at == At::Now {
            self.each_member(org.row.id, |m| members.extend(Some(m).filter(known))).await?;
            return Ok(members);
        }
        for member in self.fold_until(org, at).await?.members() {
            members.extend(Some(member?).filter(known));
        }
        Ok(members)
    }

    /// Whether somebody is eligible on a day (today, if none is named), by what is known now or was known at another time.
    ///
    /// # Errors
    /// If nobody has that key, or had it then.
    pub async fn is_eligible(
        &self,
        org: &Organisation,
        key: &str,
        on: Option<NaiveDate>,
        at: Option<DateTime<Utc>>,
    ) -> Result<Eligible> {
        let day = |settings, now| on.map_or_else(|| eligibility::today(settings, now), day_of);
        let Some(at) = at else {
            // The version is read first: what it counts is then certainly in the answer.
            let roster_version = self.store.head(org.row.id).await?.roster_version;
            let member = self.member(org, key).await?;
            let answer = eligibility::eligible(&member, &org.settings, day(&org.settings, self.now()));
            return Ok(Eligible { member: member.uuid, answer, roster_version });
        };
        let then = self.fold_until(org, At::Time(at)).await?;
        let everybody = then.members().collect::<std::result::Result<Vec<_>, _>>()?;
        let member = meant(everybody.iter().collect(), key)
            .ok_or_else(|| Error::Unknown(format!("Nobody was known as {key} in {} at {at}.", org.row.slug)))?;
        let settings = then.documents().settings();
        let answer = eligibility::eligible(member, settings, day(settings, at));
        Ok(Eligible { member: member.uuid, answer, roster_version: then.roster_version() })
    }

    /// The log folded up to some point.
    ///
    /// # Errors
    /// If it does not reach that point, or cannot be read or folded.
    pub async fn fold_until(&self, org: &Organisation, at: At) -> Result<Replay> {
        let mut replay = Replay::new();
        let mut slices = self.store.event_slices(org.row.id, 0, SLICE);
        while let Some(slice) = slices.next().await? {
            let past = tokio::task::block_in_place(|| -> Result<bool> {
                for event in in_parallel(&slice, |raw| Ok(Checked::new(raw.clone().open()?)?))? {
                    if is_past(event.event(), at)? {
                        return Ok(true);
                    }
                    replay.take(event)?;
                }
                Ok(false)
            })?;
            if past {
                return Ok(replay);
            }
        }
        match at {
            At::Version(version) if version > replay.roster_version() => Err(Error::Unknown(format!(
                "There is no roster version {version} of {} yet; the present one is {}.",
                org.row.slug,
                replay.roster_version()
            ))),
            _ => Ok(replay),
        }
    }

    /// The member of that match key; else of that old key; else the only one with that e-mail or employee id.
    ///
    /// # Errors
    /// If there is none.
    pub async fn member(&self, org: &Organisation, key: &str) -> Result<Member> {
        let kinds = [Identifier::Key, Identifier::Email, Identifier::EmployeeId];
        let mut hashes: Vec<u64> = kinds.iter().map(|k| org.keys.identifier(*k, key)).collect();
        hashes.sort_unstable();
        let mut numbers: Vec<u32> = self.store.idents(org.row.id, &hashes).await?.iter().map(|i| i.1).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let found = self.members(org.row.id, &numbers).await?;
        let members = numbers.iter().filter_map(|no| found.get(no)).collect();
        meant(members, key).cloned().ok_or_else(|| {
            Error::Unknown(format!("Nobody on the roster of {} is known as {key}, now or formerly.", org.row.slug))
        })
    }
}

/// The member of that match key; else of that old key; else the only one with that e-mail or employee id.
/// Somebody on the roster goes before a former member, and both before a person who was never taken on.
fn meant<'m>(mut members: Vec<&'m Member>, key: &str) -> Option<&'m Member> {
    let key = normalise::key(key);
    let is = |text: &str| normalise::key(text) == key;
    members.sort_by_key(|m| (!m.is_listed(), m.spells.is_empty()));
    let has = |m: &Member, field| m.values.get(field).is_some_and(is);
    let by_key = members.iter().find(|m| is(&m.key));
    let by_alias = || members.iter().find(|m| m.aliases.iter().any(|a| is(a)));
    let other: Vec<_> = members.iter().filter(|m| has(m, FieldId::EMAIL) || has(m, FieldId::EMPLOYEE_ID)).collect();
    let by_other = || if let [one] = other[..] { Some(one) } else { None };
    by_key.or_else(by_alias).or_else(by_other).copied()
}

/// Whether the event lies past the point up to which the log is folded.
fn is_past(event: &StoredEvent, at: At) -> Result<bool> {
    Ok(match at {
        At::Now => false,
        At::Time(time) => event.meta.recorded_at > time,
        At::Version(version) => match event.meta.kind.as_str() {
            "change_set.applied" => matches!(Fact::read(&event.meta)?, Fact::Applied(a) if a.roster_version > version),
            _ => false,
        },
    })
}
