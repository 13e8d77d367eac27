//! Decided: which changes of a change set an event applies, or rejects and remembers, and how they are folded.

use crate::{
    fact::{Applied, Fact, Rejected},
    field::Fields,
    fold,
    ids::{ChangeSetId, Day, FeedNo, MemberNo},
    member::Reason,
    selection::Selection,
};

use super::roster::{Deed, Folding};

/// What an event decides. Everybody who folds a log reads it by this.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// Whose changes.
    pub change_set: ChangeSetId,
    /// What is done with them.
    pub deed: Deed,
    /// The feed for which they speak.
    pub feed: FeedNo,
    /// The day on which it counts.
    pub day: Day,
    /// Why words of other feeds are kept.
    pub displaced: Reason,
    /// Which changes.
    pub selection: &'a Selection,
    /// Fields that are left out of every change.
    pub except_fields: &'a [String],
    /// Changes that give a number to somebody.
    pub numbered: &'a Selection,
    /// The first of these numbers.
    pub first_no: MemberNo,
    /// How many there are.
    pub new_members: u32,
}

impl<'a> Decided<'a> {
    /// Nothing for events that decide on no changes, or whose decision leaves nothing behind.
    pub fn of(fact: &'a Fact) -> Option<Decided<'a>> {
        match fact {
            Fact::Applied(applied) => Some(Decided::applying(applied)),
            Fact::Rejected(rejected) => Decided::rejecting(rejected),
            _ => None,
        }
    }

    /// Changes are applied.
    pub fn applying(applied: &'a Applied) -> Decided<'a> {
        Decided {
            change_set: applied.change_set,
            deed: Deed::Apply,
            feed: applied.feed,
            day: applied.day,
            displaced: applied.displaced,
            selection: &applied.selection,
            except_fields: &applied.except_fields,
            numbered: &applied.numbered,
            first_no: applied.first_no,
            new_members: applied.new_members,
        }
    }

    /// Changes are rejected; nothing if that is not remembered.
    pub fn rejecting(rejected: &'a Rejected) -> Option<Decided<'a>> {
        rejected.remembered.then(|| Decided {
            change_set: rejected.change_set,
            deed: Deed::Reject { absences: rejected.absences },
            feed: rejected.feed,
            day: rejected.day,
            displaced: if rejected.feed == FeedNo::HAND { Reason::Pinned } else { Reason::AnotherFeed },
            selection: &rejected.selection,
            except_fields: &[],
            numbered: &rejected.numbered,
            first_no: rejected.first_no,
            new_members: rejected.new_members,
        })
    }

    /// How it is folded: by the event of this number, in an organisation with these fields.
    pub fn folding(&self, seq: u64, fields: &'a Fields) -> Folding<'a> {
        let Decided { change_set, deed, feed, day, displaced, selection, except_fields, first_no, .. } = *self;
        let ctx = fold::Context { change_set, feed, day, displaced, fields };
        Folding { seq, deed, ctx, selection, except_fields, numbered: self.numbered.iter().collect(), first_no }
    }
}
