//! Eligibility: whether a member is eligible on a day, why, and since and until when; computed from dates and spells.
//!
//! The eligible days of a member are one set, and everything else is read off it. A day is in it if
//! - it is **claimed**: in a spell, from its first day to before the day on which it ended. Spells alone decide. That
//!   absence never shortens a known later end date is in them: a claim that ends because a full payload no longer
//!   names the person ends on the day after an end date that is not over ([`crate::diff::absent`]). A list of leavers
//!   and the administrator's hand end it at once;
//! - `start_date` is blank or reached, unless `eligibility.from=listed`;
//! - `end_date` is blank or not over; its own day counts;
//! - the employment status is not excluded. A status has no dates, so it counts for every day asked about.
//!
//! `eligibility.grace_days` are added to both ends: so many days after the end date, and so many after the last day
//! of a claim. A status that is excluded gives no grace: nobody knows since when it has been so.
//!
//! A spell does not tell on which day the feed fell silent, so the reason `until_end_date` covers the whole of an ended
//! claim that reaches exactly to the end date, as it is known now. By what was known earlier (`at`) it is `eligible`.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use crate::{
    change::Change,
    field::{FieldId, Fields},
    fold,
    ids::{Day, FeedNo, day_of},
    member::{Member, Spell},
    settings::{EligibleFrom, Settings},
};

/// Whether somebody is eligible on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Yes or no.
    pub eligible: bool,
    /// Why, on the day asked about.
    pub reason: ReasonCode,
    /// The first day of the stretch of days with the same yes or no; `None` if it has no known beginning.
    pub since: Option<Day>,
    /// The last day of that stretch; `None` if it has no known end.
    pub until: Option<Day>,
}

impl Answer {
    /// The answer about somebody of whom nothing is known.
    pub const UNKNOWN: Answer = Answer { eligible: false, reason: ReasonCode::NeverListed, since: None, until: None };
}

/// Why somebody is eligible, or is not. If there are several reasons for a no, the first of the order of the rule
/// counts: listed, started, not ended, status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// Yes: everything holds.
    Eligible,
    /// Yes: no feed names the person any more, and the claim that ended last holds until their end date.
    UntilEndDate,
    /// Yes, by grace days alone.
    Grace,
    /// No: never was on the roster.
    NeverListed,
    /// No: came onto the roster after that day.
    NotYetListed,
    /// No: had left the roster.
    NotListed,
    /// No: the start date was still to come.
    NotStarted,
    /// No: the end date was over.
    Ended,
    /// No: the employment status is an excluded one.
    ExcludedStatus,
}

impl ReasonCode {
    /// The code as it is shown.
    pub fn word(self) -> &'static str {
        match self {
            ReasonCode::Eligible => "eligible",
            ReasonCode::UntilEndDate => "until_end_date",
            ReasonCode::Grace => "grace",
            ReasonCode::NeverListed => "never_listed",
            ReasonCode::NotYetListed => "not_yet_listed",
            ReasonCode::NotListed => "not_listed",
            ReasonCode::NotStarted => "not_started",
            ReasonCode::Ended => "ended",
            ReasonCode::ExcludedStatus => "excluded_status",
        }
    }
}

/// The day that it is in the organisation's time zone at a moment.
pub fn today(settings: &Settings, now: DateTime<Utc>) -> Day {
    day_of(now.with_timezone(&settings.zone()).date_naive())
}

/// Whether a member, as known, is eligible on a day.
pub fn eligible(member: &Member, settings: &Settings, on: Day) -> Answer {
    let days = Days::of(member, settings);
    if !days.contains(on) {
        let (since, until) = days.gap_around(on);
        return Answer { eligible: false, reason: days.why_not(on), since, until };
    }
    let (since, until) = days.stretch_around(on);
    Answer { eligible: true, reason: days.why(on), since, until }
}

/// The days on which a member, as known, is eligible: each stretch from its first day to before the second, with no second
/// where it has no known end. They are separate and in order, so on any day as many people are eligible as stretches hold it.
pub fn stretches(member: &Member, settings: &Settings) -> Vec<(Day, Option<Day>)> {
    merged(Days::of(member, settings).ranges())
}

/// The days on which a member, as known, is on the roster, in the same form.
pub fn on_roster(member: &Member) -> Vec<(Day, Option<Day>)> {
    merged(member.spells.iter().map(|s| (s.from, end(s))).filter(|range| range.0 < range.1))
}

fn merged(ranges: impl Iterator<Item = Range>) -> Vec<(Day, Option<Day>)> {
    let mut ranges: Vec<Range> = ranges.collect();
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged.into_iter().map(|(from, to)| (from, (to != FOREVER).then_some(to))).collect()
}

/// Whether going from one state of a member to another takes eligibility away, as the guard `removals` counts it:
/// removed, an excluded status, a start date put off, or an end date brought forward to `today` or before. Somebody
/// whose time has not begun yet can lose it too. Grace days are left out: they delay the loss and do not undo it.
pub fn loses_eligibility(before: &Member, after: &Member, settings: &Settings, today: Day) -> bool {
    let strict = |member| Days { grace: 0, ..Days::of(member, settings) };
    let whenever = |days: Days<'_>, on| Days { first: Day::MIN, ..days }.contains(on);
    let (before, after) = (strict(before), strict(after));
    let tomorrow = today.saturating_add(1);
    // An end date of today still counts today; its loss shows tomorrow.
    (before.contains(today) && !after.contains(today))
        || [today, tomorrow].into_iter().any(|on| whenever(before, on) && !whenever(after, on))
}

/// Whether the guard `removals` counts it: eligibility is lost, or somebody listed gets an end date, or an earlier one.
pub fn is_cut_short(before: &Member, after: &Member, settings: &Settings, today: Day) -> bool {
    let brought_forward = match (before.values.get(FieldId::END_DATE), after.values.get(FieldId::END_DATE)) {
        (Some(before), Some(after)) => after < before,
        (None, after) => after.is_some(),
        (Some(_), None) => false,
    };
    loses_eligibility(before, after, settings, today) || before.is_listed() && after.is_listed() && brought_forward
}

/// Whether applying a change to a member cuts them short, as [`is_cut_short`] says. The guard on removals, the number that a
/// reviewer confirms and the second approver's limit all ask this, so that they count the same people.
pub fn cuts_short(before: &Member, change: &Change, settings: &Settings, ctx: &fold::Context) -> bool {
    may_cut_short(change, ctx.fields)
        && is_cut_short(before, &fold::apply(Some(before.clone()), before.no, change, ctx), settings, ctx.day)
}

/// Whether a change says anything that could cut somebody short: the end of a claim, claims by value, a date or the status.
/// Of any other the member need not be read.
pub fn may_cut_short(change: &Change, fields: &Fields) -> bool {
    let looked_at = [FieldId::START_DATE, FieldId::END_DATE, FieldId::EMPLOYMENT_STATUS];
    let decides = |name: &str| fields.by_name(name).is_some_and(|field| looked_at.contains(&field));
    change.ends || change.spells.is_some() || change.to.iter().any(|(name, _)| decides(name))
}

/// What another rule makes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Eligible by both.
    StaysIn,
    /// Eligible by neither.
    StaysOut,
    /// Eligible until now.
    Stops,
    /// Eligible from now on.
    Starts,
}

/// What going from one organisation's settings to others makes of a member today, each by its own time zone.
pub fn turn(member: &Member, old: &Settings, new: &Settings, now: DateTime<Utc>) -> Turn {
    let is = |settings| Days::of(member, settings).contains(today(settings, now));
    match (is(old), is(new)) {
        (true, true) => Turn::StaysIn,
        (false, false) => Turn::StaysOut,
        (true, false) => Turn::Stops,
        (false, true) => Turn::Starts,
    }
}

/// The eligible days of one member.
#[derive(Clone, Copy)]
struct Days<'a> {
    member: &'a Member,
    /// From the start date on.
    first: Day,
    /// The end date.
    last: Day,
    grace: Day,
    excluded: bool,
}

/// A range of days from the first to before the second.
type Range = (Day, Day);

/// Stands for "no known end" in a range.
const FOREVER: Day = Day::MAX;

impl<'a> Days<'a> {
    fn of(member: &'a Member, settings: &Settings) -> Self {
        let first = match settings.eligibility.from {
            EligibleFrom::StartDate => day(member, FieldId::START_DATE).unwrap_or(Day::MIN),
            EligibleFrom::Listed => Day::MIN,
        };
        Days {
            member,
            first,
            last: day(member, FieldId::END_DATE).unwrap_or(FOREVER),
            grace: Day::try_from(settings.eligibility.grace_days).unwrap_or(FOREVER),
            excluded: is_excluded(member, settings),
        }
    }

    /// The days of each claim on which the person is eligible; there may be none in one, and they may overlap.
    fn ranges(&self) -> impl Iterator<Item = Range> + '_ {
        let ended = self.last.saturating_add(1).saturating_add(self.grace);
        let spells = self.member.spells.iter().filter(|s| !self.excluded && s.from < end(s));
        spells.filter_map(move |spell| {
            let range = (spell.from.max(self.first), end(spell).saturating_add(self.grace).min(ended));
            (range.0 < range.1).then_some(range)
        })
    }

    fn contains(&self, on: Day) -> bool {
        self.ranges().any(|r| holds(r, on))
    }

    /// The first and last day of the eligible days around one that is.
    fn stretch_around(&self, on: Day) -> (Option<Day>, Option<Day>) {
        let (mut from, mut to) = (on, on.saturating_add(1));
        loop {
            let before = (from, to);
            for range in self.ranges() {
                if range.0 <= to && range.1 >= from {
                    (from, to) = (from.min(range.0), to.max(range.1));
                }
            }
            if before == (from, to) {
                return (Some(from), (to != FOREVER).then(|| to - 1));
            }
        }
    }

    /// The first and last day of the days without eligibility around one.
    fn gap_around(&self, on: Day) -> (Option<Day>, Option<Day>) {
        let since = self.ranges().map(|r| r.1).filter(|end| *end <= on).max();
        let until = self.ranges().map(|r| r.0).filter(|start| *start > on).min();
        (since, until.map(|start| start - 1))
    }

    fn why(&self, on: Day) -> ReasonCode {
        let mut holding = self.member.spells.iter().filter(|s| holds((s.from, end(s)), on)).peekable();
        if on > self.last || holding.peek().is_none() {
            ReasonCode::Grace
        } else if !self.member.is_listed() && holding.all(|s| self.ends_with_end_date(s)) {
            ReasonCode::UntilEndDate
        } else {
            ReasonCode::Eligible
        }
    }

    /// Whether a feed's claim reaches exactly to the end date, as one does that ended by absence before it.
    fn ends_with_end_date(&self, spell: &Spell) -> bool {
        spell.feed != FeedNo::HAND && spell.to.is_some_and(|to| Some(to) == self.last.checked_add(1))
    }

    fn why_not(&self, on: Day) -> ReasonCode {
        let spells = &self.member.spells;
        let claimed = spells.iter().any(|s| s.from < end(s) && holds((s.from, end(s).saturating_add(self.grace)), on));
        if spells.is_empty() {
            ReasonCode::NeverListed
        } else if spells.iter().all(|s| on < s.from) {
            ReasonCode::NotYetListed
        } else if !claimed {
            ReasonCode::NotListed
        } else if on < self.first {
            ReasonCode::NotStarted
        } else if on > self.last.saturating_add(self.grace) {
            ReasonCode::Ended
        } else {
            ReasonCode::ExcludedStatus
        }
    }
}

/// The day before which a claim holds.
fn end(spell: &Spell) -> Day {
    spell.to.unwrap_or(FOREVER)
}

fn holds(range: Range, on: Day) -> bool {
    range.0 <= on && on < range.1
}

/// The day in a date field. Values are canonical; one that is no date counts as blank.
fn day(member: &Member, field: FieldId) -> Option<Day> {
    member.values.get(field)?.parse::<NaiveDate>().ok().map(day_of)
}

/// Whether the employment status is among the excluded ones, compared without case.
fn is_excluded(member: &Member, settings: &Settings) -> bool {
    let Some(status) = member.values.get(FieldId::EMPLOYMENT_STATUS) else { return false };
    let lower = |text: &str, other: &str| {
        text.chars().flat_map(char::to_lowercase).eq(other.chars().flat_map(char::to_lowercase))
    };
    settings.eligibility.excluded_statuses.iter().any(|excluded| lower(status.trim(), excluded.trim()))
}

#[cfg(test)]
mod tests;
