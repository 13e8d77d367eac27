//! Days: how many stretches of time begin and end on each, packed by the half year, so that nobody needs a row of their own.

use std::collections::BTreeMap;

use muster_domain::ids::Day;
use muster_store::read_model::{Key, Part, Range, Snapshot};

use crate::{
    Result,
    projections::{Rows, document, number},
};

/// Days in a row.
const DAYS: Day = 128;

/// How many begin and how many end, by day.
type ByDay = BTreeMap<Day, (i64, i64)>;

/// Days on which stretches begin and end.
#[derive(Default)]
pub struct Days(ByDay);

impl Days {
    /// Counts stretches in, or out again.
    pub fn count(&mut self, stretches: &[(Day, Option<Day>)], by: i64) {
        for (from, to) in stretches {
            self.0.entry(*from).or_default().0 += by;
            if let Some(to) = to {
                self.0.entry(*to).or_default().1 += by;
            }
        }
    }

    /// How many hold on a day.
    pub fn held_on(&self, day: Day) -> u64 {
        self.0.range(..=day).map(|(_, (begin, end))| begin - end).sum::<i64>().max(0) as u64
    }

    /// How many begin and end from a day to before another.
    pub fn between(&self, from: Day, to: Day) -> (u64, u64) {
        let sum = self.0.range(from..to).fold((0, 0), |sum, (_, n)| (sum.0 + n.0, sum.1 + n.1));
        (sum.0.max(0) as u64, sum.1.max(0) as u64)
    }

    /// Adds these to what is stored.
    pub async fn write(self, rows: &mut Rows, part: Part) -> Result<()> {
        let mut by_row: BTreeMap<Key, ByDay> = BTreeMap::new();
        for (day, n) in self.0 {
            by_row.entry(key(day)).or_default().insert(day, n);
        }
        for (key, added) in by_row {
            let mut stored: ByDay = rows.document(part, &key).await?.unwrap_or_default();
            for (day, n) in added {
                let of = stored.entry(day).or_default();
                *of = (of.0 + n.0, of.1 + n.1);
            }
            stored.retain(|_, n| *n != (0, 0));
            if stored.is_empty() {
                rows.delete(part, key);
            } else {
                rows.put_document(part, key, &stored)?;
            }
        }
        Ok(())
    }
}

/// Rows are in order of days, those before 1970 too.
fn key(day: Day) -> Key {
    number((i64::from(day.div_euclid(DAYS)) + (1 << 32)) as u64)
}

/// Everything that is stored.
pub async fn read(model: &mut Snapshot, part: Part) -> Result<Days> {
    let mut days = Days::default();
    for (_, row) in model.range(part, &Range::default()).await? {
        days.0.extend(document::<ByDay>(&row)?);
    }
    Ok(days)
}
