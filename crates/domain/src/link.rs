//! Linking: two members are one person, and the second is joined to the first.

use std::borrow::Cow;

use crate::{
    change::{Change, Kind, SaidWord},
    diff::{Context, ruler},
    ids::{Day, FeedNo},
    member::{Member, Reason, Spell},
};

/// The two changes: the second person's keys, claims and words pass to the first, whose identity and key stay. A field
/// follows the feed that rules over all the claims together.
pub fn link<'a>(stays: &'a Member, joins: &'a Member, ctx: &Context<'a>) -> [Change<'a>; 2] {
    let kind = if !stays.is_listed() && joins.is_listed() { Kind::Reinstate } else { Kind::Rekey };
    let mut first = Change::new(kind, Some(stays.no), stays.uuid, stays.key.as_str());
    first.evidence = Some("by_hand".into());
    let mut spells = stays.spells.clone();
    spells.extend(joins.spells.iter().filter(|s| s.to.is_some() || !stays.is_claimed_by(s.feed)));
    spells.sort_by_key(|s| s.from);
    (first.spells, first.old_spells) = (plain(&spells), plain(&stays.spells));
    let aliases = stays.aliases.iter().chain([&joins.key]).chain(&joins.aliases);
    first.aliases = Some(aliases.map(|a| a.as_str().into()).collect());
    let claims = |feed| spells.iter().any(|s| s.feed == feed && s.to.is_none());
    let ruling = ruler(spells.iter().filter(|s| s.to.is_none()).map(|s| s.feed), ctx);
    let follows = if ruling.is_some_and(|feed| !stays.is_claimed_by(feed)) { joins } else { stays };
    for field in ctx.fields.all().filter(|f| *f != ctx.match_field) {
        let (is, becomes) = (stays.values.get(field), follows.values.get(field));
        let name = ctx.fields.name(field);
        if is != becomes {
            first.from.push((name.into(), is.map(Cow::Borrowed)));
            first.to.push((name.into(), becomes.map(Cow::Borrowed)));
        }
        let of = |member: &'a Member| {
            let feeds = member.claimants().filter(|f| *f != FeedNo::HAND && claims(*f));
            feeds.map(move |feed| (feed, member)).collect::<Vec<_>>()
        };
        let joining = of(joins).into_iter().filter(|(feed, _)| !stays.is_claimed_by(*feed));
        for (feed, member) in of(stays).into_iter().chain(joining) {
            let said = member.last_said(feed, field);
            if said != becomes {
                let reason = member.word(feed, field).map_or(Reason::AnotherFeed, |w| w.reason);
                first.words.push(SaidWord {
                    feed,
                    field: name.into(),
                    value: said.map(Into::into),
                    reason: Some(reason),
                });
            }
        }
    }
    [first, retire(stays, joins, ctx.today)]
}

/// The second person has no key of their own any more, and no claim.
fn retire<'a>(stays: &Member, joins: &'a Member, today: Day) -> Change<'a> {
    let kind = if joins.is_listed() { Kind::Remove } else { Kind::Release };
    let key = format!("{} (linked to {})", joins.key, stays.uuid);
    let mut second = Change::new(kind, Some(joins.no), joins.uuid, key);
    second.old_key = Some(joins.key.as_str().into());
    second.ends = true;
    let ended: Vec<Spell> = joins.spells.iter().map(|s| Spell { to: s.to.or(Some(today)), ..*s }).collect();
    (second.spells, second.old_spells) = (plain(&ended), plain(&joins.spells));
    second.aliases = Some(Vec::new());
    second
}

fn plain(spells: &[Spell]) -> Option<Vec<(FeedNo, Day, Option<Day>)>> {
    Some(spells.iter().map(|s| (s.feed, s.from, s.to)).collect())
}
