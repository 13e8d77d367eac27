//! Members: found by match key, by an old key, or by another identifier that only they have; now and at another time.

use chrono::{DateTime, NaiveDate, Utc};
use muster_domain::{
    digest::Identifier,
    eligibility::{self, Answer},
    event::StoredEvent,
    fact::Fact,
    field::FieldId,
    ids::{Day, OrganisationId, day_of},
    member::Member,
    normalise,
    replay::{Checked, Replay},
    settings::Settings,
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
    /// As it was after an event.
    Event(u64),
}

/// Whether a member is eligible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Eligible {
    /// Who; nobody, if the key is unknown.
    pub member: Option<Uuid>,
    /// Yes or no, why, since when and until when.
    #[serde(flatten)]
    pub answer: Answer,
    /// The roster version that the answer was read from.
    pub roster_version: u64,
}

impl Eligible {
    fn of(member: Option<&Member>, settings: &Settings, on: Day, roster_version: u64) -> Eligible {
        let answer = member.map_or(Answer::UNKNOWN, |m| eligibility::eligible(m, settings, on));
        Eligible { member: member.map(|m| m.uuid), answer, roster_version }
    }
}

/// The roster of some time.
pub struct Roster<'a> {
    engine: &'a Engine,
    org: OrganisationId,
    /// The log folded so far; none for the roster as it is stored.
    past: Option<Box<Replay>>,
}

impl Roster<'_> {
    /// Calls a function with everybody who is or was on it, in order of their coming.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn each(&self, mut visit: impl FnMut(Member)) -> Result<()> {
        let mut visit = |m: Member| {
            if !m.spells.is_empty() {
                visit(m);
            }
        };
        let Some(past) = &self.past else { return self.engine.each_member(self.org, visit).await };
        for member in past.members() {
            visit(member?);
        }
        Ok(())
    }
}

impl Engine {
    /// Everybody who is or was on the roster, in order of their coming; [`Member::is_listed`] tells who was on it then.
    ///
    /// # Errors
    /// If the log has no such roster version, or store or log cannot be read.
    pub async fn roster(&self, org: &Organisation, at: At) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        self.roster_at(org, at).await?.each(|m| members.push(m)).await?;
        Ok(members)
    }

    /// The roster of some time, to be gone through as often as need be without all of it being held as members.
    ///
    /// # Errors
    /// If the log has no such roster version, or cannot be read.
    pub async fn roster_at(&self, org: &Organisation, at: At) -> Result<Roster<'_>> {
        let past = if at == At::Now { None } else { Some(Box::new(self.fold_until(org, at).await?)) };
        Ok(Roster { engine: self, org: org.row.id, past })
    }

    /// Whether somebody is eligible on a day (today, if none is named), by what is known now or was known at another time.
    /// A key that nobody has is answered like somebody who was never listed.
    ///
    /// # Errors
    /// If store or log cannot be read.
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
            let member = match self.member(org, key).await {
                Err(Error::Unknown(_)) => None,
                member => Some(member?),
            };
            let on = day(&org.settings, self.now());
            return Ok(Eligible::of(member.as_ref(), &org.settings, on, roster_version));
        };
        let then = self.fold_until(org, At::Time(at)).await?;
        let mut alike = Vec::new();
        for member in then.members() {
            alike.extend(Some(member?).filter(|m| may_be(m, key)));
        }
        let member = meant(alike.iter().collect(), key);
        let settings = then.documents().settings();
        Ok(Eligible::of(member, settings, day(settings, at), then.roster_version()))
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
        is_reached(org, at, replay.roster_version(), replay.last_seq())?;
        Ok(replay)
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

/// By what somebody is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By<'a> {
    /// The match key, of now or before.
    Key(&'a str),
    /// The e-mail address, if only one has it.
    Email(&'a str),
    /// The identity, which never changes.
    Id(Uuid),
}

impl Engine {
    /// The member who is meant; none if there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn look_up(&self, org: &Organisation, by: By<'_>) -> Result<Option<Member>> {
        let hash = match by {
            By::Key(key) => org.keys.identifier(Identifier::Key, key),
            By::Email(email) => org.keys.identifier(Identifier::Email, email),
            By::Id(id) => org.keys.member(id),
        };
        let mut numbers: Vec<u32> = self.store.idents(org.row.id, &[hash]).await?.iter().map(|i| i.1).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let found = self.members(org.row.id, &numbers).await?;
        let mut members: Vec<&Member> = numbers.iter().filter_map(|no| found.get(no)).collect();
        members.sort_by_key(|m| (!m.is_listed(), m.spells.is_empty()));
        let member = match by {
            By::Id(id) => members.into_iter().find(|m| m.uuid == id),
            By::Key(key) => {
                let is = |text: &str| normalise::key(text) == normalise::key(key);
                let by_alias = || members.iter().find(|m| m.aliases.iter().any(|a| is(a)));
                members.iter().find(|m| is(&m.key)).or_else(by_alias).copied()
            }
            By::Email(email) => {
                let is = |m: &&Member| {
                    m.values.get(FieldId::EMAIL).is_some_and(|e| normalise::key(e) == normalise::key(email))
                };
                let all: Vec<&Member> = members.into_iter().filter(is).collect();
                // Of several who have it, the only one who is on the roster is meant, or nobody.
                let listed: Vec<&&Member> = all.iter().filter(|m| m.is_listed()).collect();
                match (&listed[..], &all[..]) {
                    ([one], _) => Some(**one),
                    ([], [one]) => Some(*one),
                    _ => None,
                }
            }
        };
        Ok(member.cloned())
    }

    /// Whether somebody is eligible on a day (today, if none is named), by what is known now or was known at another time.
    /// Only whoever `sees` lets pass is known at all. `roster_version` was read before: what it counts is then certainly in
    /// the answer.
    ///
    /// # Errors
    /// If store or log cannot be read.
    pub async fn check(
        &self,
        org: &Organisation,
        roster_version: u64,
        by: By<'_>,
        on: Option<NaiveDate>,
        sees: impl Fn(&Member) -> bool,
    ) -> Result<(Eligible, Day)> {
        let member = self.look_up(org, by).await?.filter(|m| sees(m) && !m.spells.is_empty());
        let on = on.map_or_else(|| eligibility::today(&org.settings, self.now()), day_of);
        Ok((Eligible::of(member.as_ref(), &org.settings, on, roster_version), on))
    }

    /// The same by what was known at another time.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn check_at(
        &self,
        org: &Organisation,
        by: By<'_>,
        on: Option<NaiveDate>,
        at: DateTime<Utc>,
        sees: impl Fn(&Member) -> bool,
    ) -> Result<(Eligible, Day)> {
        let then = self.fold_until(org, At::Time(at)).await?;
        let mut alike = Vec::new();
        let is_asked = |m: &Member| match by {
            By::Id(id) => m.uuid == id,
            By::Key(key) => {
                let is = |text: &str| normalise::key(text) == normalise::key(key);
                is(&m.key) || m.aliases.iter().any(|a| is(a))
            }
            By::Email(email) => {
                m.values.get(FieldId::EMAIL).is_some_and(|e| normalise::key(e) == normalise::key(email))
            }
        };
        for member in then.members() {
            alike.extend(Some(member?).filter(|m| is_asked(m) && sees(m) && !m.spells.is_empty()));
        }
        let member = match by {
            By::Id(_) => alike.first(),
            By::Key(text) | By::Email(text) => meant(alike.iter().collect(), text),
        };
        let settings = then.documents().settings();
        let on = on.map_or_else(|| eligibility::today(settings, at), day_of);
        Ok((Eligible::of(member, settings, on, then.roster_version()), on))
    }
}

/// Whether any of what a member is known by is the key.
fn may_be(member: &Member, key: &str) -> bool {
    let key = normalise::key(key);
    let others = [FieldId::EMAIL, FieldId::EMPLOYEE_ID].into_iter().filter_map(|f| member.values.get(f));
    let mut all = member.aliases.iter().map(String::as_str).chain(others).chain([&*member.key]);
    all.any(|text| normalise::key(text) == key)
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

/// An error if a log of so many versions and events does not come to this point.
pub(crate) fn is_reached(org: &Organisation, at: At, roster_version: u64, last_seq: u64) -> Result<()> {
    let (what, wanted, last) = match at {
        At::Version(version) => ("roster version", version, roster_version),
        At::Event(seq) => ("event", seq, last_seq),
        At::Now | At::Time(_) => return Ok(()),
    };
    if wanted <= last {
        return Ok(());
    }
    Err(Error::Unknown(format!("There is no {what} {wanted} of {} yet; the present one is {last}.", org.row.slug)))
}

/// Whether the event lies past the point up to which the log is folded.
pub(crate) fn is_past(event: &StoredEvent, at: At) -> Result<bool> {
    Ok(match at {
        At::Now => false,
        At::Time(time) => event.meta.recorded_at > time,
        At::Event(seq) => event.meta.seq > seq,
        At::Version(version) => match event.meta.kind.as_str() {
            "member.forgotten" => matches!(Fact::read(&event.meta)?, Fact::Forgotten(f) if f.roster_version > version),
            "change_set.applied" => matches!(Fact::read(&event.meta)?, Fact::Applied(a) if a.roster_version > version),
            _ => false,
        },
    })
}
