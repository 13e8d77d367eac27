//! The past: members as they were before and after a change set, folded from the log.

use std::collections::HashMap;

use muster_domain::{
    change::Change,
    documents::ChangeSet,
    event::{Body, StoredEvent},
    fact::{Applied, Baseline, Fact, State},
    ids::MemberNo,
    member::Member,
    replay::{Checked, Replay, ReplayError},
};

use crate::{Engine, Error, Organisation, Result, undo::BeforeAndAfter};

impl From<ReplayError> for Error {
    fn from(e: ReplayError) -> Self {
        Error::Damaged(e.to_string())
    }
}

impl Engine {
    /// The members that a change set touched, as they were just before it was first applied and just after it was last.
    ///
    /// # Errors
    /// If the log cannot be read or folded.
    pub async fn before_and_after(&self, org: &Organisation, set: &ChangeSet) -> Result<BeforeAndAfter> {
        let mut replay = Replay::new();
        let mut found = BeforeAndAfter::default();
        let mut bodies: Vec<(u32, Body)> = Vec::new();
        let mut sealed = false;
        let mut slices = self.store.event_slices(org.row.id, 0, 256);
        while let Some(slice) = slices.next().await? {
            for raw in slice {
                let event: StoredEvent = raw.open()?;
                let fact = Fact::read(&event.meta)?;
                if let Fact::Chunk { change_set, first, .. } = &fact
                    && *change_set == set.id
                {
                    bodies.extend(event.body.clone().map(|b| (*first, b)));
                }
                let applies = match &fact {
                    Fact::Applied(a) if a.change_set == set.id => Some(a.clone()),
                    _ => None,
                };
                // A change set that policy lets pass becomes its feed's measure when it is sealed.
                if matches!(&fact, Fact::Computed(c) if c.change_set == set.id && c.state != State::Held) {
                    found.baseline = baseline(&replay, set);
                    sealed = true;
                }
                let Some(applied) = applies else {
                    replay.take(Checked::new(event)?)?;
                    continue;
                };
                let touched = touched(&bodies, &applied)?;
                if found.members.is_empty() && !sealed {
                    found.baseline = baseline(&replay, set);
                }
                let mut before: HashMap<MemberNo, Option<Member>> = HashMap::new();
                for no in &touched {
                    before.insert(*no, replay.member(*no)?);
                }
                replay.take(Checked::new(event)?)?;
                for no in touched {
                    let Some(after) = replay.member(no)? else { continue };
                    let was = before.remove(&no).flatten();
                    found.members.entry(no).and_modify(|e| e.1 = after.clone()).or_insert((was, after));
                }
            }
        }
        Ok(found)
    }
}

/// What the change set's feed is measured by.
fn baseline(replay: &Replay, set: &ChangeSet) -> Option<Baseline> {
    replay.documents().feeds().get(&set.feed)?.baseline.clone()
}

/// The numbers of the members whom these changes touch. People new to the organisation have those that the event gives
/// them: a line that was erased keeps its number.
fn touched(bodies: &[(u32, Body)], applied: &Applied) -> Result<Vec<MemberNo>> {
    let given: Vec<u32> = applied.numbered.iter().collect();
    let mut numbers = Vec::new();
    for (first, body) in bodies {
        for (i, line) in body.iter().enumerate() {
            let ordinal = first + i as u32;
            let Some(line) = line.filter(|_| applied.selection.contains(ordinal)) else { continue };
            let rank = given.binary_search(&ordinal).ok().map(|rank| applied.first_no + rank as MemberNo);
            numbers.extend(rank.or(Change::read(line)?.no));
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use muster_domain::{
        change::Kind,
        ids::{ChangeSetId, FeedNo},
        member::Reason,
        selection::Selection,
    };
    use uuid::Uuid;

    use super::*;

    #[test]
    fn somebody_new_keeps_their_number_when_the_line_before_is_erased() {
        let mut body = Body::default();
        for (key, erased) in [("E1", true), ("E2", false)] {
            let mut line = Vec::new();
            Change::new(Kind::Add, None, Uuid::nil(), key).write(&mut line);
            body.push([0; 16], if erased { b"" } else { &line });
        }
        body.erased.push((0, [1; 32]));
        let applied = Applied {
            change_set: ChangeSetId(Uuid::nil()),
            selection: Selection::all(2),
            feed: FeedNo::MAIN,
            day: 0,
            displaced: Reason::AnotherFeed,
            first_no: 10,
            new_members: 2,
            numbered: Selection::all(2),
            roster_version: 1,
            state: State::Applied,
            digest: String::new(),
            reviewed: false,
            except_fields: Vec::new(),
            unfinished: Selection::default(),
            rest: None,
            first_approver: None,
            removals: 0,
        };
        assert_eq!(touched(&[(0, body)], &applied).unwrap(), [11]);
    }
}
