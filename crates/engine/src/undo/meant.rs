//! Which change sets a request to undo means, and whether whoever asks has seen these and no others.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use muster_domain::{
    change::Change,
    digest::Keys,
    documents::ChangeSet,
    fact::Fact,
    ids::{ChangeSetId, MemberNo},
    member::Member,
};
use uuid::Uuid;

use super::UndoRequest;
use crate::{Engine, Error, Organisation, Result, lists::Which, projections::reading::Wait, review::Standing};

/// For how long the index of what was done to whom is waited for: the change sets can be read instead.
const INDEXED: Duration = Duration::from_secs(2);

/// What whoever asks has seen of what would be undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// They do not say.
    #[default]
    Unsaid,
    /// These change sets, each with its digest.
    Each(Vec<(ChangeSetId, String)>),
    /// All together, by the digest that a trial gave: see [`Meant::digest`].
    Together(String),
}

impl Seen {
    /// Whether these are the change sets that were seen, each as it was seen.
    pub(super) fn is_of(&self, sets: &[ChangeSet], digest: &str) -> bool {
        let has = |seen: &[(ChangeSetId, String)], set: &ChangeSet| {
            seen.iter().any(|(id, digest)| *id == set.id && *digest == set.digest)
        };
        match self {
            Seen::Unsaid => true,
            Seen::Each(seen) => sets.iter().all(|set| has(seen, set)),
            Seen::Together(seen) => seen == digest,
        }
    }
}

/// What a request to undo means.
#[derive(Clone, Debug)]
pub struct Meant {
    /// The change sets, the last applied first.
    pub sets: Vec<ChangeSet>,
    /// The only person of whom something is undone, if it is only one.
    pub only: Option<MemberNo>,
    /// Tells it from what else might be meant: another change set, one of which something else was decided, another person.
    pub digest: String,
}

impl Engine {
    /// The change sets that a request to undo means: those that it names, or all of which something was applied, but for undos.
    ///
    /// # Errors
    /// If there is none, if nothing was applied of one that is named, or if there is no such person; [`Error::Busy`] if none is named and
    /// others look for theirs for longer than was to be waited.
    pub async fn meant_by_undo(&self, org: &Organisation, request: &UndoRequest) -> Result<Meant> {
        let whom = match &request.whom {
            Some(whom) => Some(self.whom(org, whom).await?),
            None => None,
        };
        let sets = match request.ids.is_empty() {
            true => {
                let _turn = self.turn_to_look_for_undo().await?;
                self.sets_to_undo(org, request, whom.as_ref()).await?
            }
            false => self.named_to_undo(org, request).await?,
        };
        if sets.is_empty() {
            return Err(Error::Wrong("There is nothing to undo: no applied change set is meant.".to_owned()));
        }
        let digest = digest_of(&org.keys, &sets, whom.as_ref());
        Ok(Meant { sets, only: whom.map(|member| member.no), digest })
    }

    /// All are looked at before the first is undone: one that cannot be must not leave half of them undone.
    async fn named_to_undo(&self, org: &Organisation, request: &UndoRequest) -> Result<Vec<ChangeSet>> {
        let mut sets = Vec::new();
        for id in &request.ids {
            let set = self.find_change_set(org, Some(id)).await?;
            let Some((seq, _)) = self.last_applied(org, &set).await? else {
                let state = set.state.word();
                return Err(Error::Wrong(format!("Nothing of change set {} was applied: it is {state}.", set.id)));
            };
            sets.push((seq, set));
        }
        sets.retain(|(_, set)| request.feed.is_none_or(|feed| feed == set.feed));
        let mut sets = last_first(sets);
        sets.dedup_by_key(|s| s.id);
        Ok(sets)
    }

    /// When something of a change set was last applied, if ever. What nobody decided was applied as it was worked out; of what
    /// somebody decided the log tells, also where a field was left out of every change, so that all of them wait still.
    pub(crate) async fn last_applied(
        &self,
        org: &Organisation,
        set: &ChangeSet,
    ) -> Result<Option<(u64, DateTime<Utc>)>> {
        if set.decided_by.is_none() {
            return Ok((!set.applied.is_empty()).then_some((set.created_seq, set.computed_at)));
        }
        let events = self.store.stream_events_from(org.row.id, &set.id.stream(), set.created_seq).await?;
        let last = events.iter().rev().find(|event| event.meta.kind == "change_set.applied");
        Ok(last.map(|event| (event.meta.seq, event.meta.recorded_at)))
    }

    async fn sets_to_undo(
        &self,
        org: &Organisation,
        request: &UndoRequest,
        whom: Option<&Member>,
    ) -> Result<Vec<ChangeSet>> {
        let mut sets = Vec::new();
        for set in self.change_sets(org, Which { feed: request.feed, ..Which::default() }).await? {
            // One that was undone before may have been undone in part; what is as it was before is left alone.
            if !set.undoes.is_empty() {
                continue;
            }
            let Some((seq, at)) = self.last_applied(org, &set).await? else { continue };
            if request.since.is_none_or(|since| at >= since) {
                sets.push((seq, set));
            }
        }
        let sets = last_first(sets);
        match whom {
            Some(member) => self.touching(org, sets, member).await,
            None => Ok(sets),
        }
    }

    /// Those of some change sets of which something was applied to a member.
    async fn touching(&self, org: &Organisation, mut sets: Vec<ChangeSet>, member: &Member) -> Result<Vec<ChangeSet>> {
        if let Some(indexed) = self.indexed(org, member.no).await? {
            sets.retain(|set| indexed.contains(&set.id));
            return Ok(sets);
        }
        let mut touching = Vec::new();
        for set in sets {
            // Of somebody new a change does not know the number.
            let is_about = |no: Option<MemberNo>, id: Uuid| no.map_or(id == member.uuid, |no| no == member.no);
            let mut touches = false;
            let visit = |_, change: Option<&Change>, standing| {
                touches |= standing == Standing::Applied && change.is_some_and(|c| is_about(c.no, c.member));
            };
            self.each_change(org, &set, visit).await?;
            if touches {
                touching.push(set);
            }
        }
        Ok(touching)
    }

    /// The change sets of which something was applied to a member, by the index of what was done to whom; none if that does not reflect
    /// all that was done yet.
    async fn indexed(&self, org: &Organisation, no: MemberNo) -> Result<Option<HashSet<ChangeSetId>>> {
        let until = self.store.head(org.row.id).await?.last_seq;
        let wait = Wait { until: Some(until), at_most: INDEXED, work: true };
        let mut index = match self.history_index(org.row.id, wait).await {
            Err(Error::Behind(_)) => return Ok(None),
            index => index?,
        };
        let mut sets = HashSet::new();
        for (seq, _) in index.applied(no).await? {
            if let Fact::Applied(applied) = Fact::read(&self.store.event(org.row.id, seq).await?.meta)? {
                sets.insert(applied.change_set);
            }
        }
        Ok(Some(sets))
    }
}

/// The last that was applied first, which may have waited for longer than others.
fn last_first(mut sets: Vec<(u64, ChangeSet)>) -> Vec<ChangeSet> {
    sets.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    sets.into_iter().map(|(_, set)| set).collect()
}

/// Keyed, as those of the change sets are. Whoever saw what would be undone of one person did not see all of it.
fn digest_of(keys: &Keys, sets: &[ChangeSet], whom: Option<&Member>) -> String {
    let mut digest = keys.digest();
    digest.add(format!("undo {}", whom.map_or(Uuid::nil(), |member| member.uuid)).as_bytes());
    sets.iter().for_each(|set| digest.add(format!("{} {}", set.id, set.digest).as_bytes()));
    digest.finish()
}
