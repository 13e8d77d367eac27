//! One row against one person: what it says that is new, whom it names, and whether it may be somebody else.

use std::collections::HashMap;

use muster_domain::{
    change::Kind,
    diff::{self, Absence, Outcome},
    field::FieldId,
    identity,
    ids::MemberNo,
    member::Member,
    normalise,
    settings::{Duplicates, Mode},
};
use muster_intake::{Row, RowIssue};
use uuid::Uuid;

use super::{Comparison, rows::Pending};
use crate::{census, resolve::NOBODY};

/// Identities for new people: derived from the upload and the line, so that the same payload gives the same.
pub(super) struct Uuids {
    pub seed: [u8; 32],
}

impl Uuids {
    pub fn of(&self, line: u64) -> Uuid {
        let hash = blake3::Hasher::new_keyed(&self.seed).update(&line.to_le_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

impl Comparison<'_> {
    pub(super) fn compare(&mut self, pending: &Pending, members: &HashMap<MemberNo, Member>) {
        let row = &pending.row;
        let line = pending.line;
        let forgotten = !pending.by_key && self.is_forgotten(row);
        if forgotten && row.issues.iter().any(|i| i.decides) {
            return self.forgotten_row(pending);
        }
        let noted = self.found.issues.len();
        if let Some(bad) = row.issues.iter().find(|i| i.decides) {
            tracing::debug!(line, column = bad.column, "row left out");
            self.found.counts.invalid += 1;
            self.found.issues.extend(row.issues.iter().cloned());
            if pending.by_key && pending.candidates.len() > 1 {
                self.found.beside.extend(pending.candidates.iter().map(|no| (line, *no)));
            }
            return;
        }
        self.found.issues.extend(row.issues.iter().chain(&row.notes).cloned());
        let doubts = self.found.figures.possible_same_person;
        let member = match pending.by_key {
            true => by_key(pending, members).map(|m| (m, None)),
            false => None,
        };
        // Before anything else speaks for somebody: the usual export has everybody's e-mail too.
        if member.is_none()
            && let Some(like) = self.but_for_zeros(pending, members)
        {
            if forgotten {
                self.found.issues.truncate(noted);
                return self.forgotten_row(pending);
            }
            return self.without_zeros(pending, like);
        }
        let member = member.or_else(|| self.recognise(pending, members));
        match member {
            Some((member, evidence)) => self.known_person(pending, member, evidence),
            None if forgotten => {
                // What is wrong with the row would say something of them.
                self.found.issues.truncate(noted);
                self.forgotten_row(pending);
            }
            None => self.new_person(pending, members),
        }
        // However much speaks for it, it is one row.
        let figures = &mut self.found.figures;
        figures.possible_same_person = figures.possible_same_person.min(doubts + 1);
    }

    /// An unknown key that shares an identifier with a member absent from this full payload, or with a former member.
    pub(super) fn recognise<'m>(
        &mut self,
        pending: &Pending,
        members: &'m HashMap<MemberNo, Member>,
    ) -> Option<(&'m Member, Option<&'static str>)> {
        let (_, field) = census::other_identifier(self.job.settings.match_key);
        let [member] = self.sharing(pending, members)[..] else { return None };
        if identity::contradicts(member, &pending.row.values) {
            return None;
        }
        let alone = self.resolved.shared.binary_search(&pending.other).is_err();
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

    /// Members who have the row's other identifier.
    pub(super) fn sharing<'m>(&self, pending: &Pending, members: &'m HashMap<MemberNo, Member>) -> Vec<&'m Member> {
        let (_, field) = census::other_identifier(self.job.settings.match_key);
        let Some(said) = pending.row.values.get(field).map(normalise::key) else { return Vec::new() };
        let candidates = pending.candidates.iter().filter_map(|no| members.get(no));
        candidates.filter(|m| m.values.get(field).is_some_and(|v| normalise::key(v) == said)).collect()
    }

    pub(super) fn known_person(&mut self, pending: &Pending, member: &Member, evidence: Option<&'static str>) {
        if self.taken.contains(member.no) {
            return self.second_row(pending, member.no);
        }
        self.taken.set(member.no, true);
        self.resolved.named[pending.index] = member.no;
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
                    self.found.rows.told.set(pending.index as u32, true);
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
                    self.found.rows.told.set(pending.index as u32, true);
                    self.found.rows.ordinals[pending.index] = ordinal + 1;
                }
            }
        }
    }

    /// Two keys of one person, the present one and an old one, in one payload: the first row counts.
    pub(super) fn second_row(&mut self, pending: &Pending, no: MemberNo) {
        let first = self.resolved.named[..pending.index].iter().position(|named| *named == no);
        let first = first.map_or(0, |index| self.census.misses.lines[index]);
        let reason = format!(
            "Line {first} names the same person by another of their match keys and counts; take one of the rows out."
        );
        self.found.counts.invalid += 1;
        self.found.issues.push(self.note(pending, &reason));
    }

    /// The person stands in the payload in a known row too. Whether this one is done with thereby.
    pub(super) fn judge_double(&mut self, pending: &Pending, known: u32, same: bool) -> bool {
        let line = pending.line;
        let counts = match self.job.settings.duplicates {
            _ if same => {
                self.found.counts.unchanged += 1;
                self.found
                    .issues
                    .push(self.note(pending, &format!("The row says the same as line {known}, and is counted once.")));
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
            (issue.line, issue.decides, issue.lost) = (line.into(), counts.is_none(), counts.is_none());
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
    pub(super) fn leaver(&mut self, pending: &Pending, member: &Member) {
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

    pub(super) fn new_person(&mut self, pending: &Pending, members: &HashMap<MemberNo, Member>) {
        if self.job.received.mode == Mode::Leavers {
            self.found.counts.unchanged += 1;
            self.found
                .issues
                .push(self.note(pending, "Nobody on the roster has this match key, so there is nobody to remove."));
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
        self.resolved.named[pending.index] = NOBODY;
        self.found.rows.ordinals[pending.index] = ordinal + 1;
        if pending.row.issues.is_empty() {
            self.found.rows.told.set(pending.index as u32, true);
        }
    }

    pub(super) fn note(&self, pending: &Pending, reason: &str) -> RowIssue {
        let columns = self.input.reader.columns();
        RowIssue {
            line: pending.row.line,
            column: columns.header.get(columns.key).cloned().unwrap_or_default(),
            value: pending.row.key.clone(),
            reason: reason.to_owned(),
            decides: false,
            lost: false,
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
