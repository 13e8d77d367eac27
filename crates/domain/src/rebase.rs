//! Rebase: whether a change that was computed against an older roster still holds on the present one.

use crate::{
    change::{Change, Kind},
    field::Fields,
    ids::FeedNo,
    member::Member,
};

/// What has become of a waiting change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It still does what it says.
    Holds,
    /// The roster is already so.
    AlreadySo,
    /// Something else happened since, which it would overwrite.
    Conflicts,
}

/// Judges a change against the member as it is now (`None`: not known to the organisation).
pub fn rebase(member: Option<&Member>, change: &Change, feed: FeedNo, fields: &Fields) -> Standing {
    let Some(member) = member else {
        return if change.no.is_none() { Standing::Holds } else { Standing::Conflicts };
    };
    match change.kind {
        Kind::Add if change.no.is_none() => Standing::Conflicts,
        Kind::Add | Kind::Reinstate if member.is_listed() => Standing::AlreadySo,
        Kind::Update | Kind::Rekey if !member.is_listed() => Standing::Conflicts,
        Kind::Remove | Kind::Release if change.ends && feed != FeedNo::HAND && !member.is_claimed_by(feed) => {
            Standing::AlreadySo
        }
        Kind::Remove if !member.is_listed() => Standing::AlreadySo,
        _ => values(member, change, fields),
    }
}

fn values(member: &Member, change: &Change, fields: &Fields) -> Standing {
    let mut still_to_do = change.ends || change.to.is_empty() || matches!(change.kind, Kind::Add | Kind::Reinstate);
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
    use crate::{field::FieldId, member::Spell};

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

    fn judge(member: &Member, change: &Change) -> Standing {
        rebase(Some(member), change, FeedNo::MAIN, &Fields::default())
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
        let mut removal = Change::new(Kind::Remove, Some(0), Uuid::nil(), "1");
        removal.ends = true;
        assert_eq!(judge(&gone, &removal), Standing::AlreadySo);
        assert_eq!(judge(&member("Old"), &removal), Standing::Holds);
    }

    #[test]
    fn what_would_overwrite_something_newer_conflicts() {
        assert_eq!(judge(&member("Else"), &update()), Standing::Conflicts);
        let mut gone = member("Old");
        gone.spells[0].to = Some(1);
        assert_eq!(judge(&gone, &update()), Standing::Conflicts);
    }

    #[test]
    fn an_addition_conflicts_once_the_key_is_taken() {
        let add = Change::new(Kind::Add, None, Uuid::nil(), "1");
        assert_eq!(rebase(None, &add, FeedNo::MAIN, &Fields::default()), Standing::Holds);
        assert_eq!(judge(&member("Old"), &add), Standing::Conflicts);
    }
}
