//! What the guards and the counts are told of each change.

use muster_domain::{
    change::{Change, Kind},
    eligibility,
    guard::Blanked,
    member::Member,
};

use super::Comparison;

/// Members kept for applying, so that a usual night's changes read them but once.
const KEPT_MEMBERS: usize = 32_768;

impl Comparison<'_> {
    /// Records a change and measures it.
    pub(super) fn record(&mut self, change: &Change, before: Option<&Member>) -> u32 {
        let ordinal = self.recorder.push(change);
        self.measure_values(change, before);
        let Some(before) = before else { return ordinal };
        if self.found.members.len() < KEPT_MEMBERS {
            self.found.members.insert(before.no, before.clone());
        }
        if change.kind == Kind::Release {
            self.found.ineligible.insert(ordinal);
        }
        if eligibility::cuts_short(before, change, self.job.settings, &self.job.fold_context()) {
            self.found.ineligible.insert(ordinal);
            self.found.figures.removals += 1;
        }
        ordinal
    }

    /// Adjusts the totals of filled values by what changes.
    pub(super) fn measure_values(&mut self, change: &Change, before: Option<&Member>) {
        let found = &mut self.found;
        if change.kind == Kind::Remove {
            before
                .into_iter()
                .flat_map(|m| m.values.iter())
                .for_each(|(f, _)| *found.filled.entry(f).or_default() -= 1);
            return;
        }
        let fresh = before.is_none_or(|m| !m.is_listed());
        for (i, (name, value)) in change.to.iter().enumerate() {
            let Some(field) = self.job.settings.fields.by_name(name) else { continue };
            let was = !fresh && change.from.get(i).is_some_and(|(_, v)| v.is_some());
            match (was, value.is_some()) {
                (true, false) => {
                    *found.filled.entry(field).or_default() -= 1;
                    *found.blanked.entry(field).or_default() += 1;
                }
                (false, true) => *found.filled.entry(field).or_default() += 1,
                _ => {}
            }
        }
    }

    pub(super) fn finish_counts(&mut self) {
        let (census, found) = (self.census, &mut self.found);
        found.counts.rows = census.rows;
        found.line_break = census.ending.is_some_and(|e| e.line_break);
        found.counts.unchanged += census.hits - found.unhit;
        found.counts.invalid += census.unreadable.len() as u64;
        found.issues.extend(census.unreadable.iter().cloned());
        found.issues.append(&mut self.resolved.issues);
        found.issues.extend(census.notes.iter().cloned());
        found.issues.sort_by_key(|i| i.line);
        let figures = &mut found.figures;
        figures.rows = census.rows;
        figures.invalid_rows = found.counts.invalid;
        figures.updates += found.counts.updated + found.counts.rekeyed;
        figures.key_changes = found.counts.rekeyed;
        figures.claims_before = self.job.feed.claims;
        if let Some(baseline) = &self.job.feed.baseline {
            let blanked = found.blanked.iter().filter_map(|(field, n)| {
                let name = self.job.settings.fields.name(*field);
                let before = *baseline.filled.get(name)?;
                Some(Blanked { field: name.to_owned(), before, after: before.saturating_sub(*n) })
            });
            figures.blanked = blanked.collect();
            figures.blanked.sort_by(|a, b| a.field.cmp(&b.field));
        }
    }
}
