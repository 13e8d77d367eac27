//! Comparing: the second reading of the payload, in which every unknown row is held against the member whom it names,
//! and then every absence. What is new goes to the recorder.

use std::collections::{BTreeSet, HashMap};

use muster_domain::{
    diff::{self},
    digest::{Identifier, Keys},
    documents::Feed,
    fact::{Counts, Received},
    field::{FieldId, FieldSet},
    fold,
    forgotten::Block,
    guard::Figures,
    ids::{ChangeSetId, Day, FeedNo, MemberNo, OrganisationId},
    member::{Member, Reason},
    read_as::ReadAs,
    selection::Selection,
    settings::{Mode, Settings},
};
use muster_intake::{Original, Reader, RowIssue, payload::Plain};

use crate::{
    Engine, Result,
    bits::Bits,
    census::{self, Census},
    pipeline::Stages,
    recorder::Recorder,
    resolve::Resolved,
};

mod absences;
mod forgotten;
mod measure;
mod people;
mod rows;
mod zeros;

use people::Uuids;
use rows::Met;

/// What all rows of one payload are compared under.
pub struct Job<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The tenant.
    pub org: OrganisationId,
    /// Its keys.
    pub keys: &'a Keys,
    /// Its settings, as they hold for the feed.
    pub settings: &'a Settings,
    /// The feed.
    pub feed: &'a Feed,
    /// Priorities of all feeds.
    pub priorities: &'a [(FeedNo, i32)],
    /// The fields of which each feed speaks.
    pub speaks: &'a [(FeedNo, FieldSet)],
    /// The upload.
    pub received: &'a Received,
    /// Today in the organisation's time zone.
    pub today: Day,
    /// Whether the organisation has members at all.
    pub has_members: bool,
    /// The change set in the making.
    pub change_set: ChangeSetId,
    /// By what people who were forgotten are known again.
    pub forgotten: &'a BTreeSet<Block>,
}

/// How the payload is read.
pub struct Input {
    /// Reads rows.
    pub reader: Reader,
    /// What stands between cells.
    pub delimiter: u8,
    /// Seeds the fingerprints: everything on which the meaning of a record's bytes depends.
    pub layout: u64,
    /// What was assumed in reading it, for people.
    pub read_as: Vec<String>,
    /// The same for the log, without anything that could be personal.
    pub how: ReadAs,
    /// Why it is not all that there is, if it says so itself.
    pub unfinished: Option<String>,
    /// Its plain text, if it is written in another way.
    pub plain: Option<Plain>,
    /// How it lies in its file.
    pub original: Original,
}

impl<'a> Job<'a> {
    /// What the diff needs to know.
    pub fn context(&self) -> diff::Context<'a> {
        diff::Context {
            feed: self.feed.no,
            priorities: self.priorities,
            speaks: self.speaks,
            empty_clears: self.received.mode == Mode::Full,
            match_field: self.settings.match_key.field(),
            fields: &self.settings.fields,
            today: self.today,
            ask_again_days: self.settings.ask_again_days,
        }
    }

    /// What folding needs to know.
    pub fn fold_context(&self) -> fold::Context<'a> {
        fold::Context {
            change_set: self.change_set,
            feed: self.feed.no,
            day: self.today,
            displaced: if self.feed.no == FeedNo::HAND { Reason::Pinned } else { Reason::AnotherFeed },
            fields: &self.settings.fields,
        }
    }
}

/// What became of the rows that were not known, in the order of the payload.
#[derive(Default)]
pub struct Rows {
    /// The lines on which they begin.
    pub lines: Vec<u32>,
    /// Fingerprints of their bytes.
    pub fingerprints: Vec<u128>,
    /// The members whom they name; others than those of the roster below are in the change of that row.
    pub named: Vec<MemberNo>,
    /// One more than the ordinal of the change that makes it so that the roster holds what the row says; 0 without one.
    pub ordinals: Vec<u32>,
    /// Rows that say what the roster holds, now or with their change.
    pub told: Bits,
}

/// What comparing found, besides the recorded changes.
#[derive(Default)]
pub struct Compared {
    /// Counts of rows.
    pub counts: Counts,
    /// Figures of the guards, as far as rows tell them.
    pub figures: Figures,
    /// Row issues.
    pub issues: Vec<RowIssue>,
    /// What became of each row that was not known.
    pub rows: Rows,
    /// Members of whom it is not clear which of them a row names, with its line.
    pub beside: Vec<(u32, MemberNo)>,
    /// Changes that make somebody ineligible or end a claim: what waits when only such a thing is in doubt.
    pub ineligible: Selection,
    /// Change in the number of filled values, by field.
    pub filled: HashMap<FieldId, i64>,
    /// Values that become blank, by field.
    pub blanked: HashMap<FieldId, u64>,
    /// Whether the payload's last row ended with a line break.
    pub line_break: bool,
    /// Known rows that do not count, because another row of the same person contradicts them.
    pub unhit: u64,
    /// Members whom changes are about, as they were read: all of them, or the first so many.
    pub members: HashMap<MemberNo, Member>,
}

/// The comparison in progress.
pub struct Comparison<'a> {
    job: &'a Job<'a>,
    census: &'a Census,
    resolved: &'a mut Resolved,
    recorder: &'a mut Recorder,
    input: &'a Input,
    /// What reading the roster through beforehand gave.
    met: Met,
    /// Members whom a row compared before names.
    taken: Bits,
    /// Members of whose keys rows have lost or gained zeros.
    but_for_zeros: BTreeSet<MemberNo>,
    uuids: Uuids,
    found: Compared,
}

impl<'a> Comparison<'a> {
    /// Prepares the comparison.
    pub fn new(
        job: &'a Job<'a>,
        census: &'a Census,
        resolved: &'a mut Resolved,
        recorder: &'a mut Recorder,
        input: &'a Input,
        secret: &[u8],
    ) -> Self {
        let mut seed = blake3::Hasher::new_derive_key("muster 2026 identities");
        seed.update(secret).update(job.received.upload.0.as_bytes());
        let uuids = Uuids { seed: seed.finalize().into() };
        let rows = Rows { ordinals: vec![0; census.misses.len()], ..Rows::default() };
        let found = Compared { rows, ..Compared::default() };
        Comparison {
            job,
            census,
            resolved,
            recorder,
            input,
            met: Met::default(),
            taken: Default::default(),
            but_for_zeros: BTreeSet::new(),
            uuids,
            found,
        }
    }

    /// Compares every row that counts, then every absence. `contents` are the hashes of what the rows say.
    ///
    /// # Errors
    /// If payload or store cannot be read.
    pub async fn run(mut self, contents: Vec<u64>, claimed: &Bits, whole: bool) -> Result<Compared> {
        // Of somebody who is to leave it says nothing that the roster holds all that their row says.
        let may_skim = self.job.has_members && self.job.received.mode != Mode::Leavers;
        if may_skim && contents.len() > self.job.engine.sizes.skim_from {
            let mut stages = Stages::start();
            self.met = self.skim(&contents, claimed).await?;
            stages.done("skim");
        }
        drop(contents);
        let mut stages = Stages::start();
        self.rows().await?;
        stages.done("rows");
        match self.job.received.mode {
            Mode::Full => self.absences(claimed, whole).await?,
            Mode::Partial | Mode::Leavers => {}
        }
        self.finish_counts();
        Ok(self.found)
    }
}

/// Every hash by which a member is found.
pub fn hashes(member: &Member, keys: &Keys) -> Vec<u64> {
    let Member { uuid, key, aliases, values, .. } = member;
    let mut hashes = vec![keys.identifier(Identifier::Key, key), keys.member(*uuid)];
    hashes.extend(aliases.iter().map(|a| keys.identifier(Identifier::Key, a)));
    hashes.extend(values.get(FieldId::EMAIL).map(|v| keys.identifier(Identifier::Email, v)));
    hashes.extend(
        values.get(FieldId::EMPLOYEE_ID).filter(|v| *v != key).map(|v| keys.identifier(Identifier::EmployeeId, v)),
    );
    hashes.extend(census::person(values, keys));
    hashes
}
