//! A set of numbers, such as those of members, one bit each.

use muster_domain::ids::MemberNo;

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

    /// What is in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = MemberNo> + '_ {
        const NONE: &Bits = &Bits(Vec::new());
        self.minus(NONE)
    }

    /// What is in this set and not in the other, in order.
    pub fn minus<'a>(&'a self, other: &'a Bits) -> impl Iterator<Item = MemberNo> + 'a {
        let words = self.0.iter().enumerate().map(|(i, w)| (i as u32 * 64, w & !other.0.get(i).unwrap_or(&0)));
        words.filter(|(_, word)| *word != 0).flat_map(|(first, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some(first + bit)
            })
        })
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

impl FromIterator<MemberNo> for Bits {
    fn from_iter<I: IntoIterator<Item = MemberNo>>(numbers: I) -> Self {
        let mut bits = Bits::default();
        numbers.into_iter().for_each(|no| bits.set(no, true));
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
