//! Applying: the changes of a change set folded into the stored roster, which is written in the transaction that appends the fact.

use std::collections::HashMap;

use muster_domain::{
    change::Change,
    codec,
    digest::Keys,
    event::Body,
    fold,
    ids::{ChangeSetId, MemberNo, OrganisationId},
    member::Member,
    selection::Selection,
};
use muster_store::Tx;

use crate::{
    Engine, Error, Result,
    aside::Packed,
    effects::{Effects, Part},
    error::place_of,
    roster::in_parallel,
    worked_out::{WorkedOut, WorkingOut},
};

/// Chunks folded at a time.
const GROUP: usize = 16;

/// What is done with the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// They are applied.
    Apply,
    /// They are rejected and remembered.
    Reject,
}

/// One chunk's part of the effects, with the packed rows.
#[derive(Default)]
struct Folded {
    part: Part,
    rows: Packed,
}

/// Folding one change set.
pub struct Application<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The tenant.
    pub org: OrganisationId,
    /// Its keys.
    pub keys: &'a Keys,
    /// What folding needs to know.
    pub ctx: fold::Context<'a>,
    /// Which changes.
    pub selection: &'a Selection,
    /// What is done with them.
    pub deed: Deed,
    /// Fields that are left out of every change.
    pub except_fields: &'a [String],
}

/// Where a change set's chunks are.
pub enum Chunks {
    /// In memory, each with the ordinal of its first change.
    Here(Vec<(u32, Body)>),
    /// In the store.
    Stored(ChangeSetId),
}

impl Application<'_> {
    /// Folds the selected changes, chunk by chunk, and writes members and identifiers.
    ///
    /// # Errors
    /// If the store refuses or a line is no change; the transaction is then not to be committed.
    pub async fn run(&self, tx: &mut Tx, chunks: &Chunks) -> Result<Effects> {
        self.run_with(tx, chunks, &HashMap::new()).await
    }

    /// [`run`](Self::run), with members that were read already, under the same lease.
    ///
    /// # Errors
    /// As `run`.
    pub async fn run_with(&self, tx: &mut Tx, chunks: &Chunks, read: &HashMap<MemberNo, Member>) -> Result<Effects> {
        let first_no = tx.head().await?.next_member;
        let mut worked_out = self.work_out(first_no, chunks, read).await?;
        worked_out.write(tx).await?;
        worked_out.reserve(tx).await?;
        Ok(worked_out.effects)
    }

    /// Folds the selected changes, chunk by chunk, and writes nothing. Whoever does so has the organisation's lease, and keeps
    /// it until the outcome is written: nobody else changes the roster meanwhile. `first_no` is the number that the next new
    /// member gets; `read` are members that were read already.
    ///
    /// # Errors
    /// If the store cannot be read, the disk does not take what is put aside, or a line is no change.
    pub async fn work_out(
        &self,
        first_no: MemberNo,
        chunks: &Chunks,
        read: &HashMap<MemberNo, Member>,
    ) -> Result<WorkedOut> {
        let mut out = WorkingOut::new(self.engine, self.org, first_no);
        match chunks {
            Chunks::Here(bodies) => {
                for group in bodies.chunks(GROUP) {
                    self.group(group, read, &mut out).await?;
                }
            }
            Chunks::Stored(change_set) => {
                let mut reading = self.engine.chunks(self.org, *change_set);
                while let Some(group) = reading.next(GROUP).await? {
                    self.group(&group, read, &mut out).await?;
                }
            }
        }
        tokio::task::block_in_place(|| out.done())
    }

    async fn group(&self, group: &[(u32, Body)], read: &HashMap<MemberNo, Member>, out: &mut WorkingOut) -> Result<()> {
        let parsed = tokio::task::block_in_place(|| in_parallel(group, |(first, body)| self.parse(*first, body)))?;
        let mut numbers: Vec<MemberNo> = parsed.iter().flatten().filter_map(|(_, c)| c.no).collect();
        numbers.sort_unstable();
        numbers.retain(|no| !read.contains_key(no));
        let stored = match numbers.is_empty() {
            true => HashMap::new(),
            false => self.engine.members(self.org, &numbers).await?,
        };
        let member = |no: &MemberNo| read.get(no).or_else(|| stored.get(no));
        let mut work = Vec::with_capacity(parsed.len());
        let first_new = out.next_no;
        for changes in &parsed {
            work.push((out.next_no, changes));
            out.next_no += changes.iter().filter(|(_, c)| self.needs_number(c)).count() as u32;
        }
        tokio::task::block_in_place(|| {
            let fold = |(first, changes): &(MemberNo, &Vec<_>)| Ok(self.fold(*first, changes, &member));
            let folded: Vec<Folded> = in_parallel(&work, fold)?;
            out.add(folded.into_iter().map(|folded| (folded.part, folded.rows)).collect(), first_new)
        })
    }

    fn parse<'b>(&self, first: u32, body: &'b Body) -> Result<Vec<(u32, Change<'b>)>> {
        let lines = body.iter().enumerate().map(|(i, line)| (first + i as u32, line));
        let selected = lines.filter(|(ordinal, _)| self.selection.contains(*ordinal));
        // A line that was erased has nothing left to apply.
        let present = selected.filter_map(|(ordinal, line)| line.map(|line| (ordinal, line)));
        present
            .map(|(ordinal, line)| match Change::read(line) {
                Ok(change) => Ok((ordinal, change.without(self.except_fields))),
                Err(e) => {
                    Err(Error::Damaged(format!("change {ordinal} of a change set cannot be read, {}", place_of(&e))))
                }
            })
            .collect()
    }

    fn needs_number(&self, change: &Change) -> bool {
        match self.deed {
            Deed::Apply => change.no.is_none(),
            Deed::Reject => fold::rejection_needs_number(change),
        }
    }

    fn fold<'m>(
        &self,
        first_no: MemberNo,
        changes: &[(u32, Change)],
        member: &impl Fn(&MemberNo) -> Option<&'m Member>,
    ) -> Folded {
        let mut folded = Folded::default();
        let mut next_no = first_no;
        for (ordinal, change) in changes {
            let fresh = self.needs_number(change);
            let no = if fresh { next_no } else { change.no.unwrap_or_default() };
            next_no += u32::from(fresh);
            let before = if fresh { None } else { member(&no) };
            let after = match self.deed {
                Deed::Apply => fold::apply(before.cloned(), no, change, &self.ctx),
                Deed::Reject => fold::reject(before.cloned(), no, change, true, &self.ctx),
            };
            if fresh {
                folded.part.number(*ordinal, no);
            }
            folded.part.note(before, &after, self.keys);
            folded.pack(&after);
            if let Some(keeps) = change.no.filter(|_| fresh).and_then(|no| member(&no)) {
                let after = fold::keep_key(Some(keeps.clone()), keeps.no, change, &self.ctx);
                folded.part.note(Some(keeps), &after, self.keys);
                folded.pack(&after);
            }
            if !self.except_fields.is_empty() {
                folded.part.members.insert(no, after);
            }
        }
        folded
    }
}

impl Folded {
    fn pack(&mut self, member: &Member) {
        let mut packed = Vec::with_capacity(192);
        codec::encode(member, &mut packed);
        self.rows.push((member.no, packed));
    }
}
