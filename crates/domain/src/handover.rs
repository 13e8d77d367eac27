//! Handover: what becomes of a member when one feed takes over another's claims.
//!
//! The claim ends for the one and begins for the other on the same day and in the same place among the claims. What the
//! old feed last said becomes what the new one last said, unless the new one has spoken of the person itself.

use std::borrow::Cow;

use crate::{
    change::{Change, Kind, SaidWord},
    diff::{Context, ruler},
    ids::{Day, FeedNo},
    member::{ABSENT, Member, NAMED, Reason, Word},
};

/// What passes from one feed to the other (the context's) at one member; none if the old feed does not speak of them.
pub fn handed_over<'a>(member: &'a Member, from: FeedNo, ctx: &Context<'a>) -> Option<Change<'a>> {
    let names = |feed| member.word(feed, NAMED).is_some();
    let claimed = member.is_claimed_by(from);
    if !claimed && !names(from) {
        return None;
    }
    let own = member.is_claimed_by(ctx.feed) || names(ctx.feed);
    let mut change = Change::new(Kind::Say, Some(member.no), member.uuid, member.key.as_str());
    let spells = spells(member, from, ctx);
    let claimants = spells.iter().filter(|s| s.2.is_none()).map(|s| s.0);
    if let Some(next) = ruler(claimants, ctx) {
        let before = ruler(member.claimants(), ctx);
        let in_its_place = before == Some(from) && next == ctx.feed && !own;
        if before != Some(next) && !in_its_place {
            follow(member, if next == ctx.feed && !own { from } else { next }, &mut change, ctx);
        }
    }
    change.spells = Some(spells);
    if names(from) {
        change.words.push(dropped(from));
    }
    if !own {
        let words = member.words.iter().filter(|w| w.feed == from);
        change.words.extend(words.map(|w| said_by(ctx.feed, w, ctx)));
    } else if claimed && names(ctx.feed) {
        change.words.push(dropped(ctx.feed));
    }
    Some(change)
}

/// The claims afterwards, by value.
fn spells(member: &Member, from: FeedNo, ctx: &Context) -> Vec<(FeedNo, Day, Option<Day>)> {
    let joins = !member.is_claimed_by(ctx.feed);
    let mut spells = Vec::with_capacity(member.spells.len() + 1);
    for spell in &member.spells {
        if spell.feed == from && spell.to.is_none() {
            spells.push((from, spell.from, Some(ctx.today)));
            spells.extend(joins.then_some((ctx.feed, ctx.today, None)));
        } else {
            spells.push((spell.feed, spell.from, spell.to));
        }
    }
    spells
}

/// Another feed than before is followed now: its last words count.
fn follow<'a>(member: &'a Member, feed: FeedNo, change: &mut Change<'a>, ctx: &Context<'a>) {
    for word in member.words.iter().filter(|w| w.feed == feed && w.reason == Reason::AnotherFeed) {
        if word.field == ABSENT || word.field == NAMED || !ctx.speaks_of(feed, word.field) {
            continue;
        }
        let name = ctx.fields.name(word.field);
        change.from.push((name.into(), member.values.get(word.field).map(Cow::Borrowed)));
        change.to.push((name.into(), word.value.as_deref().map(Cow::Borrowed)));
        change.kind = Kind::Update;
    }
}

fn dropped<'a>(feed: FeedNo) -> SaidWord<'a> {
    SaidWord { feed, field: "named".into(), value: None, reason: None }
}

fn said_by<'a>(feed: FeedNo, word: &'a Word, ctx: &Context<'a>) -> SaidWord<'a> {
    let field = match word.field {
        ABSENT => "absent",
        NAMED => "named",
        field => ctx.fields.name(field),
    };
    SaidWord { feed, field: field.into(), value: word.value.as_deref().map(Cow::Borrowed), reason: Some(word.reason) }
}
