//! The roster of some time, gone through part by part, so that a million people are never held as members.

use muster_domain::{
    codec,
    ids::{MemberNo, OrganisationId},
    member::Member,
};
use muster_store::MEMBERS_PER_PAGE;

use super::{At, Past};
use crate::{
    Engine, Organisation, Result,
    roster::{SLICE, slice},
};

/// So many numbers of members are a part: some thousand people, less those who never came.
const PART: MemberNo = SLICE * MEMBERS_PER_PAGE;

/// The roster of some time.
pub struct Roster {
    engine: Engine,
    org: OrganisationId,
    /// The log folded so far; none for the roster as it is stored.
    past: Option<Box<Past>>,
    /// The number behind the last member when this was begun: who comes later is not in it.
    end: MemberNo,
}

impl Engine {
    /// The roster of some time, to be gone through as often as need be without all of it being held as members.
    ///
    /// # Errors
    /// If the log has no such roster version, or cannot be read.
    pub async fn roster_at(&self, org: &Organisation, at: At) -> Result<Roster> {
        let past = if at == At::Now { None } else { Some(Box::new(self.fold_until(org, at).await?)) };
        let end = match &past {
            Some(past) => past.next_member(),
            None => self.store.head(org.row.id).await?.next_member,
        };
        Ok(Roster { engine: self.clone(), org: org.row.id, past, end })
    }
}

impl Roster {
    /// Calls a function with everybody who is or was on it, in order of their coming.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn each(&self, mut visit: impl FnMut(Member)) -> Result<()> {
        for no in 0.. {
            let Some(part) = self.part(no).await? else { return Ok(()) };
            part.into_iter().for_each(&mut visit);
        }
        Ok(())
    }

    /// A part of those who are or were on it, perhaps nobody, in order of their coming; none behind the last part. Parts are
    /// counted from 0.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn part(&self, no: u32) -> Result<Option<Vec<Member>>> {
        let Some(first) = no.checked_mul(PART).filter(|first| *first < self.end) else { return Ok(None) };
        let end = self.end.min(first.saturating_add(PART));
        let mut members = Vec::new();
        match &self.past {
            Some(past) => {
                for no in first..end {
                    members.extend(past.member(no)?);
                }
            }
            None => {
                for (no, packed) in slice(&self.engine.store, self.org, no * SLICE).await?.range(..end) {
                    members.push(codec::decode(*no, packed)?);
                }
            }
        }
        members.retain(|m| !m.spells.is_empty());
        Ok(Some(members))
    }

    /// Whether it is that of a time that is over, and not the stored one.
    pub fn is_past(&self) -> bool {
        self.past.is_some()
    }
}
