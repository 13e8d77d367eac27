//! The diff of one row, or of one absence, against one member: what the feed says that is new.

use std::borrow::Cow;

use chrono::NaiveDate;
use uuid::Uuid;

use crate::{
    change::{Change, Kind, Named},
    field::{FieldId, FieldSet, Fields},
    ids::{Day, FeedNo, date_of, day_of},
    member::{ABSENT, Member, NAMED, Reason},
    normalise,
    values::Values,
};

/// A normalised row of a payload.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The line on which it begins, from 1; 0 for what was entered by hand.
    pub line: u64,
    /// The match key as it is written.
    pub key: &'a str,
    /// Values given.
    pub values: &'a Values,
    /// Fields whose column is there and whose cell is empty.
    pub empty: FieldSet,
    /// Fields that the payload sets to nothing in so many words (JSON's `null`, a blank by hand).
    pub null: FieldSet,
    /// Raw texts where normalising changed them.
    pub raw: &'a Values,
}

/// What holds for every row of one payload.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Who speaks.
    pub feed: FeedNo,
    /// Priorities of the feeds: the highest counts; a feed that is not named has 0.
    pub priorities: &'a [(FeedNo, i32)],
    /// The fields of which each feed speaks, as far as that is known: those for which it has a column.
    pub speaks: &'a [(FeedNo, FieldSet)],
    /// Whether an empty cell clears (a full payload) or says nothing.
    pub empty_clears: bool,
    /// The field that is the match key.
    pub match_field: FieldId,
    /// The organisation's fields.
    pub fields: &'a Fields,
    /// Today in the organisation's time zone.
    pub today: Day,
    /// After how many days an absence that was not accepted is proposed again.
    pub ask_again_days: u32,
}

impl Context<'_> {
    /// Whether a feed's words on the field count once it is followed. The key stays as it is, and so does the field that
    /// shows it.
    pub fn speaks_of(&self, feed: FeedNo, field: FieldId) -> bool {
        field != self.match_field && !self.speaks.iter().any(|(f, fields)| *f == feed && !fields.contains(field))
    }
}

/// What a row comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// It says what the roster holds.
    Unchanged,
    /// It differs from the roster and says nothing new.
    Suppressed,
    /// It says something new. `differs`: and, if the change is silent, differs from the roster all the same.
    Change {
        /// The change.
        change: Box<Change<'a>>,
        /// Whether a silent change's row differs from the roster.
        differs: bool,
    },
}

/// A member is named by a row. `evidence` tells how, if not by the match key.
pub fn named<'a>(member: &'a Member, row: Row<'a>, evidence: Option<&'static str>, ctx: &Context<'a>) -> Outcome<'a> {
    if member.is_listed() { listed(member, row, evidence, ctx) } else { former(member, row, evidence, ctx) }
}

/// A person whom the organisation has never known.
pub fn unknown<'a>(row: Row<'a>, uuid: Uuid, ctx: &Context<'a>) -> Change<'a> {
    let mut change = start(Kind::Add, None, uuid, row, ctx);
    change.to = row.values.iter().map(|(f, v)| named_value(ctx, f, Some(v))).collect();
    change.effective_on = later(row.values.get(FieldId::START_DATE), ctx.today);
    change
}

/// A claiming feed no longer names the member.
pub fn absent<'a>(member: &'a Member, ctx: &Context<'a>) -> Absence<'a> {
    if !member.is_claimed_by(ctx.feed) {
        return forget_naming(member, ctx);
    }
    let again = member.word(ctx.feed, ABSENT);
    if again.is_some_and(|w| ctx.today < w.since.saturating_add_unsigned(ctx.ask_again_days)) {
        return Absence::Suppressed;
    }
    let mut change = Change::new(Kind::Remove, Some(member.no), member.uuid, member.key.as_str());
    change.ends = true;
    let others = || member.claimants().filter(|f| *f != ctx.feed);
    if others().next().is_some() {
        change.kind = Kind::Release;
    } else {
        change.effective_on = day_after_end(member, ctx.today);
    }
    if let Some(next) = ruler(others(), ctx) {
        follow(member, next, &mut change, ctx);
    }
    Absence::Change { change: Box::new(change), again: again.is_some() }
}

/// A list of leavers, or an administrator, says that the member has gone: at once, whatever end date was known, and
/// also where an earlier absence left them on the roster until that date.
pub fn left<'a>(member: &'a Member, ctx: &Context<'a>) -> Absence<'a> {
    let own = |feed| ctx.feed == FeedNo::HAND || feed == ctx.feed;
    let kept = || member.spells.iter().any(|s| own(s.feed) && s.to.is_some_and(|to| to > ctx.today));
    if !member.is_listed() && kept() {
        let mut change = Change::new(Kind::Remove, Some(member.no), member.uuid, member.key.as_str());
        change.ends = true;
        return Absence::Change { change: Box::new(change), again: false };
    }
    match absent(member, ctx) {
        Absence::Change { mut change, again } => {
            change.effective_on = None;
            Absence::Change { change, again }
        }
        other => other,
    }
}

/// What an absence comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Absence<'a> {
    /// Nothing: the feed did not speak of the member before either.
    Nothing,
    /// It was refused before and it is too early to ask again.
    Suppressed,
    /// The claim ends. `again`: that was refused or undone before.
    Change {
        /// The change.
        change: Box<Change<'a>>,
        /// Whether it was refused or undone before.
        again: bool,
    },
}

/// Of the feeds given, in the order of their claims, the one that a field follows.
pub fn ruler(claimants: impl Iterator<Item = FeedNo>, ctx: &Context) -> Option<FeedNo> {
    let priority = |feed| ctx.priorities.iter().find(|(f, _)| *f == feed).map_or(0, |(_, p)| *p);
    let mut ruler = None;
    for feed in claimants.filter(|f| *f != FeedNo::HAND) {
        // An earlier claim wins among equals, so only a higher priority replaces it.
        if ruler.is_none_or(|r| priority(feed) > priority(r)) {
            ruler = Some(feed);
        }
    }
    ruler
}

fn listed<'a>(member: &'a Member, row: Row<'a>, evidence: Option<&'static str>, ctx: &Context<'a>) -> Outcome<'a> {
    let claimed = member.is_claimed_by(ctx.feed);
    if !claimed
        && member.word(ctx.feed, NAMED).is_some_and(|w| w.reason == Reason::Undone)
        && news(member, row, ctx).next().is_none()
    {
        return Outcome::Suppressed; // That the feed names the person was undone, and it says nothing else.
    }
    let joining = (!claimed).then_some(ctx.feed);
    let rules = ctx.feed == FeedNo::HAND || ruler(member.claimants().chain(joining), ctx) == Some(ctx.feed);
    let as_written = normalise::key(row.key);
    let same_key = normalise::key(&member.key) == as_written;
    // A feed that still uses an old key names the same person and does not take the key back; an administrator may.
    let is_alias = || member.aliases.iter().any(|a| normalise::key(a) == as_written);
    let known_key = same_key || ctx.feed != FeedNo::HAND && is_alias();
    let kind = if known_key { Kind::Update } else { Kind::Rekey };
    let mut change = start(kind, Some(member), member.uuid, row, ctx);
    let mut differs = false;
    for (field, new) in statements(row, ctx) {
        if known_key && field == ctx.match_field {
            continue;
        }
        let roster = member.values.get(field);
        if claimed && ctx.feed != FeedNo::HAND && member.last_said(ctx.feed, field) == new {
            differs |= new != roster;
        } else if new == roster {
            if member.word(ctx.feed, field).is_some() {
                change.said.push(named_value(ctx, field, new));
            }
        } else if rules {
            change.from.push(named_value(ctx, field, roster));
            change.to.push(named_value(ctx, field, new));
        } else {
            differs = true;
            change.said.push(named_value(ctx, field, new));
        }
    }
    keep_raw(&mut change, row, ctx);
    if known_key && change.to.is_empty() {
        let begins = !claimed && ctx.feed != FeedNo::HAND;
        if !begins && change.said.is_empty() && member.word(ctx.feed, ABSENT).is_none() {
            return if differs { Outcome::Suppressed } else { Outcome::Unchanged };
        }
        change.kind = Kind::Say;
        return Outcome::Change { change: Box::new(change), differs };
    }
    change.evidence = (!known_key).then(|| evidence.unwrap_or("by_hand").into());
    if !known_key && ctx.feed != FeedNo::HAND {
        change.row = row.values.iter().map(|(f, v)| named_value(ctx, f, Some(v))).collect();
    }
    change.effective_on =
        change.to.iter().find(|(n, _)| n == "end_date").and_then(|(_, v)| later(v.as_deref(), ctx.today));
    Outcome::Change { change: Box::new(change), differs }
}

fn former<'a>(member: &'a Member, row: Row<'a>, evidence: Option<&'static str>, ctx: &Context<'a>) -> Outcome<'a> {
    if let Some(word) = member.word(ctx.feed, NAMED) {
        let news: Named = news(member, row, ctx).map(|(f, v)| named_value(ctx, f, v)).collect();
        if news.is_empty() {
            return Outcome::Suppressed;
        }
        if matches!(word.reason, Reason::Pinned) {
            return keep_saying(member, row, news, ctx);
        }
    }
    let kind = if member.spells.is_empty() { Kind::Add } else { Kind::Reinstate };
    let mut change = start(kind, Some(member), member.uuid, row, ctx);
    for (field, new) in statements(row, ctx) {
        let before = member.values.get(field);
        if new != before {
            change.from.push(named_value(ctx, field, before));
            change.to.push(named_value(ctx, field, new));
        } else if member.word(ctx.feed, field).is_some() {
            change.said.push(named_value(ctx, field, new));
        }
    }
    keep_raw(&mut change, row, ctx);
    change.evidence = evidence.map(Into::into);
    change.effective_on = later(row.values.get(FieldId::START_DATE), ctx.today);
    Outcome::Change { change: Box::new(change), differs: true }
}

/// What a row says other than what the feed last said, the match key aside.
fn news<'a>(
    member: &'a Member,
    row: Row<'a>,
    ctx: &Context<'a>,
) -> impl Iterator<Item = (FieldId, Option<&'a str>)> + use<'a> {
    let (feed, key) = (ctx.feed, ctx.match_field);
    statements(row, ctx).filter(move |(f, v)| *f != key && member.last_said(feed, *f) != *v)
}

/// An administrator took the person off the roster: what the feed says of them is noted, nothing more.
fn keep_saying<'a>(member: &'a Member, row: Row<'a>, news: Named<'a>, ctx: &Context<'a>) -> Outcome<'a> {
    let mut change = Change::new(Kind::Say, Some(member.no), member.uuid, member.key.as_str());
    change.line = (row.line > 0).then_some(row.line);
    // By value, so that applying it does not begin a claim.
    change.spells = Some(member.spells.iter().map(|s| (s.feed, s.from, s.to)).collect());
    change.old_spells = change.spells.clone();
    change.words = news
        .into_iter()
        .map(|(field, value)| crate::change::SaidWord { feed: ctx.feed, field, value, reason: Some(Reason::Pinned) })
        .collect();
    Outcome::Change { change: Box::new(change), differs: true }
}

/// A feed named a person who was not taken onto the roster, and does so no more: a later naming is news.
fn forget_naming<'a>(member: &'a Member, ctx: &Context<'a>) -> Absence<'a> {
    if member.word(ctx.feed, NAMED).is_none() {
        return Absence::Nothing;
    }
    let mut change = Change::new(Kind::Release, Some(member.no), member.uuid, member.key.as_str());
    change.ends = true;
    change.words.push(crate::change::SaidWord { feed: ctx.feed, field: "named".into(), value: None, reason: None });
    Absence::Change { change: Box::new(change), again: false }
}

/// With this claim gone the roster follows the next feed's last words: those that it has a column for. Of any other
/// field it is only noted what the roster held when something else took its place.
fn follow<'a>(member: &'a Member, next: FeedNo, change: &mut Change<'a>, ctx: &Context<'a>) {
    for word in member.words.iter().filter(|w| w.feed == next && w.reason == Reason::AnotherFeed) {
        if word.field == ABSENT || word.field == NAMED || !ctx.speaks_of(next, word.field) {
            continue;
        }
        change.from.push(named_value(ctx, word.field, member.values.get(word.field)));
        change.to.push(named_value(ctx, word.field, word.value.as_deref()));
        change.kind = Kind::Update;
    }
}

/// What a row says of each field of which it says anything.
fn statements<'a>(row: Row<'a>, ctx: &Context<'a>) -> impl Iterator<Item = (FieldId, Option<&'a str>)> + use<'a> {
    let clears = ctx.empty_clears;
    let blank = ctx.fields.all().filter(move |f| row.null.contains(*f) || (clears && row.empty.contains(*f)));
    row.values.iter().map(|(f, v)| (f, Some(v))).chain(blank.map(|f| (f, None)))
}

fn start<'a>(kind: Kind, member: Option<&Member>, uuid: Uuid, row: Row<'a>, ctx: &Context<'a>) -> Change<'a> {
    let mut change = Change::new(kind, member.map(|m| m.no), uuid, row.key);
    if let Some(member) = member {
        if kind == Kind::Update || normalise::key(&member.key) == normalise::key(row.key) {
            change.key = Cow::Owned(member.key.clone());
        } else {
            change.old_key = Some(Cow::Owned(member.key.clone()));
        }
    } else {
        keep_raw_all(&mut change, row, ctx);
    }
    change.line = (row.line > 0).then_some(row.line);
    change
}

/// Raw texts are kept for the fields that the change sets or notes.
fn keep_raw<'a>(change: &mut Change<'a>, row: Row<'a>, ctx: &Context<'a>) {
    for (field, raw) in row.raw.iter() {
        let name = ctx.fields.name(field);
        if change.to.iter().chain(&change.said).any(|(n, _)| n == name) {
            change.raw.push((Cow::Borrowed(name), Some(Cow::Borrowed(raw))));
        }
    }
}

fn keep_raw_all<'a>(change: &mut Change<'a>, row: Row<'a>, ctx: &Context<'a>) {
    change.raw = row.raw.iter().map(|(f, raw)| named_value(ctx, f, Some(raw))).collect();
}

fn named_value<'a>(ctx: &Context<'a>, field: FieldId, value: Option<&'a str>) -> (Cow<'a, str>, Option<Cow<'a, str>>) {
    (Cow::Borrowed(ctx.fields.name(field)), value.map(Cow::Borrowed))
}

/// The day after an end date that is not over: absence never shortens one.
fn day_after_end<'a>(member: &Member, today: Day) -> Option<Cow<'a, str>> {
    let end = day_of(member.values.get(FieldId::END_DATE)?.parse::<NaiveDate>().ok()?);
    (end >= today).then(|| Cow::Owned(date_of(end.saturating_add(1)).to_string()))
}

/// A date that is still to come.
fn later<'a>(date: Option<&str>, today: Day) -> Option<Cow<'a, str>> {
    // Canonical dates sort as text.
    let date = date?;
    (*date > *date_of(today).to_string()).then(|| Cow::Owned(date.to_owned()))
}

#[cfg(test)]
mod tests;
