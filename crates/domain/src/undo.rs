//! Undo: the change that takes back what a change set did to one member, field by field and claim by claim. What
//! changed since is kept.

use std::borrow::Cow;

use crate::{
    change::{Change, Kind, SaidWord},
    field::{FieldId, Fields},
    ids::FeedNo,
    member::{ABSENT, Member, NAMED, Reason, Spell, Word},
};

/// One member's part of an undo.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Whose words the change set told.
    pub feed: FeedNo,
    /// The member before it; none for a person who was new to the organisation.
    pub before: Option<&'a Member>,
    /// The member after it.
    pub after: &'a Member,
    /// The member now.
    pub now: &'a Member,
    /// The organisation's fields.
    pub fields: &'a Fields,
}

impl<'a> Step<'a> {
    /// The change that takes back what can be taken back, none if nothing can; and what changed since and is kept:
    /// fields, `key` or `claims`.
    pub fn change(&self) -> (Option<Change<'a>>, Vec<&'a str>) {
        let mut kept = Vec::new();
        let mut change = Change::new(Kind::Update, Some(self.now.no), self.now.uuid, self.now.key.as_str());
        self.key(&mut change, &mut kept);
        self.values(&mut change, &mut kept);
        self.claims(&mut change, &mut kept);
        let listed = change.spells.as_ref().map_or(self.now.is_listed(), |s| s.iter().any(|s| s.2.is_none()));
        change.kind = match (self.now.is_listed(), listed) {
            (true, false) => Kind::Remove,
            (false, true) => Kind::Reinstate,
            _ if change.old_key.is_some() => Kind::Rekey,
            _ if !change.to.is_empty() => Kind::Update,
            _ => Kind::Say,
        };
        self.words(&mut change);
        let empty = change.to.is_empty()
            && change.spells.is_none()
            && change.old_key.is_none()
            && change.aliases.is_none()
            && change.words.is_empty();
        ((!empty).then_some(change), kept)
    }

    fn key(&self, change: &mut Change<'a>, kept: &mut Vec<&'a str>) {
        let Some(before) = self.before else { return };
        if before.key != self.after.key && self.now.key != before.key {
            if self.now.key != self.after.key {
                return kept.push("key");
            }
            change.old_key = Some(self.now.key.as_str().into());
            change.key = before.key.as_str().into();
        }
        // Old keys that came since stay.
        let since = self.now.aliases.iter().filter(|a| !self.after.aliases.contains(a) && !before.aliases.contains(a));
        let aliases: Vec<&String> = before.aliases.iter().chain(since).collect();
        let others = before.aliases != self.after.aliases && !aliases.iter().copied().eq(&self.now.aliases);
        if others || change.old_key.is_some() {
            change.aliases = Some(aliases.into_iter().map(|a| a.as_str().into()).collect());
        }
    }

    fn values(&self, change: &mut Change<'a>, kept: &mut Vec<&'a str>) {
        let Some(before) = self.before else { return };
        for field in self.fields.all() {
            let (was, became, is) =
                (before.values.get(field), self.after.values.get(field), self.now.values.get(field));
            if was == became || is == was {
                continue;
            }
            let name = self.fields.name(field);
            if is != became {
                kept.push(name);
                continue;
            }
            change.from.push((name.into(), is.map(Into::into)));
            change.to.push((name.into(), was.map(Into::into)));
        }
    }

    /// Feed by feed: the claims of one that has spoken since stay as they are.
    fn claims(&self, change: &mut Change<'a>, kept: &mut Vec<&'a str>) {
        let before = self.before.map(|b| b.spells.as_slice()).unwrap_or_default();
        let (after, now) = (self.after.spells.as_slice(), self.now.spells.as_slice());
        let mut spells = now.to_vec();
        if now == after {
            spells = before.to_vec();
        } else {
            let mut feeds: Vec<FeedNo> = before.iter().chain(after).map(|s| s.feed).collect();
            feeds.sort_unstable();
            feeds.dedup();
            for feed in feeds {
                let of = |spells: &[Spell]| spells.iter().filter(|s| s.feed == feed).copied().collect::<Vec<_>>();
                let (was, became, is) = (of(before), of(after), of(now));
                if was == became || is == was {
                    continue;
                }
                if is == became {
                    spells.retain(|s| s.feed != feed);
                    spells.extend(was);
                } else if !kept.contains(&"claims") {
                    kept.push("claims");
                }
            }
            spells.sort_by_key(|s| s.from);
        }
        if spells != now {
            let plain = |spells: &[Spell]| Some(spells.iter().map(|s| (s.feed, s.from, s.to)).collect());
            (change.spells, change.old_spells) = (plain(&spells), plain(now));
        }
    }

    /// What the feed said stays said; words that the change set displaced are given back.
    fn words(&self, change: &mut Change<'a>) {
        let mut words = Vec::new();
        let claims = |feed| match &change.spells {
            Some(spells) => spells.iter().any(|s| s.0 == feed && s.2.is_none()),
            None => self.now.is_claimed_by(feed),
        };
        let given_back = |feed| !self.now.is_claimed_by(feed) && claims(feed);
        if self.feed != FeedNo::HAND {
            for (name, value) in &change.from {
                words.push(self.said(name.clone(), value.clone()));
            }
            if given_back(self.feed) {
                words.push(self.said("absent".into(), None));
            } else if self.now.is_claimed_by(self.feed) && !claims(self.feed) {
                words.push(self.said("named".into(), None));
            }
        }
        let reverted = |field| change.to.iter().any(|(n, _)| n == self.name_of(field));
        let had = self.before.map(|b| b.words.as_slice()).unwrap_or_default();
        let lost = had.iter().filter(|w| self.after.word(w.feed, w.field).is_none_or(|a| a.value != w.value));
        for word in lost {
            let whole = word.field == ABSENT || word.field == NAMED;
            let with_claim = given_back(word.feed) && self.now.word(word.feed, word.field).is_none();
            let displaced = word.feed != self.feed && (whole || reverted(word.field));
            if displaced
                || with_claim && !words.iter().any(|w| w.feed == word.feed && w.field == self.name_of(word.field))
            {
                words.push(self.given_back(word));
            }
        }
        let made = self.after.words.iter().filter(|w| !had.contains(w) && w.feed != self.feed && w.field == NAMED);
        for word in made.filter(|w| self.now.words.contains(w)) {
            words.push(SaidWord { feed: word.feed, field: "named".into(), value: None, reason: None });
        }
        change.words = words;
    }

    fn said(&self, field: Cow<'a, str>, value: Option<Cow<'a, str>>) -> SaidWord<'a> {
        SaidWord { feed: self.feed, field, value, reason: Some(Reason::Undone) }
    }

    fn given_back(&self, word: &'a Word) -> SaidWord<'a> {
        SaidWord {
            feed: word.feed,
            field: self.name_of(word.field).into(),
            value: word.value.as_deref().map(Into::into),
            reason: Some(word.reason),
        }
    }

    fn name_of(&self, field: FieldId) -> &'a str {
        match field {
            ABSENT => "absent",
            NAMED => "named",
            field => self.fields.name(field),
        }
    }
}
