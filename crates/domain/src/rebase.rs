//! Rebase: whether a change that was computed against an older roster still holds on the present one.

use crate::{
    change::{Change, Kind},
    diff::{self, Absence},
    field::Fields,
    ids::{FeedNo, date_of},
    member::Member,
    settings::Mode,
};

/// What has become of a waiting change.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing<'a> {
    /// It still does what it says.
    Holds,
    /// The roster is already so.
    AlreadySo,
    /// Something else happened since, which it would overwrite.
    Conflicts,
    /// It would do something else than it says; this is what it comes to now.
    Revised(Box<Change<'a>>),
}

/// Judges a change against the member as it is now (`None`: not known to the organisation). `mode` is that of the
/// payload from which it came, `ctx` what its feed would be compared under today.
pub fn rebase<'a>(member: Option<&'a Member>, change: &Change, mode: Mode, ctx: &diff::Context<'a>) -> Standing<'a> {
    let Some(member) = member else {
        return if change.no.is_none() { Standing::Holds } else { Standing::Conflicts };
    };
    if change.ends && ctx.feed != FeedNo::HAND {
        return absence(member, change, mode, ctx);
    }
    let spells = || member.spells.iter().map(|s| (s.feed, s.from, s.to));
    if change.old_spells.as_ref().is_some_and(|old| !old.iter().copied().eq(spells())) {
        return Standing::Conflicts;
    }
    match change.kind {
        Kind::Add if change.no.is_none() => Standing::Conflicts,
        Kind::Add | Kind::Reinstate if member.is_listed() => Standing::AlreadySo,
        Kind::Update | Kind::Rekey if !member.is_listed() => Standing::Conflicts,
        Kind::Remove if !member.is_listed() && !lasts(member, ctx) => Standing::AlreadySo,
        _ => values(member, change, ctx.fields),
    }
}

/// What the absence comes to depends on who else claims the person, on end dates, and on other feeds' words.
fn absence<'a>(member: &'a Member, change: &Change, mode: Mode, ctx: &diff::Context<'a>) -> Standing<'a> {
    let now = match mode {
        Mode::Leavers => diff::left(member, ctx),
        Mode::Full | Mode::Partial => diff::absent(member, ctx),
    };
    match now {
        Absence::Nothing => Standing::AlreadySo,
        Absence::Suppressed => Standing::Conflicts,
        Absence::Change { change: mut now, .. } => {
            (now.line, now.unproven) = (change.line, change.unproven);
            let today = date_of(ctx.today).to_string();
            if now.effective_on.is_none() && change.effective_on.as_deref().is_some_and(|on| on <= today.as_str()) {
                // The day has come while it waited; that is what it said.
                now.effective_on = change.effective_on.as_deref().map(|on| on.to_owned().into());
            }
            if *now == *change { Standing::Holds } else { Standing::Revised(now) }
        }
    }
}

/// Whether an ended claim counts until a day to come.
fn lasts(member: &Member, ctx: &diff::Context) -> bool {
    member.spells.iter().any(|s| s.to.is_some_and(|to| to > ctx.today))
}

fn values<'a>(member: &Member, change: &Change, fields: &Fields) -> Standing<'a> {
    let by_value = change.spells.is_some() || change.aliases.is_some();
    let mut still_to_do =
        change.ends || by_value || change.to.is_empty() || matches!(change.kind, Kind::Add | Kind::Reinstate);
    if let Some(old) = &change.old_key {
        match () {
            () if member.key == change.key => {}
            () if member.key == *old => still_to_do = true,
            () => return Standing::Conflicts,
        }
    }
    for (i, (name, after)) in change.to.iter().enumerate() {
        let Some(field) = fields.by_name(name) else { continue };
        let now = member.values.get(field);
        let before = change.from.get(i).and_then(|(_, v)| v.as_deref());
        if now == after.as_deref() {
            continue;
        }
        if now != before {
            return Standing::Conflicts;
        }
        still_to_do = true;
    }
    if still_to_do { Standing::Holds } else { Standing::AlreadySo }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        field::FieldId,
        ids::Day,
        member::{ABSENT, Reason, Spell, Word},
    };

    fn member(department: &str) -> Member {
        Member {
            no: 0,
            uuid: Uuid::nil(),
            key: "1".into(),
            aliases: vec![],
            values: [(FieldId::DEPARTMENT, department)].into_iter().collect(),
            spells: vec![Spell { feed: FeedNo::MAIN, from: 0, to: None }],
            words: vec![],
        }
    }

    fn update() -> Change<'static> {
        let mut change = Change::new(Kind::Update, Some(0), Uuid::nil(), "1");
        change.from = vec![("department".into(), Some("Old".into()))];
        change.to = vec![("department".into(), Some("New".into()))];
        change
    }

    static FIELDS: Fields = Fields { custom: Vec::new() };

    fn context(today: Day) -> diff::Context<'static> {
        diff::Context {
            feed: FeedNo::MAIN,
            priorities: &[],
            speaks: &[],
            empty_clears: true,
            match_field: FieldId::EMPLOYEE_ID,
            fields: &FIELDS,
            today,
            ask_again_days: 30,
        }
    }

    fn judge<'a>(member: &'a Member, change: &Change) -> Standing<'a> {
        rebase(Some(member), change, Mode::Full, &context(5))
    }

    /// What the feed's absence comes to, as it would be recorded.
    fn absence_of(member: &Member) -> Change<'_> {
        match diff::absent(member, &context(5)) {
            Absence::Change { change, .. } => *change,
            other => panic!("no change: {other:?}"),
        }
    }

    #[test]
    fn what_still_holds_stays() {
        assert_eq!(judge(&member("Old"), &update()), Standing::Holds);
    }

    #[test]
    fn what_is_already_so_drops_out() {
        assert_eq!(judge(&member("New"), &update()), Standing::AlreadySo);
        let mut gone = member("Old");
        gone.spells[0].to = Some(1);
        let listed = member("Old");
        let removal = absence_of(&listed);
        assert_eq!(judge(&gone, &removal), Standing::AlreadySo);
        assert_eq!(judge(&listed, &removal), Standing::Holds);
    }

    #[test]
    fn what_would_overwrite_something_newer_conflicts() {
        assert_eq!(judge(&member("Else"), &update()), Standing::Conflicts);
        let mut gone = member("Old");
        gone.spells[0].to = Some(1);
        assert_eq!(judge(&gone, &update()), Standing::Conflicts);
    }

    #[test]
    fn claims_by_value_conflict_once_there_are_others() {
        let mut change = Change::new(Kind::Say, Some(0), Uuid::nil(), "1");
        change.spells = Some(vec![]);
        change.old_spells = Some(vec![(FeedNo::MAIN, 0, None)]);
        let mut claimed = member("Old");
        assert_eq!(judge(&claimed, &change), Standing::Holds);
        claimed.spells.push(Spell { feed: FeedNo(2), from: 3, to: None });
        assert_eq!(judge(&claimed, &change), Standing::Conflicts);
    }

    #[test]
    fn an_addition_conflicts_once_the_key_is_taken() {
        let add = Change::new(Kind::Add, None, Uuid::nil(), "1");
        assert_eq!(rebase(None, &add, Mode::Full, &context(5)), Standing::Holds);
        assert_eq!(judge(&member("Old"), &add), Standing::Conflicts);
    }

    #[test]
    fn the_end_of_one_claim_becomes_a_removal_once_it_is_the_last() {
        let mut two = member("Old");
        two.spells.push(Spell { feed: FeedNo(2), from: 1, to: None });
        let release = absence_of(&two);
        assert_eq!((release.kind, judge(&two, &release)), (Kind::Release, Standing::Holds));
        let one = member("Old");
        match judge(&one, &release) {
            Standing::Revised(now) => assert_eq!((now.kind, now.ends), (Kind::Remove, true)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_removal_follows_an_end_date_that_moves_and_not_one_that_comes() {
        let mut ann = member("Old");
        ann.values.set(FieldId::END_DATE, Some("1970-01-20"));
        let before = ann.clone();
        let removal = absence_of(&before);
        assert_eq!(removal.effective_on.as_deref(), Some("1970-01-21"));
        assert_eq!(rebase(Some(&ann), &removal, Mode::Full, &context(40)), Standing::Holds, "it is over by now");
        ann.values.set(FieldId::END_DATE, Some("1970-01-25"));
        match judge(&ann, &removal) {
            Standing::Revised(now) => assert_eq!(now.effective_on.as_deref(), Some("1970-01-26")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_absence_that_was_refused_elsewhere_conflicts() {
        let listed = member("Old");
        let removal = absence_of(&listed);
        let mut refused = member("Old");
        refused.keep_word(Word { feed: FeedNo::MAIN, field: ABSENT, value: None, reason: Reason::Rejected, since: 5 });
        assert_eq!(judge(&refused, &removal), Standing::Conflicts);
    }
}
