//! What a payload leaves behind besides its changes: in which order it named people, and which rows are known from now on.

use std::num::NonZeroU32;

use muster_domain::{documents::Feed, ids::MemberNo, selection::Selection};
use muster_store::Tx;
use tokio::sync::mpsc;

use crate::{
    Result,
    aside::{self, Aside},
    compare::{Compared, Job, Rows},
    effects::{Effects, Numbers},
    known::{self, Bucket, Entry, Known, add_delta},
    resolve::{NOBODY, SEVERAL},
    roster::beside,
    spoken::Order,
};

/// With so many deltas, a feed's fingerprints are written anew.
const MOST_DELTAS: usize = 30;

impl Rows {
    /// The member whom a row names, new ones by the number that they were given.
    fn member(&self, row: usize, numbers: &Numbers) -> Option<MemberNo> {
        match self.named[row] {
            NOBODY => numbers.of(self.ordinals[row].checked_sub(1)?),
            SEVERAL => None,
            no => Some(no),
        }
    }

    /// The fingerprints, as far as a bucket goes, of rows that say what the roster now holds.
    fn told<'a>(
        &'a self,
        bucket: Bucket,
        numbers: &'a Numbers,
        selection: &'a Selection,
    ) -> impl Iterator<Item = Entry> + 'a {
        let here = self.told.iter().map(|row| (row as usize, self.fingerprints[row as usize]));
        let here = here.filter(move |(_, fingerprint)| bucket.has(*fingerprint));
        let is_so = |row: usize| self.ordinals[row].checked_sub(1).is_none_or(|ordinal| selection.contains(ordinal));
        here.filter(move |(row, _)| is_so(*row)).filter_map(|(row, f)| Some((f, self.member(row, numbers)?)))
    }
}

impl Compared {
    /// Member numbers in the order of the payload.
    pub(crate) fn order(&self, known: &Known, numbers: &Numbers) -> Order {
        let rows = &self.rows;
        let last = known.seen().map(|(_, line)| line).max().max(rows.lines.last().copied());
        let mut by_line = ByLine::up_to(last.unwrap_or_default());
        known.seen().for_each(|(no, line)| by_line.put(line, no));
        let named = rows.lines.iter().enumerate().filter_map(|(row, line)| Some((*line, rows.member(row, numbers)?)));
        named.chain(self.beside.iter().copied()).for_each(|(line, no)| by_line.put(line, no));
        by_line.in_order()
    }
}

/// What a payload that was taken leaves behind.
pub(crate) struct Memory<'a> {
    pub job: &'a Job<'a>,
    pub compared: &'a Compared,
    pub known: &'a Known,
    pub effects: &'a Effects,
    pub selection: &'a Selection,
    pub layout: u64,
}

/// The same as far as it is worked out without writing.
pub(crate) struct Prepared {
    /// The payload's order, if that counts from now on.
    order: Option<Order>,
    /// All fingerprints, if they are written anew.
    anew: Option<Aside>,
}

impl Memory<'_> {
    /// Works out the payload's order, if that counts from now on (`in_order`), and fingerprints where they are written anew.
    ///
    /// # Errors
    /// If the disk does not take what is put aside.
    pub fn prepare(&self, in_order: bool) -> Result<Prepared> {
        let (known, fresh) = (self.known, self.told().count());
        let newer = known.newer() + self.effects.touched.len() as usize + fresh;
        let is_anew = match known.stays() {
            Some(stays) => fresh > stays.unless,
            None => known.is_empty() || newer * 4 > known.len() || known.deltas() >= MOST_DELTAS,
        };
        let anew = if is_anew { Some(self.pages(fresh)?) } else { None };
        let order = in_order.then(|| self.compared.order(known, &self.effects.numbers));
        Ok(Prepared { order, anew })
    }

    /// Remembers whom the feed names, and the fingerprints of rows that say what the roster now holds.
    ///
    /// # Errors
    /// If the store refuses, or the disk does not give back what was put aside.
    pub async fn keep(&self, tx: &mut Tx, feeds: &mut [Feed], prepared: Prepared) -> Result<()> {
        let (feed, touched) = (self.job.feed.no, &self.effects.touched);
        self.job.engine.settle_feeds(tx, feeds, self.effects, Some((feed, prepared.order))).await?;
        if let Some(anew) = prepared.anew {
            tx.put_fingerprints(feed, &self.layout.to_le_bytes()).await?;
            let mut left = anew.left()?;
            while let Some(rows) = left.next()? {
                let first = rows.pages.first().map_or(0, |(page, _)| *page);
                tx.add_fingerprint_pages(feed, first, rows.pages.into_iter().map(|(_, body)| body).collect()).await?;
            }
            return Ok(());
        }
        let can_be_added = self.known.stays().is_none_or(|stays| stays.is_of_layout);
        let fresh: Vec<Entry> = if can_be_added { self.told().collect() } else { Vec::new() };
        if !fresh.is_empty() || !touched.is_empty() {
            add_delta(tx, feed, touched, &fresh).await?;
        }
        Ok(())
    }

    /// The pages of all fingerprints, by number.
    fn pages(&self, fresh: usize) -> Result<Aside> {
        let engine = self.job.engine;
        let mut gathered = Aside::new(&engine.payloads.dir(self.job.org), engine.sizes.rows_in_memory);
        let (to, mut made) = known::pages();
        let gathering = async {
            let mut numbers = 0..;
            while let Some(pages) = made.recv().await {
                let pages = pages.into_iter().zip(numbers.by_ref()).map(|(page, no)| (no, page)).collect();
                gathered.add(aside::Rows { pages, ..aside::Rows::default() })?;
            }
            Ok(gathered)
        };
        beside(gathering, || self.make_anew(fresh, to)).0
    }

    fn told(&self) -> impl Iterator<Item = Entry> + '_ {
        Bucket::all(0).flat_map(|all| self.told_in(all))
    }

    fn told_in(&self, bucket: Bucket) -> impl Iterator<Item = Entry> + '_ {
        self.compared.rows.told(bucket, &self.effects.numbers, self.selection)
    }

    fn make_anew(&self, fresh: usize, to: mpsc::Sender<known::Pages>) {
        let mut dead = self.effects.touched.clone();
        self.told().for_each(|(_, no)| dead.set(no, true));
        known::make(self.known.len() + fresh, to, |bucket, entries| {
            entries.extend(self.told_in(bucket));
            entries.extend(self.known.entries_in(bucket).filter(|(_, no)| !dead.contains(*no)));
        });
    }
}

/// Members by the line of the payload that names them. Lines are dense, so that a table does without sorting; should
/// they not be, they are sorted.
struct ByLine {
    table: Vec<Option<NonZeroU32>>,
    beside: Vec<(u32, MemberNo)>,
}

impl ByLine {
    /// Up to this line there is a table.
    const DENSE: u32 = 16 << 20;

    fn up_to(line: u32) -> Self {
        ByLine { table: vec![None; line.saturating_add(1).min(Self::DENSE) as usize], beside: Vec::new() }
    }

    fn put(&mut self, line: u32, no: MemberNo) {
        let word = no.checked_add(1).and_then(NonZeroU32::new);
        match self.table.get_mut(line as usize) {
            Some(place @ None) if word.is_some() => *place = word,
            // Two members on one line: an ambiguous key. Both were named.
            _ => self.beside.push((line, no)),
        }
    }

    fn in_order(mut self) -> Order {
        let no = |word: NonZeroU32| word.get() - 1;
        if self.beside.is_empty() {
            return Box::new(self.table.into_iter().flatten().map(no));
        }
        let table = self.table.iter().enumerate();
        self.beside.extend(table.filter_map(|(line, word)| Some((line as u32, no((*word)?)))));
        self.beside.sort_unstable();
        Box::new(self.beside.into_iter().map(|(_, no)| no))
    }
}
