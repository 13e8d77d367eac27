//! Rows that could not be taken, told in full to whoever asks; the report shows but the first hundred issues.

use std::path::Path;

use muster_intake::Picking;
pub use muster_intake::{Picked, RowIssue, original::Original};

use crate::{Result, compare::Input};

/// Somebody who wants to know of every row that could not be taken, while the payload is still at hand. What goes wrong
/// with writing it down is theirs to keep: it is no reason to give up the payload.
pub trait Witness: Send {
    /// Every row issue, in order of lines.
    fn issues(&mut self, issues: &[RowIssue]);
    /// Where so many rows go, of a payload that lies so: all of which something was lost, in the shape in which they came.
    fn rows(&mut self, rows: usize, original: &Original) -> Option<&mut dyn Picked>;
}

/// A witness, if there is one.
pub(crate) type Asked<'a> = Option<&'a mut (dyn Witness + 'a)>;

/// Tells the witness, with the payload from its file.
pub(crate) fn tell(witness: &mut dyn Witness, issues: &[RowIssue], input: &Input, file: &Path) -> Result<()> {
    witness.issues(issues);
    let mut lines: Vec<u64> = issues.iter().filter(|i| i.lost && i.line > 0).map(|i| i.line).collect();
    lines.sort_unstable();
    lines.dedup();
    let Some(out) = witness.rows(lines.len(), &input.original) else { return Ok(()) };
    let header = &input.reader.columns().header;
    let picking = Picking { original: &input.original, file, plain: input.plain.as_ref(), header, lines: &lines };
    Ok(tokio::task::block_in_place(|| picking.pick(out))?)
}
