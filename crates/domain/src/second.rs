//! The second approver: which approvals two people must give, who is another person, and when two have approved the same.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    access::read_actor,
    documents::ChangeSet,
    fact::{Applied, Fact},
    ids::ChangeSetId,
    selection::Selection,
    settings::{Review, SecondApprover},
};

/// What somebody approves of a change set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// The digest of what waited.
    pub digest: String,
    /// The changes, by ordinal.
    pub selection: Selection,
    /// Fields that are left out of every one of these changes, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except_fields: Vec<String>,
    /// Whether the rest is rejected in the same breath.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reject_rest: bool,
    /// How many people it makes ineligible: removed, or cut short by status or date.
    pub removals: u64,
}

impl Approved {
    /// Whether somebody who approved this approved the other too: the same of the same, which makes no more people ineligible
    /// than they knew of. (Fewer it may be: whoever's end date passes meanwhile loses nothing by it any more.)
    fn covers(&self, other: &Approved) -> bool {
        let same = Approved { removals: other.removals, ..self.clone() } == *other;
        same && self.removals >= other.removals
    }
}

/// An approval of one person alone that made people ineligible, or that somebody had applied what policy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovedAlone {
    /// When.
    pub at: DateTime<Utc>,
    /// How many people.
    pub removals: u64,
}

/// An approval was given that applies nothing as long as nobody else approves the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalGiven {
    /// The change set.
    pub change_set: ChangeSetId,
    /// What was approved of it.
    #[serde(flatten)]
    pub approved: Approved,
}

/// The first of two approvals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstApproval {
    /// Who gave it.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What was approved.
    #[serde(flatten)]
    pub approved: Approved,
    /// Who approved the same after that, so that it was applied; none as long as somebody else is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconded_by: Option<String>,
}

/// What an approval does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is the only one that is needed: what is approved is applied.
    Alone,
    /// It is recorded, and somebody else is awaited.
    First,
    /// It is the second: what is approved is applied.
    Second,
    /// Whoever gave the first cannot give the second.
    SamePerson,
}

/// Whether two people must approve. What one person alone approved of the change set before counts with it, whenever that was, and
/// `lately` is the same of other change sets, within a day: in parts, or in several lists, it takes no fewer approvers than at once.
pub fn needs_two(rule: &Review, set: &ChangeSet, approved: &Approved, lately: u64) -> bool {
    let by_kind = match rule.second_approver {
        SecondApprover::Off => false,
        SecondApprover::Guarded => !set.holds.is_empty(),
        SecondApprover::Always => true,
    };
    let before = lately + set.alone.iter().map(|a| a.removals).sum::<u64>();
    let many = |least: u32| approved.removals > 0 && approved.removals + before >= u64::from(least);
    by_kind || rule.second_approver_removals.is_some_and(many)
}

/// What an approval does where a first one was given, or none. An earlier one of something else does not count, nor does one on
/// which a second followed. `same_person` is whether whoever gave it approves now.
pub fn step(needs_two: bool, first: Option<&FirstApproval>, approved: &Approved, same_person: bool) -> Step {
    let of_the_same = first.is_some_and(|first| first.seconded_by.is_none() && first.approved.covers(approved));
    match (of_the_same, same_person) {
        (true, false) => Step::Second,
        _ if !needs_two => Step::Alone,
        (true, true) => Step::SamePerson,
        (false, _) => Step::First,
    }
}

/// Whether an approval that awaited a second one awaits none after this: it had it, or counts no longer.
pub fn takes_first_back(fact: &Fact) -> bool {
    match fact {
        Fact::Applied(_) | Fact::Rejected(_) | Fact::Superseded { .. } => true,
        // Changes are only added, and nothing drops out, where an approval leaves a field of somebody new out.
        Fact::Rebased { already_so, conflicts, revised, .. } => {
            [already_so, conflicts, revised].iter().any(|gone| !gone.is_empty())
        }
        _ => false,
    }
}

/// The person behind an actor, to compare: all keys of a user are that user, and others are who they say they are, whatever the case.
pub fn person(actor: &str) -> String {
    user_of(actor).map_or_else(|| actor.trim().to_lowercase(), the_user)
}

/// The user behind an actor, if it says which: with a key, or by identity.
pub fn user_of(actor: &str) -> Option<Uuid> {
    let with_key = read_actor(actor).map(|(_, user)| user);
    with_key.or_else(|| actor.trim().strip_prefix("user:")?.parse().ok())
}

/// A user as the person behind an actor.
pub fn the_user(user: Uuid) -> String {
    format!("user:{user}")
}

impl ChangeSet {
    /// Whether one person approved, and another is awaited.
    pub fn awaits_second_approver(&self) -> bool {
        self.is_undecided() && self.first_approval.as_ref().is_some_and(|first| first.seconded_by.is_none())
    }

    /// Folds an approval that applied nothing: an earlier one counts no longer.
    pub fn take_approval(&mut self, given: &ApprovalGiven, actor: &str, at: DateTime<Utc>) {
        let approved = given.approved.clone();
        self.first_approval = Some(Box::new(FirstApproval { by: actor.to_owned(), at, approved, seconded_by: None }));
    }

    /// Whether what is applied is what was approved first, by whom it says.
    pub(crate) fn is_seconded_by(&self, applied: &Applied) -> bool {
        self.first_approval.as_ref().is_some_and(|first| {
            let same = (&first.approved.digest, &first.approved.selection) == (&applied.digest, &applied.selection);
            same && first.seconded_by.is_none() && applied.first_approver.as_deref() == Some(first.by.as_str())
        })
    }

    /// One person alone let through that so many people became ineligible.
    pub fn note_alone(&mut self, removals: u64, at: DateTime<Utc>) {
        if removals > 0 {
            self.alone.push(ApprovedAlone { at, removals });
        }
    }

    /// How many people one person alone made ineligible since a moment, approving or having it applied.
    pub fn approved_alone_since(&self, since: DateTime<Utc>) -> u64 {
        self.alone.iter().filter(|a| a.at >= since).map(|a| a.removals).sum()
    }

    /// Something was applied: by whoever approved the same as somebody before, or else that one counts no longer.
    pub(crate) fn take_second(&mut self, first_approver: Option<&str>, actor: &str) {
        self.first_approval = self.first_approval.take().filter(|first| first_approver == Some(first.by.as_str()));
        if let Some(first) = &mut self.first_approval {
            first.seconded_by = Some(actor.to_owned());
        }
    }

    /// Something else became of what waits: whoever approved it before approved something else.
    pub(crate) fn drop_approval(&mut self) {
        self.first_approval = self.first_approval.take().filter(|first| first.seconded_by.is_some());
    }

    /// Everybody who decided on it, as actors.
    pub fn deciders(&self) -> Vec<&str> {
        let first = self.first_approval.as_ref();
        let approvers = first.into_iter().flat_map(|f| [Some(f.by.as_str()), f.seconded_by.as_deref()]);
        approvers.chain([self.decided_by.as_deref()]).flatten().collect()
    }
}

#[cfg(test)]
mod tests;
