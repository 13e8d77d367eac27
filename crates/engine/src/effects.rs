//! What folding a change set does to the stored roster, gathered as compactly as a first import of everybody needs it.

use std::collections::{BTreeMap, HashMap};

use muster_domain::{
    digest::Keys,
    ids::{FeedNo, MemberNo},
    member::{Member, NAMED},
};

use crate::{Result, bits::Bits, compare::hashes, idents::Idents};

/// What folding a change set does to the stored roster.
#[derive(Default)]
pub struct Effects {
    /// Numbers given to people new to the organisation.
    pub numbers: Numbers,
    /// Members whose row changed.
    pub touched: Bits,
    /// Change in the number of running claims, by feed.
    pub claims: BTreeMap<FeedNo, i64>,
    /// Whom a feed claims or names from now on, and whom no longer.
    pub named: BTreeMap<FeedNo, Spoken>,
    /// Where fields were left out, the members as they are now.
    pub members: HashMap<MemberNo, Member>,
}

/// Members whom a feed claims or names from now on, and those whom it no longer does.
#[derive(Clone, Default)]
pub struct Spoken {
    /// From now on.
    pub on: Bits,
    /// No longer.
    pub off: Bits,
}

/// What folding one change does, on its way into the [`Effects`].
#[derive(Default)]
pub(crate) struct Part {
    numbers: Vec<(u32, MemberNo)>,
    touched: Vec<MemberNo>,
    claims: BTreeMap<FeedNo, i64>,
    named: Vec<(FeedNo, MemberNo, bool)>,
    idents: Vec<(u64, MemberNo)>,
    pub(crate) members: HashMap<MemberNo, Member>,
}

impl Part {
    /// A member new to the organisation, by the ordinal of their change.
    pub(crate) fn number(&mut self, ordinal: u32, no: MemberNo) {
        self.numbers.push((ordinal, no));
    }

    /// One member before and after.
    pub(crate) fn note(&mut self, before: Option<&Member>, after: &Member, keys: &Keys) {
        self.touched.push(after.no);
        let old = before.map(|m| hashes(m, keys)).unwrap_or_default();
        self.idents.extend(hashes(after, keys).into_iter().filter(|h| !old.contains(h)).map(|h| (h, after.no)));
        let spoken = |m: &Member| -> Vec<(FeedNo, bool)> {
            let claimed = m.claimants().map(|f| (f, true));
            claimed.chain(m.words.iter().filter(|w| w.field == NAMED).map(|w| (w.feed, false))).collect()
        };
        let (was, is) = (before.map(spoken).unwrap_or_default(), spoken(after));
        for (feed, claims) in &was {
            *self.claims.entry(*feed).or_default() -= i64::from(*claims);
            if !is.iter().any(|(f, _)| f == feed) {
                self.named.push((*feed, after.no, false));
            }
        }
        for (feed, claims) in &is {
            *self.claims.entry(*feed).or_default() += i64::from(*claims);
            if !was.iter().any(|(f, _)| f == feed) {
                self.named.push((*feed, after.no, true));
            }
        }
    }
}

impl Effects {
    /// Adds what came later, in order; new identifiers go where they are gathered.
    ///
    /// # Errors
    /// If the disk refuses to take identifiers.
    pub(crate) fn add(&mut self, part: Part, idents: &mut Idents) -> Result<()> {
        part.numbers.into_iter().for_each(|(ordinal, no)| self.numbers.push(ordinal, no));
        part.touched.into_iter().for_each(|no| self.touched.set(no, true));
        for (feed, no, speaks) in part.named {
            let Spoken { on, off } = self.named.entry(feed).or_default();
            on.set(no, speaks);
            off.set(no, !speaks);
        }
        for (feed, n) in part.claims {
            *self.claims.entry(feed).or_default() += n;
        }
        self.members.extend(part.members);
        idents.add(part.idents)
    }
}

/// Numbers given to people new to the organisation, by the ordinals of their changes. Both rise, and mostly in step.
#[derive(Clone, Debug, Default)]
pub struct Numbers(Vec<Run>);

/// So many ordinals in a row, with as many numbers.
#[derive(Clone, Copy, Debug)]
struct Run {
    ordinal: u32,
    no: MemberNo,
    count: u32,
}

impl Numbers {
    /// Adds a number behind the others.
    pub fn push(&mut self, ordinal: u32, no: MemberNo) {
        match self.0.last_mut() {
            Some(run) if run.ordinal + run.count == ordinal && run.no + run.count == no => run.count += 1,
            _ => self.0.push(Run { ordinal, no, count: 1 }),
        }
    }

    /// The number given for the change of that ordinal.
    pub fn of(&self, ordinal: u32) -> Option<MemberNo> {
        let run = &self.0[self.0.partition_point(|run| run.ordinal <= ordinal).checked_sub(1)?];
        (ordinal - run.ordinal < run.count).then(|| run.no + (ordinal - run.ordinal))
    }

    /// The first number.
    pub fn first(&self) -> Option<MemberNo> {
        self.0.first().map(|run| run.no)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|run| run.count).sum()
    }

    /// The ordinals of their changes.
    pub fn ordinals(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|run| run.ordinal..run.ordinal + run.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_ordinal_and_nothing_else_is() {
        let given = [(2, 10), (3, 11), (5, 12), (6, 13), (9, 20)];
        let mut numbers = Numbers::default();
        given.iter().for_each(|(ordinal, no)| numbers.push(*ordinal, *no));
        for ordinal in 0..12 {
            let expected = given.iter().find(|g| g.0 == ordinal).map(|g| g.1);
            assert_eq!(numbers.of(ordinal), expected, "ordinal {ordinal}");
        }
        assert_eq!((numbers.count(), numbers.first(), numbers.0.len()), (5, Some(10), 3));
        assert!(numbers.ordinals().eq(given.iter().map(|g| g.0)));
        assert_eq!(Numbers::default().of(0), None);
    }
}
