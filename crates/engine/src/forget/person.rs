//! Whom a command to forget is about: what they are known by, now or formerly, and which lines and texts are about them.

use std::collections::{BTreeMap, BTreeSet};

use muster_domain::{
    change::{Change, Kind, Named},
    digest::{Identifier, Keys},
    field::{FieldId, STANDARD},
    fold,
    forgotten::Block,
    ids::{ChangeSetId, MemberNo},
    member::Member,
    normalise,
};
use uuid::Uuid;

/// Shorter identifiers are not looked for within sentences: a 7 stands in many that are about nobody.
const LEAST_IN_TEXT: usize = 3;

/// A person, by everything that the log and the roster know them by.
#[derive(Debug, Default)]
pub(super) struct Person {
    /// Members, with identities: the person, and whoever was linked to them.
    pub members: BTreeMap<MemberNo, Uuid>,
    /// Match keys, as they are compared.
    pub keys: BTreeSet<String>,
    /// E-mail addresses.
    pub emails: BTreeSet<String>,
    /// Employee ids.
    pub ids: BTreeSet<String>,
    /// First and last names.
    names: BTreeSet<(String, String)>,
    /// Identities of other members who share or shared one of these: their lines are not this person's.
    pub others: BTreeSet<Uuid>,
    /// Identifiers that another member has too: they tell nobody apart.
    shared: BTreeSet<String>,
}

/// What a change says of somebody's identifiers.
#[derive(Default)]
struct Names {
    first: Option<String>,
    last: Option<String>,
}

impl Person {
    /// Somebody of whom only this is known.
    pub fn known_as(text: &str) -> Person {
        let text = normalise::key(text).into_owned();
        let one = || BTreeSet::from([text.clone()]);
        Person { keys: one(), emails: one(), ids: one(), ..Person::default() }
    }

    /// Takes over what is stored of a member.
    pub fn take_member(&mut self, member: &Member) {
        self.members.insert(member.no, member.uuid);
        let own = member.aliases.iter().chain([&member.key]);
        self.keys.extend(own.map(|k| normalise::key(k).into_owned()));
        let mut names = Names::default();
        let words = member.words.iter().filter_map(|w| Some((w.field, w.value.as_deref()?)));
        member.values.iter().chain(words).for_each(|(field, value)| self.take_value(field, value, &mut names));
        self.take_names(names);
    }

    /// Takes over what a line about them says.
    pub fn take_change(&mut self, change: &Change) {
        let aliases = change.aliases.iter().flatten().map(AsRef::as_ref);
        let own = aliases.chain([&*change.key]).chain(change.old_key.as_deref());
        self.keys.extend(own.map(|k| normalise::key(k).into_owned()));
        for list in [&change.from, &change.to, &change.said, &change.row, &change.raw] {
            self.take_list(list);
        }
        let mut names = Names::default();
        for word in &change.words {
            if let (Some(field), Some(value)) = (standard(&word.field), word.value.as_deref()) {
                self.take_value(field, value, &mut names);
            }
        }
    }

    fn take_list(&mut self, list: &Named) {
        let mut names = Names::default();
        for (name, value) in list {
            if let (Some(field), Some(value)) = (standard(name), value.as_deref()) {
                self.take_value(field, value, &mut names);
            }
        }
        self.take_names(names);
    }

    fn take_value(&mut self, field: FieldId, value: &str, names: &mut Names) {
        let value = normalise::key(value).into_owned();
        match field {
            FieldId::EMAIL => drop(self.emails.insert(value)),
            FieldId::EMPLOYEE_ID => drop(self.ids.insert(value)),
            FieldId::FIRST_NAME => names.first = Some(value),
            FieldId::LAST_NAME => names.last = Some(value),
            _ => {}
        }
    }

    fn take_names(&mut self, names: Names) {
        if let (Some(first), Some(last)) = (names.first, names.last) {
            self.names.insert((first, last));
        }
    }

    /// Whether the line is about one of the members.
    pub fn is(&self, change: &Change) -> bool {
        match change.no {
            Some(no) => self.members.contains_key(&no),
            None => self.members.values().any(|uuid| *uuid == change.member),
        }
    }

    /// Whether the line is about this person: about one of the members, about somebody who was proposed with one of the
    /// identifiers and is nobody else, or the refusal by which one of the members became known.
    pub fn is_said_in(&self, set: ChangeSetId, change: &Change) -> bool {
        if self.is(change) {
            return true;
        }
        if change.kind == Kind::Rekey && self.keys.contains(&*normalise::key(&change.key)) {
            let declined = fold::declined_uuid(set, change);
            return self.members.values().any(|uuid| *uuid == declined);
        }
        change.no.is_none() && !self.others.contains(&change.member) && self.is_proposed_by(change)
    }

    /// Whether somebody new is proposed with one of the identifiers.
    pub fn is_proposed_by(&self, change: &Change) -> bool {
        let value = |name: &str| change.to.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.as_deref());
        let tells = |texts: &BTreeSet<String>, text: &str| {
            let text = normalise::key(text);
            texts.contains(&*text) && !self.shared.contains(&*text)
        };
        change.no.is_none()
            && (tells(&self.keys, &change.key)
                || value("email").is_some_and(|v| tells(&self.emails, v))
                || value("employee_id").is_some_and(|v| tells(&self.ids, v)))
    }

    /// Hashes by which the store finds whoever has one of the identifiers.
    pub fn hashes(&self, keys: &Keys) -> Vec<u64> {
        let all = self.identifiers().map(|(kind, text)| keys.identifier(kind, text));
        let mut hashes: Vec<u64> = all.collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    /// What nobody new is taken by from now on.
    pub fn blocks(&self, keys: &Keys) -> BTreeSet<Block> {
        let own = self.identifiers().filter(|(_, text)| !self.shared.contains(*text));
        own.map(|(kind, text)| keys.block(kind, text)).collect()
    }

    fn identifiers(&self) -> impl Iterator<Item = (Identifier, &str)> {
        let kinds =
            [(Identifier::Key, &self.keys), (Identifier::Email, &self.emails), (Identifier::EmployeeId, &self.ids)];
        kinds.into_iter().flat_map(|(kind, texts)| texts.iter().map(move |text| (kind, text.as_str())))
    }

    /// Another member has some of the identifiers too: those tell nobody apart.
    pub fn share_with(&mut self, other: &Member) {
        self.others.insert(other.uuid);
        let values = [FieldId::EMAIL, FieldId::EMPLOYEE_ID].into_iter().filter_map(|f| other.values.get(f));
        let texts = values.chain(other.aliases.iter().chain([&other.key]).map(String::as_str));
        self.shared.extend(texts.map(|t| normalise::key(t).into_owned()));
    }

    /// Whether one of a row's cells is an identifier of the person, with or without the feed's prefix, or two of them
    /// are first and last name.
    pub fn is_in_cells(&self, prefix: &str, cells: &[&str]) -> bool {
        let is = |cell: &&str| {
            let cell = normalise::key(cell);
            !cell.is_empty()
                && (self.keys.contains(&*cell)
                    || self.emails.contains(&*cell)
                    || self.ids.contains(&*cell)
                    || !prefix.is_empty() && self.keys.contains(&format!("{prefix}{cell}")))
        };
        cells.iter().any(is)
            || self.names.iter().any(|(first, last)| {
                let has = |name: &String| cells.iter().any(|cell| normalise::key(cell) == name.as_str());
                has(first) && has(last)
            })
    }

    /// Whether a text names the person.
    pub fn is_named_in(&self, text: &str) -> bool {
        let text = normalise::key(text);
        let named = |word: &str| word.chars().count() >= LEAST_IN_TEXT && stands_in(&text, word);
        self.identifiers().any(|(_, word)| named(word))
            || self.names.iter().any(|(first, last)| stands_in(&text, first) && stands_in(&text, last))
    }
}

fn standard(name: &str) -> Option<FieldId> {
    STANDARD.iter().find(|(_, n, _)| *n == name).map(|(id, ..)| *id)
}

/// Whether a word stands in a text, not as part of a longer one.
fn stands_in(text: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    !word.is_empty()
        && text
            .match_indices(word)
            .any(|(at, _)| !part(text[..at].chars().next_back()) && !part(text[at + word.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Person {
        let mut ann = Person::known_as("E-1001");
        ann.emails.insert("ann@x.org".into());
        ann.names.insert(("ann".into(), "lee".into()));
        ann
    }

    #[test]
    fn a_text_names_somebody_by_whole_words() {
        let ann = ann();
        assert!(ann.is_named_in("Not ours: ANN@x.org."));
        assert!(ann.is_named_in("Lee, Ann has left") && ann.is_named_in("see e-1001"));
        assert!(!ann.is_named_in("Joann Leeds") && !ann.is_named_in("E-10012") && !ann.is_named_in("Ann Ray"));
        assert!(!Person::known_as("7").is_named_in("7 people have left"));
    }

    #[test]
    fn a_row_is_theirs_by_a_whole_cell() {
        let ann = ann();
        let is = |cells: &[&str]| ann.is_in_cells("e-", cells);
        assert!(is(&["x", " E-1001 "]) && is(&["1001", "y"]) && is(&["Lee", "Ann"]));
        assert!(!is(&["10011", "E-100", "Ann", ""]));
    }

    #[test]
    fn somebody_proposed_is_theirs_unless_they_are_another_member() {
        let mut ann = ann();
        let change = |email: &'static str| {
            let mut change = Change::new(Kind::Add, None, Uuid::from_u128(7), "X");
            change.to = vec![("email".into(), Some(email.into()))];
            change
        };
        let set = ChangeSetId(Uuid::nil());
        assert!(ann.is_said_in(set, &change("Ann@x.org")) && !ann.is_said_in(set, &change("bob@x.org")));
        ann.others.insert(Uuid::from_u128(7));
        assert!(!ann.is_said_in(set, &change("Ann@x.org")));
    }
}
