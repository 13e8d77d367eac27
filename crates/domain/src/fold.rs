//! Folding: what a change does to a member once it is applied, or rejected.
//!
//! Everything that the roster holds follows from the log through these functions: applying in the store,
//! replaying and verifying call the same ones. They ask no settings, so that a log means the same for ever.

use std::borrow::Cow;

use chrono::NaiveDate;
use uuid::Uuid;

use crate::{
    change::{Change, Kind, Named},
    field::{FieldId, Fields},
    ids::{ChangeSetId, Day, FeedNo, MemberNo, day_of},
    member::{ABSENT, Member, NAMED, Reason, Spell, Word},
};

/// What all changes of one change set have in common when they are folded.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The change set.
    pub change_set: ChangeSetId,
    /// Whose words these are.
    pub feed: FeedNo,
    /// The day of application in the organisation's time zone.
    pub day: Day,
    /// Why words that the change displaces are no longer the roster's value.
    pub displaced: Reason,
    /// The organisation's fields.
    pub fields: &'a Fields,
}

/// The field that a name in the log stands for.
pub fn field_named(fields: &Fields, name: &str) -> Option<FieldId> {
    match name {
        "absent" => Some(ABSENT),
        "named" => Some(NAMED),
        _ => fields.by_name(name),
    }
}

/// The member after an applied change. `before` is `None` for a person new to the organisation.
pub fn apply(before: Option<Member>, no: MemberNo, change: &Change, ctx: &Context) -> Member {
    let mut member = before.unwrap_or_else(|| blank(no, change.member, &change.key));
    rekey(&mut member, change);
    set_values(&mut member, change, ctx);
    set_claims(&mut member, change, ctx);
    keep_said(&mut member, &change.said, said_reason(ctx), ctx);
    keep_words(&mut member, change, ctx);
    tidy(&mut member);
    member
}

/// The member after a reviewer rejected the change: what the feed said is remembered, the roster stays. `absences`:
/// also that a claim was not to end where other claims go on.
pub fn reject(before: Option<Member>, no: MemberNo, change: &Change, absences: bool, ctx: &Context) -> Member {
    if change.kind == Kind::Say {
        // It proposes nothing that could be refused: what the feed said is noted either way.
        return apply(before, no, change, ctx);
    }
    let unknown = before.is_none() || change.kind == Kind::Rekey;
    let mut member = match before {
        Some(member) if !unknown => member,
        _ => blank(no, declined_uuid(ctx.change_set, change), &change.key),
    };
    if change.ends && (!change.kind.is_silent() || absences && member.is_claimed_by(ctx.feed)) {
        member.keep_word(whole(ABSENT, Reason::Rejected, ctx));
    } else if member.is_listed() {
        claim(&mut member, ctx);
    } else {
        member.keep_word(whole(NAMED, Reason::Rejected, ctx));
    }
    if !change.row.is_empty() {
        keep_said(&mut member, &change.row, Reason::Rejected, ctx);
    } else if !change.ends {
        keep_said(&mut member, &change.to, Reason::Rejected, ctx);
        keep_said(&mut member, &change.said, said_reason(ctx), ctx);
    }
    tidy(&mut member);
    member
}

/// The member who keeps their key after a reviewer rejected the change of it: the feed names somebody else in their
/// place, and their absence is not proposed at once.
pub fn keep_key(before: Option<Member>, no: MemberNo, change: &Change, ctx: &Context) -> Member {
    let mut member = before.unwrap_or_else(|| blank(no, change.member, &change.key));
    member.keep_word(whole(ABSENT, Reason::Rejected, ctx));
    tidy(&mut member);
    member
}

/// Whether folding the rejection of this change needs a number for a person who has none.
pub fn rejection_needs_number(change: &Change) -> bool {
    change.no.is_none() || change.kind == Kind::Rekey
}

fn blank(no: MemberNo, uuid: Uuid, key: &str) -> Member {
    Member {
        no,
        uuid,
        key: key.to_owned(),
        aliases: Vec::new(),
        values: Default::default(),
        spells: Vec::new(),
        words: Vec::new(),
    }
}

/// The identity of a person who was declined under a new key: the change itself names somebody else's.
pub fn declined_uuid(change_set: ChangeSetId, change: &Change) -> Uuid {
    if change.kind != Kind::Rekey {
        return change.member;
    }
    let mut hash = blake3::Hasher::new();
    hash.update(b"muster.declined\0").update(change_set.0.as_bytes()).update(change.key.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn rekey(member: &mut Member, change: &Change) {
    if member.key != change.key {
        let old = std::mem::replace(&mut member.key, change.key.clone().into_owned());
        member.aliases.retain(|a| *a != *change.key);
        member.aliases.push(old);
    }
    if let Some(aliases) = &change.aliases {
        member.aliases = aliases.iter().map(|a| a.clone().into_owned()).collect();
    }
}

fn set_values(member: &mut Member, change: &Change, ctx: &Context) {
    if member.values.is_empty() {
        let bytes = change.to.iter().filter_map(|(_, v)| v.as_deref()).map(str::len).sum();
        member.values.reserve(change.to.len(), bytes);
    }
    // Of somebody new nobody said anything yet that could be displaced.
    let new = member.spells.is_empty() && member.words.is_empty();
    for (name, value) in &change.to {
        let Some(field) = ctx.fields.by_name(name) else { continue };
        let value = value.as_deref();
        if !new {
            if member.values.get(field) == value {
                continue;
            }
            displace(member, field, ctx);
            member.drop_word(ctx.feed, field);
        }
        member.values.set(field, value);
    }
}

/// Other claiming feeds last said what the roster held until now: from here on that is a word of their own.
/// Words that stood aside already now stand aside for this one: a pin binds every feed, and only until one replaces it.
fn displace(member: &mut Member, field: FieldId, ctx: &Context) {
    let aside = [Reason::Pinned, Reason::AnotherFeed];
    if aside.contains(&ctx.displaced) {
        let words = member.words.iter_mut().filter(|w| w.field == field && w.feed != ctx.feed);
        words.filter(|w| aside.contains(&w.reason)).for_each(|w| w.reason = ctx.displaced);
    }
    let others: Vec<FeedNo> = member
        .claimants()
        .filter(|f| *f != ctx.feed && *f != FeedNo::HAND && member.word(*f, field).is_none())
        .collect();
    for feed in others {
        let value = member.values.get(field).map(str::to_owned);
        member.keep_word(Word { feed, field, value, reason: ctx.displaced, since: ctx.day });
    }
}

fn set_claims(member: &mut Member, change: &Change, ctx: &Context) {
    if let Some(spells) = &change.spells {
        member.spells = spells.iter().map(|&(feed, from, to)| Spell { feed, from, to }).collect();
    } else if change.ends {
        end_claims(member, change, ctx);
    } else if ctx.feed != FeedNo::HAND || matches!(change.kind, Kind::Add | Kind::Reinstate) {
        claim(member, ctx);
    }
}

/// A feed ends its own claim; the administrator's hand ends all of them, and the feeds go on naming the person. Where
/// no claim runs any more, what counts until a later day ends now.
fn end_claims(member: &mut Member, change: &Change, ctx: &Context) {
    if change.kind == Kind::Remove && !member.is_listed() {
        for spell in member.spells.iter_mut().filter(|s| ctx.feed == FeedNo::HAND || s.feed == ctx.feed) {
            spell.to = spell.to.map(|to| to.min(ctx.day.max(spell.from)));
        }
    }
    let end = claim_end(member, change, ctx);
    let mut naming = Vec::new();
    for spell in member.spells.iter_mut().filter(|s| s.to.is_none()) {
        if ctx.feed == FeedNo::HAND {
            spell.to = Some(ctx.day);
            naming.extend((spell.feed != FeedNo::HAND).then_some(spell.feed));
        } else if spell.feed == ctx.feed {
            spell.to = Some(end);
        }
    }
    for feed in naming {
        member.keep_word(Word { feed, field: NAMED, value: None, reason: ctx.displaced, since: ctx.day });
    }
    member.drop_word(ctx.feed, ABSENT);
}

/// The day on which a feed's claim ends: that of application, or a later one that the change names, which counts only
/// if nobody else claims the person (another claim may have begun while the change waited).
fn claim_end(member: &Member, change: &Change, ctx: &Context) -> Day {
    let last = ctx.feed != FeedNo::HAND && member.claimants().all(|f| f == ctx.feed);
    let named = change.effective_on.as_deref().filter(|_| last).and_then(|on| on.parse::<NaiveDate>().ok());
    named.map_or(ctx.day, |on| day_of(on).max(ctx.day))
}

/// The feed names the person: its claim runs, and one made by hand passes to it. An ended claim that still had days to
/// come gives them up to the new one, whose own end then counts.
fn claim(member: &mut Member, ctx: &Context) {
    if !member.is_claimed_by(ctx.feed) {
        for spell in member.spells.iter_mut().filter(|s| s.to.is_some_and(|to| to > ctx.day)) {
            spell.to = Some(ctx.day.max(spell.from));
        }
        member.spells.push(Spell { feed: ctx.feed, from: ctx.day, to: None });
    }
    if ctx.feed != FeedNo::HAND {
        for spell in member.spells.iter_mut().filter(|s| s.feed == FeedNo::HAND && s.to.is_none()) {
            spell.to = Some(ctx.day);
        }
    }
    member.drop_word(ctx.feed, ABSENT);
    member.drop_word(ctx.feed, NAMED);
}

fn said_reason(ctx: &Context) -> Reason {
    if ctx.feed == FeedNo::HAND { ctx.displaced } else { Reason::AnotherFeed }
}

fn keep_said(member: &mut Member, said: &Named, reason: Reason, ctx: &Context) {
    for (name, value) in said {
        let Some(field) = ctx.fields.by_name(name) else { continue };
        let value = value.clone().map(Cow::into_owned);
        member.keep_word(Word { feed: ctx.feed, field, value, reason, since: ctx.day });
    }
}

fn keep_words(member: &mut Member, change: &Change, ctx: &Context) {
    for word in &change.words {
        let Some(field) = field_named(ctx.fields, &word.field) else { continue };
        match word.reason {
            None => member.drop_word(word.feed, field),
            Some(reason) => {
                let value = word.value.clone().map(Cow::into_owned);
                member.keep_word(Word { feed: word.feed, field, value, reason, since: ctx.day });
            }
        }
    }
}

fn whole(field: FieldId, reason: Reason, ctx: &Context) -> Word {
    Word { feed: ctx.feed, field, value: None, reason, since: ctx.day }
}

/// Drops words that say what the roster holds, and those of feeds that no longer speak of the person.
fn tidy(member: &mut Member) {
    if member.words.is_empty() {
        return;
    }
    let speaking: Vec<FeedNo> = member
        .claimants()
        .chain(member.words.iter().filter(|w| w.field == NAMED).map(|w| w.feed))
        .filter(|f| *f != FeedNo::HAND)
        .collect();
    let values = &member.values;
    member.words.retain(|w| {
        speaking.contains(&w.feed)
            && (w.field == ABSENT || w.field == NAMED || values.get(w.field) != w.value.as_deref())
    });
}

#[cfg(test)]
mod tests;
