//! Identity: whether an unknown match key is somebody already known, and whether a known one has become somebody else.

use crate::{field::FieldId, member::Member, normalise, values::Values};

/// Whether a row and a member contradict each other as one person: other birth dates, or, where one of them is
/// not known, other last names.
pub fn contradicts(member: &Member, row: &Values) -> bool {
    match (member.values.get(FieldId::DATE_OF_BIRTH), row.get(FieldId::DATE_OF_BIRTH)) {
        (Some(a), Some(b)) => a != b,
        _ => differ(member, row, FieldId::LAST_NAME),
    }
}

/// Whether a known key now has another name and another birth date: perhaps the key was given to somebody else.
pub fn has_become_another(member: &Member, row: &Values) -> bool {
    let born = match (member.values.get(FieldId::DATE_OF_BIRTH), row.get(FieldId::DATE_OF_BIRTH)) {
        (Some(a), Some(b)) => a != b,
        _ => false,
    };
    born && (differ(member, row, FieldId::LAST_NAME) || differ(member, row, FieldId::FIRST_NAME))
}

/// Whether row and member have the same first name, last name and birth date.
pub fn looks_like(member: &Member, row: &Values) -> bool {
    let same = |field| match (member.values.get(field), row.get(field)) {
        (Some(a), Some(b)) => normalise::key(a) == normalise::key(b),
        _ => false,
    };
    [FieldId::FIRST_NAME, FieldId::LAST_NAME, FieldId::DATE_OF_BIRTH].into_iter().all(same)
}

fn differ(member: &Member, row: &Values, field: FieldId) -> bool {
    match (member.values.get(field), row.get(field)) {
        (Some(a), Some(b)) => normalise::key(a) != normalise::key(b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn person(first: &str, last: &str, born: &str) -> Values {
        [(FieldId::FIRST_NAME, first), (FieldId::LAST_NAME, last), (FieldId::DATE_OF_BIRTH, born)].into_iter().collect()
    }

    fn member(values: Values) -> Member {
        Member { no: 0, uuid: Uuid::nil(), key: "1".into(), aliases: vec![], values, spells: vec![], words: vec![] }
    }

    #[test]
    fn another_birth_date_contradicts_and_another_name_alone_does_not() {
        let ann = member(person("Ann", "Lee", "1990-01-01"));
        assert!(contradicts(&ann, &person("Ann", "Lee", "1990-01-02")));
        assert!(!contradicts(&ann, &person("Ann", "Married", "1990-01-01")));
    }

    #[test]
    fn without_a_birth_date_another_last_name_contradicts() {
        let ann = member(person("Ann", "Lee", ""));
        assert!(contradicts(&ann, &person("Ann", "Ray", "1990-01-02")));
        assert!(!contradicts(&ann, &person("Ann", "LEE", "1990-01-02")));
        assert!(!contradicts(&ann, &person("Ann", "", "1990-01-02")));
    }

    #[test]
    fn a_key_becomes_another_person_by_name_and_birth_date_together() {
        let ann = member(person("Ann", "Lee", "1990-01-01"));
        assert!(has_become_another(&ann, &person("Bob", "Lee", "1980-01-01")));
        assert!(!has_become_another(&ann, &person("Bob", "Ray", "1990-01-01")));
        assert!(!has_become_another(&ann, &person("Ann", "Lee", "1980-01-01")));
    }

    #[test]
    fn same_name_and_birth_date_look_like_the_same_person() {
        let ann = member(person("Ann", "Lee", "1990-01-01"));
        assert!(looks_like(&ann, &person("ann", "LEE", "1990-01-01")));
        assert!(!looks_like(&ann, &person("Ann", "Lee", "")));
    }
}
