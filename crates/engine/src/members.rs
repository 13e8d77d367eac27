//! Members: found by match key, by an old key, or by another identifier that only they have.

use muster_domain::{digest::Identifier, field::FieldId, member::Member, normalise};

use crate::{Engine, Error, Organisation, Result};

impl Engine {
    /// The member of that match key; else of that old key; else the only one with that e-mail or employee id.
    ///
    /// # Errors
    /// If there is none.
    pub async fn member(&self, org: &Organisation, key: &str) -> Result<Member> {
        let kinds = [Identifier::Key, Identifier::Email, Identifier::EmployeeId];
        let mut hashes: Vec<u64> = kinds.iter().map(|k| org.keys.identifier(*k, key)).collect();
        hashes.sort_unstable();
        let mut numbers: Vec<u32> = self.store.idents(org.row.id, &hashes).await?.iter().map(|i| i.1).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let found = self.members(org.row.id, &numbers).await?;
        let is = |text: &str| normalise::key(text) == normalise::key(key);
        let mut members: Vec<&Member> = numbers.iter().filter_map(|no| found.get(no)).collect();
        // Somebody on the roster goes before a former member.
        members.sort_by_key(|m| !m.is_listed());
        let has = |m: &&&Member, field| m.values.get(field).is_some_and(is);
        let by_key = members.iter().find(|m| is(&m.key));
        let by_alias = || members.iter().find(|m| m.aliases.iter().any(|a| is(a)));
        let other: Vec<_> = members.iter().filter(|m| has(m, FieldId::EMAIL) || has(m, FieldId::EMPLOYEE_ID)).collect();
        let by_other = || if let [one] = other[..] { Some(one) } else { None };
        by_key.or_else(by_alias).or_else(by_other).map(|m| (*m).clone()).ok_or_else(|| {
            Error::Unknown(format!("Nobody on the roster of {} is known as {key}, now or formerly.", org.row.slug))
        })
    }
}
