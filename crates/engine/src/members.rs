//! Members and the roster, now and at another time; how one of them is found is in `find`, how all
//! of them are written down in `table`.

use std::ops::Deref;

use chrono::{DateTime, Utc};
use muster_domain::{
    event::StoredEvent,
    fact::Fact,
    member::Member,
    replay::{Checked, Replay},
};
use uuid::Uuid;

use crate::{Engine, Error, Organisation, Result, export::SLICE, roster::in_parallel, turns::Turn};

mod find;
mod roster;
mod table;

pub use find::{By, Eligible, Whom};
pub use roster::Roster;
pub use table::{Book, Filled, MOST_PEOPLE, Table};

/// Which state of the roster is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// As it is stored.
    #[default]
    Now,
    /// As it was known at a moment.
    Time(DateTime<Utc>),
    /// As it was after so many applied change sets.
    Version(u64),
    /// As it was after an event.
    Event(u64),
}

impl Engine {
    /// Everybody who is or was on the roster, in order of their coming; [`Member::is_listed`] tells who was on it then.
    ///
    /// # Errors
    /// If the log has no such roster version, or store or log cannot be read.
    pub async fn roster(&self, org: &Organisation, at: At) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        self.roster_at(org, at).await?.each(|m| members.push(m)).await?;
        Ok(members)
    }

    /// The member of an identity as they were at some time; none if they had not come by then.
    ///
    /// # Errors
    /// If the log has no such roster version, or store or log cannot be read.
    pub async fn member_at(&self, org: &Organisation, at: At, id: Uuid) -> Result<Option<Member>> {
        if at == At::Now {
            return self.look_up(org, By::Id(id)).await.map(|found| found.filter(|m| !m.spells.is_empty()));
        }
        // Numbers never change, so the one of now is the one of then; of several that one hash stands for, one is meant.
        let numbers = self.numbers(org, By::Id(id)).await?;
        let then = self.fold_until(org, at).await?;
        for no in numbers {
            if let Some(member) = then.member(no)?.filter(|m| m.uuid == id && !m.spells.is_empty()) {
                return Ok(Some(member));
            }
        }
        Ok(None)
    }

    /// The log folded up to some point.
    ///
    /// # Errors
    /// If it does not reach that point, or cannot be read or folded.
    pub async fn fold_until(&self, org: &Organisation, at: At) -> Result<Past> {
        let turn = self.turn_to_fold().await?;
        let mut replay = Replay::new();
        let mut slices = self.store.event_slices(org.row.id, 0, SLICE);
        while let Some(slice) = slices.next().await? {
            let past = tokio::task::block_in_place(|| -> Result<bool> {
                for event in in_parallel(&slice, |raw| Ok(Checked::new(raw.clone().open()?)?))? {
                    if is_past(event.event(), at)? {
                        return Ok(true);
                    }
                    replay.take(event)?;
                }
                Ok(false)
            })?;
            if past {
                return Ok(Past { replay, _turn: turn });
            }
        }
        is_reached(org, at, replay.roster_version(), replay.last_seq())?;
        Ok(Past { replay, _turn: turn })
    }

    /// How many people were ever on the roster up to some time, at most: as much as is known of it without reading it.
    ///
    /// # Errors
    /// If the log has no such roster version, or cannot be read.
    pub async fn at_most_at(&self, org: &Organisation, at: At) -> Result<u64> {
        let head = self.store.head(org.row.id).await?;
        is_reached(org, at, head.roster_version, head.last_seq)?;
        Ok(head.next_member.into())
    }
}

/// The log folded up to some point.
pub struct Past {
    replay: Replay,
    _turn: Turn,
}

impl Deref for Past {
    type Target = Replay;

    fn deref(&self) -> &Replay {
        &self.replay
    }
}

/// An error if a log of so many versions and events does not come to this point.
pub(crate) fn is_reached(org: &Organisation, at: At, roster_version: u64, last_seq: u64) -> Result<()> {
    let (what, wanted, last) = match at {
        At::Version(version) => ("roster version", version, roster_version),
        At::Event(seq) => ("event", seq, last_seq),
        At::Now | At::Time(_) => return Ok(()),
    };
    if wanted <= last {
        return Ok(());
    }
    Err(Error::Unknown(format!("There is no {what} {wanted} of {} yet; the present one is {last}.", org.row.slug)))
}

/// Whether the event lies past the point up to which the log is folded.
pub(crate) fn is_past(event: &StoredEvent, at: At) -> Result<bool> {
    Ok(match at {
        At::Now => false,
        At::Time(time) => event.meta.recorded_at > time,
        At::Event(seq) => event.meta.seq > seq,
        At::Version(version) => match event.meta.kind.as_str() {
            "member.forgotten" => matches!(Fact::read(&event.meta)?, Fact::Forgotten(f) if f.roster_version > version),
            "change_set.applied" => matches!(Fact::read(&event.meta)?, Fact::Applied(a) if a.roster_version > version),
            _ => false,
        },
    })
}
