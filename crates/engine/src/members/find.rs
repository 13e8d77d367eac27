//! Members found by match key, by an old key, by another identifier that only they have, or by their identity; and whether
//! whoever is found is eligible. And the other way round: what a row of a feed has to say to name one of them.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use muster_domain::{
    digest::{Identifier, Keys},
    documents::Feed,
    eligibility::{self, Answer},
    field::FieldId,
    ids::{Day, MemberNo, day_of},
    member::Member,
    normalise,
    settings::Settings,
};
use muster_intake::{Columns, Reader, Row, csv::CellBuffer};
use serde::Serialize;
use uuid::Uuid;

use super::At;
use crate::{Engine, Error, Organisation, Result};

/// By what somebody is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By<'a> {
    /// The match key, of now or before.
    Key(&'a str),
    /// The e-mail address: of several who have it, the only one who is on the roster is meant, or nobody.
    Email(&'a str),
    /// The identity, which never changes.
    Id(Uuid),
    /// Whatever it may be: the match key, of now or before; else the e-mail address or employee id, if only one has it.
    Any(&'a str),
}

/// Whom somebody means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// By what the person is known: match key, an old one, e-mail or employee id.
    Known(String),
    /// The identity, which never changes.
    Id(Uuid),
    /// A member who must be as they were seen.
    Seen(Box<Member>),
}

impl Default for Whom {
    fn default() -> Self {
        Whom::Known(String::new())
    }
}

impl From<&str> for Whom {
    fn from(text: &str) -> Self {
        Whom::Known(text.to_owned())
    }
}

impl From<String> for Whom {
    fn from(text: String) -> Self {
        Whom::Known(text)
    }
}

/// As whoever named them is told of them: an identity is in no sentence.
impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whom::Known(text) => f.write_str(text),
            Whom::Id(_) | Whom::Seen(_) => f.write_str("The member"),
        }
    }
}

impl By<'_> {
    /// What it may stand under in the index of identifiers.
    fn hashes(self, keys: &Keys) -> Vec<u64> {
        let mut hashes = match self {
            By::Key(text) => vec![keys.identifier(Identifier::Key, text)],
            By::Email(text) => vec![keys.identifier(Identifier::Email, text)],
            By::Id(id) => vec![keys.member(id)],
            By::Any(text) => {
                let kinds = [Identifier::Key, Identifier::Email, Identifier::EmployeeId];
                kinds.iter().map(|kind| keys.identifier(*kind, text)).collect()
            }
        };
        hashes.sort_unstable();
        hashes
    }

    /// Whether a member may be the one.
    fn may_be(self, member: &Member) -> bool {
        match self {
            By::Key(text) => is_key(member, text) || is_alias(member, text),
            By::Email(text) => has(member, FieldId::EMAIL, text),
            By::Id(id) => member.uuid == id,
            By::Any(text) => is_key(member, text) || is_alias(member, text) || has_other(member, text),
        }
    }

    /// The one who is meant. Somebody on the roster goes before a former member, and both before a person who was never taken
    /// on.
    fn meant(self, mut members: Vec<&Member>) -> Option<&Member> {
        members.retain(|m| self.may_be(m));
        members.sort_by_key(|m| (!m.is_listed(), m.spells.is_empty()));
        let by_key = |text: &str| {
            let now = members.iter().find(|m| is_key(m, text));
            now.or_else(|| members.iter().find(|m| is_alias(m, text))).copied()
        };
        match self {
            By::Key(text) => by_key(text),
            By::Id(_) => members.first().copied(),
            By::Any(text) => by_key(text).or_else(|| only(members)),
            By::Email(_) => {
                let listed = members.iter().copied().filter(|m| m.is_listed()).collect::<Vec<_>>();
                if listed.is_empty() { only(members) } else { only(listed) }
            }
        }
    }
}

fn is_same(one: &str, other: &str) -> bool {
    normalise::key(one) == normalise::key(other)
}

fn is_key(member: &Member, text: &str) -> bool {
    is_same(&member.key, text)
}

fn is_alias(member: &Member, text: &str) -> bool {
    member.aliases.iter().any(|alias| is_same(alias, text))
}

fn has(member: &Member, field: FieldId, text: &str) -> bool {
    member.values.get(field).is_some_and(|value| is_same(value, text))
}

fn has_other(member: &Member, text: &str) -> bool {
    has(member, FieldId::EMAIL, text) || has(member, FieldId::EMPLOYEE_ID, text)
}

fn only(members: Vec<&Member>) -> Option<&Member> {
    if let [one] = members[..] { Some(one) } else { None }
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
    /// The day that was asked about.
    #[serde(skip)]
    pub on: Day,
}

impl Eligible {
    fn of(member: Option<&Member>, settings: &Settings, on: Day, roster_version: u64) -> Eligible {
        let answer = member.map_or(Answer::UNKNOWN, |m| eligibility::eligible(m, settings, on));
        Eligible { member: member.map(|m| m.uuid), answer, roster_version, on }
    }

    /// The same question about somebody of whom nothing is known.
    fn unknown(self) -> Eligible {
        Eligible { member: None, answer: Answer::UNKNOWN, ..self }
    }
}

impl Organisation {
    /// The match key that a row of a feed has in which this stands for it; none if no match key can be read from that. It is
    /// the reader of all payloads that reads it, so whoever must know beforehand whom a row will name asks here: the feed's
    /// prefix stands in front, and `50.0` is 50.
    pub fn key_of_row(&self, feed: &Feed, said: &str) -> Option<String> {
        let columns = Columns {
            by_index: vec![Some(self.settings.match_key.field())],
            key: 0,
            header: vec!["unique_id".to_owned()],
            ignored: Vec::new(),
        };
        let prefix = feed.settings.key_prefix.as_deref().unwrap_or_default();
        let reader = Reader::new(columns, &self.settings.fields, prefix, self.settings.dates);
        let record = format!("\"{}\"", said.replace('"', "\"\""));
        let (mut buffer, mut row) = (CellBuffer::default(), Row::default());
        let cells = buffer.split(record.as_bytes(), b',').ok()?;
        reader.read(&cells, 1, &mut row).ok()?;
        Some(row.key)
    }

    /// What must stand for the match key in a row of a feed for it to have this one; none if no row of the feed has it, because
    /// the feed's prefix does not stand in front.
    fn said_for_key(&self, feed: &Feed, key: &str) -> Option<String> {
        let prefix = normalise::key(feed.settings.key_prefix.as_deref().unwrap_or_default());
        let behind_prefix = key.char_indices().filter(|(at, _)| normalise::key(&key[..*at]) == prefix);
        let mut said = behind_prefix.map(|(at, _)| &key[at..]);
        let said = said.find(|said| self.key_of_row(feed, said).is_some_and(|read| is_same(&read, key)));
        said.map(str::to_owned)
    }
}

impl Engine {
    /// The member of that match key; else of that old key; else the only one with that e-mail or employee id.
    ///
    /// # Errors
    /// If there is none.
    pub async fn member(&self, org: &Organisation, key: &str) -> Result<Member> {
        self.look_up(org, By::Any(key)).await?.ok_or_else(|| {
            Error::Unknown(format!("Nobody on the roster of {} is known as {key}, now or formerly.", org.row.slug))
        })
    }

    /// The member whom somebody means.
    ///
    /// # Errors
    /// If there is none; [`Error::Stale`] if they are not as they were seen.
    pub async fn whom(&self, org: &Organisation, whom: &Whom) -> Result<Member> {
        match whom {
            Whom::Known(key) => self.member(org, key).await,
            Whom::Seen(seen) => self.expect_as_seen(org, seen).await,
            Whom::Id(id) => {
                let found = self.look_up(org, By::Id(*id)).await?;
                found.ok_or_else(|| Error::Unknown(format!("There is no such member of {}.", org.row.slug)))
            }
        }
    }

    /// The member, if they are still as they were seen: for whoever holds the lease, so that nobody changes them any more.
    ///
    /// # Errors
    /// [`Error::Stale`] if they are not.
    pub(crate) async fn expect_as_seen(&self, org: &Organisation, seen: &Member) -> Result<Member> {
        let now = self.members(org.row.id, &[seen.no]).await?.remove(&seen.no).filter(|now| now == seen);
        let stale =
            || Error::Stale("Nothing was done: the member is not as they were seen any more; look again.".to_owned());
        now.ok_or_else(stale)
    }

    /// The member who is meant; none if there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn look_up(&self, org: &Organisation, by: By<'_>) -> Result<Option<Member>> {
        let numbers = self.numbers(org, by).await?;
        let found = self.members(org.row.id, &numbers).await?;
        Ok(by.meant(numbers.iter().filter_map(|no| found.get(no)).collect()).cloned())
    }

    /// Whom a row with that match key names. Only of a key of before there may be several.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn named_by(&self, org: &Organisation, key: &str) -> Result<Vec<Member>> {
        let numbers = self.numbers(org, By::Key(key)).await?;
        let mut found: Vec<Member> = self.members(org.row.id, &numbers).await?.into_values().collect();
        let is_somebodys = found.iter().any(|m| is_key(m, key));
        found.retain(|m| if is_somebodys { is_key(m, key) } else { is_alias(m, key) });
        Ok(found)
    }

    /// What must stand for the match key in a row of a feed for it to name exactly this member; none if no row of the feed does.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn said_for(&self, org: &Organisation, feed: &Feed, member: &Member) -> Result<Option<String>> {
        let mut keys = vec![&member.key];
        // Whoever comes back by a key of before would be given it back, so that is for somebody on the roster only.
        if member.is_listed() {
            keys.extend(&member.aliases);
        }
        for key in keys {
            let Some(said) = org.said_for_key(feed, key) else { continue };
            if matches!(&self.named_by(org, key).await?[..], [one] if one.uuid == member.uuid) {
                return Ok(Some(said));
            }
        }
        Ok(None)
    }

    /// The numbers of those who may be meant, in order.
    pub(super) async fn numbers(&self, org: &Organisation, by: By<'_>) -> Result<Vec<MemberNo>> {
        let idents = self.store.idents(org.row.id, &by.hashes(&org.keys)).await?;
        let mut numbers: Vec<MemberNo> = idents.iter().map(|ident| ident.1).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// Whether somebody is eligible on a day (today, if none is named), by what is known now or was known at another time.
    /// Only whoever was taken on at some time, and whom `sees` lets pass, is known at all; others are answered like somebody
    /// who was never listed. At another time it must let them pass as they were then and as they are.
    ///
    /// # Errors
    /// If store or log cannot be read.
    pub async fn check(
        &self,
        org: &Organisation,
        by: By<'_>,
        on: Option<NaiveDate>,
        at: Option<DateTime<Utc>>,
        sees: impl Fn(&Member) -> bool,
    ) -> Result<Eligible> {
        let roster_version = self.store.head(org.row.id).await?.roster_version;
        self.check_from(org, roster_version, by, on, at, sees).await
    }

    /// The same where the version of the roster was read before: what it counts is certainly in the answer.
    ///
    /// # Errors
    /// As [`check`](Engine::check).
    pub async fn check_from(
        &self,
        org: &Organisation,
        roster_version: u64,
        by: By<'_>,
        on: Option<NaiveDate>,
        at: Option<DateTime<Utc>>,
        sees: impl Fn(&Member) -> bool,
    ) -> Result<Eligible> {
        let is_known = |m: &Member| sees(m) && !m.spells.is_empty();
        let day = |settings, now| on.map_or_else(|| eligibility::today(settings, now), day_of);
        let Some(at) = at else {
            let member = self.look_up(org, by).await?.filter(is_known);
            return Ok(Eligible::of(member.as_ref(), &org.settings, day(&org.settings, self.now()), roster_version));
        };
        let found = {
            let then = self.fold_until(org, At::Time(at)).await?;
            let mut alike = Vec::new();
            for member in then.members() {
                alike.extend(Some(member?).filter(|m| by.may_be(m)));
            }
            let member = by.meant(alike.iter().collect()).filter(|m| is_known(m));
            let settings = then.documents().settings();
            Eligible::of(member, settings, day(settings, at), then.roster_version())
        };
        let Some(id) = found.member else { return Ok(found) };
        let now = self.look_up(org, By::Id(id)).await?;
        Ok(if now.is_none_or(|m| sees(&m)) { found } else { found.unknown() })
    }
}
