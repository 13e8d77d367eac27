//! The second approver: whether an approval is the only one, the first of two or the second, and what is told of the first.

use chrono::{DateTime, Utc};
use muster_domain::{
    documents::ChangeSet,
    fact::Fact,
    second::{self, ApprovalGiven, Approved, FirstApproval, Step},
    selection::Selection,
};
use muster_store::Lease;
use serde::Serialize;

use super::{Approval, Waiting, comment_body};
use crate::{Engine, Error, Organisation, Result, access::Names, event, report::Report, seal::put_change_set};

/// What follows from an approval.
pub(super) enum Next {
    /// What is approved is applied; somebody approved the same before, where two people had to.
    Apply { first_approver: Option<String> },
    /// It is recorded, and somebody else is awaited.
    Record(Approved),
}

/// How far two people have approved a change set, as people and machines read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Approvals {
    /// Whether one person approved, and another is awaited.
    pub awaits_second_approver: bool,
    /// The first of two approvals, if one was given: of what waits, or of what was applied last.
    pub approvals: Vec<FirstOfTwo>,
}

/// The first of two approvals, as people and machines read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstOfTwo {
    /// Who gave it.
    pub by: String,
    /// What they are called now, if they used a key.
    pub by_name: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// The digest that was approved.
    pub digest: String,
    /// How many changes.
    pub changes: u32,
    /// Which, by ordinal, as ranges.
    pub selection: Selection,
    /// How many people these make ineligible.
    pub removals: u64,
    /// Fields that are left out.
    pub except_fields: Vec<String>,
    /// Whether the rest is rejected in the same breath.
    pub reject_rest: bool,
    /// Who gave the second; none as long as somebody else is awaited.
    pub seconded_by: Option<String>,
    /// What they are called now, if they used a key.
    pub seconded_by_name: Option<String>,
}

impl Approvals {
    /// Those of a change set, with the names of [`ChangeSet::deciders`].
    pub fn of(set: &ChangeSet, names: &Names) -> Approvals {
        let shown = |first: &FirstApproval| {
            let FirstApproval { by, at, approved, seconded_by } = first.clone();
            FirstOfTwo {
                by_name: names.known(&by).map(str::to_owned),
                seconded_by_name: seconded_by.as_deref().and_then(|by| names.known(by)).map(str::to_owned),
                changes: approved.selection.len(),
                by,
                at,
                digest: approved.digest,
                selection: approved.selection,
                removals: approved.removals,
                except_fields: approved.except_fields,
                reject_rest: approved.reject_rest,
                seconded_by,
            }
        };
        Approvals {
            awaits_second_approver: set.awaits_second_approver(),
            approvals: set.first_approval.as_deref().into_iter().map(shown).collect(),
        }
    }

    /// Whether no first approval was given.
    pub fn is_empty(&self) -> bool {
        self.approvals.is_empty()
    }

    /// The approval that waits for another person's.
    pub fn awaited(&self) -> Option<&FirstOfTwo> {
        self.approvals.first().filter(|_| self.awaits_second_approver)
    }
}

impl Engine {
    /// What follows from an approval of these changes by whoever acts.
    pub(super) async fn next_step(
        &self,
        org: &Organisation,
        set: &ChangeSet,
        approval: &Approval,
        waiting: &Waiting,
    ) -> Result<Next> {
        let mut except_fields = approval.choice.except_fields.clone();
        except_fields.sort_unstable();
        except_fields.dedup();
        let approved = Approved {
            digest: set.digest.clone(),
            selection: waiting.chosen.clone(),
            except_fields,
            reject_rest: approval.reject_rest,
            removals: waiting.losing.removals,
        };
        let needs_two = self.needs_two(org, set, &approved).await?;
        let Some(first) = set.first_approval.as_deref() else {
            return Ok(if needs_two { Next::Record(approved) } else { Next::Apply { first_approver: None } });
        };
        let same_person = self.person(&first.by).await? == self.person(&self.actor).await?;
        Ok(match second::step(needs_two, Some(first), &approved, same_person) {
            Step::Alone => Next::Apply { first_approver: None },
            Step::Second => Next::Apply { first_approver: Some(first.by.clone()) },
            Step::First => Next::Record(approved),
            Step::SamePerson => return Err(Error::Forbidden(same_again(first))),
        })
    }

    /// Whether two people must approve. Only a limit on removals asks what else was approved lately.
    async fn needs_two(&self, org: &Organisation, set: &ChangeSet, approved: &Approved) -> Result<bool> {
        let rule = &org.settings.review;
        let lately = match rule.second_approver_removals {
            Some(_) if approved.removals > 0 => self.approved_alone_lately(org.row.id, set.id).await?,
            _ => 0,
        };
        Ok(second::needs_two(rule, set, approved, lately))
    }

    /// The person behind an actor, to compare. On the command line a user may be named by e-mail address, name or identity.
    async fn person(&self, actor: &str) -> Result<String> {
        // Whatever somebody else is called.
        if second::user_of(actor).is_some() || !self.store.has_access() {
            return Ok(second::person(actor));
        }
        match self.find_user(actor).await {
            Ok(user) => Ok(second::the_user(user.id)),
            // None of that name, or several.
            Err(Error::Unknown(_) | Error::Wrong(_)) => Ok(second::person(actor)),
            Err(e) => Err(e),
        }
    }

    /// Records the first of two approvals: nothing is applied.
    pub(super) async fn record_first(
        &self,
        lease: &Lease,
        org: &Organisation,
        mut set: ChangeSet,
        approved: Approved,
        comment: Option<&str>,
    ) -> Result<Report> {
        let given = ApprovalGiven { change_set: set.id, approved };
        let fact = Fact::ApprovalGiven(Box::new(given.clone()));
        let mut tx = self.store.begin(org.row.id, Some(lease)).await?;
        tx.append(vec![event(&fact, comment_body(comment))], &self.who(set.upload.0)).await?;
        // As the log has it: where the clock went back, that is later than now.
        set.take_approval(&given, &self.actor, tx.head().await?.last_recorded_at);
        put_change_set(&mut tx, &set).await?;
        crate::crash::point("first_before_commit");
        tx.commit().await?;
        crate::crash::point("first_after_commit");
        self.review_report(org, &set).await
    }
}

/// Who must not give the second approval, and who may.
fn same_again(first: &FirstApproval) -> String {
    format!(
        "Nothing was approved: two people must approve this, and you gave the first approval yourself on {}. Anybody else who may \
         approve here can give the second, of the digest {} and with the same choice; with another key you are still the same person.",
        first.at.format("%Y-%m-%d at %H:%M UTC"),
        first.approved.digest,
    )
}
