//! Resolving: which member each unknown row names, which rows repeat or contradict each other, and who is absent.

use muster_domain::{ids::MemberNo, settings::Duplicates};
use muster_intake::{Columns, RowIssue};

use crate::{census::Census, known::Known};

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

/// Who is in the payload, resolved.
pub struct Resolved {
    /// A verdict for each miss.
    pub verdicts: Vec<Verdict>,
    /// Members by hash of match key or alias, sorted by hash; with `knows_all` also by those of other identifiers.
    pub keys: Vec<(u64, MemberNo)>,
    /// Whether `keys` has the other identifiers of the unknown rows too.
    pub knows_all: bool,
    /// Members whom the payload names.
    pub present: Bits,
    /// Issues of rows that repeat or contradict.
    pub issues: Vec<RowIssue>,
    /// For each miss the member whom its match key names; [`NOBODY`] or [`SEVERAL`] if that is not one.
    pub named: Vec<MemberNo>,
    /// Where the hashes with the same highest bits begin in `keys`.
    starts: Vec<u32>,
    /// Misses that name a member whose known row stands in the payload too, with that row's line; sorted.
    pub doubled: Vec<(u32, u32)>,
}

/// The match key is nobody's yet.
pub const NOBODY: MemberNo = MemberNo::MAX;
/// The match key may be that of several members.
pub const SEVERAL: MemberNo = MemberNo::MAX - 1;
/// Keys looked up together, so that memory answers for many at once.
const BATCH: usize = 256;

/// A set of member numbers.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Reads the stored form: little-endian words.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Bits(bytes.chunks_exact(8).map(|w| w.try_into().map_or(0, u64::from_le_bytes)).collect())
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let used = self.0.iter().rposition(|w| *w != 0).map_or(0, |last| last + 1);
        self.0[..used].iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// Adds or takes out a number.
    pub fn set(&mut self, no: MemberNo, on: bool) {
        let (word, bit) = (no as usize / 64, no % 64);
        if word >= self.0.len() {
            if !on {
                return;
            }
            self.0.resize(word + 1, 0);
        }
        self.0[word] = self.0[word] & !(1 << bit) | u64::from(on) << bit;
    }

    /// Whether a number is in the set.
    pub fn contains(&self, no: MemberNo) -> bool {
        self.0.get(no as usize / 64).is_some_and(|w| w >> (no % 64) & 1 == 1)
    }

    /// What is in this set and not in the other, in order.
    pub fn minus<'a>(&'a self, other: &'a Bits) -> impl Iterator<Item = MemberNo> + 'a {
        let words = self.0.iter().enumerate().map(|(i, w)| (i, w & !other.0.get(i).unwrap_or(&0)));
        words
            .filter(|(_, w)| *w != 0)
            .flat_map(|(i, w)| (0..64).filter(move |b| w >> b & 1 == 1).map(move |b| i as u32 * 64 + b))
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }

    /// How many are in the set.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|w| u64::from(w.count_ones())).sum()
    }
}

/// Judges repeated keys and marks who is present. `keys` are the members by hash of key, sorted.
pub fn resolve(
    census: &Census,
    known: &Known,
    (keys, knows_all): (Vec<(u64, MemberNo)>, bool),
    duplicates: Duplicates,
    columns: &Columns,
) -> Resolved {
    let mut resolved = Resolved {
        verdicts: vec![Verdict::Counts; census.misses.len()],
        present: Bits::default(),
        issues: Vec::new(),
        doubled: Vec::new(),
        named: Vec::with_capacity(census.misses.len()),
        starts: starts(&keys),
        keys,
        knows_all,
    };
    resolved.name_all(census);
    for (no, _) in known.seen() {
        resolved.present.set(no, true);
    }
    resolved.find_doubled(census, known);
    resolved.judge_repeats(census, duplicates, columns);
    for (i, miss) in census.misses.iter().enumerate() {
        match resolved.named[i] {
            NOBODY => {}
            SEVERAL => {
                for at in resolved.range(miss.key) {
                    resolved.present.set(resolved.keys[at].1, true);
                }
            }
            no => resolved.present.set(no, true),
        }
    }
    resolved
}

/// Beginnings of the runs of keys with the same highest bits, and the end.
fn starts(keys: &[(u64, MemberNo)]) -> Vec<u32> {
    if keys.is_empty() {
        return Vec::new();
    }
    let slots = keys.len().next_power_of_two();
    let mut starts = vec![0; slots + 1];
    keys.iter().for_each(|k| starts[slot(k.0, slots + 1) + 1] += 1);
    for i in 0..slots {
        starts[i + 1] += starts[i];
    }
    starts
}

/// The slot of a hash among so many beginnings, one more than a power of two.
fn slot(hash: u64, starts: usize) -> usize {
    let bits = starts.saturating_sub(1).checked_ilog2().unwrap_or(0);
    hash.checked_shr(64 - bits).unwrap_or(0) as usize
}

impl Resolved {
    /// The members whom a match key may name: nearly always none or one.
    pub fn candidates(&self, key: u64) -> &[(u64, MemberNo)] {
        &self.keys[self.range(key)]
    }

    fn range(&self, key: u64) -> std::ops::Range<usize> {
        // Hashes lie evenly, so this leaves one or two to look at.
        let slot = slot(key, self.starts.len());
        let Some([from, to]) = self.starts.get(slot..slot + 2) else { return 0..0 };
        let here = &self.keys[*from as usize..*to as usize];
        let first = here.iter().take_while(|k| k.0 < key).count();
        let many = here[first..].iter().take_while(|k| k.0 == key).count();
        let from = *from as usize + first;
        from..from + many
    }

    fn name_all(&mut self, census: &Census) {
        for misses in census.misses.chunks(BATCH) {
            // Looked at first for all of them: answers that are on their way together are not waited for one by one.
            let first = |key: u64| self.starts.get(slot(key, self.starts.len())).copied().unwrap_or(0) as usize;
            let touched = misses.iter().filter_map(|m| self.keys.get(first(m.key))).fold(0, |sum, k| sum ^ k.0);
            std::hint::black_box(touched);
            for miss in misses {
                let named = match self.candidates(miss.key) {
                    [] => NOBODY,
                    [(_, no)] => *no,
                    _ => SEVERAL,
                };
                self.named.push(named);
            }
        }
    }

    /// The line of the known row that names the same member as this miss, if there is one.
    pub fn double_of(&self, miss: u32) -> Option<u32> {
        let at = self.doubled.binary_search_by_key(&miss, |d| d.0).ok()?;
        Some(self.doubled[at].1)
    }

    /// Called while `present` holds just the members of known rows.
    fn find_doubled(&mut self, census: &Census, known: &Known) {
        let mut named: Vec<(MemberNo, u32)> = Vec::new();
        for (i, miss) in census.misses.iter().enumerate() {
            match self.named[i] {
                NOBODY => {}
                SEVERAL => {
                    let candidates = self.candidates(miss.key).iter().map(|k| k.1);
                    named.extend(candidates.filter(|no| self.present.contains(*no)).map(|no| (no, i as u32)));
                }
                no if self.present.contains(no) => named.push((no, i as u32)),
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

    /// Rows of one person have the member in common or, for somebody unknown, the hash of the key.
    fn judge_repeats(&mut self, census: &Census, duplicates: Duplicates, columns: &Columns) {
        let (mut seen, mut again) = (Bits::default(), Bits::default());
        for no in self.named.iter().copied().filter(|no| *no < SEVERAL) {
            if seen.contains(no) {
                again.set(no, true);
            }
            seen.set(no, true);
        }
        // Nearly always everybody known has one row, and there is nothing to be sorted but those not known.
        let whom = |(i, no): (usize, &MemberNo)| match *no {
            no if no >= SEVERAL => Some(((false, census.misses[i].key), i as u32)),
            no => again.contains(no).then_some(((true, u64::from(no)), i as u32)),
        };
        let mut by_key: Vec<((bool, u64), u32)> = self.named.iter().enumerate().filter_map(whom).collect();
        by_key.sort_unstable();
        for group in by_key.chunk_by(|a, b| a.0 == b.0) {
            if group.len() > 1 {
                let group: Vec<u32> = group.iter().map(|g| g.1).collect();
                let group = group.as_slice();
                self.judge_group(census, group, duplicates, columns);
            }
        }
        self.issues.sort_by_key(|i| i.line);
    }

    fn judge_group(&mut self, census: &Census, group: &[u32], duplicates: Duplicates, columns: &Columns) {
        let miss = |i: u32| &census.misses[i as usize];
        let same = group.iter().all(|i| miss(*i).content == miss(group[0]).content);
        let kept = match duplicates {
            _ if same => Some(group[0]),
            Duplicates::Invalid => None,
            Duplicates::First => Some(group[0]),
            Duplicates::Last => group.last().copied(),
        };
        for i in group.iter().filter(|i| Some(**i) != kept) {
            let other = kept.unwrap_or(if *i == group[0] { group[1] } else { group[0] });
            let other = miss(other).line;
            let reason = match (same, kept) {
                (true, _) => format!("The row says the same as line {other}, and is counted once."),
                (false, Some(_)) => format!("Line {other} counts for this person (duplicates={}).", duplicates.word()),
                (false, None) => format!(
                    "Line {other} has the same match key and says something else; neither counts. Take the wrong one out."
                ),
            };
            self.verdicts[*i as usize] = if same { Verdict::Repeats } else { Verdict::Invalid };
            self.issues.push(RowIssue {
                line: miss(*i).line.into(),
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
    fn every_hash_is_found_and_no_other() {
        for n in [0u32, 1, 2, 3, 5, 64, 1000] {
            let mut keys: Vec<(u64, MemberNo)> =
                (0..n).map(|i| (u64::from(i / 2).wrapping_mul(0x9E37_79B9_7F4A_7C15), i)).collect();
            keys.sort_unstable();
            let resolved = Resolved {
                verdicts: Vec::new(),
                present: Bits::default(),
                issues: Vec::new(),
                doubled: Vec::new(),
                starts: starts(&keys),
                keys: keys.clone(),
                knows_all: false,
                named: Vec::new(),
            };
            for hash in keys.iter().flat_map(|k| [k.0, k.0.wrapping_add(1)]).chain([0, 7, u64::MAX]) {
                let expected: Vec<_> = keys.iter().filter(|k| k.0 == hash).copied().collect();
                assert_eq!(resolved.candidates(hash), expected, "{hash:#x} of {n}");
            }
        }
    }

    #[test]
    fn bits_are_a_set() {
        let mut bits = Bits::default();
        bits.set(3, true);
        bits.set(700, true);
        bits.set(9999, false);
        let mut other = Bits::default();
        other.set(3, true);
        assert_eq!(bits.minus(&other).collect::<Vec<_>>(), [700]);
        assert_eq!(Bits::from_bytes(&bits.to_bytes()).minus(&Bits::default()).collect::<Vec<_>>(), [3, 700]);
        bits.set(700, false);
        assert_eq!((bits.len(), bits.contains(3), bits.contains(700)), (1, true, false));
    }
}
