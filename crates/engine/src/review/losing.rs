//! How many people approving changes makes ineligible: what the guard on removals counts, asked of the roster as it is.
//!
//! It is worked out where it is asked for, for an approval under the lease that it holds, and not kept with the change set: what the
//! guard counted is of the day on which the payload came. Since then people may have left, dates have passed, another feed's
//! claim have ended, or settings have changed which statuses are excluded, without any change of the set being another. Most
//! changes cannot cost anybody their eligibility, which they show themselves; only of the others the members are read, those of
//! some thousand changes at a time, as applying them reads them anyway.

use std::{
    collections::VecDeque,
    fmt::{self, Display, Formatter},
    sync::{Mutex, MutexGuard, PoisonError},
};

use muster_domain::{
    change::{Change, Kind},
    documents::ChangeSet,
    eligibility, fold,
    ids::{ChangeSetId, MemberNo},
};
use serde::Serialize;

use super::{Choice, displaced};
use crate::{Engine, Organisation, Result};

/// How many people changes make ineligible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Losing {
    /// People: removed, given an excluded status, or a start or end date that cuts them short.
    pub removals: u64,
    /// Those of them who are taken off the roster.
    pub taken_off: u64,
}

impl Losing {
    fn note(&mut self, change: &Change) {
        self.removals += 1;
        self.taken_off += u64::from(change.kind == Kind::Remove);
    }
}

/// As in "this makes 12 people ineligible: 7 removed, 5 by status or date".
impl Display for Losing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Losing { removals, taken_off } = *self;
        let people = if removals == 1 { "person" } else { "people" };
        write!(f, "makes {removals} {people} ineligible")?;
        match (taken_off, removals - taken_off) {
            (0, 0) => Ok(()),
            (gone, 0) => write!(f, ": {gone} removed"),
            (0, kept) => write!(f, ": {kept} by status or date"),
            (gone, kept) => write!(f, ": {gone} removed, {kept} by status or date"),
        }
    }
}

/// An approval that must say how many people it makes ineligible, and does not, or says another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    /// How many it would be.
    pub losing: Losing,
    /// How many were confirmed, if any number was.
    pub confirmed: Option<u64>,
}

impl Unconfirmed {
    /// What is wrong, in one sentence, without what to do about it.
    pub fn why(&self) -> String {
        let Unconfirmed { losing, confirmed } = self;
        match confirmed {
            Some(n) => format!("Nothing was approved: {n} were confirmed, and this {losing}."),
            None => format!("Nothing was approved: this {losing}, and the guard on removals tripped."),
        }
    }
}

impl Display for Unconfirmed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let n = self.losing.removals;
        write!(
            f,
            "{} Add --confirm-removals {n} if that is right, or --except/--kind to leave some of them out.",
            self.why()
        )
    }
}

/// So many numbers are remembered: those of the change sets that somebody looks at.
const REMEMBERED: usize = 256;

/// What the number hangs on: which changes wait, and what they are held against.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    set: ChangeSetId,
    digest: String,
    roster_version: u64,
    settings_version: u32,
    day: i32,
}

/// How many people lose eligibility by the change sets that were asked about lately, the last at the end. Whoever looks at a change
/// set time and again, or many at once, has it read through once.
#[derive(Default)]
pub(crate) struct LosingLately(Mutex<VecDeque<(Asked, Losing)>>);

impl LosingLately {
    fn all(&self) -> MutexGuard<'_, VecDeque<(Asked, Losing)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, asked: &Asked) -> Option<Losing> {
        self.all().iter().find(|(of, _)| of == asked).map(|(_, losing)| *losing)
    }

    fn put(&self, asked: Asked, losing: Losing) {
        let mut all = self.all();
        // What it was of another roster or day is asked for no more.
        all.retain(|(of, _)| of.set != asked.set);
        all.push_back((asked, losing));
        if all.len() > REMEMBERED {
            all.pop_front();
        }
    }
}

impl Engine {
    /// How many people approving all of a change set that waits makes ineligible: what a reviewer confirms if the guard on removals
    /// tripped. Absences that the payload does not prove are not among them, as they are not in such an approval. It is worked out
    /// once for what waits, the roster, the settings and the day that they are, and of a few change sets at a time.
    ///
    /// # Errors
    /// If the log or the roster cannot be read; [`Error::Busy`](crate::Error::Busy) if others have theirs worked out for longer than
    /// was to be waited.
    pub async fn would_lose(&self, org: &Organisation, set: &ChangeSet) -> Result<Losing> {
        // Whoever is new loses nothing. Such change sets may be the largest of all.
        if !set.is_undecided() || set.counts.added == u64::from(set.changes) {
            return Ok(Losing::default());
        }
        let ctx = self.deciding_on(org, set);
        let asked = Asked {
            set: set.id,
            digest: set.digest.clone(),
            // Before the members are read: of a later roster it is asked for anew.
            roster_version: self.store.head(org.row.id).await?.roster_version,
            settings_version: org.settings.version,
            day: ctx.day,
        };
        if let Some(known) = self.losing.get(&asked) {
            return Ok(known);
        }
        let _turn = self.turn_to_count().await?;
        // Somebody else may have worked it out meanwhile.
        if let Some(known) = self.losing.get(&asked) {
            return Ok(known);
        }
        let losing = self.look_through(org, set, &Choice::default(), Some(&ctx)).await?.losing;
        self.losing.put(asked, losing);
        Ok(losing)
    }

    /// What decisions on a change set are folded with today.
    pub(super) fn deciding_on<'o>(&self, org: &'o Organisation, set: &ChangeSet) -> fold::Context<'o> {
        fold::Context {
            change_set: set.id,
            feed: set.feed,
            day: eligibility::today(&org.settings, self.now()),
            displaced: displaced(set.feed, !set.undoes.is_empty()),
            fields: &org.settings.fields,
        }
    }

    /// Counts those of some changes that cut a member short.
    pub(super) async fn count_losing(
        &self,
        org: &Organisation,
        ctx: &fold::Context<'_>,
        changes: &[Change<'_>],
        losing: &mut Losing,
    ) -> Result<()> {
        let numbers: Vec<MemberNo> = changes.iter().filter_map(|c| c.no).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let members = self.members(org.row.id, &numbers).await?;
        for change in changes {
            let member = change.no.and_then(|no| members.get(&no));
            if member.is_some_and(|before| eligibility::cuts_short(before, change, &org.settings, ctx)) {
                losing.note(change);
            }
        }
        Ok(())
    }
}
