//! Match keys that lost their leading zeros on the way through a spreadsheet: `123` for `00123`. They are no new people.

use std::collections::HashMap;

use muster_domain::{digest::Identifier, identity, ids::MemberNo, member::Member, normalise, settings::MatchKey};
use muster_intake::RowIssue;

use super::{Comparison, rows::Pending};
use crate::Result;

/// Up to how many digits a key is filled up again.
const MOST_DIGITS: usize = 12;

impl Comparison<'_> {
    /// Finds, for rows whose key nobody has, the members whose key is the same but for leading zeros.
    pub(super) async fn find_without_zeros(&self, batch: &mut [Pending]) -> Result<()> {
        if self.job.settings.match_key != MatchKey::EmployeeId {
            return Ok(());
        }
        let mut asked: Vec<(u64, usize)> = Vec::new();
        for (at, pending) in batch.iter_mut().enumerate() {
            pending.but_for_zeros.clear();
            if !pending.by_key {
                asked.extend(self.variants(&pending.row.key_norm).map(|hash| (hash, at)));
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        asked.sort_unstable();
        let mut hashes: Vec<u64> = asked.iter().map(|a| a.0).collect();
        hashes.dedup();
        for (hash, no) in self.job.engine.store.idents(self.job.org, &hashes).await? {
            let from = asked.partition_point(|a| a.0 < hash);
            for (_, at) in asked[from..].iter().take_while(|a| a.0 == hash) {
                batch[*at].but_for_zeros.push(no);
            }
        }
        Ok(())
    }

    /// Hashes of the keys that differ from this one in leading zeros only.
    fn variants(&self, key: &str) -> impl Iterator<Item = u64> {
        let (prefix, digits) = self.digits(key);
        let most = if digits.is_empty() { 0 } else { MOST_DIGITS };
        let own = digits.len();
        let bare = digits.trim_start_matches('0');
        (bare.len().max(1)..=most)
            .filter(move |length| *length != own && !bare.is_empty())
            .map(move |length| self.job.keys.identifier(Identifier::Key, &format!("{prefix}{bare:0>length$}")))
    }

    /// The feed's prefix and, if nothing but digits follow it, those.
    fn digits<'k>(&self, key: &'k str) -> (&'k str, &'k str) {
        let prefix = normalise::key(self.job.feed.settings.key_prefix.as_deref().unwrap_or_default()).len();
        let (prefix, digits) = key.split_at_checked(prefix).unwrap_or((key, ""));
        if digits.bytes().all(|b| b.is_ascii_digit()) { (prefix, digits) } else { (key, "") }
    }

    /// The member whose key a row nobody has the key of is, but for zeros lost or gained. They count as present, and so does
    /// whoever else has the row's other identifier: which of them it is, is for people to decide.
    pub(super) fn but_for_zeros<'m>(
        &mut self,
        pending: &Pending,
        members: &'m HashMap<MemberNo, Member>,
    ) -> Option<&'m Member> {
        let own = self.digits(&pending.row.key_norm);
        let bare = |(prefix, digits): (&str, &str)| (prefix.to_owned(), digits.trim_start_matches('0').to_owned());
        let same = |m: &Member| bare(self.digits(&normalise::key(&m.key))) == bare(own);
        let may_be = |m: &&Member| !identity::contradicts(m, &pending.row.values);
        // Whoever another row names is that row's, unless that row has lost zeros too.
        let free = |m: &&Member| !self.resolved.present.contains(m.no) || self.but_for_zeros.contains(&m.no);
        let known = pending.but_for_zeros.iter().filter_map(|no| members.get(no));
        let found = known.filter(free).filter(|m| same(m)).find(may_be)?;
        let beside: Vec<MemberNo> = self.sharing(pending, members).into_iter().filter(may_be).map(|m| m.no).collect();
        self.but_for_zeros.insert(found.no);
        [found.no].into_iter().chain(beside).for_each(|no| self.resolved.present.set(no, true));
        Some(found)
    }

    /// Leaves such a row out with an issue: what it says, and whether the key is to be changed, is for people to decide.
    pub(super) fn without_zeros(&mut self, pending: &Pending, member: &Member) {
        let whose = if member.is_listed() { "on the roster" } else { "of a former member" };
        let reason = format!(
            "The match key differs from {} {whose} in leading zeros only, as when a spreadsheet takes an id for a number; \
             format the column as text and export it again, or give the person this key with `muster members rekey`.",
            member.key
        );
        self.found.counts.invalid += 1;
        self.resolved.named[pending.index] = member.no;
        let note = self.note(pending, &reason);
        self.found.issues.push(RowIssue { lost: true, ..note });
    }
}
