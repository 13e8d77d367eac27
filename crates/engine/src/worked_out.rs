//! What changes make of the stored roster, worked out before the transaction that writes it: others wait for the writing alone.

use muster_domain::ids::{MemberNo, OrganisationId};
use muster_store::Tx;

use crate::{
    Engine, Error, Result,
    aside::{Aside, Packed, Rows},
    effects::{Effects, Part},
    idents::{Ident, Idents, Sorted},
};

/// Rows and identifiers that are not written yet, and what else follows from the changes.
pub struct WorkedOut {
    /// What they do.
    pub effects: Effects,
    first_no: MemberNo,
    next_no: MemberNo,
    rows: Aside,
    idents: Sorted,
}

/// The same while it is being worked out.
pub(crate) struct WorkingOut {
    effects: Effects,
    first_no: MemberNo,
    /// The number that the next new member gets.
    pub next_no: MemberNo,
    rows: Aside,
    idents: Idents,
}

impl WorkingOut {
    /// Nothing yet. `first_no` is the number that the next new member gets.
    pub fn new(engine: &Engine, org: OrganisationId, first_no: MemberNo) -> Self {
        let scratch = engine.payloads.dir(org);
        WorkingOut {
            effects: Effects::default(),
            first_no,
            next_no: first_no,
            rows: Aside::new(&scratch, engine.sizes.rows_in_memory),
            idents: Idents::new(&scratch, engine.sizes.idents_in_memory),
        }
    }

    /// Adds what came later, in order. New members have the numbers from `first_new` on.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn add(&mut self, parts: Vec<(Part, Packed)>, first_new: MemberNo) -> Result<()> {
        let mut rows = Vec::new();
        for (part, mut packed) in parts {
            rows.append(&mut packed);
            self.effects.add(part, &mut self.idents)?;
        }
        self.rows.add(Rows::pack(rows, first_new, self.next_no)?)
    }

    /// All of it, as far as it can be worked out without writing.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn done(self) -> Result<WorkedOut> {
        let WorkingOut { effects, first_no, next_no, rows, idents } = self;
        Ok(WorkedOut { effects, first_no, next_no, rows, idents: idents.sorted()? })
    }
}

impl WorkedOut {
    /// Writes members and identifiers. Whoever appends to the log meanwhile is not in its way.
    ///
    /// # Errors
    /// If the store refuses, or the disk does not give back what was put aside.
    pub async fn write(&mut self, tx: &mut Tx) -> Result<()> {
        let mut rows = std::mem::take(&mut self.rows).left()?;
        while let Some(rows) = rows.next()? {
            rows.write(tx).await?;
        }
        // An empty index is built as sorted pages; else the new entries stand beside it.
        let (empty, mut page) = (self.first_no == 0, 0);
        while let Some(idents) = self.idents.next()? {
            match empty {
                true => page = tx.put_ident_pages(page, &idents).await?,
                false => tx.put_idents(&words(idents)).await?,
            }
        }
        Ok(())
    }

    /// Takes the numbers that new members were given.
    ///
    /// # Errors
    /// If the store refuses, or somebody else was given them.
    pub async fn reserve(&self, tx: &mut Tx) -> Result<()> {
        if self.next_no > self.first_no && tx.reserve_members(self.next_no - self.first_no).await? != self.first_no {
            return Err(Error::Damaged("member numbers were given out behind the lease's back".to_owned()));
        }
        Ok(())
    }
}

fn words(idents: Vec<Ident>) -> Vec<(u64, MemberNo, bool)> {
    idents.into_iter().map(|(hash, no)| (hash, no, true)).collect()
}
