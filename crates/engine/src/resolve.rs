//! Resolving: which member each unknown row names, which rows repeat or contradict each other, and who is absent.

use muster_domain::{ids::MemberNo, settings::Duplicates};
use muster_intake::{Columns, RowIssue};

use crate::{Engine, Organisation, Result, bits::Bits, census::Census, known::Known, misses::Misses, roster::beside};

/// What is known of a miss before it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is compared.
    Counts,
    /// It says the same as an earlier row.
    Repeats,
    /// It contradicts another row, and nothing is taken from it.
    Invalid,
}

/// A hash of an identifier, and a member who has it.
type Ident = (u64, MemberNo);

/// Who is in the payload, resolved.
#[derive(Default)]
pub struct Resolved {
    /// If the unknown rows are few: the members by the hashes of all identifiers in them, sorted.
    pub found: Option<Vec<Ident>>,
    /// Members whom the payload names.
    pub present: Bits,
    /// Issues of rows that repeat or contradict.
    pub issues: Vec<RowIssue>,
    /// For each miss the member whom its match key names; [`NOBODY`] or [`SEVERAL`] if that is not one.
    pub named: Vec<MemberNo>,
    /// Misses that name a member whose known row stands in the payload too, with that row's line; sorted.
    pub doubled: Vec<(u32, u32)>,
    /// Other identifiers that stand in more than one unknown row; sorted.
    pub shared: Vec<u64>,
    /// Members by hash of match key or alias, where several have the same; sorted.
    several: Vec<Ident>,
    repeats: Bits,
    invalid: Bits,
}

/// The match key is nobody's yet.
pub const NOBODY: MemberNo = MemberNo::MAX;
/// The match key may be that of several members.
pub const SEVERAL: MemberNo = MemberNo::MAX - 1;

/// Rows of one person: by the member in common or, for somebody unknown, by the hash of the key.
type Repeated = Vec<((bool, u64), u32)>;

impl Engine {
    /// Finds out which member each unknown row names, judges repeated keys and marks who is present. Hashes of other
    /// identifiers are used up by it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn resolve(
        &self,
        org: &Organisation,
        census: &mut Census,
        known: &Known,
        duplicates: Duplicates,
        columns: &Columns,
    ) -> Result<Resolved> {
        let mut resolved = Resolved { named: vec![NOBODY; census.misses.len()], ..Resolved::default() };
        let has_members = self.store.head(org.row.id).await?.next_member > 0;
        let few = match census.identifiers(self.sizes.few_rows) {
            Some(hashes) if has_members && !hashes.is_empty() => Some(self.store.idents(org.row.id, &hashes).await?),
            few => few.map(|_| Vec::new()),
        };
        let (mut read, mut repeated) = (Vec::new(), Repeated::new());
        let buckets = (census.misses.len() / self.sizes.resolved_together).next_power_of_two() as u64;
        let (mut rows, mut next) = (Vec::new(), Vec::new());
        fill(&mut rows, &census.misses.keys, 0, buckets);
        for bucket in 0..buckets {
            if few.is_none() && has_members {
                let mut hashes: Vec<u64> = rows.iter().map(|r| r.0).collect();
                hashes.dedup();
                // While the store looks, the next bucket is made ready.
                let looking = self.store.idents(org.row.id, &hashes);
                let (found, ()) = beside(looking, || fill(&mut next, &census.misses.keys, bucket + 1, buckets));
                read = found?;
            } else {
                fill(&mut next, &census.misses.keys, bucket + 1, buckets);
            }
            resolved.name(&rows, few.as_deref().unwrap_or(&read), &mut repeated);
            std::mem::swap(&mut rows, &mut next);
        }
        resolved.found = few;
        known.seen().for_each(|(no, _)| resolved.present.set(no, true));
        resolved.find_doubled(&census.misses, known);
        resolved.judge_repeats(&census.misses, repeated, duplicates, columns);
        resolved.mark_present(&census.misses);
        resolved.shared = shared(std::mem::take(&mut census.misses.others));
        Ok(resolved)
    }
}

/// The keys whose highest bits are those of the bucket, each with the index of its row, sorted.
fn fill(rows: &mut Vec<(u64, u32)>, keys: &[u64], bucket: u64, buckets: u64) {
    rows.clear();
    let of = |key: u64| key.checked_shr(64 - buckets.ilog2()).unwrap_or(0);
    rows.extend((0u32..).zip(keys).filter(|(_, key)| of(**key) == bucket).map(|(i, key)| (*key, i)));
    rows.sort_unstable();
}

/// The members with this hash.
fn with_key(idents: &[Ident], key: u64) -> impl Iterator<Item = MemberNo> + '_ {
    let from = idents.partition_point(|ident| ident.0 < key);
    idents[from..].iter().take_while(move |ident| ident.0 == key).map(|ident| ident.1)
}

/// Those of the hashes that are there more than once, without 0.
fn shared(mut hashes: Vec<u64>) -> Vec<u64> {
    hashes.sort_unstable();
    let several = hashes.chunk_by(|a, b| a == b).filter(|same| same.len() > 1 && same[0] != 0);
    several.map(|same| same[0]).collect()
}

impl Resolved {
    /// What was judged of a miss.
    pub fn verdict(&self, miss: usize) -> Verdict {
        match miss as u32 {
            i if self.repeats.contains(i) => Verdict::Repeats,
            i if self.invalid.contains(i) => Verdict::Invalid,
            _ => Verdict::Counts,
        }
    }

    /// The members who have a match key, if it is that of several.
    pub fn several(&self, key: u64) -> impl Iterator<Item = MemberNo> + '_ {
        with_key(&self.several, key)
    }

    /// The line of the known row that names the same member as this miss, if there is one.
    pub fn double_of(&self, miss: u32) -> Option<u32> {
        let at = self.doubled.binary_search_by_key(&miss, |d| d.0).ok()?;
        Some(self.doubled[at].1)
    }

    /// Names the members of some rows, and notes those that have a key in common. Both lists are sorted by hash.
    fn name(&mut self, rows: &[(u64, u32)], mut found: &[Ident], repeated: &mut Repeated) {
        for same in rows.chunk_by(|a, b| a.0 == b.0) {
            let key = same[0].0;
            found = &found[found.iter().take_while(|f| f.0 < key).count()..];
            let named = match &found[..found.iter().take_while(|f| f.0 == key).count()] {
                [] => NOBODY,
                [(_, no)] => *no,
                several => {
                    self.several.extend(several);
                    SEVERAL
                }
            };
            same.iter().for_each(|(_, i)| self.named[*i as usize] = named);
            if same.len() > 1 && named >= SEVERAL {
                repeated.extend(same.iter().map(|(_, i)| ((false, key), *i)));
            }
        }
    }

    fn mark_present(&mut self, misses: &Misses) {
        for (no, key) in self.named.iter().zip(&misses.keys) {
            match *no {
                NOBODY => {}
                SEVERAL => with_key(&self.several, *key).for_each(|no| self.present.set(no, true)),
                no => self.present.set(no, true),
            }
        }
    }

    /// Called while `present` holds just the members of known rows.
    fn find_doubled(&mut self, misses: &Misses, known: &Known) {
        let mut named: Vec<(MemberNo, u32)> = Vec::new();
        for (i, no) in (0u32..).zip(&self.named) {
            match *no {
                NOBODY => {}
                SEVERAL => {
                    let candidates = self.several(misses.keys[i as usize]);
                    named.extend(candidates.filter(|no| self.present.contains(*no)).map(|no| (no, i)));
                }
                no if self.present.contains(no) => named.push((no, i)),
                _ => {}
            }
        }
        if named.is_empty() {
            return;
        }
        named.sort_unstable();
        for (no, line) in known.seen() {
            let from = named.partition_point(|n| n.0 < no);
            let same = named[from..].iter().take_while(|n| n.0 == no);
            self.doubled.extend(same.map(|n| (n.1, line)));
        }
        self.doubled.sort_unstable();
    }

    /// Nearly always everybody has one row, and there is nothing to be judged.
    fn judge_repeats(&mut self, misses: &Misses, mut repeated: Repeated, duplicates: Duplicates, columns: &Columns) {
        let (mut seen, mut again) = (Bits::default(), Bits::default());
        for no in self.named.iter().copied().filter(|no| *no < SEVERAL) {
            if seen.contains(no) {
                again.set(no, true);
            }
            seen.set(no, true);
        }
        if !again.is_empty() {
            let rows = (0u32..).zip(&self.named).filter(|(_, no)| **no < SEVERAL && again.contains(**no));
            repeated.extend(rows.map(|(i, no)| ((true, u64::from(*no)), i)));
        }
        repeated.sort_unstable();
        for group in repeated.chunk_by(|a, b| a.0 == b.0) {
            let group: Vec<u32> = group.iter().map(|g| g.1).collect();
            self.judge_group(misses, &group, duplicates, columns);
        }
        self.issues.sort_by_key(|i| i.line);
    }

    fn judge_group(&mut self, misses: &Misses, group: &[u32], duplicates: Duplicates, columns: &Columns) {
        let line = |i: u32| misses.lines[i as usize];
        let content = |i: u32| misses.contents[i as usize];
        let same = group.iter().all(|i| content(*i) == content(group[0]));
        let kept = match duplicates {
            _ if same => Some(group[0]),
            Duplicates::Invalid => None,
            Duplicates::First => Some(group[0]),
            Duplicates::Last => group.last().copied(),
        };
        for i in group.iter().filter(|i| Some(**i) != kept) {
            let other = kept.unwrap_or(if *i == group[0] { group[1] } else { group[0] });
            let other = line(other);
            let reason = match (same, kept) {
                (true, _) => format!("The row says the same as line {other}, and is counted once."),
                (false, Some(_)) => format!("Line {other} counts for this person (duplicates={}).", duplicates.word()),
                (false, None) => format!(
                    "Line {other} has the same match key and says something else; neither counts. Take the wrong one out."
                ),
            };
            let judged = if same { &mut self.repeats } else { &mut self.invalid };
            judged.set(*i, true);
            self.issues.push(RowIssue {
                line: line(*i).into(),
                column: columns.header.get(columns.key).cloned().unwrap_or_default(),
                value: String::new(),
                reason,
                decides: !same && kept.is_none(),
                lost: !same && kept.is_none(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_gets_the_member_of_its_key_and_keys_in_common_are_noted() {
        for (n, buckets) in [(0u64, 1), (1, 1), (7, 2), (64, 8), (1000, 16)] {
            let hash = |i: u64| (i / 2).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            // Every third key is unknown; of the others every fifth has two members.
            let keys: Vec<u64> = (0..n).map(hash).collect();
            let mut idents: Vec<Ident> = Vec::new();
            for i in (0..n).step_by(2).filter(|i| i / 2 % 3 != 0) {
                idents.push((hash(i), i as u32));
                idents.extend((i / 2 % 5 == 0).then_some((hash(i), i as u32 + 1)));
            }
            idents.sort_unstable();
            let mut resolved = Resolved { named: vec![7; n as usize], ..Resolved::default() };
            let (mut rows, mut repeated, mut all) = (Vec::new(), Vec::new(), 0);
            for bucket in 0..buckets {
                fill(&mut rows, &keys, bucket, buckets);
                all += rows.len() as u64;
                resolved.name(&rows, &idents, &mut repeated);
            }
            assert_eq!(all, n);
            for (i, key) in keys.iter().enumerate() {
                let who: Vec<u32> = idents.iter().filter(|f| f.0 == *key).map(|f| f.1).collect();
                let expected = match who[..] {
                    [] => NOBODY,
                    [no] => no,
                    _ => SEVERAL,
                };
                assert_eq!(resolved.named[i], expected, "row {i} of {n}");
                assert!(expected != SEVERAL || resolved.several(*key).eq(who));
                let in_common = keys.iter().filter(|k| *k == key).count() > 1 && expected >= SEVERAL;
                assert_eq!(repeated.iter().any(|r| r.1 == i as u32), in_common);
            }
        }
    }

    #[test]
    fn shared_hashes_are_those_of_several_rows() {
        assert_eq!(shared(vec![0, 5, 3, 5, 0, 9, 3, 5]), [3, 5]);
        assert!(shared(Vec::new()).is_empty());
    }
}
