//! Comparing: the second reading of the payload, in which every unknown row is held against the member whom it names,
//! and then every absence. What is new goes to the recorder.

use std::collections::HashMap;

use muster_domain::{
    change::{Change, Kind},
    codec,
    diff::{self, Absence, Outcome},
    digest::{Identifier, Keys},
    documents::Feed,
    eligibility,
    fact::{Counts, Received},
    field::{FieldId, FieldSet},
    fold,
    guard::{Blanked, Figures},
    identity,
    ids::{ChangeSetId, Day, FeedNo, MemberNo, OrganisationId},
    member::{Member, Reason},
    normalise,
    selection::Selection,
    settings::{Duplicates, Mode, Settings},
    values::Values,
};
use muster_intake::{Reader, Row, RowIssue, csv::CellBuffer, payload::Plain};
use uuid::Uuid;

use crate::{
    Engine, Result,
    census::{self, Census, Miss},
    misses::MissRows,
    recorder::Recorder,
    resolve::{Resolved, SEVERAL, Verdict},
};

mod zeros;

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
    /// Why it is not all that there is, if it says so itself.
    pub unfinished: Option<String>,
    /// Its plain text, if it is written in another way.
    pub plain: Option<Plain>,
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

/// Whom a row of the payload names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A known member.
    Member(MemberNo),
    /// The person whom the change of that ordinal adds.
    Added(u32),
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
    /// Fingerprints of rows that say what the roster holds, and with them the ordinal of the change that makes it so.
    pub fingerprints: Vec<(u128, Named, Option<u32>)>,
    /// Whom each line names, unsorted.
    pub order: Vec<(u32, Named)>,
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

/// A row on its way through the comparison.
#[derive(Default)]
struct Pending {
    row: Row,
    miss: Miss,
    index: usize,
    fingerprint: u128,
    /// Members whom the key may name, then, if there are none, members whom other identifiers may name.
    candidates: Vec<MemberNo>,
    by_key: bool,
    /// Members whose key is the same but for leading zeros, if nobody has the key itself.
    but_for_zeros: Vec<MemberNo>,
}

/// Rows compared at a time: enough that pages of the roster are read but once for a usual night's changes.
const BATCH_BYTES: usize = 24 << 20;
const BATCH_ROWS: usize = 65_536;
/// With more rows than this to compare, the roster is read through once beforehand.
const SKIM_FROM: usize = 20_000;

thread_local! {
    static SKIMMED: std::cell::RefCell<Row> = std::cell::RefCell::default();
}

/// Members kept for applying, so that a usual night's changes read them but once.
const KEPT_MEMBERS: usize = 32_768;

/// The comparison in progress.
pub struct Comparison<'a> {
    job: &'a Job<'a>,
    census: &'a Census,
    resolved: &'a mut Resolved,
    recorder: &'a mut Recorder,
    input: &'a Input,
    /// Hash of what a row would have to say to be nothing new, by member; 0: to be compared in full.
    contents: Vec<u64>,
    /// How often the other identifier stands in the rows that are not known.
    others: Vec<u64>,
    /// Members whom a row compared before names.
    taken: crate::resolve::Bits,
    uuids: Uuids,
    found: Compared,
}

/// Identities for new people: derived from the upload and the line, so that the same payload gives the same.
struct Uuids {
    seed: [u8; 32],
}

impl Uuids {
    fn of(&self, line: u64) -> Uuid {
        let hash = blake3::Hasher::new_keyed(&self.seed).update(&line.to_le_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
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
        let mut others: Vec<u64> = census.misses.iter().map(|m| m.other).filter(|o| *o != 0).collect();
        others.sort_unstable();
        let mut seed = blake3::Hasher::new_derive_key("muster 2026 identities");
        seed.update(secret).update(job.received.upload.0.as_bytes());
        let uuids = Uuids { seed: seed.finalize().into() };
        let found = Compared::default();
        Comparison {
            job,
            census,
            resolved,
            recorder,
            input,
            contents: Vec::new(),
            others,
            taken: Default::default(),
            uuids,
            found,
        }
    }

    /// Compares every row that counts, then every absence.
    ///
    /// # Errors
    /// If payload or store cannot be read.
    pub async fn run(mut self, claimed: &crate::resolve::Bits, whole: bool) -> Result<Compared> {
        if self.job.has_members && self.census.misses.len() > SKIM_FROM {
            self.contents = self.skim().await?;
        }
        self.rows().await?;
        match self.job.received.mode {
            Mode::Full => self.absences(claimed, whole).await?,
            Mode::Partial | Mode::Leavers => {}
        }
        self.finish_counts();
        Ok(self.found)
    }

    async fn rows(&mut self) -> Result<()> {
        let payload = self.job.engine.payloads.path(self.job.org, self.job.received.upload);
        let delimiter = self.input.delimiter;
        let mut rows = MissRows::new(self.census, payload, self.input.plain.as_ref(), delimiter);
        let mut cells = CellBuffer::default();
        let mut batch: Vec<Pending> = Vec::new();
        let (mut used, mut bytes) = (0, 0);
        while let Some((index, raw)) = rows.advance()? {
            let miss = self.census.misses[index];
            if self.resolved.verdicts[index] != Verdict::Counts {
                self.skip(index, &miss);
                continue;
            }
            if self.is_nothing_new(index, &miss, raw) {
                continue;
            }
            if batch.len() == used {
                batch.push(Pending::default());
            }
            let pending = &mut batch[used];
            let read = cells
                .split(raw, delimiter)
                .and_then(|c| self.input.reader.read(&c, miss.line.into(), &mut pending.row));
            if let Err(problem) = read {
                // The census read it, so this is the payload changing under our hands.
                self.found.issues.push(problem.issue(miss.line.into(), self.input.reader.columns()));
                self.found.counts.invalid += 1;
                continue;
            }
            pending.fingerprint = self.job.keys.fingerprint(self.input.layout, raw);
            (pending.miss, pending.index) = (miss, index);
            bytes += raw.len();
            used += 1;
            if used == BATCH_ROWS || bytes > BATCH_BYTES || !self.job.has_members && used == 4096 {
                self.flush(&mut batch[..used]).await?;
                (used, bytes) = (0, 0);
            }
        }
        self.flush(&mut batch[..used]).await
    }

    /// Rows that repeat or contradict others have their issue already.
    fn skip(&mut self, index: usize, miss: &Miss) {
        match self.resolved.verdicts[index] {
            Verdict::Repeats => self.found.counts.unchanged += 1,
            _ => self.found.counts.invalid += 1,
        }
        if self.resolved.named[index] < SEVERAL {
            self.found.order.push((miss.line, Named::Member(self.resolved.named[index])));
        }
    }

    /// Whether the roster, read through beforehand, holds all that the row says.
    fn is_nothing_new(&mut self, index: usize, miss: &Miss, raw: &[u8]) -> bool {
        let no = self.resolved.named[index];
        if miss.flawed || self.contents.get(no as usize) != Some(&miss.content) {
            return false;
        }
        self.found.counts.unchanged += 1;
        self.found.order.push((miss.line, Named::Member(no)));
        let fingerprint = self.job.keys.fingerprint(self.input.layout, raw);
        self.found.fingerprints.push((fingerprint, Named::Member(no), None));
        true
    }

    /// Reads the whole roster once and notes for each member what a row would have to say to be nothing new.
    async fn skim(&self) -> Result<Vec<u64>> {
        let mut contents = Vec::new();
        let columns: FieldSet = self.input.reader.columns().by_index.iter().flatten().copied().collect();
        let (feed, keys) = (self.job.feed.no, self.job.keys);
        let content = |no, packed: &[u8]| {
            SKIMMED.with_borrow_mut(|row| {
                row.clear();
                let values = &mut row.values;
                let scanned = codec::scan(no, packed, feed, |f, v| {
                    if columns.contains(f) {
                        values.set(f, Some(v));
                    }
                })?;
                normalise::key_into(scanned.key, &mut row.key_norm);
                Ok((scanned.is_claimed && !scanned.has_words).then(|| (no, census::content(row, keys))))
            })
        };
        let take = |(no, content): (MemberNo, u64)| {
            let at = no as usize;
            if contents.len() <= at {
                contents.resize(at + 1, 0);
            }
            contents[at] = content;
        };
        self.job.engine.scan_members(self.job.org, content, take).await?;
        Ok(contents)
    }

    async fn flush(&mut self, batch: &mut [Pending]) -> Result<()> {
        let members = if self.job.has_members { self.members_of(batch).await? } else { HashMap::new() };
        for pending in batch.iter() {
            self.compare(pending, &members);
            self.job.engine.spill(self.job, self.recorder).await?;
        }
        Ok(())
    }

    /// Finds the candidates of each row and reads them from the roster.
    async fn members_of(&self, batch: &mut [Pending]) -> Result<HashMap<MemberNo, Member>> {
        let mut hashes = Vec::new();
        for pending in batch.iter_mut() {
            pending.candidates.clear();
            pending.candidates.extend(self.resolved.candidates(pending.miss.key).iter().map(|k| k.1));
            pending.by_key = !pending.candidates.is_empty();
            if !pending.by_key {
                hashes.extend(self.evidence(pending));
            }
        }
        hashes.sort_unstable();
        hashes.dedup();
        let found = match self.resolved.knows_all {
            true => Vec::new(),
            false => self.job.engine.store.idents(self.job.org, &hashes).await?,
        };
        let found = if self.resolved.knows_all { &self.resolved.keys } else { &found };
        for pending in batch.iter_mut().filter(|p| !p.by_key) {
            for hash in self.evidence(pending) {
                let from = found.partition_point(|f| f.0 < hash);
                pending.candidates.extend(found[from..].iter().take_while(|f| f.0 == hash).map(|f| f.1));
            }
            pending.candidates.sort_unstable();
            pending.candidates.dedup();
        }
        self.find_without_zeros(batch).await?;
        let may_be = |p: &Pending| p.candidates.iter().chain(&p.but_for_zeros).copied().collect::<Vec<_>>();
        let mut numbers: Vec<MemberNo> = batch.iter().flat_map(may_be).collect();
        numbers.sort_unstable();
        numbers.dedup();
        self.job.engine.members(self.job.org, &numbers).await
    }

    /// Hashes of identifiers other than the match key.
    fn evidence(&self, pending: &Pending) -> impl Iterator<Item = u64> + use<> {
        let person = census::person(&pending.row.values, self.job.keys);
        Some(pending.miss.other).filter(|o| *o != 0).into_iter().chain(person)
    }

    fn compare(&mut self, pending: &Pending, members: &HashMap<MemberNo, Member>) {
        let row = &pending.row;
        let line = pending.miss.line;
        if let Some(bad) = row.issues.iter().find(|i| i.decides) {
            tracing::debug!(line, column = bad.column, "row left out");
            self.found.counts.invalid += 1;
            self.found.issues.extend(row.issues.iter().cloned());
            pending
                .candidates
                .iter()
                .filter(|_| pending.by_key)
                .for_each(|no| self.found.order.push((line, Named::Member(*no))));
            return;
        }
        self.found.issues.extend(row.issues.iter().chain(&row.notes).cloned());
        let doubts = self.found.figures.possible_same_person;
        let member = match pending.by_key {
            true => by_key(pending, members).map(|m| (m, None)),
            false => None,
        };
        let member = member.or_else(|| self.recognise(pending, members));
        match member {
            Some((member, evidence)) => self.known_person(pending, member, evidence),
            None if self.is_without_zeros(pending, members) => {}
            None => self.new_person(pending, members),
        }
        // However much speaks for it, it is one row.
        let figures = &mut self.found.figures;
        figures.possible_same_person = figures.possible_same_person.min(doubts + 1);
    }

    /// An unknown key that shares an identifier with a member absent from this full payload, or with a former member.
    fn recognise<'m>(
        &mut self,
        pending: &Pending,
        members: &'m HashMap<MemberNo, Member>,
    ) -> Option<(&'m Member, Option<&'static str>)> {
        let (_, field) = census::other_identifier(self.job.settings.match_key);
        let said = pending.row.values.get(field).map(normalise::key)?;
        let sharing = pending.candidates.iter().filter_map(|no| members.get(no));
        let sharing: Vec<&Member> =
            sharing.filter(|m| m.values.get(field).is_some_and(|v| normalise::key(v) == said)).collect();
        let [member] = sharing[..] else { return None };
        if identity::contradicts(member, &pending.row.values) {
            return None;
        }
        let from = self.others.partition_point(|o| *o < pending.miss.other);
        let alone = self.others.get(from + 1) != Some(&pending.miss.other);
        // Somebody whom another row names is that row's, whether on the roster or not.
        let absent = !self.resolved.present.contains(member.no);
        if alone && absent && self.job.received.mode == Mode::Full {
            self.resolved.present.set(member.no, true);
            return Some((member, Some(if field == FieldId::EMAIL { "email" } else { "employee_id" })));
        }
        if self.job.received.mode == Mode::Partial {
            self.found.figures.possible_same_person += 1;
        }
        None
    }

    fn known_person(&mut self, pending: &Pending, member: &Member, evidence: Option<&'static str>) {
        let line = pending.miss.line;
        if self.taken.contains(member.no) {
            return self.second_row(pending, member.no);
        }
        self.taken.set(member.no, true);
        self.found.order.push((line, Named::Member(member.no)));
        if self.job.received.mode == Mode::Leavers {
            return self.leaver(pending, member);
        }
        if evidence.is_none() && identity::has_become_another(member, &pending.row.values) {
            self.found.figures.possible_other_person += 1;
        }
        let ctx = self.job.context();
        let outcome = diff::named(member, view(&pending.row), evidence, &ctx);
        if let Some(known) = self.resolved.double_of(pending.index as u32)
            && self.judge_double(pending, known, matches!(outcome, Outcome::Unchanged))
        {
            return;
        }
        match outcome {
            Outcome::Unchanged => {
                self.found.counts.unchanged += 1;
                // With a blank cell of a partial payload a row can say nothing new although a word is kept.
                let plain = !member.words.iter().any(|w| w.feed == self.job.feed.no);
                if plain && pending.row.issues.is_empty() {
                    self.found.fingerprints.push((pending.fingerprint, Named::Member(member.no), None));
                }
            }
            Outcome::Suppressed => self.found.counts.suppressed += 1,
            Outcome::Change { change, differs } => {
                let ordinal = self.record(&change, Some(member));
                let counts = &mut self.found.counts;
                match change.kind {
                    Kind::Update => counts.updated += 1,
                    Kind::Add => counts.added += 1,
                    Kind::Reinstate => counts.reinstated += 1,
                    Kind::Rekey => counts.rekeyed += 1,
                    _ if differs => counts.suppressed += 1,
                    _ => counts.unchanged += 1,
                }
                let settled = change.said.is_empty()
                    && !change.kind.is_silent()
                    && change.words.is_empty()
                    && pending.row.issues.is_empty();
                if settled && !(change.kind == Kind::Update && differs) {
                    self.found.fingerprints.push((pending.fingerprint, Named::Member(member.no), Some(ordinal)));
                }
            }
        }
    }

    /// Two keys of one person, the present one and an old one, in one payload: the first row counts.
    fn second_row(&mut self, pending: &Pending, no: MemberNo) {
        let first = self.found.order.iter().find(|(_, named)| *named == Named::Member(no)).map_or(0, |(line, _)| *line);
        let reason = format!(
            "Line {first} names the same person by another of their match keys and counts; take one of the rows out."
        );
        self.found.counts.invalid += 1;
        self.found.issues.push(self.note(pending, &reason));
    }

    /// The person stands in the payload in a known row too. Whether this one is done with thereby.
    fn judge_double(&mut self, pending: &Pending, known: u32, same: bool) -> bool {
        let line = pending.miss.line;
        let counts = match self.job.settings.duplicates {
            _ if same => {
                self.found.counts.unchanged += 1;
                self.found
                    .issues
                    .push(self.note(pending, &format!("The row says the same as line {known}; it is counted once.")));
                return true;
            }
            Duplicates::Invalid => None,
            Duplicates::First => Some(line < known),
            Duplicates::Last => Some(line > known),
        };
        let mut refuse = |line: u32, other: u32| {
            let reason = match counts {
                Some(_) => {
                    format!("Line {other} counts for this person (duplicates={}).", self.job.settings.duplicates.word())
                }
                None => format!(
                    "Line {other} has the same match key and says something else; neither counts. Take the wrong one out."
                ),
            };
            let mut issue = self.note(pending, &reason);
            (issue.line, issue.decides) = (line.into(), counts.is_none());
            self.found.issues.push(issue);
            self.found.counts.invalid += 1;
        };
        if counts != Some(true) {
            refuse(line, known);
        }
        if counts != Some(false) {
            refuse(known, line);
            self.found.unhit += 1;
        }
        counts != Some(true)
    }

    /// In a list of leavers a row says that the person has gone.
    fn leaver(&mut self, pending: &Pending, member: &Member) {
        let ctx = self.job.context();
        match diff::left(member, &ctx) {
            Absence::Nothing => self.found.counts.unchanged += 1,
            Absence::Suppressed => self.found.counts.suppressed += 1,
            Absence::Change { mut change, again } => {
                change.line = Some(pending.row.line);
                self.found.figures.ask_again += u64::from(again);
                self.record(&change, Some(member));
                match change.kind {
                    Kind::Remove => self.found.counts.removed += 1,
                    Kind::Update => self.found.counts.updated += 1,
                    _ => self.found.counts.unchanged += 1,
                }
            }
        }
    }

    fn new_person(&mut self, pending: &Pending, members: &HashMap<MemberNo, Member>) {
        if self.job.received.mode == Mode::Leavers {
            self.found.counts.unchanged += 1;
            self.found
                .issues
                .push(self.note(pending, "Nobody on the roster has this match key; nothing is to be removed."));
            return;
        }
        // Whoever stands in the same payload under a key of their own is somebody else.
        let elsewhere = pending.candidates.iter().filter(|no| !self.resolved.present.contains(**no));
        if elsewhere.filter_map(|no| members.get(no)).any(|m| identity::looks_like(m, &pending.row.values)) {
            self.found.figures.possible_same_person += 1;
        }
        let change = diff::unknown(view(&pending.row), self.uuids.of(pending.row.line), &self.job.context());
        let ordinal = self.record(&change, None);
        self.found.counts.added += 1;
        self.found.order.push((pending.miss.line, Named::Added(ordinal)));
        if pending.row.issues.is_empty() {
            self.found.fingerprints.push((pending.fingerprint, Named::Added(ordinal), Some(ordinal)));
        }
    }

    fn note(&self, pending: &Pending, reason: &str) -> RowIssue {
        let columns = self.input.reader.columns();
        RowIssue {
            line: pending.row.line,
            column: columns.header.get(columns.key).cloned().unwrap_or_default(),
            value: pending.row.key.clone(),
            reason: reason.to_owned(),
            decides: false,
        }
    }

    async fn absences(&mut self, claimed: &crate::resolve::Bits, whole: bool) -> Result<()> {
        let gone: Vec<MemberNo> = claimed.minus(&self.resolved.present).collect();
        for numbers in gone.chunks(BATCH_ROWS) {
            let members = self.job.engine.members(self.job.org, numbers).await?;
            for no in numbers {
                if let Some(member) = members.get(no) {
                    self.absence(member, whole);
                }
                self.job.engine.spill(self.job, self.recorder).await?;
            }
        }
        Ok(())
    }

    fn absence(&mut self, member: &Member, whole: bool) {
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

    /// Records a change and measures it.
    fn record(&mut self, change: &Change, before: Option<&Member>) -> u32 {
        let ordinal = self.recorder.push(change);
        self.measure_values(change, before);
        let Some(before) = before else { return ordinal };
        if self.found.members.len() < KEPT_MEMBERS {
            self.found.members.insert(before.no, before.clone());
        }
        if change.kind == Kind::Release {
            self.found.ineligible.insert(ordinal);
        }
        if change.kind.is_silent() || matches!(change.kind, Kind::Add | Kind::Reinstate) {
            return ordinal;
        }
        let after = fold::apply(Some(before.clone()), before.no, change, &self.job.fold_context());
        let earlier_end = match (before.values.get(FieldId::END_DATE), after.values.get(FieldId::END_DATE)) {
            (Some(before), Some(after)) => after < before,
            (None, after) => after.is_some(),
            (Some(_), None) => false,
        };
        if eligibility::loses_eligibility(before, &after, self.job.settings, self.job.today)
            || before.is_listed() && after.is_listed() && earlier_end
        {
            self.found.ineligible.insert(ordinal);
            self.found.figures.removals += 1;
        }
        ordinal
    }

    /// Adjusts the totals of filled values by what changes.
    fn measure_values(&mut self, change: &Change, before: Option<&Member>) {
        let found = &mut self.found;
        if change.kind == Kind::Remove {
            before
                .into_iter()
                .flat_map(|m| m.values.iter())
                .for_each(|(f, _)| *found.filled.entry(f).or_default() -= 1);
            return;
        }
        let fresh = before.is_none_or(|m| !m.is_listed());
        for (i, (name, value)) in change.to.iter().enumerate() {
            let Some(field) = self.job.settings.fields.by_name(name) else { continue };
            let was = !fresh && change.from.get(i).is_some_and(|(_, v)| v.is_some());
            match (was, value.is_some()) {
                (true, false) => {
                    *found.filled.entry(field).or_default() -= 1;
                    *found.blanked.entry(field).or_default() += 1;
                }
                (false, true) => *found.filled.entry(field).or_default() += 1,
                _ => {}
            }
        }
    }

    fn finish_counts(&mut self) {
        let (census, found) = (self.census, &mut self.found);
        found.counts.rows = census.rows;
        found.line_break = census.ending.is_some_and(|e| e.line_break);
        found.counts.unchanged += census.hits - found.unhit;
        found.counts.invalid += census.unreadable.len() as u64;
        found.issues.extend(census.unreadable.iter().cloned());
        found.issues.append(&mut self.resolved.issues);
        found.issues.extend(census.notes.iter().cloned());
        found.issues.sort_by_key(|i| i.line);
        let figures = &mut found.figures;
        figures.rows = census.rows;
        figures.invalid_rows = found.counts.invalid;
        figures.updates += found.counts.updated + found.counts.rekeyed;
        figures.key_changes = found.counts.rekeyed;
        figures.claims_before = self.job.feed.claims;
        if let Some(baseline) = &self.job.feed.baseline {
            let blanked = found.blanked.iter().filter_map(|(field, n)| {
                let name = self.job.settings.fields.name(*field);
                let before = *baseline.filled.get(name)?;
                Some(Blanked { field: name.to_owned(), before, after: before.saturating_sub(*n) })
            });
            figures.blanked = blanked.collect();
            figures.blanked.sort_by(|a, b| a.field.cmp(&b.field));
        }
    }
}

/// Of the members whom the key's hash gives, the one whose key or alias it is; a running key goes before an alias.
fn by_key<'m>(pending: &Pending, members: &'m HashMap<MemberNo, Member>) -> Option<&'m Member> {
    let candidates = || pending.candidates.iter().filter_map(|no| members.get(no));
    let key = pending.row.key_norm.as_str();
    candidates()
        .find(|m| normalise::key(&m.key) == key)
        .or_else(|| candidates().find(|m| m.aliases.iter().any(|a| normalise::key(a) == key)))
}

fn view(row: &Row) -> diff::Row<'_> {
    diff::Row { line: row.line, key: &row.key, values: &row.values, empty: row.empty, null: row.null, raw: &row.raw }
}

/// Every hash by which a member is found.
pub fn hashes(member: &Member, keys: &Keys) -> Vec<u64> {
    hashes_of(&member.key, &member.aliases, &member.values, keys)
}

fn hashes_of(key: &str, aliases: &[String], values: &Values, keys: &Keys) -> Vec<u64> {
    let mut hashes = vec![keys.identifier(Identifier::Key, key)];
    hashes.extend(aliases.iter().map(|a| keys.identifier(Identifier::Key, a)));
    hashes.extend(values.get(FieldId::EMAIL).map(|v| keys.identifier(Identifier::Email, v)));
    hashes.extend(
        values.get(FieldId::EMPLOYEE_ID).filter(|v| *v != key).map(|v| keys.identifier(Identifier::EmployeeId, v)),
    );
    hashes.extend(census::person(values, keys));
    hashes
}
