//! Everybody whom the feed claims or names and the payload does not.

use muster_domain::{
    change::Kind,
    diff::{self, Absence},
    ids::MemberNo,
    member::Member,
};

use super::{Comparison, rows::BATCH_ROWS};
use crate::Result;

impl Comparison<'_> {
    pub(super) async fn absences(&mut self, claimed: &crate::bits::Bits, whole: bool) -> Result<()> {
        let gone: Vec<MemberNo> = claimed.minus(&self.resolved.present).collect();
        for numbers in gone.chunks(BATCH_ROWS) {
            let members = self.read_members(numbers).await?;
            for no in numbers {
                if let Some(member) = members.get(no) {
                    self.absence(member, whole);
                }
                self.job.engine.spill(self.job, self.recorder).await?;
            }
        }
        Ok(())
    }

    pub(super) fn absence(&mut self, member: &Member, whole: bool) {
        let ctx = self.job.context();
        let Absence::Change { mut change, again } = diff::absent(member, &ctx) else { return };
        change.unproven = !whole;
        self.found.figures.ask_again += u64::from(again);
        self.found.figures.unproven_removals += u64::from(!whole && change.kind == Kind::Remove);
        self.record(&change, Some(member));
        match change.kind {
            Kind::Remove => self.found.counts.removed += 1,
            Kind::Update => self.found.figures.updates += 1,
            _ => {}
        }
    }
}
