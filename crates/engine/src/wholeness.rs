//! Whether a payload is whole, and what the next one is measured against.

use muster_domain::{fact::Baseline, settings::Mode};

use crate::{
    Engine, Result,
    bits::Bits,
    census::Census,
    compare::{Compared, Input, Job},
};

/// Why this payload is not whole, so that absence from it proves nothing; empty if it is.
pub(crate) fn wholeness(job: &Job, census: &Census, input: &Input) -> Vec<String> {
    let mut why: Vec<String> = input.unfinished.iter().cloned().collect();
    if let Some(ending) = census.ending.filter(|e| !e.balanced) {
        why.push(format!("ends inside a quoted cell (line {})", ending.lines));
    }
    if let Some(expected) = job.received.expect_rows.filter(|n| *n != census.rows) {
        why.push(format!("has {} rows where {expected} were expected", census.rows));
    }
    if job.received.mode != Mode::Full {
        return why;
    }
    let broken_off = census.ending.is_some_and(|e| !e.line_break);
    if broken_off && job.feed.baseline.as_ref().is_some_and(|b| b.line_break) {
        why.push("ends without a line break, unlike last time, and so perhaps inside a row".to_owned());
    }
    match census.unreadable.len() {
        0 => {}
        1 => why.push(format!(
            "has a row that cannot be read and could hide somebody (line {})",
            census.unreadable[0].line
        )),
        n => why.push(format!("has {n} rows that cannot be read and could hide somebody")),
    }
    if let Some(baseline) = &job.feed.baseline {
        let here = &input.reader.columns().header;
        let missing: Vec<&str> = baseline.columns.iter().filter(|c| !here.contains(c)).map(String::as_str).collect();
        if !missing.is_empty() {
            why.push(format!("lacks columns of last time: {}", missing.join(", ")));
        }
    }
    why
}

impl Engine {
    /// How many are missing, if they are exactly the tail (two or more) of the last payload's order.
    pub(crate) async fn tail_missing(&self, job: &Job<'_>, named: &Bits, present: &Bits) -> Result<Option<u64>> {
        if job.received.mode != Mode::Full {
            return Ok(None);
        }
        let missing = self.missing_at_end(job.org, job.feed.no, present).await?;
        let all = named.minus(present).count();
        Ok((missing >= 2 && missing == all).then_some(missing as u64))
    }
}

/// What the next payload is measured against, once this one is accepted.
pub(crate) fn baseline(job: &Job, compared: &Compared, input: &Input) -> Baseline {
    let mut filled = job.feed.baseline.as_ref().map(|b| b.filled.clone()).unwrap_or_default();
    for (field, delta) in &compared.filled {
        let name = job.settings.fields.name(*field).to_owned();
        let total = filled.entry(name).or_default();
        *total = total.saturating_add_signed(*delta);
    }
    Baseline {
        rows: compared.counts.rows,
        columns: input.reader.columns().header.clone(),
        line_break: compared.line_break,
        filled,
        as_of: job.received.as_of,
        blake3: job.received.blake3.clone(),
        mapping_version: job.feed.settings.mapping_version,
    }
}
