//! What an organisation asks of its reviewers.

use serde::{Deserialize, Serialize};

use crate::guard::Asked;

words!(
    /// Which change sets two people must approve.
    SecondApprover {
        /// None.
        Off = "off",
        /// Those that a guard held.
        Guarded = "guarded",
        /// Every one that waits.
        Always = "always",
    }
);

default_word!(SecondApprover::Off);

/// What is asked of reviewers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Review {
    /// Which change sets two people must approve.
    pub second_approver: SecondApprover,
    /// And what would make at least so many people ineligible, with what one person alone has let through within a day; `None` is off.
    pub second_approver_removals: Option<u32>,
}

impl Review {
    /// What may be asked for a change set that makes so many people ineligible: where two people must approve everything that
    /// waits, or so many, nobody alone has it applied whatever policy says. `lately` is how many one person alone let through
    /// within a day: in parts it takes no fewer approvers than at once.
    pub fn lets(&self, asked: Option<Asked>, removals: u64, lately: u64) -> Option<Asked> {
        let so_many = |least: u32| removals > 0 && removals.saturating_add(lately) >= u64::from(least);
        let many = self.second_approver_removals.is_some_and(so_many);
        let two = many || self.second_approver == SecondApprover::Always;
        asked.filter(|asked| *asked != Asked::Apply || !two)
    }
}
