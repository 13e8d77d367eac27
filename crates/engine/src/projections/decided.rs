//! The changes on which an event decides, each with the number of its member: what several projections read of the log.

use muster_domain::{
    change::Change,
    event::Body,
    fact::Fact,
    ids::{ChangeSetId, MemberNo},
    selection::Selection,
};

use crate::Result;

/// Chunks read at a time.
pub(super) const CHUNKS: usize = 32;

/// Which changes of a change set an event applies, or rejects and remembers.
pub(super) struct Decided<'a> {
    /// The change set.
    pub change_set: ChangeSetId,
    selection: &'a Selection,
    except_fields: &'a [String],
    /// The ordinals of those that give a number to somebody, in order, and the first of these numbers.
    numbered: Vec<u32>,
    first_no: MemberNo,
}

impl<'a> Decided<'a> {
    /// Nothing for events that decide on no changes, or whose decision leaves nothing behind.
    pub fn of(fact: &'a Fact) -> Option<Decided<'a>> {
        match fact {
            Fact::Applied(a) => Some(Decided {
                change_set: a.change_set,
                selection: &a.selection,
                except_fields: &a.except_fields,
                numbered: a.numbered.iter().collect(),
                first_no: a.first_no,
            }),
            Fact::Rejected(r) if r.remembered => Some(Decided {
                change_set: r.change_set,
                selection: &r.selection,
                except_fields: &[],
                numbered: r.numbered.iter().collect(),
                first_no: r.first_no,
            }),
            _ => None,
        }
    }

    /// Calls a function with each change of a chunk: its ordinal, the number of its member, and whether that number is given
    /// by it. Lines of people who were forgotten are left out; their numbers stay used up.
    pub fn visit(
        &self,
        first: u32,
        body: &Body,
        mut visit: impl FnMut(u32, Option<MemberNo>, bool, Change<'_>) -> Result<()>,
    ) -> Result<()> {
        for (i, line) in body.iter().enumerate() {
            let ordinal = first + i as u32;
            let Some(line) = line.filter(|_| self.selection.contains(ordinal)) else { continue };
            let mut change = Change::read(line)?;
            change.to.retain(|(field, _)| !self.except_fields.iter().any(|f| f == field));
            let rank = self.numbered.binary_search(&ordinal).ok();
            let no = rank.map(|rank| self.first_no + rank as MemberNo).or(change.no);
            visit(ordinal, no, rank.is_some(), change)?;
        }
        Ok(())
    }
}
