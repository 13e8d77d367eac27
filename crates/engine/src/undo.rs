//! Undo: what a change set did is taken back, member by member and field by field; what changed since is kept and listed.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use muster_domain::{
    change::{Change, Kind, SaidWord},
    documents::ChangeSet,
    fact::{Baseline, State},
    field::{FieldId, Fields},
    guard::Asked,
    ids::{Day, FeedNo, MemberNo},
    member::{ABSENT, Member, NAMED, Reason, Spell, Word},
};
use muster_store::Lease;
use serde::Serialize;

use crate::{Engine, Error, Organisation, Result, hand::owned, pipeline::Report, propose::Proposal};

/// What is to be undone.
#[derive(Clone, Debug, Default)]
pub struct UndoRequest {
    /// Change sets, by id or its beginning.
    pub ids: Vec<String>,
    /// Everything applied since then.
    pub since: Option<DateTime<Utc>>,
    /// Everything that was applied to this person.
    pub by_key: Option<String>,
    /// Show it, change nothing.
    pub dry_run: bool,
    /// `apply` or `hold`, if it was asked for.
    pub asked: Option<Asked>,
}

/// What an undo came to.
#[derive(Clone, Debug, Serialize)]
pub struct Undone {
    /// A report for each change set that was undone, newest first.
    pub reports: Vec<Report>,
    /// What changed since and was kept.
    pub kept: Vec<Kept>,
}

/// Something that changed since and was kept.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// Whose.
    pub key: String,
    /// What: a field, `key` or `claims`.
    pub what: String,
}

impl Engine {
    /// Undoes one or several change sets, newest first.
    ///
    /// # Errors
    /// If there is nothing to undo.
    pub async fn undo(&self, slug: &str, request: UndoRequest) -> Result<Undone> {
        let org = self.organisation(slug).await?;
        let lease = self.lease(org.row.id).await?;
        let outcome = self.undo_leased(&lease, slug, &request).await;
        self.store.release_lease(&lease).await?;
        outcome
    }

    async fn undo_leased(&self, lease: &Lease, slug: &str, request: &UndoRequest) -> Result<Undone> {
        let org = self.organisation(slug).await?;
        let only = match &request.by_key {
            Some(key) => Some(self.member(&org, key).await?.no),
            None => None,
        };
        let sets = self.sets_to_undo(&org, request, only).await?;
        if sets.is_empty() {
            return Err(Error::Wrong("There is nothing to undo: no applied change set is meant.".to_owned()));
        }
        let mut undone = Undone { reports: Vec::new(), kept: Vec::new() };
        for set in sets {
            let org = self.organisation(slug).await?;
            let report = self.undo_one(lease, &org, &set, only, request, &mut undone.kept).await?;
            let stop = matches!(report.state, State::Held);
            undone.reports.push(report);
            if stop {
                break;
            }
        }
        Ok(undone)
    }

    async fn sets_to_undo(
        &self,
        org: &Organisation,
        request: &UndoRequest,
        only: Option<MemberNo>,
    ) -> Result<Vec<ChangeSet>> {
        if !request.ids.is_empty() {
            let mut sets = Vec::new();
            for id in &request.ids {
                sets.push(self.find_change_set(org, Some(id)).await?);
            }
            sets.sort_by_key(|s| std::cmp::Reverse(s.created_seq));
            return Ok(sets);
        }
        let mut sets = self.change_sets(org, None).await?;
        let undone: BTreeSet<_> = sets.iter().flat_map(|s| s.undoes.clone()).collect();
        sets.retain(|s| !s.applied.is_empty() && s.undoes.is_empty() && !undone.contains(&s.id));
        if let Some(since) = request.since {
            sets.retain(|s| s.computed_at >= since);
        }
        let Some(only) = only else { return Ok(sets) };
        let mut touching = Vec::new();
        for set in sets {
            let mut touches = false;
            self.each_change(org, &set, |_, change, _| touches |= change.is_some_and(|c| c.no == Some(only))).await?;
            let added = !touches && self.added_by(org, &set, only).await?;
            if touches || added {
                touching.push(set);
            }
        }
        Ok(touching)
    }

    /// Whether the change set is the one that brought the member in.
    async fn added_by(&self, org: &Organisation, set: &ChangeSet, only: MemberNo) -> Result<bool> {
        let members = self.members(org.row.id, &[only]).await?;
        let Some(member) = members.get(&only) else { return Ok(false) };
        let mut added = false;
        self.each_change(org, set, |_, c, _| added |= c.is_some_and(|c| c.no.is_none() && c.member == member.uuid))
            .await?;
        Ok(added)
    }

    async fn undo_one(
        &self,
        lease: &Lease,
        org: &Organisation,
        set: &ChangeSet,
        only: Option<MemberNo>,
        request: &UndoRequest,
        kept: &mut Vec<Kept>,
    ) -> Result<Report> {
        if set.applied.is_empty() {
            return Err(Error::Wrong(format!(
                "Nothing of change set {} was applied: it is {}.",
                set.id,
                set.state.word()
            )));
        }
        let history = self.before_and_after(org, set).await?;
        let mut numbers: Vec<MemberNo> =
            history.members.keys().copied().filter(|no| only.is_none_or(|o| o == *no)).collect();
        numbers.sort_unstable();
        let members = self.members(org.row.id, &numbers).await?;
        let mut changes = Vec::new();
        for no in &numbers {
            let (Some(now), Some((before, after))) = (members.get(no), history.members.get(no)) else { continue };
            let step = Step { feed: set.feed, before: before.as_ref(), after, now, fields: &org.settings.fields };
            changes.extend(step.change(kept).map(owned));
        }
        let proposal = Proposal {
            changes,
            members: &members,
            undoes: vec![set.id],
            baseline: history.baseline,
            asked: request.asked,
            dry_run: request.dry_run,
        };
        self.propose(lease, org, proposal).await
    }
}

/// Members before and after a change set, and what its feed was measured by before.
#[derive(Default)]
pub struct BeforeAndAfter {
    /// Members whom the change set touched.
    pub members: HashMap<MemberNo, (Option<Member>, Member)>,
    /// The feed's baseline before.
    pub baseline: Option<Baseline>,
}

/// One member's part of an undo.
struct Step<'a> {
    feed: FeedNo,
    before: Option<&'a Member>,
    after: &'a Member,
    now: &'a Member,
    fields: &'a Fields,
}

impl<'a> Step<'a> {
    /// The change that takes back what can be taken back; none if nothing can.
    fn change(&self, kept: &mut Vec<Kept>) -> Option<Change<'a>> {
        let mut change = Change::new(Kind::Update, Some(self.now.no), self.now.uuid, self.now.key.as_str());
        self.key(&mut change, kept);
        self.values(&mut change, kept);
        self.claims(&mut change, kept);
        let listed = change.spells.as_ref().map_or(self.now.is_listed(), |s| s.iter().any(|s| s.2.is_none()));
        change.kind = match (self.now.is_listed(), listed) {
            (true, false) => Kind::Remove,
            (false, true) => Kind::Reinstate,
            _ if change.old_key.is_some() => Kind::Rekey,
            _ if !change.to.is_empty() => Kind::Update,
            _ => Kind::Say,
        };
        self.words(&mut change, listed);
        let empty =
            change.to.is_empty() && change.spells.is_none() && change.old_key.is_none() && change.words.is_empty();
        (!empty).then_some(change)
    }

    fn key(&self, change: &mut Change<'a>, kept: &mut Vec<Kept>) {
        let Some(before) = self.before.filter(|b| b.key != self.after.key) else { return };
        if self.now.key != self.after.key {
            return self.keep("key", kept);
        }
        change.old_key = Some(self.now.key.as_str().into());
        change.key = before.key.as_str().into();
        change.aliases = Some(before.aliases.iter().map(|a| a.as_str().into()).collect());
    }

    fn values(&self, change: &mut Change<'a>, kept: &mut Vec<Kept>) {
        let Some(before) = self.before else { return };
        for field in self.fields.all() {
            let (was, became, is) =
                (before.values.get(field), self.after.values.get(field), self.now.values.get(field));
            if was == became {
                continue;
            }
            if is != became {
                self.keep(self.fields.name(field), kept);
                continue;
            }
            let name = self.fields.name(field);
            change.from.push((name.into(), is.map(Into::into)));
            change.to.push((name.into(), was.map(Into::into)));
        }
    }

    fn claims(&self, change: &mut Change<'a>, kept: &mut Vec<Kept>) {
        let before = self.before.map(|b| b.spells.as_slice()).unwrap_or_default();
        let after = self.after.spells.as_slice();
        if before == after {
            return;
        }
        let mut spells = self.now.spells.clone();
        for made in after.iter().filter(|s| !before.contains(s)) {
            match spells.iter().position(|s| s == made) {
                Some(at) => drop(spells.remove(at)),
                None => return self.keep("claims", kept),
            }
        }
        spells.extend(before.iter().filter(|s| !after.contains(s)));
        spells.sort_by_key(|s| s.from);
        change.spells = Some(spells.iter().map(|s: &Spell| (s.feed, s.from, s.to)).collect());
    }

    /// What the feed said stays said; words that the change set displaced are given back.
    fn words(&self, change: &mut Change<'a>, listed: bool) {
        let mut words = Vec::new();
        if self.feed != FeedNo::HAND {
            for (name, value) in &change.from {
                words.push(self.said(name.clone(), value.clone()));
            }
            match (self.now.is_listed(), listed) {
                (true, false) => {
                    words.push(self.said("named".into(), None));
                    let said = self
                        .after
                        .values
                        .iter()
                        .filter(|(f, _)| !change.to.iter().any(|(n, _)| n == self.fields.name(*f)));
                    let _ = said.count();
                }
                (false, true) => words.push(self.said("absent".into(), None)),
                _ => {}
            }
        }
        let had = self.before.map(|b| b.words.as_slice()).unwrap_or_default();
        for word in had.iter().filter(|w| !self.after.words.contains(w)) {
            let reverted = change.to.iter().any(|(n, _)| n == self.name_of(word.field));
            // With its claim a feed loses all its words; whoever gives the claim back gives them back too.
            let claim_back = |s: &(FeedNo, Day, Option<Day>)| s.0 == word.feed && s.2.is_none();
            let claimed_again = change.spells.as_ref().is_some_and(|s| s.iter().any(claim_back))
                && !self.after.is_claimed_by(word.feed);
            let whole = word.field == ABSENT || word.field == NAMED;
            if word.feed != self.feed && (reverted || whole || claimed_again) {
                words.push(self.given_back(word));
            }
        }
        let made = self.after.words.iter().filter(|w| !had.contains(w) && w.feed != self.feed);
        for word in made.filter(|w| self.now.words.contains(w) && w.field == NAMED) {
            words.push(SaidWord { feed: word.feed, field: "named".into(), value: None, reason: None });
        }
        change.words = words;
    }

    fn said(&self, field: std::borrow::Cow<'a, str>, value: Option<std::borrow::Cow<'a, str>>) -> SaidWord<'a> {
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

    fn keep(&self, what: &str, kept: &mut Vec<Kept>) {
        kept.push(Kept { key: self.now.key.clone(), what: what.to_owned() });
    }
}
