//! Rows of people who were forgotten: nothing is taken from them, and that is said, without saying who.

use muster_domain::forgotten::Block;
use muster_intake::{Row, RowIssue};

use super::{Comparison, rows::Pending};

impl Comparison<'_> {
    /// Whether a row that names nobody known has an identifier of somebody who was forgotten.
    pub(super) fn is_forgotten(&self, row: &Row) -> bool {
        let (keys, blocked) = (self.job.keys, self.job.forgotten);
        !blocked.is_empty() && Block::all_of(keys, &row.key, &row.values).any(|block| blocked.contains(&block))
    }

    /// Counts such a row.
    pub(super) fn forgotten_row(&mut self, pending: &Pending) {
        self.found.counts.forgotten += 1;
        self.found.issues.push(RowIssue {
            line: pending.line.into(),
            column: String::new(),
            value: String::new(),
            reason: "The row is of somebody who was forgotten, and nothing is taken from it. Have the source leave the person out; \
                if they are to be taken on again, lift that with `muster forget --lift`."
                .to_owned(),
            decides: false,
            lost: false,
        });
    }
}
