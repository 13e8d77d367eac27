//! What a payload leaves behind besides its changes: in which order it named people, and which rows are known from now on.

use muster_domain::selection::Selection;
use muster_store::Tx;

use crate::{
    Result,
    apply::Effects,
    compare::{Compared, Job, Named},
    known::{Known, pack_delta, pack_pages},
    resolve,
};

/// With so many deltas, a feed's fingerprints are written anew.
const MOST_DELTAS: usize = 30;
impl Job<'_> {
    /// Member numbers in the order of the payload.
    pub(crate) fn order(&self, compared: &mut Compared, known: &Known, effects: &Effects) -> Vec<u32> {
        let mut by_line = ByLine::default();
        known.seen().for_each(|(no, line)| by_line.put(line, no));
        for (line, named) in compared.order.drain(..) {
            if let Some(no) = number(named, effects) {
                by_line.put(line, no);
            }
        }
        by_line.in_order()
    }

    /// Remembers the fingerprints of rows that say what the roster now holds.
    pub(crate) async fn remember(
        &self,
        tx: &mut Tx,
        compared: &mut Compared,
        known: &Known,
        effects: &Effects,
        selection: &Selection,
        layout: u64,
    ) -> Result<()> {
        let fresh = std::mem::take(&mut compared.fingerprints).into_iter();
        let fresh = fresh.filter(|(_, _, ordinal)| ordinal.is_none_or(|o| selection.contains(o)));
        let fresh: Vec<(u128, u32)> = fresh.filter_map(|(f, named, _)| Some((f, number(named, effects)?))).collect();
        let layout = layout.to_le_bytes();
        let newer = known.newer() + effects.touched.len() + fresh.len();
        if known.is_empty() || newer * 4 > known.len() || known.deltas() >= MOST_DELTAS {
            let mut dead = resolve::Bits::default();
            effects.touched.iter().chain(fresh.iter().map(|f| &f.1)).for_each(|no| dead.set(*no, true));
            let mut all = fresh;
            all.extend(known.entries().filter(|(_, no)| !dead.contains(*no)));
            tx.put_fingerprints(self.feed.no, &layout, pack_pages(all)).await?;
        } else if !fresh.is_empty() || !effects.touched.is_empty() {
            tx.add_fingerprint_delta(self.feed.no, pack_delta(&effects.touched, &fresh)).await?;
        }
        Ok(())
    }
}

/// Members by the line of the payload that names them. Lines are dense, so that a table does without sorting; should
/// they not be, they are sorted.
#[derive(Default)]
struct ByLine {
    table: Vec<Option<std::num::NonZeroU32>>,
    beside: Vec<(u32, u32)>,
}

impl ByLine {
    /// Up to this line there is a table.
    const DENSE: u32 = 16 << 20;

    fn put(&mut self, line: u32, no: u32) {
        let word = no.checked_add(1).and_then(std::num::NonZeroU32::new);
        if line >= Self::DENSE || word.is_none() {
            return self.beside.push((line, no));
        }
        let at = line as usize;
        if at >= self.table.len() {
            self.table.resize(at + 1 + at / 4, None);
        }
        match self.table[at] {
            None => self.table[at] = word,
            // Two members on one line: an ambiguous key. Both were named.
            Some(_) => self.beside.push((line, no)),
        }
    }

    fn in_order(mut self) -> Vec<u32> {
        if self.beside.is_empty() {
            return self.table.into_iter().flatten().map(|no| no.get() - 1).collect();
        }
        let table = self.table.iter().enumerate();
        self.beside.extend(table.filter_map(|(line, no)| Some((line as u32, no.as_ref()?.get() - 1))));
        self.beside.sort_unstable();
        self.beside.iter().map(|(_, no)| *no).collect()
    }
}

fn number(named: Named, effects: &Effects) -> Option<u32> {
    match named {
        Named::Member(no) => Some(no),
        Named::Added(ordinal) => {
            let at = effects.numbers.binary_search_by_key(&ordinal, |n| n.0).ok()?;
            Some(effects.numbers[at].1)
        }
    }
}
