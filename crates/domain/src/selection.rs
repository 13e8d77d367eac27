//! A selection of the changes of a change set, by ordinal, as ranges.

use serde::{Deserialize, Serialize};

/// Ordinals as sorted, separate, inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selection(Vec<(u32, u32)>);

impl Selection {
    /// The first `count` ordinals.
    pub fn all(count: u32) -> Self {
        Selection(count.checked_sub(1).map(|last| (0, last)).into_iter().collect())
    }

    /// Whether an ordinal is selected.
    pub fn contains(&self, ordinal: u32) -> bool {
        let after = self.0.partition_point(|r| r.0 <= ordinal);
        after > 0 && self.0[after - 1].1 >= ordinal
    }

    /// Adds an ordinal.
    pub fn insert(&mut self, ordinal: u32) {
        match self.0.last_mut() {
            Some(last) if last.1.checked_add(1) == Some(ordinal) => last.1 = ordinal,
            Some(last) if last.1 >= ordinal => {
                if !self.contains(ordinal) {
                    *self = self
                        .iter()
                        .filter(|o| *o < ordinal)
                        .chain([ordinal])
                        .chain(self.iter().filter(|o| *o > ordinal))
                        .collect();
                }
            }
            _ => self.0.push((ordinal, ordinal)),
        }
    }

    /// The selected ordinals, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|(from, to)| *from..=*to)
    }

    /// How many are selected.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|(from, to)| to - from + 1).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are selected in front of an ordinal.
    pub fn before(&self, ordinal: u32) -> u32 {
        self.0.iter().take_while(|(from, _)| *from < ordinal).map(|(from, to)| (ordinal - 1).min(*to) - from + 1).sum()
    }

    /// What either selects.
    pub fn union(&self, other: &Selection) -> Selection {
        let mut ranges: Vec<_> = self.0.iter().chain(&other.0).copied().collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match merged.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        Selection(merged)
    }

    /// What is selected here and not there.
    pub fn minus(&self, other: &Selection) -> Selection {
        self.iter().filter(|o| !other.contains(*o)).collect()
    }
}

impl FromIterator<u32> for Selection {
    fn from_iter<T: IntoIterator<Item = u32>>(iter: T) -> Self {
        let mut selection = Selection::default();
        iter.into_iter().for_each(|o| selection.insert(o));
        selection
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_selection_is_a_set_of_ordinals(a: BTreeSet<u8>, b: Vec<u8>) {
            let b_set: BTreeSet<u8> = b.iter().copied().collect();
            let one: Selection = a.iter().map(|o| u32::from(*o)).collect();
            let two: Selection = b.iter().map(|o| u32::from(*o)).collect();
            let wide = |s: &BTreeSet<u8>| s.iter().map(|o| u32::from(*o)).collect::<Vec<_>>();
            prop_assert_eq!(one.iter().collect::<Vec<_>>(), wide(&a));
            prop_assert_eq!(two.iter().collect::<Vec<_>>(), wide(&b_set));
            prop_assert_eq!(one.union(&two).iter().collect::<Vec<_>>(), wide(&(&a | &b_set)));
            prop_assert_eq!(one.minus(&two).iter().collect::<Vec<_>>(), wide(&(&a - &b_set)));
            prop_assert_eq!(one.len() as usize, a.len());
            prop_assert!((0..=255).all(|o| one.before(o) as usize == a.range(..o as u8).count()));
            prop_assert!((0..=255).all(|o| one.contains(o) == a.contains(&(o as u8))));
        }
    }
}
